"""What arms did on prompts: the table that levels, bins and figures are views of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields

import sqlalchemy as sa

from autotts.store.database import reading, writing
from autotts.store.schema import OUTCOME, insert_new


@dataclass(frozen=True, slots=True)
class Graded:
    """One arm on one prompt in one epoch.

    `arm` is its text and `prompt` the problem's id. `correct` is 0 or 1, or a probability for an arm whose value was
    computed from a pool of draws; `cost` is in smallest parts of the study's unit, and a fraction where it is
    expected. `trial` is the number of the Optuna trial, where there is one.
    """

    arm: str
    prompt: str
    epoch: int
    answer: str | None
    correct: float
    cost: float
    ended: str = "returned"
    trial: int | None = None


_NAMES = tuple(f.name for f in fields(Graded))


class Outcomes:
    """The outcomes of one database; what is there stays."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._insert = insert_new(engine.dialect.name, OUTCOME)

    def add(self, study: str, rows: Iterable[Graded]) -> None:
        """Keep outcomes, all or none; one that is there already (study, arm, prompt, epoch) is left as it is."""
        values = [{"study": study, **asdict(row)} for row in rows]
        if values:
            with writing(self._engine) as connection:
                connection.execute(self._insert, values)

    def load(self, study: str) -> list[Graded]:
        """All outcomes of a study, by arm, prompt and epoch."""
        query = (
            sa.select(*(OUTCOME.c[name] for name in _NAMES))
            .where(OUTCOME.c.study == study)
            .order_by(OUTCOME.c.arm, OUTCOME.c.prompt, OUTCOME.c.epoch)
        )
        with reading(self._engine) as connection:
            return [Graded(*row) for row in connection.execute(query)]
