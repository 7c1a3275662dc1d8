"""Racing: an arm takes the prompts of its level in blocks, and stops when it cannot reach the frontier any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotts.core.strategy import Strategy
from autotts.core.task import Problem
from autotts.estimate.racing import upper
from autotts.policy.allocation import Point, envelope
from autotts.search.runs import Ran, Runner
from autotts.search.together import together

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rival:
    """An arm of the frontier, prompt by prompt."""

    arm: str
    value: Floats
    cost: Floats


@dataclass(frozen=True, slots=True)
class Raced:
    """How far an arm came; `bound` says why it was stopped, None where it took all prompts."""

    ran: tuple[Ran, ...]
    bound: str | None

    @property
    def value(self) -> float:
        return float(np.mean([r.correct for r in self.ran]))

    @property
    def cost(self) -> float:
        return float(np.mean([r.cost for r in self.ran]))


async def race(
    runner: Runner,
    strategy: Strategy,
    problems: Sequence[Problem],
    rivals: Sequence[Rival],
    *,
    block: int,
    error: float,
) -> Raced:
    """Run an arm on the problems, in order, a block at a time.

    After each block but the last, the mean paired difference to the mixture of frontier arms that costs the same is
    bounded from above at every look at once (probability of a false stop: at most `error`); below zero, it stops.
    """
    ran: list[Ran] = []
    runner.tally.expect(len(problems))
    for start in range(0, len(problems), block):
        fresh = await together(runner.run(strategy, p) for p in problems[start : start + block])
        ran += fresh
        if len(ran) < len(problems) and len(ran) >= 2 * block:
            bound = _beaten(ran, rivals, error)
            if bound is not None:
                runner.tally.tick(len(problems) - len(ran))
                return Raced(tuple(ran), bound)
    return Raced(tuple(ran), None)


def _beaten(ran: Sequence[Ran], rivals: Sequence[Rival], error: float) -> str | None:
    """Why the arm cannot reach the frontier, or None."""
    n = len(ran)
    cost = float(np.mean([r.cost for r in ran]))
    mixed = rival_at(rivals, n, cost)
    if mixed is None:
        return None
    values, words = mixed
    gap = upper(np.array([float(r.correct) for r in ran]) - values, error)
    if gap >= 0:
        return None
    return f"after {n} prompts at most {gap:+.3f} accuracy from {words} at the same cost (error rate {error:.3g})"


def rival_at(rivals: Sequence[Rival], n: int, cost: float) -> tuple[Floats, str] | None:
    """The first n values of the mixture of frontier arms that costs as much, and its name; None below the cheapest."""
    by_name = {r.arm: r for r in rivals}
    curve = envelope([Point(r.arm, float(r.value[:n].mean()), float(r.cost[:n].mean())) for r in rivals])
    below = [p for p in curve if p.cost <= cost]
    if not below:
        return None
    low = by_name[below[-1].arm]
    if len(below) == len(curve):
        return low.value[:n], low.arm
    high = by_name[curve[len(below)].arm]
    share = (cost - below[-1].cost) / (curve[len(below)].cost - below[-1].cost)
    return (1 - share) * low.value[:n] + share * high.value[:n], f"{1 - share:.2f} {low.arm} + {share:.2f} {high.arm}"
