"""Memory across studies: which past studies are near a new one, what they foretell, and where it begins.

After meta-learning for the choice of accelerations (MetaInf, 2410.21340): past studies are told by descriptors of
task, models and machine, and the nearest one gives first trials and a prior. To what it foretells a variance is added
that grows with its distance, until at the distance `FAR` it is as wide as knowing nothing.
"""

from __future__ import annotations

import importlib.resources
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autotts.errors import InputError
from autotts.policy.allocation import Point, envelope
from autotts.predict.arms import TRANSFER, WIDE, WIDE_COST, ArmModel, effort
from autotts.predict.descriptors import Descriptors, alike, distance
from autotts.search.distilled import Distilled, claims, content
from autotts.search.space import Space
from autotts.strategies.arms import show
from autotts.strategies.one import One

Array = NDArray[np.float64]

FAR: Final = WIDE / TRANSFER  # from here on, what a memory foretells is as wide as knowing nothing
FEW: Final = 4  # arms of a level that a memory begins with, beside a greedy draw of each model
NORMAL: Final = 1.96  # standard deviations that hold 95 %

_NODES, _MASS = np.polynomial.hermite_e.hermegauss(15)


@dataclass(frozen=True, slots=True)
class Remembered:
    """A past study, seen from a new one.

    `words` say why it is as far as it is; `known` maps models of the new study to their names in the past one.
    """

    name: str
    distilled: Distilled
    distance: float
    words: tuple[str, ...]
    known: Mapping[str, str]

    @property
    def near(self) -> bool:
        """Whether it tells anything of the new study."""
        return self.distance < FAR

    @property
    def identical(self) -> bool:
        """Whether it is of the same task and the same models, by the same names."""
        return self.distance == 0 and all(here == there for here, there in self.known.items())


@dataclass(frozen=True, slots=True)
class Recalled:
    """Past studies, nearest first, and what was left out and why."""

    studies: tuple[Remembered, ...]
    notes: tuple[str, ...] = ()


def shelves(*more: Path) -> list[Path]:
    """The folders of predictors: the one that comes with autotts, then others that exist."""
    packaged = Path(str(importlib.resources.files("autotts.predictors")))
    found = {path.resolve(): path for path in (packaged, *more) if path.is_dir()}
    return list(found.values())


def nearest(of: Descriptors, shelves: Sequence[Path], unit: str = "flops") -> Recalled:
    """Past studies by their distance from a new one.

    Parameters
    ----------
    shelves
        Folders that hold predictors, each in a folder of its own with a `model.json`.
    unit
        What the new study counts in. Studies that count in another are left out, as are files that cannot be read:
        a bad file must not stop a study, so notes tell of it.
    """
    found, notes = [], []
    for shelf in shelves:
        for path in sorted(shelf.glob("*/model.json")):
            try:
                data = content(path)
                if not claims(data):
                    continue  # the shelf has predictors of other kinds too
                past = Distilled.read(data, str(path))
            except InputError as error:
                notes.append(f"left out: {error}")
                continue
            if past.unit != unit:
                notes.append(f"left out: {path.parent.name} counts in {past.unit}, not in {unit}")
                continue
            apart = distance(of, past.descriptors, unit)
            known = alike(of.models, past.descriptors.models)
            found.append(Remembered(path.parent.name, past, apart.value, apart.words, known))
    found.sort(key=lambda r: (r.distance, r.name))
    return Recalled(tuple(found), tuple(notes))


# ------------------------------------------------------------ what a past study foretells


@dataclass(frozen=True, slots=True, eq=False)
class Foretold:
    """Arms at a level, each [N]: expected accuracy and median cost, with 95 % intervals."""

    arms: tuple[str, ...]
    value: Array
    low: Array
    high: Array
    cost: Array
    cost_low: Array
    cost_high: Array

    @property
    def points(self) -> list[Point]:
        """The arms as points of an allocation."""
        return [Point(a, v, c) for a, v, c in zip(self.arms, self.value.tolist(), self.cost.tolist(), strict=True)]


