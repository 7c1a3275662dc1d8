"""Requests sent to an ASGI application in this process, and what becomes of each."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autotts.policy.opening import where
from autotts.policy.schema import Policy
from autotts.serve.running import Options, server_of, service_of
from autotts.serve.service import Service, Settings
from autotts.worlds.fake_server import FakeServer, serving
from tests.serve.mutating import Shot, shots
from tests.serve.served import backend, policy_data


@dataclass(frozen=True)
class Target:
    """A server in this process, and the backend that it asks."""

    app: Any
    service: Service
    backend: FakeServer


@contextmanager
def target(folder: Path) -> Iterator[Target]:
    """The application of a policy over a fake backend; its lifespan is `living`'s."""
    path = folder / "policy.json"
    path.write_text(json.dumps(policy_data(folder)))
    with serving(backend()) as upstream:
        options = Options(where=where((), upstream.url, None, {}), settings=Settings(deadline=5.0, patience=5.0))
        with service_of(Policy.load(path), options) as service, server_of(service, path, options) as server:
            yield Target(server.config.app, service, upstream)


@asynccontextmanager
async def living(app: Any) -> AsyncIterator[None]:
    """The scope in which an application may be asked, as servers open it."""
    steps: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    task = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, steps.get, told.put))
    await steps.put({"type": "lifespan.startup"})
    answer = await told.get()
    if answer["type"] != "lifespan.startup.complete":
        raise RuntimeError(str(answer))
    try:
        yield
    finally:
        await steps.put({"type": "lifespan.shutdown"})
        await task


@dataclass(slots=True)
class Outcome:
    """What became of a request: its status (0 where none was sent), its body, and all that is wrong with it."""

    shot: Shot
    status: int = 0
    body: bytes = b""
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


async def fire(app: Any, shot: Shot, patience: float) -> Outcome:
    """Send one request to an ASGI application, and judge what becomes of it.

    Parameters
    ----------
    patience
        Seconds after which it hangs.
    """
    outcome = Outcome(shot)
    sent: list[dict[str, Any]] = []
    queue = _upward(shot)
    over = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if queue:
            return queue.pop(0)
        if shot.pieces != -1:
            await over.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        sent.append(message)

    begun = time.perf_counter()
    try:
        async with asyncio.timeout(patience):
            await app(_scope(shot), receive, send)
    except TimeoutError:
        outcome.faults.append(f"it hangs: no end within {patience:g} s")
    except Exception as error:  # an answer of the application would be a 500
        outcome.faults.append(f"an exception: {type(error).__name__}: {error}")
    over.set()
    outcome.seconds = time.perf_counter() - begun
    _judge(outcome, sent)
    return outcome


def _upward(shot: Shot) -> list[dict[str, Any]]:
    if shot.pieces == -1:
        return [{"type": "http.request", "body": shot.body[: len(shot.body) // 2], "more_body": True}]
    size = max(1, -(-len(shot.body) // shot.pieces))
    parts = [shot.body[at : at + size] for at in range(0, len(shot.body), size)] or [b""]
    return [{"type": "http.request", "body": part, "more_body": i < len(parts) - 1} for i, part in enumerate(parts)]


def _scope(shot: Shot) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": shot.method,
        "scheme": "http",
        "path": shot.path,
        "raw_path": shot.path.encode("utf-8", "replace"),
        "root_path": "",
        "query_string": b"",
        "headers": list(shot.headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8080),
        "state": {},
    }


def _judge(outcome: Outcome, sent: list[dict[str, Any]]) -> None:
    """What an answer must be: a start and an end, no fault of the server, an error in OpenAI's form."""
    if not sent:
        if outcome.shot.pieces != -1 and not outcome.faults:
            outcome.faults.append("no answer")
        return
    start, parts = sent[0], sent[1:]
    outcome.status = start.get("status", 0)
    outcome.body = b"".join(part.get("body", b"") for part in parts)
    if start["type"] != "http.response.start" or any(part["type"] != "http.response.body" for part in parts):
        outcome.faults.append("not a start and then pieces")
    if not outcome.faults and (not parts or parts[-1].get("more_body", False)):
        outcome.faults.append("an answer without an end")
    headers = dict(start.get("headers", ()))
    for name, value in headers.items():
        if b"\r" in name + value or b"\n" in name + value or name != name.lower():
            outcome.faults.append(f"a header that is none: {name!r}")
    length = headers.get(b"content-length")
    if length is not None and outcome.shot.method != "HEAD" and int(length) != len(outcome.body):
        outcome.faults.append(f"content-length {length.decode()} with {len(outcome.body)} bytes")
    if outcome.status >= 500:
        outcome.faults.append(f"HTTP {outcome.status}")
    if outcome.status >= 300 and outcome.shot.method != "HEAD":
        _judge_error(outcome)


def _judge_error(outcome: Outcome) -> None:
    if outcome.status < 400:
        outcome.faults.append("a redirect")
    try:
        error = json.loads(outcome.body)["error"]
        sound = isinstance(error["message"], str) and error["message"] and {"type", "param", "code"} <= set(error)
    except (ValueError, TypeError, KeyError):
        sound = False
    if not sound:
        outcome.faults.append(f"not an error in OpenAI's form: {outcome.body[:200]!r}")
    elif "Traceback" in error["message"] or "object at 0x" in error["message"]:
        outcome.faults.append(f"an error that shows our insides: {error['message'][:200]}")


async def volley(target: Target, seed: int, count: int, *, patience: float = 10.0, at_once: int = 8) -> list[Outcome]:
    """Send so many hostile requests, some of them at the same time; what became of each, in no order."""
    left, outcomes = shots(seed, count), list[Outcome]()

    async def send_on() -> None:
        for shot in left:
            outcomes.append(await fire(target.app, shot, patience))

    async with living(target.app):
        await asyncio.gather(*(send_on() for _ in range(at_once)))
        if target.service.gate.running or target.service.gate.waiting:
            raise RuntimeError("requests have ended, and their places are not free")
    return outcomes


def counted(outcomes: Iterable[Outcome]) -> Counter[int]:
    """How many answers of each status; 0 are those to clients that hung up."""
    return Counter(outcome.status for outcome in outcomes)
