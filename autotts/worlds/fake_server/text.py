"""The tokens of the fake models: a word, the blanks before it and the newlines after it.

A text of words has as many tokens as `\\s*\\S+` finds in it. Newlines belong to the word before them, so that a step's
delimiter ends a token, as in the tokenizers of real models.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final

_PIECE: Final = re.compile(r"\s*\S+\n*|\s+")


def pieces(text: str) -> list[str]:
    """Cut a text into its tokens; joined, they are the text.

    >>> pieces("First, 1 + 2.\\n\\nThen")
    ['First,', ' 1', ' +', ' 2.\\n\\n', 'Then']
    """
    return _PIECE.findall(text)


@lru_cache(maxsize=1 << 16)
def token_id(piece: str) -> int:
    """The id of a token: a hash of it, so that it is the same on every server."""
    return int.from_bytes(blake2b(piece.encode("utf-8", "replace"), digest_size=4).digest(), "big") >> 1


class Vocabulary:
    """The tokens that a server has seen, by id; it reads no others."""

    def __init__(self) -> None:
        self._pieces: dict[int, str] = {}

    def ids(self, tokens: Iterable[str]) -> list[int]:
        """The ids of tokens, which are known from now on."""
        found = []
        for piece in tokens:
            one = token_id(piece)
            self._pieces[one] = piece
            found.append(one)
        return found

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The tokens of ids; a `KeyError` with the first that was never seen."""
        return [self._pieces[one] for one in ids]
