"""How often racing drops an arm that is as good, and how soon a worse one: `python -m tests.benchmarks.racing [RUNS]`.

An arm and the frontier are compared prompt by prompt: the paired differences are +1, 0 or -1, and the share of prompts
on which they differ is the noise. The arm is dropped at the first look (every 20 prompts, from the second on) at which
the bound of `estimate.racing` is below zero. The bound holds at all looks at once, so the error rate of a study (0.1)
is split over its arms only. Beside it stand bets whose whole wealth is staked for one number of prompts, and the
empirical-Bernstein bound, whose error rate is split over the looks as well.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_left
from collections.abc import Callable
from functools import partial

import numpy as np

from autotts.estimate.racing import RECKLESS, upper

ERROR = 0.1  # of a whole study: that any arm is dropped that is not worse
ARMS = 20
BLOCK, MOST = 20, 600
LOOKS = range(2 * BLOCK, MOST + 1, BLOCK)
EQUAL = [0.04, 0.1, 0.3, 1.0]  # shares of prompts on which arms that are equally good differ
WORSE = [(0.1, 0.0), (0.12, 0.02), (0.15, 0.05), (0.2, 0.1), (0.3, 0.2), (0.55, 0.45)]  # ten points apart
MUCH = [(0.6, 0.0), (0.5, 0.1), (0.2, 0.0), (0.3, 0.1)]  # sixty, forty and twenty points apart

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


def main(runs: int = 100) -> None:
    """Print all tables."""
    equal(runs)
    power(runs, ARMS)
    power(runs, 1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
