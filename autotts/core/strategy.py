"""A strategy: a frozen dataclass of knobs with one method that returns a plan. Knobs are declared once, here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from random import Random
from types import MappingProxyType
from typing import Annotated, Any, Protocol, get_args, get_origin, get_type_hints

from autotts.core.node import Node
from autotts.core.plan import Plan
from autotts.errors import InputError


class Strategy(Protocol):
    """An algorithm that spends compute on one prompt; a frozen dataclass whose fields are `Annotated` knobs."""

    def plan(self, root: Node, rng: Random) -> Plan:
        """The plan for one prompt; it returns a `Choice`, or None where there is no answer."""
        ...


@dataclass(frozen=True, slots=True)
class Range:
    """A number between `low` and `high`, both allowed; `grid` lists the values that a search tries."""

    low: float
    high: float
    grid: tuple[float, ...] = ()
    log: bool = False
    about: str = ""


@dataclass(frozen=True, slots=True)
class Options:
    """One of a few words."""

    words: tuple[str, ...]
    about: str = ""


@dataclass(frozen=True, slots=True)
class Role:
    """The name of something that the world binds: a model that draws, or a scorer."""

    kind: str  # "policy" | "scorer"
    about: str = ""


@dataclass(frozen=True, slots=True)
class Knob:
    """One declared knob of a strategy."""

    name: str
    type: type
    domain: Range | Options | Role
    default: Any

    def check(self, value: Any, where: str) -> Any:
        """The value in the knob's own type, or an `InputError` that says what was expected."""
        domain = self.domain
        if isinstance(domain, Range):
            return self._number(value, domain, where)
        if not isinstance(value, str) or not value:
            raise InputError(f"{where}: {self.name} expects a name, found {value!r}")
        if isinstance(domain, Options) and value not in domain.words:
            raise InputError(f"{where}: {self.name} expects one of {', '.join(domain.words)}, found {value!r}")
        return value

    def _number(self, value: Any, domain: Range, where: str) -> Any:
        ok = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if ok and self.type is int:
            ok = value == int(value)
        if not ok or not domain.low <= value <= domain.high:
            kind = "a whole number" if self.type is int else "a number"
            raise InputError(
                f"{where}: {self.name} expects {kind} from {domain.low:g} to {domain.high:g}, found {value!r}"
            )
        return self.type(value)


@cache
def knobs(kind: type) -> Mapping[str, Knob]:
    """The declared knobs of a strategy class, in order of declaration."""
    hints = get_type_hints(kind, include_extras=True)
    out: dict[str, Knob] = {}
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if get_origin(hint) is not Annotated:
            raise TypeError(f"{kind.__name__}.{field.name} is not Annotated with Range, Options or Role")
        base, domain = get_args(hint)[:2]
        default = None if field.default is dataclasses.MISSING else field.default
        out[field.name] = Knob(field.name, base, domain, default)
    return MappingProxyType(out)


def build(kind: type, name: str, values: Mapping[str, Any]) -> Any:
    """A strategy from checked knob values; unknown knobs and values out of range are `InputError`s."""
    declared = knobs(kind)
    for key in values:
        if key not in declared:
            raise InputError(f"{name}: unknown knob {key!r}; expected one of {', '.join(declared)}")
    return kind(**{key: declared[key].check(value, name) for key, value in values.items()})
