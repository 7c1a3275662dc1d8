"""One difficulty level of a study: its prompts, what was tried on them, and what is known of its arms."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from autotts.core.cost import show as amount
from autotts.core.strategy import Range, Role, Strategy, knobs
from autotts.core.task import Problem
from autotts.errors import InputError
from autotts.policy.allocation import Point, envelope
from autotts.predict.arms import ArmModel, Seen
from autotts.search.archive import Archive, Trial
from autotts.search.book import Book
from autotts.search.measure import Table
from autotts.search.race import Raced, Rival
from autotts.search.runs import Family, depth, family, scorer
from autotts.search.screen import Verdict
from autotts.search.space import Space
from autotts.strategies import POOLED, STRATEGIES
from autotts.strategies.arms import parse, show

Rows = NDArray[np.intp]

NEAR = 0.5  # standard errors below the frontier up to which an arm is taken on to more prompts


@dataclass(frozen=True, slots=True)
class Slot:
    """One arm of a round; `trial` is its number in Optuna."""

    strategy: Strategy
    kind: str  # "designed" | "neighbour" | "requeued" | "audit" | the name of its proposer
    trial: int

    @property
    def arm(self) -> str:
        return show(self.strategy)


@dataclass
class Level:
    """The state of one level; everything in it follows from the recipe and the stored draws.

    `every` are the level's rows of the table in random order; the first `taking` of them are the prompts that arms
    take now. Where `sharing` is off, what is drawn for one arm serves no other (to measure what sharing is worth).
    """

    name: str
    table: Table
    every: Rows
    taking: int
    book: Book
    space: Space
    sharing: bool = True
    log: dict[str, Trial] = field(default_factory=dict)
    refused: list[Trial] = field(default_factory=list)
    running: dict[str, int] = field(default_factory=dict)  # arms that wait for more prompts -> their trials
    pools: dict[Family, tuple[int, str | None]] = field(default_factory=dict)
    queue: list[tuple[Strategy, str]] = field(default_factory=list)
    model: ArmModel | None = None  # what allocation believes of arms, beside what it saw
    _points: dict[str, tuple[float, float, float]] = field(default_factory=dict)

    @property
    def rows(self) -> Rows:
        """The rows that arms take now."""
        return self.every[: self.taking]

    @property
    def problems(self) -> list[Problem]:
        return [self.table.problems[row] for row in self.rows]

    @property
    def whole(self) -> bool:
        """Whether arms take all prompts of the level."""
        return self.taking == len(self.every)

    # ------------------------------------------------------------ what is asked

    def waiting(self) -> list[tuple[Strategy, str]]:
        """What waits in the queue and is not known by now; the queue is empty afterwards."""
        out, self.queue = [(s, kind) for s, kind in self.queue if not self.tried(s)], []
        return out

    def begin(self, strategy: Strategy, kind: str, round_: int, slot: int) -> Slot:
        """An arm of a round, as a running trial."""
        return Slot(strategy, kind, self.book.begin(strategy, kind, round_, slot))

    def skip(self, verdict: Verdict, kind: str, round_: int, slot: int) -> None:
        """An arm that is not begun because of what is predicted of it."""
        self.log[verdict.arm] = Trial(verdict.arm, kind, round_, "skipped", trace=verdict.why)
        self.book.skip(parse(verdict.arm), round_, slot, verdict.why)

    def knows(self, strategy: Strategy) -> bool:
        """Whether an arm is measured on all prompts that are taken now, or follows from draws that are."""
        arm = show(strategy)
        return arm in self._points or self.table.known(arm, self.rows)

    def tried(self, strategy: Strategy) -> bool:
        """Whether an arm is known on some prompts, or was stopped or skipped."""
        arm = show(strategy)
        return arm in self.log or (arm in self.table.arms and len(self.unknown(arm)) < len(self.rows))

    # ------------------------------------------------------------ what came of it

    def settle(self, slot: Slot, raced: Raced, round_: int) -> None:
        """Take note of how an arm of a round did, here and in Optuna's study."""
        self.book.note(
            slot.trial,
            {"prompts": len(raced.ran), "accuracy so far": raced.value, "mean cost so far": raced.cost},
        )
        known = slot.arm, slot.kind, round_
        if raced.bound is not None:
            self.log[slot.arm] = Trial(*known, "pruned", raced.value, raced.cost, len(raced.ran), raced.bound)
            self.book.prune(slot.trial, "during", raced.bound)
            return
        of = family(slot.strategy)
        if of is not None and self.sharing:
            count, by = self.pools.get(of, (0, None))
            self.pools[of] = (max(count, depth(slot.strategy)), by or scorer(slot.strategy))
        else:
            value = np.array([float(r.correct) for r in raced.ran])
            cost = np.array([float(r.cost) for r in raced.ran])
            self.table.put(slot.arm, self.rows, value, cost, cost)
        self.log[slot.arm] = Trial(*known, "complete", raced.value, raced.cost, len(raced.ran), _answers(raced))
        self.running[slot.arm] = slot.trial

    def tell(self, round_: int) -> int:
        """Write what is known on all prompts of the level into Optuna's study; how many free arms this added."""
        for arm, number in self.running.items():
            value, cost = self.point(arm)
            self.log[arm] = replace(self.log[arm], value=value, cost=cost, prompts=self.taking)
            self.book.note(number, {"prompts": self.taking, "accuracy so far": value, "mean cost so far": cost})
        return self._end(round_) if self.whole else 0

    def grow(self, count: int, cap: float | None) -> dict[str, list[int]]:
        """Take more prompts, with the arms that may still be on the frontier; what is to be measured on the new ones.

        The others are not taken along: they stay known on the prompts that they took, and no more is spent on them.
        """
        staying = self._staying(cap)
        for arm in [a for a in self.running if a not in staying]:
            value, cost = self.point(arm)
            paid = amount(cost, self.book.unit)
            why = f"after {self.taking} prompts {value:.3f} accuracy at {paid} a prompt, not near the frontier"
            self.log[arm] = replace(self.log[arm], trace=why)
            self.book.prune(self.running.pop(arm), "between", why)
        deepest: dict[Family, tuple[int, str | None]] = {}
        for strategy in map(parse, staying):
            of = family(strategy)
            if of is not None and self.sharing:
                at, by = deepest.get(of, (0, None))
                deepest[of] = (max(at, depth(strategy)), by or scorer(strategy))
        self.pools = deepest
        self.taking = min(count, len(self.every))
        self._points.clear()
        alone = [arm for arm in staying if not self.sharing or family(parse(arm)) is None]
        return {arm: self.unknown(arm) for arm in alone} | self.offspring()

    def stay(self, taking: int, pools: dict[Family, tuple[int, str | None]]) -> None:
        """Go back to the prompts from before `grow`, where there was no room for more."""
        self.taking, self.pools = taking, pools
        self._points.clear()

    def finish(self, round_: int) -> int:
        """End what still runs with what is known, since the study is over; how many free arms this added."""
        added = self._end(round_)
        self.book.leave()
        return added

    def _end(self, round_: int) -> int:
        for arm, number in self.running.items():
            self.book.complete(number, *self.point(arm))
        self.running.clear()
        free = [p for p in self.frontier() if p.arm not in self.log]
        return sum(self.book.free(parse(p.arm), p.value, p.cost, round_) for p in free)

    def _staying(self, cap: float | None) -> list[str]:
        """The frontier, and arms that are known on all prompts of now and may well stand above it."""
        points = self.believed(cap)
        curve = envelope(self.candidates(cap))
        front = {p.arm for p in curve}
        if not points:
            return []
        height = np.interp([p.cost for p in points], [p.cost for p in curve], [p.value for p in curve], left=0.0)
        error = self._errors([p.arm for p in points])
        return [p.arm for p, h, e in zip(points, height, error) if p.arm in front or p.value + NEAR * e > h]

    def _errors(self, arms: Sequence[str]) -> NDArray[np.float64]:
        """Standard deviations of what is believed of arms; without a model, of their differences to the best arm."""
        if self.model is not None and not self.model.fallback:
            return self.model.forecast(arms, self.name).sd
        value = np.array([self.table.arms[arm].value[self.rows] for arm in arms])
        gaps = value - value[int(value.mean(1).argmax())]
        return np.asarray(gaps.std(axis=1) / np.sqrt(max(1, self.taking - 1)))

    # ------------------------------------------------------------ what is known

    def point(self, arm: str) -> tuple[float, float]:
        """Mean value and mean cost of an arm on this level's prompts."""
        return self._known(arm)[:2]

    def _known(self, arm: str) -> tuple[float, float, float]:
        """Mean value, mean cost and worst cost; what is known changes only as more prompts are taken."""
        if arm not in self._points:
            found = self.table.arms[arm]
            value, cost, worst = (x[self.rows] for x in (found.value, found.cost, found.worst))
            self._points[arm] = (float(value.mean()), float(cost.mean()), float(worst.max()))
        return self._points[arm]

    def points(self, cap: float | None = None) -> list[Point]:
        """Every arm that is known on all prompts that are taken now, and never cost more than the cap."""
        return [
            Point(arm, *self.point(arm))
            for arm in self.table.arms
            if (arm in self._points or self.table.known(arm, self.rows)) and (cap is None or self._known(arm)[2] <= cap)
        ]

    def believed(self, cap: float | None = None) -> list[Point]:
        """The same arms as `points`, their accuracy shrunk to what arms like them gave, where that was learned."""
        return self._shrunk(self.points(cap))

    def candidates(self, cap: float | None = None) -> list[Point]:
        """Also the arms that are known on some of the prompts, where that was learned; none that a race has stopped."""
        if self.model is None or self.model.fallback:
            return self.points(cap)
        stopped = {t.arm for t in self.log.values() if t.state == "pruned"}
        points = [
            Point(s.arm, s.value, s.cost)
            for s in self.seen()
            if s.arm not in stopped and (cap is None or np.nanmax(self.table.arms[s.arm].worst[self.rows]) <= cap)
        ]
        return self._shrunk(points)

    def _shrunk(self, points: list[Point]) -> list[Point]:
        if self.model is None or self.model.fallback or not points:
            return points
        found = self.model.forecast([p.arm for p in points], self.name)
        return [replace(p, value=float(value)) for p, value in zip(points, found.value)]

    def seen(self) -> list[Seen]:
        """What every arm gave that was run here, as if on all prompts of now.

        Of an arm that took some of them, the mean is corrected by what the known arms gave on these and on all.
        """
        arms, rows = list(self.table.arms), self.rows
        values = np.array([self.table.arms[a].value[rows] for a in arms]).reshape(len(arms), len(rows))
        costs = np.array([self.table.arms[a].cost[rows] for a in arms]).reshape(len(arms), len(rows))
        took = ~np.isnan(values)
        whole = took.all(1)
        value, cost = (
            (values[whole].mean(0), costs[whole].mean(0)) if whole.any() else (np.zeros(len(rows)), np.ones(len(rows)))
        )
        count = took.sum(1)
        some = np.maximum(count, 1)
        mean = np.where(took, values, 0.0).sum(1) / some + value.mean() - took @ value / some
        paid = np.where(took, costs, 0.0).sum(1) / some * cost.mean() / np.where(count > 0, took @ cost / some, 1.0)
        out = [
            Seen(arm, self.name, min(max(float(v), 0.0), 1.0), float(c), int(n))
            for arm, v, c, n in zip(arms, mean, paid, count)
            if n
        ]
        for t in self.log.values():
            if t.state == "pruned" and t.value is not None and t.cost and t.arm not in self.table.arms:
                shift = value.mean() - value[: t.prompts].mean(), cost.mean() / cost[: t.prompts].mean()
                out.append(Seen(t.arm, self.name, min(max(t.value + shift[0], 0.0), 1.0), t.cost * shift[1], t.prompts))
        return out

    def frontier(self, cap: float | None = None) -> list[Point]:
        """The upper concave envelope of the level's arms, as they are believed to be."""
        return envelope(self.believed(cap))

    def rivals(self, cap: float | None = None) -> list[Rival]:
        """The arms of the frontier, prompt by prompt."""
        out = []
        for p in self.frontier(cap):
            found = self.table.arms[p.arm]
            out.append(Rival(p.arm, found.value[self.rows], found.cost[self.rows]))
        return out

    def trials(self) -> tuple[Trial, ...]:
        """All arms that were tried or are known for nothing, and the proposals that were refused."""
        seen = {s.arm: s for s in self.seen()}
        free = [
            Trial(s.arm, "free", 0, "complete", s.value, s.cost, s.prompts)
            for s in seen.values()
            if s.arm not in self.log
        ]
        out = [*self.log.values(), *free]
        if self.model is not None and not self.model.fallback and out:
            found = self.model.forecast([t.arm for t in out], self.name)
            out = [replace(t, believed=float(value)) for t, value in zip(out, found.value)]
        return (*out, *self.refused)

    def archive(self, trials: Mapping[str, tuple[Trial, ...]], like: Archive) -> Archive:
        """The level as its proposers see it: the trials of all levels, and what `like` has in common for them."""
        return replace(
            like,
            level=self.name,
            trials=trials[self.name],
            others={name: told for name, told in trials.items() if name != self.name},
            prompts=self.taking,
            drawn={of: count for of, (count, _) in self.pools.items()},
        )

    def offspring(self) -> dict[str, list[int]]:
        """All arms that the draws of this level answer, where they are not measured yet: arm -> rows."""
        wanted: dict[str, list[int]] = {}
        for of, (count, by) in self.pools.items():
            for strategy in choosing(self.space, of, count, by):
                if not self.knows(strategy):
                    wanted[show(strategy)] = self.unknown(show(strategy))
        return wanted

    def unknown(self, arm: str) -> list[int]:
        """The rows of now that an arm is not measured on."""
        found = self.table.arms.get(arm)
        return [int(r) for r in self.rows if found is None or np.isnan(found.value[r])]


