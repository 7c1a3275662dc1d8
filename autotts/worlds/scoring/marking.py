"""Scoring a text: the known shapes by name, the checks of an entry, and one number of the scores of steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from autotts.errors import InputError
from autotts.worlds.models.entry import Entry
from autotts.worlds.scoring import judge, outcome
from autotts.worlds.scoring.asking import Asks, Counted, Job, Marked, Text, Unread
from autotts.worlds.scoring.qwen import QWEN
from autotts.worlds.scoring.rlhflow import RLHFLOW
from autotts.worlds.scoring.shapes import Shape
from autotts.worlds.scoring.shepherd import SHEPHERD
from autotts.worlds.scoring.skywork import SKYWORK
from autotts.worlds.servers.fault import Fault

_KNOWN: Final = (
    *(SHEPHERD, QWEN, SKYWORK, RLHFLOW),
    *(outcome.CLASSES, outcome.POOLED),
    *(judge.SCORE, judge.COMPARE, judge.CONSTRAINTS),
)
SHAPES: Final[Mapping[tuple[str, str], Shape]] = {(shape.kind, shape.name): shape for shape in _KNOWN}

_NOT_THERE: Final = (401, 403, 404, 405, 501)

REDUCES: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "last": lambda scores: scores[-1],
    "min": min,
    "product": math.prod,
    "mean": lambda scores: math.fsum(scores) / len(scores),
}


async def mark(entry: Entry, text: Text, ask: Asks, *, seed: int) -> Marked:
    """Score a text; NaN where the server fails for this request, or says what cannot be read.

    The usage is that of all requests that were answered, also where the score is NaN. What `ask` raises for a server
    that is dead for good (`BackendError`) goes through.

    Raises
    ------
    InputError
        When the entry is not one that `check` accepts.
    Fault
        When the server has no such model or path, or does not let us in: no text could be scored.
    """
    shape = check(entry)
    assert entry.scoring is not None  # `check` has seen to it
    options = {name: option.default for name, option in shape.options.items()} | dict(entry.scoring.options)
    counted = Counted(ask)
    try:
        scores = await shape.score(Job(entry, text, counted, seed, options))
        return Marked(REDUCES[entry.scoring.reduce](scores), counted.usage)
    except Unread:
        return Marked(math.nan, counted.usage)
    except Fault as fault:
        if fault.status in _NOT_THERE:
            raise
        return Marked(math.nan, counted.usage)


def check(entry: Entry) -> Shape:
    """The shape of a model that scores, once all that it was opened with is known to be right.

    Raises
    ------
    InputError
        When it does not score, or its kind, shape, `reduce` or an option is not known or not right.
    """
    scoring = entry.scoring
    where = f"model {entry.name!r}"
    if scoring is None:
        raise InputError(f"{where}: expected a model that scores, found one that draws: give it a table `scoring`")
    kinds = sorted({kind for kind, _ in SHAPES})
    if scoring.kind not in kinds:
        raise InputError(f"{where}: scoring.kind: expected one of {', '.join(kinds)}, found {scoring.kind!r}")
    name = scoring.shape.replace("_", "-")
    shape = SHAPES.get((scoring.kind, name)) or SHAPES.get((scoring.kind, name + "-prm"))
    if shape is None:
        names = ", ".join(name for kind, name in SHAPES if kind == scoring.kind)
        raise InputError(
            f"{where}: scoring.shape: expected one of {names} for the kind {scoring.kind!r}, found {scoring.shape!r}"
        )
    if scoring.reduce not in REDUCES:
        raise InputError(f"{where}: scoring.reduce: expected one of {', '.join(REDUCES)}, found {scoring.reduce!r}")
    _check_options(where, shape, scoring.options)
    return shape


def _check_options(where: str, shape: Shape, given: Mapping[str, object]) -> None:
    for name in given:
        if name not in shape.options:
            names = ", ".join(shape.options)
            raise InputError(
                f"{where}: scoring: expected kind, shape, reduce and, for {shape.name!r}, {names}, found {name!r}"
            )
    for name, option in shape.options.items():
        value = given.get(name, option.default)
        if not option.right(value):
            found = f"found {value!r}" if name in given else "and it must be given"
            raise InputError(f"{where}: scoring.{name}: expected {option.expected}, {found}")
