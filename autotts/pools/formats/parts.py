"""One large JSON object read part by part: each member, and each element of one long list."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from autotts.errors import InputError
from autotts.pools.files import LONGEST, blocks

_SPACE: Final = " \t\r\n"


def parts(path: Path, listed: str) -> Iterator[tuple[str, str, Any]]:
    """The members of the object in a file, in order: place, key, value.

    Of the member `listed`, each element comes by itself; memory holds no more than one value.
    """
    text = _Text(path)
    text.expect("{", "a JSON object")
    if text.take("}"):
        return
    while True:
        key = text.value()
        text.expect(":", "a colon after a key")
        if key == listed and text.take("["):
            number = 0
            while not text.take("]"):
                if number:
                    text.expect(",", "a comma between two elements")
                number += 1
                yield f"{listed}[{number - 1}]", key, text.value()
        else:
            yield str(key), str(key), text.value()
        if text.take("}"):
            return
        text.expect(",", "a comma between two members")


class _Text:
    """A window on the file's text that moves forward."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._blocks = blocks(path)
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._json = json.JSONDecoder()
        self._window = ""
        self._at = 0

    def _more(self) -> bool:
        """Read on; False at the end of the file."""
        size = max(1, len(self._window) - self._at)  # as much again as is held: a long value is tried few times
        pieces = [self._window[self._at :]]
        self._at = 0
        try:
            while size > 0 and (block := next(self._blocks, b"")):
                pieces.append(self._decode.decode(block))
                size -= len(pieces[-1])
        except UnicodeDecodeError:
            raise InputError(f"{self._path}: expected UTF-8, found another encoding: save it as UTF-8") from None
        except EOFError:
            raise InputError(f"{self._path}: expected a whole gzip file, found one that is cut off") from None
        found = len(pieces) > 1
        self._window = "".join(pieces)
        return found

    def _skip(self) -> bool:
        """Go to the next character that is no space; False at the end."""
        while True:
            while self._at < len(self._window) and self._window[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._window):
                return True
            if not self._more():
                return False

    def take(self, character: str) -> bool:
        """Whether this character is next; if so, go past it."""
        found = self._skip() and self._window[self._at] == character
        self._at += found
        return found

    def expect(self, character: str, what: str) -> None:
        if not self.take(character):
            rest = self._window[self._at : self._at + 20]
            found = repr(rest) if rest else "the end of the file (is it cut off?)"
            raise InputError(f"{self._path}: expected {what}, found {found}")

    def value(self) -> Any:
        """The next value; a number is whole only if something follows it."""
        self._skip()
        while True:
            try:
                value, end = self._json.raw_decode(self._window, self._at)
                if end < len(self._window):
                    self._at = end
                    return value
            except json.JSONDecodeError as error:
                if len(self._window) - self._at > LONGEST:
                    raise InputError(f"{self._path}: expected JSON, found {error.msg}") from None
            except RecursionError:
                raise InputError(f"{self._path}: expected JSON, found one that is nested too deeply") from None
            if not self._more():
                raise InputError(f"{self._path}: expected more JSON, found the end of the file (is it cut off?)")
