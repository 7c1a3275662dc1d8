"""What votes of draws that are cut off give on recorded draws with probes: exact, as the vote of whole draws is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autotts.errors import InputError
from autotts.estimate.replayed import Estimate, Pool, estimate
from autotts.estimate.staged import Probed
from autotts.strategies.arms import show
from autotts.strategies.cut import Cut
from autotts.strategies.vote import Vote

Bools = NDArray[np.bool_]


def cut(of: Probed, right: Bools, strategy: Cut, *, seed: int = 0, orders: int = 64) -> Estimate:
    """What a vote of cut-off draws gives on the draws of its model.

    Parameters
    ----------
    right
        [P, A]: whether an answer of a problem is right, by its number.
    seed, orders
        The random orderings whose costs are told, as in `replayed.estimate`.

    Raises
    ------
    InputError
        When it takes more draws than were recorded, or cuts them off where no probe was recorded.
    """
    longest = int(of.tokens.max(initial=0))
    if strategy.limit < longest and strategy.limit % of.every:
        raise InputError(
            f"{show(strategy)}: limit expects a multiple of {of.every} tokens, where probes were recorded, or at least "
            f"{longest}, the longest draw; found {strategy.limit}"
        )
    return estimate(_cut_off(of, right, strategy.limit), Vote(n=strategy.n), seed=seed, orders=orders)


def _cut_off(of: Probed, right: Bools, limit: int) -> Pool:
    """The same draws as they stand at the limit, probed where they have not ended."""
    at = limit // of.every - 1
    said = of.probe[:, :, at] if 0 <= at < of.probe.shape[2] else np.full_like(of.answer, -1)
    ended = of.tokens <= limit
    answers = np.where(ended, of.answer, said)
    tokens = np.where(ended, of.tokens, limit + of.probe_tokens)
    return Pool(
        answers=answers,
        correct=np.take_along_axis(right, np.maximum(answers, 0), 1) & (answers >= 0),
        prompt_cost=of.prompt_cost,
        cost=tokens * of.price,
        tokens=tokens,
        text=np.tile(np.arange(answers.shape[1]), (len(answers), 1)),
    )
