"""Calibration on out-of-fold logits: one slope for all arms, a shift for each, and the bins that check them.

Platt's scaling (1999) with a shared slope: arms have few cells each, and are over-confident alike.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from autotts.predict.logistic import logit, rates
from autotts.predict.members import Floats
from autotts.predict.performance import expit
from autotts.predict.quick import BINS

STEEPEST: Final = 3.0  # slope
STEPS: Final = 25
TINY: Final = 1e-12


def losses(logits: Floats, value: Floats) -> Floats:
    """Log loss of each cell, in nats."""
    out: Floats = np.logaddexp(0.0, logits) - value * logits
    return out


def platt(logits: Floats, value: Floats, weight: Floats) -> tuple[float, Floats]:
    """The slope, 0 to 3, and the shift of each arm, [A], with the least log loss; all arrays are [N, A].

    Newton's method, the shifts eliminated. Half a success and half a failure are added to each arm, at its mean logit.
    """
    counts = weight.sum(0)
    center = (weight * logits).sum(0) / np.maximum(counts, TINY)
    apart = np.where(weight > 0, logits - center, 0.0)
    asked = rates(value, weight)
    slope, shift = 1.0, logit(asked)
    for _ in range(STEPS):
        chance = expit(slope * apart + shift)
        error, curved = weight * (chance - value), weight * chance * (1 - chance)
        middle = expit(shift)
        down, across = error.sum(0) + middle - 0.5, (curved * apart).sum(0)
        steep = curved.sum(0) + middle * (1 - middle)
        rest = float((curved * apart**2).sum() - (across**2 / steep).sum())
        change = (float((error * apart).sum()) - float((across * down / steep).sum())) / max(rest, TINY)
        fresh = min(max(slope - min(max(change, -1.0), 1.0), 0.0), STEEPEST)
        shift = shift - np.clip((down + across * (fresh - slope)) / steep, -1.0, 1.0)
        slope = fresh
    return slope, shift - slope * center


def bins(predicted: Floats, value: Floats, weight: Floats) -> list[tuple[float, float, float]]:
    """Upper bound, share of the weight, and outcome minus prediction, of bins of equally many predictions."""
    seen = weight > 0
    if not seen.any():
        return []
    predicted, value, weight = predicted[seen], value[seen], weight[seen]
    order = np.argsort(predicted, kind="stable")
    found = []
    for part in np.array_split(order, min(BINS, len(order))):
        total = float(weight[part].sum())
        gap = float((weight * (value - predicted))[part].sum()) / total
        found.append((float(predicted[part[-1]]), total / float(weight.sum()), gap))
    return found


def calibration_error(predicted: Floats, value: Floats, weight: Floats) -> float:
    """Expected calibration error over ten bins of equally many predictions."""
    return math.fsum(share * abs(gap) for _, share, gap in bins(predicted, value, weight))
