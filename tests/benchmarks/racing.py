"""How often racing drops an arm that is as good, and how soon a worse one: `python -m tests.benchmarks.racing [RUNS]`.

An arm and the frontier are compared prompt by prompt: the paired differences are +1, 0 or -1, and the share of prompts
on which they differ is the noise. The arm is dropped at the first look (every 20 prompts, from the second on) at which
the bound of `estimate.racing` is below zero. The bound holds at all looks at once, so the error rate of a study (0.1)
is split over its arms only. Beside it stand bets whose whole wealth is staked for one number of prompts, and the
empirical-Bernstein bound, whose error rate is split over the looks as well.

The last table is of races as a study has them, on all N prompts of a level, in blocks of 8: without knowing N, knowing
it, and with a prediction of the arm that is good (the chances that its answers were drawn from), useless (those of
other prompts) or inverted (the opposite of what the arm will do). `python -m tests.benchmarks.racing RUNS level` prints
that table alone.
"""

from __future__ import annotations

import itertools
import math
import sys
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from autotts.estimate.racing import RECKLESS, upper

ERROR = 0.1  # of a whole study: that any arm is dropped that is not worse
ARMS = 20
BLOCK, MOST = 20, 600
LOOKS = range(2 * BLOCK, MOST + 1, BLOCK)
EQUAL = [0.04, 0.1, 0.3, 1.0]  # shares of prompts on which arms that are equally good differ
WORSE = [(0.1, 0.0), (0.12, 0.02), (0.15, 0.05), (0.2, 0.1), (0.3, 0.2), (0.55, 0.45)]  # ten points apart
MUCH = [(0.6, 0.0), (0.5, 0.1), (0.2, 0.0), (0.3, 0.1)]  # sixty, forty and twenty points apart

STUDY_BLOCK = 8
STUDY_ERROR = 0.05 / 13  # of one arm of a level: a study of 40 trials over three levels
EQUAL_ERROR = 0.05
SIZES = [32, 64, 150, 300]
GAPS = [0.1, 0.2, 0.4]
KINDS = (
    "N unknown, as before",
    "N known",
    "and the rival's own",  # values as a control, which is all that a race has where nothing is predicted
    "good prediction",
    "useless prediction",
    "inverted prediction",
)

Floats = NDArray[np.float64]
First = Callable[[np.ndarray, float], float]  # the prompts after which an arm is dropped, or infinity


def differences(rng: np.random.Generator, worse: float, better: float) -> np.ndarray:
    """Paired differences of an arm that is wrong where the other is right, and the other way round, so often."""
    return rng.choice([-1.0, 0.0, 1.0], MOST, p=[worse, max(0.0, 1 - worse - better), better])


def betting(values: np.ndarray, error: float) -> float:
    """The first look by the bound of the race: it never rises, so the look is found by halving."""
    if upper(values, error) >= 0:
        return math.inf
    return LOOKS[bisect_left(LOOKS[:-1], True, key=lambda n: upper(values[:n], error) < 0)]


def single(values: np.ndarray, error: float, horizon: int) -> float:
    """The first look by bets for one horizon, against the one claim that the arm is as good."""
    x, t = (values + 1) / 2, np.arange(1, len(values) + 1)
    spread = np.cumsum((x - (0.5 + np.cumsum(x)) / (t + 1)) ** 2)
    before = np.concatenate([[0.25], (0.25 + spread[:-1]) / t[1:]])
    stakes = np.minimum(np.sqrt(2 * math.log(1 / error) / (before * horizon)), 2 * RECKLESS)
    most = np.maximum.accumulate(np.cumsum(np.log1p(-stakes * (x - 0.5))))
    below = most[np.array(LOOKS) - 1] >= math.log(1 / error)
    return float(np.array(LOOKS)[below][0]) if below.any() else math.inf


def bernstein(values: np.ndarray, error: float) -> float:
    """The first look by empirical Bernstein."""
    n, log = np.array(LOOKS), math.log(3 * len(LOOKS) / error)
    mean = np.cumsum(values)[n - 1] / n
    spread = np.maximum(np.cumsum(values**2)[n - 1] / n - mean**2, 0.0)
    below = mean + np.sqrt(2 * spread * log / n) + 3 * 2 * log / n < 0
    return float(n[below][0]) if below.any() else math.inf


RULES: dict[str, First] = {
    "betting, as the race": betting,
    "betting, only for 100": partial(single, horizon=100),
    "betting, only for 300": partial(single, horizon=300),
    "empirical Bernstein": bernstein,
}


def equal(runs: int) -> None:
    """Studies of arms that are all as good as the frontier."""
    print(f"{ARMS} equal arms, error rate {ERROR:g} over arms and looks, {MOST} prompts, {runs} studies")
    for share in EQUAL:
        rng = np.random.default_rng(1)
        drawn = [[differences(rng, share / 2, share / 2) for _ in range(ARMS)] for _ in range(runs)]
        for name, first in RULES.items():
            wrong = np.array([[first(x, ERROR / ARMS) < math.inf for x in arms] for arms in drawn])
            print(
                f"  differ on {share:4.0%}  {name:21s} {wrong.any(1).mean():6.1%} of studies drop an arm, "
                f"{wrong.mean():6.2%} of arms are dropped",
                flush=True,
            )


