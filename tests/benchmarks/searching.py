"""One study of one method on filled arrays, and its anytime curve. All search logic is the product's own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from random import Random
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from autotts.core.task import Problem
from autotts.policy.allocation import Point, envelope
from autotts.predict import levels as predict
from autotts.search import archive
from autotts.search.archive import Archive
from autotts.search.level import Level, Slot, opened, sampler
from autotts.search.measure import Table, measure
from autotts.search.proposers import PROPOSERS
from autotts.search.race import Raced
from autotts.search.recipe import Recipe
from autotts.search.rounds import Rounds, design
from autotts.search.space import Space
from autotts.strategies.arms import parse, show
from tests.benchmarks.curves import Curve
from tests.benchmarks.filled import Filled
from tests.benchmarks.hypervolume import Exam, Height, Known, Marks
from tests.benchmarks.replaying import Fresh, Replayer, Shelf

PROMPTS = 32  # of each level that a study searches on
ROUNDS = 60
IDLE = 6  # rounds in succession that raced nothing: all that is asked for is known


@dataclass(frozen=True)
class Method:
    """A way of searching; what is switched off is said."""

    proposer: str = "tpe"
    start: bool = True  # the designed first round, and the frontiers of neighbouring levels
    shared: bool = True  # draws are shared, and arms that follow from them are free
    racing: bool = True
    fed: bool = False  # by one of `PROPOSERS`, and not by the level itself
    play: Callable[[Trial, Method], None] | None = None  # where it is no study of ours


@dataclass(eq=False)
class Ground:
    """What all studies of a process share."""

    filled: Filled
    search: Shelf = field(init=False)
    exam: Exam = field(init=False)

    def __post_init__(self) -> None:
        self.search = Shelf(self.filled.splits["search"])
        self.exam = Exam(Shelf(self.filled.splits["test"]), tuple(show(a) for a in self.filled.space.arms))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.filled.mix)


@dataclass(eq=False)
class Draw:
    """The prompts of one seed, the rule that tells their levels, and what knowing all arms on them is worth."""

    ground: Ground
    seed: int

    @cached_property
    def table(self) -> Table:
        """`PROMPTS` of each level, in an order of the seed's own."""
        problems: list[Problem] = []
        weight: list[float] = []
        for name in self.ground.names:
            some = [p for p in self.ground.filled.splits["search"].problems if str(p.level) == name]
            problems += Random(f"{self.seed}:{name}").sample(some, min(PROMPTS, len(some)))
            weight += [self.ground.filled.mix[name] / min(PROMPTS, len(some))] * min(PROMPTS, len(some))
        return Table(problems, np.array(weight))

    def rows(self, name: str) -> np.ndarray:
        return np.array([i for i, p in enumerate(self.table.problems) if str(p.level) == name])

    @cached_property
    def rule(self) -> predict.LevelModel:
        problems, mix = self.table.problems, self.ground.filled.mix
        levels = [int(p.level or 0) for p in problems]
        return predict.fit([p.prompt for p in problems], levels, self.seed, {int(k): w for k, w in mix.items()})

    @cached_property
    def marks(self) -> Marks:
        return self.ground.exam.marks(self.rule, self.ground.names)

    @cached_property
    def final(self) -> Height:
        """When every arm of the space is known on all prompts of the seed."""
        shelf, at = self.ground.search, [self.ground.search.rows[p.id] for p in self.table.problems]
        known: dict[str, list[Point]] = {name: [] for name in self.ground.names}
        for arm in self.ground.exam.arms:
            value, cost, _ = (x[at] for x in shelf.whole(arm))
            for name, points in known.items():
                rows = self.rows(name)
                points.append(Point(arm, float(value[rows].mean()), float(cost[rows].mean())))
        return self.marks.height([Known(name, points) for name, points in known.items()], self.ground.filled.mix)


@dataclass(eq=False)
class Trial:
    """One method on the prompts of one seed; `note` writes down how good what it knows is by now."""

    draw: Draw
    rounds: int = ROUNDS
    tokens: list[int] = field(default_factory=list)
    heights: list[Height] = field(default_factory=list)
    raced: int = 0
    ended: str = ""

    @property
    def space(self) -> Space:
        return self.draw.ground.filled.space

    @property
    def names(self) -> tuple[str, ...]:
        return self.draw.ground.names

    def note(self, tokens: int, levels: Sequence[Known]) -> None:
        self.tokens.append(tokens)
        self.heights.append(self.draw.marks.height(levels, self.draw.ground.filled.mix))

    def levels(self, method: Method) -> list[Level]:
        """New levels of a study, in memory."""
        storage: Any = optuna.storages.InMemoryStorage()
        table = Table(self.draw.table.problems, self.draw.table.weight)
        kind = Fed if method.fed else Level if method.shared else Alone
        return [
            kind(n, table, self.draw.rows(n), opened(n, storage, "flops"), self.space, self.draw.seed, method.proposer)
            for n in self.names
        ]

    def runner(self, method: Method) -> Any:
        shelf = self.draw.ground.search
        return Replayer(shelf) if method.shared else Fresh(shelf, self.draw.seed)


