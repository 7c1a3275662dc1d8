"""From levels, which prompts have, to bins, which the policy predicts: what an arm gives on a bin, and its share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotts.policy.allocation import Point
from autotts.predict.levels import LevelModel
from autotts.search.level import Level

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """How levels and predicted bins, of the same names, go together.

    `taken` [level, bin] is the chance that a prompt of a level is taken for a bin, `weight` [level] the levels' shares
    of the traffic.
    """

    names: tuple[str, ...]
    weight: Floats
    taken: Floats

    @property
    def share(self) -> Floats:
        """Each bin's share of the traffic."""
        return self.weight @ self.taken

    @property
    def level(self) -> Floats:
        """The chance that a prompt of a bin is of a level, [bin, level]; the traffic's mix where no prompt is there."""
        joint = (self.weight[:, None] * self.taken).T
        whole = joint.sum(1, keepdims=True)
        return np.where(whole > 0, joint / np.where(whole > 0, whole, 1.0), self.weight)

    def points(self, levels: Sequence[Level], cap: float | None) -> dict[str, list[Point]]:
        """What each arm gives on each bin, from what it gave at the levels whose prompts are taken for it."""
        known = [{p.arm: p for p in level.believed(cap)} for level in levels]
        arms = sorted(set().union(*known))
        out: dict[str, list[Point]] = {}
        for name, chances in zip(self.names, self.level):
            # An arm that was not measured on the hard prompts of a bin would look better than those that were.
            whole = [p for arm in arms if (p := _on(arm, chances, known, 1.0)) is not None]
            out[name] = whole or [p for arm in arms if (p := _on(arm, chances, known, 0.0)) is not None]
        return out

    def routes(self, route: Mapping[str, Sequence[tuple[str, float]]]) -> dict[str, list[tuple[str, float]]]:
        """What prompts of each level get, on average over the bins that they are taken for."""
        out: dict[str, list[tuple[str, float]]] = {}
        for name, chances in zip(self.names, self.taken):
            mixed: dict[str, float] = {}
            for bin_name, chance in zip(self.names, chances):
                for arm, share in route[bin_name] if chance > 0 else ():
                    mixed[arm] = mixed.get(arm, 0.0) + chance * share
            out[name] = list(mixed.items())
        return out


def _on(arm: str, chances: Floats, known: Sequence[Mapping[str, Point]], enough: float) -> Point | None:
    """An arm on the prompts of one bin, if it is measured at levels that hold a share `enough` of them."""
    at = [(chance, points[arm]) for chance, points in zip(chances, known) if chance > 0 and arm in points]
    whole = sum(chance for chance, _ in at)
    if whole <= min(enough, 1.0) - 1e-9 or whole == 0:
        return None
    return Point(arm, sum(c * p.value for c, p in at) / whole, sum(c * p.cost for c, p in at) / whole)


def bins(rule: LevelModel | None, levels: Sequence[Level], weights: Mapping[str, float]) -> Bins:
    """The bins of a rule, by what it took the search prompts for out of fold; without a rule, the levels themselves."""
    names = tuple(level.name for level in levels)
    weight = np.array([weights[name] for name in names])
    if rule is None:
        return Bins(names, weight, np.eye(len(names)))
    counts = np.array(rule.confusion, float)
    order = [rule.levels.index(int(name)) for name in names]
    counts = counts[np.ix_(order, order)]
    return Bins(names, weight, counts / counts.sum(1, keepdims=True))
