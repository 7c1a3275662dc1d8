"""Counting votes on arrays of orderings: who leads, and whether the leader is right.

Shapes: P problems, R orderings of their draws, n draws of an ordering, A classes of equal answers (-1: unreadable).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def tally(answers: Ints, weights: Floats | None = None, of: Ints | None = None) -> Floats:
    """The votes for each class, [P, R, A], of answers [P, R, n]; A is the number of classes in `of`."""
    problems, orders, _ = answers.shape
    width = int((answers if of is None else of).max(initial=0)) + 1
    row = np.arange(problems * orders).reshape(problems, orders, 1) * (width + 1)
    cell = row + np.where(answers < 0, width, answers)
    flat = None if weights is None else np.broadcast_to(weights, answers.shape).ravel()
    votes = np.bincount(cell.ravel(), flat, minlength=problems * orders * (width + 1))
    return votes.reshape(problems, orders, width + 1)[..., :width].astype(np.float64)


def counted(answers: Ints) -> Ints:
    """The draws of each class, [P, A], of answers [P, M]."""
    return tally(answers[:, None, :])[:, 0].astype(np.int64)


def right_share(answers: Ints, correct: Bools) -> Floats:
    """Whether each class is right, [P, A]: the share of its draws, should labels contradict each other."""
    counts = tally(answers[:, None, :])[:, 0]
    right = tally(answers[:, None, :], correct[:, None, :].astype(np.float64))[:, 0]
    return np.divide(right, counts, out=np.zeros_like(right), where=counts > 0)


def won(votes: Floats, right: Floats) -> Floats:
    """The probability that the class with the most votes is right, ties at random, over orderings, [P]."""
    top = (votes == votes.max(2, keepdims=True)) & (votes > 0)
    return np.asarray((np.einsum("pra,pa->pr", top, right) / np.maximum(top.sum(2), 1)).mean(1))


def earliest(voters: Ints, right: Bools, votes: Floats) -> Bools:
    """Whether the draw that answers is right, [P, R]: the first one of the class with the most votes.

    Parameters
    ----------
    voters, right
        The draws in their order, [P, R, n]; of classes that tie, the first seen answers.
    votes
        [P, R, A].
    """
    own = np.take_along_axis(votes, np.maximum(voters, 0), 2) * (voters >= 0)
    best = own.argmax(2)[..., None]  # the first of the maxima
    return np.asarray((np.take_along_axis(right, best, 2) & (np.take_along_axis(voters, best, 2) >= 0))[..., 0])


def fresh(texts: Ints) -> Bools:
    """Whether no earlier draw has the same text, [P, R, n]."""
    problems, orders, n = texts.shape
    seen = np.zeros((problems * orders, int(texts.max(initial=0)) + 1), bool)
    at = np.arange(problems * orders)
    out = np.empty((problems * orders, n), bool)
    for i, text in enumerate(texts.reshape(-1, n).T):
        out[:, i] = ~seen[at, text]
        seen[at, text] = True
    return out.reshape(texts.shape)


def dense(answers: Ints) -> Ints:
    """The same classes numbered 0, 1, ... in each problem, [P, M]; whatever numbers they had."""
    out = np.full_like(answers, -1)
    for row, into in zip(answers, out):
        seen = row >= 0
        into[seen] = np.unique(row[seen], return_inverse=True)[1]
    return out
