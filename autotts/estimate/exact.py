"""Exact expectations over all ways to take k of M recorded draws of a problem; unbiased for k fresh draws.

Shapes: P problems, M draws of each, A classes of equal answers. Every function is vectorised over problems.
"""

from __future__ import annotations

from math import comb

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def absent(draws: int, k: int) -> Floats:
    """The probability that k of M draws hold none of c marked ones, for c = 0..M: C(M-c, k) / C(M, k)."""
    c = np.arange(draws)
    return np.concatenate([[1.0], np.cumprod(np.maximum(draws - c - k, 0) / (draws - c))])


def pass_at_k(right: Ints, draws: int, k: int) -> Floats:
    """Pass@k (2107.03374): the probability that one of k draws is right.

    Parameters
    ----------
    right
        Right draws of each problem, [P], out of `draws`.
    """
    _check(draws, k)
    return 1.0 - absent(draws, k)[right]


def best_of_k(score: Floats, value: Floats, k: int) -> Floats:
    """The expected `value` of the draw with the highest score among k; tied scores are taken at random.

    With i draws ahead of it, a draw is the best of k with probability C(M-1-i, k-1) / C(M, k).

    Parameters
    ----------
    score, value
        [P, M]. The value may be anything that is measured for each draw (right or not, tokens, cost). The score
        `-tokens` gives first-finish, the score `value` gives pass@k. A score must not be NaN.
    """
    draws = score.shape[1]
    _check(draws, k)
    order = np.argsort(-score, axis=1, kind="stable")
    ranked = np.take_along_axis(score, order, 1)
    values = np.take_along_axis(value.astype(np.float64), order, 1)
    return np.asarray((_mean_of_ties(ranked, values) * _first_of(draws, k)).sum(1))


def distinct_at_k(price: Floats, texts: Ints, k: int) -> Floats:
    """The expected price of the distinct texts among k draws, each of which is paid once.

    Parameters
    ----------
    price, texts
        [P, M]; draws of the same text have the same number and the same price.
    """
    draws = texts.shape[1]
    _check(draws, k)
    copies = np.stack([(texts == texts[:, i : i + 1]).sum(1) for i in range(draws)], 1)
    return np.asarray((price / copies * (1.0 - absent(draws, k)[copies])).sum(1))


def majority_at_k(counts: Ints, right: Bools, mute: Ints, k: int) -> Floats:
    """The probability that the most frequent answer of k draws is right; ties are broken at random.

    Sums over t, the votes of the winner, the ways to draw g right and j wrong classes t times and no class more
    often, times g / (g + j): a product over classes of sum_{x<t} C(c, x) z^x + C(c, t) z^t u. Breaking ties by the
    first seen has the same expectation, because draws are exchangeable.

    Parameters
    ----------
    counts
        Draws of each class of answers, [P, A]; 0 where a problem has fewer classes.
    right
        Whether the class is right, [P, A].
    mute
        Draws that cannot be read, [P]: they take a place among the k and never win.
    """
    draws = int(counts[0].sum() + mute[0]) if len(counts) else k
    _check(draws, k)
    won = _squeeze(np.where(right, counts, 0))
    lost = _squeeze(np.where(right, 0, counts))
    total = np.zeros(len(counts))
    blank = _choose(mute, k)
    for t in range(1, min(k, int(won.max(initial=0))) + 1):
        ways = np.zeros((len(counts), won.shape[1] + 1, k // t + 1, k + 1))
        ways[:, 0, 0] = blank
        for a in range(won.shape[1]):
            ways = _times(ways, won[:, a], t, axis=1)
        for a in range(lost.shape[1]):
            ways = _times(ways, lost[:, a], t, axis=2)
        g, j = np.arange(ways.shape[1])[:, None], np.arange(ways.shape[2])
        total += (ways[..., k] * (g / np.maximum(g + j, 1))).sum((1, 2))
    return total / float(comb(draws, k))


def first_finish(price: Floats, readable: Bools, n: int) -> Floats:
    """The expected total price of n draws that are all stopped when the first readable one ends.

    Parameters
    ----------
    price
        [P, M]: of generating each draw; it must rise with the tokens (with the tokens themselves: total tokens).
        Draws that cannot be read stop nothing. Its accuracy is `best_of_k` with the score -tokens.
    """
    problems, draws = price.shape
    _check(draws, n)
    out = np.empty(problems)
    for p in range(problems):  # given the first to end, the others are any of the later ones and the unreadable
        ends = np.sort(price[p, readable[p]])
        silent = price[p, ~readable[p]]
        others = len(ends) - 1 - np.arange(len(ends)) + len(silent)
        tail = (others - len(silent)) * ends + np.minimum(silent[None, :], ends[:, None]).sum(1)
        chance = _first_of(draws, n)[: len(ends)]
        mean = np.divide(tail, others, out=np.zeros(len(ends)), where=others > 0)
        none = absent(draws, n)[len(ends)]
        out[p] = (chance * (ends + (n - 1) * mean)).sum() + (none * n * silent.mean() if len(silent) else 0.0)
    return out


def _check(draws: int, k: int) -> None:
    if not 1 <= k <= draws:
        raise ValueError(f"expected 1 to {draws} draws (those recorded for each problem), found k = {k}")


def _first_of(draws: int, k: int) -> Floats:
    """The probability that the i-th of M ranked draws is the first among k, i = 0..M-1."""
    i = np.arange(draws - 1)
    return np.asarray(k / draws * np.concatenate([[1.0], np.cumprod(np.maximum(draws - i - k, 0) / (draws - 1 - i))]))


def _mean_of_ties(ranked: Floats, values: Floats) -> Floats:
    """Each value replaced by the mean over the draws with the same score; both [P, M], scores in order."""
    problems, draws = ranked.shape
    fresh = np.ones((problems, draws), bool)
    fresh[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    block = np.cumsum(fresh.ravel()) - 1
    sums = np.bincount(block, values.ravel())
    return np.asarray((sums / np.bincount(block))[block].reshape(problems, draws))


def _squeeze(counts: Ints) -> Ints:
    """The same classes, sorted by count, without columns that are empty everywhere."""
    ranked = -np.sort(-counts, axis=1)
    return ranked[:, : int((ranked > 0).sum(1).max(initial=0))]


def _choose(counts: Ints, most: int) -> Floats:
    """C(c, x) for the counts [P] and x = 0..most, [P, most + 1]."""
    x = np.arange(most)
    steps = np.maximum(counts[:, None] - x, 0) / (x + 1.0)
    return np.concatenate([np.ones((len(counts), 1)), np.cumprod(steps, axis=1)], axis=1)


def _times(ways: Floats, counts: Ints, t: int, axis: int) -> Floats:
    """Multiply by one class: fewer than t of it in the sample, or exactly t, which is one more class in the lead."""
    out = ways.copy()  # none of it
    choose = _choose(counts, t)
    for x in range(1, min(t, int(counts.max(initial=0))) + 1):
        moved = choose[:, x, None, None, None] * ways[..., : ways.shape[3] - x]
        if x < t:
            out[..., x:] += moved
        elif axis == 1:
            out[:, 1:, :, x:] += moved[:, :-1]
        else:
            out[:, :, 1:, x:] += moved[:, :, :-1]
    return out
