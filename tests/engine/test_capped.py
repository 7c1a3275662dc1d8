"""The search budget holds, whatever runs at once."""

import asyncio
import math
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotts.core.cost import Prices, Usage
from autotts.core.node import Node, root_node
from autotts.core.plan import Draw, Join, Score, Spec
from autotts.core.world import Binding, Reply
from autotts.engine.capped import CANCELLED, DRAWN, FAILED, JUDGED, LOST, SCORED, Capped, Ledger
from autotts.engine.live import search
from autotts.engine.memo import Memo, Memory
from autotts.errors import InputError, SearchBudgetReached
from autotts.worlds.toy import Skill, Toy
from tests.engine.worlds import PROMPT, Jitter, Paced, jump

PRICES = Prices(prompt=2, cached=1, generated=3, prompt_context=1, generated_context=1, call=5)
S = Binding("S@1", prices=PRICES, max_tokens=80)
PRM = Binding("prm@1", prices=PRICES, max_tokens=0)
TOY = Toy({"S": S, "prm": PRM}, {"S@1": Skill(length=(0, 90), fail=0.2)})


def vote(root, n=4):
    got = yield Join([Draw(root, Spec(model="S")) for _ in range(n)])
    got = yield Join([Score(node, "prm") for node in got.slots])
    return got.slots


async def children(world, ledger, count, scope=lambda: None):
    """`count` plans at once; how each ended."""
    async with Memo(Capped(world, ledger), Memory()) as memo:
        roots = [memo.root(root_node(f"p{i}", PROMPT), None) for i in range(count)]
        return await asyncio.gather(*[search(vote(r), r, memo) for r in roots], return_exceptions=True), memo


def bill(usage: Usage) -> int:
    return usage.prompt, usage.cached, usage.generated


@given(st.integers(0, 10**6), st.integers(0, 200_000))
def test_64_children_at_once_never_exceed_the_limit(seed, limit):
    ledger = Ledger(limit)
    world = Jitter(TOY, seed)
    answer = world.answer

    async def watched(order, states, meter):
        assert ledger.spent + ledger.reserved <= limit
        return await answer(order, states, meter)

    world.answer = watched
    ended, memo = asyncio.run(children(world, ledger, 64))
    assert ledger.spent <= limit and ledger.reserved == 0
    assert ledger.spent == sum(ledger.by.values())
    assert all(not isinstance(x, BaseException) or isinstance(x, SearchBudgetReached) for x in ended)
    refused = any(isinstance(x, SearchBudgetReached) for x in ended)
    most = PRICES.of_prompt(PROMPT, PROMPT) + PRICES.of_generated(PROMPT, S.max_tokens)
    longest = PRICES.of_prompt(PROMPT + 80, PROMPT + 80)
    assert not refused or ledger.spent > limit - max(most, longest)  # nothing is refused that had room
    if not refused:
        free = Ledger()
        asyncio.run(children(Jitter(TOY, seed), free, 64))
        assert free.by == ledger.by  # a limit that does not bind changes nothing
    made = sum(usage.generated for usage in memo.spend.values())
    assert made == sum(world.made.values())


def test_what_was_used_is_charged_by_kind():
    ledger = Ledger(10**9)
    _, memo = asyncio.run(children(TOY, ledger, 3))
    drawn = memo.spend["S@1"]
    assert drawn.calls == 12 and drawn.prompt == 12 * PROMPT
    flat = Prices(prompt=0, generated=7)
    other = Ledger(10**9)

    async def go():
        async with Memo(Capped(TOY, other, {"S@1": flat, "prm@1": flat}), Memory()) as memo:
            root = memo.root(root_node("p0", PROMPT), None)
            return await search(vote(root), root, memo)

    outcome = asyncio.run(go())
    drawn = sum(parts for (name, _), parts in other.by.items() if name == "S@1")
    assert drawn == 7 * outcome.usage["S@1"].generated and other.by["prm@1", SCORED] == 0
    assert set(other.by) == {("S@1", DRAWN), ("S@1", FAILED), ("prm@1", SCORED)}


def test_a_cancelled_draw_is_charged_what_its_meter_counted():
    ledger = Ledger(10**9)
    world = Paced(Toy({"S": S}, {"S@1": Skill(length=(60, 60), fail=0, mute=0)}))

    async def go():
        async with Memo(Capped(world, ledger), Memory()) as memo:
            root = memo.root(root_node("p", PROMPT), None)
            async with asyncio.timeout(0.0205):
                await search(vote(root, 1), root, memo)

    with pytest.raises(TimeoutError):
        jump(go())
    assert world.made == {"S@1": 21} and ledger.reserved == 0
    assert ledger.by == {("S@1", CANCELLED): PRICES.of_prompt(PROMPT, PROMPT) + PRICES.of_generated(PROMPT, 21)}


