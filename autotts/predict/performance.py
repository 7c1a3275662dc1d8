"""What each arm will do on a prompt: the chance of a right answer and the cost, learned, calibrated, with intervals.

Learning (`autotts.predict.learning`) needs scikit-learn; the result is a plain-JSON `Performance` that a policy
carries and that answers with numpy alone, features included. Values are calibrated on out-of-fold predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Final, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from autotts.errors import InputError
from autotts.predict import groups as features
from autotts.predict.members import CLIP, FAREST, LARGEST, Floats, Linear, Trees
from autotts.predict.ngrams import NGRAMS_VERSION, ngrams
from autotts.predict.quick import BINS, COSTLIEST, DEVIATION, Quick
from autotts.predict.reading import validated

EMBEDDING: Final = "embedding/1"
NGRAMS: Final = f"ngrams/{NGRAMS_VERSION}"
TOLD: Final = 3  # problems that one message tells
SPARSE: Final = 4_000  # directions and arms of all members with n-grams, for each of which a table of buckets is made
KINDS: Final = ("constant", "length", "logistic", "ngrams", "boosting", "lowrank", "average")


class Forecast(NamedTuple):  # made of each arm for every prompt, three times as fast as a frozen dataclass
    """Of one arm on one prompt: the chance of a right answer, its interval, and the cost in parts (NaN: unknown)."""

    value: float
    low: float
    high: float
    cost: float


class Mean(NamedTuple):
    """What `Forecast` says without its interval."""

    value: float
    cost: float


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Forecasts of prompts x arms, [N, A] each; `cost` is NaN for an arm whose cost was never measured.

    `low` and `high` bound the share of right answers among prompts that are predicted alike (95 %): the Wilson
    interval of a tenth of the prompts that the arm was measured on, widened by the miscalibration found there.
    """

    value: Floats
    low: Floats
    high: Floats
    cost: Floats


