"""How far a phase of a study is: runs done, of runs that are expected by now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Tally:
    """Counts one phase; a run is one arm, or one pool of draws, on one prompt. `changed` is called at every count."""

    phase: str = ""
    done: int = 0
    total: int = 0
    changed: Callable[[], None] = lambda: None

    def expect(self, count: int) -> None:
        """So many more runs are to come."""
        self.total += count
        self.changed()

    def tick(self, count: int = 1) -> None:
        """So many runs are done."""
        self.done += count
        self.changed()
