"""A covering array first, then the upper and the lower confidence bound in turn (AgentSwift, 2506.06017).

The array is of strength two: any two values of two factors that stand together in some arm stand together in one that
is tried. After it, arms are chosen by a forecast: one that may be very good, one that may be very bad, and so on, since
what ranks arms well has seen both. Costs play no part, as in the paper.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from autotts.core.strategy import Strategy
from autotts.predict.arm_learning import fit_arms
from autotts.predict.arms import ArmModel, Seen
from autotts.search.archive import Archive
from autotts.search.proposers.factors import Factors
from autotts.search.proposers.left import Left
from autotts.search.proposers.sampled import number
from autotts.search.runs import depth
from autotts.search.space import Space, models_of
from autotts.strategies.arms import show

Floats = NDArray[np.float64]
Pair: TypeAlias = tuple[tuple[str, Any], tuple[str, Any]]

NUMBERS: Final = ("temperature", "top_p")  # of the knobs that are numbers, those of the array; draws by their class


class Surrogate(Protocol):
    """What is expected of arms at one level."""

    def forecast(self, arms: Sequence[str]) -> tuple[Floats, Floats]:
        """Expected accuracy and its standard deviation, [N] each."""
        ...


@dataclass(frozen=True)
class Covering:
    """The array, then the bounds.

    Parameters
    ----------
    fit
        What makes a surrogate of an archive.
    doublings
        Numbers of draws within so many doublings are one class in the array; 1 has a class for each number.
    width
        Standard deviations in a bound.
    """

    fit: Callable[[Archive], Surrogate]
    doublings: int = 2
    width: float = 1.0
    name: str = "covering"

    def propose(self, archive: Archive, k: int) -> Sequence[str]:
        """What the array lacks, then what the bounds ask for; fewer than k where no more arms are left."""
        left = Left.of(archive)
        rows = array(archive.space, archive.work, left, self._seen(archive, left), k, self.doublings)
        for row in rows:
            left = left.after(row)
        out = [show(row) for row in rows]
        return tuple(out + self._bounds(archive, left, k - len(out)))

    def _seen(self, archive: Archive, left: Left) -> set[Pair]:
        """The pairs of all arms that ran, stopped ones too, and of those that their draws answer."""
        ran = {t.arm for t in archive.trials if t.state in ("complete", "pruned")}
        tried = [arm for arm in archive.space.arms if left.answered(arm) or show(arm) in ran]
        return {pair for arm in tried for pair in pairs(archive.space, arm, self.doublings)}

    def _bounds(self, archive: Archive, left: Left, k: int) -> list[str]:
        arms = left.among(archive.space.arms)
        if k <= 0 or not arms:
            return []
        # In an order of chance, so that equal bounds favour no strategy.
        arms.sort(key=lambda arm: number(archive.seed, archive.level, archive.round, show(arm)))
        mean, sd = self.fit(archive).forecast([show(arm) for arm in arms])
        out: list[str] = []
        for turn in itertools.count(archive.round):
            bound = (mean if turn % 2 == 0 else -mean) + self.width * sd
            open_ = [i for i, arm in enumerate(arms) if left.has(arm)]
            if len(out) == k or not open_:
                return out
            arm = arms[max(open_, key=lambda i: bound[i])]
            left = left.after(arm)
            out.append(show(arm))
        raise AssertionError("unreachable")


def array(
    space: Space, work: Mapping[str, float], left: Left, seen: set[Pair], most: int, doublings: int
) -> list[Strategy]:
    """Up to `most` rows of a covering array, beside the pairs that were seen: each the arm with the most new ones.

    Of arms that are alike in all factors of the array, and of those with as many new pairs, the cheapest is taken
    (draws times the work of its models).
    """
    ranked = sorted(left.among(space.arms), key=lambda arm: (_work(arm, work), show(arm)))
    alike: dict[frozenset[Pair], Strategy] = {}
    for arm in ranked:
        alike.setdefault(pairs(space, arm, doublings), arm)
    seen = set(seen)
    out: list[Strategy] = []
    while len(out) < most and alike:
        best = max(alike, key=lambda found: len(found - seen))  # the first, and so the cheapest, of equals
        if best <= seen:
            break
        out.append(alike.pop(best))
        seen |= best
    return out


def pairs(space: Space, arm: Strategy, doublings: int) -> frozenset[Pair]:
    """Every two values of an arm's factors; a factor that the arm does not have stands in none."""
    found: dict[str, Any] = {}
    for name, value in Factors(space).of(arm).items():
        if isinstance(value, str) or name in NUMBERS:
            found[name] = value
    found["size"] = (depth(arm).bit_length() - 1) // doublings
    return frozenset(itertools.combinations(sorted(found.items()), 2))


def _work(arm: Strategy, work: Mapping[str, float]) -> float:
    return depth(arm) * sum(work.get(model, 1.0) for model in models_of(arm)[0])


# ------------------------------------------------------------ the surrogate of a study


@dataclass(frozen=True)
class Learned:
    """An `ArmModel` at one level."""

    model: ArmModel
    level: str

    def forecast(self, arms: Sequence[str]) -> tuple[Floats, Floats]:
        """Expected accuracy and its standard deviation, [N] each."""
        found = self.model.forecast(arms, self.level)
        return found.value, found.sd


def learned(archive: Archive) -> Learned:
    """What the trials of all levels tell of a level's arms; trials that were stopped count by their prompts."""
    known = {show(arm) for arm in archive.space.arms}
    levels = {**archive.others, archive.level: archive.trials}
    seen = [
        Seen(t.arm, level, t.value, t.cost, t.prompts)
        for level, trials in sorted(levels.items())
        for t in trials
        if t.arm in known and t.value is not None and t.cost is not None and t.prompts > 0
        if 0 <= t.value <= 1 and 0 < t.cost < math.inf
    ]
    return Learned(fit_arms(seen, levels=archive.levels, work=archive.work, seed=archive.seed), archive.level)


def covering() -> Covering:
    """As a study uses it."""
    return Covering(learned)
