"""Values and lists of names in messages: as long as a person reads, whatever a file holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

WIDEST: Final = 60  # characters of one value
LONGEST: Final = 300  # characters of one problem


def short(value: Any) -> str:
    """A value as it stands in a message."""
    shown = repr(value)
    return shown if len(shown) <= WIDEST else shown[: WIDEST - 3] + "..."


def listed(names: Iterable[str], most: int = 20) -> str:
    """Names with commas between them; of many only the first.

    Examples
    --------
    >>> listed(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    known = list(names)
    shown = ", ".join(name if len(name) <= WIDEST else name[: WIDEST - 3] + "..." for name in known[:most])
    return shown if len(known) <= most else f"{shown} and {len(known) - most:,} more"


def clipped(problem: str) -> str:
    """A problem of a bounded length."""
    return problem if len(problem) <= LONGEST else problem[: LONGEST - 3] + "..."
