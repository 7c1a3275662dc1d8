"""What a study on recorded answers found, in the shape of `result.json`, and the policy that it exports."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from autotts import __version__
from autotts.core.cost import show
from autotts.policy import controller
from autotts.policy.perprompt import REQUIRES
from autotts.policy.schema import Policy
from autotts.policy.seen import Seen, seen
from autotts.search.board import Spread
from autotts.search.confirm import as_dict
from autotts.search.crossfit import FEW, FOLDS, ROUNDS
from autotts.search.export import digest
from autotts.search.gauge import logits
from autotts.search.grid import PAIRED, named
from autotts.search.pooled import PoolStudy, Row, Step
from autotts.search.result import judged
from autotts.search.settled import Settled
from autotts.search.space import models_of
from autotts.strategies.arms import parse

OWN = " To adapt means here to stop or go on by a prompt's own first draws; prompts are not told apart before."


def assemble(
    study: PoolStudy, *, name: str, command: str, date: str, seconds: float, routing: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The result, in the shape `autotts.result/1`."""
    recipe, ours, rows = study.recipe, study.headline, study.rows()
    budget, binds, words = study.budget
    recorded = study.gauge.recorded
    gap = study.over(ours)
    gaps = [("the chosen budget", gap)]
    gaps += [
        (show(step.budget, recipe.unit), study.resamples.difference(step.ours.value, step.uniform.value))
        for step in study.steps
    ]
    fewest = [int(source.least) for source in study.gauge.sources]
    return {
        "format": "autotts.result/1",
        "study": name,
        "task": recorded.dataset,
        "unit": recipe.unit,
        "stopped": {"why": "done", "words": f"all {study.measured.screened:,} arms were measured on recorded answers"},
        "budget": {
            "asked": None if recipe.amount is None else recipe.amount.parts,
            "text": recipe.budget or (f"accuracy {recipe.target:g}" if recipe.target else "none"),
            "binds": binds,
            "words": words,
        },
        "verdict": judged(gaps) + (OWN if study.way.kind == "none" else ""),
        "policy": {"budget": budget, "route": study.settled.mixed(budget)},
        "accuracy": as_dict(study.mean(ours.value)),
        "cost": {"unit": recipe.unit, **_cost(study, ours), "cap": study.cap},
        "over_uniform": as_dict(gap),
        "baselines": [_baseline(study, row) for row in rows],
        "frontier": [_step(study, step) for step in study.steps],
        "levels": [_arms(study)],
        "difficulty": _difficulty(study),
        "routing": routing,
        "spend": {"unit": recipe.unit, "total": 0, "search": 0, "confirm": 0, "draws": 0, "seconds": seconds},
        "prompts": {"search": len(ours.value), "confirm": len(ours.value), "weights": "equal"},
        "crossfit": {
            "folds": FOLDS,
            "problems": len(ours.value),
            "words": f"each prompt is answered by a policy that was chosen on other prompts ({FOLDS} folds"
            + (f", cut {ROUNDS} times)" if len(ours.value) < FEW else ")"),
        },
        "pool": {
            "files": list(recipe.pools),
            "roles": study.gauge.roles,
            "digest": recorded.digest,
            "samples": [min(fewest), max(fewest)],
        },
        "notes": notes(study),
        "trials": {"raced": 0, "pruned": 0, "free": study.measured.screened, "failed": 0},
        "rounds": [],
        "provenance": {
            "version": __version__,
            "seed": recipe.seed,
            "command": command,
            "date": date,
            "recipe": recipe.digest(),
            "models": dict.fromkeys(study.gauge.roles, "recorded"),
            "python": platform.python_version(),
            "platform": platform.system(),
        },
    }


def notes(study: PoolStudy) -> list[str]:
    """What the figures leave out, in words that people should see."""
    recorded, recipe = study.gauge.recorded, study.recipe
    out = [*recorded.notes, *study.gauge.notes]
    left = len(recorded.problems) - len(study.gauge.problems)
    if left:
        out.append(
            f"{left} of {len(recorded.problems)} prompts have no labelled draws of every model: they are left out"
        )
    if recipe.unit == "flops":
        out.append("FLOPs are 2 x active parameters x tokens; attention is not counted, since shapes are not recorded")
    if study.gauge.sources and all(not source.drawn.family.exchangeable for source in study.gauge.sources):
        out.append(
            "one recorded run for each prompt and model: no votes; single models and routing between them remain"
        )
    out += [*_draws(study), *_scores(study)]
    if len({source.role for source in study.gauge.sources if source.votes}) > PAIRED:
        out.append(f"more than {PAIRED} models: arms of two models (cascades, staged votes) are not tried")
    if study.board.value.min() == study.board.value.max():
        every = "no draw is right" if study.board.value.max() == 0 else "every draw is right"
        out.append(f"{every}: all arms are worth the same, and the cheapest is chosen")
    if any(name == "staged" for name in study.board.names):
        out.append(f"a probe counts as {recipe.probe_tokens} generated tokens (--probe-tokens)")
    if study.way.router is not None:
        out.append(study.way.words())
    out.append("the oracle picks on the same draws that it is measured on, so the headroom is somewhat smaller")
    return out


