"""Reading a judge's verdict: the last JSON object of the expected form that is not a quotation of what was judged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from autotts.worlds.scoring.asking import Unread

_LONGEST: Final = 20_000  # characters from the end in which a verdict is looked for


def verdict(said: str, key: str, tag: str, judged: Sequence[str]) -> Any:
    """What a judge said of `key`.

    An object with the tag counts: whoever wrote the judged texts did not know it. One without a tag counts only where
    no judged text mentions the key in quotes, since it may have been copied from there.

    Raises
    ------
    Unread
        When there is no such object.

    Examples
    --------
    >>> verdict('Well: {"tag": "a1", "score": 7}.', "score", "a1", ["an answer"])
    7
    """
    found = [one for one in _objects(said[-_LONGEST:]) if key in one]
    tagged = [one for one in found if one.get("tag") == tag]
    if tagged:
        return tagged[-1][key]
    quoted = any(f"{mark}{key}{mark}" in text for text in judged for mark in "\"'")
    if found and not quoted and all("tag" not in one for one in found):
        return found[-1][key]
    raise Unread(f"expected a JSON object with the tag and {key!r}, found {said[-60:]!r}")


def _objects(text: str) -> Iterator[Mapping[str, Any]]:
    """The JSON objects of a text that are in no other, in order."""
    decoder, at = json.JSONDecoder(), 0
    while (at := text.find("{", at)) >= 0:
        try:
            found, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at += 1
            continue
        at = end
        if isinstance(found, dict):
            yield found


def whole(found: Any, low: int, high: int) -> int:
    """A whole number within bounds, also where it came as text or with a zero after the point."""
    if isinstance(found, str) and found.strip().isascii() and found.strip().isdigit():
        found = int(found.strip()[:6])
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, int) or not low <= found <= high:
        raise Unread(f"expected a whole number from {low} to {high}, found {found!r:.40}")
    return found


def truths(found: Any, count: int) -> list[bool]:
    """So many truth values, also where they came as 0 and 1."""
    if not isinstance(found, list) or len(found) != count or not all(x in (0, 1) for x in found):
        raise Unread(f"expected {count} truth values, found {found!r:.40}")
    return [bool(x) for x in found]
