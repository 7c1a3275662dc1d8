"""One difficulty level of a study: its prompts, its Optuna study, and what is known of its arms."""

from __future__ import annotations

import hashlib
import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from autotts.core.strategy import Range, Role, Strategy, knobs
from autotts.core.task import Problem
from autotts.errors import InputError
from autotts.policy.allocation import Point, envelope
from autotts.search.measure import Table
from autotts.search.race import Raced, Rival
from autotts.search.runs import Family, depth, family, scorer
from autotts.search.space import Space
from autotts.strategies import POOLED, STRATEGIES
from autotts.strategies.arms import parse, show

OBJECTIVES = ("accuracy", "mean cost")


@dataclass(frozen=True, slots=True)
class Slot:
    """One arm of a round; `trial` is its number in Optuna, None while it is designed and not yet added."""

    index: int
    strategy: Strategy
    kind: str  # "designed" | "neighbour" | "asked"
    trial: int | None

    @property
    def arm(self) -> str:
        return show(self.strategy)


@dataclass
class Level:
    """The state of one level; everything in it follows from the recipe and the stored draws."""

    name: str
    table: Table
    rows: NDArray[np.intp]
    study: optuna.Study
    space: Space
    seed: int
    proposer: str
    raced: dict[str, bool] = field(default_factory=dict)  # arm -> whether it took all prompts
    pools: dict[Family, tuple[int, str | None]] = field(default_factory=dict)
    queue: list[tuple[Strategy, str]] = field(default_factory=list)
    _points: dict[str, tuple[float, float, float]] = field(default_factory=dict)

    @property
    def problems(self) -> list[Problem]:
        return [self.table.problems[row] for row in self.rows]

    # ------------------------------------------------------------ what is asked

    def slots(self, number: int, size: int) -> list[Slot]:
        """The arms of a round: what waits in the queue first, then what the sampler asks for."""
        have = self._of_round(number)
        out: list[Slot] = []
        arms: set[str] = set()
        for index in range(size):
            slot = self._queued(index) or self._asked(number, index, have.get(index))
            if slot is not None and slot.arm not in arms:
                out.append(slot)
                arms.add(slot.arm)
            elif slot is not None and slot.trial is not None:
                self._close(slot.trial, "the same arm stands in this round already")
        return out

    def _queued(self, index: int) -> Slot | None:
        while self.queue:
            strategy, kind = self.queue.pop(0)
            if not self.knows(strategy):
                return Slot(index, strategy, kind, None)
        return None

    def _asked(self, number: int, index: int, found: FrozenTrial | None) -> Slot | None:
        """Ask the sampler, unless an interrupted run did so already; an arm that is known is told at once."""
        if found is None:
            self.study.sampler = sampler(self.proposer, self.seed, self.name, number, index)
            trial = self.study.ask()
            strategy = self.space.suggest(trial)
            trial.set_user_attr("arm", show(strategy))
            trial.set_user_attr("kind", "asked")
            trial.set_user_attr("round", number)
            trial.set_user_attr("slot", index)
            trial_number = trial.number
        else:
            strategy, trial_number = parse(str(found.user_attrs["arm"])), found.number
        if self.knows(strategy):
            value, cost = self.point(show(strategy))
            self._tell(trial_number, [value, cost], {"known": "from draws already made"})
            return None
        if show(strategy) in self.raced:
            self._close(trial_number, "raced and stopped in an earlier round")
            return None
        return Slot(index, strategy, "asked", trial_number)

    def _of_round(self, number: int) -> dict[int, FrozenTrial]:
        """What an interrupted run asked for in this round; half-asked trials are closed."""
        out: dict[int, FrozenTrial] = {}
        for trial in self.study.get_trials(deepcopy=False):
            if "slot" not in trial.user_attrs:
                if trial.state == TrialState.RUNNING:
                    self._close(trial.number, "interrupted while it was asked for")
            elif trial.user_attrs.get("round") == number and trial.user_attrs.get("kind") == "asked":
                out[int(trial.user_attrs["slot"])] = trial
        return out

    def knows(self, strategy: Strategy) -> bool:
        """Whether an arm is measured on all prompts, or follows from draws that are."""
        arm = show(strategy)
        return arm in self._points or self.table.known(arm, self.rows)

    # ------------------------------------------------------------ what is told

    def settle(self, slot: Slot, raced: Raced) -> None:
        """Take note of how an arm of a round did."""
        self.raced[slot.arm] = raced.bound is None
        of = family(slot.strategy)
        if raced.bound is None and of is not None:
            count, by = self.pools.get(of, (0, None))
            self.pools[of] = (max(count, depth(slot.strategy)), by or scorer(slot.strategy))
        elif raced.bound is None:
            value = np.array([float(r.correct) for r in raced.ran])
            cost = np.array([float(r.cost) for r in raced.ran])
            self.table.put(slot.arm, self.rows, value, cost, cost)

    def tell(self, number: int, slot: Slot, raced: Raced) -> None:
        """Write an arm of the round into Optuna's study, once."""
        notes: dict[str, object] = {"prompts": len(raced.ran)}
        if raced.bound is not None:
            notes |= {"bound": raced.bound, "accuracy so far": raced.value, "mean cost so far": raced.cost}
        values = None if raced.bound is not None else list(self.point(slot.arm))
        if slot.trial is not None:
            self._tell(slot.trial, values, notes)
            return
        self._add(slot.strategy, values, notes | {"kind": slot.kind, "round": number, "slot": slot.index})

    def add_free(self, number: int) -> int:
        """Add the arms of the frontier that came from stored draws alone; how many this round has added."""
        for p in self.frontier():
            if p.arm not in self.raced:
                self._add(parse(p.arm), [p.value, p.cost], {"kind": "free", "free": True, "round": number})
        notes = [t.user_attrs for t in self.study.get_trials(deepcopy=False)]
        return sum(bool(n.get("free")) and n.get("round") == number for n in notes)

    def _tell(self, number: int, values: list[float] | None, notes: Mapping[str, object]) -> None:
        trial = self.study.get_trials(deepcopy=False)[number]
        if trial.state.is_finished():
            return
        for key, value in notes.items():
            self.study._storage.set_trial_user_attr(trial._trial_id, key, value)
        if values is None:
            self.study.tell(number, state=TrialState.PRUNED)
        else:
            self.study.tell(number, values)

    def _close(self, number: int, why: str) -> None:
        trial = self.study.get_trials(deepcopy=False)[number]
        if not trial.state.is_finished():
            self.study._storage.set_trial_user_attr(trial._trial_id, "closed", why)
            self.study.tell(number, state=TrialState.FAIL)

    def _add(self, strategy: Strategy, values: list[float] | None, notes: Mapping[str, object]) -> None:
        arm = show(strategy)
        params = self.space.params(strategy)
        if params is None or any(
            t.user_attrs.get("arm") == arm
            for t in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        ):
            return
        domains = {k: v for k, v in self.space.distributions(params["strategy"]).items() if k in params}
        self.study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.PRUNED if values is None else TrialState.COMPLETE,
                params=params,
                distributions=domains,
                values=values,
                user_attrs={"arm": arm, **notes},
            )
        )

    # ------------------------------------------------------------ what is known

    def point(self, arm: str) -> tuple[float, float]:
        """Mean value and mean cost of an arm on this level's prompts."""
        return self._known(arm)[:2]

    def _known(self, arm: str) -> tuple[float, float, float]:
        """Mean value, mean cost and worst cost; what is known does not change any more."""
        if arm not in self._points:
            found = self.table.arms[arm]
            value, cost, worst = (x[self.rows] for x in (found.value, found.cost, found.worst))
            self._points[arm] = (float(value.mean()), float(cost.mean()), float(worst.max()))
        return self._points[arm]

    def points(self, cap: float | None = None) -> list[Point]:
        """Every arm that is known on all prompts of the level, and never cost more than the cap."""
        return [
            Point(arm, *self.point(arm))
            for arm in self.table.arms
            if (arm in self._points or self.table.known(arm, self.rows)) and (cap is None or self._known(arm)[2] <= cap)
        ]

    def frontier(self, cap: float | None = None) -> list[Point]:
        """The upper concave envelope of the level's arms."""
        return envelope(self.points(cap))

    def rivals(self, cap: float | None = None) -> list[Rival]:
        """The arms of the frontier, prompt by prompt."""
        out = []
        for p in self.frontier(cap):
            found = self.table.arms[p.arm]
            out.append(Rival(p.arm, found.value[self.rows], found.cost[self.rows]))
        return out

    def offspring(self) -> dict[str, list[int]]:
        """All arms that the stored draws of this level answer, that are not measured yet."""
        wanted: dict[str, list[int]] = {}
        for of, (count, by) in self.pools.items():
            for strategy in choosing(self.space, of, count, by):
                if not self.knows(strategy):
                    wanted[show(strategy)] = [int(r) for r in self.rows]
        return wanted


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


def opened(name: str, storage: optuna.storages.RDBStorage, unit: str) -> optuna.Study:
    """Optuna's study of this name, opened or made: accuracy up, mean cost down."""
    study = optuna.create_study(
        study_name=name, storage=storage, directions=["maximize", "minimize"], load_if_exists=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([OBJECTIVES[0], f"{OBJECTIVES[1]} ({unit})"])
    return study


def sampler(proposer: str, seed: int, *where: object) -> optuna.samplers.BaseSampler:
    """A sampler whose randomness depends on nothing but the place in the study that it is asked at."""
    text = ":".join(map(str, (seed, *where)))
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")
    if proposer == "random":
        return optuna.samplers.RandomSampler(seed=number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(seed=number, n_startup_trials=8, constant_liar=True)


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
                if not other.knows(strategy) and p.arm not in other.raced and p.arm not in waiting:
                    other.queue.append((strategy, "neighbour"))
                    waiting.add(p.arm)
