"""What is printed, and a sign of life while nothing is."""

from __future__ import annotations

import sys
import time
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
    """Say on stderr what is being done, where that is a terminal; yields what is told how much of it is done.

    A total of 0 is one that nobody knows.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    with console.status(what) as status:
        yield lambda done, total: status.update(f"{what}: {done:,}" + (f" of {total:,}" if total else ""))


@contextmanager
def stages(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Say on stderr which stage of a study is under way, how far it is, and about how long it still takes."""
    console = Console(stderr=True)
    began: dict[str, float] = {}

    def tell(what: str, done: int, total: int) -> None:
        if what not in began:
            began[what] = time.monotonic()
            if not (quiet or console.is_terminal):
                console.print(f"{what} ..." if total < 2 else f"{what}: {total:,} of them ...")
        left = (time.monotonic() - began[what]) / max(done, 1) * (total - done)
        more = f": {done:,} of {total:,}, about {left:.0f} s more" if total and done > 3 else ""
        if status is not None:
            status.update(f"{what}{more}")

    if quiet or not console.is_terminal:
        status = None
        yield tell
        return
    with console.status("reading") as status:
        yield tell
