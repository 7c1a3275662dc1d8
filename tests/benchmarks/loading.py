"""A load of HTTP requests that costs little to make.

Requests go out over raw sockets that are kept (HTTP/1.1, whole answers and streams of events). `steady` sends at fixed
moments, whatever becomes of earlier requests, and times count from the moment at which a request was due; so a server
that stalls cannot hide it. `crowd` is a number of clients of whom each waits for its answer. Nothing of an answer is
parsed while requests run; that is left for afterwards.
"""

from __future__ import annotations

import asyncio
import json
import re
import selectors
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

_END: Final = b"\r\n0\r\n\r\n"  # of a body in chunks
_USED: Final = re.compile(rb'"(prompt|completion)_tokens": ?(\d+)')
_YOUNG: Final = 3.0  # seconds that an unused connection is kept: servers close theirs after 5 and more


@dataclass(slots=True)
class Seen:
    """What came of one request; moments in seconds of `time.perf_counter`, 0 where it did not come so far.

    `first` is the first byte of the answer, `token` the first of its body, `last` its last byte. `status` is 0 and
    `fault` says why where there was no whole answer. `head` is its head, `pieces` what came of its body.
    """

    due: float
    sent: float = 0.0
    first: float = 0.0
    token: float = 0.0
    last: float = 0.0
    status: int = 0
    size: int = 0
    fault: str = ""
    head: bytes = b""
    pieces: list[bytes] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether it was answered as it should be."""
        return self.status == 200 and not self.fault

    @property
    def body(self) -> bytes:
        """What came of the body; that of a stream with its framing."""
        return b"".join(self.pieces)

    def used(self) -> tuple[int, int]:
        """Tokens of the prompt and of the answer, as its usage says; zeros without one."""
        found = {name: int(number) for name, number in _USED.findall(self.body)}
        return found.get(b"prompt", 0), found.get(b"completion", 0)

    def header(self, name: str) -> str | None:
        """A header of the answer; `name` in lower case."""
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.strip().lower() == name.encode():
                return value.strip().decode("latin-1")
        return None

    def json(self) -> Any:
        """The body of an answer that is no stream."""
        return json.loads(self.body)


class Wire(asyncio.Protocol):
    """One kept connection, with at most one request on it."""

    def __init__(self, free: Callable[[Wire], None], lost: Callable[[Wire], None]) -> None:
        self._free = free
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._seen: Seen | None = None
        self._done: Callable[[Seen], None] | None = None
        self._left = -1  # bytes of the body that are still to come; -1 where it is in chunks
        self._end = b""
        self._idle_since = time.perf_counter()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def begin(self, request: bytes, due: float, done: Callable[[Seen], None]) -> Seen:
        """Send a request; `done` is called once, at its end."""
        assert self._transport is not None
        seen = Seen(due, sent=time.perf_counter())
        self._seen, self._done, self._left, self._end = seen, done, -1, b""
        self._transport.write(request)
        return seen

    @property
    def usable(self) -> bool:
        """Whether a request can be sent."""
        young = time.perf_counter() - self._idle_since < _YOUNG
        return young and self._transport is not None and not self._transport.is_closing()

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer."""
        seen = self._seen
        if seen is None:
            return
        now = time.perf_counter()
        seen.first = seen.first or now
        if not seen.status:
            head, found, data = (seen.head + data).partition(b"\r\n\r\n")
            seen.head = head
            if not found:
                return
            seen.status = int(head[9:12])
            length = seen.header("content-length")
            self._left = -1 if length is None else int(length)
        if data:
            seen.token = seen.token or now
            seen.size += len(data)
            seen.pieces.append(data)
        if self._left >= 0:
            ended = seen.size >= self._left
        else:
            self._end = (self._end + data)[-len(_END) :]
            ended = self._end == _END
        if ended:
            seen.last = now
            self._finish(seen)

    def connection_lost(self, exc: Exception | None) -> None:
        """It was closed, by one side or the other."""
        self._transport = None
        self._lost(self)
        if self._seen is not None:
            self._seen.fault = "broke off" if exc is None else f"broke off: {exc}"
            self._seen.last = time.perf_counter()
            self._finish(self._seen)

    def _finish(self, seen: Seen) -> None:
        done, self._seen, self._done = self._done, None, None
        self._idle_since = time.perf_counter()
        if self.usable:
            self._free(self)
        assert done is not None
        done(seen)

    def cut(self, why: str = "hung up") -> None:
        """Close at once; a request that runs is hung up on."""
        if self._seen is not None:
            self._seen.fault = why
            self._seen.last = time.perf_counter()
            seen, self._seen = self._seen, None
            if self._done is not None:
                self._done(seen)
        if self._transport is not None:
            self._transport.abort()


