"""One prompt, fast: a learned performance folded into one matrix, and plain Python from the logits on.

The numbers are those of `Performance.table`, whose arrays cost more to make than a single prompt takes here.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

import numpy as np

from autotts.predict.members import CLIP, Ensemble, Floats, Linear, Trees

DEVIATION: Final = 1.96  # of a 95 % interval
BINS: Final = 10  # of equally many predictions, in which calibration is checked
COSTLIEST: Final = 700.0  # logarithm of parts: more is no longer a float


class Quick:
    """Arrays made once; see `Performance`. `check` has upto, gaps and counts, `cost` intercepts and coefficients."""

    def __init__(
        self,
        *,
        mean: Floats,
        scale: Floats,
        members: Sequence[Linear | Trees],
        slope: float,
        shift: Sequence[float],
        check: tuple[Sequence[float], Sequence[float], Sequence[float]],
        cost: tuple[Sequence[float | None], Sequence[Sequence[float]]],
    ) -> None:
        self._mean, self._inverse = mean, 1.0 / scale
        self._upto, self._gaps, counts = check
        square = DEVIATION * DEVIATION  # parts of Wilson's interval that are the same for every prompt
        self._wilson = [(1 + square / n, square / (2 * n), square / (4 * n * n), n) for n in counts]
        linear = [member for member in members if isinstance(member, Linear)]
        arms, share = len(shift), slope / len(members)
        matrix = np.zeros((2 * arms, len(mean)))
        offset = np.array([*shift, *(math.nan if log is None else log for log in cost[0])])
        for member in linear:
            matrix[:arms] += share * member.of_columns(len(mean))
            offset[:arms] += share * np.array(member.intercepts)
        if cost[1]:
            matrix[arms:] = cost[1]
        self._matrix, self._offset, self._share = matrix, offset, share
        sparse = [member.of_buckets() for member in linear if member.ngrams]
        self._buckets = share * np.sum(sparse, axis=0) if sparse else None
        self._trees = [member for member in members if isinstance(member, Trees)]

    def forecast(self, dense: Sequence[float], ngrams: Sequence[int]) -> list[tuple[float, float, float, float]]:
        """Value, low, high and cost of each arm from the dense columns and n-grams of a prompt."""
        numbers = self._numbers(dense, ngrams)
        arms = len(numbers) // 2
        return [self._cell(numbers[arm], numbers[arms + arm], self._wilson[arm]) for arm in range(arms)]

    def means(self, dense: Sequence[float], ngrams: Sequence[int]) -> list[tuple[float, float]]:
        """Value and cost alone: all that routing asks, in half the time."""
        numbers = self._numbers(dense, ngrams)
        arms = len(numbers) // 2
        tanh, exp = math.tanh, math.exp
        return [
            (
                0.5 * (1.0 + tanh(0.5 * logit)),
                exp(log_cost if log_cost < COSTLIEST else COSTLIEST) if log_cost == log_cost else math.nan,
            )
            for logit, log_cost in zip(numbers, numbers[arms:])
        ]

    def _numbers(self, dense: Sequence[float], ngrams: Sequence[int]) -> list[float]:
        """The calibrated logit of each arm, then the logarithm of each one's cost (NaN: unknown)."""
        x = np.array(dense)
        standard = np.minimum(np.maximum((x - self._mean) * self._inverse, -CLIP), CLIP)
        found = self._matrix @ standard + self._offset
        arms = len(found) // 2
        if self._buckets is not None and ngrams:
            found[:arms] += self._buckets.take(ngrams, 0).sum(0) / len(ngrams) ** 0.5
        numbers: list[float] = found.tolist()
        for trees in self._trees:
            row = x[trees.uses].astype(np.float32).tolist()
            for arm, ensemble in enumerate(trees.ensembles):
                numbers[arm] += self._share * walk(ensemble, row)
        return numbers

    def _cell(
        self, logit: float, log_cost: float, wilson: tuple[float, float, float, float]
    ) -> tuple[float, float, float, float]:
        """See `Performance.table`."""
        value = 0.5 * (1.0 + math.tanh(0.5 * logit))
        below, more, spread, count = wilson
        middle = (value + more) / below
        half = DEVIATION * math.sqrt(value * (1 - value) / count + spread) / below
        gap = self._gaps[bisect_left(self._upto, value)] if self._gaps else 0.0
        low, high = middle - half, middle + half
        if gap < 0.0:
            low += gap
        else:
            high += gap
        # Compared rather than by min and max, whose calls take most of the time here.
        low = 0.0 if low < 0.0 else low
        high = 1.0 if high > 1.0 else high
        low, high = value if low > value else low, value if high < value else high
        return value, low, high, math.exp(min(log_cost, COSTLIEST)) if log_cost == log_cost else math.nan


def walk(ensemble: Ensemble, x: Sequence[float]) -> float:
    """An ensemble's logit for one prompt: plain lists are the fastest for one."""
    feature, threshold, left, right, value = (
        ensemble.feature,
        ensemble.threshold,
        ensemble.left,
        ensemble.right,
        ensemble.value,
    )
    total = ensemble.base
    for node in ensemble.roots:
        while (at := feature[node]) >= 0:
            node = left[node] if x[at] <= threshold[node] else right[node]
        total += value[node]
    return total
