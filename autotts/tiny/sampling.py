"""Next tokens of many rows at once, each from its own counter-based random stream.

Every number is computed row by row in the same order whatever rows stand beside it, so a draw has the same bits
alone and in any batch. The stream is splitmix64 (Steele, Lea and Flood, 2014, "Fast splittable pseudorandom number
generators") at the draw's seed and the token's position: no state to carry, nothing shared between draws.
"""

from __future__ import annotations

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
    return (z >> _S11).astype(np.float64) * 2.0**-53


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-probabilities [n, v] of logits [n, v]."""
    z = logits.astype(np.float64)
    z -= z.max(axis=1, keepdims=True)
    # A running sum adds in one order; `sum` may not.
    z -= np.log(np.cumsum(np.exp(z), axis=1)[:, -1:])
    return z


def choose(
    logprobs: NDArray[np.float64],
    temperature: NDArray[np.float64],
    top_p: NDArray[np.float64],
    uniform: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Index of the chosen column of each row: the most likely at temperature 0 (the first of equals), else sampled.

    Top-p keeps the fewest columns, most likely first, that together reach `top_p` at the given temperature.
    """
    greedy = temperature == 0.0
    mass = np.exp(logprobs / np.where(greedy, 1.0, temperature)[:, None])
    nucleus = np.flatnonzero(top_p < 1.0)
    if nucleus.size:
        mass[nucleus] = _nucleus(mass[nucleus], top_p[nucleus])
    cumulative = np.cumsum(mass, axis=1)
    target = uniform * cumulative[:, -1]
    chosen = np.count_nonzero(cumulative <= target[:, None], axis=1)
    if greedy.any():
        chosen = np.where(greedy, logprobs.argmax(axis=1), chosen)
    return np.minimum(chosen, logprobs.shape[1] - 1)


def _nucleus(mass: NDArray[np.float64], top_p: NDArray[np.float64]) -> NDArray[np.float64]:
    order = np.argsort(-mass, axis=1, kind="stable")
    ranked = np.take_along_axis(mass, order, axis=1)
    cumulative = np.cumsum(ranked, axis=1)
    before = cumulative - ranked
    ranked[before >= (top_p * cumulative[:, -1])[:, None]] = 0.0
    ranked[:, 0] = np.take_along_axis(mass, order[:, :1], axis=1)[:, 0]
    kept = np.empty_like(mass)
    np.put_along_axis(kept, order, ranked, axis=1)
    return kept
