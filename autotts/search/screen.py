"""Pruning before a trial: a proposal that is foretold to be dominated is skipped, and audits watch over that.

Everything follows from the archive, so that a study that is taken up again decides as it did before. One skip in ten is
run all the same, as an audit; when audits stand above the frontier more often than the stated error rate allows,
skipping stops, and what was skipped is tried after all.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from autotts.policy.allocation import Point, envelope
from autotts.predict.arms import Forecasts
from autotts.search.archive import Archive, Trial

Floats: TypeAlias = NDArray[np.float64]

DOUBT: Final = 0.05  # so improbable must the audits be, were the error rate as stated, for skipping to stop
LEAST: Final = 3  # arms measured at a level, below which nothing is skipped there
# Quantiles of a standard normal, each standing for a fifth of it: where an arm's cost may lie.
STEPS: Final = tuple(NormalDist().inv_cdf(q) for q in (0.1, 0.3, 0.5, 0.7, 0.9))


class Foretelling(Protocol):
    """Who says how arms will do: `predict.arms.ArmModel`."""

    @property
    def fallback(self) -> bool:
        """Whether it has learned nothing of this study."""
        ...

    def forecast(self, arms: Sequence[str], level: str) -> Forecasts:
        """What these arms will do at a level."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a proposal: it is run, skipped, or (`audited`) run although it would be skipped.

    `chance` is the foretold probability that the arm's mean accuracy lies above the frontier at its cost.
    """

    arm: str
    skip: bool
    audited: bool
    chance: float
    why: str


@dataclass(frozen=True, slots=True)
class Audits:
    """How many audits have a result, and how many of them contradict the skip."""

    done: int
    against: int


@dataclass(frozen=True, slots=True)
class Screen:
    """When a proposal is skipped: at a chance below `error`, but for one in `audit` of them."""

    error: float = 0.05
    audit: int = 10
    seed: int = 0

    def judge(self, archive: Archive, arms: Sequence[str], model: Foretelling | None) -> list[Verdict]:
        """A verdict on each arm, in order; all are run where there is nothing to go by."""
        none = self._unable(archive, model)
        if none is not None or model is None or not arms:
            return [Verdict(arm, False, False, 1.0, none or "") for arm in arms]
        found = model.forecast(arms, archive.level)
        chances = above(found, frontier(archive.trials))
        return [
            self._verdict(archive, arm, float(chance), float(value), float(sd))
            for arm, chance, value, sd in zip(arms, chances, found.value, found.sd, strict=True)
        ]

    def _unable(self, archive: Archive, model: Foretelling | None) -> str | None:
        """Why nothing is skipped, or None."""
        if model is None:
            return "nothing foretells how arms will do"
        if model.fallback:
            return "too little was seen to foretell how arms will do"
        if sum(t.state == "complete" for t in archive.trials) < LEAST:
            return f"fewer than {LEAST} arms are measured at this level"
        return self.stopped(archive)

    def _verdict(self, archive: Archive, arm: str, chance: float, value: float, sd: float) -> Verdict:
        said = f"foretold {value:.3f} +- {sd:.3f}; above the frontier with a chance of {chance:.2g}"
        if chance >= self.error:
            return Verdict(arm, False, False, chance, said)
        said = f"{said}, below {self.error:g}"
        text = f"{self.seed}:{archive.level}:{arm}"
        if int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") % self.audit == 0:
            return Verdict(arm, False, True, chance, f"{said}; run as an audit, one skip in {self.audit}")
        return Verdict(arm, True, False, chance, said)

    # ------------------------------------------------------------ audits

    def audits(self, archive: Archive) -> Audits:
        """The audits of all levels that have a result.

        An audit that was stopped in its race confirms the skip. One that was completed contradicts it if its accuracy
        lies above the frontier of the rounds before its own, at its cost, by more than z standard errors, where z is
        what a normal exceeds with probability `error`: an arm that was rightly skipped contradicts with a probability
        of at most `error`, however sure the forecast was.
        """
        done = against = 0
        for trials in (archive.trials, *archive.others.values()):
            for trial in trials:
                if trial.kind == "audit" and trial.state in ("complete", "pruned"):
                    done += 1
                    against += self._contradicts(trial, trials)
        return Audits(done, against)

    def _contradicts(self, audit: Trial, trials: Sequence[Trial]) -> bool:
        if audit.state != "complete" or audit.value is None or audit.cost is None:
            return False
        before = frontier([t for t in trials if t.round < audit.round and t.arm != audit.arm])
        if not before:
            return False
        smoothed = (audit.value * audit.prompts + 0.5) / (audit.prompts + 1)
        error = math.sqrt(smoothed * (1 - smoothed) / max(1, audit.prompts))
        height = float(heights(before, np.array([audit.cost]))[0])
        return audit.value > height + NormalDist().inv_cdf(1 - self.error) * error

    def stopped(self, archive: Archive) -> str | None:
        """Why skipping has stopped, or None while the audits agree with the stated error rate."""
        found = self.audits(archive)
        chance = at_least(found.against, found.done, self.error)
        if chance >= DOUBT:
            return None
        return (
            f"{found.against} of {found.done} audits stood above the frontier: at the stated error rate of "
            f"{self.error:g} that has a chance of {chance:.2g}; nothing is skipped any more"
        )

    def waiting(self, archive: Archive) -> list[str]:
        """The skipped arms of the level that are to be tried after all, in order: those not yet tried, once stopped."""
        if self.stopped(archive) is None:
            return []
        tried = {t.arm for t in archive.trials if t.state in ("complete", "pruned")}
        return list(dict.fromkeys(t.arm for t in archive.trials if t.state == "skipped" and t.arm not in tried))


def frontier(trials: Sequence[Trial]) -> list[Point]:
    """The upper concave envelope of the completed trials, as they are believed to be."""
    return envelope(
        [
            Point(t.arm, t.height, t.cost)
            for t in trials
            if t.state == "complete" and t.value is not None and t.cost is not None
        ]
    )


def heights(curve: Sequence[Point], costs: Floats) -> Floats:
    """The frontier's accuracy at some costs; -inf below its cheapest arm, where any arm is on it."""
    out: Floats = np.interp(costs, [p.cost for p in curve], [p.value for p in curve], left=-math.inf)
    return out


def above(found: Forecasts, curve: Sequence[Point]) -> Floats:
    """The probability that each arm's mean accuracy lies above the frontier, averaged over what it may cost; [N]."""
    out = np.zeros(len(found.value))
    normal = NormalDist()
    for step in STEPS:
        height = heights(curve, found.cost * np.exp(step * found.cost_sd))
        # Nothing is better than always right.
        z = np.where(height >= 1, -math.inf, (found.value - height) / np.maximum(found.sd, 1e-12))
        out += [normal.cdf(v) for v in np.clip(z, -40, 40).tolist()]
    return out / len(STEPS)


def at_least(count: int, of: int, chance: float) -> float:
    """P(X >= count) for X ~ Binomial(of, chance), exact.

    Examples
    --------
    >>> round(at_least(2, 2, 0.05), 4), at_least(0, 5, 0.05)
    (0.0025, 1.0)
    """
    if count <= 0:
        return 1.0
    return math.fsum(math.comb(of, i) * chance**i * (1 - chance) ** (of - i) for i in range(count, of + 1))
