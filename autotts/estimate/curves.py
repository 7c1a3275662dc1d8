"""Exact expectations at many numbers of draws at once: what k of M recorded draws give, for all k in one pass.

Shapes: P problems, M draws of each, A classes of equal answers, K numbers of draws. Unbiased for k fresh draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import lgamma

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LARGEST = 700.0  # the natural logarithm of the largest number of ways that is counted; floats end at 709


def absent(draws: int, ks: Sequence[int]) -> Floats:
    """The probability that k of M draws hold none of c marked ones: C(M-c, k) / C(M, k), [M + 1, K]."""
    c, k = np.arange(draws)[:, None], _checked(draws, ks)
    steps = np.maximum(draws - c - k, 0) / (draws - c)
    return np.concatenate([np.ones((1, len(k))), np.cumprod(steps, axis=0)])


def first_of(draws: int, ks: Sequence[int]) -> Floats:
    """The probability that the i-th of M ranked draws is the first among k: C(M-1-i, k-1) / C(M, k), [M, K]."""
    i, k = np.arange(draws - 1)[:, None], _checked(draws, ks)
    steps = np.maximum(draws - i - k, 0) / (draws - 1 - i)
    return np.asarray(k / draws * np.concatenate([np.ones((1, len(k))), np.cumprod(steps, axis=0)]))


def pass_curve(right: Ints, draws: int, ks: Sequence[int]) -> Floats:
    """Pass@k (2107.03374), the probability that one of k draws is right, [P, K]; `right` draws of each problem, [P]."""
    return np.asarray(1.0 - absent(draws, ks)[right])


def best_of_curve(score: Floats, value: Floats, ks: Sequence[int]) -> Floats:
    """The expected `value` of the draw with the highest score among k, [P, K]; tied scores are taken at random.

    Parameters
    ----------
    score, value
        [P, M]. The value may be anything that is measured for each draw (right or not, tokens, cost). The score
        `value` gives pass@k, and the tokens as both give the longest of k. A score must not be NaN.
    """
    if np.isnan(score).any():
        raise ValueError("expected scores that can be compared, found NaN; give what has no score the lowest one")
    order = np.argsort(-score, axis=1, kind="stable")
    ranked = np.take_along_axis(score, order, 1)
    values = np.take_along_axis(np.asarray(value, np.float64), order, 1)
    return np.asarray(_mean_of_ties(ranked, values) @ first_of(score.shape[1], ks))


@dataclass(frozen=True, slots=True, eq=False)
class FirstFinish:
    """n draws that are all stopped when the first readable one ends, [P, K]: its value, the price of all, the wait."""

    value: Floats
    total: Floats
    sequential: Floats


def first_finish_curve(
    tokens: Floats, readable: Bools, ks: Sequence[int], *, value: Floats, price: Floats
) -> FirstFinish:
    """First-finish search (2505.18149) of k draws. Where none of the k can be read, all run to their ends.

    Parameters
    ----------
    tokens, readable
        [P, M]. Draws that cannot be read stop nothing.
    value
        [P, M]: what the first to end is worth; equal lengths are taken at random.
    price
        [P, M]: of generating each draw, such as its tokens; of two draws of one problem the longer never costs less.
    """
    rank = np.where(readable, -np.asarray(tokens, np.float64), -np.inf)
    best = best_of_curve(rank, value, ks)
    # In this order the first of a sample stops it: the shortest readable one, else the longest of all.
    order = np.lexsort((np.where(readable, tokens, -tokens), ~readable), axis=1)
    chance = first_of(tokens.shape[1], ks)
    sequential = np.take_along_axis(np.asarray(tokens, np.float64), order, 1) @ chance
    own = np.take_along_axis(np.asarray(price, np.float64), order, 1)
    others = np.maximum(np.arange(own.shape[1])[::-1], 1)
    mean = np.stack([np.triu(np.minimum.outer(x, x), 1).sum(1) for x in own]) / others  # of one other, when stopped
    total = own @ chance + (mean @ chance) * (np.asarray(ks) - 1)
    return FirstFinish(best, total, sequential)


def majority_curve(counts: Ints, right: Floats, mute: Ints, ks: Sequence[int]) -> Floats:
    """The probability that the most frequent answer of k draws is right, [P, K]; ties are broken at random.

    For a right class of c draws, summed over t, its votes in the sample: the ways to draw t of it and no other class
    more often, times 1 / (1 + j) where j others tie. With 1 / (1 + j) as the integral of u^j from 0 to 1, that is
    the integral of C(c, t) (1 + z)^rest prod_a (sum_{x<t} C(c_a, x) z^x + C(c_a, t) z^t u), whose coefficients are
    the ways for each size of the sample. Only classes with t draws or more can tie; all others are in `rest`. The
    integral is that of a polynomial in u, so that a few Gauss-Legendre nodes give it exactly, and all terms are
    positive. Breaking ties by the first seen has the same expectation, because draws are exchangeable.

    Parameters
    ----------
    counts
        Draws of each class of answers, [P, A]; 0 where a problem has fewer classes.
    right
        The share of the class's draws that is right, [P, A]; 0 or 1 where labels do not contradict each other.
    mute
        Draws that cannot be read, [P]: they take a place among the k and never win.
    """
    if not len(counts):
        return np.zeros((0, len(ks)))
    recorded = np.asarray(counts.sum(1) + mute)
    draws = int(recorded[0])
    if (recorded != draws).any():
        raise ValueError(f"expected as many draws of each problem, found {recorded.min()} to {recorded.max()}")
    most = int(_checked(draws, ks).max())
    if not countable(draws, most):
        raise ValueError(f"the ways to take {most} of {draws} draws are too many to be counted; take fewer")
    row, target = np.nonzero((right > 0) & (counts > 0))
    won, rivals = counts[row, target], counts[row]
    rivals[np.arange(len(row)), target] = 0
    rivals = -np.sort(-rivals, axis=1)
    choose = _binomials(draws, most)
    ways = np.zeros((len(row), most + 1))
    for t in range(1, min(most, int(won.max(initial=0))) + 1):
        rows = np.flatnonzero(won >= t)
        tying = np.where(rivals[rows] >= t, rivals[rows], 0)
        begun = choose[draws - won[rows] - tying.sum(1), : most - t + 1]
        for some in _alike((tying > 0).sum(1)):
            begun[some] = _against(begun[some], tying[some], t, choose)
        ways[rows, t:] += choose[won[rows], t, None] * begun
    out = np.zeros((len(counts), len(ks)))
    np.add.at(out, row, right[row, target, None] * ways[:, ks])
    return out / choose[draws, ks]


def countable(draws: int, k: int) -> bool:
    """Whether the ways to take k of M draws, and all smaller numbers of them, fit a float."""
    k = min(k, draws // 2)
    return lgamma(draws + 1) - lgamma(k + 1) - lgamma(draws - k + 1) < LARGEST


def _checked(draws: int, ks: Sequence[int]) -> Ints:
    k = np.asarray(ks, np.int64)
    if k.ndim != 1 or not k.size or k.min() < 1 or k.max() > draws:
        found = ", ".join(map(str, np.atleast_1d(k)[:4].tolist())) or "none"
        raise ValueError(f"expected 1 to {draws} draws (those recorded for each problem), found k = {found}")
    return k


def _mean_of_ties(ranked: Floats, values: Floats) -> Floats:
    """Each value replaced by the mean over the draws with the same score; both [P, M], scores in order."""
    problems, draws = ranked.shape
    fresh = np.ones((problems, draws), bool)
    fresh[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    block = np.cumsum(fresh.ravel()) - 1
    sums = np.bincount(block, values.ravel())
    return np.asarray((sums / np.bincount(block))[block].reshape(problems, draws))


def _binomials(draws: int, most: int) -> Floats:
    """C(c, x) for c = 0..M and x = 0..most."""
    c, x = np.arange(draws + 1)[:, None], np.arange(most)
    steps = np.maximum(c - x, 0) / (x + 1.0)
    return np.concatenate([np.ones((draws + 1, 1)), np.cumprod(steps, axis=1)], axis=1)


def _alike(rivals: Ints) -> Iterator[NDArray[np.intp]]:
    """Rows with about as many rivals (1, 2-3, 4-7, ...), so that none pays for the nodes and factors of another."""
    size = np.frexp(rivals)[1]
    for group in range(1, int(size.max(initial=0)) + 1):
        rows = np.flatnonzero(size == group)
        if rows.size:
            yield rows


@cache
def _nodes(count: int) -> tuple[Floats, Floats]:
    """Gauss-Legendre nodes and weights on [0, 1]."""
    nodes, weight = np.polynomial.legendre.leggauss(count)
    return (nodes + 1.0) / 2.0, weight / 2.0


def _against(begun: Floats, rivals: Ints, t: int, choose: Floats) -> Floats:
    """Multiply polynomials in z, [N, size], by the factors of their rivals ([N, A], largest first), and integrate."""
    number = (rivals > 0).sum(1)
    order = np.argsort(-number, kind="stable")
    most, size = int(number.max()), begun.shape[1]
    degree = min(most, (size - 1) // t)  # in u: each rival that ties takes t draws
    u, weight = _nodes(degree // 2 + 1)
    ways = np.repeat(begun[order][:, None, :], len(u), axis=1)
    room = np.empty_like(ways)
    for a in range(most):
        n = int((number > a).sum())
        factor = choose[rivals[order[:n], a]]
        before = ways[:n].copy()
        for x in range(1, min(t, size - 1) + 1):
            by = factor[:, x, None, None] * (u[:, None] if x == t else 1.0)
            ways[:n, :, x:] += np.multiply(before[..., : size - x], by, out=room[:n, :, : size - x])
    out = np.empty_like(begun)
    out[order] = np.einsum("u,nus->ns", weight, ways)
    return out
