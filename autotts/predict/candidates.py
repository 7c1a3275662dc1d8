"""What can be learned from examples, from the constant upwards: each candidate turns some prompts into a member."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from autotts.predict.examples import Examples
from autotts.predict.logistic import logit, rates, regress
from autotts.predict.lowrank import reduced
from autotts.predict.members import Floats, Linear, Trees
from autotts.predict.trees import boosted

Ints: TypeAlias = NDArray[np.int64]
Member: TypeAlias = Linear | Trees

STRENGTHS: Final = (0.001, 0.003, 0.01, 0.1, 1.0)  # values of C
STRONG: Final = (0.001, 0.003, 0.01)  # where there are more columns
PLAIN: Final = 1.0  # C of a single column
SHARED: Final = (0.003, 0.03)  # where arms lend each other strength
RANKS: Final = (1, 2, 3)
FEW: Final = 400  # different prompts, below which trees are not tried: slow to learn, and never ahead
FEW_ARMS: Final = 8  # for which trees and n-grams are learned one by one
MANY_ARMS: Final = 64  # beyond which arms are learned together only


Learn: TypeAlias = Callable[[Examples, Ints, int], Member]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way of learning a member from some rows of the examples, with a seed."""

    name: str
    variant: str
    learn: Learn


def candidates(examples: Examples) -> list[Candidate]:
    """The candidates, simplest first; the constant is the first, the length the second."""
    arms = examples.value.shape[1]
    found = [Candidate("constant", "", constant), Candidate("length", "", length)]
    if arms <= MANY_ARMS:
        found += [Candidate("logistic", f"C = {c:g}", partial(logistic, strength=c)) for c in STRENGTHS]
    if arms > 2:  # what two arms share is not what tells them apart
        found += [
            Candidate("lowrank", f"rank {rank}, C = {c:g}", partial(lowrank, rank=rank, strength=c))
            for rank in RANKS
            if rank < arms
            for c in SHARED
        ]
    if arms <= FEW_ARMS:
        if examples.topics.count:
            found += [Candidate("ngrams", f"C = {c:g}", partial(ngrams, strength=c)) for c in STRONG]
        if len(set(examples.same.tolist())) >= FEW:
            found.append(Candidate("boosting", "", boosting))
    return found


def constant(examples: Examples, rows: Ints, seed: int) -> Member:
    """Each arm's mean."""
    return Linear(intercepts=logit(rates(examples.value[rows], examples.weight[rows])).tolist())


def length(examples: Examples, rows: Ints, seed: int) -> Member:
    """Logistic regression of each arm on the logarithm of the prompt's length."""
    return _linear(examples, rows, [examples.columns.index("log_chars")], PLAIN)


def logistic(examples: Examples, rows: Ints, seed: int, *, strength: float) -> Member:
    """Logistic regression of each arm on all dense columns."""
    return _linear(examples, rows, list(range(len(examples.columns))), strength)


def _linear(examples: Examples, rows: Ints, uses: Sequence[int], strength: float) -> Member:
    x = examples.standard[rows][:, list(uses)]
    coefficients, intercepts = regress(x, examples.value[rows], examples.weight[rows], strength)
    return Linear(uses=list(uses), intercepts=intercepts.tolist(), directions=coefficients.tolist())


def ngrams(examples: Examples, rows: Ints, seed: int, *, strength: float) -> Member:
    """Logistic regression of each arm on all dense columns and the topics of n-grams."""
    dense, topics = examples.standard[rows], examples.topics
    x = np.hstack([dense, topics.values[rows]])
    coefficients, intercepts = regress(x, examples.value[rows], examples.weight[rows], strength)
    width = dense.shape[1]
    return Linear(
        uses=list(range(width)),
        intercepts=intercepts.tolist(),
        directions=coefficients[:, :width].tolist(),
        ngrams=topics.weights(coefficients[:, width:]),
    )


def lowrank(examples: Examples, rows: Ints, seed: int, *, rank: int, strength: float) -> Member:
    """A few difficulties of the prompt that all arms share, each arm with its own sensitivity to them."""
    dense, topics = examples.standard[rows], examples.topics
    x = np.hstack([dense, topics.values[rows]])
    directions, loadings, intercepts = reduced(x, examples.value[rows], examples.weight[rows], rank, strength)
    width = dense.shape[1]
    return Linear(
        uses=list(range(width)),
        intercepts=intercepts.tolist(),
        directions=directions[:, :width].tolist(),
        loadings=loadings.tolist(),
        ngrams=topics.weights(directions[:, width:]),
    )


def boosting(examples: Examples, rows: Ints, seed: int) -> Member:
    """Boosted trees of each arm on all dense columns."""
    return boosted(examples.raw[rows], examples.value[rows], examples.weight[rows], seed)


def logits(member: Member, examples: Examples, rows: Ints) -> Floats:
    """A member's logits on some rows, [n, A]."""
    if isinstance(member, Trees):
        return member.logits(examples.raw[rows])
    return member.logits(examples.standard[rows], [examples.topics.buckets[i] for i in rows])
