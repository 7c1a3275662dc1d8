"""Endless graded tasks from the reasoning-gym package: `reasoning_gym:NAME`, and `reasoning_gym:math`, a mix of some.

A problem is made when it is asked for, by a seed that its level, stream and number decide. Which stream a problem
belongs to is decided by a hash of its prompt, so that no prompt is in two. The gold answer of a dataset is JSON: the
answer, and what it takes to make the problem again, because the dataset's own scorer needs the whole problem. Making
and scoring run in a process of their own (`gym_process`).
"""

from __future__ import annotations

import atexit
import difflib
import hashlib
import importlib.util
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate
from typing import Any, Final

from autotts.core.task import Problem, Task
from autotts.errors import InputError
from autotts.tasks.arithmetic import level_counts
from autotts.tasks.calculator import SECONDS, Calculator
from autotts.tasks.gym_math import LEVELS
from autotts.tasks.gym_names import REFUSED
from autotts.tasks.instructions import INSTRUCTIONS

PREFIX: Final = "reasoning_gym:"
SHARES: Final[Mapping[str, int]] = {"search": 35, "confirm": 20, "test": 25, "train": 20}  # of 100 prompts
_PATIENCE: Final = 400  # problems in a row that are known or of other streams, after which a level counts as used up
_FAILED: Final = 20  # problems in a row that a dataset may fail to make
_SEEDS: Final = 1 << 22

Recipe = tuple[str, dict[str, Any]]  # a dataset, and {"level": from 1} or {"config": its own settings}


@dataclass(frozen=True, slots=True)
class Gym:
    """Problems of some datasets, level by level; the `Source` of its task.

    `plain`: the gold answer is the bare answer, for a grader of ours; otherwise it is what the dataset's own needs.
    """

    name: str
    recipes: Mapping[int, tuple[Recipe, ...]]
    plain: bool = False

    def __call__(self, stream: str, level: int | None, count: int, seed: int) -> Sequence[Problem]:
        """Distinct problems of a stream: `count`, or all that were found if there are fewer."""
        if stream not in SHARES:
            raise InputError(f"{self.name}: stream: expected one of {', '.join(SHARES)}, found {stream!r}")
        if level is not None and level not in self.recipes:
            raise InputError(f"{self.name}: level: expected one of {list(self.recipes)}, found {level!r}")
        taken: set[str] = set()
        counts = level_counts(count, mix_of(self.recipes)) if level is None else {level: count}
        found = [p for at, wanted in counts.items() for p in self._some(stream, at, wanted, seed, taken)]
        if level is None:
            random.Random(f"{self.name}/{stream}/{seed}").shuffle(found)
        if not found and count:
            raise InputError(f"{self.name}: no problems were found for the stream {stream!r}: take another dataset")
        return found

    def _some(self, stream: str, level: int, count: int, seed: int, taken: set[str]) -> Iterator[Problem]:
        begin = int.from_bytes(_hash(f"{self.name}/{level}/{stream}/{seed}")[:8], "big") % _SEEDS
        recipes, number, idle, failed = self.recipes[level], 0, 0, 0
        while count and idle < _PATIENCE:
            which, index = number % len(recipes), number // len(recipes)
            problem = self._made(level, which, begin, index, last=failed == _FAILED)
            number += 1
            idle += 1
            failed = failed + 1 if problem is None else 0
            if problem is not None and stream_of(problem.prompt) == stream and problem.prompt not in taken:
                taken.add(problem.prompt)
                idle = 0
                count -= 1
                yield problem

    def _made(self, level: int, which: int, seed: int, index: int, *, last: bool) -> Problem | None:
        """One problem; None where the dataset finds none for this seed, an error if `last`."""
        dataset, settings = self.recipes[level][which]
        seed = (seed + which * 7919) % _SEEDS
        told = _process().ask("make", dataset, json.dumps(settings), seed, index)
        made = json.loads(told) if isinstance(told, str) else {"error": "it took too long, or too much memory"}
        if "error" in made:
            if isinstance(told, str) and not last:
                return None
            raise InputError(f"{self.name}: level {level}: reasoning-gym made no problem: {made['error']}")
        prompt, answer = made["question"].strip(), made["answer"]
        if not self.plain:
            again = {"of": dataset, **settings, "seed": seed, "index": index, "question": made["digest"]}
            answer = json.dumps({"answer": answer} | again, ensure_ascii=False)
        shown = level if len(self.recipes) > 1 else None
        return Problem(f"L{level}/{_hash(prompt).hex()[:24]}", prompt, answer, shown)