class Load:
    """The connections of one load to one address."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        self._idle: list[Wire] = []
        self._all: set[Wire] = set()
        self._running: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Load:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; what still runs is hung up on."""
        for wire in tuple(self._all):
            wire.cut()
        for _ in range(3):  # until the event loop has closed them
            await asyncio.sleep(0)

    async def warm(self, count: int) -> None:
        """Have so many connections ready."""
        self._idle = [wire for wire in self._idle if wire.usable]
        while len(self._idle) < count:
            self._idle.append(await self.open())

    def send(self, request: bytes, due: float, done: Callable[[Seen], None]) -> None:
        """Send a request on a kept connection, or on a new one; `done` is called once, at its end."""
        while self._idle:
            wire = self._idle.pop()
            if wire.usable:
                wire.begin(request, due, done)
                return
            wire.cut()
        task = asyncio.get_running_loop().create_task(self._on_new(request, due, done))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def ask(self, request: bytes) -> Seen:
        """Send one request and wait for its end."""
        ended: asyncio.Future[Seen] = asyncio.get_running_loop().create_future()
        self.send(request, time.perf_counter(), ended.set_result)
        return await ended

    async def _on_new(self, request: bytes, due: float, done: Callable[[Seen], None]) -> None:
        try:
            wire = await self.open()
        except OSError as error:
            done(Seen(due, last=time.perf_counter(), fault=f"no connection: {error.strerror}"))
        else:
            wire.begin(request, due, done)

    async def open(self) -> Wire:
        """A new connection, which is kept once an answer has come on it."""
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(lambda: Wire(self._idle.append, self._all.discard), self.host, self.port)
        self._all.add(wire)
        return wire


# ------------------------------------------------------------------ loads


async def steady(load: Load, requests: Sequence[bytes], *, rate: float, count: int) -> list[Seen]:
    """Send `count` requests at `rate` a second, in turn, each when it is due; returned when all have ended."""
    loop, ended = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
    found: list[Seen] = []
    begin, offset = time.perf_counter(), loop.time() - time.perf_counter()
    left = islice(cycle(requests), count)

    def done(seen: Seen) -> None:
        found.append(seen)
        if len(found) == count:
            ended.set_result(None)

    def tick(number: int) -> None:
        while number < count and (due := begin + number / rate) <= time.perf_counter():
            load.send(next(left), due, done)
            number += 1
        if number < count:
            loop.call_at(begin + number / rate + offset, tick, number)

    tick(0)
    await ended
    return found


async def crowd(load: Load, requests: Sequence[bytes], *, clients: int, count: int) -> list[Seen]:
    """Send `count` requests from `clients` who each wait for the answer to their last; returned when all have ended."""
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    found: list[Seen] = []
    left = islice(cycle(requests), count)

    def begin() -> None:
        request = next(left, None)
        if request is not None:
            load.send(request, time.perf_counter(), done)

    def done(seen: Seen) -> None:
        found.append(seen)
        if len(found) == count:
            ended.set_result(None)
        begin()

    for _ in range(min(clients, count)):
        begin()
    await ended
    return found


def request(url: str, body: Mapping[str, Any] | None, headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a POST of a body in JSON; of a GET where there is none."""
    parts = urlsplit(url)
    data = b"" if body is None else json.dumps(body).encode()
    lines = [f"{'GET' if body is None else 'POST'} {parts.path} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def chat(url: str, model: str, prompt: str, headers: Mapping[str, str] | None = None, **fields: Any) -> bytes:
    """The bytes of a request for a chat's answer; `url` up to the version."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], **fields}
    return request(f"{url}/chat/completions", body, headers)


def finely(work: Coroutine[Any, Any, T]) -> T:
    """Run in an event loop whose timers are exact to microseconds, not to a millisecond; for up to 1,000 sockets."""
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        return runner.run(work)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which a share of some values lies; NaN of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


async def until(true: Callable[[], Awaitable[bool]], within: float) -> float:
    """Seconds until something is so; infinity where it is not so within a time."""
    begun = time.perf_counter()
    while time.perf_counter() - begun < within:
        if await true():
            return time.perf_counter() - begun
        await asyncio.sleep(0.002)
    return float("inf")


def put(notes: Path, which: str, lines: Sequence[str]) -> None:
    """Write a table into its place in some notes: between `<!-- which -->` and `<!-- end -->`."""
    text = notes.read_text()
    before, begin, rest = text.partition(f"<!-- {which} -->\n")
    _, end, after = rest.partition("<!-- end -->\n")
    if not (begin and end):
        raise SystemExit(f"{notes}: expected a place between <!-- {which} --> and <!-- end -->")
    notes.write_text(before + begin + "\n".join(lines) + "\n" + end + after)
