"""The pieces of a learned performance as plain numbers, linear ones and boosted trees: read here, learned elsewhere.

A piece takes the dense features of a prompt and its n-grams, and gives the logit of each arm. Both pieces give the
same numbers as the scikit-learn estimators that they were learned with.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from autotts.predict.ngrams import BUCKETS

Floats: TypeAlias = NDArray[np.float64]

FAREST: Final = 1e12  # of a mean, and the inverse of the least scale
CLIP: Final = 5.0  # standard deviations: a prompt unlike all others must not be extrapolated without end
STEPS: Final = 20_000  # through all trees of an arm: a hundred times what is learned
LARGEST: Final = 1e6  # of a coefficient: far above what regularisation lets through, far below overflow


class Linear(BaseModel):
    """Logits that are linear in standardised features: `intercepts + loadings @ (directions @ x + n-grams)`.

    Parameters
    ----------
    type
        Names this kind of member.
    uses
        The columns that x is made of.
    intercepts
        One for each arm.
    directions
        A row for each latent difficulty.
    loadings
        A row for each arm; without loadings each arm has its own direction.
    ngrams
        Maps a bucket to its weight in each direction; a prompt's different buckets count 1 over the root of how many
        these are.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True, strict=True)

    type: Literal["linear"] = "linear"
    uses: list[int] = []
    intercepts: list[float]
    directions: list[list[float]] = []
    loadings: list[list[float]] = []
    ngrams: dict[str, list[float]] = {}

    def problems(self, arms: int, columns: int) -> list[str]:
        """What is wrong with its shapes, in words."""
        count, width = len(self.directions), len(self.uses)
        wrong = _uses(self.uses, columns)
        if len(self.intercepts) != arms:
            wrong.append(f"intercepts: expected {arms} numbers, one for each arm, found {len(self.intercepts)}")
        if any(len(row) != width for row in self.directions):
            wrong.append(f"directions: expected rows of {width} numbers")
        if self.loadings and (len(self.loadings) != arms or any(len(row) != count for row in self.loadings)):
            wrong.append(f"loadings: expected {arms} rows of {count} numbers")
        if not self.loadings and count not in (0, arms):
            wrong.append(f"directions: expected {arms} rows, one for each arm, or loadings")
        if any(not _bucket(key) or len(row) != count for key, row in self.ngrams.items()):
            wrong.append(f"ngrams: expected buckets from 0 to {BUCKETS - 1} with {count} numbers each")
        rows = [self.intercepts, *self.directions, *self.loadings, *self.ngrams.values()]
        if any(abs(value) > LARGEST for row in rows for value in row):
            wrong.append(f"coefficients: expected numbers up to {LARGEST:g}")
        return wrong

    @cached_property
    def _arrays(self) -> tuple[list[int], Floats, Floats, Floats]:
        """Columns, directions as seen by x, intercepts, and directions' loadings (identity where there are none)."""
        directions = np.array(self.directions, float).reshape(len(self.directions), len(self.uses))
        loadings = np.array(self.loadings, float) if self.loadings else np.eye(len(self.intercepts), len(directions))
        return self.uses, directions, np.array(self.intercepts, float), loadings

    @cached_property
    def _weights(self) -> Floats:
        """The weights of all buckets, [BUCKETS, K]; 0 for those never learned on."""
        table = np.zeros((BUCKETS, len(self.directions)))
        table[[int(key) for key in self.ngrams]] = list(self.ngrams.values())
        return table

    def of_columns(self, columns: int) -> Floats:
        """The weight of each standardised column in each arm's logit, [A, C]."""
        uses, directions, intercepts, loadings = self._arrays
        out = np.zeros((len(intercepts), columns))
        out[:, uses] = loadings @ directions
        return out

    def of_buckets(self) -> Floats:
        """The weight of each bucket in each arm's logit, [BUCKETS, A]."""
        return np.asarray(self._weights @ self._arrays[3].T)

    def logits(self, standard: Floats, ngrams: Sequence[Sequence[int]]) -> Floats:
        """[N, A] from standardised columns [N, C] and each prompt's buckets (unused without `ngrams`)."""
        uses, directions, intercepts, loadings = self._arrays
        if not len(directions):
            return np.tile(intercepts, (len(standard), 1))
        latent = standard[:, uses] @ directions.T
        if self.ngrams:
            weights = self._weights
            latent = latent + np.array([weights[row].sum(0) / max(len(row), 1) ** 0.5 for row in ngrams])
        return np.asarray(intercepts + (latent @ loadings.T if self.loadings else latent))


