"""The wire and the line over real connections: what servers do to their answers, and what becomes of it."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotts.errors import InputError
from autotts.worlds.models.entry import Server
from autotts.worlds.servers import Fault, Fleet, Line, Retries, Timeouts
from autotts.worlds.servers.http1 import Incoming
from tests.worlds.servers_fakes import KEY, Peer, asked, listening, post, sse, streamed

SHORT = 0.03
DONE = sse("[DONE]")


def serve(*chunks: bytes, ends: bool = True) -> Any:
    """A server that streams these chunks to each who asks."""

    async def talk(peer: Peer) -> None:
        while await peer.hear():
            await peer.begin()
            for chunk in chunks:
                await peer.chunk(chunk)
            if not ends:
                return
            await peer.chunk(b"")

    return talk


def raw(data: bytes) -> Any:
    """A server that sends these bytes and closes."""

    async def talk(peer: Peer) -> None:
        await peer.hear()
        await peer.send(data)

    return talk


def fault_of(talk: Any, attempt: Any = streamed, timeouts: Timeouts | None = None) -> Fault:
    """What such a server comes to."""
    with pytest.raises(Fault) as caught:
        asyncio.run(asked(talk, attempt, timeouts=timeouts))
    assert KEY not in str(caught.value)
    return caught.value


# ---------------------------------------------------------------------- streams


def test_events_are_the_same_however_they_are_written() -> None:
    text = (
        ': ping\r\n\r\nevent: x\r\nid: 3\r\ndata: {"a":"é"}\r\n\r\ndata:b\rdata: c\r\rdata: d\n\n\n\ndata: [DONE]\n\n'
    )
    pieces = [text.encode()[i : i + 1] for i in range(len(text.encode()))]
    expected = ['{"a":"é"}'.encode(), b"b\nc", b"d"]
    assert asyncio.run(asked(serve(*pieces), streamed)) == expected
    assert asyncio.run(asked(serve(text.encode()), streamed)) == expected


def test_an_end_without_a_blank_line_is_an_end() -> None:
    assert asyncio.run(asked(serve(sse("a"), b"data: [DONE]"), streamed)) == [b"a"]


def test_half_a_stream_is_nonsense_and_a_connection_that_breaks_a_reset() -> None:
    assert fault_of(serve(sse("a"))).kind == "nonsense"
    assert fault_of(serve(sse("a"), ends=False)).kind == "reset"
    assert fault_of(raw(b"")).kind == "reset"


def test_a_stream_up_to_the_end_of_the_connection() -> None:
    head = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n"
    assert asyncio.run(asked(raw(head + sse("a") + DONE), streamed)) == [b"a"]
    assert fault_of(raw(head + sse("a"))).kind == "nonsense"


@pytest.mark.parametrize(
    "data",
    [
        b"\x15\x03\x01\x00",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 9999,
    ],
)
def test_what_is_not_http_is_nonsense(data: bytes) -> None:
    assert fault_of(raw(data)).kind == "nonsense"


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.lists(st.integers(0, 400), max_size=12))
def test_an_answer_is_the_same_however_it_is_cut(chunks: list[bytes], cuts: list[int]) -> None:
    head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: Chunked\r\n\r\n"
    whole = head + b"".join(
        b"%x;q=1\r\n%s\r\n" % (len(c), c) if len(c) % 2 else b"%X\r\n%s\r\n" % (len(c), c) for c in chunks
    )
    whole += b"0\r\nTrailer: x\r\n\r\n"
    incoming, at = Incoming(), 0
    for cut in [*sorted(c for c in cuts if c < len(whole)), len(whole)]:
        assert not incoming.ended or at == cut
        incoming.feed(whole[at:cut])
        at = cut
    assert incoming.ended and incoming.keeps and incoming.headers["x-a"] == "b"
    assert b"".join(incoming.pieces) == b"".join(chunks)


def test_connections_are_kept_and_cut_when_the_answer_is_left() -> None:
    async def main() -> None:
        done = asyncio.Event()

        async def talk(peer: Peer) -> None:
            while await peer.hear():
                await peer.begin()
                await peer.chunk(sse("a"))
                if peer.form["n"] == 2:
                    await peer.gone()
                    done.set()
                    return
                await peer.chunk(DONE)
                await peer.chunk(b"")

        async def left(line: Line) -> bytes:
            async with line.stream("/x", {"n": 2}) as events:
                async for event in events:
                    return event
            raise AssertionError

        async with listening(talk) as (server, peers), Fleet() as fleet:
            for _ in range(5):
                assert await fleet.call([server], streamed, tokens=1, what="t") == [b"a"]
            assert len(peers) == 1
            assert await fleet.call([server], left, tokens=1, what="t") == b"a"
            async with asyncio.timeout(5):
                await done.wait()
            assert await fleet.call([server], streamed, tokens=1, what="t") == [b"a"]
            assert len(peers) == 2

    asyncio.run(main())


def test_cancelling_hangs_up_and_says_what_had_come() -> None:
    async def main() -> None:
        heard, done = asyncio.Event(), asyncio.Event()
        came: list[bytes] = []

        async def talk(peer: Peer) -> None:
            await peer.hear()
            await peer.begin()
            await peer.chunk(sse("a"))
            await peer.chunk(sse("b", "c"))
            heard.set()
            await peer.gone()
            done.set()

        async def attempt(line: Line) -> None:
            async with line.stream("/x", {}) as events:
                try:
                    came.append(await anext(events))
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    came.extend(await events.leave())
                    raise

        async with listening(talk) as (server, _), Fleet() as fleet:
            task = asyncio.create_task(fleet.call([server], attempt, tokens=1, what="t"))
            await heard.wait()
            while not came:
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() and came == [b"a", b"b", b"c"]
            async with asyncio.timeout(5):
                await done.wait()
            assert fleet.standings()[0].in_flight == 0

    asyncio.run(main())


def test_many_streams_at_once_lose_nothing() -> None:
    async def talk(peer: Peer) -> None:
        while await peer.hear():
            await peer.begin()
            for i in range(30):
                await peer.chunk(sse(f"{peer.form['n']}.{i}"))
                await asyncio.sleep(0)
            await peer.chunk(DONE)
            await peer.chunk(b"")

    async def main() -> None:
        async with listening(talk) as (server, _), Fleet() as fleet:

            async def one(n: int) -> None:
                async def attempt(line: Line) -> list[bytes]:
                    async with line.stream("/x", {"n": n}) as events:
                        return [event async for event in events]

                found = await fleet.call([server], attempt, tokens=1, what="t")
                assert found == [f"{n}.{i}".encode() for i in range(30)]

            await asyncio.gather(*[one(n) for n in range(48)])
            assert fleet.standings()[0].faults == {}

    asyncio.run(main())


def test_an_answer_of_many_megabytes() -> None:
    body = '{"a":"' + "x" * (8 << 20) + '"}'

    async def talk(peer: Peer) -> None:
        await peer.hear()
        await peer.answer(200, body)

    assert len(asyncio.run(asked(talk, post))["a"]) == 8 << 20


# ---------------------------------------------------------------------- time


@pytest.mark.parametrize(
    ("timeouts", "begins", "words"),
    [
        (Timeouts(first=SHORT), False, "nothing for"),
        (Timeouts(first=SHORT), True, "nothing for"),
        (Timeouts(total=SHORT), True, "did not end"),
    ],
)
def test_a_server_that_says_nothing_times_out(timeouts: Timeouts, begins: bool, words: str) -> None:
    async def talk(peer: Peer) -> None:
        await peer.hear()
        if begins:
            await peer.begin()
        await peer.gone()

    fault = fault_of(talk, timeouts=timeouts)
    assert fault.kind == "timeout" and words in str(fault)


def test_a_stream_that_stops_times_out() -> None:
    async def talk(peer: Peer) -> None:
        await peer.hear()
        await peer.begin()
        await peer.chunk(sse("a"))
        await peer.gone()

    fault = fault_of(talk, timeouts=Timeouts(between=SHORT))
    assert fault.kind == "timeout" and "nothing more" in str(fault)


def test_a_slow_reader_is_no_slow_server() -> None:
    async def slowly(line: Line) -> int:
        async with line.stream("/x", {}) as events:
            found = 0
            async for _ in events:
                await asyncio.sleep(2 * SHORT)
                found += 1
            return found

    assert asyncio.run(asked(serve(sse("a", "b"), DONE), slowly, timeouts=Timeouts(between=SHORT))) == 2


# ---------------------------------------------------------------------- addresses


def test_ipv6() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    try:
        with socket.socket(socket.AF_INET6) as found:
            found.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6")
    assert asyncio.run(asked(serve(sse("a"), DONE), streamed, host="::1")) == [b"a"]


def test_tls_to_a_plain_server_is_said() -> None:
    async def talk(peer: Peer) -> None:
        await peer.reader.read(1)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def main() -> None:
        async with listening(talk) as (server, _), Fleet() as fleet:
            wrong = Server(server.url.replace("http:", "https:"), key=KEY)
            with pytest.raises(InputError, match="does not speak TLS") as caught:
                await fleet.call([wrong], post, tokens=1, what="t")
            assert KEY not in str(caught.value)

    asyncio.run(main())


def test_nobody_listens_and_names_that_are_unknown() -> None:
    async def main(url: str) -> Fault:
        async with Fleet(retries=Retries(tries=1)) as fleet:
            with pytest.raises(Fault) as caught:
                await fleet.call([Server(url)], post, tokens=1, what="t")
        return caught.value

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        assert asyncio.run(main(url)).kind == "refused"
    assert asyncio.run(main("http://nowhere.invalid/v1")).kind == "refused"


def test_the_request_as_it_is_sent() -> None:
    heads: list[str] = []

    async def talk(peer: Peer) -> None:
        while await peer.hear():
            heads.append(peer.head)
            await peer.answer(200, "{}")

    async def attempt(line: Line) -> None:
        await line.post("/completions", {"n": 1})
        await line.get("../metrics")

    async def main() -> None:
        async with listening(talk) as (server, _), Fleet() as fleet:
            await fleet.call([server], attempt, tokens=1, what="t")
            login = Server(server.url.replace("127", "ann:p%40ssword@127") + "/?api=2")
            await fleet.call([login], attempt, tokens=1, what="t")

    asyncio.run(main())
    assert heads[0].startswith("POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:")
    assert f"Authorization: Bearer {KEY}\r\n" in heads[0]
    assert heads[1].startswith("GET /metrics HTTP/1.1\r\n") and "Content-Length" not in heads[1]
    assert heads[2].startswith("POST /v1/completions?api=2 HTTP/1.1\r\n")
    assert "Authorization: Basic YW5uOnBAc3N3b3Jk\r\n" in heads[2]  # ann:p@ssword
