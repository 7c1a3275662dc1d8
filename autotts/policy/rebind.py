"""The same policy on other models: its roles bound anew, its arms and routes as they were.

What was measured stays, marked as measured on the old models: it is not known to hold on the new ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

from autotts.core.cost import ModelCard
from autotts.core.strategy import Role, Strategy, knobs
from autotts.errors import InputError
from autotts.policy.diff import answering
from autotts.policy.schema import Bound, Policy
from autotts.policy.words import listed
from autotts.strategies.arms import parse
from autotts.strategies.arms import show as text_of
from autotts.tasks import READERS
from autotts.worlds.catalogue import Asking, Catalogue, restated
from autotts.worlds.models.cards import find_card
from autotts.worlds.models.entry import Entry, Server

MARK: Final = "rebound"  # the key of `evidence` that says so
NOWHERE: Final = Server("http://localhost/v1")  # opening a world needs an address; nothing is asked there
DOLLARS: Final = ("usd_prompt", "usd_cached", "usd_generated")


@dataclass(frozen=True, slots=True)
class Onto:
    """New models for some roles of a policy: `roles` maps each of these to the name of its model in `models`."""

    models: Catalogue
    roles: Mapping[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Moved:
    """A role before and after; `answers` is the model's name where it answers."""

    role: str
    to: str
    answers_before: str
    answers_after: str


@dataclass(frozen=True, slots=True)
class Rebound:
    """The policy on its new models, what moved, and what should be known of it."""

    policy: Policy
    moved: tuple[Moved, ...]
    notes: tuple[str, ...]


# ---------------------------------------------------------------- what to bind to


def pairs(words: Sequence[str]) -> dict[str, str]:
    """What `OLD=NEW` words say.

    Examples
    --------
    >>> pairs(["small=Qwen/Qwen3-4B"])
    {'small': 'Qwen/Qwen3-4B'}
    """
    found: dict[str, str] = {}
    for word in words:
        old, mark, new = word.partition("=")
        if not (mark and old.strip() and new.strip()):
            raise InputError(f"rebind: expected OLD=NEW, such as small=Qwen/Qwen3-4B, found {word!r}")
        if old.strip() in found:
            raise InputError(f"rebind: expected each role once, found {old.strip()!r} twice")
        found[old.strip()] = new.strip()
    return found


def onto_file(policy: Policy, models: Catalogue, names: Mapping[str, str]) -> Onto:
    """Every role bound to a model of a file: by `names`, or else to that of its own name."""
    _known(policy, names)
    return Onto(models, {role: names.get(role, role) for role in (*policy.models, *policy.scorers)})


def onto_names(policy: Policy, names: Mapping[str, str]) -> Onto:
    """Some roles that draw, asked for under other names; all else of how they are asked stays where it was stated."""
    _known(policy, names)
    entries, notes = {}, []
    for role, served in names.items():
        if role in policy.scorers and policy.scorers[role].binding.get("scoring") is None:
            raise InputError(
                f"rebind: {role!r} scores, and a name does not say how a scorer is asked: describe it in a models.toml "
                '(`role = "scorer"`) and give --models FILE'
            )
        entries[role], told = _renamed(role, served, policy)
        notes += told
    return Onto(Catalogue(entries, "the new names"), {role: role for role in names}, tuple(notes))


def _known(policy: Policy, names: Mapping[str, str]) -> None:
    roles = (*policy.models, *policy.scorers)
    for role in names:
        if role not in roles:
            raise InputError(f"rebind: this policy has no role {role!r}; expected some of {listed(roles)}")


def _renamed(role: str, served: str, policy: Policy) -> tuple[Entry, list[str]]:
    bound = (policy.models | policy.scorers)[role]
    old, known = _card(bound), find_card(served)
    if "served" in bound.binding and "template" in bound.binding:
        entry = restated({role: (bound.binding, bound.card)}, (NOWHERE,), {}).entries[role]
        entry = replace(entry, served=served, revision="")
    else:
        entry = Entry(name=role, engine="openai", served=served, card=old, servers=(NOWHERE,))
    if known is None:
        same = served == bound.binding.get("served")
        note = f"{served} is not known here: its costs are counted by the card of {role!r}"
        return replace(entry, card=old), [] if same else [note]
    card = replace(known.card, **{key: getattr(old, key) for key in DOLLARS})
    priced = policy.unit == "usd"
    dollars = f"{served}: its dollars a token are taken to be those of the old model; set them in a models.toml"
    return replace(entry, card=card, context=entry.context or known.context), [dollars] if priced else []


def _card(bound: Bound) -> ModelCard:
    try:
        return ModelCard.of({"name": "", "revision": "", **bound.card})
    except (TypeError, ValueError) as error:
        raise InputError(f"policy: expected the card of a model, found something else ({error})") from None


# ---------------------------------------------------------------- the new policy


