"""Whether a scorer can be trusted: how often it puts a right draw above a wrong one of the same prompt.

Best-of-N and weighted votes choose among the draws of one prompt, so pairs within prompts are what counts. A scorer
that only knows easy prompts from hard ones looks good over all draws (`across`) and gains nothing. The interval of the
first is that of a ratio of sums over prompts, in Wilson's form with as many independent pairs as it is worth; the
interval of the second is DeLong's (1988).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autotts.errors import InputError
from autotts.estimate.intervals import Floats, Interval, resample

USEFUL: Final = "useful"
CHANCE: Final = "no better than chance: votes will not gain"
WORSE: Final = "worse than chance"
UNKNOWN: Final = "not known: too few graded draws"

LEAST_PROMPTS: Final = 5  # with right and wrong draws
WIDEST: Final = 0.3  # interval around chance from which "no better than chance" is believed
MOST_UNSCORED: Final = 0.05
_Z: Final = 1.959964


@dataclass(frozen=True, slots=True)
class Suitability:
    """How well a scorer tells right draws from wrong ones.

    Attributes
    ----------
    within
        The probability that a right draw is scored above a wrong one of the same prompt, ties a half; 0.5 is chance.
        None without such a pair.
    across
        The same over all draws, whatever their prompts.
    gain
        Accuracy of the draw that is scored best of each prompt's, less that of any draw: over prompts, paired.
    prompts, pairs
        Prompts with right and wrong draws, and pairs of these.
    draws, unscored
        Graded draws, and those of them without a score.
    verdict
        `USEFUL`, `CHANCE`, `WORSE` or `UNKNOWN`.
    """

    within: Interval | None
    across: Interval | None
    gain: Interval
    prompts: int
    pairs: int
    draws: int
    unscored: int
    verdict: str

    def warning(self, scorer: str) -> str | None:
        """Why the scorer should not be trusted, in words for people; None where nothing speaks against it."""
        said = []
        if self.verdict != USEFUL:
            said.append(self._doubt())
        if self.unscored > MOST_UNSCORED * self.draws:
            said.append(f"{self.unscored} of {self.draws} draws got no score")
        return f"scorer {scorer!r}: {'; '.join(said)}" if said else None

    def _doubt(self) -> str:
        if self.within is None:
            return f"{self.verdict} (no prompt has both right and wrong draws with scores)"
        within = self.within
        seen = f"AUC {within.value:.2f}, {within.low:.2f} to {within.high:.2f}, in {self.prompts} prompts"
        if self.verdict == CHANCE and self.across is not None and self.across.low > 0.5:
            return (
                f"{self.verdict} ({seen}); over all draws it is {self.across.value:.2f}: it knows prompts, not answers"
            )
        if self.verdict == WORSE:
            return f"{self.verdict} ({seen}): check that its shape, its step mark and its labels are right"
        return f"{self.verdict} ({seen})"


def suitability(
    prompts: Sequence[Hashable],
    correct: Sequence[bool | float],
    scores: Sequence[float],
    *,
    seed: int = 0,
    rounds: int = 2000,
) -> Suitability:
    """Judge a scorer by a few graded draws.

    Parameters
    ----------
    prompts, correct, scores
        Of each draw: its prompt, whether it is right, and its score, NaN where there is none; all [D].
    seed, rounds
        Of the resamples of prompts behind the interval of `gain`.

    Raises
    ------
    InputError
        When there are no draws.
    """
    if not len(prompts) == len(correct) == len(scores):
        raise ValueError(f"expected as many of each, found {len(prompts)}, {len(correct)} and {len(scores)}")
    if not len(prompts):
        raise InputError("a scorer is judged by graded draws: expected some, found none")
    right, value = np.asarray(correct, np.float64) > 0.5, np.asarray(scores, np.float64)
    numbers = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts))}
    owner = np.asarray([numbers[prompt] for prompt in prompts])
    draws = [np.flatnonzero(owner == i) for i in range(len(numbers))]
    scored = ~np.isnan(value)
    counted = [_pairs(right[rows][scored[rows]], value[rows][scored[rows]]) for rows in draws]
    won, pairs = (np.asarray(column, np.float64) for column in zip(*counted, strict=True))
    within = _within(won[pairs > 0], pairs[pairs > 0])
    best = np.asarray([_best(right[rows], value[rows]) for rows in draws])
    mean = np.asarray([right[rows].mean() for rows in draws])
    several = int((pairs > 0).sum())
    return Suitability(
        within,
        _across(right[scored], value[scored]),
        resample([0] * len(draws), seed=seed, rounds=rounds).difference(best, mean),
        several,
        int(pairs.sum()),
        len(right),
        int((~scored).sum()),
        _verdict(within, several),
    )


def _verdict(within: Interval | None, prompts: int) -> str:
    if within is None or prompts < LEAST_PROMPTS:
        return UNKNOWN
    if within.low > 0.5:
        return USEFUL
    if within.high < 0.5:
        return WORSE
    return CHANCE if within.high - within.low <= WIDEST else UNKNOWN


def _pairs(right: NDArray[np.bool_], value: Floats) -> tuple[float, int]:
    """Pairs of a right and a wrong draw that the right one wins (a tie is half a win), and all of them."""
    up, down = value[right], np.sort(value[~right])
    below, upto = np.searchsorted(down, up, "left"), np.searchsorted(down, up, "right")
    return float((below + upto).sum()) / 2.0, len(up) * len(down)


def _best(right: NDArray[np.bool_], value: Floats) -> float:
    """Accuracy of the draw that is scored best; of several such, of any; without scores, of all."""
    return float(right[value == np.nanmax(value)].mean()) if not np.isnan(value).all() else float(right.mean())


def _within(won: Floats, pairs: Floats) -> Interval | None:
    """The share of pairs that are won, and its interval over prompts."""
    size = len(pairs)
    if not size:
        return None
    whole = float(pairs.sum())
    share = float(won.sum()) / whole
    # The variance of a ratio of sums over prompts: sum (won - share pairs)^2 / whole^2, each without its own prompt's
    # pull on the share.
    variance = float((((won - share * pairs) / (whole - pairs)) ** 2).sum()) if size > 1 else 0.0
    # All won or all lost: no spread is seen, and each prompt counts as one pair.
    worth = share * (1.0 - share) / variance if variance > 0 else float(size)
    # Student's quantile of few prompts, to first order.
    z = _Z * (1.0 + (_Z**2 + 1.0) / (4.0 * (size - 1))) if size > 1 else 4.0 * _Z
    return _wilson(share, worth, z)


def _wilson(share: float, worth: float, z: float) -> Interval:
    middle = (share + z * z / (2 * worth)) / (1 + z * z / worth)
    half = z / (1 + z * z / worth) * math.sqrt(share * (1 - share) / worth + (z / (2 * worth)) ** 2)
    return Interval(share, max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share)))


def _across(right: NDArray[np.bool_], value: Floats) -> Interval | None:
    """The share of all pairs, with DeLong's interval; None without two right and two wrong draws."""
    up, down = value[right], value[~right]
    if len(up) < 2 or len(down) < 2:
        return None
    of_up, of_down = _placements(up, down), 1.0 - _placements(down, up)
    variance = float(of_up.var(ddof=1)) / len(up) + float(of_down.var(ddof=1)) / len(down)
    share, half = float(of_up.mean()), _Z * math.sqrt(variance)
    return Interval(share, max(0.0, share - half), min(1.0, share + half))


def _placements(ours: Floats, theirs: Floats) -> Floats:
    """For each of ours, the share of theirs that lie below it, ties a half."""
    ranked = np.sort(theirs)
    below, upto = np.searchsorted(ranked, ours, "left"), np.searchsorted(ranked, ours, "right")
    return np.asarray((below + upto) / (2.0 * len(theirs)), np.float64)
