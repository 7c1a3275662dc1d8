"""Arms by problems, all known: what a pool of recorded answers says of every arm, ready to be chosen from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from autotts.core.task import Problem
from autotts.policy.allocation import Frontier, Point, frontier
from autotts.strategies.arms import name_of, parse

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# These spend the same on every prompt that takes as many tokens; the others look at the prompt's own first draws.
FIXED = frozenset({"one", "vote", "weighted_vote", "best_of_n", "first_finish"})
PLAIN = frozenset({"one", "vote"})
CAUTION = 1.0  # standard errors: many arms are compared, and the luckiest one must not win


@dataclass(frozen=True, eq=False)
class Board:
    """What arms give on problems, [A, P]: chance of a right answer, mean and worst cost, tokens in sequence."""

    unit: str
    problems: Sequence[Problem]
    arms: tuple[str, ...]
    value: Floats
    cost: Floats
    worst: Floats
    sequential: Floats

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The strategy of each arm."""
        return tuple(name_of(parse(arm)) for arm in self.arms)

    @cached_property
    def index(self) -> dict[str, int]:
        """The row of each arm."""
        return {arm: i for i, arm in enumerate(self.arms)}

    def part(self, rows: Ints) -> Board:
        """The same for some of the problems."""
        arrays = (x[:, rows] for x in (self.value, self.cost, self.worst, self.sequential))
        return Board(self.unit, [self.problems[i] for i in rows], self.arms, *arrays)

    def within(self, cap: float | None) -> Bools:
        """The arms that never cost more than the cap, [A]."""
        return np.ones(len(self.arms), bool) if cap is None else np.asarray(self.worst.max(1) <= cap)

    def of(self, kinds: frozenset[str]) -> Bools:
        """The arms of some strategies, [A]."""
        return np.array([name in kinds for name in self.names])

    @cached_property
    def ease(self) -> Floats:
        """The pool's own pass rate of each problem: the mean over the models of one draw's chance, [P]."""
        single = np.flatnonzero(self.of(frozenset({"one"})))
        return np.asarray(self.value[single].mean(0))


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A frontier chosen on some problems and used on others.

    Attributes
    ----------
    rows
        [T]: the problems that it is used on.
    nominal
        [V]: mean cost of each vertex on the problems that it was chosen on, ascending.
    choice
        [V, T]: the arm of each problem at each vertex; budgets between two vertices mix them.
    """

    rows: Ints
    nominal: Floats
    choice: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """A frontier over bins, with what its vertices cost on the problems that it was chosen on."""

    frontier: Frontier
    nominal: Floats  # [V]
    routes: tuple[dict[str, str], ...]  # of each vertex: the arm of each bin


def solve(
    board: Board, arms: Bools, rows: Ints, member: Floats, names: Sequence[str], *, caution: float = 0.0
) -> Chosen:
    """Allot arms to bins at every budget.

    Parameters
    ----------
    arms
        [A]: those that may be used.
    rows
        [N]: the problems to choose on.
    member
        [B, N]: how far each problem belongs to each bin; columns sum to one.
    caution
        By how many standard errors an arm's gain over plain votes is rated lower.

    Notes
    -----
    Of many arms the best looks better than it is, the more so the fewer problems there are and the more an arm's
    gains differ between them. So an arm is rated by the lower end of its paired gain over plain votes at its cost.
    """
    found = np.flatnonzero(arms)
    value, cost = board.value[np.ix_(found, rows)], board.cost[np.ix_(found, rows)]
    plain = board.of(PLAIN)[found]
    points: dict[str, list[Point]] = {}
    shares: dict[str, float] = {}
    for name, belongs in zip(names, member, strict=True):
        some = float(belongs.sum())
        weight = belongs / some if some > 0 else np.full(len(rows), 1.0 / len(rows))
        c = cost @ weight
        v = _cautious(value, c, plain, weight, caution)
        points[name] = [Point(board.arms[found[i]], float(v[i]), float(c[i])) for i in undominated(v, c)]
        shares[name] = some / len(rows)  # a bin of none still gets the arms that the multiplier gives it
    solved = frontier(points, shares, unit=board.unit)
    routes: list[dict[str, str]] = []
    nominal: list[float] = []
    best = -np.inf
    for vertex in solved.breakpoints:
        route = {name: vertex.route[name][0][0] for name in points}
        mean, right = (
            sum(float(x[board.index[route[name]]][rows] @ w) for name, w in zip(names, member, strict=True)) / len(rows)
            for x in (board.cost, board.value)
        )
        # Surer is not enough: what costs more must be right more often as well.
        if not nominal or (mean > nominal[-1] * (1 + 1e-9) and right > best):
            nominal.append(mean)
            routes.append(route)
            best = right
    return Chosen(solved, np.array(nominal), tuple(routes))


def used(chosen: Chosen, board: Board, rows: Ints, bins: Sequence[str]) -> Line:
    """A frontier on other problems, whose bins are given."""
    choice = [[board.index[route[name]] for name in bins] for route in chosen.routes]
    return Line(rows, chosen.nominal, np.array(choice, np.int64).reshape(len(chosen.routes), len(rows)))


def _cautious(value: Floats, cost: Floats, plain: Bools, weight: Floats, caution: float) -> Floats:
    """The lower end of each arm's mean value, [A]: that of the plain hull at its cost, and of the paired gain over it.

    Parameters
    ----------
    value
        [A, N]
    cost
        [A]: means.
    weight
        [N]: of the problems; sums to one.
    """
    mean = value @ weight
    if not caution or value.shape[1] < 2 or not plain.any():
        return mean
    own = np.flatnonzero(plain)
    hull = own[_hull(mean[own], cost[own])]
    gain = value - np.stack([np.interp(cost, cost[hull], value[hull, n]) for n in range(value.shape[1])], 1)
    spread = ((gain - (gain @ weight)[:, None]) ** 2) @ weight**2
    count = 1.0 / float((weight**2).sum())
    error = np.sqrt(spread * count / max(count - 1.0, 1.0))
    return np.asarray(mean - caution * error)


def _hull(value: Floats, cost: Floats) -> Ints:
    """The upper concave envelope of points, as their places."""
    out: list[int] = []
    for i in undominated(value, cost).tolist():
        while len(out) > 1 and (value[out[-1]] - value[out[-2]]) * (cost[i] - cost[out[-1]]) <= (
            value[i] - value[out[-1]]
        ) * (cost[out[-1]] - cost[out[-2]]):
            out.pop()
        out.append(i)
    return np.array(out, np.int64)


def undominated(value: Floats, cost: Floats) -> Ints:
    """The arms that no cheaper arm equals, by ascending cost."""
    order = np.lexsort((-value, cost))
    best = np.maximum.accumulate(value[order])
    keep = np.ones(len(order), bool)
    keep[1:] = value[order][1:] > best[:-1]
    return np.asarray(order[keep])


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """What problems get at one budget, [P]: chance of a right answer, mean cost, tokens in sequence; and by what."""

    value: Floats
    cost: Floats
    sequential: Floats
    route: tuple[tuple[tuple[int, float], ...], ...]  # of each problem: (arm, share)s


@dataclass(frozen=True, eq=False)
class Curve:
    """One way of spending, at every budget, on every problem: no line was chosen on the problems that it is used on."""

    board: Board
    lines: tuple[Line, ...]

    @cached_property
    def _parts(self) -> list[tuple[Floats, Floats]]:
        """What each line's vertices add to the mean value and cost over all problems, [V]."""
        count = len(self.board.problems)
        return [
            (
                (self.board.value[line.choice, line.rows] / self._folds[line.rows]).sum(1) / count,
                (self.board.cost[line.choice, line.rows] / self._folds[line.rows]).sum(1) / count,
            )
            for line in self.lines
        ]

    @cached_property
    def span(self) -> tuple[float, float]:
        """The least and the largest nominal budget at which something changes."""
        return min(float(x.nominal[0]) for x in self.lines), max(float(x.nominal[-1]) for x in self.lines)

    @cached_property
    def _folds(self) -> Floats:
        """How many lines use each problem, [P]."""
        return np.bincount(np.concatenate([x.rows for x in self.lines]), minlength=len(self.board.problems)).astype(
            float
        )

    def means(self, budget: float) -> tuple[float, float]:
        """Mean value and mean cost over all problems, at a nominal budget."""
        value = cost = 0.0
        for line, (v, c) in zip(self.lines, self._parts, strict=True):
            low, share = _place(line.nominal, budget)
            high = min(low + 1, len(line.nominal) - 1)
            value += float((1 - share) * v[low] + share * v[high])
            cost += float((1 - share) * c[low] + share * c[high])
        return value, cost

    def at(self, budget: float) -> Spread:
        """What each problem gets at a nominal budget."""
        mixed: list[dict[int, float]] = [{} for _ in self.board.problems]
        for line in self.lines:
            low, share = _place(line.nominal, budget)
            high = min(low + 1, len(line.nominal) - 1)
            for t, row in enumerate(line.rows):
                part = 1.0 / self._folds[row]
                for vertex, weight in ((low, 1 - share), (high, share)):
                    if weight > 0:
                        arm = int(line.choice[vertex, t])
                        mixed[row][arm] = mixed[row].get(arm, 0.0) + weight * part
        return spread(self.board, [tuple(m.items()) for m in mixed])

    def matched(self, cost: float) -> Spread:
        """What each problem gets where the mean cost, as realised, is this; the nearest end where it cannot be."""
        low, high = self.span
        if self.means(high)[1] <= cost:
            return self.at(high)
        if self.means(low)[1] >= cost:
            return self.at(low)
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if self.means(middle)[1] <= cost else (low, middle)
        return self.at((low + high) / 2)

    def cost_of(self, value: float) -> float | None:
        """The least realised mean cost at which the mean value is reached, or None."""
        low, high = self.span
        below = low
        for budget in np.geomspace(max(low, 1e-9), max(high, low, 1e-9), 200):
            if self.means(float(budget))[0] >= value - 1e-12:
                return self._crossing(below, float(budget), value - 1e-12)
            below = float(budget)
        return None

    def _crossing(self, low: float, high: float, value: float) -> float:
        """The mean cost where a mean value is reached, between two budgets of which the second reaches it."""
        if self.means(low)[0] >= value:
            return self.means(low)[1]
        for _ in range(12):
            middle = (low + high) / 2
            low, high = (low, middle) if self.means(middle)[0] >= value else (middle, high)
        return self.means(high)[1]


def spread(board: Board, route: Sequence[tuple[tuple[int, float], ...]]) -> Spread:
    """What mixtures of arms give, problem by problem."""
    value, cost, path = (np.zeros(len(route)) for _ in range(3))
    for p, shares in enumerate(route):
        for arm, share in shares:
            value[p] += share * board.value[arm, p]
            cost[p] += share * board.cost[arm, p]
            path[p] += share * board.sequential[arm, p]
    return Spread(value, cost, path, tuple(route))


def _place(nominal: Floats, budget: float) -> tuple[int, float]:
    """The vertex below a budget, and how far it is to the next one."""
    at = int(np.searchsorted(nominal, budget, side="right")) - 1
    if at < 0:
        return 0, 0.0
    if at + 1 >= len(nominal):
        return len(nominal) - 1, 0.0
    return at, float((budget - nominal[at]) / (nominal[at + 1] - nominal[at]))
