"""One limit for several processes: never passed, used up, and exact whatever becomes of them."""

import asyncio
import multiprocessing
import threading
from dataclasses import replace

import pytest
import sqlalchemy as sa

from autotts.core.cost import Prices, Usage
from autotts.core.node import Node, root_node
from autotts.core.plan import Draw, Join, Spec
from autotts.core.world import Binding, Reply
from autotts.engine.capped import AHEAD, Capped
from autotts.engine.live import search
from autotts.engine.memo import Memo, Memory
from autotts.engine.shared import SharedLedger
from autotts.errors import SearchBudgetReached, StoreError
from autotts.store import database
from autotts.store.ledger import LOST, spent_by
from autotts.store.samples import Samples
from autotts.store.schema import LEASE, LEDGER
from autotts.store.usage import used
from autotts.worlds.toy import Skill, Toy
from tests.engine.sharing import STUDY, UNIT, spend, work


@pytest.fixture
def engine(tmp_path):
    engine = database.open(f"sqlite:///{tmp_path / 'a.db'}")
    yield engine
    engine.dispose()


def written(engine):
    """Spent and held by now."""
    with database.reading(engine) as connection:
        spent, held = connection.execute(sa.select(LEDGER.c.spent, LEDGER.c.held)).one()
        leases = connection.execute(sa.select(LEASE.c.held).where(sa.not_(LEASE.c.lost))).scalars().all()
    assert int(held) == sum(map(int, leases)) and int(spent) == sum(spent_by(engine, STUDY).values())
    return int(spent), int(held)


def test_64_children_use_a_limit_and_never_more(engine):
    limit, largest = 40_000, 1500
    with SharedLedger(engine, STUDY, UNIT, limit) as shared:
        used = asyncio.run(spend(shared.ledger, 64, largest, 1))
        assert used == shared.ledger.spent == sum(shared.settled().values())
    assert written(engine) == (used, 0) and 0.95 * limit <= used <= limit


def test_what_is_set_aside_is_written_down_before_it_is_granted(engine):
    async def go(ledger):
        await ledger.claim(70)
        assert written(engine) >= (0, 70)
        assert ledger.reserve(20) and written(engine) >= (0, 90) and not ledger.reserve(11)
        ledger.settle("S@1", "drawn", reserved=70, parts=30)
        with pytest.raises(SearchBudgetReached, match="search budget of 100 is reached: 30 are spent"):
            await ledger.claim(71)
        spent, held = written(engine)
        assert spent + held <= 100 and held >= 20
        ledger.settle("S@1", "cancelled", reserved=20, parts=3)

    with SharedLedger(engine, STUDY, UNIT, 100) as shared:
        asyncio.run(go(shared.ledger))
        assert shared.settled() == {("S@1", "drawn"): 30, ("S@1", "cancelled"): 3}
    with SharedLedger(engine, STUDY, UNIT, 100) as again:
        assert (again.ledger.spent, again.ledger.left) == (33, 67)
        assert again.ledger.by == {("S@1", "drawn"): 30, ("S@1", "cancelled"): 3}


def test_what_is_in_hand_and_not_needed_is_given_back(engine):
    async def go(one, two):
        await one.claim(40)
        waiting = asyncio.ensure_future(two.claim(100))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        one.settle("S@1", "drawn", reserved=40, parts=0)
        await asyncio.wait_for(waiting, 10)
        two.settle("S@1", "drawn", reserved=100, parts=100)
        with pytest.raises(SearchBudgetReached):
            await one.claim(1)
        assert one.spent == 100

    with SharedLedger(engine, STUDY, UNIT, 100) as one, SharedLedger(engine, STUDY, UNIT, 100) as two:
        asyncio.run(go(one.ledger, two.ledger))


