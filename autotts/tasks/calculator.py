"""A process in which slow or dangerous work runs: started when first asked, ended when a request takes too long."""

from __future__ import annotations

import atexit
import json
import queue
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache
from typing import IO, Final

SECONDS: Final = 3.0  # of processor time a request: the same on a busy machine
_PATIENCE: Final = 60.0  # seconds on the clock, for a machine that stands still
_PROGRAM: Final = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from autotts.tasks import {module}
{module}.serve({seconds})
"""


class Calculator:
    """Answers requests one at a time, from any thread; None where there is no answer.

    `module` of this room has the function `serve`, which does the work: `algebra` runs math-verify.
    """

    def __init__(self, seconds: float = SECONDS, module: str = "algebra") -> None:
        self._program = _PROGRAM.format(seconds=seconds, module=module)
        self._turn = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def ask(self, *request: str | int) -> str | bool | None:
        """Ask for what the module knows: of algebra `canonical`, text or `equal`, gold, answer."""
        with self._turn:
            process = self._started()
            try:
                assert process.stdin is not None
                process.stdin.write(json.dumps(request) + "\n")
                process.stdin.flush()
                line = self._lines.get(timeout=_PATIENCE)
            except (OSError, queue.Empty):
                line = ""
            if not line:
                self._end()
                return None
            answer: str | bool | None = json.loads(line)
            return answer

    @property
    def running(self) -> bool:
        """Whether the process is there now."""
        return self._process is not None

    def close(self) -> None:
        """End the process; the next request starts another."""
        with self._turn:
            self._end()

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._lines = queue.SimpleQueue()
            self._process = subprocess.Popen(
                [sys.executable, "-c", self._program, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="utf-8",
                errors="backslashreplace",
                start_new_session=True,  # Ctrl-C is for the program, which ends this process itself
            )
            assert self._process.stdout is not None
            threading.Thread(target=_listen, args=(self._process.stdout, self._lines), daemon=True).start()
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            _close(pipe)
        process.wait()


def _listen(pipe: IO[str], lines: queue.SimpleQueue[str]) -> None:
    """Pass on lines, and an empty one at the end."""
    with suppress(OSError, ValueError):  # closed by the other thread
        for line in pipe:
            lines.put(line)
    lines.put("")


def _close(pipe: IO[str] | None) -> None:
    if pipe is not None:
        with suppress(OSError):  # what was left to write has no reader any more
            pipe.close()


@cache
def shared() -> Calculator:
    """The calculator of this process."""
    calculator = Calculator()
    atexit.register(calculator.close)
    return calculator
