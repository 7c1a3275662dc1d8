"""The common layout itself: JSON lines, plain or gzip, and Parquet."""

from __future__ import annotations

from autotts.pools.files import written
from autotts.pools.formats.source import Placed, Source


def read(source: Source) -> Placed:
    """Samples as they are; a model's name is only added where there is none."""
    for number, row, line in written(source.path):
        if source.model is not None and not row.get("model"):
            row["model"], line = source.model, None
        yield f"line {number}", row, line
