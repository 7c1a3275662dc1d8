"""Nested limits hold, lines are fair, and nobody waits who could be served."""

import asyncio
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from autotts.engine.ledger import Ledger
from autotts.errors import SearchBudgetReached

DRAWN = "drawn"


class Nested(RuleBasedStateMachine):
    """Ledgers beside a plain list of what is set aside and what was charged."""

    @initialize(limit=st.none() | st.integers(0, 60))
    def begin(self, limit):
        self.loop = asyncio.new_event_loop()
        self.ledgers = [Ledger(limit)]
        self.held = []  # (ledger, parts) that is set aside
        self.charged = []  # (ledger, parts)
        self.waiting = []  # (ledger, parts, task), in the order in which they came
        self.ahead = {}  # task of a claim that waits for its backend, or has not begun: how many may
        self.early = []  # those that were served and have not begun

    def teardown(self):
        if not hasattr(self, "loop"):
            return
        while self.held or self.waiting:  # no deadlock: when everything that runs ends, everybody is served or refused
            while self.early:  # also what is over already says that it has begun
                self.start(0)
            assert self.held or not self.waiting, "they wait, and nothing runs"
            if self.held:
                self.end(0, 0)
        self.loop.close()

    @rule(parent=st.integers(0, 9), limit=st.none() | st.integers(0, 40))
    def nest(self, parent, limit):
        if len(self.ledgers) < 8:
            self.ledgers.append(self.ledgers[parent % len(self.ledgers)].child(limit, f"part {len(self.ledgers)}"))

    @rule(which=st.integers(0, 9), parts=st.integers(0, 25))
    def reserve(self, which, parts):
        ledger = self.ledgers[which % len(self.ledgers)]
        there = all(x.limit is None or self.spent(x) + self.aside(x) + parts <= x.limit for x in ledger.path)
        assert ledger.reserve(parts) == there
        if there:
            self.held.append((ledger, parts))

    @rule(which=st.integers(0, 9), parts=st.integers(0, 25))
    def claim(self, which, parts):
        ledger = self.ledgers[which % len(self.ledgers)]
        self.waiting.append((ledger, parts, self.loop.create_task(ledger.claim(parts))))
        self.turn()

    @rule(which=st.integers(0, 9), parts=st.integers(0, 25), ahead=st.integers(1, 3))
    def claim_ahead(self, which, parts, ahead):
        ledger = self.ledgers[which % len(self.ledgers)]
        task = self.loop.create_task(ledger.claim(parts, ahead))
        self.ahead[task] = ahead
        self.waiting.append((ledger, parts, task))
        self.turn()

    @precondition(lambda self: self.early)
    @rule(which=st.integers(0, 9))
    def start(self, which):
        self.early.pop(which % len(self.early)).began()
        self.turn()

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 99), used=st.integers(0, 25))
    def end(self, which, used):
        ledger, parts = self.held.pop(which % len(self.held))
        self.charged.append((ledger, min(used, parts)))
        ledger.settle("S@1", DRAWN, reserved=parts, parts=min(used, parts))
        self.turn()

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 99))
    def go_away(self, which):
        self.waiting[which % len(self.waiting)][2].cancel()
        self.turn()

    @precondition(lambda self: self.held and self.waiting)
    @rule(which=st.integers(0, 99), other=st.integers(0, 99))
    def end_as_another_goes_away(self, which, other):
        self.waiting[other % len(self.waiting)][2].cancel()
        self.end(which, 0)

    def turn(self):
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.run_until_complete(asyncio.sleep(0))
        still = []
        for ledger, parts, task in self.waiting:
            if not task.done():
                still.append((ledger, parts, task))
            elif task.cancelled():
                continue
            elif task.exception() is None:
                assert not any(other is ledger for other, _, _ in still), "passed one that came before"
                self.held.append((ledger, parts))
                if task in self.ahead:
                    self.early.append(ledger)
                    assert len(self.early) <= max(self.ahead.values())
            else:
                with pytest.raises(SearchBudgetReached) as found:
                    task.result()
                full = found.value.ledger
                assert full in ledger.path and self.spent(full) + parts > full.limit
        self.waiting = still

    def aside(self, ledger):
        return sum(parts for other, parts in self.held if ledger in other.path)

    def spent(self, ledger):
        return sum(parts for other, parts in self.charged if ledger in other.path)

    @invariant()
    def sums_are_those_of_the_list(self):
        for ledger in getattr(self, "ledgers", ()):
            assert (ledger.spent, ledger.reserved) == (self.spent(ledger), self.aside(ledger))
            assert ledger.limit is None or ledger.spent + ledger.reserved <= ledger.limit
            assert sum(ledger.by.values()) == ledger.spent
            rooms = [x.limit - self.spent(x) - self.aside(x) for x in ledger.path if x.limit is not None]
            assert ledger.left == (min(rooms) if rooms else None)
            assert ledger.ahead == (len(self.early) if ledger.root is ledger else 0)

    @invariant()
    def the_first_in_each_line_lacks_room(self):
        for ledger in getattr(self, "ledgers", ()):
            own = [parts for other, parts, _ in self.waiting if other is ledger]
            assert [claim.parts for claim in ledger.line if claim.ledger is ledger] == own
            if ledger.line and ledger.line[0].at is ledger:
                assert not ledger.serves(ledger.line[0]) and not ledger.never(ledger.line[0].parts)
            for claim in ledger.line:  # those from below are the first at home
                assert claim.ledger is ledger or claim.ledger.line[0] is claim


