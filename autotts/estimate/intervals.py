"""Bootstrap intervals over prompts: means, paired differences and quantiles of a traffic mix of levels.

Prompts are the unit of chance (draws of one prompt are not independent evidence), so prompts are resampled, within
each level. One set of resamples serves all figures of a report: differences of two arms are then paired.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotts.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and the interval that holds it with the stated confidence (95 % unless told)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Resamples:
    """Prompts drawn again with replacement, within levels: `weight` [P] sums to one, as each row of `drawn` [B, P]."""

    weight: Floats
    drawn: Floats
    confidence: float = 0.95

    def mean(self, values: Floats | Sequence[float]) -> Interval:
        """The weighted mean of one number for each prompt, [P]."""
        x = self._one_each(values)
        return self._interval(float(self.weight @ x), self.drawn @ x)

    def difference(self, ours: Floats | Sequence[float], theirs: Floats | Sequence[float]) -> Interval:
        """The weighted mean of paired differences; both [P], on the same prompts."""
        return self.mean(self._one_each(ours) - self._one_each(theirs))

    def ratio(self, over: Floats | Sequence[float], under: Floats | Sequence[float]) -> Interval:
        """The ratio of two weighted means, such as cost for cost; the second must be positive.

        Resamples in which it is not are left out: there must be few, as where its own interval is above zero.
        """
        a, b = self._one_each(over), self._one_each(under)
        below = self.drawn @ b
        kept = below > 0
        return self._interval(float(self.weight @ a / (self.weight @ b)), (self.drawn @ a)[kept] / below[kept])

    def quantile(self, values: Floats | Sequence[float], share: float) -> Interval:
        """The smallest value that at least this share of the traffic does not exceed, such as 0.95 for p95."""
        x = self._one_each(values)
        order = np.argsort(x, kind="stable")
        ranked = x[order]
        rows = np.cumsum(np.vstack([self.weight[None, :], self.drawn])[:, order], axis=1)
        at = np.minimum((rows < share - 1e-9).sum(1), len(x) - 1)
        return self._interval(float(ranked[at[0]]), ranked[at[1:]])

    def _one_each(self, values: Floats | Sequence[float]) -> Floats:
        x = np.asarray(values, np.float64)
        if x.shape != self.weight.shape:
            raise ValueError(f"expected one number for each of {len(self.weight)} prompts, found shape {x.shape}")
        return x

    def _interval(self, value: float, resampled: Floats) -> Interval:
        tail = (1.0 - self.confidence) / 2.0
        low, high = np.quantile(resampled, [tail, 1.0 - tail])
        return Interval(value, min(float(low), value), max(float(high), value))


def resample(
    levels: Sequence[Hashable],
    mix: Mapping[Hashable, float] | None = None,
    *,
    seed: int = 0,
    rounds: int = 2000,
    confidence: float = 0.95,
) -> Resamples:
    """Draw the prompts again, `rounds` times, within their levels.

    Parameters
    ----------
    levels
        The level of each prompt, [P]; all the same where there are none.
    mix
        The share of the traffic of each level; scaled to sum to one. None: as the prompts are.

    Raises
    ------
    InputError
        When a level of the mix has no prompts, or a prompt's level is not in the mix.
    """
    found: dict[Hashable, list[int]] = {}
    for i, level in enumerate(levels):
        found.setdefault(level, []).append(i)
    shares = {level: float(len(rows)) for level, rows in found.items()} if mix is None else dict(mix)
    _check(found, shares)
    whole = sum(shares.values())
    rng = np.random.default_rng(seed)
    weight = np.zeros(len(levels))
    drawn = np.zeros((rounds, len(levels)))
    for level, rows in found.items():
        each = shares[level] / whole / len(rows)
        weight[rows] = each
        drawn[:, rows] = each * rng.multinomial(len(rows), np.full(len(rows), 1.0 / len(rows)), size=rounds)
    return Resamples(weight, drawn, confidence)


def _check(found: Mapping[Hashable, list[int]], shares: Mapping[Hashable, float]) -> None:
    if not found:
        raise InputError("an interval needs at least one prompt, found none")
    for level, share in shares.items():
        if share > 0 and level not in found:
            raise InputError(f"the mix gives level {level} a share of {share:g}, and no prompt is of that level")
    for level in found:
        if level not in shares:
            raise InputError(f"level {level} of a prompt is not in the mix; levels are {', '.join(map(str, shares))}")
    if not sum(shares.values()) > 0 or min(shares.values()) < 0:
        raise InputError(f"the shares of the mix must not be negative and not all be zero, found {dict(shares)}")
