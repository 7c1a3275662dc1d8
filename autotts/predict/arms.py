"""How an arm will do at a level before it is tried: a Gaussian process over arms and levels, as plain JSON.

Arms are described by their strategy, model, knobs and level, so that what was seen of one arm tells of those like it.
Accuracy is modelled in log odds, cost as the log of what one draw of one unit of work costs. Learning needs
scikit-learn (`predict.arm_learning`); the `ArmModel` holds the examples and the kernel, and answers with numpy alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from autotts.core.strategy import Role, knobs
from autotts.errors import InputError
from autotts.predict.reading import validated
from autotts.strategies.arms import name_of, parse

Array: TypeAlias = NDArray[np.float64]

ARMS_VERSION: Final = 1  # of the description of an arm
NUMBERS: Final = ("greedy", "temperature", "top_p", "draws", "saturation", "k", "m", "threshold", "scorer")
WIDE: Final = 2.5  # standard deviation of the log odds where nothing was learned: anything is possible
WIDE_COST: Final = 1.5  # and of log cost
TRANSFER: Final = 0.7  # standard deviation that another study's log odds get on top when they are taken as they are
LARGEST: Final = 1e6  # of a number in an artefact
_NODES, _MASS = np.polynomial.hermite_e.hermegauss(15)


@dataclass(frozen=True, slots=True)
class Seen:
    """How an arm did on a level: mean accuracy over `prompts` prompts, mean cost a prompt in parts."""

    arm: str
    level: str
    value: float
    cost: float
    prompts: int


@dataclass(frozen=True, slots=True, eq=False)
class Forecasts:
    """What is expected of some arms at a level, each [N].

    `value` is the expected accuracy and `sd` the standard deviation of the arm's mean accuracy there; `cost` is the
    median of its mean cost in parts, and `cost_sd` the standard deviation of log cost.
    """

    value: Array
    sd: Array
    cost: Array
    cost_sd: Array


class Process(BaseModel):
    """A Gaussian process given its examples: targets minus the mean function, noise (variances), and amplitudes.

    `own` is the variance of what an arm does at a level that no other arm tells of.
    The mean function is `offset`, plus `slope` times what the earlier model says where there is one. `inflation`
    widens standard deviations, as held-out examples asked for.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True, strict=True)

    targets: list[float] = []
    noise: list[float] = []
    amplitudes: list[float] = []
    own: float = 1.0
    offset: float = 0.0
    slope: float = 0.0
    inflation: float = 1.0


