"""What a model has already read: the caches of prefixes, kept so that each is computed once.

A kept prefix is the same bits as one computed again (every token is one row of one step), so whether it is kept is
never visible in a result. While a row computes a prefix that others want too, the others wait for it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Waiting = TypeVar("Waiting")


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """The state after reading some tokens.

    Attributes
    ----------
    cache : float32 [2 * layers, tokens, head_dim]
    logits : float32 [writable], for the next token
    logprobs : float64 [tokens], of the tokens themselves (0 for the first)
    """

    cache: NDArray[np.float32]
    logits: NDArray[np.float32]
    logprobs: NDArray[np.float64]


class Prefixes(Generic[Waiting]):
    """The prefixes of one model, the least recently used forgotten first. Not locked: its engine is."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[bytes, Prefix] = OrderedDict()
        self._computing: dict[bytes, list[Waiting]] = {}

    def __contains__(self, tokens: bytes) -> bool:
        return tokens in self._kept

    def longest(self, tokens: bytes) -> Prefix | None:
        """The longest kept prefix of some tokens."""
        for length in range(len(tokens), 0, -1):
            found = self._kept.get(tokens[:length])
            if found is not None:
                self._kept.move_to_end(tokens[:length])
                return found
        return None

    def claim(self, tokens: bytes) -> bool:
        """Say that a row is about to compute a prefix; False if it is kept, or another row does so already."""
        if tokens in self._kept or tokens in self._computing:
            return False
        self._computing[tokens] = []
        return True

    def wait(self, tokens: bytes, waiting: Waiting) -> bool:
        """Wait for a prefix that a row is computing; False if none is."""
        queue = self._computing.get(tokens)
        if queue is None:
            return False
        queue.append(waiting)
        return True

    def release(self, tokens: bytes) -> list[Waiting]:
        """Give a claim back, fulfilled or not: who waited for it."""
        return self._computing.pop(tokens, [])

    def waiting(self) -> list[Waiting]:
        """Forget all claims: who waited for any of them."""
        left = [waiting for queue in self._computing.values() for waiting in queue]
        self._computing.clear()
        return left

    def keep(self, tokens: bytes, prefix: Prefix) -> None:
        """Keep a computed prefix."""
        if tokens in self._kept:
            return
        self._kept[tokens] = prefix
        self._bytes += prefix.cache.nbytes
        while self._bytes > self._most_bytes:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= dropped.cache.nbytes
