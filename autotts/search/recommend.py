"""Advice before anything is spent: what past studies foretell for a task, some models and a budget."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from autotts.core.cost import Amount, ModelCard, parse_amount, show
from autotts.core.task import Task
from autotts.errors import InputError
from autotts.policy.allocation import Allocation, Frontier, frontier
from autotts.predict.descriptors import Descriptors, describe_model, describe_task, this_machine, work_of
from autotts.search.memory import FAR, Foretold, Recalled, Remembered, foretell, greedy, nearest
from autotts.search.recipe import Recipe
from autotts.search.space import Space, usable
from autotts.strategies import STRATEGIES, STUDIED
from autotts.strategies.arms import show as show_arm
from autotts.tasks import find
from autotts.worlds.tiny import SCORERS, cards, known

FORMAT: Final = "autotts.advice/1"
SLACK: Final = 0.01  # accuracy that is given up for a cheaper mix where no budget binds
SHOWN: Final = 3  # memories that are listed


@dataclass(frozen=True, slots=True)
class Asked:
    """What advice is wanted for; `budget` or `target` or neither."""

    task: str = "math"
    models: tuple[str, ...] = ()
    budget: str | None = None
    target: float | None = None

    def __post_init__(self) -> None:
        if self.budget is not None and self.target is not None:
            raise InputError("expected --budget or --target, found both: give one of them")
        if self.target is not None and not 0 < self.target <= 1:
            raise InputError(f"target: expected an accuracy above 0 and up to 1, such as 0.9, found {self.target!r}")

    @property
    def amount(self) -> Amount | None:
        """The mean budget a prompt."""
        return None if self.budget is None else parse_amount(self.budget, "--budget")

    @property
    def command(self) -> str:
        """The study that would find out."""
        parts = ["autotts", "optimize", "--task", self.task]
        parts += ["--models", ",".join(self.models)] if self.models else []
        parts += ["--budget", self.budget] if self.budget else []
        parts += ["--target", f"{self.target:g}"] if self.target is not None else []
        return shlex.join(parts)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The same, looked up: the task, the space, the levels with their shares."""

    asked: Asked
    task: Task
    space: Space
    work: Mapping[str, float]
    shares: Mapping[str, float]
    unit: str
    notes: list[str] = field(default_factory=list)


def recommend(asked: Asked, shelves: Sequence[Path]) -> dict[str, Any]:
    """Foretell what to do, from the nearest past study; nothing is drawn and nothing is spent.

    Parameters
    ----------
    shelves
        Folders of predictors, as `memory.shelves` gives them.

    Returns
    -------
    dict
        The advice, in the shape `autotts.advice/1`: `near` says whether a past study tells anything; `levels` has the
        arms of each level with foretold accuracy and cost, `accuracy` and `cost` those of the whole traffic, each
        {value, low, high} with 95 % intervals and costs in parts of `unit`.

    Raises
    ------
    BudgetError
        The budget is below what the cheapest arms are foretold to cost, or the target above the best.
    """
    task, amount = find(asked.task), asked.amount
    unit = "flops" if amount is None else amount.unit
    shelf = cards(known(asked.models))
    described = {name: describe_model(card) for name, card in shelf.items()}
    traits = describe_task(task)
    shares = dict(zip(traits.levels, traits.shares, strict=True))
    wanted = Wanted(asked, task, space_of(shelf), work_of(described), shares, unit)
    recalled = nearest(Descriptors(task=traits, models=described, machine=this_machine()), shelves, unit)
    near = bool(recalled.studies) and recalled.studies[0].near
    return {
        "format": FORMAT,
        "task": task.name,
        "models": list(shelf),
        "unit": unit,
        "near": near,
        "memories": [_memory(past) for past in recalled.studies[:SHOWN]],
        "notes": list(recalled.notes),
        **(_advice(wanted, recalled.studies[0]) if near else _nothing(wanted, recalled)),
        "next": [asked.command],
    }


def space_of(shelf: Mapping[str, ModelCard]) -> Space:
    """What a study of these embedded models would try."""
    kinds = usable({name: STRATEGIES[name] for name in STUDIED}, SCORERS)
    work = {name: float(card.active_parameters or card.parameters or 1) for name, card in shelf.items()}
    most = {name: int(Recipe().largest * max(work.values()) / w) for name, w in work.items()}
    return Space(kinds, tuple(shelf), tuple(SCORERS), most)


