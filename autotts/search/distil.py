"""From a finished study's folder to a predictor that later studies begin from: recipe, card and model."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError

from autotts.core.cost import ModelCard, show
from autotts.core.task import Task
from autotts.errors import InputError
from autotts.policy.files import read_json, write_atomic
from autotts.policy.schema import Policy
from autotts.predict.arm_learning import fit_arms
from autotts.predict.arms import Seen
from autotts.predict.descriptors import Described, Descriptors, describe_model, describe_task, this_machine, work_of
from autotts.search.distilled import Distilled, Measured
from autotts.search.space import models_of
from autotts.strategies.arms import parse
from autotts.strategies.arms import show as show_arm
from autotts.strategies.one import One
from autotts.tasks import find
from autotts.worlds.tiny import NAMES, cards

RESULT: Final = "autotts.result/1"
FILES: Final = ("card.md", "model.json", "recipe.toml")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")


class FoundArm(Described):
    """An arm as `result.json` has it; `prompts` where a study goes on with more of them."""

    arm: str
    value: float = Field(ge=0, le=1)
    cost: float = Field(ge=0)
    frontier: bool
    prompts: int | None = Field(default=None, gt=0)


class FoundPrompts(Described):
    """How many prompts were searched on."""

    search: int = Field(gt=0)


class FoundLevel(Described):
    """A level with every arm that is known there."""

    bin: str
    prompts: FoundPrompts
    arms: list[FoundArm]


class FoundMade(Described):
    """Where a result comes from; `models` maps roles to binding ids."""

    version: str
    seed: int
    command: str
    recipe: str
    models: dict[str, str]


class Found(Described):
    """What is read of a `result.json`."""

    study: str
    task: str
    unit: str
    prompts: FoundPrompts
    levels: list[FoundLevel] = Field(min_length=1)
    provenance: FoundMade


@dataclass(frozen=True, slots=True)
class Finished:
    """What a study left in its folder: its result, the task it was of, and the cards of its models."""

    folder: Path
    result: Found
    task: Task
    cards: Mapping[str, ModelCard]


def distil(folder: str | Path, name: str, out: str | Path = "predictors") -> Path:
    """Write what a finished study learned of arms into `out/name`.

    Parameters
    ----------
    folder
        Of the study, with its `result.json` and `policy.json`.
    name
        Of the predictor: lower-case letters, digits and hyphens.
    out
        The folder of predictors. One of the same name is written again.

    Returns
    -------
    Path
        The predictor's folder, with `recipe.toml`, `card.md` and `model.json`.

    Raises
    ------
    InputError
        The folder holds no finished study that draws, its task's file is gone, or the name is not free.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"--name: expected lower-case letters, digits and hyphens, such as my-task, found {name!r}")
    home = Path(out) / name
    _free(home)
    study = finished(Path(folder))
    learned = learn(study)
    again = f"{study.result.provenance.command} && {said(folder, name, out)}"
    learned.save(home / "model.json")
    write_atomic(home / "recipe.toml", recipe(study.result, again))
    write_atomic(home / "card.md", card(name, learned, study.result, again))
    return home


def said(folder: str | Path, name: str, out: str | Path) -> str:
    """The command that distils."""
    return shlex.join(["autotts", "distil", str(folder), "--name", name, "--out", str(out)])


def _free(home: Path) -> None:
    """Refuse a folder that holds anything but an earlier predictor of this kind."""
    if home.is_file():
        raise InputError(f"--name: {home} is a file; choose another name")
    there = sorted(path.name for path in home.iterdir()) if home.is_dir() else []
    if not there:
        return
    try:
        Distilled.load(home / "model.json")
        other = [n for n in there if n not in FILES]
    except InputError:
        other = there
    if other:
        raise InputError(f"--name: {home} holds something else ({', '.join(other[:3])}); choose another name")


def finished(folder: Path) -> Finished:
    """Read the folder of a finished study."""
    if not (folder / "result.json").is_file():
        raise InputError(f"{folder}: expected the folder of a finished study, with its result.json; found none")
    result = read_json(folder / "result.json", "result")
    if not isinstance(result, dict) or result.get("format") != RESULT:
        raise InputError(f"{folder / 'result.json'}: expected the result of a study ({RESULT}), found something else")
    if "pool" in result:
        raise InputError(f"{folder}: expected a study that draws; one of recorded answers is not distilled")
    try:
        found = Found.model_validate(result)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(f"{folder / 'result.json'}: {place}: {first['msg']}") from None
    return Finished(folder, found, find(found.task), _cards(Policy.load(folder / "policy.json"), found))


def _cards(policy: Policy, found: Found) -> dict[str, ModelCard]:
    """The cards of the study's models: from its policy, or, of embedded ones, from the model itself."""
    bound = found.provenance.models
    known = {name: _card(entry.card, name) for name, entry in policy.models.items() if entry.card}
    for name, embedded in cards(NAMES).items():
        if bound.get(name, "").startswith(f"tiny/{embedded.name}@{embedded.revision}/"):
            known.setdefault(name, embedded)
    return {name: known[name] for name in bound if name in known}


def _card(data: Mapping[str, Any], name: str) -> ModelCard:
    try:
        return ModelCard.of(data)
    except TypeError as error:
        raise InputError(f"policy.json: models.{name}.card: {error}") from None


