"""What a strategy that chooses among whole draws is worth on recorded pools, without a model call.

Exact where a formula exists (`exact`); otherwise the strategy is replayed on random orderings of each problem's
draws, the same orderings for every strategy, so that differences between strategies have little noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from autotts.core.strategy import Strategy
from autotts.errors import InputError
from autotts.estimate import exact
from autotts.strategies.adaptive import Adaptive, surety
from autotts.strategies.arms import name_of, show
from autotts.strategies.best_of_n import BestOfN
from autotts.strategies.first_finish import FirstFinish
from autotts.strategies.one import One
from autotts.strategies.vote import Vote
from autotts.strategies.weighted_vote import WeightedVote

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

EXACT_VOTES = 16  # a vote over more draws is replayed: the exact sum takes time of order k^2 ln k


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """M exchangeable draws of each of P problems, of one model, temperature and top-p. Costs are in any one unit.

    Attributes
    ----------
    answers
        [P, M]: the class of equal answers that a draw belongs to, 0, 1, ..., numbered for each problem; -1 where
        nothing can be read.
    correct
        [P, M]: whether the draw's answer is right.
    prompt_cost
        [P]: of the first draw's prompt.
    cost, tokens
        [P, M]: of generating the draw. Of two draws of one problem the longer never costs less.
    text
        [P, M]: equal numbers mark equal texts of one problem.
    score, score_cost
        [P, M]: the draw's score (NaN where it failed) and the price of scoring its text after the prompt.
    score_prompt_cost
        [P]: what the first score costs more than others, for the prompt.
    next_cost
        [P]: of the prompt of each draw after the first (cached tokens, a call); None is nothing.
    """

    answers: Ints
    correct: Bools
    prompt_cost: Floats
    cost: Floats
    tokens: Ints
    text: Ints
    score: Floats | None = None
    score_prompt_cost: Floats | None = None
    score_cost: Floats | None = None
    next_cost: Floats | None = None

    @property
    def draws(self) -> int:
        """Draws of each problem, M."""
        return int(self.answers.shape[1])

    def begun(self, n: int) -> Floats:
        """What the prompts of n draws cost, [P]."""
        return self.prompt_cost + (0.0 if self.next_cost is None else (n - 1) * self.next_cost)


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """Of one arm on each problem, [P]: probability of a right answer, expected cost, dearest ordering replayed."""

    value: Floats
    cost: Floats
    worst: Floats


def estimate(pool: Pool, strategy: Strategy, *, seed: int = 0, orders: int = 64) -> Estimate:
    """What a pooled strategy gives on a pool of the draws that it chooses among.

    Parameters
    ----------
    seed, orders
        The random orderings of the draws; the same for every strategy with the same seed and number of draws.

    Raises
    ------
    InputError
        When the strategy needs more draws than the pool has, needs scores that it has not, or is not pooled.
    """
    if isinstance(strategy, One):
        return Estimate(pool.correct.mean(1), pool.prompt_cost + pool.cost.mean(1), pool.prompt_cost + pool.cost.max(1))
    if not isinstance(strategy, (Vote, WeightedVote, BestOfN, FirstFinish, Adaptive)):
        raise InputError(f"{name_of(strategy)} does more than choose among whole draws: it cannot be read off a pool")
    n = strategy.most if isinstance(strategy, Adaptive) else strategy.n
    if n > pool.draws:
        raise InputError(f"{show(strategy)} takes {n} draws of each problem, and the pool has {pool.draws}")
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(pool.draws), (orders, 1)), axis=1)[:, :n]
    if isinstance(strategy, FirstFinish):
        return _first_finish(pool, order, strategy.k)
    if isinstance(strategy, Adaptive):
        return _adaptive(pool, order, strategy)
    if n == pool.draws:
        order = order[:1]  # all orderings hold the same draws
    drawn = pool.begun(n)
    cost = drawn + n * pool.cost.mean(1)
    worst = drawn[:, None] + pool.cost[:, order].sum(2)
    if isinstance(strategy, Vote):
        return Estimate(_vote(pool, order), cost, worst.max(1))
    score, price, first = _scores(pool, strategy)
    readable = pool.answers >= 0
    price = np.where(readable, price, 0.0)
    some = 1.0 - exact.absent(pool.draws, n)[readable.sum(1)]
    cost = cost + exact.distinct_at_k(price, pool.text, n) + some * first
    worst = worst + (price[:, order] * _fresh(pool.text[:, order])).sum(2)
    worst = worst + first[:, None] * readable[:, order].any(2)
    if isinstance(strategy, BestOfN):
        lowest = np.finfo(np.float64).min
        rank = np.where(readable, np.where(np.isnan(score), lowest, score), -np.inf)
        return Estimate(exact.best_of_k(rank, pool.correct.astype(np.float64), n), cost, worst.max(1))
    return Estimate(_weighted(pool, order, score), cost, worst.max(1))


def _scores(pool: Pool, strategy: Strategy) -> tuple[Floats, Floats, Floats]:
    if pool.score is None or pool.score_cost is None or pool.score_prompt_cost is None:
        raise InputError(f"{show(strategy)} needs scores, and the draws of this pool have none")
    return pool.score, pool.score_cost, pool.score_prompt_cost


def _vote(pool: Pool, order: Ints) -> Floats:
    counts = _tally(pool.answers[:, None, :])[:, 0]
    n = order.shape[1]
    if n <= EXACT_VOTES:
        mute = pool.draws - counts.sum(1)
        return exact.majority_at_k(counts.astype(np.int64), _right(pool) > 0, mute.astype(np.int64), n)
    return _won(_tally(pool.answers[:, order]), _right(pool))


def _weighted(pool: Pool, order: Ints, score: Floats) -> Floats:
    """Ties of weight go to the more frequent answer; draws without a score vote only where none has one."""
    answers, marks = pool.answers[:, order], score[:, order]
    marked = (answers >= 0) & ~np.isnan(marks)
    some = marked.any(2, keepdims=True)
    voters = np.where(marked | ~some, answers, -1)
    weight = _tally(voters, np.where(some, np.maximum(np.where(marked, marks, 0.0), 0.0), 1.0), pool.answers)
    counts = _tally(voters, None, pool.answers)
    heaviest = weight == weight.max(2, keepdims=True)
    return _won(np.where(heaviest, counts, 0.0), _right(pool))


def _first_finish(pool: Pool, order: Ints, k: int) -> Estimate:
    """Stopped at the k-th readable end; ties of the vote go to the first to end."""
    n = order.shape[1]
    arrive = np.argsort(pool.tokens[:, order], axis=2, kind="stable")
    answers = np.take_along_axis(pool.answers[:, order], arrive, 2)
    right = np.take_along_axis(pool.correct[:, order], arrive, 2)
    price = np.take_along_axis(pool.cost[:, order], arrive, 2)
    seen = np.cumsum(answers >= 0, axis=2)
    last = np.where(seen[..., -1] >= k, (seen < k).sum(2), n - 1)[..., None]
    made = np.minimum(price, np.take_along_axis(price, last, 2)).sum(2)
    drawn = pool.begun(n)
    worst = drawn + made.max(1)
    if k == 1:
        rank = np.where(pool.answers >= 0, -pool.tokens.astype(np.float64), -np.inf)
        value = exact.best_of_k(rank, pool.correct.astype(np.float64), n)
        return Estimate(value, drawn + exact.first_finish(pool.cost, pool.answers >= 0, n), worst)
    voters = np.where((seen <= k) & (answers >= 0), answers, -1)
    return Estimate(_earliest(voters, right), drawn + made.mean(1), worst)


def _earliest(voters: Ints, right: Bools) -> Floats:
    """The share of orderings whose most frequent answer, the earliest of those that tie, is right; [P, R, n]."""
    counts = _tally(voters)
    own = np.take_along_axis(counts, np.maximum(voters, 0), 2) * (voters >= 0)
    best = own.argmax(2)[..., None]  # the first of the maxima
    return np.asarray((np.take_along_axis(right, best, 2) & (np.take_along_axis(voters, best, 2) >= 0)).mean((1, 2)))


def _adaptive(pool: Pool, order: Ints, strategy: Adaptive) -> Estimate:
    """The counts of the first two answers, draw by draw, until they are sure; then as a vote."""
    most, width = order.shape[1], int(pool.answers.max(initial=0)) + 1
    sure = _sure(most, strategy.threshold)
    answers = pool.answers[:, order].reshape(-1, most)
    price = pool.cost[:, order].reshape(-1, most)
    counts = np.zeros((len(answers), width + 1), np.int64)  # the last column is for what cannot be read
    taken, made = np.full(len(answers), most), np.zeros(len(answers))
    going = np.arange(len(answers))  # orderings that have not stopped, and of each of them:
    first, second, leader = np.zeros_like(going), np.zeros_like(going), np.full_like(going, -1)
    for i in range(most):
        answer = answers[going, i]
        made[going] += price[going, i]
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
    shape = (len(pool.answers), len(order))
    value = _won(counts[:, :width].reshape(*shape, width).astype(np.float64), _right(pool))
    cost = pool.prompt_cost[:, None] + made.reshape(shape)
    if pool.next_cost is not None:
        cost = cost + (taken.reshape(shape) - 1) * pool.next_cost[:, None]
    return Estimate(value, cost.mean(1), cost.max(1))


@cache
def _sure(most: int, threshold: float) -> Bools:
    """Whether a first and b second votes are sure enough to stop, [a, b]."""
    return np.array(
        [[b <= a and surety(a, b) >= threshold for b in range(most + 1)] for a in range(most + 1)]  # exact fractions
    )


def _tally(answers: Ints, weights: Floats | None = None, of: Ints | None = None) -> Floats:
    """The votes for each class, [P, R, A], of answers [P, R, n]; A is the number of classes in `of`."""
    problems, orders, _ = answers.shape
    width = int((answers if of is None else of).max(initial=0)) + 1
    row = np.arange(problems * orders).reshape(problems, orders, 1) * (width + 1)
    cell = row + np.where(answers < 0, width, answers)
    flat = None if weights is None else np.broadcast_to(weights, answers.shape).ravel()
    votes = np.bincount(cell.ravel(), flat, minlength=problems * orders * (width + 1))
    return votes.reshape(problems, orders, width + 1)[..., :width].astype(np.float64)


def _right(pool: Pool) -> Floats:
    """Whether each class of answers is right, [P, A] (the share of its draws, should a grader contradict itself)."""
    counts = _tally(pool.answers[:, None, :])[:, 0]
    right = _tally(pool.answers[:, None, :], pool.correct[:, None, :].astype(np.float64))[:, 0]
    return np.divide(right, counts, out=np.zeros_like(right), where=counts > 0)


def _won(votes: Floats, right: Floats) -> Floats:
    """The probability that the class with the most votes is right, ties at random, over orderings, [P]."""
    top = (votes == votes.max(2, keepdims=True)) & (votes > 0)
    return np.asarray((np.einsum("pra,pa->pr", top, right) / np.maximum(top.sum(2), 1)).mean(1))


def _fresh(texts: Ints) -> Bools:
    """Whether no earlier draw has the same text, [P, R, n]."""
    problems, orders, n = texts.shape
    seen = np.zeros((problems * orders, int(texts.max(initial=0)) + 1), bool)
    at = np.arange(problems * orders)
    out = np.empty((problems * orders, n), bool)
    for i, text in enumerate(texts.reshape(-1, n).T):
        out[:, i] = ~seen[at, text]
        seen[at, text] = True
    return out.reshape(texts.shape)
