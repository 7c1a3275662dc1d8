"""What a study found, as the one JSON object that `result.json`, the report and `--json` share."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.trial import TrialState

from autotts import __version__
from autotts.core.cost import show
from autotts.estimate.intervals import Interval, resample
from autotts.search.choose import Choice, Route
from autotts.search.confirm import Compared, Confirmed, Figures, Hull, Step, as_dict
from autotts.search.level import Level
from autotts.search.recipe import Recipe
from autotts.search.rounds import Round

ROUNDING = 1e-9  # a difference below this is one of floating point
SHOWN = 0.0005  # a difference below this is shown as none


@dataclass(frozen=True, slots=True)
class Spent:
    """New work of this study and its runs before, in parts of the study's unit."""

    search: int
    confirm: int
    by_model: Mapping[str, int]
    by_kind: Mapping[str, int]
    draws: int
    reused: int
    tokens: int
    seconds: float


def assemble(
    *,
    name: str,
    recipe: Recipe,
    stopped: tuple[str, str],
    choice: Choice,
    confirmed: Confirmed,
    levels: Sequence[Level],
    weights: Mapping[str, float],
    history: Sequence[Round],
    proposed: Mapping[str, Any],
    spent: Spent,
    difficulty: Mapping[str, Any],
    models: Mapping[str, str],
    command: str,
    date: str,
) -> dict[str, Any]:
    """The result, in the shape `autotts.result/1`."""
    unit = recipe.unit
    ours = confirmed.ours
    return {
        "format": "autotts.result/1",
        "study": name,
        "task": recipe.task,
        "unit": unit,
        "stopped": {"why": stopped[0], "words": stopped[1]},
        "budget": {
            "asked": choice.budget,
            "text": recipe.budget or (f"accuracy {recipe.target:g}" if recipe.target else "none"),
            "binds": choice.binds,
            "words": choice.words,
        },
        "verdict": verdict(confirmed, unit),
        "policy": {"budget": choice.allocation.cost, "route": _routes(choice.allocation.route)},
        "accuracy": as_dict(ours.accuracy),
        "cost": {"unit": unit, **_cost(ours), "cap": None if recipe.cap_amount is None else recipe.cap_amount.parts},
        "over_uniform": as_dict(confirmed.baselines[0].difference),
        "baselines": [_compared(row) for row in confirmed.baselines],
        "frontier": [_step(step) for step in confirmed.budgets],
        "levels": [_level(level, weights, choice, confirmed, recipe.seed) for level in levels],
        "difficulty": dict(difficulty),
        "spend": {
            "unit": unit,
            "total": spent.search + spent.confirm,
            "search": spent.search,
            "confirm": spent.confirm,
            "by_model": dict(spent.by_model),
            "by_kind": dict(spent.by_kind),
            "draws": spent.draws,
            "reused": spent.reused,
            "tokens": spent.tokens,
            "seconds": spent.seconds,
            "search_budget": None if recipe.search_amount is None else recipe.search_amount.parts,
        },
        "prompts": {
            "search": len(levels[0].table.problems),
            "confirm": len(confirmed.held.table.problems),
            "stream": recipe.stream,
            "weights": "by the task's mix of levels" if len(levels) > 1 else "equal",
        },
        "trials": _trials(levels),
        "proposed": dict(proposed),
        "rounds": [
            {
                "round": r.number,
                "prompts": r.prompts,
                "area": r.area,
                "draws": r.draws,
                "raced": r.raced,
                "pruned": r.pruned,
                "free": r.free,
            }
            for r in history
        ],
        "provenance": {
            "version": __version__,
            "seed": recipe.seed,
            "command": command,
            "date": date,
            "recipe": recipe.digest(),
            "models": dict(models),
            "python": platform.python_version(),
            "platform": platform.system(),
        },
    }


def _compared(row: Compared) -> dict[str, Any]:
    b = row.baseline
    return {
        "name": b.name,
        "kind": b.kind,
        "route": _routes(b.route if b.kind != "hull" else {"all": b.routes(0)}),
        "accuracy": as_dict(row.figures.accuracy),
        "cost": _cost(row.figures),
        "difference": as_dict(row.difference),
        "over_uniform": as_dict(row.over),
        "note": b.note,
        "attainable": b.attainable,
    }


def _step(step: Step) -> dict[str, Any]:
    out = {
        "budget": step.budget,
        "binds": True,
        "route": _routes(step.allocation.route),
        "search": {"value": step.allocation.value, "cost": step.allocation.cost},
        "accuracy": as_dict(step.figures.accuracy),
        "cost": _cost(step.figures),
        **_hull(step.hull),
    }
    if step.oracle is not None:
        out["oracle"] = {"accuracy": as_dict(step.oracle.accuracy), "cost": _cost(step.oracle)}
    if step.captured is not None:
        out["captured"] = as_dict(step.captured)
    return out


