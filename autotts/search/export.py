"""The policy file that a study exports."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from autotts import __version__
from autotts.core.task import Problem, Task
from autotts.policy.schema import Policy
from autotts.policy.seen import Seen, seen
from autotts.predict.levels import LevelModel
from autotts.search.choose import Choice
from autotts.search.level import Level
from autotts.search.recipe import Recipe
from autotts.search.space import models_of
from autotts.strategies.arms import parse


def export(
    *,
    recipe: Recipe,
    task: Task,
    choice: Choice,
    levels: Sequence[Level],
    weights: Mapping[str, float],
    difficulty: LevelModel | None,
    bindings: Mapping[str, Mapping[str, Any]],
    cards: Mapping[str, Any],
    result: Mapping[str, Any],
) -> Policy:
    """The policy: arms, where each is used at each budget, and what it is known to do.

    `weights` are the levels' shares of the traffic.
    """
    entries = [(allocation.cost, allocation) for _, allocation in choice.budgets]
    entries += [(choice.allocation.cost, choice.allocation), (choice.best.cost, choice.best)]
    rising: dict[float, Any] = {}
    for cost, allocation in sorted(entries, key=lambda e: e[0]):
        rising.setdefault(cost, allocation)
    names = sorted({arm for a in rising.values() for shares in a.route.values() for arm, _ in shares})
    ids = {arm: f"a{i}" for i, arm in enumerate(names)}
    drawn, scored = set(), set()
    for arm in names:
        models, scorers = models_of(parse(arm))
        drawn |= set(models)
        scored |= set(scorers)
    data: dict[str, Any] = {
        "format": "autotts.policy/1",
        "requires": [],
        "task": {
            "name": task.name,
            "reader": task.reader,
            "grader": task.grader,
            "prompts": digest(levels[0].table.problems),
            **({"instruction": task.instruction} if task.instruction else {}),
        },
        "unit": recipe.unit,
        "models": {name: _bound(bindings[name], cards[name]) for name in sorted(drawn)},
        "scorers": {name: _bound(bindings[name], cards[name]) for name in sorted(scored)},
        "arms": {ids[arm]: {"arm": arm, "expected": _expected(arm, levels)} for arm in names},
        "difficulty": _difficulty(difficulty, levels),
        "frontier": [
            {
                "budget": cost,
                "route": {b: [[ids[arm], share] for arm, share in shares] for b, shares in a.route.items()},
                "expected": {"value": a.value, "cost": a.cost},
            }
            for cost, a in rising.items()
        ],
        "default": list(rising).index(choice.allocation.cost),
        "cap": None if recipe.cap_amount is None else recipe.cap_amount.parts,
        "seen": _seen(levels, weights, difficulty).model_dump(),
        "evidence": {key: result[key] for key in ("accuracy", "cost", "baselines", "prompts", "verdict")},
        "made": {"version": __version__, **{k: result["provenance"][k] for k in ("date", "seed", "command")}},
    }
    return Policy.loads(json.dumps(data), "the exported policy")


def _bound(binding: Mapping[str, Any], card: Any) -> dict[str, Any]:
    return {"binding": dict(binding), "card": card}


def _expected(arm: str, levels: Sequence[Level]) -> dict[str, Any]:
    out = {}
    for level in levels:
        if level.table.known(arm, level.rows):
            value, cost = level.point(arm)
            out[level.name] = {"value": value, "cost": cost}
    return out


def _difficulty(model: LevelModel | None, levels: Sequence[Level]) -> dict[str, Any]:
    bins = [level.name for level in levels]
    if model is None:
        return {"kind": "none", "bins": bins}
    return {"kind": "levels", "features": list(model.features), "model": model.to_json(), "bins": bins}


def _seen(levels: Sequence[Level], weights: Mapping[str, float], model: LevelModel | None) -> Seen:
    """What the prompts of the search looked like, in the shares of the traffic."""
    prompts, shares = [], []
    for level in levels:
        prompts += [level.table.problems[row].prompt for row in level.every]
        shares += [weights[level.name] / len(level.every)] * len(level.every)
    return seen(prompts, shares, model, [level.name for level in levels])


def digest(problems: Sequence[Problem]) -> str:
    """A hash of prompts, in order."""
    text = "\n".join(p.prompt for p in problems)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
