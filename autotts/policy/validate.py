"""All that is wrong with a policy file, and what is right and yet worth knowing before it is served."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, ValidationError

from autotts.policy import check
from autotts.policy.reading import misfits, refusals
from autotts.policy.schema import Policy
from autotts.policy.words import clipped, listed

RECORDED = "recorded"  # the engine of roles whose answers were recorded


@dataclass(frozen=True, slots=True)
class Validated:
    """What was found in a file; `policy` is None where there are problems.

    `unread`: other problems may be behind these, since values of the wrong form are not compared with others.
    """

    policy: Policy | None
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unread: bool = False


def validate(data: Any) -> Validated:
    """Look at the plain data of a policy file; nothing is raised."""
    refused = tuple(map(clipped, refusals(data)))
    if refused:
        return Validated(None, refused, unread=True)
    try:
        policy = Policy.model_validate_json(json.dumps(data))
    except ValidationError as error:
        return Validated(None, tuple(misfits(error)), unread=True)
    problems = tuple(map(clipped, check.problems(policy)))
    return Validated(None, problems) if problems else Validated(policy, (), tuple(map(clipped, _warnings(policy))))


def recorded(policy: Policy) -> list[str]:
    """Roles that are bound to recorded answers, which cannot answer a new prompt."""
    bounds = policy.models | policy.scorers
    return [role for role, bound in bounds.items() if bound.binding.get("engine") == RECORDED]


def _warnings(policy: Policy) -> Iterator[str]:
    for place, keys in _unknown(policy, ""):
        if not place and not (keys := [key for key in keys if key != "pool"]):  # a study of a pool writes this one
            continue
        yield f"{place or 'policy'}: keys that this version does not know are kept: {listed(keys)}"
    if names := recorded(policy):
        yield (
            f"models: {listed(names)} {'is' if len(names) == 1 else 'are'} bound to recorded answers, which cannot "
            "answer a new prompt: name the models that answer with autotts policy rebind"
        )
    for role in (r for r, b in (policy.models | policy.scorers).items() if not b.binding.get("id")):
        yield f"models: {role} has no binding, so it is not known what it stands for: autotts policy rebind names it"
    routed = {arm for s in policy.frontier for shares in s.route.values() for arm, _ in shares}
    known = policy.difficulty.performance
    idle = [arm for arm in policy.arms if arm not in routed.union(known.arms if known is not None else ())]
    if idle:
        yield f"arms: no prompt is ever routed to {listed(idle)}"
    for index, (low, high) in enumerate(pairwise(policy.frontier), 1):
        if high.expected.value <= low.expected.value:
            yield (
                f"frontier[{index}]: expected to be right on {high.expected.value:.1%} and no more than the cheaper "
                f"one before it ({low.expected.value:.1%})"
            )
    if policy.controller is None:
        yield "controller: none, so that serving holds the mean budget with the default parameters"
    if not policy.evidence:
        yield "evidence: none, so that nobody can see what the policy was measured to do"


def _unknown(entry: BaseModel, place: str) -> Iterator[tuple[str, list[str]]]:
    """Keys that no model of this version names, with the place of their object."""
    if entry.model_extra:
        yield place, sorted(entry.model_extra)
    for key in type(entry).model_fields:
        yield from _inside(getattr(entry, key), f"{place}.{key}".removeprefix("."))


def _inside(value: Any, place: str) -> Iterator[tuple[str, list[str]]]:
    if isinstance(value, BaseModel):
        yield from _unknown(value, place)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _inside(each, f"{place}.{key}")
    elif isinstance(value, list) and value and isinstance(value[0], BaseModel):
        for index, each in enumerate(value):
            yield from _inside(each, f"{place}[{index}]")
