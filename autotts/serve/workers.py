"""Several processes that serve on one socket: started, watched, started again when one dies, and ended together.

The parent listens and does nothing else: it has no event loop, no threads and no models, so it can fork at any time,
and a child that is started again is as fresh as the first. A child inherits the socket and opens its own models. To
start new interpreters instead would cost seconds each and would need all options as text again.

SIGTERM and SIGINT let the children answer what they have begun, SIGHUP is passed on. Children are in process groups of
their own, so that Ctrl-C reaches them once, through the parent; if the parent is killed they end as on SIGTERM.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol

from autotts.errors import AutottsError, InputError

PAUSE: Final = 1.0  # seconds before a child that died is started again; doubled each time, until one has settled
LONGEST: Final = 30.0
SETTLED: Final = 5.0  # seconds after which a start has succeeded
HOPELESS: Final = (2, 3)  # exit codes that another start would not change: the user's input, the budget

Serve = Callable[[socket.socket], None]


@dataclass(frozen=True, slots=True)
class Ended:
    """A child that has ended; `code` is its exit code, or minus the signal that ended it."""

    pid: int
    code: int


class Processes(Protocol):
    """What the system offers to a supervisor."""

    def start(self) -> int:
        """Start a child; its number."""
        ...

    def send(self, pid: int, number: int) -> None:
        """Send a signal to a child that may have ended."""
        ...

    def ended(self) -> Iterable[Ended]:
        """Children that have ended since the last call."""
        ...

    def wait(self, seconds: float | None) -> Iterable[int]:
        """Signals that came, after at most so many seconds."""
        ...

    def now(self) -> float:
        """Seconds that never jump."""
        ...


class Supervisor:
    """Keeps `count` children until it is told to end.

    Parameters
    ----------
    drain
        Seconds that children have to end after the first SIGTERM or SIGINT; then they are killed.
    tell
        Is given words about children that died.
    """

    def __init__(
        self, processes: Processes, count: int, *, drain: float, tell: Callable[[str], None] = lambda words: None
    ) -> None:
        self._system = processes
        self._count = count
        self._drain = drain
        self._tell = tell
        self._begun: dict[int, float] = {}
        self._due: list[float] = []  # when to start others
        self._pause = PAUSE
        self._settled = False
        self._killing: float | None = None  # when those that are left are killed; None: nobody has to end
        self._code = 0

    def run(self) -> int:
        """Serve until told to end; the exit code: 0, or that of a child that could not be started or did not end."""
        for _ in range(self._count):
            self._start()
        while self._begun or self._due:
            for number in self._system.wait(self._next()):
                self._heard(number)
            for ended in self._system.ended():
                self._buried(ended)
            now = self._system.now()
            if self._killing is not None and now >= self._killing:
                self._code = self._code or 1
                self._all(signal.SIGKILL)
                self._killing = now + PAUSE
            for _ in [due for due in self._due if due <= now]:
                self._start()
            self._due = [due for due in self._due if due > now]
        return self._code

    def _start(self) -> None:
        self._begun[self._system.start()] = self._system.now()

    def _all(self, number: int) -> None:
        for pid in self._begun:
            self._system.send(pid, number)

    def _next(self) -> float | None:
        """Seconds until something is to be done besides."""
        moments = [*self._due, *([] if self._killing is None else [self._killing])]
        return max(0.0, min(moments) - self._system.now()) if moments else None

    def _heard(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._all(number)
        elif number in (signal.SIGTERM, signal.SIGINT):
            # A second time they need not finish what they have begun; uvicorn takes SIGINT for that.
            self._end(signal.SIGTERM if self._killing is None else signal.SIGINT)

    def _end(self, number: int) -> None:
        self._due = []
        self._all(number)
        if self._killing is None:
            self._killing = self._system.now() + self._drain

    def _buried(self, ended: Ended) -> None:
        begun = self._begun.pop(ended.pid, None)
        if begun is None:
            return
        now = self._system.now()
        if self._killing is not None:
            if ended.code not in (0, -signal.SIGTERM, -signal.SIGINT, -signal.SIGKILL):
                self._code = self._code or _exit_code(ended.code)
            return
        if now - begun >= SETTLED:
            self._settled, self._pause = True, PAUSE
        how = f"by signal {-ended.code}" if ended.code < 0 else f"with exit code {ended.code}"
        if ended.code in HOPELESS and not self._settled:
            self._code = ended.code
            self._end(signal.SIGTERM)
            return
        self._tell(f"the worker {ended.pid} ended {how}; another is started in {self._pause:g} s")
        self._due.append(now + self._pause)
        self._pause = min(2 * self._pause, LONGEST)


def _exit_code(code: int) -> int:
    """As a shell has it."""
    return 128 - code if code < 0 else code


def run(
    bound: socket.socket, serve: Serve, count: int, *, drain: float, tell: Callable[[str], None] = lambda words: None
) -> int:
    """Serve on a socket that listens, in `count` processes; the exit code. To be called before there are threads.

    Parameters
    ----------
    serve
        What a child does; it returns, or ends by a signal, when it has answered what it had begun.
    drain
        Seconds that children have to end.

    Raises
    ------
    InputError
        For a count below 1, or a system that cannot do this.
    """
    if count < 1:
        raise InputError(f"--workers: expected at least 1, found {count}")
    if count == 1:
        serve(bound)
        return 0
    if not hasattr(os, "fork"):
        raise InputError(f"--workers: expected 1 on this system, which cannot fork processes, found {count}")
    with _Forks(bound, serve) as forks:
        return Supervisor(forks, count, drain=drain, tell=tell).run()


class _Forks:
    """The system itself: children by fork, signals through a pipe."""

    HEARD: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

    def __init__(self, bound: socket.socket, serve: Serve) -> None:
        self._bound = bound
        self._serve = serve

    def __enter__(self) -> _Forks:
        self._alive, self._life = os.pipe()  # the children's end is at its end when the parent is gone
        self._ear, self._mouth = socket.socketpair()
        self._ear.setblocking(False)
        self._mouth.setblocking(False)
        self._before = {number: signal.signal(number, lambda *_: None) for number in self.HEARD}
        self._wake = signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wake)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._ear.close()
        self._mouth.close()
        os.close(self._alive)
        os.close(self._life)

    def start(self) -> int:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # else a child says it again
        held = signal.pthread_sigmask(signal.SIG_BLOCK, self.HEARD)  # until it has handlers of its own
        try:
            with warnings.catch_warnings():
                # Libraries of linear algebra have threads, idle ones, which they start again after a fork.
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
            if pid == 0:
                self._child(held)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
        return pid

    def send(self, pid: int, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    def ended(self) -> Iterable[Ended]:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            yield Ended(pid, os.waitstatus_to_exitcode(status))

    def wait(self, seconds: float | None) -> Iterable[int]:
        select.select([self._ear], [], [], seconds)
        try:
            return list(self._ear.recv(4096))
        except BlockingIOError:
            return []

    def now(self) -> float:
        return time.monotonic()

    def _child(self, held: Iterable[int]) -> NoReturn:
        """The rest of a child's life."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in self.HEARD:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it watches its policy
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
            os.setpgid(0, 0)
            os.close(self._life)
            threading.Thread(target=_end_with, args=(self._alive,), name="autotts-parent", daemon=True).start()
            self._serve(self._bound)
            code = 0
        except AutottsError as error:
            print(f"error: {error}", file=sys.stderr)
            code = error.exit_code
        except KeyboardInterrupt:
            code = 0
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        except BaseException:  # the boundary of the process: it is told, and the parent starts another
            traceback.print_exc()
        finally:
            with suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)


def _end_with(alive: int) -> None:
    """Wait until the parent is gone, and then end as on SIGTERM."""
    os.read(alive, 1)
    os.kill(os.getpid(), signal.SIGTERM)
