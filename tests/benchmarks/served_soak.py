"""Does our server's memory stay as it is? `python -m tests.benchmarks.served_soak [--requests 1000000] [--sockets]`.

Requests of all kinds are called in this process, without sockets: plain draws whole and streamed, votes, best-of-n by a
reward model, models by their names, refusals of all kinds, hang-ups at any moment, and backends that fail; every prompt
is another. Behind is a backend that answers at once, through all our own code but the sockets. Every 50,000 requests:
the memory of this process, its objects, and the tasks that are left. `--sockets` asks `autotts serve` over real ones,
with a fake backend behind it, and looks at its process.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final
from zlib import crc32

from autotts.policy.opening import Where
from autotts.policy.schema import Policy
from autotts.serve.running import Options
from autotts.serve.service import Service
from autotts.tasks import READERS
from autotts.worlds.catalogue import catalogue, session
from autotts.worlds.models.entry import Server
from autotts.worlds.openai import open_openai
from autotts.worlds.relay import relay_of
from autotts.worlds.servers import Fleet
from tests.benchmarks.backend import Paced, Part, oneself, stack
from tests.benchmarks.called import App, post, service
from tests.benchmarks.loading import Load, chat, crowd
from tests.serve.served import NAMES, policy_data

AT_ONCE: Final = 32
EVERY: Final = 50_000
GROWTH: Final = 4 << 20  # bytes that memory may grow by after the first fifth
LEFT: Final = 2000  # objects


@dataclass
class Marks:
    """What was seen at some moments: requests so far, bytes, objects, tasks, and objects by type at the ends."""

    requests: list[int] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    objects: list[int] = field(default_factory=list)
    tasks: list[int] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    kinds: list[Counter[str]] = field(default_factory=list)

    def mark(self, requests: int, of: Part, *, inside: bool) -> None:
        """Look, and say what is seen."""
        gc.collect()
        self.requests.append(requests)
        self.memory.append(of.memory())
        if inside:
            objects = gc.get_objects()
            self.objects.append(len(objects))
            self.kinds = [*self.kinds[:1], Counter(type(one).__name__ for one in objects)]
            del objects
            self.tasks.append(len(asyncio.all_tasks()))
        last = [f"{self.memory[-1] / (1 << 20):.1f} MB"]
        last += [f"{self.objects[-1]:,} objects", f"{self.tasks[-1]} tasks"] if inside else []
        print(f"{requests:>9,} requests: {', '.join(last)}", flush=True)


# ------------------------------------------------------------------ a backend that answers at once


@dataclass(slots=True)
class Said:
    """An answer of that backend, as the wires of `autotts.worlds.servers` give it; all of it is there."""

    status: int
    left: list[bytes]
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})

    async def read(self) -> bytes:
        """The next piece."""
        await asyncio.sleep(0)
        return self.left.pop(0) if self.left else b""

    async def leave(self) -> bytes:
        """What was not read."""
        return b"".join(self.left)

    def hurry(self) -> None:
        """All is there."""

    async def close(self) -> None:
        """Nothing is held."""


class Memory:
    """A wire to it; one request in 100 fails, and some are not answered until they are hung up on."""

    def __init__(self) -> None:
        self._asked = count(1)

    async def ask(self, method: str, target: str, body: bytes) -> Said:
        """Ask it."""
        if b"hang" in body:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        if next(self._asked) % 100 == 0:
            return Said(500, [b'{"error": {"message": "broken", "type": "broken", "code": 500}}'])
        return backend(target, body)

    async def close(self) -> None:
        """Nothing is held."""


def backend(target: str, asked: bytes) -> Said:
    """The answer to a request in OpenAI's form, as vLLM gives it."""
    body = json.loads(asked or b"{}")
    if target.endswith("/pooling"):
        rows = [{"index": 0, "object": "pooling", "data": [[0.1, 0.9]] * 4}]
        told = {"object": "list", "model": body["model"], "data": rows, "usage": _usage(0)}
        return Said(200, [json.dumps(told).encode()])
    same = {"id": f"c-{crc32(asked)}", "created": 1, "model": body["model"]}
    words = f"It is \\boxed{{{crc32(asked) % 3}}}."
    if not body.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": words}, "finish_reason": "stop"}
        told = {**same, "object": "chat.completion", "choices": [choice], "usage": _usage(9)}
        return Said(200, [json.dumps(told).encode()])
    chunk = {**same, "object": "chat.completion.chunk"}
    parts: list[dict[str, Any]] = [
        {**chunk, "choices": [{"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": None}]}
        for word in words.split(" ")
    ]
    parts.append({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    parts.append({**chunk, "choices": [], "usage": _usage(9)})
    events = [f"data: {json.dumps(part)}\n\n".encode() for part in parts]
    return Said(200, [events[0], b"".join(events[1:]), b"data: [DONE]\n\n"], {"content-type": "text/event-stream"})


def _usage(generated: int) -> dict[str, int]:
    return {"prompt_tokens": 20, "completion_tokens": generated, "total_tokens": 20 + generated}


async def _now(_: float) -> None:
    await asyncio.sleep(0)


@contextmanager
def served(folder: Path) -> Iterator[tuple[Service, App]]:
    """The server over that backend."""
    policy = Policy.loads(json.dumps(policy_data(folder)))
    shelf = catalogue([str(folder / "models.toml")], {})[0]
    entries = {name: shelf.entries[name] for name in NAMES}

    def fleet() -> Fleet:
        found = Fleet(sleep=_now)
        found._wire = lambda address: Memory()  # type: ignore[assignment,method-assign,return-value]  # no sockets
        return found

    options = Options(where=Where(upstream=Server("http://127.0.0.1:9/v1")))
    with (
        service(policy, options) as (found, app),
        open_openai(entries, read=READERS["math"], unit="flops", fleet=fleet) as world,
    ):
        found.world, found.relays = world, {role: relay_of(world, role) for role in policy.models}
        yield found, app


# ------------------------------------------------------------------ requests


def wish(number: int, rng: Random) -> tuple[dict[str, Any] | bytes, dict[str, str], int | None]:
    """The body of a request, its headers, and when its client hangs up."""
    body: dict[str, Any] = {"messages": [{"role": "user", "content": f"What is {number} + 30 * 2?"}]}
    kind = rng.random()
    if kind < 0.12:
        return refusal(number, rng, body), {}, None
    body["model"] = rng.choice(("auto", "auto", "auto-fast", "auto-fast", "auto-best", "plain:small", "large"))
    if rng.random() < 0.4:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if rng.random() < 0.1:
        body["autotts"] = {"deadline": 30, "token": f"{number}", "progress": rng.random() < 0.5}
    if rng.random() < 0.1:
        body["seed"] = number
    if kind < 0.2:  # hung up on while the backend does not answer
        body["messages"][0]["content"] += " hang"
        return body, {}, rng.randrange(200)
    return body, {"x-request-id": f"{number}"}, rng.randrange(60) if kind < 0.3 else None


def refusal(number: int, rng: Random, body: dict[str, Any]) -> dict[str, Any] | bytes:
    """A body that is not to be answered."""
    wrong: list[dict[str, Any] | bytes] = [
        b"{" * rng.randrange(1, 300),
        json.dumps(body).encode()[: rng.randrange(50)],
        {**body, "model": f"model-{number}"},
        {**body, "model": "auto", f"field_{number}": object.__name__, "temperature": "hot"},
        {**body, "model": "auto", "autotts": {"budget": f"{number}tokens"}},
        {**body, "model": "auto", "messages": []},
        {**body, "model": "auto@1flops"},
    ]
    return rng.choice(wrong)


async def soak(app: App, world: Any, whole: int, every: int = EVERY) -> Marks:
    """Call so many times, and look every so often."""
    marks, rng, here, number = Marks(), Random(0), oneself(), 0

    async def client(upto: int) -> None:
        nonlocal number
        while number < upto:
            number += 1
            body, headers, stays = wish(number, rng)
            called = await post(app, body, headers=headers, stays=stays)
            marks.statuses[str(called.status) if stays is None else "hung up"] += 1

    async with session(world):
        while number < whole:
            upto = min(whole, number + every)
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(client(upto))
            await asyncio.sleep(0.1)
            marks.mark(number, here, inside=True)
    return marks


async def over_sockets(url: str, server: Part, whole: int, every: int) -> Marks:
    """Ask over sockets; the backend answers at once."""
    marks, rng = Marks(), Random(0)
    async with Load(url) as load:
        for number in range(0, whole, every):
            asked = []
            for n in range(number, number + every):
                fields: dict[str, Any] = {"stream": True} if rng.random() < 0.5 else {}
                model = rng.choice(("auto", "auto-fast", "auto-fast", "plain:small", "nobody"))
                asked.append(chat(url, model, f"What is {n} + 30 * 2?", **fields))
            seen = await crowd(load, asked, clients=8, count=every)
            marks.statuses += Counter(one.fault or str(one.status) for one in seen)
            del seen
            marks.mark(number + every, server, inside=False)
    return marks


def wrongs(marks: Marks, growth: int = GROWTH, left: int = LEFT) -> list[str]:
    """What is not as it is to be; nothing of it where all is well."""
    told, first = [], len(marks.requests) // 5
    if (grown := marks.memory[-1] - marks.memory[first]) > growth:
        told.append(f"memory grew by {grown / (1 << 20):.1f} MB after the first {marks.requests[first]:,} requests")
    if marks.objects and (more := marks.objects[-1] - marks.objects[first]) > left:
        kinds = (marks.kinds[-1] - marks.kinds[0]).most_common(8)
        told.append(f"{more:,} more objects, and since the first look: {kinds}")
    if marks.tasks and marks.tasks[-1] > marks.tasks[0]:
        told.append(f"{marks.tasks[-1] - marks.tasks[0]} more tasks")
    odd = {status: n for status, n in marks.statuses.items() if status not in ("200", "400", "404", "hung up", "503")}
    if odd:
        told.append(f"expected 200, refusals and hang-ups only, found {odd}")
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--every", type=int, default=EVERY)
    parser.add_argument("--sockets", action="store_true")
    given = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        if given.sockets:
            with stack(Path(folder), Paced(first=0.0, rate=1e9, chunk=100)) as on:
                marks = asyncio.run(over_sockets(on.ours.url, on.ours, given.requests, given.every))
        else:
            with served(Path(folder)) as (found, app):
                marks = asyncio.run(soak(app, found.world, given.requests, given.every))
    print(f"{dict(marks.statuses)} in {time.monotonic() - begun:.0f} s")
    sys.exit("\n".join(wrongs(marks)) or 0)


if __name__ == "__main__":
    main()
