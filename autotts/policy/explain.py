"""Why a policy gives a prompt the arm that it gives it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from autotts.core.cost import show
from autotts.policy.routing import Look, Routed, among, expected, look, route, settings_at
from autotts.policy.schema import Policy
from autotts.policy.showing import dial_of
from autotts.predict import groups
from autotts.predict.features import FEATURES, features
from autotts.predict.levels import CLIP, LevelModel
from autotts.predict.members import Linear
from autotts.predict.performance import Performance

SHOWN: Final = 6  # features
SLACK: Final = 1e-9  # of what was learned on: a rounding error is not outside


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature of the prompt, beside what is usual; `leans` above 0 speaks for the bin, or the arm, that it got."""

    name: str
    value: float
    usual: tuple[float, float]  # one standard deviation around the mean
    leans: float
    outside: bool


@dataclass(frozen=True, slots=True)
class Considered:
    """An arm that the prompt could get: what is expected of it here, and its share of such prompts at this budget.

    `worth` is value - multiplier * cost, where the policy routes by it.
    """

    id: str
    arm: str
    value: float | None
    cost: float | None
    share: float
    worth: float | None
    chosen: bool


@dataclass(frozen=True, slots=True)
class Explained:
    """One prompt: how it looks, what is expected of it, what it gets and why."""

    characters: int
    unit: str
    bin: str
    probabilities: Mapping[str, float]
    features: tuple[Feature, ...]
    budget: float
    effort: float
    considered: tuple[Considered, ...]
    arm: str
    value: float | None
    cost: float | None
    why: str
    cap: str
    unlike: str


def explain(policy: Policy, prompt: str, budget: float | None = None, *, token: str = "") -> Explained:
    """Explain the arm of a prompt at a mean budget (parts; None is the policy's default).

    Raises
    ------
    BudgetError
        Below the cheapest setting.
    """
    seen = look(policy, prompt)
    routed = route(policy, seen, budget, token)
    entered = sum(weight * setting.expected.cost for setting, weight in settings_at(policy, budget))
    found = _features(policy, prompt, routed)
    return Explained(
        characters=len(prompt),
        unit=policy.unit,
        bin=routed.bin,
        probabilities=routed.probabilities,
        features=tuple(sorted(found, key=lambda one: -abs(one.leans))[:SHOWN]),
        budget=entered,
        effort=dial_of(policy, entered),
        considered=_considered(policy, seen, budget, routed),
        arm=routed.arm,
        value=routed.value,
        cost=routed.cost,
        why=_why(policy, seen, routed, budget),
        cap=_cap(policy, routed),
        unlike=_unlike(policy, found),
    )


def _considered(policy: Policy, seen: Look, budget: float | None, routed: Routed) -> tuple[Considered, ...]:
    """The arms: those that it may get at this budget, then the others as they are worth their cost."""
    shares = dict(among(policy, seen, budget))
    multiplier = _multiplier(policy, budget)
    out = []
    for arm in policy.arms if seen.outlook is None else seen.outlook.arms:
        value, cost = expected(policy, seen, arm)
        known = multiplier is not None and seen.outlook is not None and value is not None and cost is not None
        worth = value - multiplier * cost if known else None  # type: ignore[operator]
        share = shares.get(arm, 0.0)
        out.append(Considered(arm, policy.arms[arm].arm, value, cost, share, worth, arm == routed.id))

    price = _price(policy, budget)

    def order(one: Considered) -> tuple[float, float]:
        return -one.share, price * (one.cost or 0.0) - (one.value or 0.0)

    return tuple(sorted(out, key=order))


def _price(policy: Policy, budget: float | None) -> float:
    """What a part of cost is worth at a budget: the multiplier, or what the next step of the frontier gives for it."""
    setting = settings_at(policy, budget)[0][0]
    if setting.multiplier is not None:
        return setting.multiplier
    at = policy.frontier.index(setting)
    steps = list(pairwise(policy.frontier))[max(0, at - 1) : at + 1][-1:]
    if not steps:
        return 0.0
    low, high = steps[0][0].expected, steps[0][1].expected
    return max(0.0, high.value - low.value) / (high.cost - low.cost) if high.cost > low.cost else 0.0


def _multiplier(policy: Policy, budget: float | None) -> float | None:
    """The value of one part of cost, of a policy that routes by it; between two settings that of the cheaper."""
    return settings_at(policy, budget)[0][0].multiplier


