"""How often racing drops an arm that is as good, and how soon a worse one: `python -m tests.benchmarks.racing [RUNS]`.

An arm and the frontier are compared prompt by prompt: the paired differences are +1, 0 or -1, and the share of prompts
on which they differ is the noise. The arm is dropped at the first look (every 20 prompts, from the second on) at which
the bound of `estimate.racing` is below zero. The bound holds at all looks at once, so the error rate of a study (0.1)
is split over its arms only. It is shown as the race uses it, sharpest at 100 prompts, and at 300; beside it stands the
empirical-Bernstein bound, whose error rate is split over the looks as well.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial

import numpy as np

from autotts.estimate.racing import upper

ERROR = 0.1  # of a whole study: that any arm is dropped that is not worse
ARMS = 20
BLOCK, MOST = 20, 600
LOOKS = range(2 * BLOCK, MOST + 1, BLOCK)
EQUAL = [0.04, 0.1, 0.3, 1.0]  # shares of prompts on which arms that are equally good differ
WORSE = [(0.1, 0.0), (0.12, 0.02), (0.15, 0.05), (0.2, 0.1), (0.3, 0.2), (0.55, 0.45)]  # ten points apart

First = Callable[[np.ndarray, float], float]  # the prompts after which an arm is dropped, or infinity


def differences(rng: np.random.Generator, worse: float, better: float) -> np.ndarray:
    """Paired differences of an arm that is wrong where the other is right, and the other way round, so often."""
    return rng.choice([-1.0, 0.0, 1.0], MOST, p=[worse, max(0.0, 1 - worse - better), better])


def betting(values: np.ndarray, error: float, horizon: int) -> float:
    """The first look by the bound of the race: it never rises, so the look is found by halving."""
    low, high = 0, len(LOOKS)
    if upper(values, error, horizon=horizon) >= 0:
        return math.inf
    while low < high - 1:
        middle = (low + high - 1) // 2
        if upper(values[: LOOKS[middle]], error, horizon=horizon) < 0:
            high = middle + 1
        else:
            low = middle + 1
    return LOOKS[low]


def bernstein(values: np.ndarray, error: float) -> float:
    """The first look by empirical Bernstein."""
    n, log = np.array(LOOKS), math.log(3 * len(LOOKS) / error)
    mean = np.cumsum(values)[n - 1] / n
    spread = np.maximum(np.cumsum(values**2)[n - 1] / n - mean**2, 0.0)
    below = mean + np.sqrt(2 * spread * log / n) + 3 * 2 * log / n < 0
    return float(n[below][0]) if below.any() else math.inf


RULES: dict[str, First] = {
    "betting, sharpest at 100": partial(betting, horizon=100),
    "betting, sharpest at 300": partial(betting, horizon=300),
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
                f"  differ on {share:4.0%}  {name:26s} {wrong.any(1).mean():6.1%} of studies drop an arm, "
                f"{wrong.mean():6.2%} of arms are dropped",
                flush=True,
            )


def power(runs: int, arms: int) -> None:
    """Arms that are ten points worse, at the error rate of one of so many arms."""
    print(f"\nan arm ten points worse, error rate {ERROR:g} over {arms} arms and all looks, {runs} runs")
    for worse, better in WORSE:
        rng = np.random.default_rng(2)
        drawn = [differences(rng, worse, better) for _ in range(runs)]
        for name, first in RULES.items():
            found = np.array([first(x, ERROR / arms) for x in drawn])
            middle, most = np.quantile(found, [0.5, 0.9], method="higher")
            within = ", ".join(f"{(found <= n).mean():.0%} by {n}" for n in (100, 200, 300))
            print(
                f"  worse on {worse:3.0%}, better on {better:3.0%}  {name:26s} dropped after {_prompts(middle)} "
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
