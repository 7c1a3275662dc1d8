"""Logs of any known layout -> one pool in the common layout, line by line: memory does not grow with the files."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from autotts.errors import InputError
from autotts.pools.files import head
from autotts.pools.formats import LAYOUTS, Reader
from autotts.pools.formats.detect import detect
from autotts.pools.formats.source import Source
from autotts.pools.lacking import Lack, Tally
from autotts.pools.lines import Row, clean
from autotts.pools.writing import Write, writing

EVERY: Final = 1000  # lines between two signs of life
STUDY: Final = "study"  # the layout of a folder that holds a study's own samples
DATABASE: Final = "autotts.db"
_SQLITE: Final = b"SQLite format 3\0"  # how a file of a database begins


@dataclass(frozen=True, slots=True)
class Wanted:
    """How files are to be read.

    Attributes
    ----------
    layout
        One of `LAYOUTS`; None looks at each file.
    model, metric
        As in `Source`.
    params
        Parameters by model, as plain counts.
    reader
        Name of the reader and grader for outputs whose answer was not extracted.
    answers
        A file with the columns prompt and answer (perhaps id and level): the gold answers.
    """

    layout: str | None = None
    model: str | None = None
    metric: str | None = None
    params: Mapping[str, float] = field(default_factory=dict)
    reader: str | None = None
    answers: Path | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """What was written, what it lacks, and what was set aside."""

    output: Path
    lines: int
    seconds: float
    layouts: Mapping[str, str]
    models: Mapping[str, int]
    lacks: tuple[Lack, ...]
    notes: tuple[str, ...]


def import_pool(
    paths: Sequence[Path],
    output: Path,
    wanted: Wanted,
    *,
    watch: Callable[[int], None] | None = None,
    readers: Mapping[str, Reader] = LAYOUTS,
) -> Imported:
    """Write one pool from files of any layout.

    Parameters
    ----------
    watch
        Is told now and then how many lines were written.
    readers
        By layout; one called `study` reads a folder that holds a study's database.

    Raises
    ------
    InputError
        A file cannot be read or a sample is not what was expected; nothing is written then.
    """
    if output.resolve() in {path.resolve() for path in paths}:
        raise InputError(f"{output}: expected another file than those that are read, found one of them")
    begun = time.perf_counter()
    work = _Import(wanted)
    found = {path: _layout(path, wanted.layout, readers) for path in paths}
    with writing(output) as write:
        for path, layout in found.items():
            work.file(path, readers[layout], write, watch)
        work.check()
    return Imported(
        output,
        work.tally.lines,
        time.perf_counter() - begun,
        {str(path): layout for path, layout in found.items()},
        dict(work.tally.models),
        work.tally.lacks(),
        work.notes(),
    )


def _layout(path: Path, wanted: str | None, readers: Mapping[str, Reader]) -> str:
    if wanted is not None and wanted not in readers:
        raise InputError(f"--layout: expected one of {', '.join(readers)}, found {wanted!r}")
    if path.is_dir():
        if (path / DATABASE).is_file() and STUDY in readers:
            return STUDY
        raise InputError(
            f"{path}: expected a file, or the folder of a study (with {DATABASE} in it), found a folder: name its "
            f"files, such as {path}/*.jsonl"
        )
    if STUDY in readers and head(path, len(_SQLITE)) == _SQLITE:
        return STUDY
    return wanted or detect(path)


class _Import:
    """One run: what is done to each line, and what is counted."""

    def __init__(self, wanted: Wanted) -> None:
        self.tally = Tally()
        self._wanted = wanted
        self._told: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._read, self._grade = _reader(wanted.reader)
        self._golds = _golds(wanted.answers) if wanted.answers is not None else None

    def file(self, path: Path, reader: Reader, write: Write, watch: Callable[[int], None] | None) -> None:
        """Write the samples of one file."""
        wanted, tally = self._wanted, self.tally
        plain = self._read is None and self._golds is None and not wanted.params
        for place, row, line in reader(Source(path, wanted.model, wanted.metric, self._told)):
            try:
                changed = clean(row, self._lost)
            except ValueError as error:
                raise InputError(f"{path}, {place}: {error}") from None
            if not plain:
                self._complete(row)
            tally.add(row)
            write(row, line if plain and not changed else None)
            if watch is not None and tally.lines % EVERY == 0:
                watch(tally.lines)

    def _complete(self, row: Row) -> None:
        """Add what was asked for: parameters, gold answers, extracted answers and labels; nothing known is changed."""
        if (count := self._wanted.params.get(row["model"])) is not None:
            row["params_b"], row["active_params_b"] = count / 1e9, None
        if self._golds is not None and row.get("answer") is None:
            gold = self._golds.get((row.get("prompt") or "").strip()) or self._golds.get(row["prompt_id"])
            if gold is None:
                self._told["samples without a gold answer: their prompt is not in the file of --answers"] += 1
            else:
                row["answer"] = gold[0]
                if row.get("level") is None:
                    row["level"] = gold[1]
        if self._read is None or self._grade is None or row.get("output") is None:
            return
        if row.get("extracted") is None:
            row["extracted"] = self._read(row["output"])
            self._told[f"answers read off outputs by the reader {self._wanted.reader!r}"] += 1
        if row.get("correct") is None and row.get("answer") is not None:
            row["correct"] = row["extracted"] is not None and self._grade(row["extracted"], row["answer"])
            self._told[f"samples graded by the grader {self._wanted.reader!r}"] += 1

    def check(self) -> None:
        """Raise what only shows at the end."""
        if not self.tally.lines:
            raise InputError("expected recorded samples, found none in these files")
        for name in self._wanted.params:
            if name not in self.tally.models:
                known = ", ".join(list(self.tally.models)[:20])
                raise InputError(f"--params: expected one of the models {known}, found {name!r}")

    def notes(self) -> tuple[str, ...]:
        """What was set aside, added or lost."""
        lost = [f"values of {key} that are not finite, null now: {count:,}" for key, count in self._lost.items()]
        return (*(f"{what}: {count:,}" for what, count in self._told.items()), *lost)


def _reader(name: str | None) -> tuple[Callable[[str], str | None] | None, Callable[[str, str], bool] | None]:
    if name is None:
        return None, None
    from autotts.tasks import GRADERS, READERS

    if name not in READERS or name not in GRADERS:
        raise InputError(f"--reader: expected one of {', '.join(READERS)}, found {name!r}")
    return READERS[name], lru_cache(1 << 16)(GRADERS[name])


def _golds(path: Path) -> dict[str, tuple[str, int | None]]:
    """Gold answers and levels, by prompt and by id."""
    from autotts.tasks.files import load

    source: Any = load(path, "exact").source  # of a file: one that knows its streams
    problems = [problem for stream in source.streams.values() for problem in stream]
    named = {problem.id: (problem.answer, problem.level) for problem in problems}
    return named | {problem.prompt: (problem.answer, problem.level) for problem in problems}
