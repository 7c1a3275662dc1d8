"""A runner over filled arrays: the same answers as running, in microseconds, and an exact count of new tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from random import Random
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from autotts.core.strategy import Strategy
from autotts.core.task import Problem
from autotts.estimate.replayed import Pool, estimate
from autotts.search import measure
from autotts.search.runs import Family, Ran, family
from autotts.search.tally import Tally
from autotts.strategies.arms import parse, show
from tests.benchmarks.filled import Runs, Split

Floats = NDArray[np.float64]
ORDERS = 0  # seed of the orderings that estimates replay: one for all studies, so that they share what was computed


@dataclass(frozen=True, eq=False)
class Drawn(Pool):
    """A pool that knows which part of the arrays it is."""

    of: Family = Family("", 0.0, 1.0)
    rows: tuple[int, ...] = ()


@dataclass(eq=False)
class Shelf:
    """One split, with what was computed from it; shared by all studies of a process."""

    split: Split
    places: dict[str, tuple[Runs, int]] = field(init=False)
    rows: dict[str, int] = field(init=False)
    starts: dict[int, NDArray[np.intp]] = field(init=False)
    totals: dict[Family, NDArray[np.int64]] = field(init=False)
    found: dict[tuple[int, str], tuple[Floats, Floats, Floats]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.split.problems)
        runs = list(self.split.runs.values())
        self.places = {arm: (some, i) for some in runs for i, arm in enumerate(some.arms)}
        self.rows = {p.id: i for i, p in enumerate(self.split.problems)}
        self.starts = {
            id(some): np.searchsorted(some.shared[:, 0], np.arange(count + 1))
            for some in runs
            if some.shared is not None
        }
        self.totals = {
            of: np.concatenate([np.zeros((count, 1), np.int64), np.cumsum(pool.tokens, 1)], 1)
            for of, pool in self.split.pools.items()
        }

    def figures(self, arm: str, count: int) -> tuple[Floats, Floats, Floats]:
        """Value, cost and worst cost of an arm on all problems: of a live arm as it ran, else from `count` draws."""
        got = self.found.get((count, arm))
        if got is None:
            strategy = parse(arm)
            of = family(strategy)
            if of is None:
                runs, place = self.places[arm]
                cost = runs.cost[place].astype(float)
                got = runs.correct[place].astype(float), cost, cost
            else:
                made = estimate(self.pool(of, count, range(len(self.split.problems))), strategy, seed=ORDERS)
                got = made.value, made.cost, made.worst
            self.found[count, arm] = got
        return got

    def whole(self, arm: str) -> tuple[Floats, Floats, Floats]:
        """The same from all draws that there are."""
        of = family(parse(arm))
        return self.figures(arm, 0 if of is None else self.split.pools[of].draws)

    def pool(self, of: Family, count: int, rows: Sequence[int]) -> Drawn:
        """The first draws of a family on some problems."""
        pool = self.split.pools[of]
        at, parts = np.array(rows), {}
        for item in fields(Pool):
            value = getattr(pool, item.name)
            parts[item.name] = value[at, :count] if value is not None and value.ndim == 2 else value[at]
        return Drawn(**parts, of=of, rows=tuple(rows))

    def asked(self, arm: str, row: int) -> NDArray[np.int64]:
        """Rows of (prompt, arms, tokens) of a live arm's file on one problem."""
        runs, _ = self.places[arm]
        assert runs.shared is not None
        first, last = self.starts[id(runs)][row : row + 2]
        return runs.shared[first:last]


@contextmanager
def measured(runner: Replayer | Fresh) -> Iterator[None]:
    """Within it, `measure` takes its figures of arms from a runner of this file."""
    with mock.patch.object(measure, "figures", runner.figures):
        yield


@dataclass
class Spent:
    """What a study has drawn anew; in place of a memo."""

    made: int = 0
    reused: int = 0
    tokens: int = 0
    spend: dict[str, Any] = field(default_factory=dict)
    bindings: dict[str, Any] = field(default_factory=dict)


