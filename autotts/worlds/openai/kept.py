"""What is remembered of the last prompts, within bounds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

MOST: Final = 4096
_WEIGHT: Final = 1 << 22  # of all together


class Kept(Generic[T]):
    """Values by name; the oldest go first.

    Examples
    --------
    >>> kept = Kept[str](most=2)
    >>> for name in "abc":
    ...     kept.keep(name, name.upper())
    >>> kept.get("a"), kept.get("c")
    (None, 'C')
    """

    def __init__(self, most: int = MOST, weight: int = _WEIGHT) -> None:
        self._most = most
        self._weight = weight
        self._held = 0
        self._values: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()

    def get(self, name: Hashable) -> T | None:
        """The value of a name."""
        found = self._values.get(name)
        return None if found is None else found[0]

    def keep(self, name: Hashable, value: T, weight: int = 0) -> None:
        """Remember a value that weighs so much."""
        self._held += weight - self._values.pop(name, (value, 0))[1]
        self._values[name] = value, weight
        while len(self._values) > self._most or self._held > self._weight:
            _, (_, gone) = self._values.popitem(last=False)
            self._held -= gone