def test_an_int_stop_bounds_what_is_set_aside():
    chunk = Toy({"S": S}, {"S@1": Skill(length=(60, 60), fail=0, mute=0)})
    price = PRICES.of_prompt(PROMPT, PROMPT) + PRICES.of_generated(PROMPT, 10)

    async def go(stop, ledger):
        def plan(root):
            got = yield Join([Draw(root, Spec(stop=stop, model="S"))])
            return got.slots[0]

        async with Memo(Capped(chunk, ledger), Memory()) as memo:
            root = memo.root(root_node("p", PROMPT), None)
            return await search(plan(root), root, memo)

    assert asyncio.run(go(10, Ledger(price))).choice.tokens == 10
    with pytest.raises(SearchBudgetReached, match="search budget"):
        asyncio.run(go(11, Ledger(price)))


def test_a_waiting_claim_that_is_cancelled_keeps_nothing():
    async def go():
        ledger = Ledger(10)
        await ledger.claim(10)
        waiting = [asyncio.create_task(ledger.claim(n)) for n in (6, 4, 5)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        ledger.settle("S@1", DRAWN, reserved=10, parts=1)
        waiting[1].cancel()  # served and cancelled in the same moment
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(x) for x in ended] == [asyncio.CancelledError, asyncio.CancelledError, type(None)]
        assert (ledger.spent, ledger.reserved) == (1, 5)
        late = asyncio.create_task(ledger.claim(9))
        await asyncio.sleep(0)
        assert not late.done()
        ledger.settle("S@1", DRAWN, reserved=5, parts=5)
        with pytest.raises(SearchBudgetReached):
            await late
        assert ledger.left == 4

    asyncio.run(go())


@given(st.integers(0, 10**6))
def test_random_claims_are_served_in_line_and_within_the_limit(seed):
    random = Random(seed)

    async def go():
        ledger = Ledger(random.randint(0, 60))
        served = []

        async def one(i):
            most = random.randint(0, 20)
            try:
                await ledger.claim(most)
            except SearchBudgetReached:
                return
            served.append(i)
            assert ledger.spent + ledger.reserved <= ledger.limit
            try:
                for _ in range(random.randint(0, 3)):
                    await asyncio.sleep(0)
            finally:
                ledger.settle("S@1", DRAWN, reserved=most, parts=random.randint(0, most))

        tasks = [asyncio.create_task(one(i)) for i in range(30)]
        for _ in range(random.randint(0, 10)):
            await asyncio.sleep(0)
            random.choice(tasks).cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert served == sorted(served) and 0 <= ledger.spent <= ledger.limit

    asyncio.run(go())


class Retrying:
    """A backend behind a queue: each draw waits, is refused, breaks off some times, and then answers."""

    def __init__(self, *, refused=0, broken=0, made=10, hang=False):
        self.bindings = {"S": S, "judge": replace(S, id="judge@1"), "prm": PRM}
        self.refused, self.broken, self.made, self.hang = refused, broken, made, hang
        self.read = 0  # prompts, as the backend counts them
        self.value = None

    async def answer(self, order, states, meter):
        meter.waiting = True
        await asyncio.sleep(0)
        for _ in range(self.refused):
            meter.begin()
            meter.refused()
        for _ in range(self.broken):
            meter.begin()
            self.read += 1
            meter.lost += 6
        meter.begin()
        self.read += 1
        meter.prompt = PROMPT - 2
        meter.add(self.made)
        meter.ahead = 4
        if self.hang:
            await asyncio.Event().wait()
        usage = Usage(PROMPT - 3, 1, self.made, meter.lost, meter.calls)
        value = Node(order.key, 1, True, None, b"d", self.made) if self.value is None else self.value
        return Reply(value, usage)


def one(role="S"):
    def plan(root):
        got = yield Join([Draw(root, Spec(model="S")) if role == "S" else Score(root, role)])
        return got.slots[0]

    return plan


async def asked(world, ledger, plan, seconds=None):
    async with asyncio.timeout(seconds), Memo(Capped(world, ledger), Memory()) as memo:
        root = memo.root(root_node("p", PROMPT), None)
        return await search(plan(root), root, memo)


WHOLE = PRICES.of_prompt(PROMPT - 2, PROMPT - 2)  # as the backend counts its prompt
ANSWER = PRICES.of_prompt(PROMPT - 2, PROMPT - 3) + PRICES.of_generated(PROMPT - 2, 10)


