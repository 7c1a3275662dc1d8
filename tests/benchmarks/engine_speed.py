"""Asks a second of the engines, on one core: `python -m tests.benchmarks.engine_speed [seconds for each line]`.

Replay is fed from memory; live runs 64 plans at once over a warm store, then over a cold toy world. The first column
counts by the clock; the second by the processor's time, which a busy machine does not change.
"""

import asyncio
import gc
import platform
import sys
import time
from random import Random

from autotts.core.node import root_node
from autotts.core.world import Binding
from autotts.engine.live import search
from autotts.engine.memo import Memo, Memory
from autotts.engine.replay import replay
from autotts.strategies.arms import parse
from autotts.worlds.toy import Skill, Toy

TOY = Toy(
    {"S": Binding("S@1"), "prm": Binding("prm@1")},
    {"S@1": Skill(steps=8, length=(4000, 16000))},
)
ARMS = [
    "one(model=S)",
    "vote(n=64, model=S)",
    "weighted_vote(n=64, model=S)",
    "best_of_n(n=64, model=S)",
    "first_finish(n=16, k=4, model=S)",
    "adaptive(most=40, batch=4, threshold=1.0, model=S)",
    "beam(n=16, m=4, model=S)",
    "dvts(n=16, m=4, model=S)",
]
PROMPTS = 20
AT_ONCE = 64


class Rate:
    """Counts asks until its time is over: `by_clock` and `by_busy` a second."""

    def __init__(self, seconds: float) -> None:
        self.asks = 0
        gc.collect()
        self._clock, self._busy, self._seconds = time.perf_counter(), time.process_time(), seconds
        self.by_clock = self.by_busy = 0.0

    def going(self) -> bool:
        clock, busy = time.perf_counter() - self._clock, time.process_time() - self._busy
        if clock < self._seconds:
            return True
        self.by_clock, self.by_busy = self.asks / clock, self.asks / busy
        return False

    def __str__(self) -> str:
        return f"{self.by_clock:10,.0f} {self.by_busy:10,.0f}"


def recorded(arm):
    """Some prompts and, for each, the replies that the arm asks for."""
    tapes = []
    for i in range(PROMPTS):
        root, tape = root_node(f"p{i}", 7), {}
        script = TOY.script({root.key: None})

        def record(order, script=script, tape=tape):
            tape[order.key] = reply = script(order)
            return reply

        replay(arm.plan(root, Random(0)), root, record, TOY.bindings)
        tapes.append((root, tape))
    return tapes


def replayed(arm, seconds, cap=None):
    tapes = recorded(arm)
    rate = Rate(seconds)
    while rate.going():
        for root, tape in tapes:
            get = tape.__getitem__
            plan = arm.plan(root, Random(0))
            rate.asks += replay(plan, root, lambda order, get=get: get(order.key), TOY.bindings, cap=cap).asks
    return rate


async def together(arm, memo, turn):
    """Many plans at once; how many asks they made."""
    roots = [memo.root(root_node(f"{turn}/{i}", 7), None) for i in range(AT_ONCE)]
    plans = [search(arm.plan(root, Random(0)), root, memo) for root in roots]
    return sum(outcome.asks for outcome in await asyncio.gather(*plans))


async def warm(arm, seconds):
    async with Memo(TOY, Memory()) as memo:
        await together(arm, memo, 0)
        rate = Rate(seconds)
        while rate.going():
            rate.asks += await together(arm, memo, 0)
        return rate


async def cold(arm, seconds):
    async with Memo(TOY, Memory()) as memo:
        rate, turn = Rate(seconds), 0
        while rate.going():
            rate.asks += await together(arm, memo, turn)
            turn += 1
        return rate


def main(seconds: float = 1.0) -> None:
    print(f"Python {platform.python_version()}, {platform.machine()}; asks a second by the clock, and by busy time")
    for text in ARMS:
        arm = parse(text)
        print(f"{text:52s} replay {max((replayed(arm, seconds) for _ in range(3)), key=lambda rate: rate.by_busy)}")
        print(f"{'':52s}   warm {asyncio.run(warm(arm, seconds))}")
        print(f"{'':52s}   cold {asyncio.run(cold(arm, seconds))}", flush=True)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
