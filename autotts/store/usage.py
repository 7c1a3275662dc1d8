"""What the stored samples took to make."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from autotts.store.database import reading
from autotts.store.schema import SAMPLE


@dataclass(frozen=True, slots=True)
class Used:
    """So many stored asks of one binding that took the same tokens."""

    binding: str
    kind: str
    prompt: int
    cached: int
    generated: int
    count: int


def used(engine: sa.Engine) -> list[Used]:
    """Everything that was ever drawn or scored into a database, in groups of equal usage."""
    c = SAMPLE.c
    made = c.generated + c.cancelled
    columns = (c.binding, c.kind, c.prompt, c.cached, made)
    query = sa.select(*columns, sa.func.count()).where(c.kind != "root").group_by(*columns)
    with reading(engine) as connection:
        return [Used(*row) for row in connection.execute(query)]