def find(name: str) -> Task:
    """The task of a dataset of reasoning-gym, named without the prefix, or the mix `math`.

    Raises
    ------
    InputError
        When reasoning-gym is not installed, has no such dataset, or has one that cannot be used.
    """
    check_installed()
    if name == "math":
        return math_for_chat()
    if name in REFUSED:
        raise InputError(f"{PREFIX}{name} cannot be used: {REFUSED[name]}")
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name, ["math", *known], n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(PREFIX + n for n in near)}?" if near else f"such as {PREFIX}chain_sum"
        raise InputError(f"unknown task {PREFIX + name!r}; expected a dataset of reasoning-gym, {hint}")
    recipes: dict[int, tuple[Recipe, ...]] = {k: ((name, {"level": k}),) for k in range(1, known[name] + 1)}
    return _task(
        Gym(PREFIX + name, recipes), f"problems of reasoning-gym's {name}, graded by its own scorer", "tagged", GRADER
    )


def math_for_chat() -> Task:
    """The task `math` for models of language: arithmetic, algebra, number theory, counting and geometry."""
    check_installed()
    recipes = {k: tuple((n, {"config": c}) for n, c in level.generators()) for k, level in LEVELS.items()}
    about = "arithmetic, algebra, number theory, counting and geometry of reasoning-gym; levels 1 (easy) to 5 (hard)"
    return _task(Gym(PREFIX + "math", recipes, plain=True), about, "math", "math")


GRADER: Final = "reasoning_gym"


def _task(source: Gym, about: str, reader: str, grader: str) -> Task:
    from autotts.tasks.graders import GRADERS
    from autotts.tasks.readers import READERS

    return Task(
        name=source.name,
        about=about,
        reader=reader,
        grader=grader,
        mix=mix_of(source.recipes) if len(source.recipes) > 1 else {},
        source=source,
        read=READERS[reader],
        grade=GRADERS[grader],
        instruction=INSTRUCTIONS[reader],
    )


def mix_of(recipes: Mapping[int, Any]) -> dict[int, float]:
    """Equal shares."""
    return {level: 1 / len(recipes) for level in recipes}


def stream_of(prompt: str) -> str:
    """The one stream that a prompt belongs to."""
    at = int.from_bytes(_hash(prompt)[:4], "big") % 100
    return next(stream for stream, end in zip(SHARES, accumulate(SHARES.values()), strict=True) if at < end)


def names() -> dict[str, int]:
    """Every dataset that can be used, with how many levels it has."""
    check_installed()
    return _names()


@lru_cache(maxsize=8192)
def grade(answer: str, gold: str) -> bool:
    """Whether the dataset's own scorer takes an answer for wholly right (a score of 1; nothing less counts).

    Raises
    ------
    InputError
        When reasoning-gym is not installed, or another version made the problem.
    """
    check_installed()
    found = _process().ask("score", answer, gold)
    if isinstance(found, str):
        raise InputError(
            "reasoning-gym makes another problem than the one that was answered: expected the version with which the "
            f"task was drawn, found {found}: install that version, or draw again"
        )
    return found is True


def check_installed() -> None:
    """Say how to install it."""
    if importlib.util.find_spec("reasoning_gym") is None:
        raise InputError(
            "tasks of reasoning-gym need the package, which is not installed: pip install 'autotts-optimizer[gym]'"
        )


@cache
def _names() -> dict[str, int]:
    told = _process().ask("names")
    if not isinstance(told, str):
        raise InputError("reasoning-gym does not start: reinstall it with pip install 'autotts-optimizer[gym]'")
    found: dict[str, int] = json.loads(told)
    return found


@cache
def _process() -> Calculator:
    """The process of reasoning-gym."""
    process = Calculator(SECONDS, "gym_process")
    atexit.register(process.close)
    return process


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
