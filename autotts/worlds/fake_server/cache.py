"""A prefix cache in blocks, as that of vLLM: what of a prompt was seen before, in whole blocks from its beginning."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence


class PrefixCache:
    """The blocks that were seen, the latest `most` of them.

    Parameters
    ----------
    block
        Tokens of a block; 0 caches nothing.
    """

    def __init__(self, block: int, most: int = 100_000) -> None:
        self.block = block
        self._most = most
        self._seen: OrderedDict[int, None] = OrderedDict()

    def read(self, model: str, tokens: Sequence[str]) -> int:
        """How many tokens of a prompt are cached, and keep the prompt; its last token never is."""
        if not self.block:
            return 0
        hit, running = 0, True
        for at, key in self._blocks(model, tokens):
            running = running and key in self._seen and at < len(tokens)
            hit = at if running else hit
            self._put(key)
        return hit

    def keep(self, model: str, tokens: Sequence[str]) -> None:
        """Keep a prompt with what was generated after it."""
        if self.block:
            for _, key in self._blocks(model, tokens):
                self._put(key)

    def clear(self) -> None:
        """Forget everything."""
        self._seen.clear()

    def _blocks(self, model: str, tokens: Sequence[str]) -> list[tuple[int, int]]:
        """Each whole block's end and its key, which depends on all before it."""
        key, found = hash(model), []
        for end in range(self.block, len(tokens) + 1, self.block):
            key = hash((key, *tokens[end - self.block : end]))
            found.append((end, key))
        return found

    def _put(self, key: int) -> None:
        self._seen[key] = None
        self._seen.move_to_end(key)
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
