"""A task: problems with gold answers, a reader (text -> canonical answer) and a grader."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Problem:
    """One question with its gold answer; `level` is its difficulty, where that is known."""

    id: str
    prompt: str
    answer: str
    level: int | None = None


class Source(Protocol):
    """Where the problems of a task come from."""

    def __call__(self, stream: str, level: int | None, count: int, seed: int) -> Sequence[Problem]:
        """Distinct problems of a stream (train, search, confirm, test); the streams are disjoint."""
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked, how an answer is read and graded, and in what mix the levels come.

    `reader` and `grader` are names in the registries of `autotts.tasks`, so that a policy can state them.
    `mix` maps each level to its share of the traffic, and is empty for a task without levels. `instruction` tells a
    chat model in what form the reader expects the answer.
    """

    name: str
    about: str
    reader: str
    grader: str
    mix: dict[int, float]
    source: Source
    read: Callable[[str], str | None]
    grade: Callable[[str, str], bool]
    instruction: str = ""