def _draws(study: PoolStudy) -> Iterator[str]:
    """What arms cannot do for want of draws."""
    shown = named(study.gauge)
    for source in study.gauge.sources:
        family, most = source.drawn.family, int(source.drawn.counts[study.gauge.rows].max())
        if source not in shown:
            yield (
                f"draws of {source.role} by the strategy {family.strategy!r} are not used: others with the same "
                "temperature and top-p are, and the text of an arm cannot tell them apart"
            )
        elif family.exchangeable and source.least == 1:
            yield f"{source.role} has one draw of some prompts: no votes of it; single draws and routing remain"
        elif family.exchangeable and source.least < most:
            yield f"arms take at most {source.least} draws of {source.role}: some prompts have no more (others {most})"


def _scores(study: PoolStudy) -> Iterator[str]:
    """What is to be known of recorded scores."""
    scored = [source for source in study.gauge.sources if source.scored]
    for source in scored:
        if missing := int(np.isnan(source.drawn.score).sum()):
            yield f"scores of {source.role} are missing in {missing:,} draws, which are picked last"
        if logits(source.drawn):
            yield f"scores of {source.role} lie outside 0 to 1 and are read as logits"
    if scored:
        yield "what a score took was not recorded, and is not counted"


def _cost(study: PoolStudy, found: Spread) -> dict[str, Any]:
    spent = study.mean(found.cost)
    path = float(found.sequential.mean())
    return {
        "mean": spent.value,
        "low": spent.low,
        "high": spent.high,
        "p95": study.p95(found),
        "sequential": path if np.isfinite(path) else None,
    }


def _baseline(study: PoolStudy, row: Row) -> dict[str, Any]:
    routes = set(row.spread.route)
    route = {"all": _shares(study, next(iter(routes)))} if len(routes) == 1 else {}
    return {
        "name": row.name,
        "kind": row.kind,
        "route": route,
        "accuracy": as_dict(study.mean(row.spread.value)),
        "cost": _cost(study, row.spread),
        "difference": as_dict(study.resamples.difference(study.headline.value, row.spread.value)),
        "over_uniform": as_dict(row.over),
        "note": row.note or None,
        "attainable": row.attainable,
    }


def _shares(study: PoolStudy, shares: Sequence[tuple[int, float]]) -> list[list[Any]]:
    return [[study.board.arms[arm], share] for arm, share in shares]


def _step(study: PoolStudy, step: Step) -> dict[str, Any]:
    gap = study.resamples.difference(step.ours.value, step.uniform.value)
    return {
        "budget": step.budget,
        "binds": True,
        "route": study.settled.mixed(step.budget),
        "accuracy": as_dict(study.mean(step.ours.value)),
        "cost": _cost(study, step.ours),
        "uniform": {
            "route": {},
            "accuracy": as_dict(study.mean(step.uniform.value)),
            "cost": _cost(study, step.uniform),
        },
        "difference": as_dict(gap),
        "equal_accuracy_cost": step.needed,
        "oracle": {"accuracy": as_dict(study.mean(step.oracle.value)), "cost": _cost(study, step.oracle)},
        "captured": None if step.captured is None else as_dict(step.captured),
    }


def _arms(study: PoolStudy) -> dict[str, Any]:
    """All arms that were measured well, as one level."""
    board, budget = study.board, study.budget[0]
    value, cost = board.value.mean(1), board.cost.mean(1)
    front = {arm for routed in study.settled.shares for arms in routed.values() for arm in arms}
    shares: dict[str, float] = {}
    for name, found in study.settled.mixed(budget).items():
        for arm, share in found:
            shares[arm] = shares.get(arm, 0.0) + share * study.settled.weights[name]
    arms = []
    for i in np.lexsort((value, cost)).tolist():
        arm = board.arms[i]
        spread = study.mean(board.value[i]) if arm in front else None
        arms.append(
            {
                "arm": arm,
                "value": float(value[i]),
                "low": None if spread is None else spread.low,
                "high": None if spread is None else spread.high,
                "cost": float(cost[i]),
                "free": True,
                "frontier": arm in front,
                "chosen": shares.get(arm, 0.0),
            }
        )
    ours = study.headline
    spent = study.mean(ours.cost)
    return {
        "bin": "all",
        "share": 1.0,
        "prompts": {"search": len(ours.value), "confirm": len(ours.value)},
        "arms": arms,
        "confirmed": {
            "accuracy": as_dict(study.mean(ours.value)),
            "cost": {"mean": spent.value, "low": spent.low, "high": spent.high},
        },
    }


