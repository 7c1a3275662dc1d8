"""Chunks of one stream differ in their text and a few counts only: such a one is read without parsing its JSON.

Parsing costs several times more, and a client at full load has thousands of chunks a second.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_USAGE: Final = b'"usage":'
_ESCAPED: Final = re.compile(r'["\\\x00-\x1f]')  # what JSON writes in another way
_NUMBER: Final = re.compile(rb"\d+")
_MADE: Final = re.compile(rb'"completion_tokens":\s*#')


class Alike:
    """The shape of a chunk with one text and a running usage."""

    __slots__ = ("_at", "_group", "_head", "_tail")

    def __init__(self, head: bytes, tail: re.Pattern[bytes], group: int) -> None:
        self._head = head
        self._at = len(head)
        self._tail = tail
        self._group = group

    @staticmethod
    def of(payload: bytes, text: str) -> Alike | None:
        """The shape of a chunk whose only text is this one; None where it cannot be told."""
        quoted = b'"%b"' % text.encode("utf-8", "replace")
        at = payload.find(quoted) + 1
        end = at + len(quoted) - 2
        if at <= 0 or _ESCAPED.search(text) or payload.find(quoted, at) >= 0:
            return None  # another of the same text: which one is it?
        shape = _shape(payload[end:])
        return None if shape is None else Alike(payload[:at], *shape)

    def read(self, payload: bytes) -> tuple[str, int] | None:
        """The text of a chunk of this shape and the tokens that it says were made; None of any other chunk."""
        if not payload.startswith(self._head):
            return None
        end = payload.find(b'"', self._at)
        text = payload[self._at : end]
        if end < 0 or b"\\" in text:
            return None
        found = self._tail.fullmatch(payload, end)
        if found is None:
            return None
        try:
            return text.decode(), int(found[self._group])
        except UnicodeDecodeError:
            return None


def _shape(tail: bytes) -> tuple[re.Pattern[bytes], int] | None:
    """What follows a text, with any numbers in the usage; and which of them are the tokens made."""
    at = tail.find(_USAGE)
    return None if at < 0 or b"#" in tail else _pattern(tail[:at], _NUMBER.sub(b"#", tail[at:]))


@lru_cache(maxsize=64)  # a server has few shapes
def _pattern(before: bytes, usage: bytes) -> tuple[re.Pattern[bytes], int] | None:
    made = _MADE.search(usage)
    if made is None:
        return None
    numbers = re.escape(usage).replace(rb"\#", rb"(\d+)")
    return re.compile(re.escape(before) + numbers), usage.count(b"#", 0, made.end())
