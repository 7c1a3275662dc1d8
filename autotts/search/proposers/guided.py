"""The default proposer: what promises the most frontier for the least new work, by what was learned about arms.

For every arm that was not tried, a forecast gives its accuracy and cost with their uncertainty; what it promises is
its expected improvement (Jones et al. 1998) over the level's frontier, added up over all costs from its own on. Arms
that choose among the draws of one family are proposed as one pool, since its draws answer all of them; what is paid
for is only what is not drawn yet. Every proposal is taken to do as foretold when the next one is looked for.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from autotts.core.strategy import Strategy
from autotts.policy.allocation import Point, envelope
from autotts.predict.arm_learning import fit_arms
from autotts.predict.arms import ArmModel, Seen
from autotts.search.archive import Archive
from autotts.search.runs import Family, depth, family, scorer
from autotts.strategies.arms import show

Floats: TypeAlias = NDArray[np.float64]

CELLS: Final = 32  # costs at which the frontier is looked at, evenly spaced on a log scale


@dataclass(frozen=True, slots=True)
class Guided:
    """Expected gain of the frontier per new work, to the power of `thrift`: 1 takes the cheapest steps, 0 the largest.

    `least` is the least gain, in accuracy averaged over the costs, that is worth a trial; below it nothing is proposed.
    """

    thrift: float = 0.5
    least: float = 2e-4

    @property
    def name(self) -> str:
        return "guided"

    def propose(self, archive: Archive, k: int) -> Sequence[str]:
        """See `Proposer.propose`."""
        return _Search(self, archive, archive.model or _learned(archive)).best(k)


@dataclass(frozen=True, slots=True, eq=False)
class _Lot:
    """Arms that one trial answers: itself alone, or all that choose among its draws."""

    arm: str
    rows: list[int]  # of the forecasts
    price: float  # of what is not drawn yet, in parts a prompt


class _Search:
    """One level's arms with what is foretold of them."""

    def __init__(self, knobs: Guided, archive: Archive, model: ArmModel) -> None:
        self.knobs = knobs
        tried = {t.arm for t in archive.trials if t.state != "refused"}
        self.arms = [s for s in archive.space.arms if show(s) not in tried]
        self.names = [show(s) for s in self.arms]
        found = model.forecast(self.names, archive.level) if self.arms else None
        none = np.zeros(0)
        self.value, self.sd, self.cost = (none, none, none) if found is None else (found.value, found.sd, found.cost)
        if archive.cap is not None:
            self.cost = np.where(self.cost > archive.cap, np.inf, self.cost)
        known = [
            Point(t.arm, t.height, t.cost)
            for t in archive.trials
            if t.state == "complete" and t.value is not None and t.cost and math.isfinite(t.cost + t.height)
        ]
        self.curve = envelope(known)
        self.drawn = archive.drawn
        costs = [p.cost for p in known] + [float(c) for c in self.cost if np.isfinite(c)]
        self.grid = np.geomspace(max(min(costs, default=1.0), 1e-9), max(costs, default=2.0) * 1.01, CELLS)

    def best(self, k: int) -> list[str]:
        """At most k arms, the most promising first."""
        lots = self._lots()
        out: list[str] = []
        front = self._frontier()
        gains = self._gains(front)
        while len(out) < k and lots:
            promise = [float(gains[lot.rows].max(0).mean()) for lot in lots]
            rated = [
                p / max(lot.price, 1e-9) ** self.knobs.thrift if p > self.knobs.least else 0.0
                for p, lot in zip(promise, lots)
            ]
            at = int(np.argmax(rated))
            if rated[at] <= 0:
                break
            lot = lots.pop(at)
            out.append(lot.arm)
            # As if it had done as foretold: the next one must add to it.
            for row in lot.rows:
                front = np.where(self.grid >= self.cost[row], np.maximum(front, self.value[row]), front)
            gains = self._gains(front)
        return out

    def _frontier(self) -> Floats:
        """The accuracy that mixtures of known arms have at each cost of the grid."""
        if not self.curve:
            return np.zeros(CELLS)
        cost, value = [p.cost for p in self.curve], [p.value for p in self.curve]
        return np.asarray(np.interp(self.grid, cost, value, left=0.0))

    def _gains(self, front: Floats) -> Floats:
        """Expected improvement over the frontier, [arms, costs]; none below an arm's own cost."""
        gap = self.value[:, None] - front
        sd = np.maximum(self.sd, 1e-6)[:, None]
        z = gap / sd
        density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
        return np.where(self.grid >= self.cost[:, None], gap * _normal(z) + sd * density, 0.0)

    def _lots(self) -> list[_Lot]:
        pools: dict[tuple[Family, str | None], list[int]] = defaultdict(list)
        out = []
        for i, strategy in enumerate(self.arms):
            of = family(strategy)
            if of is None:
                out.append(_Lot(self.names[i], [i], float(self.cost[i])))
            else:
                pools[of, scorer(strategy)].append(i)
        for (of, by), rows in pools.items():
            also = rows if by is None else rows + pools.get((of, None), [])
            out += self._pools(of, rows, also)
        return [lot for lot in out if math.isfinite(lot.price)]

    def _pools(self, of: Family, rows: list[int], also: list[int]) -> list[_Lot]:
        """A lot for each depth of a family's draws that some untried arm has."""
        out = []
        there = self.drawn.get(of, 0)
        for count in sorted({depth(self.arms[i]) for i in rows}):
            deepest = [i for i in rows if depth(self.arms[i]) == count]
            # The arm that makes all its draws stands for the pool; stopping early would leave some of them out.
            first = max(deepest, key=lambda i: (_whole(self.arms[i]), self.value[i], -i))
            share = 1.0 if count <= there else (count - there) / count
            within = [i for i in also if depth(self.arms[i]) <= count]
            out.append(_Lot(self.names[first], within, float(self.cost[first]) * share))
        return out


def _learned(archive: Archive) -> ArmModel:
    """What the trials of all levels tell, where nobody has learned from them yet."""
    there = set(map(show, archive.space.arms))
    seen = [
        Seen(t.arm, level, t.value, t.cost, t.prompts)
        for level, trials in (*archive.others.items(), (archive.level, archive.trials))
        for t in trials
        if t.arm in there
        and t.value is not None
        and t.cost
        and t.prompts
        and math.isfinite(t.value)
        and math.isfinite(t.cost)
    ]
    return fit_arms(seen, levels=archive.levels, work=archive.work, seed=archive.seed)


def _whole(strategy: Strategy) -> bool:
    """Whether an arm always makes all the draws that it may."""
    return type(strategy).__name__ in ("Vote", "WeightedVote", "BestOfN", "One")


def _normal(z: Floats) -> Floats:
    """The standard normal distribution function, to 1e-7 (Abramowitz and Stegun 7.1.26)."""
    x = np.abs(z) / math.sqrt(2)
    t = 1.0 / (1.0 + 0.3275911 * x)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    tail = 0.5 * series * np.exp(-x * x)
    return np.asarray(np.where(z >= 0, 1 - tail, tail))
