"""One study: its prompts, its levels, its phases from search to confirmation, and its figures."""

from __future__ import annotations

import datetime
import hashlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

import numpy as np
import optuna

from autotts.core.progress import Watcher
from autotts.core.task import Task
from autotts.engine.capped import DRAWN, JUDGED, SCORED, Capped, Ledger
from autotts.engine.memo import Memo
from autotts.errors import BudgetError, InputError, SearchBudgetReached
from autotts.predict import levels as predict
from autotts.search.archive import Archive, Proposer
from autotts.search.asking import Asking
from autotts.search.book import Book, opened
from autotts.search.choose import Choice, choose
from autotts.search.confirm import Confirmed, Held, confirm
from autotts.search.contact import words
from autotts.search.evaluate import table_of
from autotts.search.export import digest
from autotts.search.failures import Failures
from autotts.search.level import Level, narrowed
from autotts.search.measure import Table, level_name
from autotts.search.memory import Recalled, Start, start
from autotts.search.proposers import PROPOSERS
from autotts.search.proposers.agent import Agent
from autotts.search.proposers.guided import Guided
from autotts.search.race import Raced
from autotts.search.recipe import Recipe
from autotts.search.result import Spent, assemble
from autotts.search.rounds import Rounds, complete
from autotts.search.runs import Runner
from autotts.search.screen import Screen
from autotts.search.space import Space, usable, work
from autotts.search.tally import Tally
from autotts.search.telling import snapshot
from autotts.store.meta import Meta
from autotts.store.outcomes import Graded, Outcomes
from autotts.store.samples import Samples
from autotts.store.usage import Used
from autotts.strategies import STRATEGIES, STUDIED
from autotts.strategies.arms import parse
from autotts.worlds.catalogue import Bench
from autotts.worlds.epochs import Epoch

AGENT, PROPOSED = "agent", "proposed"  # in the ledger
IN_FLIGHT = "in flight when a run was killed"
Done: TypeAlias = tuple[tuple[str, str], Choice, Confirmed]  # why the search stopped; what was chosen and confirmed
EVERY = 0.1  # seconds between two snapshots
SEARCH_SHARE = 0.5  # of --search-budget, for the search; the rest is for the confirmation


