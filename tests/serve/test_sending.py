"""Clients that hang up, and clients that do not read."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn

from autotts.serve.sending import Gone, Message, Patient, Receive, Send, listen
from tests.serve.lines import Downward, Upward

PIECE: Message = {"type": "http.response.body", "body": b"x", "more_body": True}


def test_pieces_are_handed_over_in_order() -> None:
    async def body() -> None:
        line = Downward(3)
        send = Patient(line.send, 5, asyncio.Event())
        for data in (b"a", b"b", b"c"):
            await send({**PIECE, "body": data})
        assert line.bodies() == [b"a", b"b", b"c"]

    asyncio.run(body())


def test_a_client_that_does_not_read_is_taken_for_gone() -> None:
    async def body() -> None:
        line, gone = Downward(2), asyncio.Event()
        send = Patient(line.send, 0.001, gone)
        await send(PIECE)
        await send(PIECE)
        with pytest.raises(Gone, match="did not take"):
            await send(PIECE)
        assert gone.is_set()
        with pytest.raises(Gone):
            await send(PIECE)
        assert len(line.taken) == 2

    asyncio.run(body())


def test_nothing_is_sent_to_one_that_hung_up() -> None:
    async def body() -> None:
        up, down = Upward([]), Downward(9)
        async with listen(up.receive) as gone:
            send = Patient(down.send, 5, gone.event)
            await send(PIECE)
            assert not gone.event.is_set()
            up.hang_up()
            await asyncio.wait_for(gone.event.wait(), 5)
            with pytest.raises(Gone, match="hung up"):
                await send(PIECE)
        assert len(down.taken) == 1

    asyncio.run(body())


def test_a_line_that_breaks_is_one_that_was_hung_up() -> None:
    async def broken(*_: Message) -> Message:
        raise ConnectionResetError

    async def body() -> None:
        async with listen(broken) as gone:
            await asyncio.wait_for(gone.event.wait(), 5)
        gone = asyncio.Event()
        with pytest.raises(Gone):
            await Patient(broken, 5, gone)(PIECE)  # type: ignore[arg-type]
        assert gone.is_set()

    asyncio.run(body())


def test_cancelling_what_sends_is_no_hang_up() -> None:
    async def body() -> None:
        gone = asyncio.Event()
        task = asyncio.create_task(Patient(Downward(0).send, 5, gone)(PIECE))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not gone.is_set()

    asyncio.run(body())


def test_listening_ends_with_its_scope() -> None:
    async def body() -> None:
        before = asyncio.all_tasks()
        with pytest.raises(KeyError):
            async with listen(Upward([]).receive) as gone:
                raise KeyError
        assert asyncio.all_tasks() == before and not gone.event.is_set()

    asyncio.run(body())


@asynccontextmanager
async def served(app: object) -> AsyncIterator[int]:
    """A real server of an application on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))  # type: ignore[arg-type]
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        task = asyncio.create_task(server.serve([own]))
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            yield own.getsockname()[1]
        finally:
            server.should_exit = server.force_exit = True
            await task


@pytest.mark.slow
@pytest.mark.parametrize("hangs_up", [True, False])
def test_over_a_real_line_work_ends_when_the_client_hangs_up_or_does_not_read(hangs_up: bool) -> None:
    ended: list[str] = []

    async def app(scope: object, receive: Receive, send: Send) -> None:
        await receive()
        async with listen(receive) as gone:
            patient = Patient(send, 0.2, gone.event)
            try:
                await patient({"type": "http.response.start", "status": 200, "headers": []})
                while True:
                    await patient({**PIECE, "body": b"x" * 5000})
                    if hangs_up:
                        await asyncio.sleep(0.001)
            except Gone as error:
                ended.append(str(error))

    async def body() -> None:
        async with served(app) as port:
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await asyncio.to_thread(client.connect, ("127.0.0.1", port))
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await asyncio.to_thread(client.recv, 100)
            if hangs_up:
                client.close()
            for _ in range(300):
                await asyncio.sleep(0.01)
                if ended:
                    break
            client.close()

    asyncio.run(body())
    assert len(ended) == 1 and ("hung up" in ended[0]) is hangs_up