def _memory(past: Remembered) -> dict[str, Any]:
    return {"name": past.name, "distance": past.distance, "near": past.near, "words": list(past.words)}


def _nothing(wanted: Wanted, recalled: Recalled) -> dict[str, Any]:
    """No past study is near: what a study begins with is all there is to say."""
    which = "No past study is remembered"
    if recalled.studies:
        past = recalled.studies[0]
        which = f"The nearest past study, {past.name}, is {past.distance:.2g} away, and from {FAR:.2g} on none is used"
    return {
        "words": f"{which}: nothing can be foretold. Begin with one greedy draw of each model, as a study does.",
        "start": greedy(wanted.space),
        "levels": [],
        "accuracy": None,
        "cost": None,
        "budget": _budget(wanted, None),
    }


def _budget(wanted: Wanted, binds: bool | None) -> dict[str, Any]:
    amount = wanted.asked.amount
    return {"asked": None if amount is None else amount.parts, "target": wanted.asked.target, "binds": binds}


def _advice(wanted: Wanted, past: Remembered) -> dict[str, Any]:
    levels = list(wanted.shares)
    told = foretell(past, [show_arm(arm) for arm in wanted.space.arms], levels, wanted.work)
    solved = frontier({level: told[level].points for level in levels}, wanted.shares, unit=wanted.unit)
    chosen, binds, words = _chosen(wanted, solved)
    rows = [_level(level, wanted.shares[level], chosen, told[level]) for level in levels]
    far = f"Foretold from {past.name}, at a distance of {past.distance:.2g} of {FAR:.2g}"
    wide = "; the intervals are widened by that distance" if past.distance else ""
    return {
        "words": f"{words} {far}{wide}. Those of the whole traffic are as wide as if all levels erred together.",
        "start": [],
        "levels": rows,
        "accuracy": _together((row["share"], row["accuracy"]) for row in rows),
        "cost": _together((row["share"], row["cost"]) for row in rows),
        "budget": _budget(wanted, binds),
    }


def _chosen(wanted: Wanted, solved: Frontier) -> tuple[Allocation, bool, str]:
    """The advised allocation, whether the budget binds, and why it is this one."""
    amount, target = wanted.asked.amount, wanted.asked.target
    if target is not None:
        chosen = solved.for_target(target)
        return chosen, True, f"An accuracy of {target:.1%} is foretold at {show(chosen.cost, wanted.unit)} a prompt."
    if amount is not None and amount.parts < solved.best.cost:
        chosen = solved.at(float(amount.parts))
        return chosen, True, f"This is the best mix that is foretold for {wanted.asked.budget} a prompt."
    chosen = next(a for a in solved.breakpoints if a.value >= solved.best.value - SLACK)
    why = "No budget was given" if amount is None else f"{wanted.asked.budget} a prompt binds nothing here"
    return chosen, False, f"{why}: this is the cheapest mix that is foretold within a point of the best."


def _level(level: str, share: float, chosen: Allocation, told: Foretold) -> dict[str, Any]:
    """The arms of a level, and what their mixture is foretold to do."""
    at = {arm: i for i, arm in enumerate(told.arms)}
    arms: list[dict[str, Any]] = []
    for arm, part in chosen.route[level]:
        i = at[arm]
        accuracy = {"value": told.value[i], "low": told.low[i], "high": told.high[i]}
        cost = {"value": told.cost[i], "low": told.cost_low[i], "high": told.cost_high[i]}
        arms.append({"arm": arm, "share": part, "accuracy": _floats(accuracy), "cost": _floats(cost)})
    return {
        "level": level,
        "share": share,
        "arms": arms,
        "accuracy": _together((a["share"], a["accuracy"]) for a in arms),
        "cost": _together((a["share"], a["cost"]) for a in arms),
    }


def _floats(of: Mapping[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in of.items()}


def _together(parts: Iterable[tuple[float, Mapping[str, float]]]) -> dict[str, float]:
    """The mean of intervals whose errors are taken to go together: no narrower than it may be."""
    rows = list(parts)
    return {key: sum(share * of[key] for share, of in rows) for key in ("value", "low", "high")}
