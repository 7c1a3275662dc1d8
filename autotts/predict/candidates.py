"""What can be learned from examples, from the constant upwards: each candidate turns some prompts into a member."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from autotts.predict.logistic import logit, rates, regress
from autotts.predict.members import Floats, Linear, Trees

Ints: TypeAlias = NDArray[np.int64]
Member: TypeAlias = Linear | Trees

STRENGTHS: Final = (0.003, 0.03, 0.3)  # values of C


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Prompts x arms with what was measured: `value` and `weight` are [N, A], a weight of 0 is a missing cell.

    `raw` and `standard` are the dense columns, [N, C]; `buckets` the n-grams of each prompt; `same` numbers equal
    prompts alike, [N].
    """

    columns: list[str]
    raw: Floats
    standard: Floats
    mean: Floats
    scale: Floats
    buckets: list[list[int]]
    value: Floats
    weight: Floats
    same: Ints


Learn: TypeAlias = Callable[[Examples, Ints, int], Member]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way of learning a member from some rows of the examples, with a seed."""

    name: str
    variant: str
    learn: Learn


def candidates(examples: Examples) -> list[Candidate]:
    """The candidates, simplest first; the constant is the first, the length the second."""
    found = [Candidate("constant", "", constant), Candidate("length", "", length)]
    for strength in STRENGTHS:
        found.append(Candidate("logistic", f"C = {strength:g}", partial(logistic, strength=strength)))
    return found


def constant(examples: Examples, rows: Ints, seed: int) -> Member:
    """Each arm's mean."""
    return Linear(intercepts=logit(rates(examples.value[rows], examples.weight[rows])).tolist())


def length(examples: Examples, rows: Ints, seed: int) -> Member:
    """Logistic regression of each arm on the logarithm of the prompt's length."""
    return _linear(examples, rows, [examples.columns.index("log_chars")], 1.0)


def logistic(examples: Examples, rows: Ints, seed: int, *, strength: float) -> Member:
    """Logistic regression of each arm on all dense columns."""
    return _linear(examples, rows, list(range(len(examples.columns))), strength)


def _linear(examples: Examples, rows: Ints, uses: Sequence[int], strength: float) -> Member:
    x = examples.standard[rows][:, list(uses)]
    coefficients, intercepts = regress(x, examples.value[rows], examples.weight[rows], strength)
    return Linear(uses=list(uses), intercepts=intercepts.tolist(), directions=coefficients.tolist())


def logits(member: Member, examples: Examples, rows: Ints) -> Floats:
    """A member's logits on some rows, [n, A]."""
    if isinstance(member, Trees):
        return member.logits(examples.raw[rows])
    return member.logits(examples.standard[rows], [examples.buckets[i] for i in rows])
