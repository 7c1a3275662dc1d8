"""What a finished study knows, as the one file that later studies begin from: `model.json` of a predictor.

It is data: reading it runs nothing, and a file that is too large, of a newer version or edited into nonsense is
refused. `search.distil` writes it, `search.memory` reads it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import Field, model_validator

from autotts.core.cost import PARTS
from autotts.errors import InputError
from autotts.policy.files import dumps, read_json, write_atomic
from autotts.predict.arms import LARGEST, ArmModel
from autotts.predict.descriptors import MOST, Described, Descriptors
from autotts.predict.reading import validated
from autotts.strategies.arms import parse, show
from autotts.strategies.one import One

VERSION: Final = 1
FORMAT: Final = f"autotts.predictor/{VERSION}"
BYTES: Final = 4 << 20  # of a file
ROWS: Final = 500  # examples of a file; time grows with their cube
PARTS_OF_KERNEL: Final = 50
TINIEST: Final = 1e-9  # noise of an example in a file

_FORMAT: Final = re.compile(r"autotts\.predictor/([0-9]{1,9})")


class Measured(Described):
    """An arm on a level's frontier, as the study measured it; cost in parts of the unit."""

    arm: str = Field(max_length=MOST)
    value: float = Field(ge=0, le=1)
    cost: float = Field(gt=0)


class Distilled(Described):
    """What was distilled from a study: the content of `model.json`.

    `levels` from the easiest; `work` is what a token of each model takes (active parameters); `frontier` has the arms
    of each level that no cheaper one equals, by ascending cost; `n` counts the arms that were measured, over levels.
    """

    format: str = FORMAT
    descriptors: Descriptors
    unit: str
    levels: list[str] = Field(min_length=1, max_length=MOST)
    work: dict[str, float]
    arms: ArmModel
    frontier: dict[str, list[Measured]] = Field(max_length=MOST)
    n: int = Field(ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> Distilled:
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> list[str]:
        wrong = []
        if self.unit not in PARTS:
            wrong.append(f"unit: expected one of {', '.join(PARTS)}, found {self.unit!r}")
        if self.levels != self.arms.levels or self.levels != self.descriptors.task.levels:
            wrong.append("levels: expected the same levels in descriptors, arms and levels")
        if self.work != self.arms.work or set(self.work) != set(self.descriptors.models):
            wrong.append("work: expected the same models in descriptors, arms and work")
        if set(self.frontier) - set(self.levels):
            wrong.append(f"frontier: expected some of the levels {', '.join(self.levels)}")
        for level, arms in self.frontier.items():
            for measured in arms[:MOST]:
                try:
                    parse(measured.arm)
                except InputError as error:
                    wrong.append(f"frontier.{level}: {error}")
        return wrong + _unsound(self.arms)

    @classmethod
    def load(cls, path: str | Path) -> Distilled:
        """Read a `model.json`; nothing in it is run.

        Raises
        ------
        InputError
            The file is not there, over 4 MB, of a newer version, not a predictor of this kind, or inconsistent.
        """
        return cls.read(content(Path(path)), str(path))

    @classmethod
    def read(cls, data: Any, where: str) -> Distilled:
        """From what a file holds; `where` names it in messages."""
        _check_format(data, where)
        arms = data.get("arms")
        if isinstance(arms, Mapping) and arms.get("prior") is not None:
            raise InputError(f"{where}: arms.prior: expected none: a predictor of version 1 stands by itself")
        found = validated(cls, data, where)
        _try(found, where)
        return found

    @cached_property
    def digest(self) -> str:
        """A short hash of all that it says: a study that begins from it depends on it."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the file; at every moment the old or the new one is there whole."""
        write_atomic(Path(path), dumps(self.model_dump(mode="json")) + "\n")


def content(path: Path) -> Any:
    """What a file of at most 4 MB holds, as JSON."""
    if path.is_file() and path.stat().st_size > BYTES:
        size = path.stat().st_size / (1 << 20)
        raise InputError(f"{path}: expected a predictor of at most {BYTES >> 20} MB, found {size:.1f} MB")
    return read_json(path, "predictor")


def claims(data: Any) -> bool:
    """Whether it says of itself that it is the memory of a study, of whatever version."""
    return isinstance(data, dict) and str(data.get("format", "")).startswith("autotts.predictor/")


def _check_format(data: Any, where: str) -> None:
    found = data.get("format") if isinstance(data, dict) else None
    version = _FORMAT.fullmatch(found) if isinstance(found, str) else None
    if version is None:
        raise InputError(f"{where}: format: expected {FORMAT!r}, found {found!r}; is this the memory of a study?")
    if int(version.group(1)) > VERSION:
        raise InputError(
            f"{where}: format: this predictor was written by a newer autotts ({found}; this one reads up to {FORMAT}): "
            "upgrade with pip install --upgrade autotts-optimizer"
        )
    if found != FORMAT:
        raise InputError(f"{where}: format: expected {FORMAT!r}, found {found!r}")


def _unsound(arms: ArmModel) -> list[str]:
    """What no study would have written, and would take for ever or overflow."""
    wrong = []
    if len(arms.inputs) > ROWS or len(arms.weights) > PARTS_OF_KERNEL or len(arms.strategies) > MOST:
        wrong.append(f"arms: expected up to {ROWS} examples and {PARTS_OF_KERNEL} parts of the kernel")
    for name, of in (("value", arms.value), ("cost", arms.cost)):
        numbers = (*of.targets, *of.noise, *of.amplitudes, of.offset, of.slope, of.inflation)
        if max(map(abs, numbers)) > LARGEST:
            wrong.append(f"arms.{name}: expected numbers up to {LARGEST:g}")
        if min(of.noise, default=1.0) < TINIEST:
            wrong.append(f"arms.{name}: expected noises of at least {TINIEST:g}")
    return wrong


def _try(found: Distilled, where: str) -> None:
    """Ask it once, so that equations that cannot be solved are told here."""
    greedy = show(One(model=next(iter(found.work)), temperature=0.0))
    try:
        with np.errstate(all="ignore"):
            told = found.arms.forecast([greedy], found.levels[-1])
    except np.linalg.LinAlgError as error:
        raise InputError(f"{where}: arms: cannot be computed with: {error}") from None
    if not all(np.isfinite(v).all() for v in (told.value, told.sd, told.cost, told.cost_sd)):
        raise InputError(f"{where}: arms: expected what gives finite forecasts")
