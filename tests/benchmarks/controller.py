"""Does the controller hold the budget? `python -m tests.benchmarks.controller [RUNS] [REQUESTS] [AT_ONCE]`.

Synthetic policies with 2 to 10 settings are served to streams of prompts that cost so many `times` what the policy
expects, with heavy-tailed costs. Columns: how far the total is over the budget, in per cent of it, after 30, 300 and
all requests (mean over streams, and the worst; that of 300 is the worst of every moment from there on); requests that
were cut by their cap; the standard deviation of effort after a quarter of the stream; and, for each frontier, the
value in relation to the best fixed mixture of the same mean cost. A cut answer counts as no answer, which is the worst
case: real arms return their last offer.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, pstdev

from autotts.policy.controller import Asked, Controller
from autotts.policy.schema import Policy

BUDGET = 1_000_000

# Costs of the settings, in budgets.
FRONTIERS: dict[str, list[float]] = {
    "2": [0.25, 4.0],
    "3": [0.3, 1.0, 6.0],
    "6": [0.2 * 2**i for i in range(6)],
    "10": [0.15 * 1.7**i for i in range(10)],
    "6 dear": [0.6 * 1.5**i for i in range(6)],
}
# A prompt's cost in relation to the mean, whose expectation is 1.
SPREADS: dict[str, Callable[[random.Random], float]] = {
    "all equal": lambda rng: 1.0,
    "log-normal, p95 2.5": lambda rng: math.exp(rng.gauss(0.0, 0.7) - 0.245),
    "log-normal, p95 3.5": lambda rng: math.exp(rng.gauss(0.0, 1.2) - 0.72),
    "1 in 20 costs 10": lambda rng: 10.0 if rng.random() < 0.05 else 0.5 / 0.95,
}
TIMES = (0.5, 1.0, 1.25, 1.6, 2.5)


def value_of(cost: float) -> float:
    """Of an arm, by its expected cost in budgets: concave, as accuracy against the logarithm of compute."""
    return 0.4 + 0.1 * math.log2(1.0 + 4.0 * cost)


def policy_of(costs: Sequence[float]) -> Policy:
    """A policy of one bin whose settings are pure arms of these costs in budgets; 1 budget lies within them."""
    arms = {}
    frontier = []
    for number, cost in enumerate(costs, 1):
        expected = {"value": value_of(cost), "cost": cost * BUDGET}
        arms[f"a{number}"] = {"arm": f"vote(n={number}, model=S)", "expected": {"all": expected}}
        frontier.append({"budget": cost * BUDGET, "route": {"all": [[f"a{number}", 1.0]]}, "expected": expected})
    data = {
        "format": "autotts.policy/1",
        "requires": [],
        "task": {"name": "made up", "reader": "math", "grader": "math"},
        "models": {"S": {}},
        "unit": "flops",
        "arms": arms,
        "difficulty": {"kind": "none", "bins": ["all"]},
        "frontier": frontier,
    }
    return Policy.loads(json.dumps(data))


@dataclass(frozen=True)
class Stream:
    """What one stream came to: `over` by number of requests, as a share of the budget; `worst` from 300 on."""

    over: dict[int, float]
    worst: float
    cut: float
    swing: float
    value: float
    mean: float


def served(
    policy: Policy,
    costs: Sequence[float],
    *,
    seed: int = 0,
    at_once: int = 1,
    scale: Callable[[str], float] = lambda arm: 1.0,
) -> Stream:
    """A stream through a fresh controller.

    Parameters
    ----------
    costs
        What each request costs in relation to what the policy expects of its arm.
    at_once
        Requests in flight; they end in a random order. Those that run have been granted a budget and spent nothing.
    scale
        How much dearer an arm is than the policy expects, besides.
    """
    rng = random.Random(seed)
    control = Controller(policy, float(BUDGET))
    running: list[tuple[Asked, float]] = []
    over, efforts = {}, []
    spent, worst, value, cut = 0, -1.0, 0.0, 0
    for number, factor in enumerate(costs, 1):
        asked = control.ask(f"prompt {number}", str(seed))
        efforts.append(asked.effort)
        running.append((asked, factor))
        while len(running) >= (at_once if number < len(costs) else 1):
            done, times = running.pop(rng.randrange(len(running)))
            expected = done.routed.cost or 0.0
            whole = round(expected * times * scale(done.routed.id))
            if whole > done.cap:
                cut += 1
            else:
                value += value_of(expected / BUDGET)
            control.tell(done, min(whole, done.cap))
            spent += min(whole, done.cap)
        assert spent <= BUDGET * number + control.bound
        over[number] = spent / (BUDGET * number) - 1.0
        if number >= 300:
            worst = max(worst, over[number])
    count, late = len(costs), efforts[len(costs) // 4 :]
    return Stream(over, worst, cut / count, pstdev(late) / fmean(late), value / count, spent / count)


def mixture(costs: Sequence[float], mean: float) -> float:
    """Value of the best fixed mixture of settings that costs so much, in budgets as the policy expects them.

    Below the cheapest setting: what is reached if only as many prompts are answered as the budget is enough for.
    """
    points = [(0.0, 0.0), *((c, value_of(c)) for c in costs)]
    for (low, below), (high, above) in pairwise(points):
        if mean < high:
            return below + (above - below) * (mean - low) / (high - low)
    return points[-1][1]


def streams(times: float, spread: str, runs: int, requests: int, at_once: int = 1) -> Iterator[tuple[str, Stream]]:
    """Every frontier, with different prompts in each run."""
    for name, costs in FRONTIERS.items():
        policy = policy_of(costs)
        for run in range(runs):
            rng = random.Random(f"{name}/{run}/{requests}")
            drawn = [times * SPREADS[spread](rng) for _ in range(requests)]
            yield name, served(policy, drawn, seed=run, at_once=at_once)


def row(times: float, spread: str, runs: int, requests: int, at_once: int) -> str:
    """One line of the table."""
    short = [stream.over[30] for _, stream in streams(times, spread, 5 * runs, 30, at_once)]
    long = list(streams(times, spread, runs, requests, at_once))
    at_300, at_end = ([s.over[n] for _, s in long] for n in (300, requests))
    worst = max(s.worst for _, s in long)
    cells = [fmean(short), max(short), fmean(at_300), worst, fmean(at_end), max(at_end)]
    cells += [fmean(getattr(s, key) for _, s in long) for key in ("cut", "swing")]
    text = f"{times:5g} {spread:20}" + "".join(f"{100 * cell:8.1f}" for cell in cells)
    for name, costs in FRONTIERS.items():
        own = [s for n, s in long if n == name]
        text += f"{fmean(s.value / mixture(costs, s.mean / BUDGET / times) for s in own):8.3f}"
    return text


def main(runs: int = 5, requests: int = 2000, at_once: int = 1) -> None:
    """Print the table; percentages of the budget, then values in relation to the best mixture, by frontier."""
    print(f"{runs} streams of {requests} requests (and {5 * runs} of 30) for each frontier, {at_once} at once")
    print("times prompts cost          at 30   worst  at 300   worst  at end   worst     cut  effort", end="")
    print("".join(f"{name:>8}" for name in FRONTIERS))
    for times in TIMES:
        for spread in SPREADS:
            print(row(times, spread, runs, requests, at_once))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
