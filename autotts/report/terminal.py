"""What is printed, and a sign of life while nothing is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, RenderableType


def say(shown: RenderableType, stream: TextIO | None = None) -> None:
    """Print a text or a table to stdout, or to another stream."""
    to = stream or sys.stdout
    console = Console(file=to, highlight=False, markup=False, soft_wrap=isinstance(shown, str))
    with console.capture() as capture:  # rich would end the program itself when the reader of a pipe goes away
        console.print(shown)
    to.write(capture.get())


@contextmanager
def busy(what: str) -> Iterator[None]:
    """Say on stderr what is being done, where that is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield
