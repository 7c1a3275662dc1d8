"""A task from a file of prompts and answers: JSON lines, CSV, or Parquet.

Columns are `prompt` and `answer`, and where they are known `id`, `level` and `reader`; others are ignored. The prompts
of each level are split once, by a hash of the prompt, into the streams search (a half), confirm and test (a quarter
each).
"""

from __future__ import annotations

import csv
import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from autotts.core.task import Problem, Task
from autotts.errors import InputError
from autotts.tasks.graders import GRADERS
from autotts.tasks.instructions import INSTRUCTIONS
from autotts.tasks.readers import READERS

STREAMS: Final = ("search", "confirm", "test")
_NEEDED: Final = ("prompt", "answer")

Rows = Iterator[tuple[int, dict[str, Any]]]  # the line (or row) that each begins at, from 1, and its values by column


@dataclass(frozen=True, slots=True)
class Prompts:
    """The problems of a file, split into streams; the `Source` of its task."""

    where: str
    streams: Mapping[str, tuple[Problem, ...]]

    def __call__(self, stream: str, level: int | None, count: int, seed: int) -> Sequence[Problem]:
        """Distinct problems of a stream in an order that the seed decides: `count`, or all there are if fewer."""
        if stream not in self.streams:
            raise InputError(f"{self.where}: stream: expected one of {', '.join(self.streams)}, found {stream!r}")
        found = [p for p in self.streams[stream] if level is None or p.level == level]
        if not found:
            raise InputError(
                f"{self.where}: no prompts{'' if level is None else f' of level {level}'} are left for the stream "
                f"{stream!r}; expected at least 3 prompts a level, of which a half is for search, a quarter for "
                "confirm and a quarter for test: give a longer file"
            )
        random.Random(f"{stream}/{level}/{seed}").shuffle(found)
        return found[:count]


def load(path: str | Path, reader: str | None = None) -> Task:
    """Read a task from a file.

    Parameters
    ----------
    path
        A file that ends in .jsonl, .ndjson, .csv or .parquet, in UTF-8.
    reader
        Name of the reader and grader. By default what the column `reader` says; without one, `choice` if all answers
        are letters A to E, and `math` if not.

    Raises
    ------
    InputError
        When the file cannot be read, or a row is not what was expected; the message names the file and the line.
    """
    path = Path(path)
    problems, stated = _problems(path, _rows(path))
    reader = reader or stated
    if reader is None:
        letters = all(re.fullmatch(r"\(?[A-E]\)?", p.answer) for p in problems)
        reader = "choice" if letters else "math"
    if reader not in READERS or reader not in GRADERS:
        both = ", ".join(sorted(READERS.keys() & GRADERS.keys()))
        raise InputError(f"{path}: reader: expected one of {both}, found {reader!r}")
    sizes = Counter(p.level for p in problems)
    return Task(
        name=path.stem,
        about=f"{len(problems)} prompts of {path}",
        reader=reader,
        grader=reader,
        mix={level: sizes[level] / len(problems) for level in sorted(k for k in sizes if k is not None)},
        source=Prompts(str(path), _split(problems)),
        read=READERS[reader],
        grade=GRADERS[reader],
        instruction=INSTRUCTIONS.get(reader, ""),
    )


