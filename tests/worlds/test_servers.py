"""The fleet: windows, limits and choice, on a clock that waits for nobody."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotts.worlds.models.entry import Server
from autotts.worlds.servers import Fault, Fleet, Line
from autotts.worlds.servers.window import Minute
from tests.worlds.servers_fakes import KEY, URL, Clock, post, scripted

A, B = Server("http://a/v1", key=KEY), Server("http://b/v1", key=KEY)


# ---------------------------------------------------------------------- windows


class Crowded:
    """A server with room for so many requests at once, each of a second; it refuses the others."""

    def __init__(self, clock: Clock, room: int) -> None:
        self.clock, self.room = clock, room
        self.running = self.peak = self.refused = self.served = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.running >= self.room:
            self.refused += 1
            return httpx.Response(429)
        self.running += 1
        self.peak = max(self.peak, self.running)
        await self.clock.sleep(1.0)
        self.running -= 1
        self.served += 1
        return httpx.Response(200, json={})


@pytest.mark.parametrize("room", [1, 5, 24])
def test_a_window_finds_the_room_that_there_is(room: int) -> None:
    clock = Clock()
    crowd, calls = Crowded(clock, room), 30 * room

    async def main() -> None:
        async with clock.fleet(scripted(crowd)) as fleet:
            await asyncio.gather(*[fleet.call([Server(URL)], post, tokens=1, what="t") for _ in range(calls)])
            assert fleet.standings()[0].window <= 2 * room

    clock.run(main())
    assert crowd.served == calls
    assert clock.now < 60  # 30 seconds if the room were known
    assert crowd.refused < 16 + 0.3 * calls


def test_a_window_grows_to_the_most_and_not_beyond() -> None:
    clock = Clock()
    crowd = Crowded(clock, 1000)

    async def main() -> None:
        async with clock.fleet(scripted(crowd)) as fleet:
            server = Server(URL, most=100)
            await asyncio.gather(*[fleet.call([server], post, tokens=1, what="t") for _ in range(1000)])
            tight = Server(URL, most=40)  # the same one, as another entry declares it
            await asyncio.gather(*[fleet.call([s], post, tokens=1, what="t") for s in (server, tight) * 100])
            assert [s.window for s in fleet.standings()] == [40]

    clock.run(main())
    assert crowd.peak == 100 and crowd.refused == 0
    assert clock.now < 25


def test_a_server_that_asks_to_be_left_alone_is() -> None:
    clock, times = Clock(), []

    async def handler(request: httpx.Request) -> httpx.Response:
        times.append(clock.now)
        if len(times) == 1:
            return httpx.Response(429, headers={"Retry-After": "7"})
        if len(times) == 2:
            dates = {"Date": "Wed, 21 Oct 2015 07:28:00 GMT", "Retry-After": "Wed, 21 Oct 2015 07:29:30 GMT"}
            return httpx.Response(503, headers=dates)
        return httpx.Response(200, json={})

    async def main() -> None:
        async with clock.fleet(scripted(handler)) as fleet:
            await asyncio.gather(fleet.call([A], post, tokens=1, what="t"), later(fleet))

    async def later(fleet: Fleet) -> None:
        await clock.sleep(1.0)
        await fleet.call([A], post, tokens=1, what="t")

    clock.run(main())
    assert len(times) == 4 and times[0] == 0.0 and times[1] >= 7.0 and times[3] >= times[1] + 90


# ---------------------------------------------------------------------- limits per minute


@settings(max_examples=100, deadline=None)
@given(
    limit=st.integers(1, 30),
    asks=st.lists(st.tuples(st.floats(0, 40), st.integers(1, 40), st.none() | st.integers(0, 40)), max_size=80),
)
def test_no_minute_has_more_than_its_limit(limit: int, asks: list[tuple[float, int, int | None]]) -> None:
    minute, now, taken = Minute(limit), 0.0, list[tuple[float, int]]()
    for wait, amount, settled in asks:
        now += wait
        ready = minute.ready(amount, now)
        now = max(now, ready)
        assert minute.ready(amount, now) <= now
        share = minute.take(amount, now)
        if settled is not None and settled <= amount:
            minute.settle(share, settled, now)
            amount = settled
        taken.append((now, amount))
    for start, first in taken:
        inside = [amount for at, amount in taken if start <= at < start + 60.0]
        assert sum(inside) <= limit or sum(inside) == max(inside) or first == 0  # more than all of it goes alone


def test_limits_are_those_of_the_whole_server() -> None:
    clock, starts = Clock(), []
    server = Server(URL, key=KEY, requests_per_minute=20, tokens_per_minute=1000)

    async def main() -> None:
        async with clock.fleet() as fleet:

            async def attempt(line: Line) -> None:
                starts.append(clock.now)
                await clock.sleep(rng.uniform(0, 3))

            rng = Random(1)
            await asyncio.gather(*[fleet.call([server], attempt, tokens=30, what="t") for _ in range(50)])
            few = [fleet.call([server], attempt, tokens=400, what="t") for _ in range(4)]
            await asyncio.gather(*few)

    clock.run(main())
    assert all(sum(start <= other < start + 60 for other in starts) <= 20 for start in starts)
    late = starts[50:]
    assert late[0] >= 120 + 60 - 1e-6 or sum(30 for s in starts[:50] if s > late[0] - 60) + 400 <= 1000
    assert 180 <= clock.now < 270  # at 20 a minute, and then at 2 of 400 tokens


def test_settling_gives_tokens_back() -> None:
    clock = Clock()
    server = Server(URL, tokens_per_minute=100)

    async def main() -> None:
        async def attempt(line: Line) -> None:
            await clock.sleep(0.1)
            line.settle(10)

        async with clock.fleet() as fleet:
            await asyncio.gather(*[fleet.call([server], attempt, tokens=50, what="t") for _ in range(10)])

    clock.run(main())
    assert clock.now < 70  # it would be 4 minutes


# ---------------------------------------------------------------------- choice


def test_the_least_loaded_for_its_weight() -> None:
    clock, running, peaks = Clock(), Counter[str](), Counter[str]()

    async def attempt(line: Line) -> None:
        url = line.server.url
        running[url] += 1
        peaks[url] = max(peaks[url], running[url])
        await clock.sleep(1.0)
        running[url] -= 1

    async def main() -> None:
        async with clock.fleet() as fleet:
            servers = [Server("http://a/v1", weight=3.0), Server("http://b/v1", weight=1.0)]
            await asyncio.gather(*[fleet.call(servers, attempt, tokens=1, what="t") for _ in range(12)])

    clock.run(main())
    assert peaks == {"http://a/v1": 9, "http://b/v1": 3}


def test_a_failed_call_goes_elsewhere() -> None:
    clock, seen = Clock(), []

    async def attempt(line: Line) -> str:
        seen.append(line.server.url)
        if len(seen) < 4:
            raise Fault("no", kind="server")
        return line.server.url

    async def main() -> str:
        async with clock.fleet() as fleet:
            return await fleet.call([A, B], attempt, tokens=1, what="t")

    assert clock.run(main()) == B.url
    assert seen == [A.url, B.url, A.url, B.url]


def test_first_come_first_served() -> None:
    clock, order = Clock(), []

    async def main() -> None:
        async with clock.fleet() as fleet:

            async def one(n: int) -> None:
                async def attempt(line: Line) -> None:
                    order.append(n)
                    await clock.sleep(1.0)

                await fleet.call([Server(URL, most=2)], attempt, tokens=1, what="t")

            await asyncio.gather(*[one(n) for n in range(9)])

    clock.run(main())
    assert order == list(range(9))
