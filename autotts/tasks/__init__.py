"""What is asked: problems, readers of answers, and graders."""

from __future__ import annotations

from autotts.core.task import Task
from autotts.errors import InputError
from autotts.tasks.graders import GRADERS
from autotts.tasks.math import MATH
from autotts.tasks.readers import READERS

__all__ = ["GRADERS", "READERS", "find", "tasks"]


def tasks() -> dict[str, Task]:
    """Tasks that come with autotts, by name."""
    return {"math": MATH}


def find(name: str) -> Task:
    """The task of this name, the one in a file of prompts and answers, or `reasoning_gym:NAME`."""
    known = tasks()
    if name in known:
        return known[name]
    if name.startswith("reasoning_gym:"):
        from autotts.tasks.gym import find as find_gym

        return find_gym(name.removeprefix("reasoning_gym:"))
    from pathlib import Path

    path = Path(name)
    if path.suffix or path.exists():
        from autotts.tasks.files import load

        return load(path)
    raise InputError(
        f"unknown task {name!r}; expected one of {', '.join(known)}, a file of prompts and answers (.jsonl, .csv), "
        "or a dataset of reasoning-gym, such as reasoning_gym:chain_sum"
    )
