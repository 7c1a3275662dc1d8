"""Servers that are watched: whether they are there and serve a model, how they stand, and how they come back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from autotts.core.cost import ModelCard
from autotts.core.plan import Draw, Spec
from autotts.errors import BackendError, InputError
from autotts.policy.opening import Where, opened
from autotts.policy.schema import Policy
from autotts.worlds.catalogue import Asking, Catalogue
from autotts.worlds.fake_server import FakeModel, FakeServer, Pace, Solver
from autotts.worlds.joined import Joined
from autotts.worlds.models.entry import Entry, Server
from autotts.worlds.openai import OpenAI, open_openai
from autotts.worlds.openai.kept import Kept
from autotts.worlds.servers import Fault, Fleet, Retries
from autotts.worlds.tiny import open_tiny
from tests.worlds.servers_fakes import KEY, URL, Clock, Peer, Talk, listening, post, scripted
from tests.worlds.test_openai import answer, entry, run
from tests.worlds.test_relay import BODY, CHAT, refuses, silent
from tests.worlds.test_relay import Kept as Sink

CARD = ModelCard("S", "1")
NOWHERE = Server("http://127.0.0.1:9/v1", KEY)  # nobody listens


def world_of(*servers: Server, served: str = "small", fleet: Callable[[], Fleet] = Fleet) -> Any:
    return open_openai({"S": Entry("S", "openai", served, CARD, servers)}, read=str, fleet=fleet)


def looked(talk: Talk, served: str = "small") -> str:
    """What a look says of a model behind a raw server."""

    async def work() -> str:
        async with listening(talk) as (server, _):
            with world_of(server, served=served) as world:
                found: dict[str, str] = await world.look()
                assert KEY not in found["S"]
                return found["S"]

    return asyncio.run(work())


def lists(*names: str) -> Talk:
    async def talk(peer: Peer) -> None:
        while await peer.hear():
            await peer.answer(200, json.dumps({"object": "list", "data": [{"id": name} for name in names]}))

    return talk


# ---------------------------------------------------------------- looks


def test_a_model_that_is_listed_is_ready() -> None:
    assert looked(lists("other", "small")) == ""
    assert looked(lists("small"), "org/small") == ""


def test_a_model_that_is_not_listed_is_not_and_the_list_is_told() -> None:
    why = looked(lists("b", "a"))
    assert "does not serve 'small': it lists a, b" in why


@pytest.mark.parametrize("talk", [lists(), refuses(404), refuses(405), refuses(429), refuses(200, "{}")])
def test_a_server_that_lists_nothing_is_taken_at_its_word(talk: Talk) -> None:
    assert looked(talk) == ""


@pytest.mark.parametrize(
    ("talk", "words"),
    [
        (refuses(503, "loading"), "HTTP 503: loading"),
        (refuses(500), "HTTP 500"),
        (refuses(401), "check the key"),
        (refuses(200, "<html>hello</html>"), "expected a JSON object, found 'hello'"),
        (refuses(302, location="/x"), "redirects are not followed"),
        (silent, "was closed without an answer"),
    ],
)
def test_a_server_that_is_not_well_is_told_in_words(talk: Talk, words: str) -> None:
    assert words in looked(talk)


def test_a_look_ends_within_its_bound_and_needs_no_session() -> None:
    async def talk(peer: Peer) -> None:
        await peer.hear()
        await peer.gone()

    async def work() -> None:
        async with listening(talk) as (server, _):
            with world_of(server) as world:
                task = asyncio.ensure_future(world.look())
                loop = asyncio.get_running_loop()
                real = loop.time
                await asyncio.sleep(0.02)
                loop.time = lambda: real() + 10.0  # type: ignore[method-assign]
                try:
                    assert "said nothing within 3 s" in (await task)["S"]
                finally:
                    loop.time = real  # type: ignore[method-assign]

    asyncio.run(work())


def test_an_address_that_ends_before_the_version_is_told() -> None:
    async def work() -> str:
        async with listening(refuses(404, "Not Found")) as (server, _):
            short = replace(server, url=server.url.removesuffix("/v1"))
            with world_of(short) as world:
                found: dict[str, str] = await world.look()
                return found["S"]

    assert "up to the version (/v1)?" in asyncio.run(work())


def test_one_server_of_several_is_enough() -> None:
    async def work() -> None:
        async with listening(lists("small")) as (server, _):
            with world_of(NOWHERE, server) as world:
                assert await world.look() == {"S": ""}
        with world_of(NOWHERE, server) as world:
            why = (await world.look())["S"]
            assert why.count("no connection to") == 2
            assert KEY not in why

    asyncio.run(work())


def test_looks_and_standings_of_worlds_that_are_joined() -> None:
    async def work() -> None:
        with world_of(NOWHERE) as servers, open_tiny(("M",), read=str) as tiny:
            both = Joined((servers, tiny))
            found = await both.look()
            assert (found["M"], bool(found["S"])) == ("", True)
            async with both.session():
                assert [one.url for one in both.standings()] == [NOWHERE.url]
            assert tiny.standings() == both.standings() == ()

    asyncio.run(work())


# ---------------------------------------------------------------- standings


def test_standings_count_what_was_asked_and_what_failed() -> None:
    async def work(server: FakeServer, world: OpenAI) -> None:
        (standing,) = world.standings()
        assert (standing.url, standing.healthy, standing.calls, standing.faults) == (server.url, True, 0, {})
        root, state = world.root("What is 1 + 1?")
        await answer(world, Draw(root, Spec(model="small")), state)
        with pytest.raises(Fault):
            await world.relay("small", CHAT, {"model": "small", "messages": 3}, Sink())
        (standing,) = world.standings()
        assert (standing.healthy, standing.in_flight, standing.calls) == (True, 0, 2)
        assert standing.faults == {"request": 1}
        assert standing.window >= 1

    run(work)


def test_standings_show_no_secrets() -> None:
    async def work() -> None:
        with world_of(Server("http://me:hush-hush@127.0.0.1:9/v1")) as world:
            async with world.session():
                assert "hush" not in repr(world.standings())
                assert "http://127.0.0.1:9/v1" in repr(world.standings())

    asyncio.run(work())


# ---------------------------------------------------------------- dead and back


def test_a_dead_server_is_told_soon_and_recovers_by_itself() -> None:
    clock, alive = Clock(), True

    async def handler(request: Any) -> Any:
        import httpx

        if not alive:
            raise httpx.ConnectError("nobody")
        return httpx.Response(200, json={"ok": 1})

    retries = Retries(tries=4, first=0.05, longest=0.5, patience=3.0, rest=1.0)

    async def work() -> None:
        nonlocal alive
        server = Server(URL, KEY)
        async with clock.fleet(scripted(handler), retries) as fleet:

            async def asked() -> float:
                since = clock.now
                await fleet.call([server], post, tokens=1, what="a test")
                return clock.now - since

            await asked()
            alive = False
            since = clock.now
            with pytest.raises(BackendError):
                await asked()
            assert 3.0 <= clock.now - since <= 5.0
            since = clock.now
            for _ in range(20):
                with pytest.raises(BackendError):
                    await asked()
            assert clock.now - since <= 20 * 1.01
            assert not fleet.standings()[0].healthy
            alive = True
            await clock.sleep(1.0)
            assert await asked() == 0.0
            assert fleet.standings()[0].healthy

    clock.run(work())


def test_retries_of_a_service_are_short() -> None:
    from autotts.worlds.servers.limits import serving

    timeouts, retries = serving(3.0)
    assert (retries.patience, retries.rest) == (3.0, 1.0)
    assert timeouts.connect <= 2.0
    assert timeouts.first >= 60.0  # an answer that comes at once comes late


def test_a_long_pause_that_a_server_asks_for_is_told_at_once() -> None:
    clock = Clock()
    asked = 0

    async def handler(request: Any) -> Any:
        import httpx

        nonlocal asked
        asked += 1
        if asked > 2:
            return httpx.Response(200, json={})
        return httpx.Response(429, headers={"retry-after": "40" if asked == 1 else "2"}, json={"error": "slow down"})

    async def work() -> None:
        async with clock.fleet(scripted(handler), Retries(tries=2, first=0.01, longest=0.02, pause=10.0)) as fleet:
            for _ in range(3):
                with pytest.raises(Fault, match="slow down") as caught:
                    await fleet.call([Server(URL)], post, tokens=1, what="a test")
                assert (caught.value.kind, caught.value.status) == ("busy", 429)
                assert 39.0 < caught.value.wait <= 40.0
            assert (asked, clock.now < 1.0) == (1, True)
            await clock.sleep(39.0)
            await fleet.call([Server(URL)], post, tokens=1, what="a test")
            assert (asked, clock.now > 41.0) == (3, True)  # a short one is waited for

    clock.run(work())


# ---------------------------------------------------------------- served policies


def policy_of(catalogue: Catalogue) -> Policy:
    """One arm of one draw of the model S of a catalogue."""
    with catalogue.opened(("S",), (), Asking(str, "Box it.", "tokens")) as world:
        binding = {"id": world.bindings["S"].id} | catalogue.described("S")
    expected = {"value": 0.5, "cost": 10.0}
    data = {
        "format": "autotts.policy/1",
        "task": {"name": "sums", "reader": "exact", "grader": "exact", "instruction": "Box it."},
        "models": {"S": {"binding": binding, "card": {"name": "S", "revision": "1"}}},
        "unit": "tokens",
        "arms": {"cheap": {"arm": "one(model=S, temperature=0)", "expected": {"all": expected}}},
        "difficulty": {"kind": "none", "bins": ["all"]},
        "frontier": [{"budget": 10.0, "route": {"all": [["cheap", 1.0]]}, "expected": expected}],
    }
    return Policy.loads(json.dumps(data))


@asynccontextmanager
async def back(port: int) -> AsyncIterator[FakeServer]:
    async with FakeServer([FakeModel("small", Solver(1.0))], pace=Pace(chunk=1), port=port) as server:
        yield server


def test_a_policy_is_served_while_its_upstream_is_away_and_when_it_comes() -> None:
    async def free() -> str:
        async with listening(silent) as (server, _):
            return server.url

    url = asyncio.run(free())
    one = Entry("S", "openai", "small", CARD, (Server(url),))
    policy, where = policy_of(Catalogue({"S": one}, "a file")), Where(upstream=Server(url))

    async def serve(world: Any) -> None:
        async with world.session():
            assert "no connection to" in (await world.look())["S"]
            root, state = world.root("What is 1 + 1?")
            with pytest.raises(BackendError, match="found no server that works"):
                await answer(world, Draw(root, Spec(model="S")), state)
            assert not world.standings()[0].healthy
            async with back(int(url.rsplit(":", 1)[1].partition("/")[0])):
                assert await world.look() == {"S": ""}
                async with asyncio.timeout(10.0):
                    while not world.standings()[0].healthy:
                        try:
                            reply = await answer(world, Draw(root, Spec(model="S")), state)
                        except BackendError:
                            await asyncio.sleep(0.01)
                assert not reply.value.failed

    async def first_look(world: Any) -> None:
        async with world.session():
            pass

    with opened(policy, where, serving=True, patience=0.05) as world:
        asyncio.run(serve(world))
    with opened(policy, where) as world, pytest.raises(BackendError, match="Nothing was asked yet"):
        asyncio.run(first_look(world))


# ---------------------------------------------------------------- bad input


def test_two_entries_may_stand_for_one_model_of_one_server() -> None:
    """They share its state; nothing is remembered of one that is the other's."""

    async def work(server: FakeServer, world: OpenAI) -> None:
        assert len(world.standings()) == 1
        assert await world.look() == {"one": "", "two": ""}
        for name in ("one", "two"):
            root, state = world.root("What is 1 + 1?")
            reply = await answer(world, Draw(root, Spec(model=name, temperature=0.0)), state)
            assert not reply.value.failed
        assert world.standings()[0].calls == 2

    run(work, lambda server: entry(server, name="one"), lambda server: entry(server, name="two"))


