"""What a strategy that chooses among whole draws is worth on recorded pools, without a model call.

Exact where a formula exists (`curves`); otherwise the strategy is replayed on random orderings of each problem's
draws, the same orderings for every strategy, so that differences between strategies have little noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autotts.core.strategy import Strategy
from autotts.errors import InputError
from autotts.estimate import ballots, curves, exact
from autotts.estimate.stops import adaptive_stops, esc_stops, rounds_of
from autotts.strategies.adaptive import Adaptive
from autotts.strategies.arms import name_of, show
from autotts.strategies.best_of_n import BestOfN
from autotts.strategies.esc import Esc
from autotts.strategies.first_finish import FirstFinish
from autotts.strategies.one import One
from autotts.strategies.vote import Vote
from autotts.strategies.weighted_vote import WeightedVote

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


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
        [P, M]: of generating the draw. Of two draws of one problem the longer never costs less. -1 tokens: not known.
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
    """Of one arm on each problem.

    Attributes
    ----------
    value, cost
        [P]: the probability of a right answer, and the expected cost.
    worst
        [P]: the cost of the dearest ordering that was replayed.
    sequential
        [P]: the expected tokens that are generated one after another, along the longest chain (the longest draw of a
        vote, the sum over rounds of an adaptive one); scoring is not counted. NaN where tokens are not known.
    costs
        [P, R]: the cost of each ordering that was replayed, for percentiles over prompts and orderings.
    """

    value: Floats
    cost: Floats
    worst: Floats
    sequential: Floats
    costs: Floats


def estimate(pool: Pool, strategy: Strategy, *, seed: int = 0, orders: int = 64) -> Estimate:
    """What a pooled strategy gives on a pool of the draws that it chooses among.

    Parameters
    ----------
    seed, orders
        The random orderings of the draws; the same for every strategy with the same seed and number of draws.

    Raises
    ------
    InputError
        When the strategy needs more draws than the pool has, needs scores or tokens that it has not, or is not pooled.
    """
    if not isinstance(strategy, (One, Vote, WeightedVote, BestOfN, FirstFinish, Adaptive, Esc)):
        raise InputError(f"{name_of(strategy)} does more than choose among whole draws: it cannot be read off a pool")
    n = 1 if isinstance(strategy, One) else strategy.most if isinstance(strategy, (Adaptive, Esc)) else strategy.n
    if n > pool.draws:
        raise InputError(f"{show(strategy)} takes {n} draws of each problem, and the pool has {pool.draws}")
    if pool.answers.max(initial=-1) >= pool.draws:  # classes are columns of arrays
        pool = replace(pool, answers=ballots.dense(pool.answers))
    if isinstance(strategy, One):
        made = pool.prompt_cost[:, None] + pool.cost
        return told(pool.correct.mean(1), made.mean(1), known(pool, pool.tokens.mean(1)), made)
    order = orderings(pool.draws, orders, seed)[:, :n]
    if isinstance(strategy, FirstFinish):
        return _first_finish(pool, order, strategy)
    if isinstance(strategy, (Adaptive, Esc)):
        return _in_rounds(pool, order, strategy)
    return _side_by_side(pool, order, strategy)


def orderings(draws: int, orders: int, seed: int) -> Ints:
    """Random orderings of a problem's draws, [R, M]; the same for all problems."""
    return np.random.default_rng(seed).permuted(np.tile(np.arange(draws), (orders, 1)), axis=1)


def known(pool: Pool, tokens: Floats) -> Floats:
    """A figure that follows from tokens, [P]; NaN for problems with a draw whose tokens are not known."""
    return np.where((pool.tokens < 0).any(1), np.nan, tokens)


def told(value: Floats, cost: Floats, sequential: Floats, costs: Floats) -> Estimate:
    """An estimate whose worst cost is that of its dearest ordering."""
    return Estimate(value, cost, costs.max(1), sequential, costs)


def _side_by_side(pool: Pool, order: Ints, strategy: Vote | WeightedVote | BestOfN) -> Estimate:
    """All draws are made whatever they say."""
    n = order.shape[1]
    if n == pool.draws:
        order = order[:1]  # all orderings hold the same draws
    drawn = pool.begun(n)
    cost = drawn + n * pool.cost.mean(1)
    costs = drawn[:, None] + pool.cost[:, order].sum(2)
    wait = known(pool, exact.longest_of_k(pool.tokens.astype(np.float64), n))
    if isinstance(strategy, Vote):
        return told(_vote(pool, order), cost, wait, costs)
    score, price, first = _scores(pool, strategy)
    readable = pool.answers >= 0
    price = np.where(readable, price, 0.0)
    some = 1.0 - exact.absent(pool.draws, n)[readable.sum(1)]
    cost = cost + exact.distinct_at_k(price, pool.text, n) + some * first
    costs = costs + (price[:, order] * ballots.fresh(pool.text[:, order])).sum(2)
    costs = costs + first[:, None] * readable[:, order].any(2)
    if isinstance(strategy, BestOfN):
        lowest = np.finfo(np.float64).min
        rank = np.where(readable, np.where(np.isnan(score), lowest, score), -np.inf)
        return told(exact.best_of_k(rank, pool.correct.astype(np.float64), n), cost, wait, costs)
    return told(_weighted(pool, order, score), cost, wait, costs)


