"""Who gets which arm at which mean budget: one solver for the whole frontier.

Maximise the mean value over bins, subject to a mean cost: for a Lagrange multiplier m every bin takes
argmax value - m * cost, so only the upper concave envelope of a bin's arms matters, and the best allocations of
all budgets are the bins' envelope segments merged by slope (greedy marginal allocation as in Damani et al. 2024,
2410.04707, exact because envelopes are concave). A budget between two vertices mixes two arms in one bin.

With a single bin this is the random-mixture hull of uniform arms; with one prompt a bin it is the oracle.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import NormalDist
from typing import TypeAlias

import numpy as np

from autotts.core.cost import show
from autotts.errors import BudgetError, InputError

ROUNDING = 1e-12

Route: TypeAlias = Mapping[str, tuple[tuple[str, float], ...]]


@dataclass(frozen=True, slots=True)
class Point:
    """What an arm gives on the prompts of one bin: mean value (up is better) and mean cost (parts of a unit)."""

    arm: str
    value: float
    cost: float


@dataclass(frozen=True, slots=True)
class Allocation:
    """Which arms each bin gets, with shares that sum to one, and the expected mean value and cost."""

    route: Route
    value: float
    cost: float


@dataclass(frozen=True, slots=True)
class Step:
    """One bin moves from an arm to the next of its envelope, at `slope` of value per cost."""

    slope: float
    bin: str
    index: int  # of the arm it moves to, in the bin's envelope


def envelope(points: Sequence[Point]) -> list[Point]:
    """Upper concave envelope, by ascending cost: from the cheapest point to the best one.

    Of equal points the first arm in alphabetical order stays; points on a segment between others are left out.

    Examples
    --------
    >>> [p.arm for p in envelope([Point("a", 0.5, 1), Point("b", 0.6, 4), Point("c", 0.9, 5), Point("d", 0.8, 6)])]
    ['a', 'c']
    """
    out: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.value, p.arm)):
        if out and point.value <= out[-1].value:
            continue
        while len(out) > 1 and _slope(out[-2], out[-1]) <= _slope(out[-1], point):
            out.pop()
        out.append(point)
    return out


def _slope(low: Point, high: Point) -> float:
    return (high.value - low.value) / (high.cost - low.cost)


def _amount(cost: float, unit: str) -> str:
    return show(cost, unit) if unit else f"{cost:g}"


def frontier(
    bins: Mapping[str, Sequence[Point]], weights: Mapping[str, float], cap: float | None = None, *, unit: str = ""
) -> Frontier:
    """Solve the allocation for every mean budget at once.

    Parameters
    ----------
    bins
        The arms of each bin.
    weights
        Share of the prompts in each bin; scaled to sum to one. A bin of no weight still gets the arms that the
        multiplier gives it.
    cap
        The most that an arm may cost in any one bin; dearer ones are left out.
    unit
        What costs are parts of, for messages.

    Raises
    ------
    BudgetError
        When nothing in a bin fits under the cap.
    InputError
        When a bin has no arms, or a number is not finite, or a cost or weight is negative.
    """
    total = _check(bins, weights)
    envelopes = {}
    for name in sorted(bins):
        allowed = [p for p in bins[name] if cap is None or p.cost <= cap]
        if not allowed:
            least = min(bins[name], key=lambda p: (p.cost, p.arm))
            raise BudgetError(
                f"cap {_amount(cap or 0.0, unit)} is below the cheapest arm of bin {name!r}: {least.arm} costs "
                f"{_amount(least.cost, unit)} a prompt; raise the cap to at least that"
            )
        envelopes[name] = tuple(envelope(allowed))
    steps = [
        Step(_slope(low, high), name, index)
        for name, curve in envelopes.items()
        for index, (low, high) in enumerate(pairwise(curve), 1)
    ]
    # The index breaks ties, so that a bin's own steps stay in order.
    steps.sort(key=lambda step: (-step.slope, step.bin, step.index))
    return Frontier(envelopes, {name: weights[name] / total for name in envelopes}, tuple(steps), unit)


def _check(bins: Mapping[str, Sequence[Point]], weights: Mapping[str, float]) -> float:
    """The sum of the weights, after everything was found to be in order."""
    if not bins or set(bins) != set(weights):
        raise InputError(f"allocation: expected one weight for each bin, found bins {sorted(bins)}, weights {weights}")
    for name, points in bins.items():
        if not points:
            raise InputError(f"allocation: bin {name!r} has no arms")
        for p in points:
            if not (math.isfinite(p.value) and math.isfinite(p.cost) and p.cost >= 0):
                raise InputError(f"allocation: bin {name!r}: expected a finite value and a cost >= 0, found {p}")
    total = math.fsum(weights.values())
    if not (math.isfinite(total) and total > 0 and min(weights.values()) >= 0):
        raise InputError(f"allocation: expected weights >= 0 with a positive sum, found {dict(weights)}")
    return total


@dataclass(frozen=True)
class Frontier:
    """The best allocation for every mean budget; made by `frontier`.

    `envelopes` are the arms of each bin that can be best, `weights` the bins' shares (sum one), `steps` the moves
    from the cheapest allocation to the best one, steepest first. Costs are parts of `unit`; a plain number if empty.
    """

    envelopes: Mapping[str, tuple[Point, ...]]
    weights: Mapping[str, float]
    steps: tuple[Step, ...]
    unit: str = ""

    @property
    def cheapest(self) -> Allocation:
        """Every bin on its cheapest arm."""
        return self._vertex(0)

    @property
    def best(self) -> Allocation:
        """Every bin on its best arm (the cheapest of the best)."""
        return self._vertex(len(self.steps))

    @property
    def breakpoints(self) -> tuple[Allocation, ...]:
        """The vertices: the allocations without a mixture, by ascending cost."""
        costs = self._costs
        # Steps of bins without weight move nothing: the last of them is the vertex.
        last = [k for k in range(len(costs)) if k + 1 == len(costs) or costs[k + 1] > costs[k]]
        return tuple(self._vertex(k) for k in last)

    def at(self, budget: float) -> Allocation:
        """The best allocation whose mean cost is the budget, or the best of all where that costs less.

        Raises
        ------
        BudgetError
            Below the cheapest allocation; it names the cheapest arms and their mean cost.
        """
        costs = self._costs
        if budget < costs[0] or math.isnan(budget):
            least = self.cheapest
            arms = sorted({arm for shares in least.route.values() for arm, _ in shares})
            raise BudgetError(
                f"budget {_amount(budget, self.unit)} a prompt is below the cheapest arm: {', '.join(arms)} costs "
                f"{_amount(least.cost, self.unit)} a prompt on average; give at least that"
            )
        return self._between(bisect_right(costs, budget) - 1, budget, costs)

    def for_target(self, value: float) -> Allocation:
        """The cheapest allocation whose mean value is at least `value`.

        Raises
        ------
        BudgetError
            Above what the best allocation reaches.
        """
        values, best = self._values, self.best
        if not value <= max(best.value, values[-1]):
            raise BudgetError(
                f"target {value:g} is above what these arms reach: the best allocation has {best.value:g} at a mean "
                f"cost of {_amount(best.cost, self.unit)} a prompt; ask for at most that"
            )
        if value <= values[0]:
            return self.cheapest
        return self._between(bisect_right(values, value) - 1, value, values)

    @cached_property
    def _costs(self) -> list[float]:
        """Mean cost after each number of steps."""
        return self._running([p[0].cost * self.weights[b] for b, p in self.envelopes.items()], "cost")

    @cached_property
    def _values(self) -> list[float]:
        """Mean value after each number of steps."""
        return self._running([p[0].value * self.weights[b] for b, p in self.envelopes.items()], "value")

    def _running(self, start: list[float], field: str) -> list[float]:
        out = [math.fsum(start)]
        for step in self.steps:
            low, high = self.envelopes[step.bin][step.index - 1 : step.index + 1]
            out.append(out[-1] + self.weights[step.bin] * (getattr(high, field) - getattr(low, field)))
        return out

    def _between(self, before: int, wanted: float, grid: list[float]) -> Allocation:
        """The vertex after `before` steps, with the next step taken as far as `wanted` on `grid`."""
        if before >= len(self.steps):
            return self.best
        # Rounding of the running sums must not leave an arm with a share of 1e-16.
        share = (wanted - grid[before]) / (grid[before + 1] - grid[before])
        if share > 1.0 - ROUNDING:
            return self._vertex(before + 1)
        return self._vertex(before, share if share > ROUNDING else 0.0)

    def _vertex(self, count: int, share: float = 0.0) -> Allocation:
        """After `count` whole steps and a share of the next one."""
        reached = dict.fromkeys(self.envelopes, 0)
        for step in self.steps[:count]:
            reached[step.bin] = step.index
        mix: dict[str, list[tuple[Point, float]]] = {b: [(self.envelopes[b][i], 1.0)] for b, i in reached.items()}
        if share:
            step = self.steps[count]
            low, high = self.envelopes[step.bin][step.index - 1 : step.index + 1]
            mix[step.bin] = [(low, 1.0 - share), (high, share)]
        return Allocation(
            {b: tuple((p.arm, s) for p, s in arms) for b, arms in mix.items()},
            math.fsum(self.weights[b] * s * p.value for b, arms in mix.items() for p, s in arms),
            math.fsum(self.weights[b] * s * p.cost for b, arms in mix.items() for p, s in arms),
        )


def cheapest_within_noise(
    values: Sequence[Sequence[float]], level: float = 0.95, weights: Sequence[float] | None = None
) -> int:
    """Index of the cheapest candidate that is not worse than the best beyond noise.

    Parameters
    ----------
    values
        One row for each candidate, by ascending cost; one column for each prompt, the same for all (paired).
    level
        Of the two-sided normal interval of the mean paired difference, best minus candidate.
    weights
        Of the prompts, where they do not stand for equal shares of the traffic.
    """
    table = np.asarray(values, dtype=float)
    if table.ndim != 2 or table.size == 0 or not np.isfinite(table).all():
        raise InputError(f"expected a finite value of each candidate on each prompt, found shape {table.shape}")
    share = np.ones(table.shape[1]) if weights is None else np.asarray(weights, dtype=float)
    share = share / share.sum()
    means = table @ share
    best = int(np.argmax(means))  # the first of equals: the cheapest
    count = table.shape[1]
    if count < 2:
        return best
    z = NormalDist().inv_cdf(0.5 + level / 2)
    for index in range(best):
        gap = float(means[best] - means[index])
        spread = table[best] - table[index] - gap
        error = math.sqrt(float((share**2 * spread**2).sum()) * count / (count - 1))
        if gap <= z * error:
            return index
    return best
