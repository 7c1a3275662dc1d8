"""Exact expectations over all ways to take k of M recorded draws of a problem, at one k; unbiased for k fresh draws.

Shapes: P problems, M draws of each, A classes of equal answers. `curves` has the same for many k at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autotts.estimate import curves

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def absent(draws: int, k: int) -> Floats:
    """The probability that k of M draws hold none of c marked ones, for c = 0..M: C(M-c, k) / C(M, k)."""
    return curves.absent(draws, [k])[:, 0]


def pass_at_k(right: Ints, draws: int, k: int) -> Floats:
    """Pass@k (2107.03374), [P]: the probability that one of k draws is right; `right` of each problem, of `draws`."""
    return curves.pass_curve(right, draws, [k])[:, 0]


def best_of_k(score: Floats, value: Floats, k: int) -> Floats:
    """The expected `value` of the draw with the highest score among k, [P]; see `curves.best_of_curve`."""
    return curves.best_of_curve(score, value, [k])[:, 0]


def longest_of_k(tokens: Floats, k: int) -> Floats:
    """The expected length of the longest of k draws, [P]; tokens [P, M]."""
    return best_of_k(tokens, tokens, k)


def majority_at_k(counts: Ints, right: Floats, mute: Ints, k: int) -> Floats:
    """The probability that the most frequent answer of k draws is right, [P]; see `curves.majority_curve`."""
    return curves.majority_curve(counts, right, mute, [k])[:, 0]


def distinct_at_k(price: Floats, texts: Ints, k: int) -> Floats:
    """The expected price of the distinct texts among k draws, each of which is paid once.

    Parameters
    ----------
    price, texts
        [P, M]; draws of the same text have the same number and the same price.
    """
    draws = texts.shape[1]
    none = absent(draws, k)
    copies = np.stack([(texts == texts[:, i : i + 1]).sum(1) for i in range(draws)], 1)
    return np.asarray((price / copies * (1.0 - none[copies])).sum(1))