def _scores(pool: Pool, strategy: Strategy) -> tuple[Floats, Floats, Floats]:
    if pool.score is None or pool.score_cost is None or pool.score_prompt_cost is None:
        raise InputError(f"{show(strategy)} needs scores, and the draws of this pool have none")
    return pool.score, pool.score_cost, pool.score_prompt_cost


def _vote(pool: Pool, order: Ints) -> Floats:
    """Exact for any number of draws of a pool of about 1,000 or fewer, and of larger ones for few draws."""
    right, n = ballots.right_share(pool.answers, pool.correct), order.shape[1]
    if not curves.countable(pool.draws, n):
        return ballots.won(ballots.tally(pool.answers[:, order]), right)
    return exact.majority_at_k(ballots.counted(pool.answers), right, (pool.answers < 0).sum(1), n)


def _weighted(pool: Pool, order: Ints, score: Floats) -> Floats:
    """Ties of weight go to the more frequent answer; draws without a score vote only where none has one."""
    answers, marks = pool.answers[:, order], score[:, order]
    marked = (answers >= 0) & ~np.isnan(marks)
    some = marked.any(2, keepdims=True)
    voters = np.where(marked | ~some, answers, -1)
    weights = np.where(some, np.maximum(np.where(marked, marks, 0.0), 0.0), 1.0)
    weight = ballots.tally(voters, weights, pool.answers)
    counts = ballots.tally(voters, None, pool.answers)
    heaviest = weight == weight.max(2, keepdims=True)
    return ballots.won(np.where(heaviest, counts, 0.0), ballots.right_share(pool.answers, pool.correct))


def _first_finish(pool: Pool, order: Ints, strategy: FirstFinish) -> Estimate:
    """Stopped at the k-th readable end; ties of the vote go to the first to end."""
    if (pool.tokens < 0).any():
        raise InputError(f"{show(strategy)} needs the tokens of each draw, and some of this pool are not known")
    n, k = order.shape[1], strategy.k
    tokens = pool.tokens[:, order]
    arrive = np.argsort(tokens, axis=2, kind="stable")
    answers = np.take_along_axis(pool.answers[:, order], arrive, 2)
    price = np.take_along_axis(pool.cost[:, order], arrive, 2)
    seen = np.cumsum(answers >= 0, axis=2)
    last = np.where(seen[..., -1] >= k, (seen < k).sum(2), n - 1)[..., None]
    made = np.minimum(price, np.take_along_axis(price, last, 2)).sum(2)
    drawn = pool.begun(n)
    costs = drawn[:, None] + made
    if k == 1:
        correct = pool.correct.astype(np.float64)
        got = curves.first_finish_curve(
            pool.tokens.astype(np.float64), pool.answers >= 0, [n], value=correct, price=pool.cost
        )
        return told(got.value[:, 0], drawn + got.total[:, 0], got.sequential[:, 0], costs)
    right = np.take_along_axis(pool.correct[:, order], arrive, 2)
    wait = np.take_along_axis(np.take_along_axis(tokens, arrive, 2), last, 2)[..., 0].mean(1)
    voters = np.where((seen <= k) & (answers >= 0), answers, -1)
    value = ballots.earliest(voters, right, ballots.tally(voters)).mean(1)
    return told(value, costs.mean(1), wait, costs)


def _in_rounds(pool: Pool, order: Ints, strategy: Adaptive | Esc) -> Estimate:
    """Rounds of draws until the strategy's rule stops them; then a vote."""
    problems, (orders, most) = len(pool.answers), order.shape
    answers = pool.answers[:, order]
    flat = answers.reshape(-1, most)
    if isinstance(strategy, Adaptive):
        taken, batch = adaptive_stops(flat, strategy), strategy.batch
    else:
        taken, batch = esc_stops(flat, strategy), strategy.window
    made, _ = rounds_of(taken, pool.cost[:, order].reshape(-1, most), batch)
    _, wait = rounds_of(taken, pool.tokens[:, order].reshape(-1, most).astype(np.float64), batch)
    voters = np.where((np.arange(most) < taken[:, None]).reshape(answers.shape), answers, -1)
    votes = ballots.tally(voters, of=pool.answers)
    if isinstance(strategy, Adaptive):  # its rule is blind to which answer is which: of a tie, either is the first seen
        value = ballots.won(votes, ballots.right_share(pool.answers, pool.correct))
    else:  # a unanimous window came last: of a tie, its answer is more rarely the first seen
        value = ballots.earliest(voters, pool.correct[:, order], votes).mean(1)
    costs = pool.prompt_cost[:, None] + made.reshape(problems, orders)
    if pool.next_cost is not None:
        costs = costs + (taken.reshape(problems, orders) - 1) * pool.next_cost[:, None]
    sequential = known(pool, wait.reshape(problems, orders).mean(1))
    return told(value, costs.mean(1), sequential, costs)
