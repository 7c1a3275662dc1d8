"""The order of keys in a file, kept through reading and writing, also of keys that this version does not know."""

from __future__ import annotations

from typing import Any


class Order:
    """Puts the keys of plain data as they stood in the data that it was made of; equal to every other one.

    Examples
    --------
    >>> Order({"new": 1, "a": {"y": 2, "x": 3}}).of({"a": {"x": 3, "y": 2}, "b": 0, "new": 1})
    {'new': 1, 'a': {'y': 2, 'x': 3}, 'b': 0}
    """

    __slots__ = ("_like",)

    def __init__(self, like: Any = None) -> None:
        self._like = like

    def of(self, data: Any) -> Any:
        """The same data; keys that are new stand after those that they follow."""
        return _ordered(data, self._like)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Order)

    def __hash__(self) -> int:
        return 0


def _ordered(data: Any, like: Any) -> Any:
    if isinstance(data, dict) and isinstance(like, dict):
        return {key: _ordered(data[key], like.get(key)) for key in _keys(data, like)}
    if isinstance(data, list) and isinstance(like, list) and len(data) == len(like):
        return [_ordered(one, other) for one, other in zip(data, like, strict=True)]
    return data


def _keys(data: dict[str, Any], like: dict[str, Any]) -> list[str]:
    """Keys that both have as the second has them, each followed by those of the first that come after it there."""
    after: dict[str | None, list[str]] = {None: []}
    last: str | None = None
    for key in data:
        if key in like:
            last = key
            after[last] = []
        else:
            after[last].append(key)
    shared = [key for key in like if key in data]
    return after[None] + [each for key in shared for each in (key, *after[key])]
