"""A policy as people want to see it: what it is for, who gets what at which budget, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autotts.policy import controller as control
from autotts.policy.routing import settings_at
from autotts.policy.schema import Bound, Policy

Mixture = tuple[tuple[str, float], ...]  # texts of arms with their shares


@dataclass(frozen=True, slots=True)
class Role:
    """A model as a role plays it: `answers` is its name where it answers, `prices` dollars a million tokens."""

    role: str
    kind: str  # "draws" | "scores"
    engine: str
    answers: str
    parameters: float | None
    active: float | None
    prices: tuple[float | None, float | None, float | None]  # read, read from the cache, written


@dataclass(frozen=True, slots=True)
class Point:
    """One setting: where it stands on the effort dial, what is expected of it, and the arms of each bin."""

    effort: float
    budget: float
    value: float
    cost: float
    route: Mapping[str, Mixture]
    default: bool


def roles(policy: Policy) -> tuple[Role, ...]:
    """The models that draw, then those that score."""
    drawing = tuple(_role(role, "draws", bound) for role, bound in policy.models.items())
    return drawing + tuple(_role(role, "scores", bound) for role, bound in policy.scorers.items())


def points(policy: Policy) -> tuple[Point, ...]:
    """The settings, from the cheapest to the dearest."""
    return tuple(
        Point(
            effort=dial_of(policy, setting.expected.cost),
            budget=setting.budget,
            value=setting.expected.value,
            cost=setting.expected.cost,
            route={name: _texts(policy, shares) for name, shares in setting.route.items()},
            default=index == policy.default,
        )
        for index, setting in enumerate(policy.frontier)
    )


def dial_of(policy: Policy, budget: float) -> float:
    """Where on the effort dial, 0 to 1, the frontier is entered at this mean budget; found by halving."""
    low, high = 0.0, 1.0
    if budget >= policy.effort(1.0):
        return 1.0
    if budget <= policy.effort(0.0):
        return 0.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if policy.effort(middle) < budget else (low, middle)
    return high


def expected_at(policy: Policy, budget: float | None) -> tuple[float, float]:
    """Mean value and mean cost that are expected at a mean budget; None is the default setting."""
    mixed = settings_at(policy, budget)
    return (
        sum(weight * setting.expected.value for setting, weight in mixed),
        sum(weight * setting.expected.cost for setting, weight in mixed),
    )


def route_at(policy: Policy, budget: float | None) -> dict[str, Mixture]:
    """The arms of each bin with their shares at a mean budget."""
    return {name: _texts(policy, policy.shares(name, budget)) for name in policy.difficulty.bins}


def told_apart(policy: Policy) -> str:
    """How prompts are told apart, in words."""
    difficulty = policy.difficulty
    if difficulty.performance is not None:
        known = difficulty.performance
        return (
            f"prompt by prompt: what {len(known.arms)} arms will do is predicted ({known.kind} of "
            f"{', '.join(known.groups)}, learned on {known.n} prompts)"
        )
    model = difficulty.model
    if model is None:
        return "not at all: every prompt is treated alike"
    if model.kind == "constant":
        return f"not at all: {model.why}"
    return (
        f"by {len(difficulty.bins)} levels, predicted from {len(model.features)} features of the prompt; right on "
        f"{100 * model.accuracy:.0f} % of {model.n} prompts that it had not seen"
    )


def held(policy: Policy) -> str:
    """How the mean budget is held while serving, in words."""
    known = policy.controller or control.DEFAULT
    stated = "" if policy.controller is not None else " (by default; the policy states no controller)"
    return f"serving holds the mean, at most {known.allowance:g} budgets over it in all{stated}"


def _texts(policy: Policy, shares: Any) -> Mixture:
    return tuple((policy.arms[arm].arm, share) for arm, share in shares)


def _role(role: str, kind: str, bound: Bound) -> Role:
    binding, card = bound.binding, bound.card
    return Role(
        role=role,
        kind=kind,
        engine=_text(binding.get("engine")),
        answers=_text(binding.get("served") or binding.get("model") or binding.get("id")),
        parameters=_number(card.get("parameters")),
        active=_number(card.get("active_parameters")),
        prices=(
            _number(card.get("usd_prompt")),
            _number(card.get("usd_cached")),
            _number(card.get("usd_generated")),
        ),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> float | None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
    return float(value) if fits else None
