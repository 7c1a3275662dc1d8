"""The house style of tables in the terminal, and what is left of it in a pipe."""

from __future__ import annotations

from rich import box
from rich.console import Console, ConsoleOptions
from rich.table import Table

NARROW = 64  # below this a table of five columns is a list
WIDE = 100

# A header ruled with hyphens: survives a pipe, a log file and an ASCII terminal.
_RULED = box.Box("    \n    \n -  \n    \n    \n    \n    \n    \n", ascii=True)


def ruled(*, letters: bool) -> Table:
    """An empty table in the house style: no frame, a rule below the header."""
    return Table(box=_RULED if letters else box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)


def plain_text(console: Console, options: ConsoleOptions) -> bool:
    """Whether only letters should be printed: a pipe, a file, or a terminal that knows ASCII only."""
    return not console.is_terminal or options.ascii_only