class Fed(Level):
    """A level whose queue a proposer fills before each round."""

    def _asked(self, number: int, index: int, found: FrozenTrial | None) -> Slot | None:
        return None


def feed(levels: Sequence[Level], number: int, size: int) -> None:
    """Let each level's proposer fill its queue, after what waits there already."""
    archives = {level.name: tuple(_tried(level)) for level in levels}
    for level in levels:
        others = {name: trials for name, trials in archives.items() if name != level.name}
        told = Archive(
            level=level.name,
            levels=tuple(archives),
            space=level.space,
            work={model: 1 / most for model, most in level.space.most.items()},
            trials=archives[level.name],
            others=others,
            seed=level.seed,
            round=number,
            prompts=len(level.rows),
        )
        waiting = {show(s) for s, _ in level.queue}
        wanted = size - len(level.queue)
        proposed = PROPOSERS[level.proposer]().propose(told, wanted) if wanted > 0 else ()
        level.queue += [(parse(arm), level.proposer) for arm in proposed if arm not in waiting | set(level.raced)]


def _tried(level: Level) -> Iterator[archive.Trial]:
    """What was raced at a level, in order, and then what follows from stored draws."""
    states: Mapping[TrialState, archive.State] = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}
    seen = set()
    for trial in level.study.get_trials(deepcopy=False, states=tuple(states)):
        notes = trial.user_attrs
        if notes.get("free"):
            continue
        value, cost = trial.values or (notes["accuracy so far"], notes["mean cost so far"])
        seen.add(notes["arm"])
        yield archive.Trial(
            notes["arm"], notes["kind"], notes["round"], states[trial.state], value, cost, notes["prompts"]
        )
    for p in level.points():
        if p.arm not in seen:
            yield archive.Trial(p.arm, "free", 0, "complete", p.value, p.cost, len(level.rows))


class Alone(Level):
    """A level that shares no draws: an arm is known from its own runs, and tells nothing of others."""

    def settle(self, slot: Slot, raced: Raced) -> None:
        self.raced[slot.arm] = raced.bound is None
        if raced.bound is None:
            value = np.array([float(r.correct) for r in raced.ran])
            cost = np.array([float(r.cost) for r in raced.ran])
            self.table.put(slot.arm, self.rows, value, cost, cost)

    def offspring(self) -> dict[str, list[int]]:
        return {}


def known(levels: Sequence[Level]) -> list[Known]:
    return [Known(level.name, level.points()) for level in levels]


def study(trial: Trial, method: Method) -> None:
    """Rounds of the product's own study, without its stopping rules."""
    runner, levels = trial.runner(method), trial.levels(method)
    recipe = Recipe(seed=trial.draw.seed, search=PROMPTS)
    recipe = recipe if method.racing else replace(recipe, block=10**6)
    rounds = Rounds(recipe, runner, levels, trial.draw.ground.filled.mix)
    if method.start:
        design(levels, recipe.largest)
    with trial.draw.ground.search.remembered():
        asyncio.run(_rounds(trial, method, rounds, runner, levels))


async def _rounds(trial: Trial, method: Method, rounds: Rounds, runner: Any, levels: Sequence[Level]) -> None:
    idle = 0
    for number in range(0 if method.start else 1, trial.rounds):
        if method.fed and number:
            feed(levels, number, rounds.recipe.slots)
        await rounds._round(number, 10**6)
        trial.note(runner.memo.tokens, known(levels))
        if not method.start:
            for level in levels:
                level.queue.clear()
        raced = rounds.history[-1].raced
        trial.raced += raced
        idle = 0 if raced else idle + 1
        if idle == IDLE:
            trial.ended = "nothing new was asked for"
            return
    trial.ended = "rounds"