@dataclass
class Prompts:
    """The problems of a study, by level, as tables of the traffic."""

    levels: list[str]
    weights: dict[str, float]
    search: Table
    confirm: Table

    def rows(self, table: Table, name: str) -> np.ndarray:
        return np.array([i for i, p in enumerate(table.problems) if level_name(p) == name])


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
    ledger: Ledger = field(default_factory=Ledger)
    tally: Tally = field(default_factory=Tally)
    failures: Failures = field(default_factory=Failures)
    rounds: Rounds | None = None
    outcomes: Outcomes | None = None
    meta: Meta | None = None
    agent: Agent | None = None
    asking: Asking | None = None
    recalled: Recalled | None = None  # past studies, where the search may begin from them
    unable: Mapping[str, str] = field(default_factory=dict)  # strategies that these models cannot run, and why
    searched: int = 0
    shown: float = 0.0
    before: int = 0
    charged: int = 0  # to the agent, of the parts that were spent

    @property
    def cap(self) -> int | None:
        amount = self.recipe.cap_amount
        return None if amount is None else amount.parts

    def space(self) -> Space:
        """The strategies that were asked for and that these models can run."""
        asked = self.recipe.strategies or STUDIED
        for name in asked:
            if name not in STRATEGIES:
                raise InputError(f"unknown strategy {name!r}; expected some of {', '.join(STRATEGIES)}")
        kinds = usable({n: STRATEGIES[n] for n in asked if n not in self.unable}, self.world.scorers)
        most = {m: int(self.recipe.largest * max(self.work.values()) / w) for m, w in self.work.items()}
        return Space(kinds, tuple(self.work), tuple(self.world.scorers), most)

    @property
    def work(self) -> dict[str, float]:
        """What a token of each model takes, in relation to the others."""
        return work({m: self.world.cards[m] for m in self.world.models})

    def levels(self, storage: optuna.storages.RDBStorage) -> list[Level]:
        """One Optuna study for each level, opened or made."""
        space = self.space()
        out = []
        for name in self.prompts.levels:
            suffix = name if name == "all" else f"L{name}"
            book = Book(opened(f"{self.name}/{suffix}", storage, self.recipe.unit), space, self.recipe.unit)
            rows = self.prompts.rows(self.prompts.search, name)
            out.append(Level(name, self.prompts.search, rows, min(self.recipe.first, len(rows)), book, space))
        return out

    # ------------------------------------------------------------ the phases

    async def run(self, levels: list[Level], samples: Samples) -> Done:
        """Search, complete, choose, confirm."""
        amount = self.recipe.search_amount
        self.ledger.limit = None if amount is None else int(amount.parts * SEARCH_SHARE)
        earlier = self.ledger.spent
        stopped = await self._search(levels, samples)
        self._split(earlier)
        levels[:] = narrowed(levels)
        self.ledger.limit = None if amount is None else amount.parts
        choice = choose(levels, self.prompts.weights, self.recipe, self.cap, self.difficulty)
        held = self._held()
        world = Capped(Epoch(self.world, 1, self.world.scorers), self.ledger)
        async with Memo(world, samples) as memo:
            self.memos.append(memo)
            runner = self._runner(memo, "confirm")
            confirmed = await confirm(runner, held, choice, levels, self.prompts.weights, self.recipe)
        return stopped, choice, confirmed

    async def _search(self, levels: list[Level], samples: Samples) -> tuple[str, str]:
        async with Memo(Capped(Epoch(self.world, 0, self.world.scorers), self.ledger), samples) as memo:
            self.memos.append(memo)
            runner = self._runner(memo, "search")
            like = Archive(
                level="",
                levels=tuple(self.prompts.levels),
                space=self.space(),
                work=self.work,
                seed=self.recipe.seed,
                unit=self.recipe.unit,
                budget=None if self.recipe.amount is None else float(self.recipe.amount.parts),
                cap=self.cap,
            )
            screen = Screen(seed=self.recipe.seed) if "before" in self.recipe.pruning else None
            self.asking = Asking(self.proposers(), Guided(), screen, self._charge)
            self.asking.notes += words(self.unable)
            start = self._start()
            for level in levels:
                level.queue += [(parse(arm), "remembered") for arm in start.arms.get(level.name, ())]
            if start.words:
                self.asking.notes.append(start.words)
            self.rounds = Rounds(
                self.recipe,
                runner,
                levels,
                self.prompts.weights,
                self.asking,
                like,
                prior=start.prior,
                keep=self._keep,
                told=self._show,
            )
            stopped = await self.rounds.run()
            if not all(level.points(self.cap) for level in levels):
                raise BudgetError(
                    f"--search-budget {self.recipe.search_budget} ended the search before the first round was done: "
                    "what was drawn is kept; run the same command with a larger --search-budget"
                )
            try:
                self.rounds.runner = self._runner(memo, "complete")
                await complete(self.rounds.runner, levels, self.recipe.seed, self.rounds.learn)
            except SearchBudgetReached:
                stopped = (
                    "search-budget",
                    f"the search used its part of {self.recipe.search_budget} (--search-budget)",
                )
            for level in levels:
                level.finish(len(self.rounds.history))
        return stopped

    def _start(self) -> Start:
        """Where the search begins: with what the nearest past study tells, if that is wanted and one is near."""
        if self.recalled is None:
            return Start(None, {}, "")
        return start(self.recalled, self.space(), self.work, self.prompts.levels)

    def proposers(self) -> list[Proposer]:
        """Those that the recipe names."""
        return [self.agent if name == "agent" and self.agent else PROPOSERS[name]() for name in self.recipe.proposers]

    def _charge(self, proposer: Proposer) -> None:
        """Pay for what a proposer took, from the same search budget as draws."""
        if isinstance(proposer, Agent):
            self.ledger.settle(AGENT, PROPOSED, reserved=0, parts=proposer.spent(self.recipe.unit) - self.charged)
            self.charged = proposer.spent(self.recipe.unit)

    def _runner(self, memo: Memo, phase: str) -> Runner:
        """What runs the arms of a phase, and counts them."""
        self.tally = Tally(phase, changed=self._show)
        self.shown = 0.0  # a new phase is always shown
        self._show()
        return Runner(memo, self.world, self.task, self.cap, tally=self.tally, failures=self.failures)

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

    # ------------------------------------------------------------ outcomes and progress

    def _keep(self, level: Level, arm: str, raced: Raced) -> None:
        """Write down how a raced arm did on each prompt."""
        if self.outcomes is not None:
            rows = [
                Graded(arm, p.id, 0, r.answer, float(r.correct), r.cost, r.ended)
                for p, r in zip(level.problems, raced.ran)
            ]
            self.outcomes.add(level.book.study.study_name, rows)

    def _show(self) -> None:
        now = time.monotonic()
        if self.watch is None or self.rounds is None or now - self.shown < EVERY:
            return
        self.shown = now
        self.watch(
            snapshot(
                self.rounds,
                self.tally,
                draws=sum(m.made for m in self.memos),
                reused=sum(m.reused for m in self.memos),
                tokens=self.tokens,
                spend=self.ledger.spent,
                elapsed=time.monotonic() - self.began,
            )
        )

    @property
    def tokens(self) -> int:
        """Tokens generated by this run."""
        return sum(u.generated + u.cancelled for memo in self.memos for u in memo.spend.values())

    # ------------------------------------------------------------ money and figures

    def taken(self, stored: Sequence[Used]) -> dict[tuple[str, str], int]:
        """What earlier runs drew, by (binding id, kind), in parts; their tokens are counted as made before."""
        by_id = {f"{b.id}#{epoch}": b for b in self.world.bindings.values() for epoch in (0, 1)}
        by_id |= {self.world.bindings[s].id: self.world.bindings[s] for s in self.world.scorers}
        out: dict[tuple[str, str], int] = {}
        for row in stored:
            binding = by_id.get(row.binding)
            if binding is not None:
                whole = row.prompt + row.cached
                one = binding.prices.of_prompt(whole, row.prompt) + binding.prices.of_generated(whole, row.generated)
                kind = DRAWN if row.kind != "score" else JUDGED if binding.max_tokens else SCORED
                out[row.binding, kind] = out.get((row.binding, kind), 0) + row.count * one
                self.before += row.count * row.generated
        return out

    def pay_from(self, ledger: Ledger, agent: Agent | None) -> None:
        """Pay from a ledger; what it says of the agent is charged already."""
        self.ledger, self.agent = ledger, agent
        self.charged = ledger.by.get((AGENT, PROPOSED), 0)
        if agent is not None:
            self._charge(agent)

    def _split(self, earlier: int) -> None:
        """How much of the spend was for the search: of all runs together, as the database remembers it."""
        key = f"searched/{self.name}"
        before = None if self.meta is None else self.meta.get(key)
        # Before the first search was done, all that had been drawn was for it.
        self.searched = self.ledger.spent - earlier + (earlier if before is None else int(before))
        if self.meta is not None:
            self.meta.set(key, self.searched)

    def identity(self) -> dict[str, Any]:
        """What makes it this study and no other."""
        past = [] if self.recalled is None else [one for one in self.recalled.studies[:1] if one.near]
        return self.recipe.identity() | {
            "memory": [f"{one.name} {_hash(one.distilled.model_dump_json())}" for one in past],
            "models": {role: b.id for role, b in sorted(self.world.bindings.items())},
            "prompts": digest([*self.prompts.search.problems, *self.prompts.confirm.problems]),
        }

    def result(
        self,
        levels: Sequence[Level],
        stopped: tuple[str, str],
        choice: Choice,
        confirmed: Confirmed,
        *,
        command: str,
        settled: Mapping[tuple[str, str], int],
    ) -> dict[str, Any]:
        """The study's result as data; `settled` is what it has spent, by (binding id, kind)."""
        assert self.rounds is not None
        by_model, by_kind = Counter[str](), Counter[str]()
        roles = {b.id: role for role, b in self.world.bindings.items()}
        for (name, kind), parts in settled.items():
            by_model[roles.get(name.rsplit("#", 1)[0], name or IN_FLIGHT)] += parts
            by_kind[kind] += parts
        return assemble(
            name=self.name,
            recipe=self.recipe,
            stopped=stopped,
            choice=choice,
            confirmed=confirmed,
            levels=levels,
            weights=self.prompts.weights,
            history=self.rounds.history,
            proposed=self._proposed(),
            spent=Spent(
                search=self.searched,
                confirm=sum(settled.values()) - self.searched,
                by_model=dict(sorted(by_model.items())),
                by_kind=dict(sorted(by_kind.items())),
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

    def _proposed(self) -> dict[str, Any]:
        """Who proposed how much, what became of it, what the predictor was worth, and what a user should know."""
        assert self.asking is not None and self.rounds is not None
        model = self.rounds.model
        out: dict[str, Any] = {
            "by": {name: dict(sorted(counts.items())) for name, counts in sorted(self.asking.counts.items())},
            "notes": [*self.asking.notes, *self.failures.words()],
            "predictor": None if model is None else {"kind": model.kind, "why": model.why, "n": model.n, **model.check},
        }
        if self.agent is not None:
            out["agent"] = {**asdict(self.agent.counts), "note": self.agent.note}
        return out

    def _difficulty_figures(self, held: Held) -> dict[str, Any]:
        model = self.difficulty
        if model is None:
            return {"kind": "none"}
        right = np.array([a == b for a, b in zip(held.level, held.bin)], float)
        kind = "levels" if model.kind == "logistic" else "constant"
        return {"kind": kind, "accuracy": model.accuracy, "confirm_accuracy": float(right @ held.table.weight)}


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
