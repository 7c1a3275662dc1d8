"""What a study was of: its task, its models and the machine, as plain JSON, and how far two of them lie apart.

Distances are in steps that can be told in words. A task is 0 from itself; another one is at least `OTHER` away, by
how many standard deviations its prompts' surface features lie apart. A model is told by its parameters. The machine
matters only where costs are seconds.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from autotts.core.cost import ModelCard
from autotts.core.task import Task
from autotts.errors import InputError
from autotts.predict.features import FEATURES, FEATURES_VERSION, features

DESCRIPTORS_VERSION: Final = 1
SAMPLE: Final = 64  # prompts a level that describe a task
DIGITS: Final = 6  # of a feature after the point
SEED: Final = 97  # of their choice: the same for all, so that the same task has the same description
MOST: Final = 1000  # entries of a list or a table in a file

OTHER: Final = 0.25  # the least distance between two tasks, and between two models
READ: Final = 0.5  # what is added where answers are read or graded in another way
DOUBLING: Final = 0.5  # of a model for each factor of two in parameters
UNKNOWN: Final = 2.0  # of a model whose parameters are not known
CLIP: Final = 10.0  # standard deviations that one feature counts at most
SPREAD: Final = 0.05  # the least standard deviation of a feature
MACHINE: Final = 1.0  # of another machine, where costs are seconds
SCALE: Final = 1e9  # of a feature in a file


class Described(BaseModel):
    """A JSON object of a file: typed, finite, and with room for keys of later versions."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True, strict=True)


