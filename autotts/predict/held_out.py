"""How well arms are foretold that were held out, group by group, and how far a Gaussian process must be widened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autotts.predict.arms import Array, Process, Seen, mixed, setting
from autotts.strategies import POOLED

WIDEST: Final = 5.0  # inflation of standard deviations
CENTRAL: Final = 1.96  # standard deviations that hold 95 % of a normal


def _groups(kept: Sequence[Seen]) -> NDArray[np.int64]:
    """Arms that share draws are held out together, at all levels; of the others, those that differ in numbers only."""
    names = []
    for s in kept:
        found = setting(s.arm)
        names.append(("pool" if found.strategy in POOLED else found.strategy, found.models, found.numbers[1:3]))
    order = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([order[name] for name in names])


def held_out(process: Process, x: Array, weights: Array, kept: Sequence[Seen]) -> tuple[Process, dict[str, float]]:
    """Foretell each group from the others, and widen the process as far as that asks for."""
    groups = _groups(kept)
    mean, variance = left_out(process, mixed(weights, x, x, [process.amplitudes])[0], groups)
    y, noise = np.asarray(process.targets), np.asarray(process.noise)
    z = (y - mean) / np.sqrt(variance)
    plain = _others(y, groups, kept)
    weight = 1 / (noise + 1)
    gain = 1 - float((weight * (y - mean) ** 2).sum() / max(1e-12, (weight * (y - plain) ** 2).sum()))
    inflation = float(np.clip(np.quantile(np.abs(z), 0.95) / CENTRAL, 1.0, WIDEST))
    check = {
        "groups": float(groups.max() + 1),
        "inside": float((np.abs(z) <= CENTRAL).mean()),
        "inside_widened": float((np.abs(z) <= CENTRAL * inflation).mean()),
        "r2_over_level_mean": gain,
        "spearman": _spearman(y, mean),
        "spearman_level_mean": _spearman(y, plain),
        "inflation": inflation,
    }
    return process.model_copy(update={"inflation": inflation}), check


def left_out(process: Process, kernel: Array, groups: NDArray[np.int64]) -> tuple[Array, Array]:
    """Mean and variance (noise included) of each example given the other groups, in closed form.

    With B the rows of a group and Q = (K + noise)^-1: mean_B = y_B - Q_BB^-1 (Q y)_B, covariance_B = Q_BB^-1.
    (Rasmussen and Williams 2006, section 5.4.2, for blocks.)
    """
    y, noise = np.asarray(process.targets), np.asarray(process.noise) + process.own
    inverse = np.linalg.inv(kernel + np.diag(noise))
    alpha = inverse @ y
    mean, variance = np.zeros(len(y)), np.zeros(len(y))
    for group in range(int(groups.max()) + 1):
        rows = np.flatnonzero(groups == group)
        block = np.linalg.inv(inverse[np.ix_(rows, rows)])
        mean[rows] = y[rows] - block @ alpha[rows]
        variance[rows] = np.diag(block)
    return mean, variance


def _others(y: Array, groups: NDArray[np.int64], kept: Sequence[Seen]) -> Array:
    """The mean of the other groups at the level of each example; 0, the mean function, where there are none."""
    names = np.array([s.level for s in kept])
    beside = (names[:, None] == names) & (groups[:, None] != groups)
    out: Array = beside @ y / np.maximum(1, beside.sum(axis=1))
    return out


def _spearman(a: Array, b: Array) -> float:
    """Rank correlation; 0 where one of them is constant."""
    ranks = [np.unique(v, return_inverse=True)[1].astype(float) for v in (a, b)]
    if min(np.ptp(r) for r in ranks) == 0:
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
