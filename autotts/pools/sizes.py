"""Parameter counts as they are given on the command line: MODEL=4.02e9."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from autotts.errors import InputError

LEAST: Final = 1000  # fewer parameters than any model has: a count in billions, given by mistake
MOST: Final = 1e15


def parse_sizes(texts: Sequence[str]) -> dict[str, float]:
    """Parameters by model or role, as plain counts.

    Examples
    --------
    >>> parse_sizes(["Qwen3-4B=4.02e9", "a=b=7e9"])
    {'Qwen3-4B': 4020000000.0, 'a=b': 7000000000.0}
    """
    out: dict[str, float] = {}
    for text in texts:
        name, _, count = text.rpartition("=")
        if not name.strip():
            raise InputError(f"--params: expected MODEL=COUNT, such as Qwen3-4B=4.02e9, found {text!r}")
        try:
            out[name.strip()] = checked_size(float(count), name)
        except ValueError:
            raise InputError(f"--params {name}: expected a number, such as 4.02e9, found {count!r}") from None
    return out


def checked_size(count: float, name: str) -> float:
    """A count that a model can have."""
    if not (math.isfinite(count) and LEAST <= count < MOST):
        raise InputError(f"parameters of {name!r}: expected a plain count, such as 4.02e9, found {count:g}")
    return count
