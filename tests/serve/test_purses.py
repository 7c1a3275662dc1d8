"""What a client may spend in a period: never exceeded, whoever asks at once, in one process or in several."""

import asyncio
import random
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from autotts.errors import StoreError
from autotts.serve.purses import Exhausted, Purses, window
from autotts.store import database
from autotts.store.accounts import Tills
from autotts.store.schema import PURSE

NOON = datetime(2026, 2, 28, 12, 30, tzinfo=UTC).timestamp()


@pytest.fixture
def tills(tmp_path):
    engine = database.open(f"sqlite:///{tmp_path / 'a.db'}")
    yield Tills(engine)
    engine.dispose()


class Pacing:
    """A till that lets others run before it answers, and may fail."""

    def __init__(self):
        self.taken = {}
        self.broken = False

    def draw(self, name, period, limit, *, least, most):
        if self.broken:
            raise StoreError("the line is cut")
        drawn = min(most, limit - self.taken.get((name, period), 0))
        if drawn < least:
            return 0
        self.taken[name, period] = self.taken.get((name, period), 0) + drawn
        return drawn

    def put(self, name, period, parts):
        if self.broken:
            raise StoreError("the line is cut")
        self.taken[name, period] -= parts

    def forget(self, period):
        self.taken = {key: taken for key, taken in self.taken.items() if key[1] != period}


def run(story):
    asyncio.run(story())


# ---------------------------------------------------------------- the limit

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.integers(1, 60), st.integers(1, 60)),
        st.tuples(st.just("settle"), st.integers(0, 9), st.sampled_from([0.0, 0.3, 1.0])),
        st.tuples(st.just("beat"), st.integers(0, 1), st.none()),
    )
)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(1, 300), st.booleans())
def test_used_and_set_aside_never_exceed_the_limit(steps, limit, shared):
    async def story():
        now = [NOON]
        purses = Purses("flops", Pacing() if shared else None, clock=lambda: now[0])
        running, used = [], 0
        for what, first, second in steps:
            if what == "reserve":
                most, least = max(first, second), min(first, second)
                left = limit - used - sum(held.parts for held in running)
                try:
                    held = await purses.reserve("ann", limit, "day", most, least=least)
                    assert least <= held.parts <= most
                    running.append(held)
                except Exhausted:
                    assert left < max(1, least)
            elif what == "settle" and running:
                held = running.pop(first % len(running))
                held.settle(round(second * held.parts))
                used += round(second * held.parts)
            elif what == "beat":
                await purses.beat()
            assert used + sum(held.parts for held in running) <= limit

    run(story)


def test_servers_at_once_never_exceed_the_limit_and_use_all_of_it(tills):
    rng = random.Random(0)

    async def one(purses, spent):
        for _ in range(60):
            try:
                held = await purses.reserve("ann", 1000, "ever", 20)
            except Exhausted:
                await purses.beat()
                continue
            await asyncio.sleep(0)
            cost = rng.randrange(21)
            held.settle(cost)
            spent.append(cost)

    async def story():
        spent = []
        servers = [Purses("flops", tills) for _ in range(3)]
        async with asyncio.TaskGroup() as group:
            for purses in servers * 2:
                group.create_task(one(purses, spent))
        assert 800 < sum(spent) <= 1000
        for purses in servers:
            await purses.close()
        assert tills.taken("flops ann", "ever") == sum(spent)
        if sum(spent) < 1000:
            await servers[0].reserve("ann", 1000, "ever", 1000 - sum(spent))
        with pytest.raises(Exhausted):
            await servers[1].reserve("ann", 1000, "ever", 1)

    run(story)


def test_what_a_killed_server_has_in_hand_counts_as_used(tills):
    async def story():
        await Purses("flops", tills).reserve("ann", 100, "ever", 60)
        other = Purses("flops", tills)
        with pytest.raises(Exhausted):
            await other.reserve("ann", 100, "ever", 60)
        assert (await other.reserve("ann", 100, "ever", 60, least=1)).parts == 39  # with what was drawn in advance
        await other.reserve("bob", 100, "ever", 60)

    run(story)


