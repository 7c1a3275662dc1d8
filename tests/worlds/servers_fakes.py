"""Fakes for the servers' tests: a clock that runs ahead when nothing else can, and small raw servers."""

from __future__ import annotations

import asyncio
import heapq
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from itertools import count
from random import Random
from typing import Any, TypeVar

import httpx

from autotts.worlds.models.entry import Server
from autotts.worlds.servers import Fleet, Line, Retries, Timeouts

T = TypeVar("T")
Talk = Callable[["Peer"], Awaitable[None]]

KEY = "sk-SECRET-0123456789"
URL = "http://fake:8000/v1"


class Clock:
    """Seconds that pass only while everything waits for them."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Wait for a moment of this clock."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + max(0.0, seconds), next(self._numbers), turn))
        await turn

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on this clock."""

        async def main() -> T:
            task = asyncio.get_running_loop().create_task(work)
            idle = 0
            while not task.done():
                await asyncio.sleep(0)
                idle += 1
                if idle > 12 and self._sleepers:
                    at, _, turn = heapq.heappop(self._sleepers)
                    if not turn.done():
                        self.now = max(self.now, at)
                        turn.set_result(None)
                        idle = 0
            return task.result()

        return asyncio.run(main())

    def fleet(self, transport: httpx.AsyncBaseTransport | None = None, retries: Retries | None = None) -> Fleet:
        """A fleet that lives by this clock."""
        return Fleet(transport=transport, clock=self, sleep=self.sleep, rng=Random(0), retries=retries)


class Peer:
    """The server's end of one connection, one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.head, self.form = "", {}

    async def hear(self) -> bool:
        """Read a request; False where there is none any more."""
        try:
            self.head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        sizes = [line for line in self.head.lower().split("\r\n") if line.startswith("content-length:")]
        body = await self.reader.readexactly(int(sizes[0].split(":")[1])) if sizes else b"null"
        self.form = json.loads(body)
        return True

    async def begin(self, kind: str = "text/event-stream") -> None:
        """The head of a chunked answer."""
        await self.send(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())

    async def chunk(self, data: bytes) -> None:
        """One chunk of it; an empty one ends it."""
        await self.send(b"%x\r\n%s\r\n" % (len(data), data))

    async def send(self, data: bytes) -> None:
        """Raw bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, status: int, body: str, **headers: str) -> None:
        """A whole answer."""
        raw = body.encode()
        fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        await self.send(f"HTTP/1.1 {status} Words\r\nContent-Length: {len(raw)}\r\n{fields}\r\n".encode() + raw)

    async def gone(self) -> None:
        """Wait until the client hangs up."""
        with suppress(ConnectionError):
            assert await self.reader.read(1) == b""


@asynccontextmanager
async def listening(talk: Talk, host: str = "127.0.0.1") -> AsyncIterator[tuple[Server, list[Peer]]]:
    """A raw server that talks so on each connection; and the connections that it had."""
    peers: list[Peer] = []
    failures: list[BaseException] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(Peer(reader, writer))
        try:
            await talk(peers[-1])
        except ConnectionError:
            pass
        except Exception as error:
            failures.append(error)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, host, 0)
    port = server.sockets[0].getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    async with server:
        yield Server(f"http://{shown}:{port}/v1", key=KEY), peers
    assert not failures


async def asked(
    talk: Talk,
    attempt: Callable[[Line], Awaitable[T]],
    *,
    timeouts: Timeouts | None = None,
    host: str = "127.0.0.1",
) -> T:
    """One attempt at a raw server, over real connections; a fault is final."""
    async with listening(talk, host) as (server, _), Fleet(timeouts=timeouts, retries=Retries(tries=1)) as fleet:
        return await fleet.call([server], attempt, tokens=1, what="a test")


async def streamed(line: Line) -> list[bytes]:
    """The payloads of a stream."""
    async with line.stream("/chat/completions", {"n": 1}) as events:
        return [event async for event in events]


async def post(line: Line) -> dict[str, Any]:
    """One JSON answer."""
    return await line.post("/x", {"n": 1})


def sse(*payloads: str) -> bytes:
    """Events."""
    return "".join(f"data: {payload}\n\n" for payload in payloads).encode()


def scripted(handler: Callable[[httpx.Request], Awaitable[httpx.Response]]) -> httpx.MockTransport:
    """A transport that answers so."""
    return httpx.MockTransport(handler)
