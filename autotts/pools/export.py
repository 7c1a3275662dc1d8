"""Pools in the common layout written in another form: Parquet for tables, JSON lines for reading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from autotts.pools.importing import Imported, Wanted, import_pool


def export_pool(paths: Sequence[Path], output: Path, *, watch: Callable[[int], None] | None = None) -> Imported:
    """Write pools into one file, whose ending says its form; every key of every line is kept.

    Raises
    ------
    InputError
        A file is no pool, or the form is unknown or cannot hold it; nothing is written then.
    """
    return import_pool(paths, output, Wanted(layout="pool"), watch=watch)
