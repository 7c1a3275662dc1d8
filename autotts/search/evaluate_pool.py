"""`autotts evaluate --pool`: arms and policies measured on recorded answers; texts in, figures out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotts.core.strategy import Role, Strategy, knobs
from autotts.errors import InputError
from autotts.estimate.intervals import Resamples, resample
from autotts.pools.recorded import Family, Recorded
from autotts.search.confirm import as_dict
from autotts.search.played import Played, Tell, play
from autotts.search.suited import Pricing, roles, suited
from autotts.strategies.arms import parse, show, written
from autotts.worlds.recorded import SCORER, Recording

Floats = NDArray[np.float64]

FORMAT = "autotts.evaluation/1"
SEVERAL = "autotts.evaluations/1"


@dataclass(frozen=True, slots=True)
class Asked:
    """How an evaluation on a pool is to be done; `unit` None is the best that can be counted."""

    unit: str | None = None
    probe_tokens: int = 0
    cap: int | None = None
    seed: int = 0


def evaluate_arms(pool: Recorded, text: str, asked: Asked, tell: Tell | None = None) -> dict[str, Any]:
    """The figures of the arms that a text stands for.

    Returns
    -------
    dict
        Of one arm, its figures; of several (a text without a model is one arm for each model), `arms`: a list of them.

    Raises
    ------
    InputError
        When none of them can be played on this pool; a note names those that cannot, where others can.
    """
    arms = arms_of(pool, text)
    pricing = Pricing(asked.unit or best_unit(pool, [arm for arm in arms if _fits(pool, arm)]), asked.probe_tokens)
    rows, left = [], []
    for arm in arms:
        try:
            found = play(pool, arm, pricing, cap=asked.cap, seed=asked.seed, tell=tell)
            rows.append(_figures(arm, found, pricing, asked))
        except InputError as error:
            left.append((arm, error))
    if not rows:
        raise left[0][1]
    if len(arms) == 1:
        return rows[0]
    notes = [f"{show(arm)} is left out: {error}" for arm, error in left]
    return {"format": SEVERAL, "pool": pool.dataset, "unit": pricing.unit, "arms": rows, "notes": notes}


def _fits(pool: Recorded, arm: Strategy) -> bool:
    """Whether there are draws for an arm."""
    try:
        suited(pool, [arm])
    except InputError:
        return False
    return True


def arms_of(pool: Recorded, text: str) -> list[Strategy]:
    """The arms of a text: one where it names its models, else one for each family of the pool.

    A temperature and a top-p that are not written are those of the family; a scorer is the recorded score.
    """
    strategy, given = parse(text), written(text)
    named = roles(strategy)
    open_roles = [knob for knob in named if knob not in given]
    made = [drawn.family for drawn in pool.drawn]
    if open_roles:
        ways = [(dict.fromkeys(open_roles, family.role), [family]) for family in made]
    else:
        first, *others = (
            [family for family in made if family.role == role] or [Family(role, role)]
            for role in dict.fromkeys(named.values())
        )
        ways = [({}, [family]) for family in first]
        if others:  # one temperature serves all models of an arm
            ways = [({}, [family]) for family in first if all(_alike(family, other) for other in others)]
            ways = ways or [({}, [])]
    return list(dict.fromkeys(_filled(strategy, given, change, of) for change, of in ways))


def _alike(family: Family, others: Sequence[Family]) -> bool:
    return any((f.temperature, f.top_p) == (family.temperature, family.top_p) for f in others)


def _filled(strategy: Strategy, given: frozenset[str], change: Mapping[str, Any], of: Sequence[Family]) -> Strategy:
    """The arm with what its text left open."""
    values: dict[str, Any] = dict(change)
    for name, knob in knobs(type(strategy)).items():
        if name in given:
            continue
        if isinstance(knob.domain, Role) and knob.domain.kind == "scorer":
            values[name] = SCORER
        for family in of:
            recorded = {"temperature": family.temperature, "top_p": family.top_p}.get(name)
            if recorded is not None:
                values[name] = recorded
    return replace(strategy, **values)  # type: ignore[type-var]


def best_unit(pool: Recorded, arms: Sequence[Strategy]) -> str:
    """FLOPs if all sizes and tokens are known, else tokens, else calls."""
    used = {role for arm in arms for role in roles(arm).values()}
    families = [drawn for drawn in pool.drawn if drawn.family.role in used]
    if any(bool((drawn.tokens < 0).any()) for drawn in families):
        return "calls"
    cards = [drawn.family.card for drawn in families]
    return "tokens" if any(c.parameters is None and c.active_parameters is None for c in cards) else "flops"


# ---------------------------------------------------------------- figures


def _figures(arm: Strategy, found: Played, pricing: Pricing, asked: Asked) -> dict[str, Any]:
    over = resample(["all"] * len(found.value), seed=asked.seed)
    told = Recording(found.pool, unit=pricing.unit).notes(scored=hasattr(arm, "by"))
    return {
        "format": FORMAT,
        "pool": found.pool.dataset,
        "subject": show(arm),
        "arm": show(arm),
        "unit": pricing.unit,
        "prompts": len(found.value),
        "accuracy": as_dict(over.mean(found.value)),
        "cost": cost_of(over, found.cost, found.costs, pricing.unit, asked.cap),
        "tokens": None if found.tokens is None else {"mean": float(found.tokens.mean())},
        "sequential_tokens": None if found.sequential is None else {"mean": float(found.sequential.mean())},
        "cut": found.cut,
        "by": found.by,
        "probe_tokens": pricing.probe_tokens,
        "notes": list(dict.fromkeys((*found.pool.notes, *told, *found.notes))),
    }


def cost_of(over: Resamples, mean: Floats, costs: Floats, unit: str, cap: float | None) -> dict[str, Any]:
    """Mean cost of a prompt with its interval, and what 95 % of the runs do not exceed."""
    spent = over.mean(mean)
    p95 = float(np.quantile(costs, 0.95, method="inverted_cdf"))
    return {"unit": unit, "mean": spent.value, "low": spent.low, "high": spent.high, "p95": p95, "cap": cap}
