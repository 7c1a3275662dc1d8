"""A whole study: from a recipe to a confirmed policy. `optimize` is what the command of that name does."""

from __future__ import annotations

import asyncio
import datetime
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from autotts.core.progress import Snapshot, Watcher
from autotts.core.task import Problem, Task
from autotts.engine.capped import Capped, Ledger
from autotts.engine.memo import Memo
from autotts.errors import BudgetError, InputError, SearchBudgetReached
from autotts.policy.files import write_atomic
from autotts.policy.schema import Policy
from autotts.predict import levels as predict
from autotts.search.choose import Choice, choose
from autotts.search.confirm import Confirmed, Held, confirm
from autotts.search.evaluate import table_of
from autotts.search.export import digest, export
from autotts.search.level import OBJECTIVES, Level
from autotts.search.measure import Table
from autotts.search.recipe import Recipe
from autotts.search.result import Spent, assemble
from autotts.search.rounds import Rounds, complete
from autotts.search.runs import Bench, Runner
from autotts.search.space import Space, usable
from autotts.store import database
from autotts.store.meta import Meta
from autotts.store.samples import Samples
from autotts.store.usage import Used, used
from autotts.strategies import STRATEGIES
from autotts.worlds.epochs import Epoch
from autotts.worlds.tiny import SCORERS, known, open_tiny

SEARCH_SHARE = 0.6  # of --search-budget, for the search; the rest is for the confirmation


@dataclass(frozen=True, slots=True)
class Found:
    """What `optimize` returns: the result, the policy, and where they were written."""

    result: dict[str, Any]
    policy: Policy
    out: Path


@dataclass
class Prompts:
    """The problems of a study, by level, as tables of the traffic."""

    levels: list[str]
    weights: dict[str, float]
    search: Table
    confirm: Table

    def rows(self, table: Table, name: str) -> np.ndarray:
        return np.array([i for i, p in enumerate(table.problems) if level_name(p) == name])


def level_name(problem: Problem) -> str:
    """The name of a problem's bin: its level, or `all` where it has none."""
    return "all" if problem.level is None else str(problem.level)


def prompts_of(task: Task, recipe: Recipe) -> Prompts:
    """Search and held-out problems, equally many at each level; weights make them stand for the task's mix."""
    total = sum(task.mix.values())
    weights = {str(level): task.mix[level] / total for level in sorted(task.mix)} or {"all": 1.0}
    search = table_of(task, "search", recipe.search, recipe.seed)
    confirm = table_of(task, recipe.stream, recipe.confirm, recipe.seed)
    return Prompts(list(weights), weights, search, confirm)