class TaskTraits(Described):
    """A task: how it is read and graded, its levels with their shares, its prompts' surface features.

    `prompts` is a hash of the `n` prompts that were looked at; `mean` and `spread` (standard deviation) have a number
    for each of `features`, over the traffic.
    """

    name: str
    reader: str
    grader: str
    levels: list[str] = Field(min_length=1, max_length=MOST)
    shares: list[float]
    prompts: str
    version: int = FEATURES_VERSION
    features: list[str] = Field(max_length=MOST)
    mean: list[float]
    spread: list[float]
    n: int = Field(gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> TaskTraits:
        if len(set(self.levels)) != len(self.levels) or len(self.shares) != len(self.levels):
            raise ValueError(f"expected {len(self.levels)} different levels with a share each")
        if min(self.shares) < 0 or abs(math.fsum(self.shares) - 1) > 1e-6:
            raise ValueError("shares: expected shares that sum to 1")
        if not len(self.features) == len(self.mean) == len(self.spread):
            raise ValueError("mean, spread: expected a number for each feature")
        if max(map(abs, (*self.mean, *self.spread)), default=0) > SCALE or min(self.spread, default=0) < 0:
            raise ValueError(f"mean, spread: expected numbers up to {SCALE:g}, and no spread below 0")
        return self


class ModelTraits(Described):
    """A model: its revision, its size, and the share of right answers of one greedy draw by level where measured."""

    revision: str
    parameters: float | None = Field(default=None, gt=0, le=1e15)
    active: float | None = Field(default=None, gt=0, le=1e15)
    layers: int | None = Field(default=None, gt=0, le=100_000)
    accuracy: dict[str, float] = Field(default={}, max_length=MOST)

    @property
    def work(self) -> float | None:
        """Parameters that a token passes through."""
        return self.active or self.parameters


class Machine(Described):
    """Where draws were made."""

    system: str
    cores: int
    gpu: str | None = None


class Descriptors(Described):
    """What a study was of."""

    version: int = DESCRIPTORS_VERSION
    task: TaskTraits
    models: dict[str, ModelTraits] = Field(min_length=1, max_length=MOST)
    machine: Machine

    @model_validator(mode="after")
    def _known(self) -> Descriptors:
        if self.version != DESCRIPTORS_VERSION:
            raise ValueError(f"version: expected descriptors of version {DESCRIPTORS_VERSION}, found {self.version}")
        return self


# ------------------------------------------------------------ describing


def describe_task(task: Task) -> TaskTraits:
    """Describe a task by the first prompts of its search stream; no model is asked."""
    total = math.fsum(task.mix.values())
    shares = {str(level): task.mix[level] / total for level in sorted(task.mix)} or {"all": 1.0}
    levels: list[int | None] = [*sorted(task.mix)] or [None]
    parts = [[p.prompt for p in task.source("search", level, SAMPLE, SEED)] for level in levels]
    rows = np.array([features(prompt) for part in parts for prompt in part])
    weight = np.array([share / len(part) for share, part in zip(shares.values(), parts, strict=True) for _ in part])
    mean = weight @ rows
    return TaskTraits(
        name=task.name,
        reader=task.reader,
        grader=task.grader,
        levels=list(shares),
        shares=list(shares.values()),
        prompts=hashlib.blake2b("\n".join(p for part in parts for p in part).encode(), digest_size=8).hexdigest(),
        features=list(FEATURES),
        mean=mean.round(DIGITS).tolist(),
        spread=np.sqrt(weight @ (rows - mean) ** 2).round(DIGITS).tolist(),
        n=len(rows),
    )


def describe_model(card: ModelCard, accuracy: Mapping[str, float] | None = None) -> ModelTraits:
    """Describe a model by its card, and what was measured of it."""
    return ModelTraits(
        revision=card.revision,
        parameters=card.parameters,
        active=card.active_parameters,
        layers=card.layers,
        accuracy=dict(accuracy or {}),
    )


def this_machine() -> Machine:
    """The machine that this runs on; a GPU is named where the NVIDIA driver tells of one."""
    gpu = None
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        try:
            lines = path.read_text(errors="replace").splitlines()
        except OSError:
            continue
        named = (line.partition(":")[2].strip() for line in lines if line.startswith("Model:"))
        gpu = gpu or next(named, None)
    return Machine(system=platform.system(), cores=os.cpu_count() or 1, gpu=gpu)


def work_of(models: Mapping[str, ModelTraits]) -> dict[str, float]:
    """What a token of each model takes: its active parameters.

    Raises
    ------
    InputError
        A model of unknown size.
    """
    for name, traits in models.items():
        if traits.work is None:
            raise InputError(f"model {name!r}: expected its parameters, found none: add them to its card")
    return {name: float(traits.work or 1) for name, traits in models.items()}


# ------------------------------------------------------------ how far apart


@dataclass(frozen=True, slots=True)
class Distance:
    """How far a study lies from what is asked for, and why, in words."""

    value: float
    words: tuple[str, ...]


def distance(of: Descriptors, past: Descriptors, unit: str = "flops") -> Distance:
    """How far a past study lies from what is asked for: 0 for the same task and models.

    Parameters
    ----------
    unit
        What costs are counted in; only of seconds does the machine matter.
    """
    parts = [_tasks(of.task, past.task), _models(of.models, past.models)]
    if unit == "s":
        parts.append(_machines(of.machine, past.machine))
    return Distance(math.fsum(p.value for p in parts), tuple(word for p in parts for word in p.words))


def same_task(a: TaskTraits, b: TaskTraits) -> bool:
    """Whether two tasks are one: the same prompts, levels, reader and grader; names may differ."""
    return (a.prompts, a.levels, a.reader, a.grader) == (b.prompts, b.levels, b.reader, b.grader)


def _tasks(of: TaskTraits, past: TaskTraits) -> Distance:
    if same_task(of, past):
        return Distance(0.0, (f"the same task, {past.name}",))
    words = []
    if (of.version, of.features) != (past.version, past.features):
        value = CLIP
        words.append(f"another task, {past.name}, described by other features than those of this version")
    else:
        apart = _apart(of, past)
        value = max(OTHER, apart)
        words.append(f"another task, {past.name}: its prompts look {apart:.2g} standard deviations different")
    if (of.reader, of.grader) != (past.reader, past.grader):
        value += READ
        words.append(f"answers there are read and graded as {past.reader}, here as {of.reader}")
    return Distance(value, tuple(words))


def _apart(a: TaskTraits, b: TaskTraits) -> float:
    """Root mean square, over the features that vary in either or differ, of the distance of the means."""
    mean, spread = np.array([a.mean, b.mean]), np.array([a.spread, b.spread])
    pooled = np.maximum(np.sqrt((spread**2).mean(axis=0)), SPREAD)
    off = np.minimum(np.abs(mean[0] - mean[1]) / pooled, CLIP)
    used = (spread.max(axis=0) > 0) | (off > 0)
    return float(np.sqrt((off[used] ** 2).mean())) if used.any() else 0.0


def alike(of: Mapping[str, ModelTraits], past: Mapping[str, ModelTraits]) -> dict[str, str]:
    """Which models are known from the past study: name here -> name there, by their revisions."""
    by_revision = {traits.revision: name for name, traits in past.items()}
    return {name: by_revision[t.revision] for name, t in of.items() if t.revision in by_revision}


def _models(of: Mapping[str, ModelTraits], past: Mapping[str, ModelTraits]) -> Distance:
    """The mean over the models that are asked for of how far the nearest one is."""
    known = alike(of, past)
    words, total = [], 0.0
    for name, traits in of.items():
        if name in known:
            continue
        found = nearest_size(traits, past)
        if found is None:
            total += UNKNOWN
            words.append(f"model {name} is not known there, and its size or theirs is not known")
            continue
        total += OTHER + DOUBLING * found[1]
        words.append(f"model {name} is not known there; the nearest, {found[0]}, is {found[1]:.2g} doublings away")
    if known:
        words.insert(0, f"the same model{'s' if len(known) > 1 else ''} {', '.join(known)}")
    return Distance(total / len(of), tuple(words))


def nearest_size(of: ModelTraits, past: Mapping[str, ModelTraits]) -> tuple[str, float] | None:
    """The model of the nearest size, and how many doublings away it is; None where sizes are unknown."""
    if of.work is None:
        return None
    sizes = [(abs(math.log2(of.work / t.work)), name) for name, t in past.items() if t.work is not None]
    return (min(sizes)[1], min(sizes)[0]) if sizes else None


def _machines(of: Machine, past: Machine) -> Distance:
    if of == past:
        return Distance(0.0, ("the same kind of machine",))
    gpus: Sequence[str] = [m.gpu or "no GPU" for m in (past, of)]
    return Distance(
        MACHINE, (f"another machine: {past.cores} cores and {gpus[0]} there, {of.cores} cores and {gpus[1]} here",)
    )
