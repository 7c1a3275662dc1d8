"""One line of a pool in the common layout: what each key must hold, and in what form it is kept.

A line is the JSON object itself, `Row`: it keeps keys that are not known here, and costs nothing to make.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

Row = dict[str, Any]

_LEVEL: Final = re.compile(r"\s*(?:level\s*)?([+-]?[0-9]{1,9})\s*", re.IGNORECASE)
_MOST: Final = 2**53  # whole numbers above it are not exact in JSON


def shown(value: Any) -> str:
    """A value for a message, at most 60 characters long."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def clean(row: Row, lost: Counter[str]) -> bool:
    """Check a line, and bring its values into the form of the layout, in place.

    Identifiers and answers that are numbers become text. A number that is not finite is no number: it becomes null,
    and is counted in `lost` under its key.

    Returns
    -------
    bool
        Whether anything was changed.

    Raises
    ------
    ValueError
        What was expected and found under which key; the caller adds the place.

    Examples
    --------
    >>> row = {"prompt_id": 7, "model": "S", "extracted": 12, "score": float("nan")}
    >>> clean(row, Counter()), row
    (True, {'prompt_id': '7', 'model': 'S', 'extracted': '12', 'score': None})
    """
    changed = False
    for key, value in row.items():
        # Most values are fine at a glance; the others are looked at.
        if value is not None and type(value) is not _FINE.get(key) and (check := _CHECKS.get(key)) is not None:
            kept = check(key, value)
            if kept is not value:
                changed = True
                row[key] = kept
                if kept is None:
                    lost[key] += 1
    if not row.get("prompt_id") or not row.get("model"):
        missing = [key for key in ("prompt_id", "model") if not row.get(key)]
        raise ValueError(
            f"{' and '.join(missing)}: expected text, found nothing; every sample needs prompt_id and model, and one "
            f"of extracted, correct and output (found the keys {', '.join(map(str, row)) or 'none'}); logs of other "
            "layouts are brought into this one with: autotts pool import FILE --output POOL.jsonl"
        )
    if not ("extracted" in row or "correct" in row or "output" in row):
        raise ValueError(
            f"expected one of the keys extracted, correct and output, found {', '.join(row)}; without one of them "
            "nothing is known of the answer"
        )
    return changed


def _wrong(key: str, expected: str, value: Any) -> ValueError:
    return ValueError(f"{key}: expected {expected}, found {shown(value)}")


def _text(key: str, value: Any) -> str:
    if type(value) is str:
        return value
    raise _wrong(key, "text", value)


def _written(key: str, value: Any) -> str:
    """Text, or a number as text."""
    if type(value) is str:
        return value
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return str(value)
    raise _wrong(key, "text", value)


def _whole(value: Any) -> int | None:
    """A whole number, also where it is written as 3.0."""
    if type(value) is int:
        return value if abs(value) <= _MOST else None
    if type(value) is float and value.is_integer() and abs(value) <= _MOST:
        return int(value)
    return None


def _count(key: str, value: Any) -> int | None:
    if type(value) is int and 0 <= value <= _MOST:
        return value
    if type(value) is float and math.isnan(value):
        return None
    if (number := _whole(value)) is None or number < 0:
        raise _wrong(key, "a whole number, 0 or more", value)
    return number


def _step(key: str, value: Any) -> int | None:
    number = _count(key, value)
    if number == 0:
        raise _wrong(key, "a whole number of tokens above 0", value)
    return number


def _number(key: str, value: Any) -> float | None:
    if type(value) is float or type(value) is int:
        return value if math.isfinite(value) else None
    raise _wrong(key, "a number", value)


def _amount(key: str, value: Any) -> float | None:
    number = _number(key, value)
    if number is not None and number < 0:
        raise _wrong(key, "a number, 0 or more", value)
    return number


def _size(key: str, value: Any) -> float | None:
    number = _number(key, value)
    if number is not None and not 0 < number < 1e6:
        raise _wrong(key, "a positive number of billions of parameters, such as 4.02", value)
    return number


def _label(key: str, value: Any) -> bool | None:
    if value is True or value is False:
        return value
    if type(value) is float and math.isnan(value):
        return None
    if type(value) in (int, float) and value in (0, 1):
        return bool(value)
    raise _wrong(key, "true or false", value)


def _level(key: str, value: Any) -> int | None:
    if type(value) is float and math.isnan(value):
        return None
    if type(value) is str and (found := _LEVEL.fullmatch(value)):
        return int(found.group(1))
    if (number := _whole(value)) is None:
        raise _wrong(key, "a whole number", value)
    return number


def _numbers(key: str, value: Any) -> list[float | None]:
    if type(value) is not list:
        raise _wrong(key, "a list of numbers", value)
    if all(x is None or (type(x) in (float, int) and math.isfinite(x)) for x in value):
        return value
    return [None if x is None else _number(key, x) for x in value]


_READ: Final = {str, type(None)}


def _answers(key: str, value: Any) -> list[str | None]:
    if type(value) is not list:
        raise _wrong(key, "a list of answers", value)
    if set(map(type, value)) <= _READ:
        return value
    return [None if x is None else _written(key, x) for x in value]


# The common layout, in the order in which it is written.
_CHECKS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "dataset": _written,
    "prompt_id": _written,
    "prompt": _text,
    "answer": _written,
    "level": _level,
    "model": _text,
    "params_b": _size,
    "active_params_b": _size,
    "strategy": _text,
    "temperature": _amount,
    "top_p": _amount,
    "template": _written,
    "effort": _written,
    "sample_index": _count,
    "finish": _text,
    "output": _text,
    "extracted": _written,
    "correct": _label,
    "score": _number,
    "step_scores": _numbers,
    "prompt_tokens": _count,
    "completion_tokens": _count,
    "time_s": _amount,
    "probe_every": _step,
    "probes": _answers,
}
KEYS: Final = tuple(_CHECKS)
_FINE: Final = {key: str for key, check in _CHECKS.items() if check in (_text, _written)} | {"correct": bool}
