"""What is asked: problems, readers of answers, and graders."""

from __future__ import annotations

from autotts.core.task import Task
from autotts.tasks.graders import GRADERS
from autotts.tasks.math import MATH
from autotts.tasks.readers import READERS

__all__ = ["GRADERS", "READERS", "tasks"]


def tasks() -> dict[str, Task]:
    """Tasks that come with autotts, by name."""
    return {"math": MATH}