class ArmModel(BaseModel):
    """What was learned of arms, as it stands in a file.

    `kind` "gp" has learned; "prior" passes on what an earlier study says; "constant" has learned nothing, is wide, and
    `why` says why. `inputs` has a row for each example; `weights` a row for each component of the kernel, the inverse
    length-scale of every column: sum over components of amplitude * exp(-|weight * (x - y)|^2 / 2). `check` tells how
    well held-out examples were foretold.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True, strict=True)

    kind: Literal["gp", "prior", "constant"]
    why: str = ""
    version: int = ARMS_VERSION
    levels: list[str]
    strategies: list[str]
    work: dict[str, float]
    inputs: list[list[float]] = []
    weights: list[list[float]] = []
    value: Process
    cost: Process
    prior: ArmModel | None = None
    n: int = 0
    tuned: int = 0  # examples that there were when the amplitudes were learned
    check: dict[str, float] = {}

    @model_validator(mode="after")
    def _consistent(self) -> ArmModel:
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> list[str]:
        wrong = []
        width, rows, parts = len(columns(self.strategies, self.work)), len(self.inputs), len(self.weights)
        if self.version != ARMS_VERSION:
            wrong.append(f"version: expected arms described by version {ARMS_VERSION}, found {self.version}; fit again")
        if not self.levels or len(set(self.levels)) != len(self.levels):
            wrong.append(f"levels: expected different names, found {self.levels}")
        if any(not v > 0 for v in self.work.values()):
            wrong.append(f"work: expected numbers above 0, found {self.work}")
        if (self.kind == "gp") != (rows > 0) or (self.kind == "prior" and self.prior is None):
            wrong.append(f"kind: {self.kind!r} does not go with {rows} examples and the prior that is given")
        for name, table in (("inputs", self.inputs), ("weights", self.weights)):
            if any(len(row) != width for row in table):
                wrong.append(f"{name}: expected rows of {width} numbers")
            elif max((abs(v) for row in table for v in row), default=0) > LARGEST:
                wrong.append(f"{name}: expected numbers up to {LARGEST:g}")
        for name, of in (("value", self.value), ("cost", self.cost)):
            if (len(of.targets), len(of.noise), len(of.amplitudes)) != (rows, rows, parts):
                wrong.append(f"{name}: expected {rows} targets, as many noises, and {parts} amplitudes")
            if min(*of.noise, *of.amplitudes, of.own, of.inflation) <= 0:
                wrong.append(f"{name}: expected noises, amplitudes, own and inflation above 0")
        return wrong

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str = "arm model") -> ArmModel:
        """Read a plain JSON object; wrong shapes, NaN and another version are `InputError`s."""
        return validated(cls, data, where)

    @property
    def fallback(self) -> bool:
        """Whether it has learned nothing of this study."""
        return self.kind != "gp"

    def ready(self) -> ArmModel:
        """The same model with its equations solved; it does so by itself when it is first asked."""
        if self.kind == "gp":
            assert self._solved
        return self

    def forecast(self, arms: Sequence[str], level: str) -> Forecasts:
        """What these arms will do at a level.

        Raises
        ------
        InputError
            A level or a model that the study did not have, or a text that is no arm.
        """
        if level not in self.levels:
            raise InputError(f"level: expected one of {', '.join(self.levels)}, found {level!r}")
        odds, spread, unit, unit_spread = self.latent(arms, level, self._share(level), self.work)
        table = 1 / (1 + np.exp(-np.clip(odds[:, None] + np.sqrt(spread)[:, None] * _NODES, -60, 60)))
        mass = _MASS / _MASS.sum()
        value = table @ mass
        sd = np.sqrt(np.maximum((table - value[:, None]) ** 2 @ mass, 0))
        cost = np.exp(np.clip(unit + effort(arms, self.work), -700, 700))
        return Forecasts(value, sd, cost, np.sqrt(unit_spread))

    def latent(
        self, arms: Sequence[str], level: str, share: float, work: Mapping[str, float]
    ) -> tuple[Array, Array, Array, Array]:
        """Mean and variance of log odds, and of log cost beyond `effort`; each [N].

        `share` is how far the level lies from the easiest (0) to the hardest (1), for a model that does not know it;
        `work` is that of the study that asks, whose models may be unknown too.
        """
        old = None if self.prior is None else self.prior.latent(arms, level, share, work)
        if self.kind == "prior":
            assert old is not None
            return old[0], old[1] + TRANSFER**2, old[2], old[3] + TRANSFER**2
        zero = np.zeros(len(arms))
        odds, unit = (
            of.offset + (zero if old is None else of.slope * old[2 * i]) for i, of in enumerate((self.value, self.cost))
        )
        if self.kind == "constant":
            return odds, zero + WIDE**2, unit, zero + WIDE_COST**2
        steps = float(self.levels.index(level)) if level in self.levels else share * (len(self.levels) - 1)
        x = describe(arms, [steps] * len(arms), self.strategies, self.work, work)
        found = self._solved
        kernels = mixed(found.weights, x, found.inputs, [self.value.amplitudes, self.cost.amplitudes])
        odds_gain, spread = found.value.at(kernels[0])
        unit_gain, unit_spread = found.cost.at(kernels[1])
        return odds + odds_gain, spread, unit + unit_gain, unit_spread

    def _share(self, level: str) -> float:
        return self.levels.index(level) / max(1, len(self.levels) - 1)

    @cached_property
    def _solved(self) -> Solution:
        x, weights = np.asarray(self.inputs), np.asarray(self.weights)
        kernels = mixed(weights, x, x, [self.value.amplitudes, self.cost.amplitudes])
        return Solution(x, weights, solved(kernels[0], self.value), solved(kernels[1], self.cost))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> ArmModel:
        """A copy with other values, whose equations are to be solved anew."""
        out = super().model_copy(update=update, deep=deep)
        out.__dict__.pop("_solved", None)
        return out


@dataclass(frozen=True, slots=True, eq=False)
class Solved:
    """A Gaussian process with its equations solved: K = L L', `alpha` = K^-1 y [n], `inverse` = L^-1 [n, n]."""

    alpha: Array
    inverse: Array
    total: float
    inflation: float

    def at(self, kernel: Array) -> tuple[Array, Array]:
        """Mean and variance where `kernel` [N, n] are the covariances to the examples."""
        explained = np.square(self.inverse @ kernel.T).sum(axis=0)
        return kernel @ self.alpha, np.maximum(self.total - explained, 1e-12) * self.inflation**2


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """A model with its equations solved: the examples, the kernel's weights, accuracy and cost."""

    inputs: Array
    weights: Array
    value: Solved
    cost: Solved


