"""Candidates compared out of fold: their calibrated predictions, their figures, and which of them is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autotts.predict.calibration import calibration_error, losses, platt
from autotts.predict.candidates import Candidate, logits
from autotts.predict.examples import Examples
from autotts.predict.logistic import logit, rates
from autotts.predict.members import Floats
from autotts.predict.performance import Score, expit
from autotts.predict.quick import DEVIATION

Ints = NDArray[np.int64]

AVERAGED: Final = 3  # trials at most
TINY: Final = 1e-12  # where nothing was measured
SLIGHT: Final = 0.02  # share of what the best saves that is not worth a less simple one


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One or several candidates, whose logits are averaged: out-of-fold logits and cells, [R * N, A] for R repeats."""

    name: str
    candidates: tuple[Candidate, ...]
    logits: Floats
    calibration: tuple[float, Floats]
    cells: tuple[Floats, Floats]
    prompts: int

    @property
    def chances(self) -> Floats:
        """Calibrated predictions."""
        slope, shift = self.calibration
        return expit(slope * self.logits + shift)

    @property
    def losses(self) -> Floats:
        """Log loss of each prompt, [N]; their mean is that of all measured cells."""
        value, weight = self.cells
        slope, shift = self.calibration
        cells = (weight * losses(slope * self.logits + shift, value)).sum(1)
        out: Floats = cells.reshape(-1, self.prompts).sum(0) * (self.prompts / max(weight.sum(), TINY))
        return out

    def gain(self, other: Trial) -> tuple[float, float]:
        """The log loss saved over another trial, and its standard error over prompts."""
        saved = other.losses - self.losses
        return float(saved.mean()), float(saved.std() / max(len(saved) - 1, 1) ** 0.5)

    def score(self, constant: Trial) -> Score:
        """Its figures beside those of the constant."""
        value, weight = self.cells
        chances = self.chances
        gain, error = self.gain(constant)
        return Score(
            name=self.name,
            log_loss=float(self.losses.mean()),
            brier=float((weight * (chances - value) ** 2).sum() / max(weight.sum(), TINY)),
            calibration_error=calibration_error(chances, value, weight),
            gain=gain,
            gain_low=gain - DEVIATION * error,
            gain_high=gain + DEVIATION * error,
        )


def trial(candidate: Candidate, examples: Examples, cuts: Sequence[Sequence[Ints]], seed: int) -> Trial:
    """Learn on all folds but one, and predict that one; `cuts` has the rows of each fold, for each repeat."""
    everything = np.arange(len(examples.value))
    found = np.zeros((len(cuts), *examples.value.shape))
    for turn, parts in enumerate(cuts):
        for rows in parts:
            member = candidate.learn(examples, np.setdiff1d(everything, rows), seed)
            found[turn, rows] = logits(member, examples, rows)
    cells = np.tile(examples.value, (len(cuts), 1)), np.tile(examples.weight, (len(cuts), 1))
    return _calibrated(candidate.name, (candidate,), found.reshape(-1, found.shape[2]), cells, len(everything))


def _calibrated(
    name: str, candidates: tuple[Candidate, ...], logits: Floats, cells: tuple[Floats, Floats], prompts: int
) -> Trial:
    if name == "constant":
        # The shifts of the others know each arm's mean as well; one that leaves a fold out errs against that fold.
        logits = np.tile(logit(rates(*cells)), (len(logits), 1))
    known = (1.0, np.zeros(logits.shape[1])) if name == "constant" else platt(logits, *cells)
    return Trial(name, candidates, logits, known, cells, prompts)


def with_average(trials: Sequence[Trial]) -> list[Trial]:
    """And, where there are several beside the constant and the length, the best of the means of two and three."""
    able = sorted(trials[2:], key=lambda one: float(one.losses.mean()))
    means = [_average(able[:count]) for count in range(2, min(len(able), AVERAGED) + 1)]
    return [*trials, *best_variants(means)]


def _average(trials: Sequence[Trial]) -> Trial:
    """The mean of some trials' logits."""
    first = trials[0]
    mean = np.mean([one.logits for one in trials], axis=0)
    return _calibrated("average", tuple(c for one in trials for c in one.candidates), mean, first.cells, first.prompts)


def best_variants(trials: Sequence[Trial]) -> list[Trial]:
    """Of trials with one name the one with the least log loss, in the order of names."""
    best: dict[str, Trial] = {}
    for one in trials:
        if one.name not in best or one.losses.mean() < best[one.name].losses.mean():
            best[one.name] = one
    return list(best.values())


def choose(trials: Sequence[Trial]) -> tuple[Trial, str]:
    """The simplest trial that is about as good as the best, and why; the constant unless it is beaten beyond noise.

    About as good is within one standard error, or within a fiftieth of what the best saves over the constant.

    Trials come simplest first, the constant and the length among them.
    """
    constant = trials[0]
    best = min(trials, key=lambda one: float(one.losses.mean()))
    gain, error = best.gain(constant)
    if gain <= DEVIATION * error:
        return constant, f"nothing beats the constant beyond noise: {best.name} saves {_words(gain, error)}"
    for one in trials:
        behind, noise = best.gain(one)
        if one is best or (one is not constant and behind <= max(noise, SLIGHT * gain)):
            saved, error = one.gain(constant)
            beside = "" if one is best else f"; {best.name} is better by {_words(behind, noise)} only"
            return one, f"{one.name} saves {_words(saved, error)} over the constant{beside}"
    raise AssertionError("the best is one of the trials")


def _words(gain: float, error: float) -> str:
    return f"{gain:.4f} +- {error:.4f} nats of log loss"
