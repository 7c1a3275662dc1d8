"""What the prompts of a study looked like, as a policy keeps it: the spread of each feature, and no prompt.

It decides nothing about a prompt. `autotts.policy.drift` compares served prompts with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from autotts.predict.features import FEATURES, FEATURES_VERSION, features
from autotts.predict.levels import LevelModel

Floats = NDArray[np.float64]

BIN: Final = "bin:"  # before the name of a bin: the chance that a prompt is in it
QUANTILES: Final = tuple(k / 10 for k in range(1, 10))
FEWEST: Final = 20  # prompts, below which nothing is said
MOST: Final = 256  # features, and edges of one
SLACK: Final = 1e-5  # of an edge: edges are written with six digits, and logarithms differ between machines


class Seen(BaseModel):
    """The spread of each feature over the prompts of a study.

    Parameters
    ----------
    version
        Of the features; those of another version are not compared.
    prompts
        How many there were.
    n
        How many equal prompts these are worth, weighted as they are.
    features
        Names of what is compared.
    edges
        Of each feature its least value, its deciles and its largest, each once, ascending.
    upto
        The share of the prompts up to each edge.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True, strict=True)

    version: int = FEATURES_VERSION
    prompts: int = Field(ge=0)
    n: float = Field(ge=0)
    features: list[str] = Field(max_length=MOST)
    edges: list[list[float]]
    upto: list[list[float]]

    @model_validator(mode="after")
    def _consistent(self) -> Seen:
        if len(set(self.features)) < len(self.features):
            raise ValueError(f"features: expected each once, found {self.features}")
        if len(self.edges) != len(self.features) or len(self.upto) != len(self.features):
            raise ValueError(f"edges, upto: expected a row for each of {len(self.features)} features")
        for name, edges, upto in zip(self.features, self.edges, self.upto, strict=True):
            if not 1 <= len(edges) <= MOST or len(upto) != len(edges):
                raise ValueError(f"edges, upto: expected 1 to {MOST} numbers of {name}, as many each")
            if any(low >= high for low, high in pairwise(edges)) or any(low > high for low, high in pairwise(upto)):
                raise ValueError(f"edges, upto: expected ascending numbers of {name}")
            if upto[0] < 0 or upto[-1] > 1:
                raise ValueError(f"upto: expected shares from 0 to 1 of {name}")
        return self


def columns(bins: Sequence[str]) -> list[str]:
    """What is compared of a prompt: its surface, and the chance of each bin where there are several."""
    return [*FEATURES, *(BIN + name for name in bins)] if len(bins) > 1 else list(FEATURES)


def seen(prompts: Sequence[str], weights: Sequence[float], model: LevelModel | None, bins: Sequence[str]) -> Seen:
    """Describe the prompts of a study.

    Parameters
    ----------
    weights
        What share of the traffic each prompt stands for; they need not sum to one.
    model, bins
        What tells prompts apart, and the names of its levels; None and one bin where nothing does.

    Examples
    --------
    >>> found = seen(["1+2", "1+2+3", "12345"], [1, 1, 1], None, ["all"])
    >>> found.edges[found.features.index("plus")]
    [0.0, 1.0, 2.0]
    """
    table = np.array([features(prompt) for prompt in prompts], float).reshape(len(prompts), len(FEATURES))
    if model is not None and len(bins) > 1:
        table = np.hstack([table, model.table(prompts)])
    names = columns(bins if model is not None else [])
    share = np.asarray(weights, float)
    total = float(share.sum())
    rows = [_spread(table[:, j], share / total) for j in range(len(names))] if total > 0 else []
    return Seen(
        prompts=len(prompts),
        n=round(total**2 / float((share**2).sum()), 1) if total > 0 else 0.0,
        features=names if rows else [],
        edges=[edges for edges, _ in rows],
        upto=[upto for _, upto in rows],
    )


def _spread(values: Floats, weights: Floats) -> tuple[list[float], list[float]]:
    """The edges of one feature, and the share up to each."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    places = np.minimum(np.searchsorted(reached, np.array(QUANTILES) - 1e-9), len(values) - 1)
    found = [values[order[0]], *values[order[places]], values[order[-1]]]
    edges = sorted({float(f"{value:.6g}") for value in found})
    upto = [min(1.0, float(weights[below(values, edge)].sum())) for edge in edges]
    return edges, [round(share, 6) for share in upto]


def below(values: Floats, edges: Floats | float) -> NDArray[np.bool_]:
    """Whether values are up to an edge, but for rounding."""
    out: NDArray[np.bool_] = values <= edges + SLACK * np.abs(edges) + 1e-9
    return out


def under(values: Floats, least: Floats) -> NDArray[np.bool_]:
    """Whether values are less than the least that was seen, by more than rounding."""
    out: NDArray[np.bool_] = values < least - SLACK * np.abs(least) - 1e-9
    return out
