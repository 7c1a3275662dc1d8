"""One level's trials in Optuna's storage: written once each, found again when an interrupted study goes on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

import optuna
from optuna.trial import TrialState

from autotts.core.strategy import Strategy
from autotts.search.space import Space
from autotts.strategies.arms import show

OBJECTIVES = ("accuracy", "mean cost")


def opened(name: str, storage: optuna.storages.BaseStorage, unit: str) -> optuna.Study:
    """Optuna's study of this name, opened or made: accuracy up, mean cost down."""
    study = optuna.create_study(
        study_name=name, storage=storage, directions=["maximize", "minimize"], load_if_exists=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([OBJECTIVES[0], f"{OBJECTIVES[1]} ({unit})"])
    return study


@dataclass
class Book:
    """The trials of one Optuna study. A trial that is finished is never written again.

    Every trial has the attributes `arm`, `kind`, `round` and `slot`; one that was pruned says in `pruned` where
    ("before", "during" or "between" rounds) and in `why` for what reason.
    """

    study: optuna.Study
    space: Space
    unit: str = "flops"
    _there: dict[tuple[str, int, int], int] = field(default_factory=dict)
    _arms: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for trial in self.study.get_trials(deepcopy=False):
            notes = trial.user_attrs
            if trial.state != TrialState.FAIL and "slot" in notes:
                self._there[str(notes.get("arm")), int(notes["round"]), int(notes["slot"])] = trial.number
            if trial.state == TrialState.COMPLETE:
                self._arms.add(str(notes.get("arm")))

    def begin(self, strategy: Strategy, kind: str, round_: int, slot: int) -> int:
        """The number of a trial that is running from now on, or that an interrupted run began at this place."""
        arm = show(strategy)
        number = self._there.get((arm, round_, slot))
        if number is None:
            number = self._put(strategy, TrialState.RUNNING, None, {"kind": kind, "round": round_, "slot": slot})
            self._there[arm, round_, slot] = number
        return number

    def skip(self, strategy: Strategy, round_: int, slot: int, why: str) -> None:
        """A trial that is not begun because of what was predicted."""
        key = show(strategy), round_, slot
        if key not in self._there:
            notes = {"kind": "skipped", "round": round_, "slot": slot, "pruned": "before", "why": why, "prompts": 0}
            self._there[key] = self._put(strategy, TrialState.PRUNED, None, notes)

    def note(self, number: int, notes: Mapping[str, object]) -> None:
        """Say how far a running trial is."""
        trial = self._trial(number)
        if not trial.state.is_finished():
            for key, value in notes.items():
                self.study._storage.set_trial_user_attr(trial._trial_id, key, value)

    def prune(self, number: int, where: str, why: str) -> None:
        """End a running trial before it took all prompts."""
        self.note(number, {"pruned": where, "why": why})
        self._end(number, None)

    def complete(self, number: int, value: float, cost: float) -> None:
        """End a running trial with its figures."""
        self._arms.add(str(self._trial(number).user_attrs.get("arm")))
        self._end(number, [value, cost])

    def free(self, strategy: Strategy, value: float, cost: float, round_: int) -> bool:
        """Add an arm of the frontier that came from stored draws alone; False where it stands there already."""
        if show(strategy) in self._arms or self.space.params(strategy) is None:
            return False
        self._put(strategy, TrialState.COMPLETE, [value, cost], {"kind": "free", "free": True, "round": round_})
        self._arms.add(show(strategy))
        return True

    def leave(self) -> None:
        """Close what an interrupted run began and this one did not come to."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.note(trial.number, {"why": "interrupted, and not taken up again"})
            self.study.tell(trial.number, state=TrialState.FAIL)

    def count(self, state: TrialState, **notes: object) -> int:
        """Trials in a state with these attributes."""
        found = self.study.get_trials(deepcopy=False, states=(state,))
        return sum(all(t.user_attrs.get(k) == v for k, v in notes.items()) for t in found)

    def _end(self, number: int, values: list[float] | None) -> None:
        if self._trial(number).state.is_finished():
            return
        if values is None:
            self.study.tell(number, state=TrialState.PRUNED)
        else:
            self.study.tell(number, values)

    def _trial(self, number: int) -> optuna.trial.FrozenTrial:
        storage = self.study._storage
        return storage.get_trial(storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number))

    def _put(
        self, strategy: Strategy, state: TrialState, values: list[float] | None, notes: Mapping[str, object]
    ) -> int:
        params = self.space.params(strategy) or {}
        domains = self.space.distributions(params["strategy"]) if params else {}
        trial = optuna.trial.create_trial(
            state=state,
            params=params,
            distributions={k: v for k, v in domains.items() if k in params},
            values=values,
            user_attrs={"arm": show(strategy), **notes},
        )
        storage = self.study._storage
        return storage.get_trial(storage.create_new_trial(self.study._study_id, template_trial=trial)).number
