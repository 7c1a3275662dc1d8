"""Bounds for a mean that hold at every look at once, by betting (Waudby-Smith and Ramdas, 2010.09686).

A gambler bets against the claim "the mean is m"; were it true, the gambler's wealth would be a martingale, and would
ever reach 1/alpha with a probability of at most alpha (Ville). All m against which it has been reached are ruled out.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autotts.errors import InputError

Floats = NDArray[np.float64]

GRID = 2001  # claims about the mean that can be bet against
RECKLESS = 0.75  # the largest share of the wealth that one bet can lose
# Numbers of values at which a third of the wealth each is staked to grow fastest. Large stakes find arms that are much
# worse soon, small ones those that differ from the others both ways; the mean of martingales is a martingale.
HORIZONS = (50, 100, 200)


def upper(values: Floats | Sequence[float], alpha: float, *, low: float = -1.0, high: float = 1.0) -> float:
    """A number that the mean is below, at every look at once, except with probability `alpha`.

    Values may be looked at after each block: of a longer sequence the bound is never larger.

    Parameters
    ----------
    values
        [T], in the order in which they were observed, each in [low, high], with equal mean given those before;
        such as paired differences of two arms on random problems.
    """
    x = np.asarray(values, np.float64)
    if not 0 < alpha < 1:
        raise InputError(f"alpha: expected an error rate between 0 and 1, found {alpha!r}")
    if x.size and not (x.min() >= low - 1e-9 and x.max() <= high + 1e-9):
        raise InputError(f"values: expected numbers from {low:g} to {high:g}, found {x.min():g} to {x.max():g}")
    x = np.clip((x - low) / (high - low), 0.0, 1.0)
    stakes, enough = _stakes(x, alpha), math.log(1 / alpha)
    # Wealth rises with the claim at each look, so all claims from the first that is ruled out on are.
    first = bisect_left(range(GRID - 1), True, key=lambda i: _wealth(x, stakes, i / (GRID - 1)) >= enough)
    return float(low + (high - low) * first / (GRID - 1))


def lower(values: Floats | Sequence[float], alpha: float, *, low: float = -1.0, high: float = 1.0) -> float:
    """A number that the mean is above, at every look at once, except with probability `alpha`."""
    return -upper(-np.asarray(values, np.float64), alpha, low=-high, high=-low)


def _wealth(x: Floats, stakes: Floats, claim: float) -> float:
    """The largest log wealth so far of a gambler who bets, before each value, that the mean is below the claim.

    The wealth is split over the horizons at the start; the sum of the parts counts, not the largest of them.
    """
    if not x.size:
        return 0.0
    bets = np.minimum(stakes, RECKLESS / (1.0 - claim))
    parts = np.cumsum(np.log1p(-bets * (x - claim)), axis=1)
    return float(np.logaddexp.reduce(parts, axis=0).max() - math.log(len(HORIZONS)))


def _stakes(x: Floats, alpha: float) -> Floats:
    """Stakes sqrt(2 ln(1/alpha) / (variance * horizon)), [horizons, T], from the values before each bet.

    See the paper's section 3.
    """
    t = np.arange(1, len(x) + 1)
    mean = (0.5 + np.cumsum(x)) / (t + 1)
    variance = (0.25 + np.cumsum((x - mean) ** 2)) / (t + 1)
    before = np.concatenate([[0.25], variance[:-1]])[: len(x)]
    return np.asarray(np.sqrt(2.0 * math.log(1.0 / alpha) / (before * np.array(HORIZONS)[:, None])))