def _answers(raced: Raced) -> str:
    """What an arm answered, for those who look for what to try next."""
    unread = sum(r.answer is None for r in raced.ran)
    right = sum(r.correct for r in raced.ran)
    capped = sum(r.ended != "returned" for r in raced.ran)
    return f"{right} of {len(raced.ran)} right, {unread} without an answer, {capped} ended early"


def choosing(space: Space, of: Family, count: int, by: str | None) -> list[Strategy]:
    """Every arm on the grid that chooses among the first `count` draws of a family."""
    out: list[Strategy] = []
    for name in sorted(POOLED & set(space.strategies)):
        kind = STRATEGIES[name]
        declared = knobs(kind)
        fixed = {"model": of.model, "temperature": of.temperature, "top_p": of.top_p}
        if "by" in declared:
            if by is None:
                continue
            fixed["by"] = by
        if name != "one" and of.temperature == 0:
            continue
        open_ = [k for k in declared.values() if k.name not in fixed and not isinstance(k.domain, Role)]
        grids = [[k.type(v) for v in k.domain.grid] if isinstance(k.domain, Range) else [k.default] for k in open_]
        for values in itertools.product(*grids):
            try:
                strategy = kind(**fixed, **dict(zip([k.name for k in open_], values)))
            except InputError:
                continue  # knobs that contradict each other
            if depth(strategy) <= min(count, space.most.get(of.model, count)):
                out.append(strategy)
    return out


def narrowed(levels: Sequence[Level]) -> list[Level]:
    """The levels on the prompts that arms took, where a study ended before they took all of them."""
    if all(level.whole for level in levels):
        return list(levels)
    rows = np.sort(np.concatenate([level.rows for level in levels]))
    table = levels[0].table.part(rows)
    place = {int(row): i for i, row in enumerate(rows)}
    out = []
    for level in levels:
        every = np.array([place[int(row)] for row in level.rows])
        out.append(replace(level, table=table, every=every, taking=len(every), _points={}))
    return out


def neighbours(levels: Sequence[Level], size: int) -> None:
    """What is on the frontier of one level waits at the next ones, where it is not known."""
    for i, level in enumerate(levels):
        for j in (i - 1, i + 1):
            if not 0 <= j < len(levels):
                continue
            other = levels[j]
            waiting = {show(s) for s, _ in other.queue}
            for p in reversed(level.frontier()):
                strategy = parse(p.arm)
                if len(other.queue) >= size:
                    break
                if not other.tried(strategy) and p.arm not in waiting:
                    other.queue.append((strategy, "neighbour"))
                    waiting.add(p.arm)