def solved(kernel: Array, of: Process) -> Solved:
    """Solve for the examples of a process, whose covariances [n, n] are without the noise."""
    inverse = np.linalg.inv(np.linalg.cholesky(kernel + np.diag(np.asarray(of.noise) + of.own)))
    total = math.fsum([*of.amplitudes, of.own])
    return Solved(inverse.T @ (inverse @ np.asarray(of.targets)), inverse, total, of.inflation)


def mixed(weights: Array, x: Array, y: Array, amplitudes: Sequence[Sequence[float]]) -> list[Array]:
    """The kernel between rows of x and y for each set of amplitudes, [N, M] each."""
    out = [np.zeros((len(x), len(y))) for _ in amplitudes]
    for part, weight in enumerate(weights):
        used = weight > 0
        a, b = x[:, used] * weight[used], y[:, used] * weight[used]
        square = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * (a @ b.T)
        bell = np.exp(-0.5 * np.maximum(square, 0))
        for sum_, sizes in zip(out, amplitudes, strict=True):
            sum_ += sizes[part] * bell
    return out


# ------------------------------------------------------------ how arms are described


@dataclass(frozen=True, slots=True)
class Setting:
    """What an arm is: its strategy, the models that draw, and `NUMBERS`."""

    strategy: str
    models: tuple[str, ...]
    draws: int
    numbers: tuple[float, ...]


@lru_cache(maxsize=8192)  # the same few hundred arms are asked for in every round, at every level
def setting(arm: str) -> Setting:
    """Read an arm; the most draws count where it may stop sooner."""
    strategy: Any = parse(arm)
    kind: type = type(strategy)
    declared = knobs(kind)
    roles = [(k, d.domain.kind) for k, d in declared.items() if isinstance(d.domain, Role)]
    draws = int(getattr(strategy, "n", getattr(strategy, "most", 1)))
    temperature = float(strategy.temperature)
    return Setting(
        name_of(strategy),
        tuple(dict.fromkeys(str(getattr(strategy, k)) for k, kind in roles if kind == "policy")),
        draws,
        (
            float(temperature == 0),
            temperature,
            float(strategy.top_p),
            math.log2(draws),
            1 - 1 / draws,  # accuracy rises with draws, then levels off
            math.log2(getattr(strategy, "k", 1)),
            math.log2(1 + getattr(strategy, "m", 0)),
            float(getattr(strategy, "threshold", getattr(strategy, "sure", 1.0))),
            float(any(kind == "scorer" for _, kind in roles)),
        ),
    )


def columns(strategies: Sequence[str], work: Mapping[str, float]) -> list[str]:
    """What the columns of a description are of: each strategy and model, then work, level and `NUMBERS`."""
    return ["strategy"] * len(strategies) + ["model"] * len(work) + ["work", "level", *NUMBERS]


def describe(
    arms: Sequence[str],
    steps: Sequence[float],
    strategies: Sequence[str],
    known: Mapping[str, float],
    work: Mapping[str, float],
) -> Array:
    """Arms as rows of numbers, [N, columns]; `steps` from the easiest level, work by its binary logarithm.

    One-hot columns are scaled so that two strategies, or two models, are a distance of 1 apart. Models that are not
    among the `known` have none of their own, and are told by their work.
    """
    names, models = list(strategies), list(known)
    out = np.zeros((len(arms), len(columns(strategies, known))))
    for row, arm, step in zip(out, arms, steps, strict=True):
        found = setting(arm)
        if found.strategy in names:
            row[names.index(found.strategy)] = math.sqrt(0.5)
        for model in found.models:
            if model in known:
                row[len(names) + models.index(model)] = math.sqrt(0.5)
        row[len(names) + len(models) :] = (math.log2(_work(found, work)), step, *found.numbers)
    return out


def effort(arms: Sequence[str], work: Mapping[str, float]) -> Array:
    """Log of draws times work of the dearest model: what makes most of an arm's cost, [N]."""
    return np.array([math.log(_work(s, work)) + math.log(s.draws) for s in map(setting, arms)], dtype=float)


def _work(found: Setting, work: Mapping[str, float]) -> float:
    for model in found.models:
        if model not in work:
            raise InputError(f"model: expected one of {', '.join(work)}, found {model!r}")
    return max(work[model] for model in found.models)