def power(runs: int, arms: int) -> None:
    """Arms that are worse, at the error rate of one of so many arms."""
    print(f"\na worse arm, error rate {ERROR:g} over {arms} arms and all looks, {runs} runs")
    for worse, better in WORSE + MUCH:
        rng = np.random.default_rng(2)
        drawn = [differences(rng, worse, better) for _ in range(runs)]
        for name, first in RULES.items():
            found = np.array([first(x, ERROR / arms) for x in drawn])
            middle, most = np.quantile(found, [0.5, 0.9], method="higher")
            within = ", ".join(f"{(found <= n).mean():.0%} by {n}" for n in (100, 200, 300))
            print(
                f"  worse on {worse:3.0%}, better on {better:3.0%}  {name:21s} dropped after {_prompts(middle)} "
                f"prompts (90 %: {_prompts(most)}); {within}",
                flush=True,
            )


def _prompts(number: float) -> str:
    return f"{number:.0f}" if number < math.inf else f"over {MOST}"


@dataclass(frozen=True, slots=True)
class Level:
    """An arm and its rival on the prompts of a level, in random order; `chance` is what a good prediction says."""

    right: Floats
    rival: Floats
    chance: Floats


def level(rng: np.random.Generator, prompts: int, gap: float, exact: bool) -> Level:
    """Arms whose odds on a prompt differ by one factor; the arm is right on exactly so many fewer of the prompts.

    The rival was run once on each prompt, or its chances are known exactly from shared draws.
    """
    ease = rng.normal(0.5, 2.0, prompts)
    chance = 1 / (1 + np.exp(-ease))
    rival = chance if exact else (rng.random(prompts) < chance).astype(float)
    count = min(prompts, max(0, math.ceil(rival.sum() - gap * prompts - 1e-9)))
    luck = ease + rng.logistic(size=prompts)
    order = np.argsort(-luck)
    right = np.zeros(prompts)
    right[order[:count]] = 1.0
    least = luck[order[count - 1]] if count else luck.max() + 1.0
    return Level(right, rival, 1 / (1 + np.exp(least - ease)))


def bound(kind: str, of: Level, n: int, error: float, rng: np.random.Generator) -> float:
    """The bound after n prompts, by one of `KINDS`."""
    gaps = of.right - of.rival
    if kind == "N unknown, as before":
        return upper(gaps[:n], error) if n >= 2 * STUDY_BLOCK else 1.0
    predicted = {
        "good prediction": of.chance,
        "useless prediction": rng.permutation(of.chance),
        "inverted prediction": 1 - of.right,
    }
    guesses = [] if kind == "N known" else [-of.rival]
    guesses += [predicted[kind] - of.rival] if kind in predicted else []
    known = np.array(guesses) if guesses else None
    return upper(gaps[:n], error, population=len(gaps), tops=1 - of.rival, guesses=known)


def stops(kind: str, of: Level, error: float, seed: int) -> int:
    """The prompts that a race takes: the first look at which the bound is below zero, or all."""
    size = len(of.right)
    looks = list(range(STUDY_BLOCK, size, STUDY_BLOCK))

    def below(n: int) -> bool:
        return bound(kind, of, n, error, np.random.default_rng(seed)) < 0

    found = bisect_left(looks, True, key=below)
    return looks[found] if found < len(looks) else size


def levels(runs: int) -> None:
    """Races on the prompts of a level: how often an equal arm is stopped, and when a worse one is."""
    print(f"\nlevels of N prompts, blocks of {STUDY_BLOCK}, {runs} arms each")
    print(f"first the share of {4 * runs} equal arms that are stopped, at an error rate of {EQUAL_ERROR:g}; then, at")
    print(f"{STUDY_ERROR:.2g}, median prompts, mean prompts, share stopped, and the mean against that of N unknown")
    for exact, size in itertools.product((False, True), SIZES):
        print(f"  N = {size}, the rival {'known exactly' if exact else 'run once'}")
        before: dict[float, float] = {}
        for kind in KINDS:
            rng = np.random.default_rng(size)
            last = (size - 1) // STUDY_BLOCK * STUDY_BLOCK
            drawn = [level(rng, size, 0.0, exact) for _ in range(4 * runs)]
            wrong = np.mean([bound(kind, of, last, EQUAL_ERROR, rng) < 0 for of in drawn])
            words = [f"    {kind:21s} {wrong:5.1%}"]
            for gap in GAPS:
                rng = np.random.default_rng(size + 1)
                took = np.array([stops(kind, level(rng, size, gap, exact), STUDY_ERROR, i) for i in range(runs)])
                mean = float(took.mean())
                words.append(
                    f"{gap:.0%} worse: {np.median(took):3.0f} {mean:5.1f} {(took < size).mean():4.0%} "
                    f"x{mean / before.setdefault(gap, mean):.2f}"
                )
            print(" | ".join(words), flush=True)


def main(runs: int = 100, what: str = "all") -> None:
    """Print all tables, or that of levels alone."""
    if what == "all":
        equal(runs)
        power(runs, ARMS)
        power(runs, 1)
    levels(runs)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 100, *sys.argv[2:3])
