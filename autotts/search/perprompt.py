"""Recorded prompts routed one by one: what arms do is learned on some problems, priced out of fold, used on others."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from autotts.policy.perprompt import best
from autotts.predict.learning import fit_held_out
from autotts.predict.performance import Performance
from autotts.search.board import CAUTION, Board, Curve, Line, solve
from autotts.search.crossfit import Fold

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MOST = 12  # arms that prompts are routed among
SETTINGS = 32  # multipliers, at most
GRID = 400  # multipliers that are looked at
TINY = 1e-9
ALIKE = 1e-9  # share of a cost that is a rounding error
KINDS = ("lowrank", "ngrams", "average")  # the others take longer, and one of these is ahead


@dataclass(frozen=True, slots=True, eq=False)
class Router:
    """A learned performance of K arms, and what it foretold out of fold of the problems that it was learned on.

    Attributes
    ----------
    arms, rows
        [K] and [N]: their places on the board.
    value, cost
        [N, K]: out of fold.
    """

    performance: Performance
    arms: Ints
    rows: Ints
    value: Floats
    cost: Floats

    @property
    def able(self) -> bool:
        """Whether it tells prompts apart."""
        return self.performance.kind != "constant"

    def held(self, multipliers: Floats, places: Ints) -> Ints:
        """Arms of the board for some of the problems learned on, [V, n], as foretold out of fold."""
        return self._arms(self.value[places], self.cost[places], multipliers)

    def fresh(self, board: Board, multipliers: Floats, rows: Ints) -> Ints:
        """Arms of the board for other problems, [V, n]."""
        table = self.performance.table([board.problems[i].prompt for i in rows])
        return self._arms(table.value, table.cost, multipliers)

    def _arms(self, value: Floats, cost: Floats, multipliers: Floats) -> Ints:
        return self.arms[np.stack([best(value, cost, float(m)) for m in multipliers])]


@dataclass(frozen=True, slots=True, eq=False)
class Dial:
    """Multipliers, [V] descending, and the mean cost of each out of fold, ascending."""

    multipliers: Floats
    nominal: Floats


def learn(board: Board, allowed: Bools, rows: Ints, seed: int) -> Router:
    """Learn what a few of the arms do from some problems' prompts."""
    arms = shortlist(board, allowed, rows)
    value, cost = (of[np.ix_(arms, rows)].T for of in (board.value, board.cost))
    value = np.clip(value, 0.0, 1.0)  # exact estimates are off by a rounding error
    prompts, names = [board.problems[i].prompt for i in rows], [board.arms[a] for a in arms]
    found = fit_held_out(prompts, names, value, cost, seed=seed, kinds=KINDS)
    return Router(found[0], arms, rows, *found[1:])


def shortlist(board: Board, allowed: Bools, rows: Ints) -> Ints:
    """Arms worth routing among: those of the frontier without bins, then the single draws nearest to it."""
    plain = solve(board, allowed, rows, np.ones((1, len(rows))), ["all"], caution=CAUTION)
    front = [board.index[route["all"]] for route in plain.routes]
    if len(front) > MOST:
        front = [front[i] for i in np.unique(np.linspace(0, len(front) - 1, MOST).round().astype(int))]
    value, cost = (x[:, rows].mean(1) for x in (board.value, board.cost))
    behind = np.interp(cost, plain.nominal, [float(value[board.index[r["all"]]]) for r in plain.routes]) - value
    single = np.flatnonzero(allowed & board.of(frozenset({"one"})))
    more = [a for a in single[np.argsort(behind[single], kind="stable")].tolist() if a not in front]
    return np.sort(np.array(front + more[: MOST - len(front)], np.int64))


def dial(board: Board, router: Router, places: Ints) -> Dial:
    """Multipliers whose mean cost and mean value ascend, as realised out of fold on some problems learned on."""
    value, cost, rows = router.value[places], router.cost[places], router.rows[places]
    grid = _prices(value, cost)
    arms = router.held(grid, places)
    spent, right = board.cost[arms, rows].mean(1), board.value[arms, rows].mean(1)
    kept: list[int] = []
    for i in range(len(grid)):
        # Surer is not enough: what costs more must be right more often as well.
        if not kept or (spent[i] > spent[kept[-1]] * (1 + 1e-9) and right[i] > right[kept].max()):
            kept.append(i)
    chosen = np.array(kept)
    if len(kept) > SETTINGS:
        way = _unit(np.log(np.maximum(spent[kept], TINY))) + _unit(right[kept])  # even in cost and in value
        chosen = chosen[np.unique(np.abs(way[:, None] - np.linspace(0, 2, SETTINGS)).argmin(0))]
    return Dial(grid[chosen], spent[chosen])


def _unit(ascending: Floats) -> Floats:
    return np.asarray((ascending - ascending[0]) / (ascending[-1] - ascending[0]))


def _prices(value: Floats, cost: Floats) -> Floats:
    """Multipliers at which prompts change their arms, descending: from the cheapest arms for all to the best ones."""
    slopes = []
    for a, b in combinations(range(value.shape[1]), 2):
        gain, more = value[:, a] - value[:, b], cost[:, a] - cost[:, b]
        use = (gain * more > 0) & (np.abs(more) > ALIKE * cost.max())
        slopes.append(gain[use] / more[use])
    found = np.concatenate(slopes) if slopes else np.zeros(0)
    if not len(found):
        return np.zeros(1)
    return np.concatenate([[2 * found.max()], np.quantile(found, np.linspace(1, 0, GRID)), [0.0]])


def line(board: Board, router: Router, rows: Ints) -> Line:
    """Priced on all problems learned on, and used on others."""
    found = dial(board, router, np.arange(len(router.rows)))
    return Line(rows, found.nominal, router.fresh(board, found.multipliers, rows))


def rehearsed(board: Board, router: Router, cuts: list[Fold]) -> Curve:
    """The curve on the problems learned on, as foretold out of fold; priced on some of them and used on others.

    Places of `cuts` are those among the router's problems, which the curve's board has alone.
    """
    lines = []
    for train, test in cuts:
        found = dial(board, router, train)
        lines.append(Line(test, found.nominal, router.held(found.multipliers, test)))
    return Curve(board.part(router.rows), tuple(lines))
