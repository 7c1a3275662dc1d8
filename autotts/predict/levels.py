"""The level of a prompt, learned from prompts whose levels are known: multinomial logistic regression on features.

Learning needs scikit-learn and happens in a study; the result is a plain-JSON `LevelModel` that a policy carries and
that answers without scikit-learn. Probabilities are calibrated by one temperature (Guo et al. 2017, 1706.04599),
fitted on out-of-fold logits; accuracy and calibration error are out-of-fold too.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from autotts.errors import InputError
from autotts.predict.features import FEATURES, FEATURES_VERSION, features
from autotts.predict.reading import validated

Array: TypeAlias = NDArray[np.float64]

CLIP: Final = 5.0  # standard deviations: a prompt unlike all others must not be extrapolated without end
FOLDS: Final = 5
STRENGTHS: Final = (0.1, 1.0, 10.0)  # values of C that cross-validation tries
FEWEST: Final = 2 * FOLDS  # prompts of a level below which nothing is learned
FAREST: Final = 1e12  # of a mean, and the inverse of the least scale
LARGEST: Final = 1e6  # of a coefficient: far above what regularisation lets through, far below overflow
TOLD: Final = 3  # problems that one message tells
HOTTEST: Final = 10.0  # temperature, and the inverse of the coldest


class LevelModel(BaseModel):
    """A learned level, as it stands in a policy file.

    Parameters
    ----------
    kind
        "logistic" looks at the prompt, "constant" answers the prior.
    why
        Why it is constant.
    version
        Of the features.
    features
        Names of the features that it looks at.
    levels
        The levels, ascending.
    prior
        Share of each level in the traffic.
    mean, scale
        What each feature is standardised by.
    squares
        Whether the squares of standardised features are looked at too.
    coefficients
        A row for each level, and a column for each standardised feature, then for each of their squares.
    intercepts
        One a level.
    temperature
        What logits are divided by, so that probabilities are calibrated.
    strength
        Of the regularisation that cross-validation chose (C).
    n
        Prompts that it was learned on.
    accuracy, calibration_error
        Out of fold, of the most probable level.
    confusion
        `confusion[i][j]` counts prompts of level i that were taken for level j, out of fold.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True, strict=True)

    kind: Literal["logistic", "constant"]
    why: str = ""
    version: int = FEATURES_VERSION
    features: list[str] = []
    levels: list[int]
    prior: list[float]
    mean: list[float] = []
    scale: list[float] = []
    squares: bool = False
    coefficients: list[list[float]] = []
    intercepts: list[float] = []
    temperature: float = 1.0
    strength: float = 0.0
    n: int
    accuracy: float
    calibration_error: float
    confusion: list[list[int]]

    @model_validator(mode="after")
    def _consistent(self) -> LevelModel:
        if found := self._problems():
            raise ValueError("; ".join(found[:TOLD]))
        return self

    def _problems(self) -> list[str]:
        count, width = len(self.levels), len(self.features)
        columns = width * (2 if self.squares else 1)
        wrong = []
        if not count or self.levels != sorted(set(self.levels)):
            wrong.append(f"levels: expected different numbers in ascending order, found {self.levels}")
        if len(self.prior) != count or min(self.prior) < 0 or abs(math.fsum(self.prior) - 1) > 1e-6:
            wrong.append(f"prior: expected {count} shares that sum to 1, found {self.prior}")
        if len(self.confusion) != count or any(len(row) != count for row in self.confusion):
            wrong.append(f"confusion: expected {count} rows of {count} counts")
        if self.kind == "constant":
            return wrong
        if self.version != FEATURES_VERSION:
            wrong.append(f"version: expected features of version {FEATURES_VERSION}, found {self.version}; fit again")
        for name in self.features:
            if name not in FEATURES:
                wrong.append(f"features: unknown feature {name!r}; expected some of {', '.join(FEATURES)}")
        if len(self.mean) != width or len(self.scale) != width or not width or min(self.scale) < 1 / FAREST:
            wrong.append(f"mean, scale: expected {width} numbers each, as many as features, and scales above 0")
        elif max(*map(abs, self.mean), *self.scale) > FAREST:
            wrong.append(f"mean, scale: expected numbers up to {FAREST:g}")
        if len(self.coefficients) != count or any(len(row) != columns for row in self.coefficients):
            wrong.append(f"coefficients: expected {count} rows of {columns} numbers")
        if len(self.intercepts) != count:
            wrong.append(f"intercepts: expected {count} numbers, found {len(self.intercepts)}")
        if (
            max((abs(v) for v in [*self.intercepts, *(c for row in self.coefficients for c in row)]), default=0)
            > LARGEST
        ):
            wrong.append(f"coefficients, intercepts: expected numbers up to {LARGEST:g}")
        if not 1 / HOTTEST <= self.temperature <= HOTTEST:
            wrong.append(f"temperature: expected {1 / HOTTEST:g} to {HOTTEST:g}, found {self.temperature}")
        return wrong

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str = "level model") -> LevelModel:
        """Read a plain JSON object; wrong shapes, NaN and unknown features are `InputError`s."""
        return validated(cls, data, where)

    def table(self, prompts: Sequence[str]) -> Array:
        """Probabilities of the levels: a row for each prompt, in the order of `levels`."""
        if self.kind == "constant":
            return np.tile(np.asarray(self.prior), (len(prompts), 1))
        place, mean, scale, coefficients, intercepts = self._arrays
        raw = np.array([features(p) for p in prompts], dtype=float).reshape(len(prompts), len(FEATURES))[:, place]
        return softmax((design(raw, mean, scale, self.squares) @ coefficients.T + intercepts) / self.temperature)

    @cached_property
    def _arrays(self) -> tuple[list[int], Array, Array, Array, Array]:
        """Columns of the features, means, scales, coefficients and intercepts."""
        place = [FEATURES.index(name) for name in self.features]
        mean, scale, coefficients, intercepts = (
            np.asarray(x, dtype=float) for x in (self.mean, self.scale, self.coefficients, self.intercepts)
        )
        return place, mean, scale, coefficients, intercepts

    def probabilities(self, prompt: str) -> dict[int, float]:
        """The probability of each level."""
        return dict(zip(self.levels, self.table([prompt])[0].tolist(), strict=True))

    def level(self, prompt: str) -> int:
        """The most probable level; the lower one of equals."""
        return self.levels[int(np.argmax(self.table([prompt])[0]))]