def learn(study: Finished) -> Distilled:
    """Fit the arm model to every arm that the study measured."""
    levels = [level.bin for level in study.result.levels]
    machine = this_machine()
    described = {n: describe_model(c, _greedy(study.result, n)) for n, c in study.cards.items()}
    work = work_of(described)
    seen = [s for level in study.result.levels for s in _seen(level, work)]
    if not seen:
        raise InputError(f"{study.folder}: expected arms of models whose size is known, found none")
    task = describe_task(study.task)
    if task.levels != levels:
        raise InputError(
            f"{study.folder}: its levels are {', '.join(levels)}, and those of the task are {', '.join(task.levels)}: "
            "the task has changed since; run the study again"
        )
    return Distilled(
        descriptors=Descriptors(task=task, models=described, machine=machine),
        unit=study.result.unit,
        levels=levels,
        work=work,
        arms=fit_arms(seen, levels=levels, work=work, seed=study.result.provenance.seed),
        frontier={level.bin: _frontier(level, work) for level in study.result.levels},
        n=len(seen),
    )


def _of(level: FoundLevel, work: Mapping[str, float]) -> list[FoundArm]:
    """The arms of a level whose models are known, and that cost something."""
    return [a for a in level.arms if a.cost > 0 and set(models_of(parse(a.arm))[0]) <= set(work)]


def _seen(level: FoundLevel, work: Mapping[str, float]) -> list[Seen]:
    """The arms of a level; those of a study that goes on with more prompts say how many they took."""
    whole = level.prompts.search
    return [Seen(a.arm, level.bin, a.value, a.cost, a.prompts or whole) for a in _of(level, work)]


def _frontier(level: FoundLevel, work: Mapping[str, float]) -> list[Measured]:
    best = [a for a in _of(level, work) if a.frontier]
    return [Measured(arm=a.arm, value=a.value, cost=a.cost) for a in sorted(best, key=lambda a: a.cost)]


def _greedy(result: Found, model: str) -> dict[str, float]:
    """What one greedy draw of a model got right at each level where it was measured."""
    arm = show_arm(One(model=model, temperature=0.0))
    return {level.bin: a.value for level in result.levels for a in level.arms if a.arm == arm}


# ------------------------------------------------------------ what is written


def recipe(result: Found, again: str) -> str:
    """`recipe.toml`: which study this was distilled from, and the command that makes both again."""
    made = result.provenance
    entries = {
        "study": result.study,
        "task": result.task,
        "command": made.command,
        "seed": made.seed,
        "recipe": made.recipe,
        "version": made.version,
        "again": again,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in entries.items()]
    models = [f"{json.dumps(role)} = {json.dumps(bound)}" for role, bound in made.models.items()]
    return "\n".join(["# What this predictor was distilled from.", *lines, "", "[models]", *models, ""])


def card(name: str, learned: Distilled, result: Found, again: str) -> str:
    """`card.md`: what it knows, how well it foretells, when not to trust it, how to make it again."""
    task = learned.descriptors.task
    machine = learned.descriptors.machine
    sizes = ", ".join(f"{n} ({w / 1e6:.3g} M parameters)" for n, w in learned.work.items())
    prompts = result.prompts.search
    lines = [
        f"# {name}: what a study of `{task.name}` learned of arms",
        "",
        "A later study on a task like this begins from it, and `autotts recommend` asks it, before anything is spent.",
        "",
        "## What it knows",
        "",
        f"- Task `{task.name}` (read by {task.reader}, graded by {task.grader}), levels {', '.join(task.levels)}.",
        f"- Models: {sizes}.",
        f"- {learned.n} measurements of arms, on {prompts} search prompts in all; costs in {learned.unit}.",
        f"- Distilled on {machine.system}, {machine.cores} cores, {machine.gpu or 'no GPU'}.",
        "",
        "On the frontier of each level, as the search prompts showed them (the best of many: a little too good):",
        "",
        "| level | arm | right, % | mean cost |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {level} | `{m.arm}` | {100 * m.value:.1f} | {show(m.cost, learned.unit)} |"
        for level, arms in learned.frontier.items()
        for m in arms
    ]
    lines += ["", "## How well it foretells", "", *_foretells(learned), "", *_TRUST, "", "## Make it again", ""]
    return "\n".join([*lines, f"    {again}", ""])


_TRUST: Final = (
    "## When not to trust it",
    "",
    "- On another task, or with other models: what it says is then widened by how far they are, a rule of thumb that",
    "  was checked on the levels of `math` only. Where it would be as wide as knowing nothing, it is not used.",
    "- For arms unlike those that were measured: look at the interval.",
    "- For prompts unlike those of the task, such as much harder ones of the same level.",
    "- As a result: it foretells. What an arm does on held-out prompts is for a study to confirm.",
)


def _foretells(learned: Distilled) -> Sequence[str]:
    """What held-out groups of arms say of the model, beside a constant for each level."""
    check = learned.arms.check
    if learned.arms.fallback or not check:
        return [f"It has learned nothing: {learned.arms.why}."]
    rows = [
        f"| {what} | {_number(check, p + 'r2_over_level_mean')} | {_number(check, p + 'spearman')} | "
        f"{_number(check, p + 'spearman_level_mean')} | {_percent(check, p + 'inside_widened')} |"
        for what, p in (("accuracy (log odds)", ""), ("cost beyond draws and size (log)", "cost_"))
    ]
    return [
        "Arms that share draws were held out together. The baseline is a constant for each level, the mean of the",
        "other arms there. *Explained* is the share of its squared error that the predictor takes away.",
        "",
        "| what | explained | rank correlation | that of the baseline | inside the 95 % interval |",
        "|---|---|---|---|---|",
        *rows,
    ]


def _number(check: Mapping[str, float], key: str) -> str:
    value = check.get(key, math.nan)
    return "-" if math.isnan(value) else f"{value:.2f}"


def _percent(check: Mapping[str, float], key: str) -> str:
    value = check.get(key, math.nan)
    return "-" if math.isnan(value) else f"{100 * value:.0f} %"
