"""What a running study tells whoever watches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A study at one moment.

    `done` of `total` are runs (one arm on one prompt) of the phase; `spend` is in smallest parts of `unit`;
    `best` is the best (accuracy, mean cost in parts) found so far; `left` are the seconds expected to remain.
    """

    phase: str  # "search" | "complete" | "confirm"
    done: int
    total: int
    round: int
    rounds: int
    trials: int
    pruned: int
    free: int
    draws: int
    reused: int
    tokens: int
    spend: int
    unit: str
    best: tuple[float, float] | None
    elapsed: float
    left: float | None


Watcher: TypeAlias = Callable[[Snapshot], None]
