"""Whether a pool can be trusted: everything that is amiss with it, and which figures that spoils."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autotts.errors import InputError
from autotts.pools.doubts import doubts
from autotts.pools.findings import Finding, Table
from autotts.pools.gaps import gaps
from autotts.pools.misplaced import misplaced
from autotts.pools.repeats import repeats
from autotts.pools.seen import watch


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check looked at and found: grave findings first."""

    files: tuple[str, ...]
    lines: int
    problems: int
    models: int
    findings: tuple[Finding, ...]

    def json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)


def check(paths: Sequence[str | Path]) -> Checked:
    """Look for everything that would make figures of a pool in the common layout false, or that they cannot have.

    The files are read as a stream; a few numbers are kept of each line, no text.

    Raises
    ------
    InputError
        A file cannot be read, holds no line, or a line that is no JSON object.
    """
    files = [Path(path) for path in paths]
    seen = watch(files)
    table = Table(seen)
    if not len(table.marks):
        raise InputError(f"{', '.join(map(str, files))}: expected recorded samples, found none: the file is empty")
    found = doubts(table)
    if table.good.any():  # labels may contradict answers because samples are misplaced: that comes first
        found = [*misplaced(table), *found, *repeats(table), *gaps(table)]
    ranked = sorted(found, key=lambda finding: not finding.grave)
    models = len({made.model for made in seen.made})
    return Checked(tuple(map(str, files)), len(table.marks), len(seen.ids), models, tuple(ranked))
