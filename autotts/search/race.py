"""Racing: an arm takes the prompts of its level in blocks, and stops when it cannot reach the frontier any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotts.core.strategy import Strategy
from autotts.core.task import Problem
from autotts.errors import InputError
from autotts.estimate.racing import upper
from autotts.policy.allocation import ROUNDING, Point, envelope
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
    guess: Floats | None = None,
) -> Raced:
    """Run an arm on the problems, in order, a block at a time; it stops when it cannot reach the frontier any more.

    After each block but the last, the mean paired difference to the mixture of frontier arms that costs the same, over
    all of the problems, is bounded from above at every look at once; below zero, the arm stops.

    Parameters
    ----------
    problems
        In random order. The order is what the error is about: the rivals, what they give and the guess may depend on
        which problems there are, and not on their order.
    error
        The probability, at most, that the arm is stopped although its runs on all problems would be right as often as
        the mixture. The cost of the arm, which says which mixture, is taken as it is estimated so far.
    guess
        [problems], the predicted chance that the arm is right; NaN where nothing is predicted. A bad one does no more
        than to let a worse arm run somewhat longer.
    """
    if guess is not None and guess.shape != (len(problems),):
        raise InputError(f"guess: expected one number for each of {len(problems)} prompts, found {guess.shape}")
    ran: list[Ran] = []
    runner.tally.expect(len(problems))
    for start in range(0, len(problems), block):
        fresh = await together(runner.run(strategy, p) for p in problems[start : start + block])
        ran += fresh
        if len(ran) < len(problems):
            bound = _beaten(ran, rivals, error, guess)
            if bound is not None:
                runner.tally.tick(len(problems) - len(ran))
                return Raced(tuple(ran), bound)
    return Raced(tuple(ran), None)


def _beaten(ran: Sequence[Ran], rivals: Sequence[Rival], error: float, guess: Floats | None) -> str | None:
    """Why the arm cannot reach the frontier, or None."""
    n = len(ran)
    mixed = rival_at(rivals, n, float(np.mean([r.cost for r in ran])))
    if mixed is None:
        return None
    values, words = mixed
    gaps = np.array([float(r.correct) for r in ran]) - values[:n]
    plain = _gap(gaps, values, error, None)
    gap = plain if guess is None else _gap(gaps, values, error, guess)
    if gap >= 0:
        return None
    more = f"; the prediction tightened it, from {plain:+.3f}" if gap < plain else ""
    return f"after {n} prompts at most {gap:+.3f} accuracy from {words} at the same cost (error rate {error:.3g}{more})"


def _gap(gaps: Floats, values: Floats, error: float, guess: Floats | None) -> float:
    """What the mean difference to a mixture is at most, from the first differences and the mixture's values on all.

    Even where nothing is predicted, the mixture's own values tell which differences to expect: large where it is wrong.
    """
    guesses = [-values]
    if guess is not None and np.isfinite(guess).any():
        guesses.append(np.where(np.isfinite(guess), guess, np.nanmean(guess)) - values)
    return upper(gaps, error, population=len(values), guesses=np.array(guesses), tops=1 - values)


def rival_at(rivals: Sequence[Rival], n: int, cost: float) -> tuple[Floats, str] | None:
    """What the mixture of frontier arms gives, on all prompts, that costs as much on the first n; and its name.

    None below the cheapest. The frontier is that of all prompts; costs go from the first n to all by the ratio that
    they have for the frontier's arms.
    """
    by_name = {r.arm: r for r in rivals}
    curve = envelope([Point(r.arm, float(r.value.mean()), float(r.cost.mean())) for r in rivals])
    ratios = [float(by_name[p.arm].cost[:n].mean()) / p.cost for p in curve if p.cost > 0]
    cost /= float(np.mean(ratios)) if ratios and min(ratios) > 0 else 1.0
    below = [p for p in curve if p.cost <= cost * (1 + ROUNDING)]
    if not below:
        return None
    low = by_name[below[-1].arm]
    if len(below) == len(curve):
        return low.value, low.arm
    high = by_name[curve[len(below)].arm]
    share = max(0.0, (cost - below[-1].cost) / (curve[len(below)].cost - below[-1].cost))
    return (1 - share) * low.value + share * high.value, f"{1 - share:.2f} {low.arm} + {share:.2f} {high.arm}"
