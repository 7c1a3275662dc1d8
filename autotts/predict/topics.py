"""Topics of prompts: the largest singular vectors of their n-grams (latent semantic analysis), learned without labels.

A regression on topics is one on n-grams whose weights lie in the span of the topics, and is exported as such.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from autotts.predict.members import Floats
from autotts.predict.ngrams import BUCKETS, ngrams

Ints: TypeAlias = NDArray[np.int64]

MOST: Final = 50  # topics
PRINCIPAL: Final = 32  # components of embeddings
PER_TOPIC: Final = 8  # different prompts for each topic, at least
FEWEST: Final = 2  # prompts that a bucket must occur in


@dataclass(frozen=True, slots=True, eq=False)
class Topics:
    """`values` of each prompt's topics, [N, T], of about unit variance, and the `basis` of known buckets, [B, T]."""

    buckets: list[list[int]]
    values: Floats
    known: list[int]
    basis: Floats

    @property
    def count(self) -> int:
        """How many topics there are."""
        return int(self.values.shape[1])

    def weights(self, coefficients: Floats) -> dict[str, list[float]]:
        """The weight of each bucket in K directions from the coefficients of topics, [K, T]; see `members.Linear`."""
        if not self.count:
            return {}
        rows = (self.basis @ coefficients.T).tolist()
        return {str(bucket): row for bucket, row in zip(self.known, rows, strict=True)}


def topics(prompts: Sequence[str], seed: int) -> Topics:
    """The topics of prompts: few where different prompts are few, none where these have too little in common."""
    buckets = [ngrams(prompt) for prompt in prompts]
    seen = np.bincount(np.concatenate([np.array(row, int) for row in buckets]), minlength=BUCKETS)
    known = np.flatnonzero((seen >= FEWEST) & (seen < len(prompts)))
    count = min(MOST, len(set(prompts)) // PER_TOPIC, len(known) - 1)
    if count < 1:
        return Topics(buckets, np.zeros((len(prompts), 0)), [], np.zeros((0, 0)))
    rare = np.log((1 + len(prompts)) / (1 + seen[known])) + 1
    matrix = _matrix(buckets, known, rare)
    basis = _singular(matrix, count, seed)
    values = np.asarray(matrix @ basis)
    scale = max(float(values.std(0).mean()), 1e-9)
    return Topics(buckets, values / scale, known.tolist(), rare[:, None] * basis / scale)


def _matrix(buckets: list[list[int]], known: Ints, rare: Floats) -> Any:
    """Prompts x known buckets, sparse: how rare the bucket is over the root of how many buckets the prompt has."""
    from scipy.sparse import csr_matrix

    place = np.full(BUCKETS, -1)
    place[known] = np.arange(len(known))
    sizes = np.array([len(row) for row in buckets])
    rows = np.repeat(np.arange(len(buckets)), sizes)
    columns = place[np.concatenate([np.array(row, int) for row in buckets])]
    kept = columns >= 0
    values = rare[columns[kept]] / np.sqrt(sizes[rows[kept]])
    return csr_matrix((values, (rows[kept], columns[kept])), shape=(len(buckets), len(known)))


def _singular(matrix: Any, count: int, seed: int) -> Floats:
    """The right singular vectors with the largest values, [B, T]."""
    from sklearn.decomposition import TruncatedSVD

    with warnings.catch_warnings():
        # Prompts that are all alike have no variance to explain.
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(TruncatedSVD(count, random_state=seed).fit(matrix).components_.T)


def principal(embeddings: Floats, different: int, seed: int) -> Floats:
    """A basis of the embeddings' largest principal components, [E, T], of which there are few for few prompts.

    Rounded to six digits, so that an artefact stays small.
    """
    count = max(1, min(PRINCIPAL, different // PER_TOPIC, embeddings.shape[1] - 1))
    basis = _singular(embeddings - embeddings.mean(0), count, seed) if embeddings.shape[1] > 1 else np.ones((1, 1))
    return np.round(basis, 6)