TestNested = Nested.TestCase


def run(coroutine):
    return asyncio.run(coroutine)


async def waiting(*claims):
    tasks = [asyncio.ensure_future(claim) for claim in claims]
    await asyncio.sleep(0)
    return tasks


def test_a_big_claim_is_not_passed_by_small_ones_for_ever():
    async def go():
        ledger = Ledger(10)
        for _ in range(10):
            await ledger.claim(1)
        big, *small = await waiting(ledger.claim(6), *[ledger.claim(1) for _ in range(20)])
        for settled in range(1, 7):
            assert not big.done() and not any(task.done() for task in small)
            ledger.settle("S@1", DRAWN, reserved=1, parts=0)
            await asyncio.sleep(0)
            assert big.done() == (settled == 6)
        for task in small:
            task.cancel()

    run(go())


def test_who_waits_for_his_own_limit_keeps_no_sibling_waiting():
    async def go():
        study = Ledger(100)
        full, other = study.child(10, "trial 1"), study.child(50, "trial 2")
        await full.claim(8)
        (first,) = await waiting(full.claim(9))
        await asyncio.wait_for(other.claim(50), 1)  # the study has room
        assert not first.done()
        full.settle("S@1", DRAWN, reserved=8, parts=1)
        await asyncio.wait_for(first, 1)
        assert (study.reserved, full.reserved, other.reserved) == (59, 9, 50)

    run(go())


def test_room_that_a_retry_takes_is_waited_for_again_without_keeping_others():
    async def go():
        study = Ledger(20)
        trial, other = study.child(10, "trial"), study.child(20, "other")
        await study.claim(15)
        (first,) = await waiting(trial.claim(8))  # stands in the study's line
        assert trial.reserve(3)  # a draw that runs needs another attempt
        (second,) = await waiting(other.claim(10))
        study.settle("S@1", DRAWN, reserved=15, parts=0)
        await asyncio.sleep(0)
        assert second.done() and not first.done()
        trial.settle("S@1", DRAWN, reserved=3, parts=0)
        await asyncio.wait_for(first, 1)

    run(go())


def test_a_refusal_says_whose_limit_it_is():
    async def go():
        study = Ledger(100)
        trial = study.child(10, "trial 3")
        with pytest.raises(
            SearchBudgetReached, match=r"the limit of trial 3, 10 is reached: 0 are spent.* need 11"
        ) as e:
            await trial.claim(11)
        assert e.value.ledger is trial
        with pytest.raises(SearchBudgetReached, match="the search budget of 100 is reached") as e:
            study.child().insist(101)
        assert e.value.ledger is study

    run(go())


def test_a_size_that_is_none_is_refused():
    ledger = Ledger()
    with pytest.raises(ValueError, match="not negative"):
        ledger.reserve(-1)
    with pytest.raises(ValueError, match="not negative"):
        run(ledger.claim(-1))


def test_the_innermost_open_ledger_of_the_same_root_pays():
    study, other = Ledger(), Ledger()
    trial = study.child()
    with trial.open(), trial.child().open() as prompt:
        assert study.opened() is prompt and other.opened() is other
        with other.open():
            assert study.opened() is study
    assert study.opened() is study


@given(st.integers(0, 10**6))
def test_64_children_use_at_least_95_percent_of_a_limit_and_never_more(seed):
    random = Random(seed)
    limit = random.randint(4000, 10**9)
    largest = limit // 25
    study = Ledger(limit)
    trials = [study.child(random.choice([None, limit // 2]), f"trial {i}") for i in range(4)]

    async def child(number):
        prompt = trials[number % 4].child(None, f"prompt {number}")
        while True:
            most = random.randint(1, largest)
            try:
                await prompt.claim(most)
            except SearchBudgetReached:
                if most < largest // 2:
                    return
                continue
            assert study.spent + study.reserved <= limit
            for _ in range(random.randint(0, 3)):
                await asyncio.sleep(0)
            prompt.settle("S@1", DRAWN, reserved=most, parts=random.randint(most // 2, most))

    async def go():
        await asyncio.gather(*[child(number) for number in range(64)])

    run(go())
    assert study.reserved == 0 and 0.95 * limit <= study.spent <= limit