def rebind(policy: Policy, onto: Onto, *, when: str, reader: str | None = None) -> Rebound:
    """Bind a policy's roles to other models.

    Parameters
    ----------
    when
        The date that the evidence is marked with.
    reader
        How answers are read from now on, where the policy's own reader is none of texts; None keeps it.

    Raises
    ------
    InputError
        A model is missing or of the other kind, two arms would become one, or nobody could read the answers.
    """
    named = reader or policy.task.reader
    if named not in READERS:
        raise InputError(
            f"rebind: answers of this policy were read by {named!r}, which reads no texts of models: say how they are "
            f"read from now on, with --reader and one of {', '.join(READERS)}"
        )
    _kinds(policy, onto)
    data: dict[str, Any] = json.loads(policy.dumps())
    data["task"]["reader"] = named
    bounds = _bounds(policy, onto, Asking(READERS[named], policy.task.instruction or "", policy.unit))
    for section in ("models", "scorers"):
        data[section] = {
            onto.roles.get(role, role): bounds.get(role, bound) for role, bound in data.get(section, {}).items()
        }
    _rename(data, onto.roles)
    moved = tuple(_moved(role, policy, bounds, onto) for role in onto.roles)
    data["evidence"][MARK] = [*_marks(data["evidence"]), {"date": when, "roles": [asdict(one) for one in moved]}]
    new = Policy.loads(json.dumps(data), "the rebound policy")
    return Rebound(new, moved, (*onto.notes, *_notes(policy, new, onto)))


def _kinds(policy: Policy, onto: Onto) -> None:
    models, where = onto.models, onto.models.where or "the embedded models"
    drawing = models.drawing() if any(role in policy.models for role in onto.roles) else ()
    for role, name in onto.roles.items():
        scores = role in policy.scorers
        if name in (models.scoring if scores else drawing):
            continue
        other = name in (drawing if scores else models.scoring)
        kind = "scores" if scores else "draws"
        found = f"one that {'draws' if scores else 'scores'}" if other else "none of that name"
        there = listed(models.scoring if scores else drawing) or "none"
        raise InputError(
            f"rebind: {role!r} needs a model that {kind}; expected {name!r} in {where}, found {found} ({there}): "
            f"say which it is with {role}=NAME"
        )


def _bounds(policy: Policy, onto: Onto, asking: Asking) -> dict[str, dict[str, Any]]:
    """The new binding and card of each role."""
    drawn = dict.fromkeys(name for role, name in onto.roles.items() if role in policy.models)
    scored = dict.fromkeys(name for role, name in onto.roles.items() if role in policy.scorers)
    cards = onto.models.cards(tuple(drawn) + tuple(scored))
    with onto.models.opened(tuple(drawn), tuple(scored), asking) as world:
        ids = {name: world.bindings[name].id for name in (*drawn, *scored)}
    return {
        role: {"binding": {**onto.models.described(name), "id": ids[name]}, "card": asdict(cards[name])}
        for role, name in onto.roles.items()
    }


def _rename(data: dict[str, Any], roles: Mapping[str, str]) -> None:
    """Write the new roles into the arms; two that become one cannot be told apart by what was measured of them."""
    taken: dict[str, str] = {}
    for name, arm in data["arms"].items():
        strategy = parse(arm["arm"])
        changed = _with_roles(strategy, roles)
        arm["arm"] = arm["arm"] if changed == strategy else text_of(changed)
        first = taken.setdefault(text_of(changed), name)
        if first != name and changed != strategy:
            raise InputError(
                f"rebind: the arms {first!r} and {name!r} would both be {arm['arm']}: bind their models to two"
            )


def _with_roles(strategy: Strategy, roles: Mapping[str, str]) -> Strategy:
    declared = knobs(type(strategy))
    new = {
        knob.name: roles.get(getattr(strategy, knob.name), getattr(strategy, knob.name))
        for knob in fields(strategy)  # type: ignore[arg-type]
        if isinstance(declared[knob.name].domain, Role)
    }
    return replace(strategy, **new)  # type: ignore[type-var]


def _moved(role: str, policy: Policy, bounds: Mapping[str, Any], onto: Onto) -> Moved:
    before = (policy.models | policy.scorers)[role].binding
    return Moved(role, onto.roles[role], answering(before), answering(bounds[role]["binding"]))


def _answers(binding: Mapping[str, Any]) -> str:
    return str(binding.get("served") or binding.get("model") or binding.get("id") or "")


def _marks(evidence: Mapping[str, Any]) -> list[Any]:
    found = evidence.get(MARK, [])
    return found if isinstance(found, list) else [found]


def _notes(old: Policy, new: Policy, onto: Onto) -> Iterator[str]:
    if old.evidence:
        yield "accuracy and costs in this policy were measured on the old models; measure them with autotts evaluate"
    dearer = [role for role in onto.roles if _price(old, role) != _price(new, onto.roles[role])]
    if dearer:
        yield (
            f"a token of {listed(dearer)} costs another amount of {old.unit} than before: budgets and expected costs "
            "are still those of the old models, while serving counts what the new ones take"
        )
    left = [role for role, b in (new.models | new.scorers).items() if b.binding.get("engine") == "recorded"]
    if left:
        yield f"{listed(left)} {'is' if len(left) == 1 else 'are'} still bound to recorded answers: bind these too"
    answers = [_answers(bound.binding) for bound in new.models.values()]
    for name in sorted({name for name in answers if answers.count(name) > 1}):
        yield f"{name} now answers for several roles: arms that differ in them are the same"


def _price(policy: Policy, role: str) -> Any:
    """What a token of a role costs in the policy's unit; None where its card does not tell."""
    try:
        return _card((policy.models | policy.scorers)[role]).prices(policy.unit)
    except InputError:
        return None
