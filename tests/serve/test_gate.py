"""The gate: never more than its places, no client shut out, no place lost however a wait ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotts.serve.gate import Gate
from autotts.serve.keys import ANYONE, Client
from autotts.serve.refused import Busy
from autotts.serve.sending import Gone

A, B, C = Client("a"), Client("b"), Client("c", at_once=1)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Asking:
    """A request that runs from when it is let in until it is told to end."""

    gate: Gate
    client: Client
    log: list[int]
    number: int
    within: float | None = None
    hang_up: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    state: str = "new"
    waited: float = 0.0
    task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        self.state = "waits"
        try:
            async with self.gate.room(self.client, within=self.within, hang_up=self.hang_up) as self.waited:
                self.state = "runs"
                self.log.append(self.number)
                await self.over.wait()
        except Busy as busy:
            self.state = f"busy {busy.status}"
        except Gone:
            self.state = "gone"
        finally:
            if self.state in ("waits", "runs"):
                self.state = "ended"


class Scene:
    """Many requests at one gate."""

    def __init__(self, places: int, queue: int) -> None:
        self.clock = Clock()
        self.gate = Gate(places, queue, self.clock)
        self.log: list[int] = []
        self.all: list[Asking] = []

    async def ask(self, client: Client, **options: Any) -> Asking:
        one = self.begin(client, **options)
        await quiet()
        return one

    def begin(self, client: Client, **options: Any) -> Asking:
        one = Asking(self.gate, client, self.log, len(self.all), **options)
        one.task = asyncio.create_task(one.run())
        self.all.append(one)
        return one

    async def end(self, one: Asking) -> None:
        one.over.set()
        await quiet()

    async def close(self) -> None:
        for one in self.all:
            one.over.set()
        await asyncio.gather(*(one.task for one in self.all if one.task), return_exceptions=True)


async def quiet() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


def scene(body: Coroutine[Any, Any, None]) -> None:
    asyncio.run(body)


def test_so_many_run_so_many_wait_and_the_rest_are_told() -> None:
    async def body() -> None:
        s = Scene(2, 3)
        states = [(await s.ask(A)).state for _ in range(7)]
        assert states == ["runs"] * 2 + ["waits"] * 3 + ["busy 429"] * 2
        assert (s.gate.running, s.gate.waiting) == (2, 3)
        await s.end(s.all[1])
        assert [one.state for one in s.all[:4]] == ["runs", "ended", "runs", "waits"]
        await s.close()
        assert s.log == [0, 1, 2, 3, 4] and s.gate.running == s.gate.waiting == 0

    scene(body())


def test_the_wait_is_told_in_seconds() -> None:
    async def body() -> None:
        s = Scene(1, 1)
        first, second = await s.ask(A), await s.ask(A)
        s.clock.now = 3.5
        await s.end(first)
        assert (first.waited, second.waited) == (0.0, 3.5)
        await s.close()

    scene(body())


def test_places_go_round_the_clients() -> None:
    async def body() -> None:
        s = Scene(1, 20)
        order = [A, A, A, A, B, B, Client("d")]
        for client in order:
            await s.ask(client)
        for _ in order:
            await s.end(next(one for one in s.all if one.state == "runs"))
        # The first runs at once; then a, b, d in turns, each in its own order.
        assert [order[number].name for number in s.log] == ["a", "a", "b", "d", "a", "b", "a"]
        assert [n for n in s.log if n < 4] == [0, 1, 2, 3]

    scene(body())


def test_a_full_queue_takes_the_first_of_each_client_only() -> None:
    async def body() -> None:
        s = Scene(1, 2)
        for _ in range(3):
            await s.ask(A)
        assert [(await s.ask(client)).state for client in (A, B, B)] == ["busy 429", "waits", "busy 429"]
        assert s.gate.waiting == 3
        await s.close()

    scene(body())


def test_without_a_queue_nobody_waits() -> None:
    async def body() -> None:
        s = Scene(1, 0)
        assert [(await s.ask(client)).state for client in (A, A, B)] == ["runs", "busy 429", "busy 429"]
        await s.close()

    scene(body())


def test_a_clients_own_limit_leaves_places_to_others() -> None:
    async def body() -> None:
        s = Scene(3, 9)
        one, two, three = await s.ask(C), await s.ask(C), await s.ask(A)
        assert [x.state for x in (one, two, three)] == ["runs", "waits", "runs"]
        await s.end(three)
        assert two.state == "waits"
        await s.end(one)
        assert two.state == "runs"
        await s.close()

    scene(body())


def test_a_limit_that_is_raised_holds_for_those_who_wait() -> None:
    async def body() -> None:
        s = Scene(3, 9)
        for _ in range(3):
            await s.ask(C)
        await s.ask(Client("c", at_once=2))
        await s.end(s.all[0])
        assert Counter(one.state for one in s.all) == {"runs": 2, "waits": 1, "ended": 1}
        await s.ask(C)
        await s.end(s.all[1])
        assert Counter(one.state for one in s.all) == {"runs": 1, "waits": 2, "ended": 2}
        await s.close()
        assert s.gate.running == s.gate.waiting == 0

    scene(body())


def test_a_rate_is_held_and_the_time_to_come_again_is_exact() -> None:
    async def body() -> None:
        clock, gate = Clock(), Gate(99, 0, lambda: clock.now)
        slow = Client("slow", requests_per_minute=6)  # one in 10 s, and one at a moment

        async def allowed() -> int:
            try:
                async with gate.room(slow):
                    return 0
            except Busy as busy:
                assert busy.status == 429 and busy.headers["retry-after"] == str(busy.retry_after)
                return busy.retry_after

        assert [await allowed(), await allowed()] == [0, 10]
        clock.now = 3.5
        assert await allowed() == 7
        clock.now = 9.9
        assert await allowed() == 1
        clock.now = 10.0
        assert [await allowed(), await allowed()] == [0, 10]
        clock.now = 1000.0
        assert [await allowed(), await allowed()] == [0, 10]

    scene(body())


@given(st.lists(st.floats(0, 3), max_size=80), st.sampled_from([0.5, 6, 60, 600]))
def test_no_window_holds_more_than_the_rate_and_its_burst(steps: list[float], rate: float) -> None:
    async def body() -> None:
        clock, gate = Clock(), Gate(9, 0, lambda: clock.now)
        client, let_in = Client("x", requests_per_minute=rate), []
        for step in steps:
            clock.now += step
            try:
                async with gate.room(client):
                    let_in.append(clock.now)
            except Busy as busy:
                assert busy.retry_after >= 1
        burst = max(1.0, rate / 6)
        for i, first in enumerate(let_in):
            for j, last in enumerate(let_in[i:], 1):
                assert j <= burst + (last - first) * rate / 60 + 1e-6

    scene(body())


def test_what_is_refused_takes_nothing_of_the_rate() -> None:
    async def body() -> None:
        s = Scene(1, 0)
        limited = Client("x", requests_per_minute=6)
        other = await s.ask(A)
        assert (await s.ask(limited)).state == "busy 429"
        await s.end(other)
        assert (await s.ask(limited)).state == "runs"
        await s.close()

    scene(body())


def test_the_pause_follows_the_pace_of_the_work_not_of_the_demand() -> None:
    async def body() -> None:
        s = Scene(1, 1)
        for _ in range(10):  # each takes 4 s, after an hour in which nobody asked
            s.clock.now += 3600
            first = await s.ask(A)
            s.clock.now += 4
            await s.end(first)
        await s.ask(A)
        await s.ask(A)
        with pytest.raises(Busy) as caught:
            async with s.gate.room(A):
                raise AssertionError
        assert caught.value.retry_after == 8  # one waits, so two have to end
        await s.close()

    scene(body())


def test_before_anything_ended_a_pause_is_told_too() -> None:
    async def body() -> None:
        s = Scene(4, 0)
        for _ in range(4):
            await s.ask(A)
        for now, pause in ((0.0, 1), (40.0, 10), (1e9, 600)):
            s.clock.now = now
            with pytest.raises(Busy) as caught:
                async with s.gate.room(A):
                    raise AssertionError
            assert caught.value.retry_after == pause
        await s.close()

    scene(body())


def test_a_deadline_ends_a_wait() -> None:
    async def body() -> None:
        s = Scene(1, 5)
        first, late = await s.ask(A), await s.ask(A, within=0.001)
        await asyncio.sleep(0.01)
        assert late.state == "busy 429" and s.gate.waiting == 0
        await s.end(first)
        assert (await s.ask(A, within=0.0)).state == "runs"
        await s.close()

    scene(body())


def test_a_hang_up_ends_a_wait() -> None:
    async def body() -> None:
        s = Scene(1, 5)
        await s.ask(A)
        second, third = await s.ask(A), await s.ask(A)
        second.hang_up.set()
        await quiet()
        assert (second.state, s.gate.waiting) == ("gone", 1)
        await s.end(s.all[0])
        assert third.state == "runs"
        await s.close()

    scene(body())


@pytest.mark.parametrize("how", ["cancel", "hang_up"])
@pytest.mark.parametrize("before", [True, False])
def test_a_wait_that_ends_as_its_place_comes_loses_no_place(how: str, before: bool) -> None:
    async def body() -> None:
        s = Scene(1, 5)
        first, second, third = await s.ask(A), await s.ask(A), await s.ask(B)
        assert second.task is not None

        def give_up() -> None:
            assert second.task is not None
            second.task.cancel() if how == "cancel" else second.hang_up.set()

        if before:
            give_up()
        first.over.set()
        for _ in range(2):  # far enough that the place is given, and not yet taken
            await asyncio.sleep(0)
        if not before:
            give_up()
        await quiet()
        if second.state == "runs":  # it had its place by then
            await s.end(second)
        assert third.state == "runs"
        await s.close()
        assert s.gate.running == s.gate.waiting == 0

    scene(body())


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ask", "end", "cancel", "hang_up", "late"]),
        st.integers(0, 30),
        st.integers(0, 4),
    ),
    max_size=60,
)


@given(STEPS, st.integers(1, 3), st.integers(0, 4))
def test_whatever_happens_places_are_kept_and_given(steps: list[tuple[str, int, int]], places: int, queue: int) -> None:
    async def body() -> None:
        s = Scene(places, queue)
        clients = [A, B, C, Client("d", at_once=2)]
        for what, which, turns in steps:
            if what in ("ask", "late"):
                s.begin(clients[which % 4], within=0.0 if what == "late" else None)
            elif s.all:
                one = s.all[which % len(s.all)]
                assert one.task is not None
                {"end": one.over.set, "cancel": one.task.cancel, "hang_up": one.hang_up.set}[what]()
            for _ in range(turns):
                await asyncio.sleep(0)
                seen = Counter(one.client.name for one in s.all if one.state == "runs")
                assert sum(seen.values()) <= places and seen["c"] <= 1 and seen["d"] <= 2
                assert s.gate.running <= places and s.gate.waiting <= queue + len(clients)
        await quiet()
        runs = Counter(one.client.name for one in s.all if one.state == "runs")
        waits = {one.client.name for one in s.all if one.state == "waits"}
        assert s.gate.running == sum(runs.values())
        assert s.gate.waiting == sum(one.state == "waits" for one in s.all)
        if s.gate.running < places:
            assert all(name in ("c", "d") and runs[name] == {"c": 1, "d": 2}[name] for name in waits)
        numbers: dict[str, list[int]] = {}
        await s.close()
        for number in s.log:
            numbers.setdefault(s.all[number].client.name, []).append(number)
        assert all(found == sorted(found) for found in numbers.values()), "each client's in order"
        assert s.gate.running == s.gate.waiting == 0

    scene(body())


def test_a_client_that_asks_without_end_shuts_nobody_out() -> None:
    async def body() -> None:
        s = Scene(2, 10)
        for _ in range(12):
            await s.ask(A)
        quiet_one = await s.ask(B)
        ended = 0
        while quiet_one.state == "waits":
            await s.end(next(one for one in s.all if one.state == "runs"))
            await s.ask(A)
            ended += 1
        assert ended <= 2
        await s.close()

    scene(body())


def test_anyone_is_a_client() -> None:
    async def body() -> None:
        async with Gate(1, 0, Clock()).room(ANYONE) as waited:
            assert waited == 0.0

    scene(body())