def _difficulty(study: PoolStudy) -> dict[str, Any]:
    """How prompts are told apart and why, and how many folds decided so."""
    kinds = [way.kind for way in study.ways]
    rule = study.settled.rule
    return {
        "kind": study.way.kind,
        **({} if rule is None else {"accuracy": rule.accuracy}),
        **study.way.figures(),
        "folds": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
    }


# ---------------------------------------------------------------- the policy


def policy_of(study: PoolStudy, result: Mapping[str, Any]) -> Policy:
    """The policy file: every vertex of the frontier is a setting, so that a budget finds a fine dial."""
    settled = study.settled.fitted(study.budget[0])
    ids = {arm: f"a{i}" for i, arm in enumerate(settled.arms)}
    drawn: set[str] = set()
    scored: set[str] = set()
    for arm in ids:
        models, scorers = models_of(parse(arm))
        drawn |= set(models)
        scored |= set(scorers)
    frontier, default = _settings(settled, study.budget[0], ids)
    data: dict[str, Any] = {
        "format": "autotts.policy/1",
        "requires": [] if settled.router is None else [REQUIRES],
        "task": {
            "name": study.gauge.recorded.dataset,
            "reader": "text",
            "grader": "text",
            "prompts": digest(study.gauge.problems),
        },
        "unit": study.recipe.unit,
        "models": {role: _bound(study, role) for role in sorted(drawn)},
        "scorers": {role: {"binding": {"engine": "recorded", "id": role}, "card": {}} for role in sorted(scored)},
        "arms": {ids[arm]: {"arm": arm, "expected": settled.of_bins(arm)} for arm in ids},
        "difficulty": {**_told_apart(settled, ids), "bins": list(settled.bins)},
        "frontier": frontier,
        "default": default,
        "cap": study.cap,
        "controller": {**controller.DEFAULT.model_dump(), "budget": _held(study)},
        "seen": _seen(study, settled).model_dump(),
        "pool": {"probe_tokens": study.recipe.probe_tokens},
        "evidence": {key: result[key] for key in ("accuracy", "cost", "baselines", "prompts", "verdict", "crossfit")},
        "made": {"version": __version__, **{k: result["provenance"][k] for k in ("date", "seed", "command")}},
    }
    return Policy.loads(json.dumps(data), "the exported policy")


def _settings(settled: Settled, budget: float, ids: Mapping[str, str]) -> tuple[list[dict[str, Any]], int]:
    """The settings, and which of them is for the budget: a mixture at it, or with multipliers the nearest below."""
    costs = settled.nominal.tolist() if settled.router is not None else sorted({*settled.nominal.tolist(), budget})
    out = []
    for place, cost in enumerate(costs):
        route = {name: [[ids[arm], s] for arm, s in arms] for name, arms in settled.mixed(cost).items()}
        priced = {} if settled.router is None else {"multiplier": float(settled.multipliers[place])}
        out.append({"budget": cost, **priced, "route": route, "expected": settled.expected(cost)})
    return out, settled.place(budget) if settled.router is not None else costs.index(budget)


def _told_apart(settled: Settled, ids: Mapping[str, str]) -> dict[str, Any]:
    """What the policy knows of how prompts differ."""
    if settled.router is not None:
        known = settled.router.performance
        named = {**known.to_json(), "arms": [ids[arm] for arm in known.arms]}
        return {"kind": "performance", "features": known.groups, "performance": named}
    if settled.rule is not None:
        return {"kind": "levels", "features": list(settled.rule.features), "model": settled.rule.to_json()}
    return {"kind": "none"}


def _seen(study: PoolStudy, settled: Settled) -> Seen:
    """What the problems of the pool looked like."""
    prompts = [problem.prompt for problem in study.gauge.problems]
    return seen(prompts, [1.0] * len(prompts), settled.rule, list(settled.bins))


def _held(study: PoolStudy) -> float:
    """The mean budget that serving holds: what was asked for, or what the policy was made for."""
    asked = study.recipe.amount
    return float(study.budget[0] if asked is None else asked.parts)


def _bound(study: PoolStudy, role: str) -> dict[str, Any]:
    family = next(s.drawn.family for s in study.gauge.sources if s.role == role)
    binding = {"engine": "recorded", "id": f"pool:{study.gauge.recorded.digest}:{role}", "model": family.model}
    binding |= {k: v for k in ("temperature", "top_p", "template", "effort") if (v := getattr(family, k)) is not None}
    return {"binding": binding, "card": {k: v for k, v in asdict(family.card).items() if v is not None}}
