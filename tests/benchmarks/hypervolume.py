"""How good what a search knows is: the allocations that it would make, on prompts that it never saw.

The figure is the mean over log cost, between two costs that are the same for all searches, of how far the held-out
accuracy lies above that of one draw of the cheapest arm, which nobody has to search for: the hypervolume over that
reference, divided by the range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotts.policy.allocation import Frontier, Point, frontier
from tests.benchmarks.replaying import Shelf

Floats = NDArray[np.float64]
STEPS = 257  # of the grid of log costs


@dataclass(frozen=True)
class Known:
    """What a search knows of one level."""

    name: str
    arms: Sequence[Point]


@dataclass(frozen=True)
class Height:
    """The mean height of a curve over log cost: above the accuracy of the cheapest arm, and above nothing."""

    gain: float
    plain: float


@dataclass(eq=False)
class Exam:
    """Held-out prompts, and what every arm of the space gives on each of them.

    Attributes
    ----------
    value, cost
        [arms, prompts].
    low, high
        The costs between which curves are compared: of the cheapest arm, and twice that of the dearest useful mix.
    floor
        The accuracy of the cheapest arm.
    """

    shelf: Shelf
    arms: tuple[str, ...]
    value: Floats = field(init=False)
    cost: Floats = field(init=False)
    low: float = field(init=False)
    high: float = field(init=False)
    floor: float = field(init=False)

    def __post_init__(self) -> None:
        found = [self.shelf.whole(arm) for arm in self.arms]
        self.value, self.cost = np.array([f[0] for f in found]), np.array([f[1] for f in found])
        weight = self.shelf.split.weight
        means, costs = self.value @ weight, self.cost @ weight
        cheapest = int(np.argmin(costs))
        self.low, self.floor = float(costs[cheapest]), float(means[cheapest])
        self.high = 2 * self._best().best.cost

    def _best(self) -> Frontier:
        """The frontier of what was held out itself, where every prompt's level is told."""
        level, weight = np.array(self.shelf.split.level), self.shelf.split.weight
        points: dict[str, list[Point]] = {}
        for name in sorted(set(level)):
            rows = level == name
            mean = self.value[:, rows].mean(1), self.cost[:, rows].mean(1)
            points[name] = [Point(a, float(v), float(c)) for a, v, c in zip(self.arms, *mean)]
        return frontier(points, {name: float(weight[level == name].sum()) for name in points})

    def marks(self, rule: Any, names: Sequence[str]) -> Marks:
        """The held-out prompts by the bins that a rule takes them for."""
        problems, weight = self.shelf.split.problems, self.shelf.split.weight
        taken = [str(rule.level(p.prompt)) for p in problems]
        share = {name: weight * np.array([t == name for t in taken]) for name in names}
        return Marks(
            self,
            {arm: i for i, arm in enumerate(self.arms)},
            {name: self.value @ w for name, w in share.items()},
            {name: self.cost @ w for name, w in share.items()},
        )


@dataclass(frozen=True, eq=False)
class Marks:
    """What each arm adds to the held-out mean where it answers the prompts of one bin; by bin, [arms]."""

    exam: Exam
    index: Mapping[str, int]
    value: Mapping[str, Floats]
    cost: Mapping[str, Floats]

    def curve(self, levels: Sequence[Known], weights: Mapping[str, float]) -> tuple[Floats, Floats]:
        """Held-out cost and accuracy of the allocations that the search would make now, from cheap to dear.

        Prompts that are taken for a level get arms of that level's frontier: those of other levels need not be known.
        """
        ours = frontier({level.name: level.arms for level in levels}, weights)
        value, cost = [], []
        for allocation in ours.breakpoints:
            at = {name: self.index[arms[0][0]] for name, arms in allocation.route.items()}
            value.append(sum(float(self.value[name][i]) for name, i in at.items()))
            cost.append(sum(float(self.cost[name][i]) for name, i in at.items()))
        return np.array(cost), np.array(value)

    def height(self, levels: Sequence[Known], weights: Mapping[str, float]) -> Height:
        """How high the curve is; nothing where no arm of some level is known."""
        if not all(level.arms for level in levels):
            return Height(0.0, 0.0)
        cost, value = self.curve(levels, weights)
        return area(cost, value, self.exam.low, self.exam.high, self.exam.floor)


def area(cost: Floats, value: Floats, low: float, high: float, floor: float) -> Height:
    """Mean height over log cost of the best that some cost or less buys; nothing below the cheapest.

    Examples
    --------
    >>> area(np.array([1.0, 10.0]), np.array([0.5, 0.5]), 1.0, 100.0, 0.25)
    Height(gain=0.25, plain=0.5)
    """
    order = np.argsort(cost, kind="stable")
    x, y = cost[order], np.maximum.accumulate(value[order])
    grid = np.geomspace(low, high, STEPS)
    # Between two allocations prompts are split at random; rounding must not put the cheapest one above the grid.
    heights = np.interp(grid * (1 + 1e-9), x, y, left=0.0)
    gain, plain = (float(np.trapezoid(h) / (STEPS - 1)) for h in (np.maximum(heights - floor, 0.0), heights))
    return Height(gain, plain)