def test_a_cost_above_what_was_set_aside_is_counted(tills):
    async def story():
        for till in (None, tills):
            purses = Purses("flops", till)
            held = await purses.reserve("ann", 100, "ever", 10)
            held.settle(70)
            held.settle(70)  # counts once
            await purses.beat()
            with pytest.raises(Exhausted):
                await purses.reserve("ann", 100, "ever", 31)
            await purses.reserve("ann", 100, "ever", 30)

    run(story)


def test_a_request_that_goes_away_while_it_waits_takes_nothing_with_it(tills):
    async def story():
        purses = Purses("flops", tills)
        asking = asyncio.create_task(purses.reserve("ann", 100, "ever", 80))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        held = await purses.reserve("ann", 100, "ever", 80)
        held.settle(0)
        await purses.close()
        assert tills.taken("flops ann", "ever") == 0

    run(story)


def test_a_limit_that_was_lowered_holds_at_once():
    async def story():
        purses = Purses("flops")
        (await purses.reserve("ann", 100, "day", 60)).settle(50)
        with pytest.raises(Exhausted):
            await purses.reserve("ann", 40, "day", 20)

    run(story)


def test_without_its_database_nothing_is_given_that_is_not_in_hand():
    async def story():
        till = Pacing()
        purses = Purses("flops", till)
        held = await purses.reserve("ann", 6400, "ever", 100)
        till.broken = True
        held.settle(0)
        assert (await purses.reserve("ann", 6400, "ever", 200)).parts == 200  # drawn in advance
        with pytest.raises(StoreError, match="cut"):
            await purses.reserve("ann", 6400, "ever", 1)

    async def again():
        till = Pacing()
        purses = Purses("flops", till)
        (await purses.reserve("ann", 6400, "ever", 100)).settle(90)
        till.broken = True
        held = await purses.reserve("ann", 6400, "ever", 500, least=1)
        assert held.parts == 110  # all that is in hand
        held.settle(0)
        for _ in range(2):
            await purses.beat()
        assert purses.problem == "the line is cut"
        till.broken = False
        await purses.beat()
        assert purses.problem == ""

    run(story)
    run(again)


# ---------------------------------------------------------------- periods


@pytest.mark.parametrize(
    "period, key, end",
    [
        ("hour", "hour 2026-02-28T12", datetime(2026, 2, 28, 13, tzinfo=UTC)),
        ("day", "day 2026-02-28", datetime(2026, 3, 1, tzinfo=UTC)),
        ("month", "month 2026-02", datetime(2026, 3, 1, tzinfo=UTC)),
    ],
)
def test_a_new_period_starts_anew_and_the_old_one_is_forgotten(tills, period, key, end):
    assert window(period, NOON) == (key, end.timestamp())
    assert window(period, end.timestamp() - 1) == (key, end.timestamp())
    assert window(period, end.timestamp())[0] != key

    now = [NOON]

    async def story():
        for till in (None, tills):
            now[0] = NOON
            purses = Purses("flops", till, clock=lambda: now[0])
            (await purses.reserve("ann", 100, period, 100)).settle(100)
            with pytest.raises(Exhausted, match=rf"'ann' has spent its budget of this {period}.* anew in") as found:
                await purses.reserve("ann", 100, period, 1)
            assert found.value.resets_in == end.timestamp() - NOON
            now[0] = end.timestamp()
            held = await purses.reserve("ann", 100, period, 100)
            for _ in range(3):
                await purses.beat()
            assert len(purses._purses) == 1
            held.settle(100)
            for _ in range(3):
                await purses.beat()
        with database.reading(tills._engine) as connection:
            assert key not in connection.scalars(sa.select(PURSE.c.period)).all()

    run(story)


def test_a_december_ends_with_the_year():
    december = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
    assert window("month", december) == ("month 2026-12", datetime(2027, 1, 1, tzinfo=UTC).timestamp())


def test_ever_never_resets():
    async def story():
        purses = Purses("flops")
        with pytest.raises(Exhausted, match="'ann' has spent its budget, or the rest is set aside") as found:
            await purses.reserve("ann", 100, "ever", 101)
        assert found.value.resets_in is None

    run(story)


def test_what_is_counted_in_another_unit_is_another_budget(tills):
    async def story():
        await Purses("flops", tills).reserve("ann", 100, "ever", 100)
        await Purses("usd", tills).reserve("ann", 100, "ever", 100)

    run(story)


def test_an_unknown_period_is_refused():
    with pytest.raises(ValueError, match="found 'week'"):
        window("week", NOON)
