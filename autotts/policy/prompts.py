"""The prompts of a file, read line by line and never all at once: JSON lines with the key `prompt`, or one a line."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from autotts.errors import InputError

LONGEST: Final = 16 << 20  # bytes of a line


class Prompts:
    """Iterates over the prompts of a file, each time from its beginning; made by `open_prompts`."""

    def __init__(self, file: BinaryIO, source: Path, option: str) -> None:
        self._file = file
        self._source = source
        self._named = f"{option} {source}"

    def __iter__(self) -> Iterator[str]:
        """Yield each prompt; lines with nothing but space are left out."""
        found = False
        for number, line in self._lines():
            if line.strip():
                found = True
                yield self._prompt(number, line) if self._source.suffix == ".jsonl" else line.strip()
        if not found:
            raise InputError(f"{self._named}: expected at least one prompt, found an empty file")

    def _lines(self) -> Iterator[tuple[int, str]]:
        number = 0
        begun = 0  # byte at which the line begins
        self._file.seek(0)
        while raw := self._file.readline(LONGEST + 1):
            number += 1
            if len(raw) > LONGEST:
                raise InputError(
                    f"{self._named}, line {number}: expected lines of at most {LONGEST >> 20} MB, found a longer one"
                )
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{self._named}: expected UTF-8, found a bad byte at {begun + error.start} (line {number})"
                ) from None
            begun += len(raw)
            yield number, text

    def _prompt(self, number: int, line: str) -> str:
        where = f"{self._named}, line {number}"
        try:
            prompt = json.loads(line)["prompt"]
        except (ValueError, KeyError, TypeError, RecursionError):
            prompt = None
        if not isinstance(prompt, str) or not prompt.strip():
            raise InputError(f"{where}: expected a JSON object with a text `prompt`, found {line[:60]!r}")
        try:
            prompt.encode()
        except UnicodeEncodeError:
            raise InputError(f"{where}: prompt: expected text, found half a character (a lone surrogate)") from None
        return prompt


@contextmanager
def open_prompts(source: Path, option: str = "--input") -> Iterator[Prompts]:
    """Open the file of prompts that an option names; what can be read only once (a pipe) is kept meanwhile."""
    with ExitStack() as stack:
        try:
            file: BinaryIO = stack.enter_context(source.open("rb"))
            if not file.seekable():
                copy = stack.enter_context(tempfile.TemporaryFile())
                shutil.copyfileobj(file, copy)
                file = copy
        except OSError as error:
            raise InputError(f"{option} {source}: cannot be read: {error.strerror}") from None
        yield Prompts(file, source, option)