def design(raw: Array, mean: Array, scale: Array, squares: bool) -> Array:
    """Standardised and clipped features, and their squares if wanted."""
    x = np.clip((raw - mean) / scale, -CLIP, CLIP)
    return np.hstack([x, x * x]) if squares else x


def softmax(logits: Array) -> Array:
    """Row by row."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    out: Array = e / e.sum(axis=1, keepdims=True)
    return out


def fit(prompts: Sequence[str], levels: Sequence[int], seed: int, mix: Mapping[int, float] | None = None) -> LevelModel:
    """Learn the level from prompts.

    Parameters
    ----------
    prompts, levels
        The examples, and the level of each.
    seed
        Of the folds; the same arguments give the same model.
    mix
        Share of each level in the traffic, where the examples are drawn in other shares: the prior is shifted to it,
        and `accuracy` and `calibration_error` are those of the traffic.

    Returns
    -------
    LevelModel
        Of kind "constant", with the reason, for a single level or fewer than 10 prompts of one.
    """
    if not prompts or len(prompts) != len(levels):
        raise InputError(f"levels: expected one level for each prompt, found {len(prompts)} and {len(levels)}")
    names = sorted(set(levels))
    y = np.array([names.index(v) for v in levels])
    counts = np.bincount(y, minlength=len(names))
    share = counts / len(y)
    prior = share if mix is None else _prior(names, mix)
    if len(names) == 1:
        return _constant(names, counts, prior, f"all prompts have level {names[0]}")
    if counts.min() < FEWEST:
        scarce = names[int(counts.argmin())]
        why = f"level {scarce} has only {counts.min()} prompts; at least {FEWEST} a level are needed"
        return _constant(names, counts, prior, why)
    return _logistic(prompts, y, names, prior, seed)


def _prior(names: list[int], mix: Mapping[int, float]) -> Array:
    prior = np.array([mix.get(name, 0.0) for name in names], dtype=float)
    if not (np.isfinite(prior).all() and prior.min() > 0):
        raise InputError(f"mix: expected a positive share for each of the levels {names}, found {dict(mix)}")
    out: Array = prior / prior.sum()
    return out


def _constant(names: list[int], counts: NDArray[np.int64], prior: Array, why: str) -> LevelModel:
    best = int(np.argmax(prior))
    confusion = np.zeros((len(names), len(names)), dtype=int)
    confusion[:, best] = counts
    return LevelModel(
        kind="constant",
        why=why,
        levels=names,
        prior=prior.tolist(),
        n=int(counts.sum()),
        accuracy=float(prior[best]),
        calibration_error=0.0,
        confusion=confusion.tolist(),
    )


def _logistic(prompts: Sequence[str], y: NDArray[np.int64], names: list[int], prior: Array, seed: int) -> LevelModel:
    raw = np.array([features(p) for p in prompts], dtype=float)
    used = [j for j in range(raw.shape[1]) if np.ptp(raw[:, j]) > 0] or [0]
    raw = raw[:, used]
    shift = np.log(prior) - np.log(np.bincount(y) / len(y))
    weight = prior[y] / np.bincount(y)[y]  # sums to one; of the traffic that each example stands for
    squares, strength, logits = _cross_validate(raw, y, weight, shift, seed)
    temperature = _temperature(logits, y, weight)
    calibrated = softmax(logits / temperature)
    taken = calibrated.argmax(axis=1)
    confusion = np.zeros((len(names), len(names)), dtype=int)
    np.add.at(confusion, (y, taken), 1)
    mean, scale = _standard(raw)
    coefficients, intercepts = _regress(design(raw, mean, scale, squares), y, strength)
    return LevelModel(
        kind="logistic",
        features=[FEATURES[j] for j in used],
        levels=names,
        prior=prior.tolist(),
        mean=mean.tolist(),
        scale=scale.tolist(),
        squares=squares,
        coefficients=coefficients.tolist(),
        intercepts=(intercepts + shift).tolist(),
        temperature=temperature,
        strength=strength,
        n=len(y),
        accuracy=float(weight[taken == y].sum()),
        calibration_error=calibration_error(calibrated, y, weight),
        confusion=confusion.tolist(),
    )


def _standard(raw: Array) -> tuple[Array, Array]:
    mean, scale = raw.mean(axis=0), raw.std(axis=0)
    return mean, np.where(scale > 0, scale, 1.0)


def _regress(x: Array, y: NDArray[np.int64], strength: float) -> tuple[Array, Array]:
    """Coefficients and intercepts, with a row for each level also where there are two."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        # Regularised and calibrated out of fold: the last digits do not matter.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # As exact as lbfgs, and 2 to 40 times faster where other threads want the cores.
        learned = LogisticRegression(C=strength, solver="newton-cg", max_iter=200).fit(x, y)
    coefficients, intercepts = learned.coef_, learned.intercept_
    if len(coefficients) == 1:
        # scikit-learn writes two classes as the log odds of the second one.
        coefficients, intercepts = np.vstack([0 * coefficients, coefficients]), np.r_[0.0, intercepts]
    return coefficients, intercepts


