"""The search budget holds, whatever runs at once."""

import asyncio
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotts.core.cost import Prices, Usage
from autotts.core.node import root_node
from autotts.core.plan import Draw, Join, Score, Spec
from autotts.core.world import Binding
from autotts.engine.capped import CANCELLED, DRAWN, FAILED, SCORED, Capped, Ledger
from autotts.engine.live import search
from autotts.engine.memo import Memo, Memory
from autotts.errors import SearchBudgetReached
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
