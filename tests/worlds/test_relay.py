"""Requests handed on to servers as they are, and their answers handed back as they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from autotts.core.cost import ModelCard
from autotts.core.plan import Draw, Spec
from autotts.errors import BackendError
from autotts.worlds.fake_server import FakeModel, FakeServer, Faults, Pace, echo
from autotts.worlds.joined import Joined
from autotts.worlds.models.entry import Entry, Server
from autotts.worlds.openai import OpenAI, open_openai
from autotts.worlds.relay import Relay, relay_of
from autotts.worlds.servers import Fault, Fleet, Retries, Timeouts
from autotts.worlds.tiny import open_tiny
from tests.worlds.fakes import until
from tests.worlds.servers_fakes import KEY, Peer, Talk, listening, sse
from tests.worlds.test_openai import answer, entry, run

BODY = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 40}
CHAT = "/chat/completions"
QUICK = Retries(tries=3, first=0.001, longest=0.002, patience=0.01)


class Kept:
    """A sink that keeps what it is given."""

    def __init__(self, each: Callable[[bytes], Awaitable[None]] | None = None) -> None:
        self.kinds: list[str] = []
        self.pieces: list[bytes] = []
        self._each = each

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    async def begin(self, kind: str) -> None:
        assert not self.pieces
        self.kinds.append(kind)

    async def piece(self, data: bytes) -> None:
        assert self.kinds
        assert data
        self.pieces.append(data)
        if self._each is not None:
            await self._each(data)


def through(
    work: Callable[[OpenAI, list[list[Peer]]], Awaitable[Any]],
    *talks: Talk,
    retries: Retries = QUICK,
    timeouts: Timeouts | None = None,
    **limits: Any,
) -> Any:
    """Do some work with a world of one model on raw servers that talk so; and the connections that each had."""

    async def live() -> Any:
        async with AsyncExitStack() as stack:
            found = [await stack.enter_async_context(listening(talk)) for talk in talks]
            servers = tuple(Server(server.url, KEY, **limits) for server, _ in found)
            one = Entry("small", "openai", "small", ModelCard("small", "1"), servers)

            def fleet() -> Fleet:
                return Fleet(retries=retries, timeouts=timeouts)

            with open_openai({"small": one}, read=str, fleet=fleet) as world:
                async with asyncio.timeout(20.0), world.session():
                    return await work(world, [peers for _, peers in found])

    return asyncio.run(live())


def sent(*chunks: bytes, kind: str = "text/event-stream", breaks: bool = False) -> Talk:
    async def talk(peer: Peer) -> None:
        while await peer.hear():
            await peer.begin(kind)
            for chunk in chunks:
                await peer.chunk(chunk)
                await asyncio.sleep(0)
            if breaks:
                return
            await peer.chunk(b"")

    return talk


def refuses(status: int, body: str = "", **headers: str) -> Talk:
    async def talk(peer: Peer) -> None:
        while await peer.hear():
            await peer.answer(status, body, **headers)

    return talk


async def silent(peer: Peer) -> None:
    await peer.hear()


# ---------------------------------------------------------------- bytes


def test_bytes_are_handed_on_as_they_were_sent() -> None:
    odd = (b"data: {\xff\r\n\r\n: hm", b"m\n\ndata: [DO", b"NE]\n\n", bytes(range(256)))

    async def work(world: OpenAI, peers: list[list[Peer]]) -> None:
        sink = Kept()
        await world.relay("small", CHAT, BODY | {"stream": True}, sink)
        assert (sink.kinds, sink.data) == (["text/event-stream"], b"".join(odd))
        (peer,) = peers[0]
        assert peer.form == BODY | {"stream": True}
        assert peer.head.startswith("POST /v1/chat/completions HTTP/1.1")
        assert f"Bearer {KEY}" in peer.head
        await world.relay("small", "/embeddings", {"model": "x", "input": "y"}, Kept())
        assert peer.head.startswith("POST /v1/embeddings ")
        assert len(peers[0]) == 1  # the connection is used again

    through(work, sent(*odd))


def test_a_first_piece_is_handed_on_before_the_second_is_made() -> None:
    """Also where so many streams run that those of draws are read at common beats."""
    seen = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.hear()
        await peer.begin()
        await peer.chunk(sse("one"))
        if not peer.form.get("stay"):
            await asyncio.wait_for(seen.wait(), 5.0)
        else:
            await peer.gone()
            return
        await peer.chunk(sse("two"))
        await peer.chunk(b"")

    async def work(world: OpenAI, peers: list[list[Peer]]) -> None:
        others = [asyncio.ensure_future(world.relay("small", CHAT, {"stay": 1}, Kept())) for _ in range(12)]
        await until(lambda: len(peers[0]) == 12)

        async def each(data: bytes) -> None:
            seen.set()

        sink = Kept(each)
        await world.relay("small", CHAT, {}, sink)
        assert sink.pieces == [sse("one"), sse("two")]
        for other in others:
            other.cancel()
        await asyncio.wait(others)

    through(work, talk)


def test_an_answer_without_a_body_is_one() -> None:
    async def work(world: OpenAI, peers: list[list[Peer]]) -> None:
        sink = Kept()
        await world.relay("small", CHAT, {}, sink)
        assert (sink.kinds, sink.pieces) == (["x/y"], [])

    through(work, sent(kind="x/y"))


def test_what_is_relayed_equals_the_draw_of_the_same_key() -> None:
    async def work(server: FakeServer, world: OpenAI) -> None:
        root, state = world.root("What is 12 + 30?")
        spec = Spec(model="small", temperature=0.7)
        reply = await answer(world, Draw(root, spec), state, key=7)
        form = world.form(spec, state, 7)
        assert form.body["stream_options"] == {"include_usage": True}
        sink = Kept()
        await world.relay("small", form.path, form.body, sink)
        events = [json.loads(line[6:]) for line in sink.data.split(b"\n\n") if line.startswith(b"data: {")]
        said = "".join(e["choices"][0]["delta"].get("content") or "" for e in events if e["choices"])
        assert said == reply.state["text"]
        assert events[-1]["usage"]["completion_tokens"] == reply.usage.generated

    run(work)


# ---------------------------------------------------------------- what goes wrong


def test_another_server_is_tried_before_the_first_byte() -> None:
    async def work(world: OpenAI, peers: list[list[Peer]]) -> None:
        for _ in range(4):
            sink = Kept()
            await world.relay("small", CHAT, {}, sink)
            assert sink.pieces == [b"well"]
        assert peers[0]
        assert peers[1]

    through(work, silent, sent(b"well"))
    through(work, sent(breaks=True), sent(b"well"))
    through(work, refuses(500), sent(b"well"))
    through(work, refuses(429), sent(b"well"))


def test_nothing_is_tried_again_after_the_first_byte() -> None:
    async def work(world: OpenAI, peers: list[list[Peer]]) -> None:
        sink = Kept()
        with pytest.raises(Fault) as caught:
            await world.relay("small", CHAT, {}, sink)
        assert (caught.value.kind, caught.value.again, sink.pieces) == ("reset", False, [b"half"])
        assert [len(each) for each in peers] in ([1, 0], [0, 1])

    through(work, sent(b"half", breaks=True), sent(b"half", breaks=True))


def test_a_refusal_says_what_the_server_said() -> None:
    error = {"error": {"message": f"no such field: {KEY}", "type": "odd", "param": "x", "code": 7}}

    async def work(world: OpenAI, peers: list[list[Peer]]) -> None:
        with pytest.raises(Fault, match="no such field") as caught:
            await world.relay("small", CHAT, {}, Kept())
        fault = caught.value
        assert (fault.status, fault.kind, fault.again) == (400, "request", False)
        assert json.loads(fault.body)["error"]["param"] == "x"
        assert KEY not in fault.body + fault.said + str(fault)
        assert len(peers[0]) == 1

    through(work, refuses(400, json.dumps(error)))


def test_a_model_that_is_not_served_is_told_from_other_refusals() -> None:
    async def work(server: FakeServer, world: OpenAI) -> None:
        with pytest.raises(Fault, match=r"the server lists .*small") as caught:
            await world.relay("small", CHAT, BODY | {"model": "other"}, Kept())
        assert caught.value.status == 404
        assert "other" in caught.value.body

    run(work)


@pytest.mark.parametrize("status", [401, 403, 302])
def test_a_key_or_an_address_that_is_refused_is_the_backends_matter(status: int) -> None:
    async def work(world: OpenAI, peers: list[list[Peer]]) -> None:
        with pytest.raises(BackendError) as caught:
            await world.relay("small", CHAT, {}, Kept())
        assert KEY not in str(caught.value)

    through(work, refuses(status, location="/elsewhere"))


def test_a_server_that_is_gone_is_a_broken_backend_and_comes_back() -> None:
    async def work() -> None:
        async with listening(sent(b"well")) as (server, _):
            url = server.url
        one = Entry("small", "openai", "small", ModelCard("small", "1"), (Server(url),))
        with open_openai({"small": one}, read=str, fleet=lambda: Fleet(retries=QUICK)) as world:
            async with world.session():
                with pytest.raises(BackendError, match="found no server that works"):
                    await world.relay("small", CHAT, {}, Kept())
                port = int(url.rsplit(":", 1)[1].partition("/")[0])

                async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                    peer = Peer(reader, writer)
                    await sent(b"well")(peer)
                    writer.close()

                async with await asyncio.start_server(talk, "127.0.0.1", port):
                    sink = Kept()
                    async with asyncio.timeout(10.0):
                        while not sink.pieces:
                            try:
                                await world.relay("small", CHAT, {}, sink)
                            except BackendError:
                                await asyncio.sleep(0.01)
                    assert sink.data == b"well"

    asyncio.run(work())


def test_who_cancels_hangs_up_at_once() -> None:
    gone: list[str] = []

    async def talk(peer: Peer) -> None:
        await peer.hear()
        if peer.form["begins"]:
            await peer.begin()
            await peer.chunk(b"one")
        await peer.gone()
        gone.append("gone")

    async def work(world: OpenAI, peers: list[list[Peer]]) -> None:
        for begins in (False, True):
            sink = Kept()
            task = asyncio.ensure_future(world.relay("small", CHAT, {"begins": begins}, sink))
            await until(lambda: bool(peers[0]) and peers[0][-1].form is not None and bool(sink.pieces) == begins)  # noqa: B023
            await until(lambda: len(peers[0]) == len(gone) + 1 and "begins" in peers[0][-1].form)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            count = len(gone)
            await until(lambda: len(gone) == count + 1)  # noqa: B023
        assert world.standings()[0].in_flight == 0

    through(work, talk)


def test_a_sink_that_fails_ends_it_and_is_not_the_servers_fault() -> None:
    async def broken(data: bytes) -> None:
        raise OSError("the client is gone")

    async def work(world: OpenAI, peers: list[list[Peer]]) -> None:
        with pytest.raises(OSError, match="the client is gone"):
            await world.relay("small", CHAT, {}, Kept(broken))
        (standing,) = world.standings()
        assert (standing.in_flight, standing.faults, len(peers[0])) == (0, {}, 1)

    through(work, sent(b"one", b"two"))


def test_a_slow_sink_holds_the_server_up() -> None:
    made = 0

    async def talk(peer: Peer) -> None:
        nonlocal made
        await peer.hear()
        await peer.begin()
        for _ in range(400):
            await peer.chunk(b"x" * (64 << 10))
            made += 64 << 10
        await peer.chunk(b"")

    async def work(world: OpenAI, peers: list[list[Peer]]) -> None:
        first, go_on = asyncio.Event(), asyncio.Event()

        async def slow(data: bytes) -> None:
            first.set()
            await go_on.wait()

        sink = Kept(slow)
        task = asyncio.ensure_future(world.relay("small", CHAT, {}, sink))
        await first.wait()
        before = -1
        while made != before:  # until the server waits for us
            before = made
            await asyncio.sleep(0.02)
        assert made < 400 * (64 << 10)
        go_on.set()
        await task
        assert len(sink.data) == made == 400 * (64 << 10)

    through(work, talk)


def test_a_field_that_nobody_asked_for_may_be_left_out() -> None:
    bodies: list[dict[str, Any]] = []

    async def talk(peer: Peer) -> None:
        while await peer.hear():
            bodies.append(peer.form)
            for name in ("seed", "max_tokens"):
                if name in peer.form:
                    await peer.answer(400, json.dumps({"error": {"message": f"Unsupported parameter: '{name}'"}}))
                    break
            else:
                await peer.answer(200, "{}")

    async def work(world: OpenAI, peers: list[list[Peer]]) -> None:
        with pytest.raises(Fault, match="Unsupported parameter: 'seed'"):
            await world.relay("small", CHAT, {"seed": 1, "max_tokens": 5}, Kept())
        await world.relay("small", CHAT, {"seed": 1, "max_tokens": 5}, Kept(), own=("seed",))
        assert bodies[-1] == {"max_completion_tokens": 5}
        asked = len(bodies)
        await world.relay("small", CHAT, {"seed": 1, "max_tokens": 5}, Kept(), own=("seed",))
        assert bodies[asked:] == [{"max_completion_tokens": 5}]
        with pytest.raises(Fault, match="seed"):
            await world.relay("small", CHAT, {"seed": 1}, Kept())

    through(work, talk)


def test_limits_of_tokens_are_held_by_what_an_answer_says_it_was() -> None:
    usage = b'{"usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}'

    async def work(world: OpenAI, peers: list[list[Peer]]) -> None:
        async with asyncio.timeout(5.0):
            for _ in range(20):  # 100 tokens and not 20 times what was reserved
                await world.relay("small", CHAT, {"max_tokens": 90}, Kept())

    through(work, sent(usage), tokens_per_minute=210.0)


# ---------------------------------------------------------------- where it is found


def test_a_relay_is_found_where_models_are_behind_servers() -> None:
    one = Entry("S", "openai", "S", ModelCard("S", "1"), (Server("http://localhost:1/v1"),))
    with open_openai({"S": one}, read=str) as world, open_tiny(("M",), read=str) as tiny:
        assert relay_of(world, "S") is world
        assert relay_of(world, "L") is None
        assert relay_of(tiny, "M") is None
        both = Joined((world, tiny))
        assert relay_of(both, "S") is world
        assert relay_of(both, "M") is relay_of(both, "L") is None
        assert isinstance(world, Relay)


def test_the_fake_servers_faults_are_borne() -> None:
    async def work() -> None:
        faults = Faults(listed=("500", None, "429", None, "restart", None))
        async with FakeServer([FakeModel("small", echo("a b c"))], pace=Pace(chunk=1), faults=faults) as server:
            retries = Retries(tries=6, first=0.001, longest=0.002)
            with open_openai({"S": entry(server, name="S")}, read=str, fleet=lambda: Fleet(retries=retries)) as world:
                async with world.session():
                    for _ in range(3):
                        sink = Kept()
                        await world.relay("S", CHAT, BODY, sink)
                        assert json.loads(sink.data)["choices"][0]["message"]["content"] == "a b c"

    asyncio.run(work())


def quoting(field: str) -> Talk:
    """A server that quotes what it refuses: here the words of whoever asks."""

    async def talk(peer: Peer) -> None:
        while await peer.hear():
            if "odd" in peer.form:
                await peer.answer(400, json.dumps({"error": {"message": f"odd: unsupported {field}"}}))
            else:
                await peer.begin("text/event-stream")
                await peer.chunk(b"data: [DONE]\n\n")
                await peer.chunk(b"")

    return talk


@pytest.mark.parametrize("field", ["temperature", "seed", "max_tokens"])
def test_words_of_one_request_take_no_field_from_others(field: str) -> None:
    async def work(world: OpenAI, peers: list[list[Peer]]) -> None:
        body = BODY | {"temperature": 0.7, "seed": 3}
        with pytest.raises(Fault):
            await world.relay("small", CHAT, body | {"odd": 1}, Kept(), own=("temperature", "seed"))
        await world.relay("small", CHAT, body, Kept(), own=("temperature", "seed"))
        assert peers[0][-1].form == body

    through(work, quoting(field))


def test_what_a_server_really_refuses_is_left_out_from_then_on() -> None:
    forms: list[Any] = []

    async def talk(peer: Peer) -> None:
        while await peer.hear():
            forms.append(peer.form)
            if "seed" in peer.form:
                await peer.answer(400, json.dumps({"error": {"message": "unsupported field seed"}}))
            else:
                await peer.begin("text/event-stream")
                await peer.chunk(b"data: [DONE]\n\n")
                await peer.chunk(b"")

    async def work(world: OpenAI, _: list[list[Peer]]) -> None:
        for _ in range(2):
            await world.relay("small", CHAT, BODY | {"seed": 3}, Kept(), own=("seed",))
        assert ["seed" in form for form in forms] == [True, False, False]

    through(work, talk)
