"""The fleet in trouble: retries, dead servers, cancelled calls, on a clock that waits for nobody."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import httpx
import pytest

from autotts.errors import BackendError, InputError
from autotts.worlds.models.entry import Server
from autotts.worlds.servers import Fault, Fleet, Line, Retries
from tests.worlds.servers_fakes import KEY, URL, Clock, post, scripted

A, B = Server("http://a/v1", key=KEY), Server("http://b/v1", key=KEY)


def failing(kind: str, **more: Any) -> Callable[[Line], Awaitable[None]]:
    async def attempt(line: Line) -> None:
        raise Fault(f"{line.server.url} is {kind}", kind=kind, **more)

    return attempt


# ---------------------------------------------------------------------- tries


def test_a_request_at_fault_is_not_tried_again() -> None:
    clock, tries = Clock(), []

    async def handler(request: httpx.Request) -> httpx.Response:
        tries.append(1)
        return httpx.Response(404, json={"error": {"message": "no such model"}})

    async def main() -> None:
        async with clock.fleet(scripted(handler)) as fleet:
            for _ in range(20):
                with pytest.raises(Fault) as caught:
                    await fleet.call([A], post, tokens=1, what="t")
                assert (caught.value.kind, caught.value.status, caught.value.said) == ("request", 404, "no such model")
            assert fleet.standings()[0].healthy

    clock.run(main())
    assert len(tries) == 20 and clock.now == 0.0


def test_tries_are_numbered_and_a_failed_draw_is_a_fault() -> None:
    clock = Clock()

    async def main() -> None:
        async with clock.fleet() as fleet:
            for _ in range(3):
                await fleet.call([A], succeed, tokens=1, what="t")
            with pytest.raises(Fault, match="is nonsense"):
                await fleet.call([A], failing("nonsense"), tokens=1, what="t")
            standing = fleet.standings()[0]
            assert standing.faults == {"nonsense": 6} and standing.calls == 9 and standing.in_flight == 0

    clock.run(main())
    assert 0 < clock.now < 0.5 + 1 + 2 + 4 + 8


async def succeed(line: Line) -> None:
    await asyncio.sleep(0)


def test_retries_of_all_calls_together_have_a_budget() -> None:
    clock, tries = Clock(), Counter[bool]()

    async def main() -> None:
        async with clock.fleet(retries=Retries(spare=5, share=0.2)) as fleet:
            for n in range(200):

                async def attempt(line: Line, bad: bool = n % 2 == 1) -> None:
                    tries[bad] += 1
                    if bad:
                        raise Fault("no", kind="nonsense")

                try:
                    await fleet.call([A], attempt, tokens=1, what="t")
                except Fault:
                    assert n % 2 == 1

            assert fleet.retried == tries[True] - 100 <= 5 + 0.2 * 200

    clock.run(main())
    assert tries[False] == 100 and 135 < tries[True] <= 145


def test_faults_in_a_fifth_of_all_attempts_fail_nothing() -> None:
    clock, rng = Clock(), Random(3)

    async def main() -> None:
        async with clock.fleet() as fleet:

            async def attempt(line: Line) -> None:
                await clock.sleep(0.5)
                if rng.random() < 0.2:
                    raise Fault("no", kind=rng.choice(["reset", "timeout", "busy", "server", "nonsense"]))

            await asyncio.gather(*[fleet.call([A, B], attempt, tokens=1, what="t") for _ in range(2000)])

    clock.run(main())


# ---------------------------------------------------------------------- health


def test_a_dead_server_is_left_alone_probed_by_one_and_found_again() -> None:
    clock, tries, running = Clock(), [], 0

    async def attempt(line: Line) -> None:
        nonlocal running
        tries.append(clock.now)
        running += 1
        assert running == 1 or clock.now < 1 or clock.now > 20
        await clock.sleep(0.1)
        running -= 1
        if clock.now < 20:
            raise Fault("nobody listens", kind="refused")

    async def main() -> None:
        async with clock.fleet() as fleet:
            work = [asyncio.create_task(fleet.call([A], attempt, tokens=1, what="t")) for _ in range(40)]
            await clock.sleep(10)
            assert not fleet.standings()[0].healthy and fleet.waiting > 30
            await asyncio.gather(*work)
            assert fleet.standings()[0].healthy and fleet.waiting == 0

    clock.run(main())
    assert len([t for t in tries if 1 < t < 20]) < 8 and clock.now < 40


def test_a_server_that_comes_back_is_used_beside_one_that_works() -> None:
    clock, seen = Clock(), []

    async def attempt(line: Line) -> None:
        seen.append((clock.now, line.server.url))
        if line.server.url == A.url and clock.now < 30:
            raise Fault("nobody listens", kind="refused")
        await clock.sleep(1.0)

    async def main() -> None:
        async with clock.fleet() as fleet:
            for _ in range(100):
                await fleet.call([A, B], attempt, tokens=1, what="t")

    clock.run(main())
    early, late = [u for t, u in seen if t < 30], [u for t, u in seen if t > 50]
    assert early.count(A.url) < 15 and late.count(A.url) > len(late) // 2


def test_dead_servers_are_the_end() -> None:
    clock, tries = Clock(), Counter[str]()

    async def attempt(line: Line) -> None:
        tries[line.server.url] += 1
        raise Fault(f"nobody listens at {line.server.url}", kind="refused")

    async def main() -> None:
        async with clock.fleet(retries=Retries(patience=60)) as fleet:
            works = [fleet.call([A, B], attempt, tokens=1, what="model S") for _ in range(100)]
            ends = await asyncio.gather(*works, return_exceptions=True)
            assert all(isinstance(end, BackendError) for end in ends)
            words = str(ends[0])
            assert words.startswith("model S: ") and A.url in words and B.url in words and "60 s" in words
            assert KEY not in words and 59 < clock.now < 80
            with pytest.raises(BackendError):
                await fleet.call([A, B], attempt, tokens=1, what="model S")
            await clock.sleep(30)
            assert await fleet.call([A, B], alive, tokens=1, what="model S") == "alive"

    async def alive(line: Line) -> str:
        return "alive"

    clock.run(main())
    assert max(tries.values()) < 50


def test_a_server_that_only_refuses_is_dead_as_well() -> None:
    clock = Clock()

    async def main() -> None:
        async with clock.fleet() as fleet:
            with pytest.raises((BackendError, Fault)):
                await fleet.call([A], failing("busy", status=429), tokens=1, what="t")
            with pytest.raises(BackendError):
                await asyncio.gather(*[fleet.call([A], failing("busy"), tokens=1, what="t") for _ in range(9)])

    clock.run(main())
    assert 60 < clock.now < 400


# ---------------------------------------------------------------------- leaving


def test_a_cancelled_call_leaves_its_place_at_once() -> None:
    clock, server = Clock(), Server(URL, most=1)

    async def main() -> None:
        async with clock.fleet() as fleet:

            async def forever(line: Line) -> None:
                await asyncio.Event().wait()

            first = asyncio.create_task(fleet.call([server], forever, tokens=1, what="t"))
            second = asyncio.create_task(fleet.call([server], forever, tokens=1, what="t"))
            third = asyncio.create_task(fleet.call([server], succeed, tokens=1, what="t"))
            await clock.sleep(1)
            assert fleet.waiting == 2
            second.cancel()  # it waits
            first.cancel()  # it runs
            await third
            assert clock.now == 1.0 and fleet.waiting == 0
            with pytest.raises(ZeroDivisionError):
                await fleet.call([server], divide, tokens=1, what="t")
            await fleet.call([server], succeed, tokens=1, what="t")

    async def divide(line: Line) -> float:
        return 1 / 0

    clock.run(main())


def test_the_end_of_the_scope_is_the_end_of_waiting() -> None:
    clock, server = Clock(), Server(URL, requests_per_minute=1)

    async def main() -> None:
        async with clock.fleet() as fleet:
            calls = [asyncio.create_task(fleet.call([server], succeed, tokens=1, what="t")) for _ in range(3)]
            await clock.sleep(1)
        await asyncio.wait(calls)
        assert [call.cancelled() for call in calls] == [False, True, True]

    clock.run(main())
    assert clock.now == 1.0


def test_cancelled_in_the_moment_of_being_served() -> None:
    clock, server = Clock(), Server(URL, most=1)

    async def main() -> None:
        async with clock.fleet() as fleet:
            go = asyncio.Event()

            async def hold(line: Line) -> None:
                await go.wait()

            first = asyncio.create_task(fleet.call([server], hold, tokens=1, what="t"))
            second = asyncio.create_task(fleet.call([server], hold, tokens=1, what="t"))
            await asyncio.sleep(0)
            go.set()
            await asyncio.wait([first])
            second.cancel()
            await asyncio.wait([second])
            assert fleet.standings()[0].in_flight == 0
            await fleet.call([server], succeed, tokens=1, what="t")

    clock.run(main())


def test_clocks_that_jump_do_no_harm() -> None:
    clock, jumps = Clock(), [1e6, -5e5, 0.0, -1e9, 3e9]
    server = Server(URL, requests_per_minute=5)

    async def main() -> None:
        def jumping() -> float:
            return clock.now + (jumps[int(clock.now / 20) % len(jumps)])

        async with Fleet(clock=jumping, sleep=clock.sleep, rng=Random(0)) as fleet:
            await asyncio.gather(*[fleet.call([server], succeed, tokens=1, what="t") for _ in range(30)])

    clock.run(main())
    assert clock.now < 1000


def test_no_server_at_all() -> None:
    async def main() -> None:
        async with Fleet() as fleet:
            with pytest.raises(InputError, match="at least one server"):
                await fleet.call([], succeed, tokens=1, what="model S")

    asyncio.run(main())


# ---------------------------------------------------------------------- several models behind one address


def test_a_model_that_is_dead_behind_an_address_leaves_the_others_well() -> None:
    clock = Clock()

    async def main() -> None:
        async with clock.fleet(retries=Retries(patience=3.0)) as fleet:
            await fleet.call([A], succeed, tokens=1, what="well")
            for _ in range(20):
                with pytest.raises((Fault, BackendError)):
                    await fleet.call([A], failing("server", status=500), tokens=1, what="dead")
            with pytest.raises(BackendError, match="no server that works"):
                await fleet.call([A], failing("server", status=500), tokens=1, what="dead")
            before = clock.now
            await fleet.call([A], succeed, tokens=1, what="well")
            assert clock.now == before
            (standing,) = fleet.standings()  # one address, one standing
            assert not standing.healthy and standing.in_flight == 0

    clock.run(main())


def test_models_behind_an_address_share_what_it_bears() -> None:
    clock, most = Clock(), 0

    async def main() -> None:
        running = 0

        async def attempt(line: Line) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await clock.sleep(1.0)
            running -= 1

        few = Server("http://a/v1", key=KEY, most=3)
        async with clock.fleet() as fleet:
            names = ("one", "two", "three", "four")
            calls = (fleet.call([few], attempt, tokens=1, what=name) for name in names for _ in range(5))
            await asyncio.gather(*calls)

    clock.run(main())
    assert most == 3
