"""What arms give on prompts: pooled arms exactly from shared draws, the others by running them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from autotts.core.strategy import Strategy
from autotts.core.task import Problem
from autotts.estimate.intervals import Resamples, resample
from autotts.estimate.replayed import Pool, estimate
from autotts.search.runs import Family, Runner, depth, family, scorer
from autotts.search.together import together
from autotts.strategies.arms import parse

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measured:
    """One arm on the problems of a table; NaN where it was not measured.

    `value` is the probability of a right answer, `cost` the expected cost in parts, `worst` the dearest that was seen.
    """

    value: Floats
    cost: Floats
    worst: Floats


def level_name(problem: Problem) -> str:
    """The name of a problem's level, or `all` where it has none."""
    return "all" if problem.level is None else str(problem.level)


@dataclass
class Table:
    """Arms by problems. `weight` is each problem's share of the traffic (they sum to one)."""

    problems: Sequence[Problem]
    weight: Floats
    arms: dict[str, Measured] = field(default_factory=dict)

    def resamples(self, seed: int) -> Resamples:
        """The problems drawn again within their levels, weighted as the traffic."""
        names = [level_name(p) for p in self.problems]
        shares: dict[Hashable, float] = defaultdict(float)
        for name, weight in zip(names, self.weight):
            shares[name] += float(weight)
        return resample(names, shares, seed=seed)

    def put(self, arm: str, rows: NDArray[np.intp], value: Floats, cost: Floats, worst: Floats) -> None:
        """Write an arm's figures on some of the problems."""
        found = self.arms.get(arm)
        if found is None:
            blank = np.full(len(self.problems), np.nan)
            found = self.arms[arm] = Measured(blank, blank.copy(), blank.copy())
        found.value[rows] = value
        found.cost[rows] = cost
        found.worst[rows] = worst

    def part(self, rows: NDArray[np.intp]) -> Table:
        """Some of the problems, in order; each level keeps its share of the traffic."""
        problems = [self.problems[row] for row in rows]
        whole: dict[str, float] = defaultdict(float)
        kept: dict[str, float] = defaultdict(float)
        for problem, weight in zip(self.problems, self.weight):
            whole[level_name(problem)] += float(weight)
        for problem, row in zip(problems, rows):
            kept[level_name(problem)] += float(self.weight[row])
        names = [level_name(problem) for problem in problems]
        weight = np.array([self.weight[row] * whole[n] / kept[n] for n, row in zip(names, rows)])
        arms = {
            arm: Measured(found.value[rows], found.cost[rows], found.worst[rows]) for arm, found in self.arms.items()
        }
        return Table(problems, weight, arms)

    def known(self, arm: str, rows: NDArray[np.intp]) -> bool:
        """Whether an arm is measured on all of some rows."""
        found = self.arms.get(arm)
        return found is not None and not bool(np.isnan(found.value[rows]).any())

    def mix(self, routes: Sequence[Sequence[tuple[str, float]]]) -> Measured:
        """What each problem gets when problem i is answered by a mixture of arms: `routes[i]` = (arm, share)s."""
        value = np.zeros(len(self.problems))
        cost = np.zeros(len(self.problems))
        worst = np.zeros(len(self.problems))
        for i, route in enumerate(routes):
            for arm, share in route:
                found = self.arms[arm]
                value[i] += share * found.value[i]
                cost[i] += share * found.cost[i]
                worst[i] = max(worst[i], found.worst[i])
        return Measured(value, cost, worst)

    def uniform(self, route: Sequence[tuple[str, float]]) -> Measured:
        """What every problem gets from one mixture of arms."""
        return self.mix([route] * len(self.problems))


@dataclass(frozen=True, slots=True)
class _Lot:
    """Draws of one family to one depth, and the arms that choose among them."""

    of: Family
    by: str | None
    depth: int
    rows: tuple[int, ...]
    arms: tuple[str, ...]


async def measure(
    runner: Runner,
    table: Table,
    wanted: Mapping[str, Sequence[int]],
    *,
    seed: int,
) -> None:
    """Measure arms on rows of a table; `wanted` maps each arm to its rows."""
    pooled: dict[Family, dict[str, Sequence[int]]] = defaultdict(dict)
    lots: list[_Lot] = []
    alone: list[tuple[str, Strategy, Sequence[int]]] = []
    for arm, rows in wanted.items():
        strategy = parse(arm)
        of = family(strategy)
        if of is None:
            alone.append((arm, strategy, rows))
        else:
            pooled[of][arm] = rows
    for of, arms in pooled.items():
        lots += _lots(of, arms)
    await together(
        [
            *(_estimate(runner, table, lot, seed) for lot in lots),
            *(_run(runner, table, arm, strategy, rows) for arm, strategy, rows in alone),
        ]
    )


def _lots(of: Family, arms: Mapping[str, Sequence[int]]) -> list[_Lot]:
    """Rows that the same arms are wanted on share one pool."""
    by_row: dict[int, list[str]] = defaultdict(list)
    for arm, rows in arms.items():
        for row in rows:
            by_row[row].append(arm)
    alike: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, wanted in sorted(by_row.items()):
        alike[tuple(sorted(wanted))].append(row)
    out = []
    for names, where in alike.items():
        strategies = [parse(name) for name in names]
        scorers = [s for s in map(scorer, strategies) if s is not None]
        out.append(_Lot(of, scorers[0] if scorers else None, max(map(depth, strategies)), tuple(where), names))
    return out


async def _estimate(runner: Runner, table: Table, lot: _Lot, seed: int) -> None:
    problems = [table.problems[row] for row in lot.rows]
    pool = await runner.pool(problems, lot.of, lot.depth, lot.by)
    rows = np.array(lot.rows)
    for arm in lot.arms:
        value, cost, worst = figures(pool, parse(arm), seed)
        table.put(arm, rows, value, cost, worst)


def figures(pool: Pool, strategy: Strategy, seed: int) -> tuple[Floats, Floats, Floats]:
    """Value, cost and worst cost of an arm on each problem of a pool."""
    got = estimate(pool, strategy, seed=seed)
    return got.value, got.cost, got.worst


async def _run(runner: Runner, table: Table, arm: str, strategy: Strategy, rows: Sequence[int]) -> None:
    runner.tally.expect(len(rows))
    ran = await together(runner.run(strategy, table.problems[row]) for row in rows)
    value = np.array([float(r.correct) for r in ran])
    cost = np.array([float(r.cost) for r in ran])
    table.put(arm, np.array(rows), value, cost, cost)
