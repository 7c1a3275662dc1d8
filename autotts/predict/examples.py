"""Examples to learn from: the features of prompts and what was measured of arms on them, checked and completed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from autotts.errors import InputError
from autotts.predict import groups as features
from autotts.predict.members import CLIP, Floats
from autotts.predict.performance import reduced_columns
from autotts.predict.topics import Topics, principal, topics

Ints: TypeAlias = NDArray[np.int64]

GROUPS: Final = list(features.GROUPS)  # all dense groups are learned from


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Prompts x arms with what was measured: `value` and `weight` are [N, A], a weight of 0 is a missing cell.

    `raw` and `standard` are the dense columns, [N, C], the last of them embeddings times `basis`; `topics` tell of the
    n-grams; `same` numbers equal prompts alike, [N].
    """

    columns: list[str]
    basis: list[list[float]]
    raw: Floats
    standard: Floats
    mean: Floats
    scale: Floats
    topics: Topics
    value: Floats
    weight: Floats
    same: Ints


def prepare(
    prompts: Sequence[str],
    arms: Sequence[str],
    cells: tuple[Floats, Floats | None],
    embeddings: Floats | None,
    seed: int,
) -> Examples:
    """Features and measured cells, checked."""
    value, weight = np.asarray(cells[0], float), cells[1]
    if not prompts or not arms or value.shape != (len(prompts), len(arms)):
        raise InputError(
            f"value: expected {len(prompts)} prompts x {len(arms)} arms, at least one each, found {value.shape}"
        )
    seen = np.isfinite(value)
    if (np.isinf(value) | (value < 0) | (value > 1)).any():
        raise InputError("value: expected chances from 0 to 1, NaN where not measured")
    raw = np.array([features.dense(GROUPS, prompt) for prompt in prompts], float)
    columns = features.columns(GROUPS)
    basis: list[list[float]] = []
    if embeddings is not None:
        full = _imputed(np.asarray(embeddings, float), len(prompts))
        basis = principal(full, len(set(prompts)), seed).tolist()
        raw, columns = np.hstack([raw, full @ np.array(basis)]), columns + reduced_columns(len(basis[0]))
    mean, scale = raw.mean(0), raw.std(0)
    scale = np.where(scale > 1e-9 * (1 + np.abs(mean)), scale, 1.0)
    return Examples(
        columns=columns,
        basis=basis,
        raw=raw,
        standard=np.clip((raw - mean) / scale, -CLIP, CLIP),
        mean=mean,
        scale=scale,
        topics=topics(prompts, seed),
        value=np.where(seen, value, 0.0),
        weight=_weights(weight, seen),
        same=np.unique(np.array(prompts, dtype=object), return_inverse=True)[1],
    )


def _weights(weight: Floats | None, seen: NDArray[np.bool_]) -> Floats:
    """Of each cell, [N, A]: 1 on average over those measured, 0 for the others."""
    given = np.ones(seen.shape) if weight is None else np.asarray(weight, float)
    given = given[:, None] if given.ndim == 1 else given
    if given.shape not in (seen.shape, (len(seen), 1)) or not np.isfinite(given).all() or given.min() < 0:
        raise InputError(f"weight: expected finite numbers of 0 or more, one a prompt or a cell, found {given.shape}")
    cells = np.where(seen, given, 0.0)
    return cells / cells[cells > 0].mean() if cells.any() else cells


def _imputed(embeddings: Floats, count: int) -> Floats:
    """Embeddings with the mean where there is none; a column that nobody has is 0."""
    if embeddings.ndim != 2 or len(embeddings) != count or not embeddings.shape[1]:
        raise InputError(f"embeddings: expected {count} rows, one for each prompt, found {embeddings.shape}")
    seen = np.isfinite(embeddings)
    total = np.where(seen, embeddings, 0.0).sum(0) / np.maximum(seen.sum(0), 1)
    return np.where(seen, embeddings, total)
