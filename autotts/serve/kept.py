"""Prompts and answers, kept where the operator asked for it: what a predictor learns from.

Lines are written in a thread, behind a queue with an end: a request never waits for the disk, and what the queue has no
room for is lost and counted. The file is its owner's alone (0600). Lines older than the retention are dropped when the
server starts and once a day; while no server runs, nothing drops them.
"""

from __future__ import annotations

import datetime
import io
import json
import os
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from autotts.errors import InputError

DAYS: Final = 30.0
LARGEST: Final = 4 << 30  # bytes of the file, beyond which the older half is dropped
WAITING: Final = 1000  # lines
HEAVIEST: Final = 64 << 20  # characters of all lines that wait: a prompt may have millions
DAY: Final = 86400.0
WAKES: Final = 600.0  # seconds after which the thread sees to the file though nothing came

_BEGINNING: Final = b'{"time": "'  # of every line, so that another file is never taken for one of these


class File:
    """The file of lines; workers and servers may share it, each step holds its lock.

    Parameters
    ----------
    path
        Made where it is missing.
    days
        How long a line is kept.
    largest
        Bytes of the file.
    clock
        Seconds since 1970.

    Raises
    ------
    InputError
        There is a file that holds something else, or it cannot be written to.
    """

    def __init__(
        self, path: Path, *, days: float = DAYS, largest: int = LARGEST, clock: Callable[[], float] = time.time
    ) -> None:
        if not days > 0:
            raise InputError(f"--keep-days: expected more than 0 days, found {days:g}")
        self._path = path.resolve()
        self._days = days
        self._largest = largest
        self._clock = clock
        try:
            with self._locked() as file:
                first = _head(file)
        except OSError as error:
            raise InputError(f"--keep {path}: expected a file that can be written to: {error.strerror}") from None
        if first and not first.startswith(_BEGINNING):
            raise InputError(f"--keep {path}: expected a new file, or one that --keep wrote, found something else")

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a line for each row, with the time first; all of them or, on an `OSError`, none."""
        moment = datetime.datetime.fromtimestamp(self._clock(), datetime.UTC).isoformat(timespec="milliseconds")
        data = b"".join(json.dumps({"time": moment} | dict(row)).encode() + b"\n" for row in rows)
        with self._locked() as file:
            size = file.seek(0, os.SEEK_END)
            if size and size + len(data) > self._largest:
                self._rewrite(file, behind=size // 2)
        with self._locked() as file:
            size = file.seek(0, os.SEEK_END)
            torn = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"  # a crash in the middle of a line
            left = memoryview(b"\n" + data if torn else data)
            try:
                while left:
                    left = left[file.write(left) :]
            except OSError:
                file.truncate(size)
                raise

    def tend(self) -> None:
        """Drop the lines that are older than the retention."""
        with self._locked() as file:
            first = _head(file)
            if first and not self._young(first):
                self._rewrite(file, behind=0)

    # ---------------------------------------------------------------- inside

    @contextmanager
    def _locked(self) -> Iterator[io.FileIO]:
        """The file, open at its beginning, with its lock held."""
        import fcntl  # only Unix has it

        while True:
            handle = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            with io.FileIO(handle, "r+") as file:
                fcntl.flock(handle, fcntl.LOCK_EX)
                with suppress(FileNotFoundError):
                    if os.fstat(handle).st_ino == os.stat(self._path).st_ino:  # else it was written anew meanwhile
                        os.fchmod(handle, 0o600)
                        yield file
                        return

    def _rewrite(self, file: io.FileIO, *, behind: int) -> None:
        """Write the file anew with its young lines that end behind so many bytes; on an error it is as it was."""
        fresh = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}.tmp")
        try:
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            file.seek(0)
            with os.fdopen(handle, "wb") as out, os.fdopen(os.dup(file.fileno()), "rb") as lines:
                reached = 0
                for line in lines:
                    reached += len(line)
                    if reached > behind and line.endswith(b"\n") and self._young(line):
                        out.write(line)
                out.flush()
                os.fsync(out.fileno())
            os.replace(fresh, self._path)
        finally:
            fresh.unlink(missing_ok=True)

    def _young(self, line: bytes) -> bool:
        try:
            found = datetime.datetime.fromisoformat(line[len(_BEGINNING) :].split(b'"', 1)[0].decode())
            return found.timestamp() >= self._clock() - self._days * DAY
        except ValueError:
            return False


def _head(file: io.FileIO) -> bytes:
    """As much of the first line as tells whose it is, and from when."""
    return os.pread(file.fileno(), 64, 0)


def _weight(row: Mapping[str, Any]) -> int:
    """Characters of its texts."""
    return sum(len(value) for value in row.values() if isinstance(value, str))


class Kept:
    """`with Kept(file) as kept`: a thread writes what `keep` is given; at the end all that waits is written.

    Attributes
    ----------
    written, lost
        Lines so far: in the file, and those that the queue or the disk had no room for.
    problem
        Why lines are lost now, or empty.
    """

    def __init__(
        self,
        file: File,
        clock: Callable[[], float] = time.monotonic,
        *,
        waiting: int = WAITING,
        heaviest: int = HEAVIEST,
    ) -> None:
        self._file = file
        self._heaviest = heaviest
        self._given = 0  # characters so far; only the caller's thread counts them
        self._taken = 0  # only the writing thread does
        self._clock = clock
        self._rows: queue.Queue[Mapping[str, Any] | None] = queue.Queue(waiting)
        self._thread = threading.Thread(target=self._write, name="keep", daemon=True)
        self._crowded = 0  # rows that found no room; only the caller's thread counts them
        self._failed = 0
        self.written = 0
        self.problem = ""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rows.put(None)
        self._thread.join()

    @property
    def lost(self) -> int:
        """See above."""
        return self._crowded + self._failed

    def keep(self, row: Mapping[str, Any]) -> None:
        """Have a row written, soon; it must not change any more. It never waits and never fails."""
        weight = _weight(row)
        if self._given - self._taken + weight > self._heaviest:
            self._crowded += 1
            return
        try:
            self._rows.put_nowait(row)
            self._given += weight
        except queue.Full:
            self._crowded += 1

    # ---------------------------------------------------------------- in the thread

    def _write(self) -> None:
        self._try(self._file.tend)
        tended = self._clock()
        while True:
            found = self._next()
            rows = [row for row in found if row is not None]
            wrote = bool(rows) and self._try(partial(self._file.append, rows))
            self._taken += sum(map(_weight, rows))
            if wrote:
                self.written += len(rows)
            else:
                self._failed += len(rows)
            if None in found:
                return
            if self._clock() - tended >= DAY:
                self._try(self._file.tend)
                tended = self._clock()

    def _next(self) -> list[Mapping[str, Any] | None]:
        """What waits, once something does; None is the end."""
        rows: list[Mapping[str, Any] | None] = []
        with suppress(queue.Empty):
            rows.append(self._rows.get(timeout=WAKES))
            while rows[-1] is not None:
                rows.append(self._rows.get_nowait())
        return rows

    def _try(self, step: Callable[[], None]) -> bool:
        """Take a step on the file; where that fails, `problem` says why and the server goes on."""
        try:
            step()
        except Exception as error:
            self.problem = f"{type(error).__name__}: {getattr(error, 'strerror', None) or 'the row is no JSON'}"
            return False
        self.problem = ""
        return True
