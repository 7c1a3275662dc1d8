"""The file of answers: a JSON line for each prompt, in their order, which a later run goes on with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from autotts.errors import InputError
from autotts.policy.schema import Policy
from autotts.policy.serving import Answered

_BEGINNING: Final = b'{"prompt": '  # of every line, so that what is cut off is told from what is no answer

Row: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class Tally:
    """Lines of the output so far: how many, how many of them have an answer, and their cost in parts."""

    prompts: int = 0
    answered: int = 0
    cost: int = 0

    def add(self, row: Row) -> None:
        """Count one more line."""
        self.prompts += 1
        self.answered += row["answer"] is not None
        self.cost += row["cost"]


Watcher: TypeAlias = Callable[[Tally], None]


def as_dict(done: Answered) -> Row:
    """An answer as one JSON object."""
    told = {"text": done.text, "problem": done.problem}
    return {
        "prompt": done.prompt,
        "answer": done.answer,
        "confidence": done.confidence,
        "arm": done.arm,
        "bin": done.bin,
        "draws": done.draws,
        "cost": done.cost,
        "unit": done.unit,
        "ended": done.ended,
        "tokens": {name: u.generated + u.cancelled for name, u in done.usage.items()},
    } | {name: value for name, value in told.items() if value is not None}


class Answers:
    """Writes answers behind those of earlier runs, each line at once; made by `open_answers`."""

    def __init__(
        self, target: Path, policy: Policy, tally: Tally, whole: int | None, watch: Watcher | None = None
    ) -> None:
        self.tally = tally
        self._digest = policy.digest
        self._watch = watch
        # Without a buffer: after a full disk nothing is left that would be written later, behind other lines.
        self._file = target.open("ab", buffering=0)
        if whole is not None and self._file.tell() > whole:
            self._file.truncate(whole)

    def write(self, done: Answered) -> None:
        """Write one answer."""
        row = as_dict(done) | {"policy": self._digest}
        left = memoryview(json.dumps(row).encode() + b"\n")
        while left:
            left = left[self._file.write(left) :]
        self.tally.add(row)
        if self._watch is not None:
            self._watch(self.tally)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@contextmanager
def open_answers(
    target: Path, policy: Policy, tally: Tally, whole: int | None, watch: Watcher | None = None
) -> Iterator[Answers]:
    """Open the output for more answers, behind its first `whole` bytes; an error of the file is an `InputError`."""
    try:
        answers = Answers(target, policy, tally, whole, watch)
        try:
            yield answers
        finally:
            answers.close()
    except OSError as error:
        raise InputError(
            f"--output {target}: cannot be written: {error.strerror}; what is there is kept: make room or give "
            "another file, and run the same command again"
        ) from None


def written(target: Path, prompts: Iterator[str], policy: Policy) -> tuple[Tally, int | None]:
    """What earlier runs wrote, and how many bytes of it are whole lines (None where the output is no file).

    Takes from `prompts` those that are answered. A last line that is cut off counts as not written; answers to other
    prompts, or of another policy, are an error.
    """
    tally = Tally()
    if not target.is_file():  # a device or a pipe has no earlier run in it
        return tally, None if target.exists() else 0
    whole = 0
    try:
        with target.open("rb") as file:
            for line in file:
                row = _row(line)
                if row is None and line.startswith(_BEGINNING[: len(line)]) and not file.read(1):
                    break
                fault = _fault(row, next(prompts, None), policy)
                if row is None or fault:
                    raise InputError(
                        f"--output {target}, line {tally.prompts + 1}: expected the answer of this policy to prompt "
                        f"{tally.prompts + 1} of --input, found {fault}: give a new --output, or delete this one"
                    )
                tally.add(row)
                whole += len(line)
    except OSError as error:
        raise InputError(f"--output {target}: expected answers of an earlier run, or no file: {error}") from None
    return tally, whole


def _row(line: bytes) -> Row | None:
    try:
        row = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and "answer" in row and isinstance(row.get("cost"), int) else None


def _fault(row: Row | None, prompt: str | None, policy: Policy) -> str:
    """What is wrong with a line of an earlier run, if anything is."""
    if row is None:
        return "a line that is no answer"
    if row.get("prompt") != prompt:
        return "another prompt" if prompt is not None else "more lines than prompts"
    return "" if row.get("policy") == policy.digest else "the answer of another policy"
