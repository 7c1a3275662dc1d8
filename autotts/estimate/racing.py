"""Bounds for a mean that hold at every look at once, by betting (Waudby-Smith and Ramdas, 2010.09686).

A gambler bets against the claim "the mean is m"; were it true, the gambler's wealth would be a martingale, and would
ever reach 1/alpha with a probability of at most alpha (Ville). All m against which it has been reached are ruled out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autotts.errors import InputError

Floats = NDArray[np.float64]

GRID = 401  # claims about the mean that are bet against
RECKLESS = 0.75  # the largest share of the wealth that one bet can lose


def upper(
    values: Floats | Sequence[float], alpha: float, *, low: float = -1.0, high: float = 1.0, horizon: int = 100
) -> float:
    """A number that the mean is below, at every look at once, except with probability `alpha`.

    Values may be looked at after each block: of a longer sequence the bound is never larger.

    Parameters
    ----------
    values
        [T], in the order in which they were observed, each in [low, high], with equal mean given those before;
        such as paired differences of two arms on random problems.
    horizon
        The number of values at which the bound is to be sharpest; it holds at every number.
    """
    x = np.asarray(values, np.float64)
    if not 0 < alpha < 1:
        raise InputError(f"alpha: expected an error rate between 0 and 1, found {alpha!r}")
    if x.size and not (x.min() >= low - 1e-9 and x.max() <= high + 1e-9):
        raise InputError(f"values: expected numbers from {low:g} to {high:g}, found {x.min():g} to {x.max():g}")
    x = np.clip((x - low) / (high - low), 0.0, 1.0)
    claims = np.linspace(0.0, 1.0, GRID)
    standing = np.flatnonzero(_wealth(x, claims, alpha, horizon) < math.log(1 / alpha))
    # Wealth rises with the claim, so from the first point of the grid that is ruled out on, all claims are.
    edge = claims[min(int(standing.max()) + 1, GRID - 1)] if standing.size else 0.0
    return float(low + (high - low) * edge)


def lower(
    values: Floats | Sequence[float], alpha: float, *, low: float = -1.0, high: float = 1.0, horizon: int = 100
) -> float:
    """A number that the mean is above, at every look at once, except with probability `alpha`."""
    return -upper(-np.asarray(values, np.float64), alpha, low=-high, high=-low, horizon=horizon)


def _wealth(x: Floats, claims: Floats, alpha: float, horizon: int) -> Floats:
    """The largest log wealth so far of a gambler who bets, before each value, that the mean is below the claim."""
    if not x.size:
        return np.zeros(len(claims))
    stakes = np.minimum(_stakes(x, alpha, horizon)[:, None], RECKLESS / np.maximum(1.0 - claims, 1e-12))
    paths = np.cumsum(np.log1p(-stakes * (x[:, None] - claims)), axis=0)
    return np.asarray(np.maximum(paths.max(axis=0), 0.0))


def _stakes(x: Floats, alpha: float, horizon: int) -> Floats:
    """Stakes sqrt(2 ln(1/alpha) / (variance * horizon)), from the values before each bet (the paper's section 3)."""
    t = np.arange(1, len(x) + 1)
    mean = (0.5 + np.cumsum(x)) / (t + 1)
    variance = (0.25 + np.cumsum((x - mean) ** 2)) / (t + 1)
    before = np.concatenate([[0.25], variance[:-1]])
    return np.asarray(np.sqrt(2.0 * math.log(1.0 / alpha) / (before * horizon)))
