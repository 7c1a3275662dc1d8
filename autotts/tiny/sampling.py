"""Next tokens of many rows at once, each from its own counter-based random stream.

Every number is computed column by column in the same order whatever columns stand beside it, so a draw has the same
bits alone and in any batch. The stream is splitmix64 (Steele, Lea and Flood, 2014, "Fast splittable pseudorandom
number generators") at the draw's seed and the token's position: no state to carry, nothing shared between draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S11 = (np.uint64(s) for s in (27, 30, 31, 11))


def uniforms(seeds: NDArray[np.uint64], positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """One number in [0, 1) for each (seed, position), both arrays of one length."""
    z = seeds + _GOLDEN * (positions.astype(np.uint64) + np.uint64(1))
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    z ^= z >> _S31
    numbers: NDArray[np.float64] = (z >> _S11).astype(np.float64)
    numbers *= 2.0**-53
    return numbers


@dataclass(frozen=True, slots=True, eq=False)
class Distribution:
    """What n rows may write next, a column for each row.

    Attributes
    ----------
    logits : float64 [v, n], the largest of each column is 0
    cumulative : float64 [v, n], running sums of their exponentials
    """

    logits: NDArray[np.float64]
    cumulative: NDArray[np.float64]

    def logprobs(self, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log-probabilities [n] of one choice of each row, at temperature 1."""
        picked: NDArray[np.float64] = self.logits[chosen, np.arange(len(chosen))]
        picked -= np.log(self.cumulative[-1])
        return picked


def distribution(logits: NDArray[np.float32]) -> Distribution:
    """The distribution that logits [n, v] mean."""
    columns = np.ascontiguousarray(logits.T, np.float64)
    columns -= columns.max(axis=0)
    # A running sum adds in one order whatever n is; `sum` does not.
    return Distribution(columns, np.cumsum(np.exp(columns), axis=0))


def choose(
    given: Distribution,
    temperature: NDArray[np.float64],
    top_p: NDArray[np.float64],
    uniform: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Choose one of the v for each row: the most likely at temperature 0 (the first of equals), else by chance.

    Top-p keeps the fewest, most likely first, that together reach `top_p` at the given temperature.
    """
    cumulative = given.cumulative
    greedy = temperature == 0.0
    nucleus = top_p < 1.0
    any_greedy, any_nucleus = bool(greedy.any()), bool(nucleus.any())
    if any_nucleus or not (temperature == 1.0).all():
        mass = np.exp(given.logits / (np.where(greedy, 1.0, temperature) if any_greedy else temperature))
        if any_nucleus:
            mass[:, nucleus] = _nucleus(np.ascontiguousarray(mass[:, nucleus]), top_p[nucleus])
        cumulative = np.cumsum(mass, axis=0)
    chosen: NDArray[np.int64] = (cumulative <= uniform * cumulative[-1]).sum(axis=0)
    if any_greedy:
        chosen = np.where(greedy, given.logits.argmax(axis=0), chosen)
    return np.minimum(chosen, len(cumulative) - 1)


def _nucleus(mass: NDArray[np.float64], top_p: NDArray[np.float64]) -> NDArray[np.float64]:
    order = np.argsort(-mass, axis=0, kind="stable")
    ranked = np.take_along_axis(mass, order, axis=0)
    cumulative = np.cumsum(ranked, axis=0)
    # A column is kept if those before it do not reach top-p; the first has none before it.
    kept = np.ones_like(ranked, np.bool_)
    kept[1:] = cumulative[:-1] < top_p * cumulative[-1]
    result = np.empty_like(mass)
    np.put_along_axis(result, order, np.where(kept, ranked, 0.0), axis=0)
    return result