def _cross_validate(
    raw: Array, y: NDArray[np.int64], weight: Array, shift: Array, seed: int
) -> tuple[bool, float, Array]:
    """The choice with the least out-of-fold log loss: squares, strength, and its out-of-fold logits."""
    from sklearn.model_selection import StratifiedKFold

    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(raw, y))
    best: tuple[float, bool, float, Array] | None = None
    for squares in (False, True):
        for strength in STRENGTHS:
            logits = np.zeros((len(y), len(shift)))
            for train, test in folds:
                mean, scale = _standard(raw[train])
                coefficients, intercepts = _regress(design(raw[train], mean, scale, squares), y[train], strength)
                logits[test] = design(raw[test], mean, scale, squares) @ coefficients.T + intercepts + shift
            loss = _loss(logits, y, weight)
            if best is None or loss < best[0]:
                best = loss, squares, strength, logits
    assert best is not None
    return best[1:]


def _loss(logits: Array, y: NDArray[np.int64], weight: Array) -> float:
    top = logits.max(axis=1)
    log_sum = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return float((weight * (log_sum - logits[np.arange(len(y)), y])).sum())


def _temperature(logits: Array, y: NDArray[np.int64], weight: Array) -> float:
    """The temperature with the least log loss, within the bounds (golden section; the loss is convex in 1/T)."""
    low, high = 1 / HOTTEST, HOTTEST
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(60):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if _loss(logits * left, y, weight) <= _loss(logits * right, y, weight):
            high = right
        else:
            low = left
    return 2.0 / (low + high)


def calibration_error(table: Array, y: NDArray[np.int64], weight: Array, bins: int = 10) -> float:
    """Expected calibration error of the most probable level: mean gap of confidence and accuracy over equal bins."""
    confidence, right = table.max(axis=1), table.argmax(axis=1) == y
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(float((weight * (confidence - right))[place == b].sum())) for b in range(bins)]
    return math.fsum(gaps) / float(weight.sum())
