"""When votes that draw in rounds stop, on orderings of recorded draws: the strategies' own rules, vectorised.

Shapes: N orderings of n draws. Answers are classes of equal answers, -1 where nothing can be read.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from autotts.strategies.adaptive import Adaptive, surety
from autotts.strategies.esc import Esc

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def adaptive_stops(answers: Ints, strategy: Adaptive) -> Ints:
    """The draws that adaptive consistency takes of each ordering, [N]; answers [N, n]."""
    number, most = answers.shape
    sure = _sure(most, strategy.threshold)
    counts = np.zeros((number, int(answers.max(initial=0)) + 2), np.int64)  # the last column: what cannot be read
    taken = np.full(number, most)
    going = np.arange(number)  # orderings that have not stopped, and of each of them:
    first, second, leader = np.zeros_like(going), np.zeros_like(going), np.full_like(going, -1)
    for i in range(most):
        answer = answers[going, i]
        counts[going, answer] += 1
        own = np.where(answer >= 0, counts[going, answer], 0)
        passed = (own > first) & (answer != leader)
        other = np.where(answer != leader, np.minimum(own, first), 0)  # the leader that was passed, or the follower
        second, first = np.maximum(second, other), np.maximum(first, own)
        leader = np.where(passed, answer, leader)
        if (i + 1) % strategy.batch == 0:
            stop = (first > 0) & sure[first, second]
            taken[going[stop]] = i + 1
            going, first, second, leader = (x[~stop] for x in (going, first, second, leader))
            if not going.size:
                break
    return taken


def esc_stops(answers: Ints, strategy: Esc) -> Ints:
    """The draws that early-stopping self-consistency takes of each ordering, [N]; answers [N, n]."""
    number, most = answers.shape
    ends = np.arange(strategy.window, most + 1, strategy.window)
    windows = answers[:, : ends[-1]].reshape(number, len(ends), strategy.window)
    agree = (windows[..., 0] >= 0) & (windows == windows[..., :1]).all(2)
    return np.asarray(np.where(agree.any(1), ends[agree.argmax(1)], most))


def rounds_of(taken: Ints, each: Floats, batch: int) -> tuple[Floats, Floats]:
    """What the draws taken add up to, and the sum of the largest of each round, both [N].

    Parameters
    ----------
    taken
        Draws taken of each ordering, [N].
    each
        A number for each draw, in order, [N, n].
    batch
        Draws of a round, made side by side; the last round may be smaller.
    """
    number, most = each.shape
    padded = np.zeros((number, -(-most // batch) * batch))
    padded[:, :most] = np.where(np.arange(most) < taken[:, None], each, 0.0)
    return padded.sum(1), padded.reshape(number, -1, batch).max(2).sum(1)


@cache
def _sure(most: int, threshold: float) -> Bools:
    """Whether a first and b second votes are sure enough to stop, [a, b]."""
    return np.array(
        [[b <= a and surety(a, b) >= threshold for b in range(most + 1)] for a in range(most + 1)]  # exact fractions
    )