def verdict(confirmed: Confirmed, unit: str) -> str:
    """Whether adapting to the prompt paid, in words that the interval allows."""
    gaps = [("the chosen budget", confirmed.baselines[0].difference)]
    gaps += [(show(step.budget, unit), step.hull.difference) for step in confirmed.budgets]
    return judged(gaps)


def judged(gaps: Sequence[tuple[str, Interval]]) -> str:
    """The same from the gains over the uniform mixture: at which budget, and how large with its interval."""
    better = [name for name, gap in gaps if gap.low > ROUNDING]
    worse = [name for name, gap in gaps if gap.high < -ROUNDING]
    mean = float(np.mean([gap.value for _, gap in gaps]))
    mean = mean if abs(mean) > ROUNDING else 0.0
    tail = f" (mean difference over {len(gaps)} budgets: {100 * mean:+.1f} points of accuracy at equal cost)."
    if 2 * len(better) >= len(gaps) and not worse:
        return f"Adapting to the prompt pays here, beyond noise at {len(better)} of {len(gaps)} budgets" + tail
    if better and not worse:
        return f"Adapting to the prompt looks better here, beyond noise at {len(better)} of {len(gaps)} budgets" + tail
    if worse and not better:
        return f"Adapting to the prompt does not pay here: worse beyond noise at {', '.join(worse)}" + tail
    if better and worse:
        both = f"better beyond noise at {len(better)} and worse at {len(worse)} of {len(gaps)} budgets"
        return f"Adapting to the prompt pays at some budgets and not at others here: {both}" + tail
    if mean >= SHOWN:
        return "Adapting to the prompt looks better here, but no budget shows it beyond noise" + tail
    return "Adapting to the prompt does not pay here" + tail


def _routes(route: Mapping[str, Route]) -> dict[str, list[list[Any]]]:
    return {name: [[arm, share] for arm, share in shares] for name, shares in route.items()}


def _cost(figures: Figures) -> dict[str, float]:
    cost = figures.cost
    return {
        "mean": cost.value,
        "low": cost.low,
        "high": cost.high,
        "p95": figures.p95,
        "sequential": figures.sequential,
    }


def _hull(hull: Hull) -> dict[str, Any]:
    return {
        "uniform": {
            "route": _routes({"all": hull.route}),
            "accuracy": as_dict(hull.figures.accuracy),
            "cost": _cost(hull.figures),
        },
        "difference": as_dict(hull.difference),
        "equal_accuracy_cost": hull.equal_accuracy_cost,
    }


def _level(
    level: Level, weights: Mapping[str, float], choice: Choice, confirmed: Confirmed, seed: int
) -> dict[str, Any]:
    front = {p.arm for p in level.frontier()}
    shares = dict(choice.allocation.route[level.name])
    arms = []
    resampled = resample([level.name] * len(level.rows), seed=seed)
    for p in sorted(level.points(), key=lambda p: (p.cost, p.arm)):
        values = level.table.arms[p.arm].value[level.rows]
        spread = resampled.mean(values) if p.arm in front else None
        arms.append(
            {
                "arm": p.arm,
                "value": p.value,
                "low": None if spread is None else spread.low,
                "high": None if spread is None else spread.high,
                "cost": p.cost,
                "free": p.arm not in level.log,
                "frontier": p.arm in front,
                "chosen": shares.get(p.arm, 0.0),
            }
        )
    held = confirmed.held
    rows = [i for i, name in enumerate(held.level) if name == level.name]
    got = confirmed.ours.measured
    confirming = resample([level.name] * len(rows), seed=seed)
    spent = confirming.mean(got.cost[rows])
    return {
        "bin": level.name,
        "share": weights[level.name],
        "prompts": {"search": len(level.rows), "confirm": len(rows)},
        "arms": arms,
        "confirmed": {
            "accuracy": as_dict(confirming.mean(got.value[rows])),
            "cost": {"mean": spent.value, "low": spent.low, "high": spent.high},
        },
    }


def _trials(levels: Sequence[Level]) -> dict[str, int]:
    """What became of the trials: how many were raced, and where the others were pruned."""
    logged = [t for level in levels for t in level.log.values()]
    books = [level.book for level in levels]
    return {
        "raced": sum(t.state != "skipped" for t in logged),
        "skipped": sum(t.state == "skipped" for t in logged),
        "pruned": sum(book.count(TrialState.PRUNED, pruned="during") for book in books),
        "left": sum(book.count(TrialState.PRUNED, pruned="between") for book in books),
        "refused": sum(len(level.refused) for level in levels),
        "free": sum(book.count(TrialState.COMPLETE, free=True) for book in books),
        "failed": sum(book.count(TrialState.FAIL) for book in books),
    }