class Ensemble(BaseModel):
    """Boosted trees of one arm, one after another: a node goes `left` where its feature is at most its threshold.

    Parameters
    ----------
    base
        The logit before any tree.
    roots
        The nodes where trees begin.
    feature
        Of each node its feature, a place in `uses`; -1 for a leaf.
    threshold
        Of each node.
    left, right
        Of each node its children, which stand after it.
    value
        What a leaf adds, learning rate included.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True, strict=True)

    base: float
    roots: list[int] = []
    feature: list[int] = []
    threshold: list[float] = []
    left: list[int] = []
    right: list[int] = []
    value: list[float] = []

    def problems(self, columns: int) -> list[str]:
        """What is wrong with it, in words; children stand after their parents, so that a walk ends."""
        count = len(self.feature)
        wrong = []
        if any(len(row) != count for row in (self.threshold, self.left, self.right, self.value)):
            wrong.append(f"trees: expected {count} thresholds, left, right and values, as many as features")
        elif any(not 0 <= root < count for root in self.roots):
            wrong.append(f"roots: expected nodes from 0 to {count - 1}")
        else:
            for node, (feature, left, right) in enumerate(zip(self.feature, self.left, self.right)):
                if feature >= columns or feature < -1:
                    wrong.append(f"feature: expected -1 to {columns - 1}, found {feature}")
                elif feature >= 0 and not (node < left < count and node < right < count):
                    wrong.append(f"left, right: expected children after node {node}, found {left} and {right}")
                if wrong:
                    break
            if not wrong and (steps := self._steps()) > STEPS:
                wrong.append(f"roots: expected trees of at most {STEPS} steps in all for a prompt, found {steps}")
        if max((abs(v) for v in [self.base, *self.value]), default=0) > LARGEST:
            wrong.append(f"value: expected numbers up to {LARGEST:g}")
        return wrong

    def _steps(self) -> int:
        """The most nodes that one prompt passes."""
        below = [0] * len(self.feature)
        for node in range(len(below) - 1, -1, -1):
            if self.feature[node] >= 0:
                below[node] = 1 + max(below[self.left[node]], below[self.right[node]])
        return sum(1 + below[root] for root in self.roots)

    def walks(self, x: Floats) -> Floats:
        """The logits of many prompts, [N], tree by tree."""
        feature, left, right = (np.array(row, np.intp) for row in (self.feature, self.left, self.right))
        threshold, value = np.array(self.threshold), np.array(self.value)
        total = np.full(len(x), self.base)
        rows = np.arange(len(x))
        for root in self.roots:
            node = np.full(len(x), root)
            while (inner := feature[node] >= 0).any():
                at = node[inner]
                lower = x[rows[inner], feature[at]] <= threshold[at]
                node[inner] = np.where(lower, left[at], right[at])
            total += value[node]
        return total


class Trees(BaseModel):
    """Boosted trees on raw features, which are compared as 32-bit floats, as learned.

    Parameters
    ----------
    type
        Names this kind of member.
    uses
        The columns that features stand for.
    ensembles
        One for each arm.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True, strict=True)

    type: Literal["trees"] = "trees"
    uses: list[int]
    ensembles: list[Ensemble]

    def problems(self, arms: int, columns: int) -> list[str]:
        """What is wrong with it, in words."""
        wrong = _uses(self.uses, columns)
        if len(self.ensembles) != arms:
            wrong.append(f"ensembles: expected {arms}, one for each arm, found {len(self.ensembles)}")
        for ensemble in self.ensembles:
            wrong += ensemble.problems(len(self.uses))
        return wrong

    def logits(self, raw: Floats) -> Floats:
        """[N, A] from raw columns [N, C]."""
        x = raw[:, self.uses].astype(np.float32).astype(np.float64)
        return np.stack([ensemble.walks(x) for ensemble in self.ensembles], axis=1)


def _bucket(key: str) -> bool:
    return key.isascii() and key.isdigit() and len(key) <= 9 and int(key) < BUCKETS


def _uses(uses: list[int], columns: int) -> list[str]:
    if all(0 <= at < columns for at in uses):
        return []
    return [f"uses: expected columns from 0 to {columns - 1}, found others"]
