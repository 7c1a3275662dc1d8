"""What an arm will be right on, before it is run: a guess from arms that are known on the same prompts.

A race uses it as a control only (`estimate/racing`): how high the guess is does not matter, only on which prompts it is
higher than on others, and a bad one does not make the race less safe.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from autotts.core.strategy import Strategy
from autotts.search.measure import Table
from autotts.search.runs import depth
from autotts.search.space import models_of
from autotts.strategies.arms import parse

Floats = NDArray[np.float64]

# What the arms of a kind weigh together: those of the same models and strategy, of the same models, that share a model,
# all others. Together, since most arms that are known came for nothing, all from one family.
KINDS = (6.0, 3.0, 2.0, 1.0)


def guess(table: Table, rows: NDArray[np.intp], strategy: Strategy) -> Floats | None:
    """The chance, [rows], that an arm is right on some rows of a table; None where no arm is known on all of them.

    A mean of known arms: each kind of likeness has its weight, and within it an arm counts the more the nearer its
    number of draws is.
    """
    sums = np.zeros((len(KINDS), len(rows)))
    weights = np.zeros(len(KINDS))
    drawn, size = models_of(strategy)[0], math.log2(depth(strategy))
    for arm, found in table.arms.items():
        value = found.value[rows]
        if np.isnan(value).any():
            continue
        other = parse(arm)
        models = models_of(other)[0]
        if models == drawn:
            kind = 0 if type(other) is type(strategy) else 1
        else:
            kind = 2 if set(models) & set(drawn) else 3
        weight = 1 / (1 + abs(math.log2(depth(other)) - size))
        sums[kind] += weight * value
        weights[kind] += weight
    there = weights > 0
    if not there.any():
        return None
    shares = np.array(KINDS)[there]
    return np.asarray(shares @ (sums[there] / weights[there, None]) / shares.sum())