@dataclass
class Study:
    """One study in one database."""

    name: str
    recipe: Recipe
    task: Task
    world: Bench
    prompts: Prompts
    watch: Watcher | None
    began: float = field(default_factory=time.monotonic)
    memos: list[Memo] = field(default_factory=list)
    ledger: Ledger = field(init=False)
    phase: tuple[str, int, int] = ("search", 0, 0)
    rounds: Rounds | None = None
    searched: int = 0
    before: int = 0

    def __post_init__(self) -> None:
        amount = self.recipe.search_amount
        self.ledger = Ledger(None if amount is None else amount.parts)

    @property
    def cap(self) -> int | None:
        amount = self.recipe.cap_amount
        return None if amount is None else amount.parts

    def space(self) -> Space:
        """The strategies that were asked for and that these models can run."""
        asked = self.recipe.strategies or tuple(STRATEGIES)
        for name in asked:
            if name not in STRATEGIES:
                raise InputError(f"unknown strategy {name!r}; expected some of {', '.join(STRATEGIES)}")
        kinds = usable({n: STRATEGIES[n] for n in asked}, self.world.scorers)
        return Space(kinds, tuple(self.world.models), tuple(self.world.scorers))

    def levels(self, storage: optuna.storages.RDBStorage) -> list[Level]:
        """One Optuna study for each level, opened or made."""
        space = self.space()
        out = []
        for name in self.prompts.levels:
            suffix = name if name == "all" else f"L{name}"
            study = optuna.create_study(
                study_name=f"{self.name}/{suffix}",
                storage=storage,
                directions=["maximize", "minimize"],
                load_if_exists=True,
            )
            study.set_metric_names([OBJECTIVES[0], f"{OBJECTIVES[1]} ({self.recipe.unit})"])
            rows = self.prompts.rows(self.prompts.search, name)
            out.append(Level(name, self.prompts.search, rows, study, space, self.recipe.seed, self.recipe.proposer))
        return out

    # ------------------------------------------------------------ the phases

    async def run(self, levels: list[Level], samples: Samples) -> tuple[tuple[str, str], Choice, Confirmed]:
        """Search, complete, choose, confirm."""
        amount = self.recipe.search_amount
        self.ledger.limit = None if amount is None else int(amount.parts * SEARCH_SHARE)
        stopped = await self._search(levels, samples)
        self.searched = self.ledger.spent
        self.ledger.limit = None if amount is None else amount.parts
        choice = choose(levels, self.prompts.weights, self.recipe, self.cap)
        held = self._held()
        world = Capped(Epoch(self.world, 1, self.world.scorers), self.ledger)
        async with Memo(world, samples) as memo:
            self.memos.append(memo)
            self.phase = ("confirm", 0, 0)
            runner = Runner(memo, self.world, self.task, self.cap)
            confirmed = await confirm(runner, held, choice, levels, self.prompts.weights, self.recipe, self._tick)
        return stopped, choice, confirmed

    async def _search(self, levels: list[Level], samples: Samples) -> tuple[str, str]:
        async with Memo(Capped(Epoch(self.world, 0, self.world.scorers), self.ledger), samples) as memo:
            self.memos.append(memo)
            runner = Runner(memo, self.world, self.task, self.cap)
            self.rounds = Rounds(
                self.recipe, runner, levels, self.prompts.weights, self.world.cards, lambda _: self._show()
            )
            stopped = await self.rounds.run()
            if not all(level.points(self.cap) for level in levels):
                raise BudgetError(
                    f"--search-budget {self.recipe.search_budget} ended the search before the first round was done: "
                    "what was drawn is kept; run the same command with a larger --search-budget"
                )
            self.phase = ("complete", 0, 0)
            try:
                await complete(runner, levels, self.recipe.seed, self._tick)
            except SearchBudgetReached:
                stopped = (
                    "search-budget",
                    f"the search used its part of {self.recipe.search_budget} (--search-budget)",
                )
        return stopped

    def _held(self) -> Held:
        """The held-out problems with the level that the policy predicts for each."""
        problems = self.prompts.confirm.problems
        names = tuple(level_name(p) for p in problems)
        if self.difficulty is None:
            return Held(self.prompts.confirm, names, names)
        return Held(self.prompts.confirm, names, tuple(str(self.difficulty.level(p.prompt)) for p in problems))

    @property
    def difficulty(self) -> predict.LevelModel | None:
        """The rule from prompt to level, learned on the search prompts; None for a task without levels."""
        if self._difficulty is None and len(self.prompts.levels) > 1:
            problems = self.prompts.search.problems
            self._difficulty = predict.fit(
                [p.prompt for p in problems],
                [int(p.level or 0) for p in problems],
                self.recipe.seed,
                {int(name): w for name, w in self.prompts.weights.items()},
            )
        return self._difficulty

    _difficulty: predict.LevelModel | None = None

    # ------------------------------------------------------------ progress

    def _tick(self, count: int) -> None:
        name, done, total = self.phase
        self.phase = (name, done + count, max(total, done + count))
        self._show()

    def _show(self) -> None:
        if self.watch is None or self.rounds is None:
            return
        rounds, (phase, done, total) = self.rounds, self.phase
        if phase == "search":
            done, total = rounds.done, rounds.total
        elapsed = time.monotonic() - self.began
        raced = sum(r.raced for r in rounds.history)
        share = raced / self.recipe.trials
        self.watch(
            Snapshot(
                phase=phase,
                done=done,
                total=total,
                round=len(rounds.history) + 1,
                rounds=self._rounds_expected(),
                trials=raced,
                pruned=sum(r.pruned for r in rounds.history),
                free=sum(r.free for r in rounds.history),
                draws=sum(m.made for m in self.memos),
                reused=sum(m.reused for m in self.memos),
                tokens=self.tokens,
                spend=self.ledger.spent,
                unit=self.recipe.unit,
                best=self._best(),
                elapsed=elapsed,
                left=elapsed * (1 - share) / share * 2 if phase == "search" and share > 0 else None,
            )
        )

    def _rounds_expected(self) -> int:
        assert self.rounds is not None
        first = self.rounds.history[0].raced if self.rounds.history else len(self.prompts.levels) * 2
        later = max(1, self.recipe.slots * len(self.prompts.levels))
        return 1 + max(0, -(-(self.recipe.trials - first) // later))

    def _best(self) -> tuple[float, float] | None:
        assert self.rounds is not None
        value = cost = 0.0
        for level in self.rounds.levels:
            front = level.frontier(self.cap)
            if not front:
                return None
            value += self.prompts.weights[level.name] * front[-1].value
            cost += self.prompts.weights[level.name] * front[-1].cost
        return value, cost

    @property
    def tokens(self) -> int:
        """Tokens generated by this run."""
        return sum(u.generated + u.cancelled for memo in self.memos for u in memo.spend.values())

    # ------------------------------------------------------------ money and figures

    def settle(self, stored: Sequence[Used]) -> None:
        """Charge what earlier runs drew, so that a search budget holds over all of them."""
        by_id = {f"{b.id}#{epoch}": b for b in self.world.bindings.values() for epoch in (0, 1)}
        by_id |= {self.world.bindings[s].id: self.world.bindings[s] for s in self.world.scorers}
        for row in stored:
            binding = by_id.get(row.binding)
            if binding is not None:
                whole = row.prompt + row.cached
                one = binding.prices.of_prompt(whole, row.prompt) + binding.prices.of_generated(whole, row.generated)
                self.ledger.settle(row.binding, row.kind, reserved=0, parts=row.count * one)
                self.before += row.count * row.generated

    def identity(self) -> dict[str, Any]:
        """What makes it this study and no other."""
        return self.recipe.identity() | {
            "models": {role: b.id for role, b in sorted(self.world.bindings.items())},
            "prompts": digest([*self.prompts.search.problems, *self.prompts.confirm.problems]),
        }

    def result(
        self,
        levels: Sequence[Level],
        stopped: tuple[str, str],
        choice: Choice,
        confirmed: Confirmed,
        command: str,
    ) -> dict[str, Any]:
        """The study's result as data."""
        assert self.rounds is not None
        by_model: dict[str, int] = {}
        roles = {b.id: role for role, b in self.world.bindings.items()}
        for (name, _), parts in self.ledger.by.items():
            role = roles.get(name.rsplit("#", 1)[0], name)
            by_model[role] = by_model.get(role, 0) + parts
        return assemble(
            name=self.name,
            recipe=self.recipe,
            stopped=stopped,
            choice=choice,
            confirmed=confirmed,
            levels=levels,
            weights=self.prompts.weights,
            history=self.rounds.history,
            spent=Spent(
                search=self.searched,
                confirm=self.ledger.spent - self.searched,
                by_model=dict(sorted(by_model.items())),
                draws=sum(m.made for m in self.memos),
                reused=sum(m.reused for m in self.memos),
                tokens=self.before + self.tokens,
                seconds=time.monotonic() - self.began,
            ),
            difficulty=self._difficulty_figures(confirmed.held),
            models={role: b.id for role, b in sorted(self.world.bindings.items())},
            command=command,
            date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )

    def _difficulty_figures(self, held: Held) -> dict[str, Any]:
        model = self.difficulty
        if model is None:
            return {"kind": "none"}
        right = np.array([a == b for a, b in zip(held.level, held.bin)], float)
        kind = "levels" if model.kind == "logistic" else "constant"
        return {"kind": kind, "accuracy": model.accuracy, "confirm_accuracy": float(right @ held.table.weight)}


@contextmanager
def storage(url: str) -> Iterator[tuple[Any, optuna.storages.RDBStorage]]:
    """Our engine and Optuna's on one database, as good neighbours."""
    engine = database.open(url)
    try:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        store = optuna.storages.RDBStorage(url)
        database.tune(store.engine)
        try:
            yield engine, store
        finally:
            store.remove_session()
            store.engine.dispose()
    finally:
        engine.dispose()


def optimize(
    recipe: Recipe,
    *,
    task: Task,
    out: Path,
    name: str = "",
    url: str | None = None,
    command: str = "",
    watch: Watcher | None = None,
    world: Callable[[], AbstractContextManager[Bench]] | None = None,
) -> Found:
    """Run a study, or go on with it, and write `policy.json` and `result.json` into `out`.

    Parameters
    ----------
    name
        Of the study; the task's by default.
    url
        SQLAlchemy URL of the database that holds samples and Optuna's studies; `autotts.db` in `out` by default.
    command
        What to write down as the command that made it.
    watch
        Called with a `Snapshot` as the study goes on.
    world
        Opens the world that answers; the embedded models by default.

    Raises
    ------
    InputError, StoreError, BudgetError
        What was drawn is kept in all cases.
    """
    name = name or task.name
    folder(out)
    prompts = prompts_of(task, recipe)
    opened = world or (lambda: open_tiny(known(recipe.models), SCORERS, read=task.read, unit=recipe.unit))
    with opened() as answering, storage(url or f"sqlite:///{out / 'autotts.db'}") as (engine, optunas):
        study = Study(name, recipe, task, answering, prompts, watch)
        for problem in (*prompts.search.problems, *prompts.confirm.problems):
            answering.root(problem.prompt)  # a prompt that cannot be read is told before anything is spent
        Meta(engine).claim(name, study.identity())
        study.settle(used(engine))
        levels = study.levels(optunas)
        with Samples(engine) as samples:
            stopped, choice, confirmed = asyncio.run(study.run(levels, samples))
        result = study.result(levels, stopped, choice, confirmed, command)
    policy = export(
        recipe=recipe,
        task=task,
        choice=choice,
        levels=levels,
        difficulty=study.difficulty,
        bindings=answering.bindings,
        cards={role: asdict(card) for role, card in answering.cards.items()},
        result=result,
    )
    policy.save(out / "policy.json")
    write_atomic(out / "result.json", json.dumps(result, indent=2, allow_nan=False) + "\n")
    return Found(result, policy, out)


def folder(out: Path) -> None:
    """Make the output folder, and see that files can be written there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise InputError(
            f"--out {out}: expected a folder that can be written to: {error.strerror}; give another with --out"
        ) from None
