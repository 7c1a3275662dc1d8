"""Bounds for a mean that hold at every look at once, by betting (Waudby-Smith and Ramdas, 2010.09686).

A gambler bets against the claim "the mean is m"; were it true, the gambler's wealth would be a martingale, and would
ever reach 1/alpha with a probability of at most alpha (Ville). All m against which it has been reached are ruled out.

Where the values are drawn from a population of known size without replacement (the paper's section 4), a claim about
the population's mean says more with each value: what is left must make up for what was seen. A guess of all values
narrows what is bet on: from each value goes a share of the surprise that the guess saw in it, whose mean over what is
left is zero however bad the guess is. A gambler for each guess gets an equal part of the wealth, the plain bets keep
theirs; the mean of martingales is a martingale.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotts.errors import InputError

Floats = NDArray[np.float64]

GRID = 2001  # claims about the mean that can be bet against
RECKLESS = 0.75  # the largest share of the wealth that one bet can lose
# Numbers of values at which a third of the wealth each is staked to grow fastest. Large stakes find arms that are much
# worse soon, small ones those that differ from the others both ways; the mean of martingales is a martingale.
HORIZONS = (50, 100, 200)
SHARES = (0.1, 0.3, 0.6)  # the same, as shares of a population
TRUST = 4.0  # values that it takes to halve the trust in a guess that is worth nothing
TINY = 1e-12


def upper(
    values: Floats | Sequence[float],
    alpha: float,
    *,
    low: float = -1.0,
    high: float = 1.0,
    population: int | None = None,
    guesses: Floats | None = None,
    tops: Floats | None = None,
) -> float:
    """A number that the mean is below, at every look at once, except with probability `alpha`.

    Values may be looked at after each block: of a longer sequence the bound is never larger.

    Parameters
    ----------
    values
        [T], in the order in which they were observed, each in [low, high], with equal mean given those before;
        such as paired differences of two arms on random problems.
    population
        N, where the values are the first T of N in random order: the mean is that of all N then, `alpha` the
        probability, over the order, that it is above a bound of any look, and the bound at T = N is the mean itself
        (or what was a wrong bound before).
    guesses
        [G, N], what each of the N values may be, known before any is. Against G guesses that are worth nothing the
        wealth is at least 1 / (G + 1) of what it was without them. What is outside [low, high] is moved there.
    tops
        [N], what each of the N values is at most, where that is less than `high`.
    """
    x = np.asarray(values, np.float64)
    if not 0 < alpha < 1:
        raise InputError(f"alpha: expected an error rate between 0 and 1, found {alpha!r}")
    if x.size and not (x.min() >= low - 1e-9 and x.max() <= high + 1e-9):
        raise InputError(f"values: expected numbers from {low:g} to {high:g}, found {x.min():g} to {x.max():g}")
    x = np.clip((x - low) / (high - low), 0.0, 1.0)
    if population is None:
        if guesses is not None or tops is not None:
            raise InputError("population: expected the number of values that `guesses` and `tops` tell of, found None")
        bets, most = _endless(x, alpha), 1.0
    else:
        if not len(x) <= population or population < 1:
            raise InputError(f"population: expected at least {max(1, len(x))}, the values seen, found {population}")
        reach = np.ones(population) if tops is None else _scaled("tops", tops, population, low, high)[0]
        known = np.ones((0, population)) if guesses is None else _scaled("guesses", guesses, population, low, high)
        bets = _drawn(x, alpha, reach, known)
        most = float(x.sum() + reach[len(x) :].sum()) / population  # if all that is left is as good as can be
    enough = math.log(1 / alpha)
    # Wealth rises with the claim at each look, so all claims from the first that is ruled out on are.
    first = bisect_left(range(GRID - 1), True, key=lambda i: bets.wealth(i / (GRID - 1)) >= enough)
    return float(low + (high - low) * min(first / (GRID - 1), most))


def lower(values: Floats | Sequence[float], alpha: float, *, low: float = -1.0, high: float = 1.0) -> float:
    """A number that the mean is above, at every look at once, except with probability `alpha`."""
    return -upper(-np.asarray(values, np.float64), alpha, low=-high, high=-low)


@dataclass(frozen=True, slots=True)
class _Bets:
    """What gamblers stake, before each value, that its mean is below what a claim says; values are in [0, 1].

    `values` [G, 1, T] is what each of them bets on, `tops` what it could have been at most, `stakes` [G, horizons, T].
    A claim m about the whole says `rise * m - seen` [T] about the mean of the next value.
    """

    values: Floats
    tops: Floats
    stakes: Floats
    rise: Floats
    seen: Floats

    def wealth(self, claim: float) -> float:
        """The largest log wealth so far against a claim.

        The wealth is split over gamblers and horizons at the start; the sum of the parts counts, not the largest.
        """
        gamblers, horizons, length = self.stakes.shape
        if not length:
            return 0.0
        means = self.rise * claim - self.seen
        bets = np.minimum(self.stakes, RECKLESS / np.maximum(self.tops - means, TINY))
        parts = np.cumsum(np.log1p(-bets * (self.values - means)), axis=2).reshape(-1, length)
        return float(np.logaddexp.reduce(parts, axis=0).max() - math.log(gamblers * horizons))


def _endless(x: Floats, alpha: float) -> _Bets:
    """Bets on values of which there is no end."""
    one = np.ones(len(x))
    return _Bets(x[None, None], one[None, None], _stakes(x, alpha, HORIZONS)[None], one, np.zeros(len(x)))


def _drawn(x: Floats, alpha: float, tops: Floats, guesses: Floats) -> _Bets:
    """Bets on the first values of a population: plain ones, and ones with each guess as a control."""
    n, size = len(x), len(tops)
    if (x > tops[:n] + 1e-9).any():
        raise InputError("tops: expected numbers that no value is above, found a value that is")
    x = np.minimum(x, tops[:n])
    left = size - np.arange(n)
    rise, seen = size / left, (np.cumsum(x) - x) / left
    pairs = [(x, np.maximum.accumulate(tops[::-1])[::-1][:n])]
    pairs += [_controlled(x, tops, guess) for guess in guesses]
    # What is left must be the better the more was worse than claimed, so stakes rise as the end comes near, and the
    # horizon of a share f of the population is f / (1 - f) times its size.
    horizons = [size * f / (1 - f) for f in SHARES]
    return _Bets(
        np.array([y for y, _ in pairs])[:, None],
        np.array([top for _, top in pairs])[:, None],
        np.array([_stakes(y, alpha, horizons) * rise for y, _ in pairs]),
        rise,
        seen,
    )


def _controlled(x: Floats, tops: Floats, guess: Floats) -> tuple[Floats, Floats]:
    """Values less a share of the guess's surprise, and what each could have been at most, whichever was drawn.

    The surprise is the guess of the value drawn less the mean guess of those that were left. The share is the slope of
    the values before, shrunk to one: a guess is taken at its word until the values speak against it.
    """
    n, size = len(x), len(tops)
    left = size - np.arange(n)
    mean = np.cumsum(guess[::-1])[::-1][:n] / left
    g, before = guess[:n], np.maximum(np.arange(n), 1)
    sums, guessed = np.cumsum(x) - x, np.cumsum(g) - g
    both = np.cumsum(x * g) - x * g - sums * guessed / before
    spread = np.cumsum(g * g) - g * g - guessed**2 / before
    trust = TRUST * guess.var() + TINY  # a constant guess has no surprise
    share = np.clip((both + trust) / (np.maximum(spread, 0.0) + trust), 0.0, 1.0)
    reach = tops - share[:, None] * (guess - mean[:, None])
    reach[np.arange(size) < np.arange(n)[:, None]] = -np.inf  # was drawn before
    return x - share * (g - mean), reach.max(axis=1)


def _stakes(x: Floats, alpha: float, horizons: Sequence[float]) -> Floats:
    """Stakes sqrt(2 ln(1/alpha) / (variance * horizon)), [horizons, T], from the values before each bet.

    See the paper's section 3.
    """
    t = np.arange(1, len(x) + 1)
    mean = (0.5 + np.cumsum(x)) / (t + 1)
    variance = (0.25 + np.cumsum((x - mean) ** 2)) / (t + 1)
    before = np.concatenate([[0.25], variance[:-1]])[: len(x)]
    return np.asarray(np.sqrt(2.0 * math.log(1.0 / alpha) / (before * np.array(horizons)[:, None])))


def _scaled(name: str, given: Floats, population: int, low: float, high: float) -> Floats:
    """What is known of each value of a population, [rows, N] in [0, 1]."""
    x = np.atleast_2d(np.asarray(given, np.float64))
    if x.ndim != 2 or x.shape[1] != population:
        raise InputError(f"{name}: expected [rows, {population}] for {population} values, found the shape {x.shape}")
    if not np.isfinite(x).all():
        raise InputError(f"{name}: expected finite numbers, found {int((~np.isfinite(x)).sum())} that are not")
    return np.clip((x - low) / (high - low), 0.0, 1.0)
