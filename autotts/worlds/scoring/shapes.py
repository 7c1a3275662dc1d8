"""A known shape of a model that scores: its options, and the function that asks it and reads what it says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from autotts.worlds.scoring.asking import Job


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a shape: its default, when a value is right, and what is expected in words."""

    default: Any
    right: Callable[[Any], bool]
    expected: str


@dataclass(frozen=True, slots=True)
class Shape:
    """How one family of models is asked and read.

    Parameters
    ----------
    head
        What its weights compute: "tokens" (numbers for each token), "sequence" (numbers for the whole), "words" (the
        next token).
    score
        The scores of a text: one for each step (process), or one in all.
    """

    kind: str
    name: str
    head: str
    options: Mapping[str, Option]
    score: Callable[[Job], Awaitable[Sequence[float]]]


def text(default: str) -> Option:
    """An option that is a text, not empty."""
    return Option(default, lambda x: isinstance(x, str) and x != "", "a text")


def anything(default: str) -> Option:
    """An option that is a text, perhaps empty."""
    return Option(default, lambda x: isinstance(x, str), "a text")


def count(default: int, least: int = 0, most: int = 2**31) -> Option:
    """An option that is a whole number within bounds."""
    bounds = f"a whole number from {least}" + (f" to {most}" if most < 2**31 else "")
    return Option(default, lambda x: isinstance(x, int) and not isinstance(x, bool) and least <= x <= most, bounds)


def place(default: int) -> Option:
    """An option that is a place in a row, from the end where it is negative."""
    return count(default, -1000, 1000)


def flag(default: bool) -> Option:
    """An option that is true or false."""
    return Option(default, lambda x: isinstance(x, bool), "true or false")


def one_of(*names: str) -> Option:
    """An option that is one of some names; the first is the default."""
    return Option(names[0], lambda x: x in names, f"one of {', '.join(names)}")


SENT: Final = one_of("auto", "logits", "probabilities")
TOP: Final = count(20, 2, 1000)  # log-probabilities asked for at a place; vLLM's own limit is 20 unless it is raised
