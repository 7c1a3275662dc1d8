"""A table of a TOML file that is read strictly: each key once, of its type; what is left over is an error."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotts.errors import InputError

_SHOWN = 60  # characters of a value in a message


@dataclass(frozen=True, slots=True)
class Table:
    """A table, and where it stands: the file, and the keys that lead to it."""

    file: str
    place: str
    data: Mapping[str, Any]

    def wrong(self, key: str, expected: str, found: str | None = None) -> InputError:
        """The error of a key: file, table, key, expected, found. `found` shows the value if not given."""
        shown = _shown(self.data.get(key)) if found is None else found
        return InputError(f"{self.file}: {self.place}.{key}: expected {expected}, found {shown}")

    def only(self, keys: Sequence[str], hint: str = "") -> None:
        """See that the table has no other keys; their values are never shown, since they might be secrets."""
        for key in self.data:
            if key not in keys:
                near = difflib.get_close_matches(key, keys, n=1)
                known = f"; did you mean {near[0]!r}?" if near else f" (the keys are {', '.join(sorted(keys))})"
                raise InputError(f"{self.file}: {self.place}: expected known keys only, found {key!r}{known}{hint}")

    def text(self, key: str, default: str = "", *, empty: bool = False) -> str:
        """A text; not an empty one unless `empty`."""
        value = self.data.get(key, default)
        if not isinstance(value, str):
            raise self.wrong(key, "a text")
        if key in self.data and not value.strip() and not empty:
            raise self.wrong(key, "a text that is not empty")
        return value

    def choice(self, key: str, among: Sequence[str], default: str) -> str:
        """One of some texts."""
        value = self.data.get(key, default)
        if value not in among:
            raise self.wrong(key, f"one of {', '.join(among)}")
        return str(value)

    def flag(self, key: str) -> bool | None:
        """True or false, or None where it is not said."""
        value = self.data.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def number(self, key: str, *, above: float | None = None) -> float | None:
        """A number of at least 0, or above another one; None where it is not said."""
        value = self.data.get(key)
        if value is None:
            return None
        least = "at least 0" if above is None else f"above {above:g}"
        plain = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not plain or value < 0 or (above is not None and value <= above):
            raise self.wrong(key, f"a number {'of ' if above is None else ''}{least}")
        return float(value)

    def whole(self, key: str, *, least: int = 1, example: str = "") -> int | None:
        """A whole number of at least `least`, also if written as 4e9; None where it is not said."""
        value = self.data.get(key)
        if value is None:
            return None
        plain = isinstance(value, int) and not isinstance(value, bool)
        if isinstance(value, float) and math.isfinite(value) and value == int(value):
            value, plain = int(value), True
        if not plain or value < least:
            raise self.wrong(key, f"a whole number of at least {least}{f', such as {example}' if example else ''}")
        return int(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, none of them empty."""
        value = self.data.get(key, ())
        if not isinstance(value, list | tuple) or not all(isinstance(x, str) and x for x in value):
            raise self.wrong(key, "a list of texts that are not empty")
        return tuple(value)

    def table(self, key: str) -> Table:
        """The table under a key, an empty one where there is none."""
        value = self.data.get(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, "a table")
        return Table(self.file, f"{self.place}.{key}", value)


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, Mapping):
        return "a table"
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
