"""What a cascade of two models' whole draws is worth on recorded pools, without a model call."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from autotts.errors import InputError
from autotts.estimate import ballots
from autotts.estimate.replayed import Estimate, Pool, known, orderings, told
from autotts.strategies.arms import show
from autotts.strategies.cascade import Cascade

Ints = NDArray[np.int64]


def cascade(first: Pool, second: Pool, strategy: Cascade, *, seed: int = 0, orders: int = 64) -> Estimate:
    """What a cascade gives on the draws of its two models.

    Parameters
    ----------
    first, second
        The pools of the small and of the large model: of the same problems, in the same order, with answers numbered
        alike and costs in one unit. The same object twice: the second stage goes on with draws that are left.
    seed, orders
        The random orderings of the draws, as in `replayed.estimate`.

    Raises
    ------
    InputError
        When it takes more draws than were recorded.
    """
    n, m, alike = strategy.n, strategy.m, first is second
    if n > first.draws or m + n * alike > second.draws:
        raise InputError(
            f"{show(strategy)} takes {n} and {m} draws of each problem, and the pools have {first.draws} and "
            f"{second.draws}{' (the same ones)' if alike else ''}"
        )
    if len(first.answers) != len(second.answers):
        raise ValueError(f"expected pools of the same problems, found {len(first.answers)} and {len(second.answers)}")
    first, second = _numbered(first, second)
    early = orderings(first.draws, orders, seed)[:, :n]
    late = orderings(second.draws, orders, seed)
    late = late[:, n : n + m] if alike else late[:, :m]
    voters = np.concatenate([first.answers[:, early], second.answers[:, late]], axis=2)
    counts = ballots.tally(voters[..., :n], of=voters)
    asked = ~(counts.max(2) / n >= strategy.sure)
    votes = counts + strategy.weight * np.where(asked[..., None], ballots.tally(voters[..., n:], of=voters), 0.0)
    voters[..., n:][~asked] = -1
    right = np.concatenate([first.correct[:, early], second.correct[:, late]], axis=2)
    value = ballots.earliest(voters, right, votes).mean(1)
    again = second.begun(m + 1) - second.prompt_cost if alike else second.begun(m)  # the prompt is paid once
    costs = first.begun(n)[:, None] + first.cost[:, early].sum(2)
    costs = costs + asked * (again[:, None] + second.cost[:, late].sum(2))
    wait = first.tokens[:, early].max(2) + asked * second.tokens[:, late].max(2)
    sequential = known(first, known(second, wait.mean(1)))
    return told(value, costs.mean(1), sequential, costs)


def _numbered(first: Pool, second: Pool) -> tuple[Pool, Pool]:
    """The same pools, whose answers have small numbers: classes are columns of arrays."""
    both = np.concatenate([first.answers, second.answers], axis=1)
    if both.max(initial=-1) < both.shape[1]:
        return first, second
    both = ballots.dense(both)
    return replace(first, answers=both[:, : first.draws]), replace(second, answers=both[:, first.draws :])
