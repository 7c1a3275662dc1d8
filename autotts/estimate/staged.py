"""What staged, probing votes give on recorded draws with probes; all orderings of all problems at once.

Draws that march side by side do not depend on each other until their stage ends, so the votes at every step are
computed first, and the step at which the stage ends is looked up. Equal to the plan of `strategies.staged`, ask by ask.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from autotts.errors import InputError
from autotts.estimate.replayed import Estimate, orderings
from autotts.strategies.staged import Staged

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

CELLS = 3_000_000  # problems x orderings x draws x steps that are held at once


@dataclass(frozen=True, slots=True, eq=False)
class Probed:
    """M recorded draws of each of P problems, of one family, with the answers read off them on the way.

    Attributes
    ----------
    answer
        [P, M]: the answer at the end, numbered alike in all families; -1 where nothing can be read.
    tokens
        [P, M]
    probe
        [P, M, S]: the answer after every, 2 every, ... tokens; -1 where nothing can be read, or after the end.
    every
        Tokens between two recorded probes.
    price
        Of a generated token.
    prompt_cost
        [P]: of the prompt, paid once.
    probe_tokens
        What a probe generates.
    """

    answer: Ints
    tokens: Ints
    probe: Ints
    every: int
    price: float
    prompt_cost: Floats
    probe_tokens: int = 0
    _marches: dict[int, March] = field(default_factory=dict, repr=False)

    def march(self, chunk: int) -> March:
        """The state of each draw after each chunk."""
        if chunk % self.every:
            raise InputError(
                f"chunk: expected a multiple of {self.every} tokens, where probes were recorded, found {chunk}"
            )
        if chunk not in self._marches:
            self._marches[chunk] = _march(self, chunk)
        return self._marches[chunk]


@dataclass(frozen=True, slots=True, eq=False)
class March:
    """Draws chunk by chunk, [P, M, T]: the answer at hand, whether the draw has ended, equal probes in a row."""

    answer: NDArray[np.int16]
    ended: Bools
    stable: NDArray[np.int16]


def _march(of: Probed, chunk: int) -> March:
    steps = int(-(-of.tokens.max(initial=1) // chunk))
    at = (np.arange(1, steps + 1) * (chunk // of.every)) - 1
    ended = of.tokens[:, :, None] <= np.arange(1, steps + 1) * chunk
    inside = at < of.probe.shape[2]
    probe = np.full((*of.tokens.shape, steps), -1, np.int16)
    probe[:, :, inside] = of.probe[:, :, at[inside]]
    stable = np.zeros(probe.shape, np.int16)
    stable[:, :, 0] = probe[:, :, 0] >= 0
    for t in range(1, steps):
        same = (probe[:, :, t] >= 0) & (probe[:, :, t] == probe[:, :, t - 1])
        stable[:, :, t] = np.where(same, stable[:, :, t - 1] + 1, probe[:, :, t] >= 0)
    answer = np.where(ended, of.answer[:, :, None], probe).astype(np.int16)
    return March(answer, ended, stable)


@dataclass(frozen=True, slots=True, eq=False)
class _Votes:
    """What each draw says and weighs when its stage has ended, [P, R, n]."""

    answer: NDArray[np.int16]
    weight: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Ended:
    """A stage that has ended: votes, cost [P, R], tokens on the critical path [P, R]."""

    votes: _Votes
    cost: Floats
    path: Floats


def staged(
    small: Probed, large: Probed, right: Bools, strategy: Staged, *, seed: int = 0, orders: int = 64
) -> Estimate:
    """What a staged vote gives on recorded draws.

    Parameters
    ----------
    small, large
        Draws of the two models on the same problems; the same object where the models are the same.
    right
        [P, A]: whether an answer of a problem is right, by its number.
    seed, orders
        The random orderings of the draws, as in `replayed.estimate`.

    Raises
    ------
    InputError
        When it takes more draws than were recorded, or probes at other places.
    """
    drawn = small.tokens.shape[1]
    n, m = strategy.n, strategy.m * strategy.rounds
    alike = small is large
    if n > drawn or m + (n if alike else 0) > large.tokens.shape[1]:
        raise InputError(f"staged takes up to {n} and {m} draws of each problem, more than the pool has ({drawn})")
    first = orderings(drawn, orders, seed)[:, :n]
    second = orderings(large.tokens.shape[1], orders, seed)
    second = second[:, n : n + m] if alike else second[:, :m]
    steps = max(small.march(strategy.chunk).answer.shape[2], large.march(strategy.chunk).answer.shape[2])
    block = max(1, CELLS // (orders * (n + m) * steps))
    parts = [
        _block(small, large, right, strategy, (first, second), slice(at, at + block))
        for at in range(0, len(right), block)
    ]
    value, cost, path = (np.concatenate([part[i] for part in parts]) for i in range(3))
    return Estimate(value.mean(1), cost.mean(1), cost.max(1), path.mean(1), cost)


def _block(
    small: Probed, large: Probed, right: Bools, strategy: Staged, order: tuple[Ints, Ints], rows: slice
) -> tuple[Floats, Floats, Floats]:
    """Value, cost and critical path of some problems, [P, R] each."""
    one = _stage(small, strategy, order[0], rows, (1.0, strategy.sure), None)
    top, second, best = _lead(one.votes.answer, one.votes.weight)
    cost, path, votes = one.cost + small.prompt_cost[rows, None], one.path, one.votes
    more, begun = (
        top - second < strategy.unsure,
        np.zeros_like(cost) if small is large else large.prompt_cost[rows, None],
    )
    for turn in range(strategy.rounds if strategy.m else 0):
        if not more.any():
            break
        drawn = order[1][:, turn * strategy.m : (turn + 1) * strategy.m]
        two = _stage(large, strategy, drawn, rows, (strategy.weight, strategy.settled), votes)
        cost, path = cost + np.where(more, two.cost + begun, 0.0), path + np.where(more, two.path, 0.0)
        begun = np.zeros_like(cost)
        # Where there was no further stage, its draws say nothing and weigh nothing.
        known = votes.answer.shape[2]
        answer, weight = two.votes.answer.copy(), two.votes.weight.copy()
        answer[..., known:] = np.where(more[..., None], answer[..., known:], -1)
        weight[..., known:] = np.where(more[..., None], weight[..., known:], 0.0)
        votes = _Votes(answer, weight)
        top, second, best = _lead(votes.answer, votes.weight)
        more &= top - second < strategy.unsure
    _, _, last = _lead(votes.answer, (votes.answer >= 0).astype(np.float64))
    chosen = np.where(top > 0, best, last)
    known = np.take_along_axis(right[rows], np.maximum(chosen, 0), 1) & (chosen >= 0)
    return known.astype(np.float64), cost, path


def _stage(
    of: Probed, strategy: Staged, order: Ints, rows: slice, rule: tuple[float, float], before: _Votes | None
) -> _Ended:
    """March until enough draws have ended and the lead is large enough, or all are over."""
    weight, sure = rule
    march, chunk = of.march(strategy.chunk), strategy.chunk
    steps = min(march.answer.shape[2], -(-strategy.limit // chunk))
    # [P, R, T, n]: the draws last, for the votes
    answer = np.moveaxis(march.answer[rows][:, order, :steps], 2, 3)
    ended = np.moveaxis(march.ended[rows][:, order, :steps], 2, 3)
    stable = np.moveaxis(march.stable[rows][:, order, :steps], 2, 3)
    mark = np.where(ended, weight, np.where(stable >= strategy.patience, strategy.weak * weight, 0.0))
    mark = np.where(answer >= 0, mark, 0.0).astype(np.float64)
    said: NDArray[np.int16] = answer
    if before is not None:
        shape = (*answer.shape[:3], before.answer.shape[2])
        said = np.concatenate([np.broadcast_to(before.answer[:, :, None], shape), answer], 3).astype(
            np.int16, copy=False
        )
        mark = np.concatenate([np.broadcast_to(before.weight[:, :, None], shape), mark], 3)
    top, second, _ = _lead(said, mark)
    enough = ((ended & (answer >= 0)).sum(3) >= strategy.need) & (top - second >= sure) | ended.all(3)
    enough[:, :, -1] = True
    stop = enough.argmax(2)  # [P, R]: the first step, from 0
    place = stop[:, :, None, None]
    votes = _Votes(
        np.take_along_axis(said, place, 2)[:, :, 0].astype(np.int16, copy=False),
        np.take_along_axis(mark, place, 2)[:, :, 0],
    )
    length = of.tokens[rows][:, order]  # [P, R, n]
    reached = ((stop + 1) * chunk)[..., None]
    made = np.minimum(length, reached).sum(2)
    path = np.minimum(length, reached).max(2).astype(np.float64)
    if of.probe_tokens:
        asked = np.minimum((length - 1) // chunk, stop[..., None] + 1)  # a draw that has ended is not probed
        made = made + of.probe_tokens * asked.sum(2)
        path = path + of.probe_tokens * asked.max(2)
    return _Ended(votes, made * of.price, path)


def _lead(answer: NDArray[np.int16], weight: Floats) -> tuple[Floats, Floats, Ints]:
    """Weight of the first and of the second answer, and the first one (the earliest of equals), over the last axis."""
    own = np.zeros(answer.shape, np.float64)
    for j in range(answer.shape[-1]):
        own += weight[..., j : j + 1] * (answer == answer[..., j : j + 1])
    own *= weight > 0
    at = own.argmax(-1)[..., None]
    best = np.take_along_axis(answer, at, -1)
    top = np.take_along_axis(own, at, -1)[..., 0]
    second = np.where(answer != best, own, 0.0).max(-1)
    return top, second, best[..., 0].astype(np.int64)
