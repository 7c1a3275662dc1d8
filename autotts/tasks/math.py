"""The task `math`: the arithmetic that the embedded models know, in five levels."""

from __future__ import annotations

from collections.abc import Sequence

from autotts.core.task import Problem, Task
from autotts.tasks.arithmetic import MIX, mixed, problems
from autotts.tasks.graders import GRADERS
from autotts.tasks.readers import READERS


def source(stream: str, level: int | None, count: int, seed: int) -> Sequence[Problem]:
    """Distinct problems of one level, or of all levels in the published mix (`level` None)."""
    return mixed(stream, seed, count) if level is None else problems(level, stream, seed, count)


MATH = Task(
    name="math",
    about="sums of products, solved line by line; levels 1 (easy) to 5 (hard), made for the embedded models",
    reader="arithmetic",
    grader="arithmetic",
    mix=dict(MIX),
    source=source,
    read=READERS["arithmetic"],
    grade=GRADERS["arithmetic"],
)
