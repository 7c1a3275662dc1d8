"""Two policies beside each other: what changes for which prompts, and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from autotts.policy.routing import look, route
from autotts.policy.schema import Bound, Policy
from autotts.policy.showing import Mixture, expected_at, route_at, told_apart
from autotts.policy.words import short

DIALS: Final = (0.0, 0.5, 1.0)  # of effort, at which both are compared beside their defaults
EXAMPLES: Final = 4  # prompts that are shown of those that change, each from another arm or to another one


@dataclass(frozen=True, slots=True)
class Side:
    """What one policy does for a bin at some budget; None where it does not tell."""

    arms: Mixture
    value: float | None
    cost: float | None


@dataclass(frozen=True, slots=True)
class Changed:
    """A bin whose arms change."""

    bin: str
    before: Side
    after: Side


@dataclass(frozen=True, slots=True)
class At:
    """Both policies at their defaults, or at a place of the effort dial: mean value and cost, and the bins that change.

    `bins` is None where the two do not have the same bins.
    """

    name: str
    before: tuple[float, float]
    after: tuple[float, float]
    bins: tuple[Changed, ...] | None


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt that changes its arm."""

    prompt: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Tried:
    """Prompts that were routed by both, at their defaults; costs are means over prompts, None where unknown."""

    prompts: int
    changed: int
    cost_before: float | None
    cost_after: float | None
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True)
class Diff:
    """All that differs; `equal` if nothing does.

    Attributes
    ----------
    comparable
        Whether costs of the two can be compared: the unit is the same.
    facts
        What else changed, as (what, before, after).
    routes
        Whether the two decide alike about every prompt.
    """

    equal: bool
    comparable: bool
    routes: bool
    units: tuple[str, str]
    facts: tuple[tuple[str, str, str], ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    points: tuple[At, ...] = ()
    tried: Tried | None = field(default=None)


def diff(before: Policy, after: Policy, prompts: Iterable[str] | None = None) -> Diff:
    """Compare two policies; with prompts, route each by both as well."""
    old, new = ({arm.arm for arm in policy.arms.values()} for policy in (before, after))
    return Diff(
        equal=before == after,
        comparable=before.unit == after.unit,
        routes=_decides(before) == _decides(after),
        units=(before.unit, after.unit),
        facts=tuple(_facts(before, after)),
        added=tuple(sorted(new - old)),
        removed=tuple(sorted(old - new)),
        points=() if _decides(before) == _decides(after) else tuple(_points(before, after)),
        tried=None if prompts is None else _tried(before, after, prompts),
    )


def _decides(policy: Policy) -> dict[str, Any]:
    """What decides about prompts, with arms by their texts."""
    keys = {"unit", "arms", "difficulty", "frontier", "default", "cap"}
    return policy.model_dump(mode="json", include=keys)


def _facts(before: Policy, after: Policy) -> Iterable[tuple[str, str, str]]:
    pairs = [
        ("task", before.task.name, after.task.name),
        ("reader", before.task.reader, after.task.reader),
        ("grader", before.task.grader, after.task.grader),
        ("prompts", before.task.prompts, after.task.prompts),
        ("instruction", before.task.instruction or "", after.task.instruction or ""),
        ("unit", before.unit, after.unit),
        ("told apart", told_apart(before), told_apart(after)),
        ("bins", ", ".join(before.difficulty.bins), ", ".join(after.difficulty.bins)),
        ("settings", str(len(before.frontier)), str(len(after.frontier))),
        ("cap", _amount(before.cap), _amount(after.cap)),
    ]
    for name, old, new in pairs:
        if old != new:
            yield name, old or "none", new or "none"
    if told_apart(before) == told_apart(after) and before.difficulty != after.difficulty:
        yield "predictor", "learned", "learned anew"
    if before.controller != after.controller:
        yield from _fields("controller", _dumped(before.controller), _dumped(after.controller))
    for section in ("models", "scorers"):
        old_roles: Mapping[str, Bound] = getattr(before, section)
        new_roles: Mapping[str, Bound] = getattr(after, section)
        for role in dict.fromkeys((*old_roles, *new_roles)):
            yield from _role(role, old_roles.get(role), new_roles.get(role))
    if before.made != after.made:
        yield "made", _made(before), _made(after)


def _role(role: str, old: Bound | None, new: Bound | None) -> Iterable[tuple[str, str, str]]:
    if old is None or new is None:
        yield role, "not used" if old is None else "used", "not used" if new is None else "used"
        return
    if old.binding.get("engine") == new.binding.get("engine"):
        yield from _fields(role, old.binding, new.binding)
    else:  # hardly a key is the same
        yield role, answering(old.binding), answering(new.binding)
    yield from _fields(f"{role} card", old.card, new.card)


def answering(binding: Mapping[str, Any]) -> str:
    """Who answers where a role is asked: the engine, and the name that the model has there."""
    name = binding.get("served") or binding.get("model") or binding.get("id") or "nobody known"
    return f"{name} ({binding.get('engine') or 'unknown'})"


def _fields(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterable[tuple[str, str, str]]:
    for key in dict.fromkeys((*old, *new)):
        if old.get(key) != new.get(key):
            yield f"{name} {key}", short(old.get(key)), short(new.get(key))


def _dumped(entry: Any) -> dict[str, Any]:
    return {} if entry is None else entry.model_dump()


def _amount(parts: float | None) -> str:
    return "" if parts is None else f"{parts:g}"


def _made(policy: Policy) -> str:
    return f"{policy.made.date or 'some day'} by {policy.made.version or 'some version'}, seed {policy.made.seed}"


def _points(before: Policy, after: Policy) -> Iterable[At]:
    yield _at("default", before, after, (None, None))
    for dial in DIALS:
        yield _at(f"effort {dial:g}", before, after, (before.effort(dial), after.effort(dial)))


def _at(name: str, before: Policy, after: Policy, budgets: tuple[float | None, float | None]) -> At:
    bins = None
    if before.difficulty.bins == after.difficulty.bins:
        old, new = route_at(before, budgets[0]), route_at(after, budgets[1])
        bins = tuple(
            Changed(bin_, _side(before, bin_, old[bin_]), _side(after, bin_, new[bin_]))
            for bin_ in before.difficulty.bins
            if sorted(old[bin_]) != sorted(new[bin_])
        )
    return At(name, expected_at(before, budgets[0]), expected_at(after, budgets[1]), bins)


def _side(policy: Policy, bin_: str, arms: Mixture) -> Side:
    known = {arm.arm: arm.expected.get(bin_) for arm in policy.arms.values()}
    found = [(known[text], share) for text, share in arms]
    if any(one is None for one, _ in found):
        return Side(arms, None, None)
    value = sum(share * one.value for one, share in found if one is not None)
    return Side(arms, value, sum(share * one.cost for one, share in found if one is not None))


def _tried(before: Policy, after: Policy, prompts: Iterable[str]) -> Tried:
    count = changed = 0
    costs: tuple[list[float | None], list[float | None]] = ([], [])
    examples: dict[tuple[str, str], Example] = {}
    for prompt in prompts:
        # One token for both: a mixture draws by its policy's own hash, so equal shares may still fall differently.
        old, new = (route(policy, look(policy, prompt), None, "") for policy in (before, after))
        count += 1
        costs[0].append(old.cost)
        costs[1].append(new.cost)
        if old.arm != new.arm:
            changed += 1
            if len(examples) < EXAMPLES:
                examples.setdefault((old.arm, new.arm), Example(prompt, old.arm, new.arm))
    return Tried(count, changed, _mean(costs[0]), _mean(costs[1]), tuple(examples.values()))


def _mean(costs: list[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known) / len(known) if known and len(known) == len(costs) else None