def plain(trial: Trial, method: Method) -> None:
    """Optuna as it comes: one study a level, each trial on draws of its own, on all prompts."""
    runner = trial.runner(method)
    found: list[dict[str, Point]] = [{} for _ in trial.names]
    storage = optuna.storages.InMemoryStorage()
    studies = [opened(name, storage, "flops") for name in trial.names]  # type: ignore[arg-type]
    for name, one in zip(trial.names, studies):
        one.sampler = sampler(method.proposer, trial.draw.seed, name)
    for _ in range(3 * trial.rounds):
        for name, one, points in zip(trial.names, studies, found):
            asked = one.ask()
            strategy = trial.space.suggest(asked)
            problems = [trial.draw.table.problems[i] for i in trial.draw.rows(name)]
            ran = asyncio.run(_all(runner, strategy, problems))
            value, cost = float(np.mean([r.correct for r in ran])), float(np.mean([r.cost for r in ran]))
            one.tell(asked, [value, cost])
            points[show(strategy)] = Point(show(strategy), value, cost)
            trial.raced += 1
        trial.note(runner.memo.tokens, [Known(n, list(p.values())) for n, p in zip(trial.names, found)])
    trial.ended = "trials"


async def _all(runner: Any, strategy: Any, problems: Sequence[Problem]) -> list[Any]:
    return [await runner.run(strategy, p) for p in problems]


LEAST, ENTRANTS = 4, 16  # prompts of the first rung, and arms that begin it


def halving(trial: Trial, method: Method) -> None:
    """Successive halving over random arms, again and again, with shared draws and the arms that these make free."""
    runner, levels, arms = trial.runner(method), trial.levels(method), trial.space.arms
    orders = {level.name: Random(f"{trial.draw.seed}:{level.name}").sample(arms, k=len(arms)) for level in levels}
    with trial.draw.ground.search.remembered():
        for bracket in range(trial.rounds):
            if not any(orders.values()):
                break
            asyncio.run(_bracket(trial, bracket, runner, levels, orders))
    trial.ended = "all arms were tried"


async def _bracket(
    trial: Trial, bracket: int, runner: Any, levels: Sequence[Level], orders: Mapping[str, list[Any]]
) -> None:
    entrants: dict[str, list[Any]] = {}
    for level in levels:
        order = orders[level.name]
        entrants[level.name] = []
        while order and len(entrants[level.name]) < ENTRANTS:
            if not level.knows(strategy := order.pop()):
                entrants[level.name].append(strategy)
        trial.raced += len(entrants[level.name])
    size = LEAST
    while True:
        size = min(size, PROMPTS)
        for level in levels:
            some = level.problems[:size]
            ran = {show(s): (s, await _all(runner, s, some)) for s in entrants[level.name]}
            if size < len(level.problems):
                entrants[level.name] = _better(ran)
                continue
            for i, (strategy, runs) in enumerate(ran.values()):
                level.settle(Slot(i, strategy, "asked", None), Raced(tuple(runs), None))
            await measure(runner, level.table, level.offspring(), seed=0)
        trial.note(runner.memo.tokens, known(levels))
        if size == PROMPTS:
            return
        size *= 2


def _better(ran: Mapping[str, tuple[Any, list[Any]]]) -> list[Any]:
    """The half of the arms that is nearest to the frontier of them all, at the cost of each."""
    points = {
        arm: Point(arm, float(np.mean([r.correct for r in runs])), float(np.mean([r.cost for r in runs])))
        for arm, (_, runs) in ran.items()
    }
    curve = envelope(list(points.values()))
    cost, value = [p.cost for p in curve], [p.value for p in curve]
    below = {arm: float(np.interp(p.cost, cost, value)) - p.value for arm, p in points.items()}
    return [ran[arm][0] for arm in sorted(below, key=lambda arm: (below[arm], points[arm].cost))[: (len(ran) + 1) // 2]]


METHODS: dict[str, Method] = {
    "ours": Method("tpe"),
    "random": Method("random", start=False),
    "tpe": Method("tpe", start=False),
    "nsga2": Method("nsga2", start=False, fed=True),
    "insight rules": Method("insight", start=False, fed=True),
    "covering": Method("covering", start=False, fed=True),
    "random, our start": Method("random"),
    "successive halving": Method("random", start=False, play=halving),
    "tpe fresh": Method("tpe", start=False, shared=False, racing=False, play=plain),
    "ours, no shared draws": Method("tpe", shared=False),
    "ours, no racing": Method("tpe", racing=False),
    "ours, no warm start": Method("tpe", start=False),
}


def play(draw: Draw, name: str, rounds: int = ROUNDS) -> Curve:
    """One method on the prompts of one seed."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    began, method, trial = time.monotonic(), METHODS[name], Trial(draw, rounds)
    (method.play or study)(trial, method)
    return Curve(
        name,
        draw.seed,
        tuple(trial.tokens),
        tuple(h.gain for h in trial.heights),
        tuple(h.plain for h in trial.heights),
        draw.final.gain,
        draw.final.plain,
        time.monotonic() - began,
        trial.raced,
        trial.ended,
    )