def _why(policy: Policy, seen: Look, routed: Routed, budget: float | None) -> str:
    share = dict(routed.shares)[routed.id]
    lot = "" if share > 0.999 else f", drawn by lot among {len(routed.shares)} with a share of {100 * share:.0f} %"
    if seen.fallback:
        return f"the prompt could not be looked at ({seen.fallback}), so its arm is drawn as over all prompts{lot}"
    multiplier = _multiplier(policy, budget)
    if seen.outlook is not None and multiplier is not None:
        if multiplier == 0:
            return f"it is expected to be right most often, and cost does not count at this budget{lot}"
        price = show(0.01 / multiplier, policy.unit)
        return f"it has the most value after its cost: at this budget one point of accuracy is worth {price}{lot}"
    if len(policy.difficulty.bins) == 1:
        return f"prompts are treated alike, and at this budget that is best for all together{lot}"
    chance = routed.probabilities[routed.bin]
    kind = f"level {routed.bin}" if routed.bin.isdigit() else repr(routed.bin)
    return f"the prompt is taken for {kind} ({100 * chance:.0f} %), and such prompts get it at this budget{lot}"


def _cap(policy: Policy, routed: Routed) -> str:
    if policy.cap is None:
        return "none in the policy; a request's own cap takes the dearest setting whose arm is expected to fit"
    limit = show(policy.cap, policy.unit)
    if routed.cost is None:
        return f"{limit}: there the arm is ended, and gives the best answer so far"
    much = routed.cost / policy.cap
    share = f"{100 * much:.0f} %"
    return f"{limit}, of which this arm is expected to take {share}; there it is ended, with the best answer so far"


# ---------------------------------------------------------------- features


def _features(policy: Policy, prompt: str, routed: Routed) -> list[Feature]:
    model, known = policy.difficulty.model, policy.difficulty.performance
    if known is not None:
        return _of_performance(known, prompt, routed.id)
    if model is not None and model.kind == "logistic":
        return _of_levels(model, prompt, policy.difficulty.bins.index(routed.bin))
    return []


def _of_levels(model: LevelModel, prompt: str, level: int) -> list[Feature]:
    everything = dict(zip(FEATURES, features(prompt), strict=True))
    raw = [everything[name] for name in model.features]
    weights = np.array(model.coefficients)
    lean = (weights[level] - weights.mean(axis=0)) / model.temperature
    squared = lean[len(raw) :] if model.squares else np.zeros(len(raw))
    return [
        _feature(name, value, (mean, scale), (weight, square), outside=abs(value - mean) > CLIP * scale)
        for name, value, mean, scale, weight, square in zip(
            model.features, raw, model.mean, model.scale, lean, squared, strict=False
        )
    ]


def _of_performance(known: Performance, prompt: str, arm: str) -> list[Feature]:
    """Dense features only; n-grams and embeddings lean too, and have no names."""
    dense = [name for name in known.groups if name in groups.GROUPS]
    raw = groups.dense(dense, prompt)
    linear = [member for member in known.members if isinstance(member, Linear)]
    weights = sum((member.of_columns(len(known.columns)) for member in linear), np.zeros((1, len(known.columns))))
    lean = weights[known.arms.index(arm) if linear else 0] * known.slope / len(known.members)
    rows = zip(known.columns, raw, known.mean, known.scale, lean, known.least, known.most, strict=False)
    return [
        _feature(name, value, (mean, scale), (weight, 0.0), outside=not _inside(value, least, most))
        for name, value, mean, scale, weight, least, most in rows
    ]


def _inside(value: float, least: float, most: float) -> bool:
    slack = SLACK * (1 + abs(least) + abs(most))
    return least - slack <= value <= most + slack


def _feature(
    name: str, value: float, usual: tuple[float, float], weights: tuple[float, float], *, outside: bool
) -> Feature:
    """`usual` is mean and deviation, `weights` those of the standardised value and of its square."""
    mean, scale = usual
    at = min(max((value - mean) / scale, -CLIP), CLIP)
    leans = float(weights[0] * at + weights[1] * at * at)
    return Feature(name, value, (mean - scale, mean + scale), leans, outside)


def _unlike(policy: Policy, found: Sequence[Feature]) -> str:
    """Why the prompt looks unlike those of the study, in words, or nothing."""
    odd = [one.name for one in found if one.outside]
    known = policy.difficulty.performance
    allowed = 0 if known is None else known.odd
    if policy.seen is not None and known is None:
        odd = list(dict.fromkeys((*odd, *_beyond(policy, found))))
    return "" if len(odd) <= allowed else f"outside what the study saw: {', '.join(odd[:SHOWN])}"


def _beyond(policy: Policy, found: Sequence[Feature]) -> Iterable[str]:
    """Features outside the spread that the policy keeps of the study's prompts."""
    if policy.seen is None:
        return
    edges = dict(zip(policy.seen.features, policy.seen.edges, strict=True))
    for one in found:
        if one.name in edges and not _inside(one.value, edges[one.name][0], edges[one.name][-1]):
            yield one.name
