"""A finding of a check: what is amiss, where, which figures it spoils, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autotts.pools.recorded import SAMPLE, Bools, Ints
from autotts.pools.seen import REFUSED, Seen

# Figures that a finding may spoil, in the words in which they are shown.
ACCURACY: Final = "accuracy"
PASS: Final = "pass@k"
MAJORITY: Final = "majority"
BEST: Final = "best-of-N"
FIRST: Final = "first-finish"
COSTS: Final = "costs"
INTERVALS: Final = "intervals"
VALUES: Final = (ACCURACY, PASS, MAJORITY, BEST, FIRST)

SHOWN: Final = 3  # places, models or reasons that a finding names


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, and whose sample it is; None where that is not known."""

    file: str
    line: int
    prompt_id: str | None
    model: str | None
    sample_index: int | None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that people should know before they trust a figure.

    Attributes
    ----------
    grave
        Whether figures would be false; otherwise some figures cannot be had, or mean less.
    lines, problems
        How many it concerns.
    spoils
        The figures that would be false or cannot be had; empty where all remain.
    """

    kind: str
    grave: bool
    says: str
    lines: int
    problems: int
    places: tuple[Place, ...]
    spoils: tuple[str, ...]
    advice: str


class Table:
    """The columns of what was seen as arrays, [L], one entry for each line."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.marks: NDArray[np.int32] = np.frombuffer(seen.marks, np.int32)
        self.family: NDArray[np.int32] = np.frombuffer(seen.family, np.int32)
        self.problem: NDArray[np.int32] = np.frombuffer(seen.problem, np.int32)
        self.file: NDArray[np.int32] = np.frombuffer(seen.file, np.int32)
        self.index: Ints = np.frombuffer(seen.index, np.int64)
        self.whole: Ints = np.frombuffer(seen.whole, np.int64)
        self.answer: Ints = np.frombuffer(seen.answer, np.int64)
        self.text: Ints = np.frombuffer(seen.text, np.int64)
        self.length: Ints = np.frombuffer(seen.length, np.int64)
        self.tokens: Ints = np.frombuffer(seen.tokens, np.int64)
        self.probed: Ints = np.frombuffer(seen.probed, np.int64)
        self.label: NDArray[np.int8] = np.frombuffer(seen.label, np.int8)
        self.good: Bools = self.marks & REFUSED == 0

    @cached_property
    def readable(self) -> Bools:
        """Whether an answer can be read, [L]: marks for nothing cannot, unless a gold answer reads the same."""
        golds = {gold.lower() for gold in self.seen.golds if gold}
        nothing = [code for mark, codes in self.seen.unread.items() if mark not in golds for code in codes]
        return np.asarray((self.answer != 0) & ~np.isin(self.answer, nothing))

    @cached_property
    def independent(self) -> Bools:
        """Whether a line's family holds independent samples, [L]."""
        kinds = np.array([made.strategy == SAMPLE for made in self.seen.made] + [False])
        return np.asarray(kinds[self.family])  # a refused line has family -1

    @cached_property
    def counts(self) -> Ints:
        """Samples of each family and problem, [F, P]."""
        families, problems = len(self.seen.made), len(self.seen.ids)
        pairs = self.family[self.good].astype(np.int64) * problems + self.problem[self.good]
        return np.bincount(pairs, minlength=families * problems).reshape(families, problems)

    def has(self, mark: int) -> Bools:
        """The lines that bear a mark, [L]."""
        return np.asarray(self.marks & mark != 0)

    def model(self, family: int) -> str:
        return self.seen.made[family].model

    def place(self, row: int) -> Place:
        seen, problem, family, index = self.seen, self.problem[row], self.family[row], self.index[row]
        return Place(
            str(seen.files[self.file[row]]),
            int(seen.line[row]),
            None if problem < 0 else seen.ids[problem],
            None if family < 0 else seen.made[family].model,
            None if index < 0 else int(index),
        )

    def finding(
        self,
        kind: str,
        says: str,
        lines: Bools | Ints,
        *,
        spoils: Sequence[str],
        advice: str,
        grave: bool = False,
        first: Sequence[int] = (),
    ) -> list[Finding]:
        """One finding about some lines (a mask, or their numbers), or none where there are no lines.

        `first` are lines that show it best; without them the first ones are shown.
        """
        rows: Any = np.flatnonzero(lines) if lines.dtype == bool else lines
        if not len(rows):
            return []
        problems = np.unique(self.problem[rows])
        places = tuple(self.place(int(row)) for row in (first or rows)[:SHOWN])
        count = int((problems >= 0).sum())
        return [Finding(kind, grave, says, len(rows), count, places, tuple(spoils), advice)]


def named(names: Sequence[str], most: int = SHOWN) -> str:
    """A few of some different names, and how many more there are."""
    once = list(dict.fromkeys(names))
    return ", ".join(once[:most]) + (f" and {len(once) - most} more" if len(once) > most else "")


def many(count: int, what: str) -> str:
    """`1 sample`, `1,200 samples`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def share(value: float) -> str:
    """A share in percent: `2.5 %`."""
    return f"{100 * value:.1f} %"