class Score(BaseModel):
    """A candidate's figures out of fold, over measured cells.

    Parameters
    ----------
    name
        The candidate's kind.
    log_loss, brier, calibration_error
        Of its calibrated predictions; log loss in nats.
    gain, gain_low, gain_high
        The log loss that it saves over the constant, with its 95 % interval.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True, strict=True)

    name: str
    log_loss: float
    brier: float
    calibration_error: float
    gain: float
    gain_low: float
    gain_high: float


class Performance(BaseModel):
    """A learned performance, as it stands in a policy file.

    Parameters
    ----------
    format
        Names this form and its version.
    kind
        The candidate that was chosen.
    why
        Why it was.
    groups
        Groups of features that it looks at, with their versions.
    arms
        Keys of the arms that it knows.
    columns
        The dense features of `groups`, embeddings times `basis` last.
    basis
        What embeddings are multiplied by: a row for each of their numbers.
    mean, scale
        What each column is standardised by.
    least, most
        The range of each column among prompts learned on: quantiles of 1 and 99 %.
    odd
        How many columns outside that range a prompt like them may have.
    members
        What gives logits; their mean m is calibrated, to slope * m + shift.
    slope, shift
        Of the calibration; a shift for each arm.
    upto, gaps
        The bins of predictions in which calibration was checked, and how far off it was in each.
    counts
        Prompts that each arm was measured on.
    cost_intercepts, cost_coefficients
        The logarithm of each arm's cost in parts: one number, and weights of the standardised columns.
    scores
        Figures of all candidates.
    n
        Prompts that it was learned on.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True, strict=True)

    format: Literal["autotts.performance/1"] = "autotts.performance/1"
    kind: str
    why: str
    groups: list[str]
    arms: list[str]
    columns: list[str]
    basis: list[list[float]] = []
    mean: list[float]
    scale: list[float]
    least: list[float]
    most: list[float]
    odd: int = Field(ge=0)
    members: list[Annotated[Linear | Trees, Field(discriminator="type")]]
    slope: float = 1.0
    shift: list[float] = []
    upto: list[float] = []
    gaps: list[float] = []
    counts: list[int]
    cost_intercepts: list[float | None]
    cost_coefficients: list[list[float]] = []
    scores: list[Score]
    n: int = Field(ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> Performance:
        if found := self._problems():
            raise ValueError("; ".join(found[:TOLD]))
        return self

    def _problems(self) -> list[str]:
        """What is wrong, in words; groups first, since the rest follows from them."""
        for name in self.groups:
            try:
                features.known(name, "groups")
            except InputError as error:
                return [str(error)]
        arms, columns = len(self.arms), len(self.columns)
        wrong = []
        if self.kind not in KINDS:
            wrong.append(f"kind: expected one of {', '.join(KINDS)}, found {self.kind!r}")
        if not arms or len(set(self.arms)) < arms:
            wrong.append("arms: expected different names, at least one")
        dense = features.columns(self._dense)
        width = len(self.basis[0]) if self.basis else 0
        if self.columns != dense + reduced_columns(width) or bool(width) != (EMBEDDING in self.groups):
            wrong.append(f"columns, basis: expected those of {', '.join(self.groups)}; fit again")
        if any(len(row) != width or _most(row) > LARGEST for row in self.basis):
            wrong.append(f"basis: expected rows of {width} numbers")
        for name in ("mean", "scale", "least", "most"):
            row = getattr(self, name)
            least = 1 / FAREST if name == "scale" else -FAREST
            if len(row) != columns or (name in ("mean", "scale") and not _within(row, least, FAREST)):
                wrong.append(f"{name}: expected {columns} numbers from {least:g} to {FAREST:g}")
        if any(isinstance(m, Linear) and m.ngrams for m in self.members) and NGRAMS not in self.groups:
            wrong.append(f"groups: expected {NGRAMS} among them, since members have n-grams")
        if not self.members:
            wrong.append("members: expected at least one")
        sparse = [m for m in self.members if isinstance(m, Linear) and m.ngrams]
        if sum(len(member.directions) + arms for member in sparse) > SPARSE:
            wrong.append(f"members: expected at most {SPARSE} directions and arms of all that have n-grams")
        for place, member in enumerate(self.members):
            wrong += [f"members.{place}.{words}" for words in member.problems(arms, columns)]
        if len(self.gaps) not in (0, len(self.upto) + 1) or self.upto != sorted(self.upto):
            wrong.append("upto, gaps: expected ascending bounds, and one gap more than bounds")
        if len(self.counts) != arms or min(self.counts, default=0) < 0:
            wrong.append(f"counts: expected {arms} whole numbers")
        if not 0 <= self.slope <= LARGEST or len(self.shift) not in (0, arms) or _most(self.shift) > LARGEST:
            wrong.append(f"slope, shift: expected a slope of 0 or more, and none or {arms} shifts up to {LARGEST:g}")
        return wrong + self._cost_problems(arms, columns)

    def _cost_problems(self, arms: int, columns: int) -> list[str]:
        wrong = []
        if len(self.cost_intercepts) != arms or any(abs(v or 0.0) > COSTLIEST for v in self.cost_intercepts):
            wrong.append(f"cost_intercepts: expected {arms} logarithms of costs, null where unknown")
        rows = self.cost_coefficients
        if rows and (len(rows) != arms or any(len(row) != columns for row in rows)):
            wrong.append(f"cost_coefficients: expected {arms} rows of {columns} numbers")
        if max(map(_most, rows), default=0.0) > LARGEST:
            wrong.append(f"cost_coefficients: expected numbers up to {LARGEST:g}")
        return wrong

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str = "performance") -> Performance:
        """Read a plain JSON object; wrong shapes, NaN, unknown kinds and newer features are `InputError`s."""
        return validated(cls, data, where)

    def table(self, prompts: Sequence[str], embeddings: Floats | None = None) -> Table:
        """Forecasts of prompts x arms.

        Parameters
        ----------
        prompts
            Any texts.
        embeddings
            A row for each prompt, as many numbers as learned on. None, or NaN in a row, where the endpoint did not
            answer: the mean of the prompts learned on stands in. Ignored by a predictor that needs none.

        Raises
        ------
        InputError
            The embeddings have another shape.
        """
        raw = self._raw(prompts, embeddings)
        standard = np.clip((raw - self._mean) / self._scale, -CLIP, CLIP)
        value = expit(self.slope * self.logits(prompts, raw, standard) + (np.array(self.shift) if self.shift else 0.0))
        low, high = self._interval(value)
        return Table(value, low, high, self._cost(standard))

    def expect(self, prompt: str, embedding: Floats | None = None) -> dict[str, Forecast]:
        """The forecast of each arm on one prompt: as `table`, on a path that is fast for one."""
        cells = self._quick.forecast(*self._looks(prompt, embedding))
        return {arm: Forecast(*cell) for arm, cell in zip(self.arms, cells, strict=True)}

    def means(self, prompt: str, embedding: Floats | None = None) -> dict[str, Mean]:
        """The same without intervals, in less time."""
        cells = self._quick.means(*self._looks(prompt, embedding))
        return dict(zip(self.arms, map(Mean._make, cells), strict=True))

    def _looks(self, prompt: str, embedding: Floats | None) -> tuple[list[float], Sequence[int]]:
        """The dense columns of a prompt, and its n-grams."""
        dense = features.dense(self._dense, prompt)
        if EMBEDDING in self.groups:
            dense += self._reduced(None if embedding is None else np.asarray(embedding, float)[None, :], 1)[0].tolist()
        return dense, ngrams(prompt) if NGRAMS in self.groups else ()

    @cached_property
    def _quick(self) -> Quick:
        return Quick(
            mean=self._mean,
            scale=self._scale,
            members=self.members,
            slope=self.slope,
            shift=self.shift or [0.0] * len(self.arms),
            check=(self.upto, self.gaps, [max(count / BINS, 1.0) for count in self.counts]),
            cost=(self.cost_intercepts, self.cost_coefficients),
        )

    def logits(self, prompts: Sequence[str], raw: Floats, standard: Floats) -> Floats:
        """The mean logit of the members before calibration, [N, A]."""
        sparse = NGRAMS in self.groups
        buckets = [ngrams(prompt) if sparse else [] for prompt in prompts]
        total = np.zeros((len(prompts), len(self.arms)))
        for member in self.members:
            total += member.logits(standard, buckets) if isinstance(member, Linear) else member.logits(raw)
        return total / len(self.members)

    def outside(self, prompts: Sequence[str]) -> float:
        """The share of prompts that look different from those learned on, where it was about one in a hundred.

        A prompt looks different if more of its features than `odd` are outside the range learned on.
        """
        width = len(features.columns(self._dense))
        if not len(prompts) or not width:
            return 0.0
        raw = self._raw(prompts, None)[:, :width]
        return float((beyond(raw, np.array(self.least[:width]), np.array(self.most[:width])) > self.odd).mean())

    @property
    def _dense(self) -> list[str]:
        return [name for name in self.groups if name in features.GROUPS]

    @cached_property
    def _mean(self) -> Floats:
        return np.array(self.mean, float)

    @cached_property
    def _scale(self) -> Floats:
        return np.array(self.scale, float)

    def _raw(self, prompts: Sequence[str], embeddings: Floats | None) -> Floats:
        """Columns of each prompt, [N, C]; what is missing is the mean of what was learned on."""
        dense = self._dense
        raw = np.array([features.dense(dense, prompt) for prompt in prompts], float).reshape(len(prompts), -1)
        if EMBEDDING not in self.groups:
            return raw
        return np.hstack([raw, self._reduced(embeddings, len(prompts))])

    def _reduced(self, embeddings: Floats | None, count: int) -> Floats:
        """Embeddings times the basis, [N, T]."""
        shape = count, len(self.basis)
        full = np.full(shape, np.nan) if embeddings is None else np.asarray(embeddings, float)
        if full.shape != shape:
            raise InputError(f"embeddings: expected {shape[0]} rows of {shape[1]} numbers, found {full.shape}")
        more = np.clip(full, -LARGEST, LARGEST) @ np.array(self.basis)
        return np.where(np.isfinite(more), more, self._mean[len(self.columns) - more.shape[1] :])

    def _interval(self, value: Floats) -> tuple[Floats, Floats]:
        """See `Table`."""
        count = np.maximum(np.array(self.counts) / BINS, 1.0)
        low, high = wilson(value, count)
        if self.gaps:
            gap = np.array(self.gaps)[np.searchsorted(self.upto, value)]
            low, high = low + np.minimum(gap, 0.0), high + np.maximum(gap, 0.0)
        return np.clip(low, 0.0, value), np.clip(high, value, 1.0)

    def _cost(self, standard: Floats) -> Floats:
        logs = np.array([np.nan if v is None else v for v in self.cost_intercepts])
        if not self.cost_coefficients:
            return np.tile(np.exp(logs), (len(standard), 1))
        out: Floats = np.exp(np.minimum(logs + standard @ np.array(self.cost_coefficients).T, COSTLIEST))
        return out


def reduced_columns(count: int) -> list[str]:
    """Names of the columns of embeddings."""
    return [f"embedding_{i}" for i in range(count)]


def expit(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)) without overflow."""
    out: Floats = 0.5 * (1.0 + np.tanh(0.5 * logits))
    return out


def wilson(share: Floats, count: Floats) -> tuple[Floats, Floats]:
    """Wilson's 95 % interval of a share seen in `count` trials."""
    square = DEVIATION**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = DEVIATION * np.sqrt(share * (1 - share) / count + square / (4 * count * count)) / (1 + square / count)
    return middle - half, middle + half


def beyond(raw: Floats, least: Floats, most: Floats) -> Floats:
    """How many columns of each prompt are outside a range, [N]; a rounding error is not."""
    slack = 1e-9 * (1 + np.abs(most) + np.abs(least))
    out: Floats = ((raw < least - slack) | (raw > most + slack)).sum(axis=1).astype(float)
    return out


def _within(values: Sequence[float], least: float, most: float) -> bool:
    return not values or (least <= min(values) and max(values) <= most)


def _most(values: Sequence[float]) -> float:
    return max(map(abs, values), default=0.0)
