"""Logistic regression of reduced rank: prompts have a few difficulties, which all arms share.

The directions are the largest singular vectors of the arms' own regressions, as in reduced-rank regression (Izenman
1975); each arm is then regressed on these difficulties, its sensitivities drawn to those of all arms.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from autotts.predict.logistic import logit, rates, regress
from autotts.predict.members import Floats

LEADING: Final = 48  # arms that tell the directions: those measured on most prompts
TOGETHER: Final = 1.0  # C of an arm's own departure from the sensitivities of all


def reduced(x: Floats, value: Floats, weight: Floats, rank: int, strength: float) -> tuple[Floats, Floats, Floats]:
    """Directions [K, D], loadings [A, K] and intercepts [A]; arguments as those of `logistic.regress`."""
    counts = np.sqrt((weight > 0).sum(0))
    chosen = np.sort(np.argsort(-counts, kind="stable")[:LEADING])
    own, _ = regress(x, value[:, chosen], weight[:, chosen], strength)
    # An arm counts by how much was measured of it.
    directions = np.linalg.svd(counts[chosen][:, None] * own, full_matrices=False)[2][:rank]
    latent = x @ directions.T
    scale = np.maximum(latent.std(0), 1e-9)
    directions, latent = directions / scale[:, None], latent / scale
    shared = _shared(latent, value[:, chosen], weight[:, chosen])
    offset = np.tile((latent @ shared)[:, None], (1, value.shape[1]))
    loadings, intercepts = regress(latent, value, weight, TOGETHER, offset)
    return directions, shared + loadings, intercepts


def _shared(latent: Floats, value: Floats, weight: Floats) -> Floats:
    """One sensitivity of all arms to each difficulty, [K], each arm at its own mean."""
    arms = value.shape[1]
    cells = value.reshape(-1, 1), weight.reshape(-1, 1)
    offset = np.tile(logit(rates(value, weight)), len(latent))[:, None]
    found: Floats = regress(np.repeat(latent, arms, axis=0), *cells, TOGETHER, offset)[0][0]
    return found
