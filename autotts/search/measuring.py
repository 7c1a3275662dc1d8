"""From a gauge to a board: arms are screened on few orderings, and measured again on many where they may be chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from autotts.core.strategy import Strategy
from autotts.search.board import Board, undominated
from autotts.search.crossfit import Fold
from autotts.search.gauge import Gauge, Source
from autotts.search.grid import probed, probing
from autotts.strategies.arms import parse, show
from autotts.strategies.staged import Staged

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

Pair: TypeAlias = tuple[str, str] | None  # the two models of a staged vote; None for other arms
Tell: TypeAlias = Callable[[str, int, int], None]  # what is done, how much of it, of how much

SCREENED = 16  # orderings of the first look
REFINED = 96  # orderings of the second, others than those of the first
KEPT = 120  # arms that are measured again for each choice that is made
BANDS = 8  # of cost, on a log scale, that share them
SCOUTS = 40  # staged arms of each pair of models that say which pairs are worth more
FAVOURED = 3  # pairs of models that are worth more


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A board of arms that were measured well, and for each fold those that its own problems let through, [A] each."""

    board: Board
    allowed: tuple[Bools, ...]
    every: Bools  # for the choice on all problems
    screened: int


def measure(
    gauge: Gauge, arms: Sequence[Strategy], candidates: int, cuts: Sequence[Fold], seed: int, tell: Tell
) -> Measured:
    """Screen arms, and measure those again that may be chosen from some fold's problems.

    A value that was chosen for being high is too high by chance; the second look is by other orderings, so it is not.

    Parameters
    ----------
    arms
        Those on the grid.
    candidates
        Staged, probing arms that are drawn at random besides; of the pairs of models that a few scouts favour.
    """
    every = np.arange(len(gauge.problems))
    trains = [*(train for train, _ in cuts), every]
    arms, able = list(arms), probed(gauge) if candidates else []
    first = _screen(gauge, arms, seed, tell)
    masks = [np.ones(len(arms), bool) for _ in trains]
    if scouts := probing(able, SCOUTS * len(able), f"scouts/{seed}"):
        scouted = _screen(gauge, scouts, seed, tell)
        liked = [_favoured(scouted, first, train) for train in trains]
        wanted = set().union(*liked)
        # Each pair has a seed of its own: what one fold tries must not depend on the pairs that others favour.
        more: dict[Strategy, set[Pair]] = {}
        for pair in (p for p in able if _roles(p) in wanted):
            for arm in probing([pair], -(-candidates // FAVOURED), f"staged/{seed}/{_roles(pair)}"):
                more.setdefault(arm, set()).add(_roles(pair))
        fresh = [arm for arm in more if arm not in set(scouts)]
        of = [*({_pair(arm)} for arm in (*arms, *scouts)), *(more[arm] for arm in fresh)]
        first = joined([first, scouted, _screen(gauge, fresh, seed, tell)])
        arms = [*arms, *scouts, *fresh]
        masks = [np.array([bool(pairs & {None, *likes}) for pairs in of]) for likes in liked]
    kept = [shortlist(first, train, mask) for train, mask in zip(trains, masks, strict=True)]
    names = np.flatnonzero(np.any(kept, axis=0))
    second = [arms[i] for i in names]
    board = board_of(
        gauge, second, REFINED, seed + 1, lambda done: tell("measuring the best ones again", done, len(second))
    )
    return Measured(board, tuple(k[names] for k in kept[:-1]), kept[-1][names], len(arms))


def _screen(gauge: Gauge, arms: Sequence[Strategy], seed: int, tell: Tell) -> Board:
    words = "screening staged votes" if arms and _pair(arms[-1]) else "screening arms"
    return board_of(gauge, arms, SCREENED, seed, lambda done: tell(words, done, len(arms)))


def _roles(pair: tuple[Source, Source]) -> Pair:
    return pair[0].role, pair[1].role


def _pair(arm: Strategy) -> Pair:
    """The two models of a staged vote."""
    return (arm.small, arm.large) if isinstance(arm, Staged) else None


def _favoured(scouted: Board, first: Board, rows: NDArray[np.int64]) -> set[tuple[str, str]]:
    """The pairs of models whose scouts have the best frontiers, by the mean over budgets on a log scale."""
    names = [_pair(parse(arm)) for arm in scouted.arms]
    value, cost = scouted.value[:, rows].mean(1), scouted.cost[:, rows].mean(1)
    single = first.of(frozenset({"one"}))
    low, high = float(first.cost[single][:, rows].mean(1).min()), float(cost.max())
    budgets = np.geomspace(low, high, 12)
    score: dict[tuple[str, str], float] = {}
    for pair in sorted({name for name in names if name is not None}):
        of = np.array([name == pair for name in names])
        v = np.concatenate([value[of], first.value[single][:, rows].mean(1)])
        c = np.concatenate([cost[of], first.cost[single][:, rows].mean(1)])
        best = undominated(v, c)
        score[pair] = float(np.interp(budgets, c[best], v[best], left=0.0).mean())
    return set(sorted(score, key=lambda pair: -score[pair])[:FAVOURED])


def board_of(gauge: Gauge, arms: Sequence[Strategy], orders: int, seed: int, tell: Callable[[int], None]) -> Board:
    """What arms give on each problem."""
    shape = (len(arms), len(gauge.problems))
    value, cost, worst, path = (np.zeros(shape) for _ in range(4))
    for i, arm in enumerate(arms):
        found = gauge(arm, orders, seed)
        value[i], cost[i], worst[i], path[i] = found.value, found.cost, found.worst, found.sequential
        tell(i + 1)
    return Board(gauge.unit, gauge.problems, tuple(map(show, arms)), value, cost, worst, path)


def joined(boards: Sequence[Board]) -> Board:
    """The arms of several boards on the same problems."""
    arrays = (np.concatenate([getattr(b, name) for b in boards]) for name in ("value", "cost", "worst", "sequential"))
    return Board(boards[0].unit, boards[0].problems, tuple(arm for b in boards for arm in b.arms), *arrays)


def shortlist(board: Board, rows: NDArray[np.int64], mask: Bools) -> Bools:
    """The arms nearest to the frontier of some problems at every cost, and each strategy's own best ones."""
    value, cost = board.value[:, rows].mean(1), board.cost[:, rows].mean(1)
    open_ = np.flatnonzero(mask)
    kept = np.zeros(len(value), bool)
    best = open_[undominated(value[open_], cost[open_])]
    gap = np.interp(np.log(np.maximum(cost, 1e-9)), np.log(np.maximum(cost[best], 1e-9)), value[best]) - value
    # As many in each band of costs: most arms are cheap, and would leave few of the dear ones.
    span = np.log(np.maximum(cost[open_], 1e-9))
    band = np.clip(((span - span.min()) / max(float(np.ptp(span)), 1e-9) * BANDS).astype(int), 0, BANDS - 1)
    for b in range(BANDS):
        of = open_[band == b]
        kept[of[np.argsort(gap[of], kind="stable")[: KEPT // BANDS]]] = True
    for name in set(board.names):
        of = np.flatnonzero(board.of(frozenset({name})) & mask)
        kept[of[undominated(value[of], cost[of])]] = True
    return kept | board.of(frozenset({"one"}))
