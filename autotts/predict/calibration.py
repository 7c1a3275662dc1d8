"""Calibration on out-of-fold logits: one slope for all arms, a shift for each, and the bins that check them.

Platt's scaling (1999) with a shared slope: arms have few cells each, and are over-confident alike.
"""

from __future__ import annotations

import math

import numpy as np

from autotts.predict.logistic import logit, rates
from autotts.predict.members import Floats
from autotts.predict.performance import BINS, expit

STEEPEST = 3.0  # slope


def losses(logits: Floats, value: Floats) -> Floats:
    """Log loss of each cell, in nats."""
    out: Floats = np.logaddexp(0.0, logits) - value * logits
    return out


def platt(logits: Floats, value: Floats, weight: Floats) -> tuple[float, Floats]:
    """The slope, 0 to 3, and the shift of each arm, [A], with the least log loss; all arrays are [N, A].

    A slope below 1 draws an arm's predictions to its mean.
    """
    base = logit(rates(value, weight))

    def loss(slope: float) -> float:
        return float((weight * losses(base + slope * (logits - base), value)).sum())

    low, high = 0.0, STEEPEST
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(40):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if loss(left) <= loss(right):
            high = right
        else:
            low = left
    slope = (low + high) / 2
    return slope, _shifts(slope * logits, value, weight, (1 - slope) * base)


def _shifts(logits: Floats, value: Floats, weight: Floats, shift: Floats) -> Floats:
    """Each arm's shift for which the mean prediction is the mean outcome, half a success of each kind added."""
    asked = rates(value, weight) * weight.sum(0)
    for _ in range(20):
        chance = expit(logits + shift)
        curved = (weight * chance * (1 - chance)).sum(0)
        step = (asked - (weight * chance).sum(0)) / np.maximum(curved, 1e-9)
        shift = shift + np.clip(step, -1.0, 1.0)
    return shift


def bins(predicted: Floats, value: Floats, weight: Floats) -> list[tuple[float, float, float]]:
    """Upper bound, share of the weight, and outcome minus prediction, of bins of equally many predictions."""
    seen = weight > 0
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
