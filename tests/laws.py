"""What is true of every strategy, in any world: run on every registered one, at random knobs.

`pytest tests/laws.py --hypothesis-profile=soak` tries thousands of examples of each law.
"""

import asyncio
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from autotts.core.node import Choice, root_node
from autotts.core.plan import MISSING, Draw, Join, Offer
from autotts.engine.live import search, serve
from autotts.engine.memo import Memo, Memory
from autotts.engine.replay import replay
from autotts.strategies.beam import ROUNDS
from tests.engine.arms import arms, most
from tests.engine.chaos import Chaos
from tests.engine.count import disagreements
from tests.engine.worlds import PROMPT, Jitter, Paced, jump, live, run, same, told, toys

seeds = st.integers(0, 10**6)
caps = st.none() | st.integers(0, 3000)
plans = arms() | arms() | arms() | st.just(Chaos())


@given(plans, toys(), seeds)
def test_the_same_seed_is_the_same_run(arm, toy, seed):
    assert same(run(arm, toy, seed)) == same(run(arm, toy, seed))


@given(plans, toys(), seeds, seeds, caps)
def test_live_is_replay(arm, toy, seed, real, cap):
    world = Jitter(toy, real)
    outcome, memo = asyncio.run(live(arm, world, seed, Memory(), cap=cap))
    assert same(outcome) == same(run(arm, toy, seed, cap=cap))
    made = {name: usage.generated for name, usage in memo.spend.items()}
    assert made == world.made  # spend is the world's own count
    assert memo.made == world.calls


@given(plans, toys(), seeds, st.none() | st.floats(0, 1.1))
def test_cost_is_the_worlds_own_count_to_the_token(arm, toy, seed, share):
    cap = None if share is None else int(run(arm, toy, seed).cost * share)
    assert disagreements(arm, toy, seed, cap=cap) == []


@given(plans, toys(), seeds, st.floats(0, 1))
def test_a_cap_at_any_moment_leaves_the_last_offer_or_no_answer(arm, toy, seed, share):
    free = run(arm, toy, seed)
    cap = int(free.cost * share)
    outcome = run(arm, toy, seed, cap=cap)
    assert outcome.cost <= cap
    if outcome.ended == "returned":
        assert same(outcome) == same(free)
        return
    assert outcome.ended == "cap" and outcome.ticks <= free.ticks
    assert outcome.choice is (outcome.offers[-1] if outcome.offers else None)
    early = [told(offer) for offer in outcome.offers[:-1]]  # the last may be one that was asked for at the end
    assert early == [told(offer) for offer in free.offers[: len(early)]]


@given(plans, toys(), seeds)
def test_a_cap_that_is_just_enough_changes_nothing(arm, toy, seed):
    free = run(arm, toy, seed)
    assert same(run(arm, toy, seed, cap=free.cost)) == same(free)


@given(arms(), toys(), seeds)
def test_any_world_is_survived(arm, toy, seed):
    """Failed draws, empty texts, nothing that can be read, broken scores: a choice, or a plain no answer."""
    outcome = run(arm, toy, seed)
    assert outcome.ended == "returned"
    choice = outcome.choice
    assert choice is None or (isinstance(choice, Choice) and choice.node.depth > 0)
    if all(1.0 in (toy.skills[name].fail, toy.skills[name].mute) for name in ("S@1", "L@1")):
        probes = type(arm).__name__ in ("Staged", "Cut")  # a running draw may show an answer that its end does not
        assert choice is None or choice.node.answer is None or probes


@given(arms(), toys(), seeds)
def test_the_last_offer_of_a_plan_that_ends_by_itself_is_its_answer(arm, toy, seed):
    outcome = run(arm, toy, seed)
    if outcome.offers:
        assert told(outcome.offers[-1]) == told(outcome.choice)


class Overheard:
    """A strategy, and what its joins would have offered the moment before they woke for the last time."""

    def __init__(self, arm):
        self.arm, self.late = arm, []

    def plan(self, root, rng):
        plan, send = self.arm.plan(root, rng), None
        while True:
            try:
                item = plan.send(send)
            except StopIteration as stop:
                return stop.value
            send = yield item
            if isinstance(item, Offer):
                self.late = [item.choice]
            elif isinstance(item, Join) and item.offer is not None:
                self.late = [item.offer(send.values)]
                if not any(slot is MISSING for slot in send.slots):
                    self.late.append(item.offer(send.slots))  # most plans count in order of asking


@given(arms(), toys(), seeds)
def test_what_a_last_join_offers_of_all_that_came_is_the_answer(arm, toy, seed):
    heard = Overheard(arm)
    outcome = run(heard, toy, seed)
    assert not heard.late or told(outcome.choice) in [told(offer) for offer in heard.late]


@given(arms(), toys(), seeds)
def test_no_more_draws_than_the_knobs_allow(arm, toy, seed):
    """Whole draws: no more than the largest whole-number knob; step by step: no more in each round."""
    root = root_node(f"problem {seed}", PROMPT)
    script, asks = toy.script({root.key: None}), []

    def watched(order):
        asks.append(order.ask)
        return script(order)

    replay(arm.plan(root, Random(seed)), root, watched, toy.bindings)
    draws = [ask for ask in asks if isinstance(ask, Draw)]
    whole = all(ask.node is root and ask.spec.stop == "end" for ask in draws)
    assert 1 <= len(draws) <= most(arm) * (1 if whole else ROUNDS)
    assert len(asks) <= 2 * len(draws)  # a draw is scored once


@given(plans, plans, toys(), seeds, seeds)
def test_a_warm_store_changes_no_answer_and_no_cost(arm, other, toy, seed, real):
    samples = Memory()
    world = Jitter(toy, real)
    cold, _ = asyncio.run(live(arm, world, seed, Memory()))
    asyncio.run(live(other, world, seed, samples))  # warmed by another arm
    part, _ = asyncio.run(live(arm, world, seed, samples))
    before = world.calls
    warm, memo = asyncio.run(live(arm, world, seed, samples))
    assert same(cold) == same(part) == same(warm)
    assert world.calls == before and not memo.spend and not memo.made


@given(plans, toys(), seeds, seeds)
def test_two_plans_share_one_flight(arm, toy, seed, real):
    world, samples = Jitter(toy, real), Memory()

    async def both():
        root = root_node(f"problem {seed}", PROMPT)
        async with Memo(world, samples) as memo, asyncio.TaskGroup() as group:
            memo.root(root, None)
            return [group.create_task(search(arm.plan(root, Random(seed)), root, memo)) for _ in range(2)]

    first, second = asyncio.run(both())
    assert same(first.result()) == same(second.result()) == same(run(arm, toy, seed))
    assert world.calls == len(samples.replies)  # each key is drawn once


@given(plans, toys(), seeds, caps, st.none() | st.integers(1, 100))
def test_served_cost_is_the_worlds_own_count_and_never_above_the_cap(arm, toy, seed, cap, deadline):
    root = root_node(f"problem {seed}", PROMPT)
    world = Paced(toy)
    plan = arm.plan(root, Random(seed))
    seconds = None if deadline is None else deadline / 1000
    outcome = jump(serve(plan, root, None, world, cap=cap, deadline=seconds))
    made = {name: usage.generated + usage.cancelled for name, usage in outcome.usage.items()}
    assert {name: n for name, n in made.items() if n} == {name: n for name, n in world.made.items() if n}
    assert cap is None or outcome.cost <= cap
    assert outcome.ended != "deadline" or outcome.ticks == deadline
    if outcome.ended in ("cap", "deadline"):
        assert outcome.choice is (outcome.offers[-1] if outcome.offers else None)