def foretell(
    past: Remembered, arms: Sequence[str], levels: Sequence[str], work: Mapping[str, float]
) -> dict[str, Foretold]:
    """What arms will do at each level of a new study, as a past one tells; the variance grows with the distance."""
    model = seen_from(past, levels)
    shift = math.sqrt(min(past.distance / FAR, 1.0))
    cost_effort = effort(arms, work)
    out = {}
    for i, level in enumerate(levels):
        odds, spread, unit, unit_spread = model.latent(arms, level, i / max(1, len(levels) - 1), work)
        sd = np.sqrt(spread + (WIDE * shift) ** 2)
        cost, cost_sd = unit + cost_effort, np.sqrt(unit_spread + (WIDE_COST * shift) ** 2)
        table = _share(odds[:, None] + sd[:, None] * _NODES)
        out[level] = Foretold(
            tuple(arms),
            table @ (_MASS / _MASS.sum()),
            _share(odds - NORMAL * sd),
            _share(odds + NORMAL * sd),
            *(np.exp(np.clip(cost + z * cost_sd, -700, 700)) for z in (0.0, -NORMAL, NORMAL)),
        )
    return out


def _share(odds: Array) -> Array:
    out: Array = 1 / (1 + np.exp(-np.clip(odds, -60, 60)))
    return out


def seen_from(past: Remembered, levels: Sequence[str]) -> ArmModel:
    """What the past study learned of arms, in the new study's names.

    Models that are not the same get names that the new study does not have, so that one of the same name is told by
    its size; levels of other names go by rank, and a single level is the one in the middle of the past traffic.
    """
    arms = past.distilled.arms
    here = {there: name for name, there in reversed([*past.known.items()])}
    work = {here.get(name, f"{name} of {past.name}"): w for name, w in arms.work.items()}
    names = [f"{name} of {past.name}" for name in arms.levels]
    if len(levels) == len(arms.levels):
        names = list(levels)
    elif len(levels) == 1:
        shares = np.cumsum(past.distilled.descriptors.task.shares)
        names[min(int(np.searchsorted(shares, 0.5)), len(names) - 1)] = levels[0]
    return arms.model_copy(update={"work": work, "levels": names})


# ------------------------------------------------------------ where a new study begins


@dataclass(frozen=True, slots=True)
class Start:
    """Where a study begins: a prior for its arm model, the first arms of each level, and why, in words.

    Without a memory that is near, `prior` is None and `arms` is empty. `source` names the past study and the hash of
    its content, such as `embedded-math@2f6d...`: the new one's result depends on it.
    """

    prior: ArmModel | None
    arms: Mapping[str, tuple[str, ...]]
    words: str
    source: str = ""


def start(recalled: Recalled, space: Space, work: Mapping[str, float], levels: Sequence[str]) -> Start:
    """Where a new study begins, from the nearest past one.

    Parameters
    ----------
    space
        What the new study may try.
    work
        What a token of each of its models takes: active parameters.
    levels
        Its levels, from the easiest.
    """
    if not recalled.studies:
        return Start(None, {}, "No past study is remembered: the study begins as designed.")
    past = recalled.studies[0]
    why = "; ".join(past.words)
    if not past.near:
        return Start(
            None, {}, f"The nearest past study, {past.name}, is too far ({why}): the study begins as designed."
        )
    texts = [show(arm) for arm in space.arms]
    told = foretell(past, texts, levels, work)
    first = {level: _first(past, told[level], level, space) for level in levels}
    words = f"The study begins from {past.name}, at a distance of {past.distance:.2g} of {FAR:.2g} ({why})."
    return Start(seen_from(past, levels), first, words, f"{past.name}@{past.distilled.digest}")


def _first(past: Remembered, told: Foretold, level: str, space: Space) -> tuple[str, ...]:
    """Few arms, cheap first: the past study's own frontier where it is the same, else what it foretells."""
    at = {arm: i for i, arm in enumerate(told.arms)}
    own = [m.arm for m in past.distilled.frontier.get(level, []) if m.arm in at] if past.identical else []
    taken = few(own or [p.arm for p in envelope(told.points)], FEW) + [a for a in greedy(space) if a in at]
    return tuple(sorted(dict.fromkeys(taken), key=lambda arm: (told.cost[at[arm]], arm)))


def few(arms: Sequence[str], count: int) -> list[str]:
    """At most so many, evenly taken, the first and the last among them."""
    if len(arms) <= count:
        return list(arms)
    return [arms[round(i)] for i in np.linspace(0, len(arms) - 1, count)]


def greedy(space: Space) -> list[str]:
    """One greedy draw of each model."""
    return [show(One(model=model, temperature=0.0)) for model in space.models] if "one" in space.strategies else []
