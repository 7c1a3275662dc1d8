"""The language of strategies: what a plan may ask for, and how it waits.

A plan is a generator. It yields a `Join` (asks to wait for) or an `Offer` (the answer if it is ended here), is
sent `Arrivals` (None after an `Offer`), and returns its answer. `yield from` a smaller plan is the same plan; a
plan given as an *ask* of a `Join` runs beside the others.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from autotts.core.node import Choice, Node


@dataclass(frozen=True, slots=True)
class Spec:
    """How to draw; compared by value, so equal specs of one node are numbered draws of one family.

    `move`: "extend" goes on from the node, "vary" makes a neighbour of it, "probe" asks for the answer now.
    `stop`: "end", "step" (the next step delimiter of the binding) or at most this many new tokens.
    `model` is the name of a role that the world binds.
    """

    move: str = "extend"
    stop: str | int = "end"
    model: str = "policy"
    temperature: float = 0.8
    top_p: float = 1.0
    nudge: str = ""


# Asks are compared by identity: one object is one request.
@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """One draw from a node; arrives as a `Node`."""

    node: Node
    spec: Spec


@dataclass(frozen=True, slots=True, eq=False)
class Blend:
    """One draw that has read several nodes; arrives as a `Node`."""

    nodes: tuple[Node, ...]
    spec: Spec


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """The score of a node's whole text by a scorer (a role); arrives as a float, NaN where it failed."""

    node: Node
    by: str = "prm"


@dataclass(frozen=True, slots=True, eq=False)
class Join:
    """Wait for asks and sub-plans.

    `enough` is called with the values so far, in order of arrival, after each arrival; the plan wakes when it
    holds or when all have arrived. `offer` is called with the same values only if the plan is ended while it
    waits here.
    """

    asks: Sequence[Any]
    enough: Callable[[Sequence[Any]], bool] | None = None
    offer: Callable[[Sequence[Any]], Choice | None] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """The answer of the plan if it is ended from here on."""

    choice: Choice


class Missing:
    """Stands in `Arrivals.slots` for what has not arrived."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()


class Arrivals:
    """What a `Join` was answered with: `slots` in order of asking, `values` in order of arrival."""

    __slots__ = ("asks", "slots", "values")

    def __init__(self, asks: Sequence[Any], slots: list[Any], values: list[Any]) -> None:
        self.asks = asks
        self.slots = slots
        self.values = values

    @property
    def pending(self) -> list[Any]:
        """Asks that have not arrived: hand them to the next `Join`, or they are cancelled and charged."""
        return [a for a, v in zip(self.asks, self.slots, strict=True) if v is MISSING]


Plan: TypeAlias = Generator[Any, Any, Any]


def everything(asks: Sequence[Any]) -> Plan:
    """All values, in order of asking."""
    got = yield Join(asks)
    return got.slots


def until(asks: Sequence[Any], enough: Callable[[Sequence[Any]], bool]) -> Plan:
    """The `Arrivals` at the first moment that `enough` holds."""
    return (yield Join(asks, enough))


def draw(nodes: Sequence[Node], spec: Spec) -> Plan:
    """One draw from each node, in order; a node that stands k times is drawn from k times."""
    return (yield from everything([Draw(n, spec) for n in nodes]))


def score(nodes: Sequence[Node], by: str) -> Plan:
    """The score of each node, in order."""
    return (yield from everything([Score(n, by) for n in nodes]))


def offer(choice: Choice | None) -> Plan:
    """Offer a choice, where there is one."""
    if choice is not None:
        yield Offer(choice)
