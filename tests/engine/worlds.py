"""Toy worlds as an engine meets them: slow, in another order, counting for themselves, breaking."""

import asyncio
import selectors
from dataclasses import dataclass, field
from random import Random

from hypothesis import strategies as st

from autotts.core.cost import Prices
from autotts.core.node import root_node
from autotts.core.world import Binding
from autotts.engine.live import search
from autotts.engine.memo import Memo
from autotts.engine.replay import replay
from autotts.worlds.toy import Skill, Toy

PROMPT = 7  # tokens of every prompt here


@dataclass
class Jitter:
    """The same replies in a scrambled order; shows some progress, counts what it makes."""

    toy: Toy
    seed: int
    made: dict = field(default_factory=dict)  # tokens by binding id
    calls: int = 0

    def __post_init__(self):
        self.random = Random(self.seed)
        self.bindings = self.toy.bindings

    async def answer(self, order, states, meter):
        reply = self.toy.reply(order, states)
        self.calls += 1
        count = reply.usage.generated
        while meter.generated < count and self.random.random() < 0.7:
            meter.add(self.random.randint(0, count - meter.generated))
            await asyncio.sleep(0)
        while self.random.random() < 0.3:
            await asyncio.sleep(0)
        self.made[order.binding.id] = self.made.get(order.binding.id, 0) + count
        return reply


@dataclass
class Paced:
    """Makes tokens one by one, one in `ticks` milliseconds, each only if it is wanted; counts them itself."""

    toy: Toy
    made: dict = field(default_factory=dict)
    calls: int = 0
    cancelled: int = 0

    def __post_init__(self):
        self.bindings = self.toy.bindings

    async def answer(self, order, states, meter):
        reply = self.toy.reply(order, states)
        self.calls += 1
        try:
            for _ in range(reply.usage.generated):
                before = meter.generated
                meter.add(1)
                self.made[order.binding.id] = self.made.get(order.binding.id, 0) + meter.generated - before
                await asyncio.sleep(order.binding.ticks / 1000)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return reply


class Jump(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of sleeping."""

    def __init__(self):
        self._moment = 0.0
        super().__init__(selectors.SelectSelector())
        real = self._selector.select

        def select(timeout):
            got = real(0)
            if not got and timeout:
                self._moment += timeout
            return got

        self._selector.select = select

    def time(self):
        return self._moment


def jump(coroutine):
    with asyncio.Runner(loop_factory=Jump) as runner:
        return runner.run(coroutine)


skills = st.builds(
    Skill,
    right=st.floats(0, 1),
    step=st.floats(0, 1),
    steps=st.integers(1, 4),
    length=st.tuples(st.integers(0, 20), st.integers(20, 40)),
    fail=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    mute=st.sampled_from([0.0, 0.1, 1.0]),
    verdict=st.integers(0, 6),
    probe=st.integers(0, 3),
    texts=st.sampled_from([0, 0, 1, 3]),
)
prices = st.builds(
    Prices,
    prompt=st.integers(0, 2),
    cached=st.integers(0, 1),
    generated=st.integers(0, 5),
    prompt_context=st.integers(0, 1),
    generated_context=st.integers(0, 2),
    call=st.integers(0, 3),
)


@st.composite
def toys(draw):
    """Two models (one of them under two roles) and two scorers."""

    def bind(name):
        return Binding(name, "", draw(st.integers(1, 3)), draw(prices), draw(st.sampled_from([15, 1000])))

    small, judge = bind("S@1"), bind("judge@1")
    bindings = {"S": small, "twin": small, "L": bind("L@1"), "prm": bind("prm@1"), "judge": judge}
    return Toy(bindings, {name: draw(skills) for name in ("S@1", "L@1", "prm@1", "judge@1")})


def run(arm, toy, seed, *, states=None, cap=None):
    """Replay an arm on a problem."""
    root = root_node(f"problem {seed}", PROMPT)
    states = {} if states is None else states
    states[root.key] = None
    return replay(arm.plan(root, Random(seed)), root, toy.script(states), toy.bindings, cap=cap)


async def live(arm, world, seed, samples, *, cap=None):
    """Search an arm on a problem; the outcome and the memo."""
    root = root_node(f"problem {seed}", PROMPT)
    async with Memo(world, samples) as memo:
        memo.root(root, None)
        outcome = await search(arm.plan(root, Random(seed)), root, memo, cap=cap)
    return outcome, memo


def told(choice):
    """What two equal choices share (a NaN equals a NaN here)."""
    return choice and (choice.node.key, choice.node.answer, repr(choice.confidence))


def same(outcome):
    """What two equal outcomes share."""
    return (
        told(outcome.choice),
        outcome.ended,
        outcome.cost,
        outcome.usage,
        outcome.ticks,
        outcome.asks,
        [told(offer) for offer in outcome.offers],
    )