def test_two_upstreams_may_serve_models_of_one_name() -> None:
    async def work() -> None:
        models = [FakeModel("small", Solver(1.0))]
        async with FakeServer(models) as first, FakeServer(models) as second:
            both = {
                name: Entry(name, "openai", "small", CARD, (Server(at.url),))
                for name, at in (("a", first), ("b", second))
            }
            with open_openai(both, read=str) as world:
                async with world.session():
                    assert await world.look() == {"a": "", "b": ""}
                    for name in "aab":
                        root, state = world.root("What is 1 + 1?")
                        await answer(world, Draw(root, Spec(model=name, temperature=0.0)), state)
                        await world.relay(name, CHAT, BODY, Sink())
                    assert [standing.calls for standing in world.standings()] == [4, 2]

    asyncio.run(work())


def test_an_address_that_is_none_is_told_when_a_session_begins() -> None:
    async def work(world: Any) -> None:
        async with world.session():
            pass

    with world_of(Server("ftp://x")) as world, pytest.raises(InputError, match="the address of a server"):
        asyncio.run(work(world))


def test_what_is_remembered_has_bounds() -> None:
    kept = Kept[int](most=3, weight=10)
    for number in range(5):
        kept.keep(number, number)
    assert [kept.get(number) for number in range(5)] == [None, None, 2, 3, 4]
    kept.keep(3, 33, weight=8)
    kept.keep(3, 34, weight=9)
    assert (kept.get(2), kept.get(3)) == (2, 34)
    kept.keep(5, 5, weight=2)
    assert [kept.get(number) for number in (2, 3, 4, 5)] == [None, None, None, 5]
    kept.keep(6, 6, weight=11)
    assert [kept.get(number) for number in (5, 6)] == [None, None]
    kept.keep(7, 7, weight=10)
    assert kept.get(7) == 7
