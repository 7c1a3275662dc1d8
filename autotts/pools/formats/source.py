"""A file to be read in some layout, and what its reader has to say besides the samples."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autotts.pools.lines import Row

# The place of each sample in its file, the sample, and its line where that is one of the common layout.
Placed = Iterator[tuple[str, Row, bytes | None]]

_LEVEL = re.compile(r"\s*(?:level\s*)?[+-]?[0-9]{1,9}\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Source:
    """A file, and what is known of it that does not stand in it.

    Attributes
    ----------
    model
        The model's name, where the file has none or another is wanted.
    metric
        Which of several metrics (or scorers) says whether a sample is right.
    told
        What was set aside or is not known, in words that a count follows.
    """

    path: Path
    model: str | None = None
    metric: str | None = None
    told: Counter[str] = field(default_factory=Counter)


def table(value: Any) -> dict[str, Any]:
    """A JSON object, or an empty one where there is something else."""
    return value if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    """A JSON array, or an empty one where there is something else."""
    return value if isinstance(value, list) else []


def text_of(content: Any) -> str | None:
    """The text of a message: itself, or the text parts of a list of parts."""
    if isinstance(content, str):
        return content
    parts = [part.get("text") for part in sequence(content) if isinstance(part, dict)]
    found = [part for part in parts if isinstance(part, str)]
    return "".join(found) if found else None


def question(messages: list[Any]) -> str | None:
    """What is asked in a conversation: the one user message, or all turns with their roles."""
    turns = [(str(table(m).get("role")), text_of(table(m).get("content")) or "") for m in messages]
    asked = [(role, text) for role, text in turns if role not in ("system", "developer")]
    if len(asked) == 1:
        return asked[0][1]
    return "\n".join(f"{role}: {text}" for role, text in asked) or None


def level_of(value: Any) -> Any:
    """A level such as 3 or "Level 3"; other things that go by that name are none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return value if isinstance(value, str) and _LEVEL.fullmatch(value) else None
