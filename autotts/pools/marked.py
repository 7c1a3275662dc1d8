"""Prompts that lines mark by a key of their own, such as `contaminated`: left out where that is asked for."""

from __future__ import annotations

from array import array
from collections.abc import Collection
from typing import Any, Final

import numpy as np

from autotts.errors import InputError
from autotts.pools.gather import Columns
from autotts.pools.lines import KEYS, Row, shown
from autotts.pools.notes import counted

_SAMPLES: Final = (
    "family",
    "problem",
    "index",
    "line",
    "answer",
    "correct",
    "tokens",
    "prompt_tokens",
    "score",
    "cut",
    "probes",
)


class Marks:
    """The prompts that are marked under some keys.

    Raises
    ------
    InputError
        A key is one of the layout: leaving prompts out by their answers would make every figure false.
    """

    def __init__(self, keys: Collection[str]) -> None:
        for key in keys:
            if key in KEYS:
                raise InputError(f"without: expected a key that is not of the layout of pools, found {key!r}")
        self._prompts: dict[str, set[int]] = {key: set() for key in keys}
        self._found: dict[str, None] = {}  # keys that are not of the layout

    def see(self, row: Row, prompt: int) -> None:
        """Look at a line of a prompt; a `ValueError` where it says neither true nor false."""
        self._found.update(dict.fromkeys(row))
        for key, prompts in self._prompts.items():
            value = row.get(key)
            if value not in (None, True, False):  # 0 and 1 are equal to them
                raise ValueError(f"{key}: expected true or false, found {shown(value)}")
            if value:
                prompts.add(prompt)

    def leave_out(self, columns: Columns) -> list[str]:
        """Take the marked prompts out of the columns; how many they were, in words."""
        for key in self._prompts:
            if key not in self._found:
                others = ", ".join(name for name in self._found if name not in KEYS) or "none"
                raise InputError(
                    f"without: expected a key that lines have beside those of the layout ({others}), found {key!r}"
                )
        marked = set().union(*self._prompts.values())
        if marked:
            _drop(columns, marked)
        return [f"{counted(len(found), 'prompt')} left out: {key} is true" for key, found in self._prompts.items()]


def _drop(columns: Columns, marked: set[int]) -> None:
    """The columns without some prompts, and without the families that then have no sample."""
    kept = np.ones(len(columns.asked), bool)
    kept[list(marked)] = False
    if not kept.any():
        raise InputError("without: expected prompts that are not marked, found none")
    sample = kept[np.frombuffer(columns.problem, np.int32)]
    probes = np.repeat(sample, np.frombuffer(columns.probes, np.int32))
    for name in _SAMPLES:
        setattr(columns, name, _where(getattr(columns, name), sample))
    columns.probe = _where(columns.probe, probes)
    columns.problem = _renumbered(columns.problem, kept)
    columns.asked = [asked for asked, keep in zip(columns.asked, kept, strict=True) if keep]
    families = np.bincount(np.frombuffer(columns.family, np.int32), minlength=len(columns.made)) > 0
    columns.family = _renumbered(columns.family, families)
    columns.made = [made for made, keep in zip(columns.made, families, strict=True) if keep]
    place = (np.cumsum(families) - 1).tolist()
    columns.every = {place[n]: every for n, every in columns.every.items() if families[n]}


def _where(column: array[Any], kept: Any) -> array[Any]:
    return array(column.typecode, np.array(column)[kept].tobytes())


def _renumbered(column: array[int], kept: Any) -> array[int]:
    return array("i", (np.cumsum(kept, dtype=np.int32) - 1).astype(np.int32)[np.array(column)].tobytes())