@dataclass
class Replayer:
    """In place of a `Runner`: arms run as they were recorded; a draw that was made before costs no tokens again."""

    shelf: Shelf
    cap: int | None = None
    memo: Spent = field(default_factory=Spent)
    tally: Tally = field(default_factory=Tally)
    _draws: dict[Family, NDArray[np.int64]] = field(default_factory=dict)
    _arms: dict[int, NDArray[np.int64]] = field(default_factory=dict)

    def figures(self, pool: Pool, strategy: Strategy, seed: int) -> tuple[Floats, Floats, Floats]:
        """In place of `measure.figures`: estimates are looked up, since they do not depend on the study."""
        assert isinstance(pool, Drawn)
        value, cost, worst = self.shelf.figures(show(strategy), pool.draws)
        rows = list(pool.rows)
        return value[rows], cost[rows], worst[rows]

    async def run(self, strategy: Strategy, problem: Problem) -> Ran:
        """The recorded run."""
        arm, row = show(strategy), self.shelf.rows[problem.id]
        runs, place = self.shelf.places[arm]
        of = family(strategy)
        if of is None:
            self._live(arm, runs, place, row)
        else:
            self._numbered(of, np.array([row]), np.array([runs.draws[place, row]]))
        self.tally.tick()
        return Ran("", bool(runs.correct[place, row]), int(runs.cost[place, row]), "returned")

    async def pool(self, problems: Sequence[Problem], of: Family, count: int, by: str | None) -> Drawn:
        """The first `count` draws of a family on some problems."""
        rows = np.array([self.shelf.rows[p.id] for p in problems])
        self._numbered(of, rows, np.full(len(rows), count))
        pool = self.shelf.pool(of, count, rows.tolist())
        return pool if by is not None else replace(pool, score=None, score_cost=None)

    def _numbered(self, of: Family, rows: NDArray[np.intp], counts: NDArray[np.int64]) -> None:
        """Draws are numbered: those that are new are the last."""
        have = self._draws.setdefault(of, np.zeros(len(self.shelf.split.problems), np.int64))
        before = have[rows]
        after = np.maximum(before, counts)
        totals = self.shelf.totals[of]
        self.memo.tokens += int((totals[rows, after] - totals[rows, before]).sum())
        self.memo.made += int((after - before).sum())
        have[rows] = after

    def _live(self, arm: str, runs: Runs, place: int, row: int) -> None:
        """Of the draws that a live arm asks for, those that no earlier arm asked for are new."""
        seen = self._arms.setdefault(id(runs), np.zeros(len(self.shelf.split.problems), np.int64))
        some, bit = self.shelf.asked(arm, row), 1 << place
        new = (some[:, 1] & bit > 0) & (some[:, 1] & seen[row] == 0)
        self.memo.tokens += int(some[new, 2].sum())
        self.memo.made += int(runs.draws[place, row])
        seen[row] |= bit


@dataclass
class Fresh:
    """A runner that draws for every run anew, as search tools do that know no draws.

    A run of a pooled arm is right with the probability that all recorded draws give it; live arms run as recorded.
    """

    shelf: Shelf
    seed: int
    cap: int | None = None
    memo: Spent = field(default_factory=Spent)
    tally: Tally = field(default_factory=Tally)

    def figures(self, pool: Pool, strategy: Strategy, seed: int) -> tuple[Floats, Floats, Floats]:
        """In place of `measure.figures`: the arm runs on each problem, on draws of its own."""
        assert isinstance(pool, Drawn)
        ran = [self._once(strategy, row) for row in pool.rows]
        value, cost = np.array([float(r.correct) for r in ran]), np.array([float(r.cost) for r in ran])
        return value, cost, cost

    async def pool(self, problems: Sequence[Problem], of: Family, count: int, by: str | None) -> Drawn:
        """Which problems; draws are made by `figures`, for each arm."""
        return self.shelf.pool(of, count, [self.shelf.rows[p.id] for p in problems])

    async def run(self, strategy: Strategy, problem: Problem) -> Ran:
        """A run on draws of its own."""
        return self._once(strategy, self.shelf.rows[problem.id])

    def _once(self, strategy: Strategy, row: int) -> Ran:
        arm = show(strategy)
        runs, place = self.shelf.places[arm]
        of, draws = family(strategy), int(runs.draws[place, row])
        if of is None:
            some = self.shelf.asked(arm, row)
            self.memo.tokens += int(some[some[:, 1] & 1 << place > 0, 2].sum())
        else:
            self.memo.tokens += int(self.shelf.totals[of][row, draws])
        self.memo.made += draws
        self.tally.tick()
        value, cost, _ = self.shelf.whole(arm)
        chance = Random(f"{self.seed}:{self.memo.made}:{arm}:{row}").random()
        return Ran("", chance < value[row], round(cost[row]), "returned")
