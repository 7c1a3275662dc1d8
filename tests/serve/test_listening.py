"""What strangers may do to the server before any code of ours sees it, over a real line."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import uvicorn

from autotts.serve.bounds import Bounds, read_body
from autotts.serve.listening import Limits, cut_stalled, settings
from autotts.serve.refused import Refused
from autotts.serve.sending import Receive, Send

HERE = Limits(head_bytes=2000, head_seconds=0.2, idle_seconds=5, stalled_seconds=0.3, drain_seconds=1)
ASK = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Says how long the body was; on /much, says much."""
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
        return
    headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
    status, said, more = 200, b"", {}
    try:
        said = b"%d" % len(await read_body(receive, headers, Bounds(bytes=1000, seconds=0.2, patience=20_000)))
    except Refused as refused:
        status, said, more = refused.status, refused.body(), refused.headers
    if scope["path"] == "/much":
        said = b"x" * (64 << 20)
    sent = [(b"content-length", b"%d" % len(said)), *((k.encode(), v.encode()) for k, v in more.items())]
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": said})


@asynccontextmanager
async def served(
    limits: Limits = HERE,
) -> AsyncIterator[tuple[uvicorn.Server, Callable[[], Coroutine[Any, Any, Line]]]]:
    """The server, and how a line to it is opened."""
    with socket.create_server(("127.0.0.1", 0)) as own:
        cut_stalled(own, limits.stalled_seconds)
        server = uvicorn.Server(settings(app, limits))
        task = asyncio.create_task(server._serve([own]))
        while not server.started:
            await asyncio.sleep(0.01)
        port = own.getsockname()[1]
        try:
            yield server, lambda: asyncio.open_connection("127.0.0.1", port)
        finally:
            server.should_exit = server.force_exit = True
            await task


async def answer(line: Line) -> bytes:
    """Everything that comes until the server closes, or cuts the line."""
    said = b""
    try:
        async with asyncio.timeout(5):
            while piece := await line[0].read(65536):
                said += piece
    except ConnectionError:
        pass
    line[1].close()
    return said


async def told_while(lines: list[Line], pieces: list[bytes]) -> list[bytes]:
    """What each line is told while it goes on to send its piece."""

    async def dribble(line: Line, piece: bytes) -> None:
        while not line[1].is_closing():
            line[1].write(piece)
            await asyncio.sleep(0.002)

    sending = [asyncio.create_task(dribble(line, piece)) for line, piece in zip(lines, pieces)]
    said = await asyncio.gather(*(answer(line) for line in lines))
    await asyncio.gather(*sending)
    return list(said)


async def one(line: Line, request: bytes) -> bytes:
    """The head of the answer to one request on a line that stays."""
    line[1].write(request)
    head = await asyncio.wait_for(line[0].readuntil(b"\r\n\r\n"), 5)
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    await line[0].readexactly(length)
    return head


@pytest.mark.slow
def test_requests_on_one_line_are_answered_without_a_word_of_the_server() -> None:
    async def body() -> None:
        async with served() as (_, opened):
            line = await opened()
            for size in (0, 10, 999):
                head = await one(line, ASK + b"content-length: %d\r\n\r\n" % size + b"x" * size)
                assert head.startswith(b"HTTP/1.1 200") and b"server:" not in head.lower()
                await asyncio.sleep(0.25)  # longer than a head may take: an idle line is no slow head
            line[1].close()

    asyncio.run(body())


@pytest.mark.slow
def test_a_head_that_is_slow_or_too_long_or_never_begins_ends_the_line() -> None:
    async def body() -> None:
        async with served() as (server, opened):
            silent = await opened()
            slow, breaks, long, many = [await opened() for _ in range(4)]
            for line in (slow, long, many):
                line[1].write(ASK)
            pieces = [b"", b"", b"\r\n", b"a" * 100, b"a: b\r\n" * 20]
            said = await told_while([silent, slow, breaks, long, many], pieces)
            assert [text[9:12] for text in said] == [b"", b"408", b"", b"431", b"431"]
            assert not server.server_state.connections

    asyncio.run(body())


@pytest.mark.slow
def test_what_comes_after_an_answer_and_is_no_request_ends_the_line() -> None:
    async def body() -> None:
        async with served() as (server, opened):
            breaks, rest = await opened(), await opened()
            await one(breaks, ASK + b"content-length: 0\r\n\r\n")
            # An answer that comes before the body: 415, and the body's bytes dribble in.
            assert (await one(rest, b"POST / HTTP/1.1\r\ncontent-length: 9999\r\n\r\n"))[9:12] == b"415"
            assert await told_while([breaks, rest], [b"\r\n", b"x"]) == [b"", b""]
            assert not server.server_state.connections

    asyncio.run(body())


@pytest.mark.slow
def test_a_body_that_dribbles_and_one_of_ten_megabytes_are_told_why() -> None:
    async def body() -> None:
        async with served() as (_, opened):
            slow = await opened()
            slow[1].write(ASK + b"content-length: 10\r\n\r\n{")
            long = await opened()
            long[1].write(ASK + b"content-length: 10000000\r\n\r\n" + b"x" * 10_000_000)
            assert (await answer(slow)).startswith(b"HTTP/1.1 408")
            told = await answer(long)
            assert told.startswith(b"HTTP/1.1 413") and b"at most 1000 bytes, found 10000000" in told

    asyncio.run(body())


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux cuts such lines off")
def test_a_client_that_never_reads_its_answer_does_not_keep_its_line() -> None:
    async def body() -> None:
        async with served() as (server, _):
            port = server.servers[0].sockets[0].getsockname()[1]
            client = socket.create_connection(("127.0.0.1", port))
            request = ASK.replace(b"POST /", b"POST /much") + b"connection: close\r\ncontent-length: 0\r\n\r\n"
            client.sendall(request)
            await asyncio.sleep(0.1)
            assert len(server.server_state.connections) == 1
            for _ in range(500):
                await asyncio.sleep(0.01)
                if not server.server_state.connections:
                    break
            assert not server.server_state.connections
            client.close()

    asyncio.run(body())


@pytest.mark.slow
def test_more_connections_than_are_borne_are_told_so() -> None:
    async def body() -> None:
        async with served(replace(HERE, connections=2)) as (_, opened):
            lines = [await opened() for _ in range(3)]
            assert (await one(lines[2], ASK + b"content-length: 0\r\n\r\n"))[9:12] == b"503"
            for line in lines:
                line[1].close()

    asyncio.run(body())
