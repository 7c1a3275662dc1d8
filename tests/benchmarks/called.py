"""Our server called without sockets: as an ASGI application, in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from autotts.policy.schema import Policy
from autotts.serve.app import app_of
from autotts.serve.ready import Ready
from autotts.serve.running import Options, service_of
from autotts.serve.service import Service

Message: TypeAlias = MutableMapping[str, Any]
App: TypeAlias = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


@dataclass
class Called:
    """What came of a call; the status is 0 where nothing was answered."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        """All that came of it."""
        return b"".join(self.pieces)

    def json(self) -> Any:
        """The body of an answer that is no stream."""
        return json.loads(self.body)


@contextmanager
def service(policy: Policy, options: Options) -> Iterator[tuple[Service, App]]:
    """The running state and the application of a server; its world's session is for the caller to enter."""
    with service_of(policy, options) as found:
        yield found, application(found)


def application(of: Service) -> App:
    """The application of a service that lives in no scope of its own."""
    return app_of(of, Ready(of.look), nullcontext)


async def post(
    app: App,
    body: Mapping[str, Any] | bytes,
    *,
    path: str = "/v1/chat/completions",
    headers: Mapping[str, str] | None = None,
    stays: int | None = None,
) -> Called:
    """Post a body; `stays` is after how many turns of the event loop the client hangs up, None for never."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"host": "127.0.0.1", "content-type": "application/json", "content-length": str(len(raw))}
    scope: Message = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(k.lower().encode(), v.encode()) for k, v in {**named, **(headers or {})}.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    found, left, asked = Called(), asyncio.Event(), False

    async def receive() -> Message:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": raw, "more_body": False}
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if left.is_set():
            return  # as uvicorn does
        if message["type"] == "http.response.start":
            found.status = message["status"]
            found.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        else:
            found.pieces.append(bytes(message.get("body", b"")))

    async def leave(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        left.set()

    leaving = None if stays is None else asyncio.ensure_future(leave(stays))
    await app(scope, receive, send)
    left.set()
    if leaving is not None:
        await leaving
    return found
