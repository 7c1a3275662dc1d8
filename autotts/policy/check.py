"""What the shape of a policy file does not show: that its parts agree with each other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from autotts.core.cost import PARTS
from autotts.core.strategy import Role, knobs
from autotts.errors import InputError
from autotts.policy import perprompt
from autotts.policy.words import clipped, listed
from autotts.strategies.arms import parse

if TYPE_CHECKING:
    from autotts.policy.entries import Difficulty, Setting
    from autotts.policy.schema import Policy

TOLERANCE: Final = 1e-6  # of a sum of shares


def check(policy: Policy, where: str) -> None:
    """Raise an `InputError` that names the file, the place in it, what was expected and what was found."""
    for problem in problems(policy):
        raise InputError(f"{where}: {clipped(problem)}")


def problems(policy: Policy) -> Iterator[str]:
    """What does not agree, in words, each with its place."""
    if policy.unit not in PARTS:
        yield f"unit: expected one of {', '.join(PARTS)}, found {policy.unit!r}"
    yield from _difficulty(policy.difficulty)
    if policy.difficulty.kind == "performance":
        yield from perprompt.problems(policy)
    elif policy.difficulty.performance is not None or any(s.multiplier is not None for s in policy.frontier):
        yield (
            "difficulty.kind: expected 'performance', which a predictor of performance and multipliers are for, found "
            f"{policy.difficulty.kind!r}"
        )
    if not policy.arms:
        yield "arms: expected at least one arm, found none"
    for name in policy.arms:
        yield from _arm(policy, name)
    if not policy.frontier:
        yield "frontier: expected at least one budget with its route, found none"
    for index, setting in enumerate(policy.frontier):
        yield from _setting(policy, setting, f"frontier[{index}]")
    for index, (low, high) in enumerate(pairwise(policy.frontier), 1):
        if not low.budget < high.budget:
            yield f"frontier[{index}].budget: expected more than the {low.budget:g} before it, found {high.budget:g}"
        if low.expected.cost > high.expected.cost:
            yield (
                f"frontier[{index}].expected.cost: expected at least the {low.expected.cost:g} before it, found "
                f"{high.expected.cost:g}"
            )
    if not 0 <= policy.default < len(policy.frontier):
        yield f"default: expected the index of a frontier entry below {len(policy.frontier)}, found {policy.default}"


def _difficulty(difficulty: Difficulty) -> Iterator[str]:
    bins, model = difficulty.bins, difficulty.model
    if not bins or len(set(bins)) < len(bins):
        yield f"difficulty.bins: expected at least one name, each once, found {listed(bins) or 'none'}"
    if difficulty.kind == "none" and (len(bins) != 1 or model is not None):
        yield f"difficulty: kind none expects one bin and no model, found {len(bins)} bins"
    if difficulty.kind == "levels":
        if model is None:
            yield "difficulty.model: kind levels expects a model, found none"
        elif len(model.levels) != len(bins):
            yield f"difficulty.bins: expected {len(model.levels)} names, one a level of the model, found {len(bins)}"
        elif difficulty.features and difficulty.features != model.features:
            yield "difficulty.features: expected the features of the model, found others"


def _arm(policy: Policy, name: str) -> Iterator[str]:
    place = f"arms.{name}.arm"
    try:
        strategy = parse(policy.arms[name].arm)
    except InputError as error:
        yield f"{place}: {error}"
        return
    for knob in knobs(type(strategy)).values():
        if isinstance(knob.domain, Role):
            section = "scorers" if knob.domain.kind == "scorer" else "models"
            known = policy.scorers if section == "scorers" else policy.models
            role = getattr(strategy, knob.name)
            if role not in known:
                yield f"{place}: {knob.name}={role}: expected one of {section} ({listed(known) or 'none'})"
    for name_of_bin in policy.arms[name].expected:
        if name_of_bin not in policy.difficulty.bins:
            yield f"arms.{name}.expected: unknown bin {name_of_bin!r}; expected {listed(policy.difficulty.bins)}"


def _setting(policy: Policy, setting: Setting, place: str) -> Iterator[str]:
    bins = policy.difficulty.bins
    for missing in (b for b in bins if b not in setting.route):
        yield f"{place}.route: bin {missing!r} has no arm; expected a route for each of {listed(bins)}"
    for name, shares in setting.route.items():
        if name not in bins:
            yield f"{place}.route: unknown bin {name!r}; expected {listed(bins)}"
        for index, (arm, share) in enumerate(shares):
            if arm not in policy.arms:
                yield f"{place}.route.{name}[{index}]: unknown arm {arm!r}; expected one of {listed(policy.arms)}"
            if not 0 < share <= 1:
                yield f"{place}.route.{name}[{index}]: expected a share above 0 and up to 1, found {share:g}"
        total = math.fsum(share for _, share in shares)
        if abs(total - 1) > TOLERANCE:
            yield f"{place}.route.{name}: expected shares that sum to 1, found {total:g}"