def test_attempts_that_came_to_nothing_are_charged_as_lost():
    ledger, world = Ledger(10**9), Retrying(refused=3, broken=2)
    asyncio.run(asked(world, ledger, one()))
    assert world.read == 3 and ledger.reserved == 0
    assert ledger.by == {("S@1", DRAWN): ANSWER, ("S@1", LOST): 2 * WHOLE + PRICES.of_generated(PROMPT - 2, 12)}


def test_another_attempt_needs_room_of_its_own():
    most = PRICES.of_prompt(PROMPT, PROMPT) + PRICES.of_generated(PROMPT, S.max_tokens)
    asyncio.run(asked(Retrying(refused=9), Ledger(most), one()))  # what never reached the backend needs none
    asyncio.run(asked(Retrying(broken=1), Ledger(2 * most), one()))
    ledger, world = Ledger(2 * most - 1), Retrying(broken=1)
    with pytest.raises(SearchBudgetReached, match="search budget"):
        asyncio.run(asked(world, ledger, one()))
    assert world.read == 1 and ledger.reserved == 0  # the second attempt was not sent
    assert ledger.by == {("S@1", CANCELLED): PRICES.of_prompt(PROMPT, PROMPT) + PRICES.of_generated(PROMPT, 6)}


def test_a_draw_that_is_cancelled_is_charged_all_attempts_and_what_may_have_come():
    ledger, world = Ledger(10**9), Retrying(broken=1, hang=True)
    with pytest.raises(TimeoutError):
        asyncio.run(asked(world, ledger, one(), seconds=0.01))
    assert ledger.by == {("S@1", CANCELLED): 2 * WHOLE + PRICES.of_generated(PROMPT - 2, 6 + 10 + 4)}


def test_a_draw_that_still_waits_for_its_backend_is_charged_nothing():
    class Queue(Retrying):
        async def answer(self, order, states, meter):
            meter.waiting = True
            await asyncio.Event().wait()

    ledger = Ledger(10**9)
    with pytest.raises(TimeoutError):
        asyncio.run(asked(Queue(), ledger, one(), seconds=0.01))
    assert ledger.spent == 0 and ledger.by == {("S@1", CANCELLED): 0}


@pytest.mark.parametrize(
    ("role", "value", "kind"),
    [
        ("judge", 0.5, JUDGED),
        ("judge", math.nan, FAILED),
        ("prm", 0.5, SCORED),
        ("prm", math.nan, FAILED),
        ("S", Node(b"k", 1, True, None, b"d", 0, True), FAILED),
    ],
)
def test_each_kind_of_work_is_shown_for_itself(role, value, kind):
    ledger, world = Ledger(10**9), Retrying()
    world.value = value
    asyncio.run(asked(world, ledger, one(role)))
    assert ledger.by == {(world.bindings[role].id, kind): ANSWER}


def test_an_unknown_price_is_an_error_before_anything_is_asked():
    with pytest.raises(InputError, match=r"expected those of 'prm@1', found them for S@1: give each model its price"):
        Capped(TOY, Ledger(), {"S@1": PRICES})


def test_a_draw_is_paid_by_the_ledger_that_was_open_when_it_began():
    study = Ledger(10**9)
    trials = [study.child(10**9, f"trial {i}") for i in range(3)]

    async def go():
        async with Memo(Capped(TOY, study), Memory()) as memo:
            roots = [memo.root(root_node(f"p{i}", PROMPT), None) for i in (0, 1, 1)]

            async def trial(i):
                with trials[i].open():
                    return await search(vote(roots[i]), roots[i], memo)

            return await asyncio.gather(*[trial(i) for i in range(3)]), memo.reused

    outcomes, reused = asyncio.run(go())
    assert outcomes[1].cost == outcomes[2].cost and reused > 0
    assert trials[0].spent > 0 and trials[1].spent > 0 and trials[2].spent == 0
    assert study.spent == trials[0].spent + trials[1].spent


def test_the_limit_of_who_began_a_draw_does_not_end_another_plan_that_waits_for_it():
    study = Ledger(10**9)
    poor, rich = study.child(1, "poor"), study.child(10**9, "rich")

    async def go():
        async with Memo(Capped(TOY, study), Memory()) as memo:
            root = memo.root(root_node("p", PROMPT), None)

            async def trial(ledger):
                with ledger.open():
                    return await search(vote(root), root, memo)

            return await asyncio.gather(trial(poor), trial(rich), return_exceptions=True)

    refused, served = asyncio.run(go())
    assert isinstance(refused, SearchBudgetReached) and refused.ledger is poor
    assert served.ended == "returned" and rich.spent == study.spent > 0 == poor.spent
