"""The load that benchmarks make: when it sends, and what it says of answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import wraps

import pytest

from tests.benchmarks.loading import Load, Seen, chat, crowd, quantile, steady

BODY = b'{"usage": {"prompt_tokens": 7, "completion_tokens": 13}}'
WHOLE = b"HTTP/1.1 200 OK\r\nX-One: two\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
ASKED = chat("http://127.0.0.1/v1", "small", "What is 1 + 2?")


def in_loop(test: Callable[..., Coroutine[None, None, None]]) -> Callable[..., None]:
    """A test that runs in an event loop of its own."""

    @wraps(test)
    def run(**given: object) -> None:
        asyncio.run(test(**given))

    return run


Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[str]:
    """A server that answers every request with a function."""

    open_ones: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readexactly(len(ASKED))
                await answer(writer)
        writer.close()

    async def held(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        open_ones.add(task)
        await task

    server = await asyncio.start_server(held, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await asyncio.gather(*open_ones)
        await asyncio.sleep(0.001)


def saying(words: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(words)

    return answer


@in_loop
async def test_requests_are_sent_when_they_are_due_also_while_none_is_answered() -> None:
    waiting: list[asyncio.StreamWriter] = []

    async def stalls(writer: asyncio.StreamWriter) -> None:
        waiting.append(writer)
        if len(waiting) == 20:  # a load that waited for answers would never come to this one
            for one in waiting:
                one.write(WHOLE)

    async with answering(stalls) as url, Load(url) as load:
        seen = await steady(load, [ASKED], rate=1000, count=20)
    due = [one.due for one in seen]
    assert max(due) - min(due) == pytest.approx(0.019)
    assert all(one.sent >= one.due for one in seen)
    assert max(one.last - one.due for one in seen) >= 0.019  # that of the first: it counts from when it was due


@in_loop
async def test_clients_of_a_crowd_wait_for_their_answers() -> None:
    running = most = 0

    async def counts(writer: asyncio.StreamWriter) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        writer.write(WHOLE)

    async with answering(counts) as url, Load(url) as load:
        seen = await crowd(load, [ASKED], clients=3, count=30)
    assert len(seen) == 30 and all(one.good for one in seen)
    assert most <= 3


@pytest.mark.parametrize("words", [WHOLE, CHUNKS], ids=["whole", "chunks"])
@in_loop
async def test_answers_are_read_however_they_are_cut(words: bytes) -> None:
    async def bit_by_bit(writer: asyncio.StreamWriter) -> None:
        for byte in range(len(words)):
            writer.write(words[byte : byte + 1])
            await writer.drain()
            await asyncio.sleep(0)

    async with answering(bit_by_bit) as url, Load(url) as load:
        seen = [await load.ask(ASKED) for _ in range(2)]
    for one in seen:
        assert one.good and one.used() == (7, 13)
        assert one.due <= one.sent <= one.first <= one.token <= one.last
    assert seen[0].header("x-one") == ("two" if words is WHOLE else None)


@in_loop
async def test_a_connection_that_breaks_and_one_that_is_refused_are_told() -> None:
    async def breaks(writer: asyncio.StreamWriter) -> None:
        writer.write(WHOLE[:-1])
        writer.close()

    async with answering(breaks) as url, Load(url) as load:
        (broken,) = await steady(load, [ASKED], rate=1000, count=1)
    assert not broken.good and broken.fault.startswith("broke off") and broken.status == 200
    async with Load(url) as load:
        (refused,) = await steady(load, [ASKED], rate=1000, count=1)
    assert not refused.good and refused.fault.startswith("no connection") and refused.last >= refused.due


@in_loop
async def test_what_runs_when_a_load_ends_is_hung_up_on() -> None:
    ended: list[Seen] = []
    asked = asyncio.Event()

    async def mute(_: asyncio.StreamWriter) -> None:
        asked.set()

    async with answering(mute) as url, Load(url) as load:  # the server ends when its connections have
        load.send(ASKED, 0.0, ended.append)
        await asked.wait()
    assert [one.fault for one in ended] == ["hung up"]


def test_a_quantile_is_a_value_that_was_seen() -> None:
    assert quantile([4, 1, 3, 2], 0.5) == 3
    assert quantile(range(100), 0.99) == 99
    assert quantile([], 0.5) != quantile([], 0.5)