def test_two_that_wait_for_each_other_are_both_decided(engine):
    async def go(one, two):
        await one.claim(40)
        await two.claim(40)
        both = [asyncio.ensure_future(ledger.claim(80)) for ledger in (one, two)]
        await asyncio.sleep(0.01)
        for ledger in (one, two):
            ledger.settle("S@1", "drawn", reserved=40, parts=5)
        done, _ = await asyncio.wait(both, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == 1  # 90 are left: one is served, and the other waits for what comes back
        first = one if both[0] in done else two
        first.settle("S@1", "drawn", reserved=80, parts=11)
        with pytest.raises(SearchBudgetReached):
            await asyncio.gather(*both)

    with SharedLedger(engine, STUDY, UNIT, 100) as one, SharedLedger(engine, STUDY, UNIT, 100) as two:
        asyncio.run(go(one.ledger, two.ledger))
        assert one.settled() == {("S@1", "drawn"): 21}


def test_what_costs_more_than_was_set_aside_is_charged_and_covered(engine):
    async def go(ledger):
        await ledger.claim(10)
        ledger.settle("agent", "proposed", reserved=0, parts=60)  # nobody set it aside
        await ledger.claim(20)
        assert written(engine) >= (60, 30)
        with pytest.raises(SearchBudgetReached):
            await ledger.claim(41)
        ledger.settle("S@1", "drawn", reserved=30, parts=45)

    with SharedLedger(engine, STUDY, UNIT, 100) as shared:
        asyncio.run(go(shared.ledger))
    assert written(engine) == (105, 0)


def test_what_nobody_settled_is_lost(engine):
    with SharedLedger(engine, STUDY, UNIT) as shared:
        assert shared.ledger.reserve(10**20) and shared.ledger.left is None
    assert spent_by(engine, STUDY) == {("", LOST): 10**20}


def test_charges_are_kept_with_samples_or_not_at_all(engine):
    with SharedLedger(engine, STUDY, UNIT, 100) as shared:
        assert shared.ledger.reserve(50)
        shared.ledger.settle("S@1", "drawn", reserved=50, parts=20)
        with pytest.raises(KeyError), database.writing(engine) as connection:
            shared.beside(connection)
            raise KeyError("the samples could not be written")
        assert written(engine) == (0, 50)
        with database.writing(engine) as connection:
            shared.beside(connection)
        assert written(engine) == (20, 30)
    assert written(engine) == (20, 0)


class Slow:
    """A backend that takes some orders at a time, and lets the others wait for it."""

    def __init__(self, at_once):
        self.bindings = {"S": Binding("S@1", prices=Prices(prompt=0, generated=1), max_tokens=100)}
        self.places, self.open = asyncio.Semaphore(at_once), asyncio.Event()
        self.running = 0

    async def answer(self, order, states, meter):
        meter.waiting = True
        async with self.places:
            meter.begin()
            self.running += 1
            await self.open.wait()
        node = Node(order.key, 1, True, "4", order.key, 10)
        return Reply(node, Usage(prompt=7, generated=10, calls=1))


def test_little_is_held_for_orders_that_wait_for_their_backend(engine):
    def plan(root):
        got = yield Join([Draw(root, Spec(model="S")) for _ in range(300)])
        return got.slots[0]

    async def go(ledger):
        world = Slow(at_once=20)
        async with Memo(Capped(world, ledger), Memory()) as memo:
            root = memo.root(root_node("p", 7), None)
            asked = asyncio.create_task(search(plan(root), root, memo))
            while world.running < 20:
                await asyncio.sleep(0.001)
            assert ledger.reserved <= (20 + AHEAD) * 100
            held = written(engine)[1]
            assert ledger.reserved <= held <= (20 + AHEAD) * 100 * 5 // 4
            world.open.set()
            await asked
        assert world.running == 300 and ledger.ahead == 0

    with SharedLedger(engine, STUDY, UNIT, 10**6) as shared:
        asyncio.run(go(shared.ledger))
    assert spent_by(engine, STUDY) == {("S@1", "drawn"): 3000}


class Wide(Slow):
    """A backend that takes all orders at once, and says nothing of attempts."""

    async def answer(self, order, states, meter):
        self.running += 1
        await self.open.wait()
        return Reply(Node(order.key, 1, True, "4", order.key, 10), Usage(generated=10))


def test_a_backend_that_takes_all_at_once_is_given_all(engine):
    def plan(root):
        for _ in range(2):
            got = yield Join([Draw(root, Spec(model="S")) for _ in range(200)])
        return got.slots[0]

    async def go(ledger):
        world = Wide(1)
        async with Memo(Capped(world, ledger), Memory()) as memo:
            root = memo.root(root_node("p", 7), None)
            asked = asyncio.create_task(search(plan(root), root, memo))
            while world.running < 200:
                await asyncio.sleep(0.001)
            world.open.set()
            await asked
        assert world.running == 400 and ledger.ahead == 0 and not ledger.reserved

    with SharedLedger(engine, STUDY, UNIT, 10**6) as shared:
        asyncio.run(go(shared.ledger))


class Stateless:
    """A toy whose draws leave nothing behind that a store could not keep."""

    def __init__(self, toy):
        self.toy, self.bindings = toy, toy.bindings

    async def answer(self, order, states, meter):
        return replace(await self.toy.answer(order, states, meter), state=None)


def test_samples_are_kept_together_with_what_they_cost(engine):
    binding = Binding("S@1", prices=Prices(prompt=0, generated=1), max_tokens=90)
    world = Stateless(Toy({"S": binding}, {"S@1": Skill(length=(5, 90), fail=0.2)}))

    def plan(root):
        got = yield Join([Draw(root, Spec(model="S")) for _ in range(30)])
        return got.slots[0]

    async def go(ledger, samples):
        async with Memo(Capped(world, ledger), samples) as memo:
            root = memo.root(root_node("p", 7), None)
            return await search(plan(root), root, memo)

    with SharedLedger(engine, STUDY, UNIT, 10**6) as shared, Samples(engine, beside=shared.beside) as samples:
        outcome = asyncio.run(go(shared.ledger, samples))
        samples.flush()
        kept = sum(row.generated * row.count for row in used(engine))
        assert kept == outcome.usage["S@1"].generated == sum(spent_by(engine, STUDY).values())
    assert written(engine) == (kept, 0)


def test_a_database_that_breaks_is_told_to_all_who_wait(tmp_path):
    engine = database.open(f"sqlite:///{tmp_path / 'a.db'}", timeout=0.01)
    blocker = database.open(f"sqlite:///{tmp_path / 'a.db'}")

    async def go(ledger):
        with database.writing(blocker):
            ended = await asyncio.gather(*[ledger.child().claim(5) for _ in range(9)], return_exceptions=True)
        assert [type(error) for error in ended] == [StoreError] * 9
        assert ledger.reserved == 0 and not ledger.line
        with pytest.raises(StoreError, match="is locked"):
            await ledger.claim(5)

    with SharedLedger(engine, STUDY, UNIT, 100) as shared:
        asyncio.run(go(shared.ledger))
    blocker.dispose()
    engine.dispose()


def test_nothing_runs_on_when_the_scope_is_left(engine):
    before = set(threading.enumerate())
    with SharedLedger(engine, STUDY, UNIT, 100) as shared:
        asyncio.run(shared.ledger.claim(5))
        shared.ledger.settle("S@1", "drawn", reserved=5, parts=5)
    assert set(threading.enumerate()) == before


def processes(url, limit, largest, deaths):
    """Four processes of 16 children at once; what the ones that lived say that they spent."""
    context = multiprocessing.get_context("spawn")
    out, gone = context.Queue(), context.Event()
    workers = [
        context.Process(target=work, args=(url, limit, largest, seed, deaths.get(seed), out, gone)) for seed in range(4)
    ]
    for worker in workers:
        worker.start()
    for seed in deaths:
        workers[seed].join(60)
    gone.set()
    told = dict(out.get(timeout=60) for _ in range(4 - len(deaths)))
    for seed, worker in enumerate(workers):
        worker.join(30)
        assert worker.exitcode == (-9 if seed in deaths else 0)
        worker.close()
    out.close()
    out.join_thread()
    return told


@pytest.mark.slow
def test_four_processes_use_a_limit_and_never_more(engine):
    limit = 400_000
    told = processes(str(engine.url), limit, 4000, {})
    assert written(engine) == (sum(told.values()), 0)
    assert 0.95 * limit <= sum(told.values()) <= limit


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_a_ledger_that_holds(engine):
    limit, largest = 400_000, 4000
    told = processes(str(engine.url), limit, largest, {2: 10})
    with SharedLedger(engine, STUDY, UNIT, limit) as shared:  # whoever comes next finds the lease
        assert shared.ledger.spent <= limit
    spent, held = written(engine)
    by = spent_by(engine, STUDY)
    assert held == 0 and 0.95 * limit <= spent <= limit
    assert by["S@1", "drawn"] >= sum(told.values())
    running = 16 * largest  # at most, and a quarter more in hand
    assert 0 < by["", LOST] <= 2 * running
