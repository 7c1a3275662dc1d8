"""One study of one method on filled arrays, and its anytime curve. All search logic is the product's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Any

import numpy as np
import optuna

from autotts.core.strategy import Strategy
from autotts.core.task import Problem
from autotts.policy.allocation import Point
from autotts.predict import levels as predict
from autotts.predict.descriptors import Descriptors, describe_model, describe_task, this_machine
from autotts.predict.threads import one_thread
from autotts.search.archive import Archive
from autotts.search.asking import Asking
from autotts.search.book import Book, opened
from autotts.search.level import Level
from autotts.search.measure import Table
from autotts.search.memory import Recalled, nearest, shelves, start
from autotts.search.proposers import PROPOSERS
from autotts.search.proposers.guided import Guided
from autotts.search.recipe import Recipe
from autotts.search.rounds import Fit, Rounds, design
from autotts.search.runs import Runner
from autotts.search.screen import Screen
from autotts.search.space import Space
from autotts.strategies.arms import parse, show
from autotts.tasks import find
from autotts.worlds.shelf import cards
from tests.benchmarks.filled import Filled
from tests.benchmarks.hypervolume import Exam, Height, Known, Marks
from tests.benchmarks.replaying import Fresh, Replayer, Shelf, Spent, measured

PROMPTS = 32  # of each level that a study searches on
ROUNDS = 60
TOKENS = 1_000_000  # at which a study is ended
IDLE = 4  # rounds in succession that raced nothing, after which nothing will be


@dataclass(frozen=True)
class Method:
    """A way of searching: settings of the recipe, and what no recipe can switch off."""

    recipe: Mapping[str, Any]
    neighbours: bool = True  # what is on the frontier of one level waits at the next ones
    sharing: bool = True  # draws are shared, and arms that follow from them are free
    fit: Fit | None = None  # another predictor of arms than ours
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

    @cached_property
    def recalled(self) -> Recalled:
        """The past studies that come with the package."""
        models = {role: describe_model(card) for role, card in cards(self.filled.space.models).items()}
        here = Descriptors(task=describe_task(find(self.filled.task)), models=models, machine=this_machine())
        return nearest(here, shelves())


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
        levels = [Known(name, points) for name, points in known.items()]
        return self.marks.height(levels, self.ground.filled.mix)


@dataclass(eq=False)
class Trial:
    """One method on the prompts of one seed; `note` writes down how good what it knows is by now."""

    draw: Draw
    rounds: int = ROUNDS
    most: int = TOKENS
    tokens: list[int] = field(default_factory=list)
    heights: list[Height] = field(default_factory=list)
    raced: int = 0
    ended: str = "rounds"

    @property
    def over(self) -> bool:
        """Whether a study has drawn enough to be ended."""
        if self.tokens[-1] >= self.most:
            self.ended = "tokens"
        return self.tokens[-1] >= self.most

    @property
    def space(self) -> Space:
        return self.draw.ground.filled.space

    @property
    def names(self) -> tuple[str, ...]:
        return self.draw.ground.names

    def note(self, tokens: int, levels: Sequence[Known]) -> None:
        self.tokens.append(tokens)
        self.heights.append(self.draw.marks.height(levels, self.draw.ground.filled.mix))

    def levels(self, method: Method, first: int = PROMPTS) -> list[Level]:
        """New levels of a study, in memory."""
        storage = optuna.storages.InMemoryStorage()
        table = Table(self.draw.table.problems, self.draw.table.weight)
        out = []
        for name in self.names:
            book, rows = Book(opened(name, storage, "flops"), self.space), self.draw.rows(name)
            out.append(Level(name, table, rows, min(first, len(rows)), book, self.space, sharing=method.sharing))
        return out

    def runner(self, method: Method) -> Any:
        shelf = self.draw.ground.search
        return Replayer(shelf) if method.sharing else Fresh(shelf, self.draw.seed)


def known(levels: Sequence[Level]) -> list[Known]:
    """What levels know of their arms, as a study would allot them."""
    return [Known(level.name, level.candidates()) for level in levels]


def study(trial: Trial, method: Method) -> None:
    """Rounds of the product's own study; it does not end where that would, but grows its prompts when that does."""
    recipe = Recipe(**{"seed": trial.draw.seed, "search": PROMPTS, **method.recipe})
    runner, levels = trial.runner(method), trial.levels(method, recipe.first)
    like = Archive(
        level="", levels=trial.names, space=trial.space, work=trial.draw.ground.filled.work, seed=recipe.seed
    )
    screen = Screen(seed=recipe.seed) if "before" in recipe.pruning else None
    asking = Asking([PROPOSERS[name]() for name in recipe.proposers], Guided(), screen)
    rounds = Rounds(recipe, runner, levels, trial.draw.ground.filled.mix, asking, like)
    if method.fit is not None:
        rounds.fit = method.fit
    if recipe.start == "memory":
        begin = start(trial.draw.ground.recalled, trial.space, like.work, trial.names)
        rounds.prior = begin.prior
        for level in levels:
            level.queue += [(parse(arm), "remembered") for arm in begin.arms.get(level.name, ())]
    if recipe.start == "designed":
        design(levels, recipe.largest)
    with measured(runner), one_thread():
        asyncio.run(rounds.learn())
        asyncio.run(_rounds(trial, method, rounds, runner.memo))


async def _rounds(trial: Trial, method: Method, rounds: Rounds, spent: Spent) -> None:
    def note() -> None:
        trial.note(spent.tokens, known(rounds.levels))

    await rounds.learn()
    idle = 0
    for number in range(trial.rounds):
        await rounds._round(number, 10**6)
        if not method.neighbours:
            for level in rounds.levels:
                level.queue.clear()
        note()
        raced = rounds.history[-1].raced
        trial.raced += raced
        idle = 0 if raced else idle + 1
        if rounds._converged() and await rounds._more_prompts(number):
            idle = 0
            note()
        if idle == IDLE:
            trial.ended = "nothing new was asked for"
            return
        if trial.over:
            return


def plain(trial: Trial, method: Method) -> None:
    """Optuna as it comes: one study a level, each trial on draws of its own, on all prompts."""
    runner = trial.runner(method)
    found: list[dict[str, Point]] = [{} for _ in trial.names]
    storage = optuna.storages.InMemoryStorage()
    studies = [opened(name, storage, "flops") for name in trial.names]
    for at, one in enumerate(studies):
        one.sampler = optuna.samplers.TPESampler(seed=1000 * trial.draw.seed + at)
    for _ in range(3 * trial.rounds):
        for name, one, points in zip(trial.names, studies, found):
            asked = one.ask()
            strategy = trial.space.suggest(asked)
            problems = [trial.draw.table.problems[i] for i in trial.draw.rows(name)]
            ran = asyncio.run(every(runner, strategy, problems))
            value, cost = float(np.mean([r.correct for r in ran])), float(np.mean([r.cost for r in ran]))
            one.tell(asked, [value, cost])
            points[show(strategy)] = Point(show(strategy), value, cost)
            trial.raced += 1
        trial.note(runner.memo.tokens, [Known(n, list(p.values())) for n, p in zip(trial.names, found)])
        if trial.over:
            return


async def every(runner: Runner | Replayer | Fresh, strategy: Strategy, problems: Sequence[Problem]) -> list[Any]:
    """One run on each problem."""
    return [await runner.run(strategy, p) for p in problems]
