"""What is printed, and a sign of life while nothing is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
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
def busy(what: str) -> Iterator[Callable[[int, int], None]]:
    """Say on stderr what is being done, where that is a terminal; yields what is told how much of it is done."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    with console.status(what) as status:
        yield lambda done, total: status.update(f"{what}: {done:,} of {total:,}")