def _split(problems: Sequence[Problem]) -> dict[str, tuple[Problem, ...]]:
    """Cut each level, in the order of its prompts' hashes, at a half and three quarters."""
    levels: dict[int | None, list[Problem]] = {}
    for problem in sorted(problems, key=lambda p: _hash(p.prompt)):
        levels.setdefault(problem.level, []).append(problem)
    parts: dict[str, list[Problem]] = {name: [] for name in STREAMS}
    for found in levels.values():
        half = max(1, len(found) // 2)
        end = half + (len(found) - half + 1) // 2
        for name, part in zip(STREAMS, (found[:half], found[half:end], found[end:]), strict=True):
            parts[name] += part
    return {name: tuple(found) for name, found in parts.items()}


def _hash(prompt: str) -> str:
    return hashlib.blake2b(prompt.encode(), digest_size=12).hexdigest()


# ---------------------------------------------------------------- rows to problems


def _problems(path: Path, rows: Rows) -> tuple[list[Problem], str | None]:
    """Check every row, and the rows against each other; the problems, and the reader that the rows state."""
    ids: dict[str, int] = {}
    readers: dict[str | None, int] = {}
    prompts: dict[str, tuple[int, Problem]] = {}
    for line, row in rows:
        problem = _problem(f"{path}, line {line}", row)
        readers.setdefault(_reader(f"{path}, line {line}", row), line)
        if (before := ids.setdefault(problem.id, line)) != line and row.get("id") not in (None, ""):
            raise InputError(
                f"{path}: expected an id for each prompt, found the id {problem.id!r} on lines {before} and {line}: "
                "give each its own, or leave the column id out"
            )
        before, known = prompts.setdefault(problem.prompt, (line, problem))
        if (known.answer, known.level) != (problem.answer, problem.level):
            raise InputError(
                f"{path}: expected one answer and level for each prompt, found on lines {before} and {line} the same "
                f"prompt with {_told(known)} and with {_told(problem)}: keep the right one"
            )
    if not prompts:
        raise InputError(f"{path} is empty: expected rows with the columns prompt and answer")
    if len(readers) > 1:
        (one, first), (other, line) = list(readers.items())[:2]
        raise InputError(
            f"{path}: expected one reader in all rows, found {one or 'none'} on line {first} and {other or 'none'} on "
            f"line {line}: make a file for each, or leave the column reader out"
        )
    return [problem for _, problem in prompts.values()], next(iter(readers))


def _reader(where: str, row: Mapping[str, Any]) -> str | None:
    given = row.get("reader")
    return None if given is None or given == "" else _text(where, "reader", given)


def _told(problem: Problem) -> str:
    return f"answer {problem.answer!r}" + ("" if problem.level is None else f" and level {problem.level}")


def _problem(where: str, row: Mapping[str, Any]) -> Problem:
    _check_columns(where, row)
    prompt, answer = (_text(where, name, row[name]) for name in _NEEDED)
    given = row.get("id")
    name = _hash(prompt) if given is None or given == "" else _text(where, "id", given)
    return Problem(name, prompt, answer, _level(where, row["level"]) if "level" in row else None)


def _check_columns(where: str, columns: Mapping[str, Any] | Sequence[str]) -> None:
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        found = ", ".join(map(str, columns)) or "none"
        raise InputError(
            f"{where}: expected the columns prompt and answer (and perhaps id and level), found {found}: "
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
        )


def _text(where: str, name: str, value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool) and name != "prompt":
        value = str(value)
    if not isinstance(value, str):
        raise InputError(f"{where}: {name}: expected text, found {_shown(value)}")
    text = value.strip()
    if not text:
        raise InputError(f"{where}: {name}: expected text, found nothing")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{where}: {name}: expected text, found half a character (a lone surrogate)") from None
    return text


def _level(where: str, value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{where}: level: expected a whole number, found {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


# ---------------------------------------------------------------- files to rows


def _rows(path: Path) -> Rows:
    kind = path.suffix.lower()
    if kind not in _KINDS:
        raise InputError(f"{path}: expected a file that ends in {', '.join(_KINDS)}, found {kind or 'no ending'}")
    if not path.is_file():
        found = "a folder" if path.is_dir() else "something else" if path.exists() else "nothing"
        raise InputError(f"{path}: expected a file with prompts, found {found} there")
    try:
        yield from _KINDS[kind](path)
    except OSError as error:
        raise InputError(f"{path}: expected a file that can be read, found an error: {error}") from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of UTF-8 with their numbers; a byte order mark is left out."""
    begun = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{path}, line {number}: expected UTF-8, found byte 0x{raw[error.start]:02x} at byte "
                    f"{begun + error.start} of the file: save it as UTF-8"
                ) from None
            begun += len(raw)
            yield number, text


def _from_jsonl(path: Path) -> Rows:
    for number, text in _lines(path):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: expected one JSON object on the line: {error}") from None
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: expected a JSON object, found {_shown(row)}")
        yield number, row


def _from_csv(path: Path) -> Rows:
    rows = csv.reader((text for _, text in _lines(path)), strict=True)
    header: list[str] | None = None
    while True:
        line = rows.line_num + 1
        try:
            values = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(f"{path}, line {line}: expected comma-separated values: {error}") from None
        if not values:
            continue
        if header is None:
            header = [name.strip() for name in values]
            _check_columns(str(path), header)
        elif len(values) != len(header):
            raise InputError(
                f"{path}, line {line}: expected {len(header)} values ({', '.join(header)}), found {len(values)}: "
                "a value with a comma needs quotes"
            )
        else:
            yield line, dict(zip(header, values, strict=True))


def _from_parquet(path: Path) -> Rows:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError(
            f"{path}: Parquet needs pyarrow, which is not installed: pip install autotts-optimizer[parquet], or save "
            "the prompts as .jsonl"
        ) from None
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(str(path), file.schema_arrow.names)
            wanted = [name for name in file.schema_arrow.names if name in (*_NEEDED, "id", "level", "reader")]
            number = 0
            for batch in file.iter_batches(columns=wanted):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except pa.ArrowException as error:
        raise InputError(f"{path}: expected a Parquet file, found one that cannot be read: {error}") from error


_KINDS: Final[Mapping[str, Callable[[Path], Rows]]] = {
    ".jsonl": _from_jsonl,
    ".ndjson": _from_jsonl,
    ".csv": _from_csv,
    ".parquet": _from_parquet,
}
