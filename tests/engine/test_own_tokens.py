"""Prompts that a root only bounds: what a backend says that it has read is what a plan is charged."""

import asyncio
from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from autotts.core.cost import Prices
from autotts.core.node import root_node
from autotts.core.plan import Draw, Join, Score, Spec
from autotts.core.world import Binding
from autotts.engine.live import serve
from autotts.engine.replay import replay
from autotts.strategies.arms import parse
from autotts.worlds.toy import Skill, Toy
from tests.engine.arms import arms
from tests.engine.worlds import toys

BOUND, TRUE = 40, 7
ONE_MODEL = [
    "one(model=S)",
    "vote(n=7, model=S)",
    "first_finish(n=6, k=2, model=S)",
    "best_of_n(n=5, model=S, by=prm)",
    "adaptive(most=16, model=S)",
    "beam(n=4, m=2, model=S, by=prm)",
]


class Counting:
    """A toy whose prompt is shorter than its root says; it knows the true length of every path."""

    def __init__(self, toy, root):
        self.script = toy.script({root.key: None})
        self.length = {root.key: TRUE}

    def __call__(self, order):
        ask = order.ask
        nodes = getattr(ask, "nodes", None) or (ask.node,)
        read = sum(self.length[node.key] for node in nodes)
        reply = self.script(order)
        if not isinstance(ask, Score):
            self.length[reply.value.key] = read + reply.value.tokens
        return replace(reply, usage=replace(reply.usage, prompt=read, cached=0))


def both(arm, toy, seed, cap=None):
    """The outcome where the root bounds the prompt, and where it says it exactly."""
    bounded, exact = root_node(f"problem {seed}", BOUND), root_node(f"problem {seed}", TRUE)
    stretched = {role: replace(b, stretch=2 if role == "prm" else 1) for role, b in toy.bindings.items()}
    ours = replay(arm.plan(bounded, Random(seed)), bounded, Counting(toy, bounded), stretched, cap=cap)
    true = replay(arm.plan(exact, Random(seed)), exact, toy.script({exact.key: None}), toy.bindings)
    return ours, true


@given(arms(), toys(), st.integers(0, 10**6))
def test_a_plan_is_never_charged_less_than_what_was_read(arm, toy, seed):
    ours, true = both(arm, toy, seed)
    assert ours.cost >= true.cost
    assert ours.choice is None or ours.choice.node.answer == true.choice.node.answer


@given(
    st.sampled_from(ONE_MODEL),
    toys(),
    st.integers(0, 10**6),
)
def test_what_was_read_is_charged_to_the_token(text, toy, seed):
    ours, true = both(parse(text), toy, seed)
    assert ours.cost == true.cost
    assert ours.usage == true.usage


@given(arms(), toys(), st.integers(0, 10**6), st.floats(0, 1))
def test_a_cap_holds_on_what_is_charged(arm, toy, seed, share):
    free, _ = both(arm, toy, seed)
    cap = int(free.cost * share)
    ours, _ = both(arm, toy, seed, cap)
    assert ours.cost <= cap


def test_a_draw_that_never_began_does_not_tell_what_a_prompt_takes():
    toy = Toy({"S": Binding("S@1")}, {"S@1": Skill(fail=0, mute=0)})
    root = root_node("p", BOUND)
    counting, asked = Counting(toy, root), []

    def script(order):
        asked.append(order)
        reply = counting(order)
        if len(asked) > 1:
            return reply
        node = replace(reply.value, failed=True, tokens=0)
        return replace(reply, value=node, usage=replace(reply.usage, prompt=0, generated=0, calls=0))

    def plan():
        for _ in range(2):
            yield Join([Draw(root, Spec(model="S"))])

    out = replay(plan(), root, script, toy.bindings)
    assert (out.usage["S@1"].prompt, out.usage["S@1"].cached) == (0, TRUE)
    assert asked[1].prefix == TRUE


class Faulty:
    """On the clock: the first attempt at every draw makes some tokens and comes to nothing; the second is the toy's."""

    def __init__(self, toy, lost, root):
        self.toy, self.lost, self.bindings = toy, lost, toy.bindings
        self.counting = Counting(toy, root)
        self.read = self.made = 0

    async def answer(self, order, states, meter):
        meter.begin()
        reply = self.counting(order)
        whole = reply.usage.prompt
        self.read += whole
        meter.prompt = whole
        for _ in range(self.lost):
            await asyncio.sleep(0)
            meter.add(1)
            self.made += 1
        meter.lost, meter.generated = meter.generated, 0
        meter.begin()
        self.read += whole
        for _ in range(reply.usage.generated):
            await asyncio.sleep(0)
            meter.add(1)
            self.made += 1
        return replace(reply, usage=replace(reply.usage, cancelled=meter.lost, calls=2))


@given(st.sampled_from(["vote(n=4, model=S)", "first_finish(n=6, k=2, model=S)"]), toys(), st.integers(0, 50))
def test_served_attempts_that_come_to_nothing_are_charged(text, toy, seed):
    root = root_node(f"problem {seed}", BOUND)
    world = Faulty(toy, 3, root)
    out = asyncio.run(serve(parse(text).plan(root, Random(seed)), root, None, world))
    used = out.usage["S@1"]
    assert used.generated + used.cancelled == world.made
    assert used.prompt + used.cached == world.read


@given(toys(), st.integers(0, 50), st.integers(0, 200))
def test_another_attempt_never_passes_the_cap(toy, seed, cap):
    bindings = {role: replace(b, prices=Prices()) for role, b in toy.bindings.items()}
    root = root_node(f"problem {seed}", BOUND)
    world = Faulty(replace(toy, bindings=bindings), 3, root)
    out = asyncio.run(serve(parse("vote(n=4, model=S)").plan(root, Random(seed)), root, None, world, cap=cap))
    assert out.cost <= cap
