"""A running study on the terminal: a live display, or plain lines where nobody looks at a terminal."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.text import Text

from autotts.core.cost import PARTS
from autotts.core.progress import Snapshot
from autotts.report.layout import NARROW
from autotts.report.numbers import amount, count, duration, percent, short

FRAME = 1 / 8  # seconds between two frames on a terminal, at least
LINE = 10.0  # seconds between two plain lines, at least
WINDOW = 5.0  # seconds over which the speed is measured

_PHASES = {"search": "searching", "complete": "completing", "confirm": "confirming"}


class Screen:
    """Shows each snapshot of a study on stderr; a context manager that is called as `core.progress.Watcher`.

    Parameters
    ----------
    stream
        Where to write; stderr if none is given. A terminal gets a live display of at most 8 frames a second,
        anything else a plain line every 10 seconds and at each change of phase.
    clock
        Seconds that only grow.

    Examples
    --------
    >>> with Screen() as screen:  # doctest: +SKIP
    ...     optimise("math", watch=screen)
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = Console(file=stream or sys.stderr, highlight=False)
        self._clock = clock
        self._speed = _Speed()
        self._drawn = float("-inf")
        self._phase = ""
        self._waiting: Snapshot | None = None
        self._live: Live | None = None

    def __enter__(self) -> Screen:
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            # Standard output belongs to the result (--json), so only stderr is drawn around.
            self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._waiting is not None:
            self._draw(self._waiting)
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __call__(self, snapshot: Snapshot) -> None:
        """Show a snapshot, unless one was shown a moment ago; the last one is always shown at the end."""
        self._speed.see(snapshot)
        self._waiting = snapshot
        pause = LINE if self._live is None else FRAME
        if snapshot.phase != self._phase or self._clock() - self._drawn >= pause:
            self._draw(snapshot)

    def _draw(self, snapshot: Snapshot) -> None:
        self._phase, self._drawn, self._waiting = snapshot.phase, self._clock(), None
        speed = self._speed.tokens_per_second
        if self._live is not None:
            self._live.update(panel(snapshot, speed), refresh=True)
        else:
            # One line however long: it is read by programs and in log files, where a wrapped line is two.
            self._console.file.write(line(snapshot, speed) + "\n")
            self._console.file.flush()


@dataclass(slots=True)
class _Speed:
    """Tokens a second over the last few seconds of the study's own clock."""

    seen: deque[tuple[float, int]] = field(default_factory=deque)

    def see(self, snapshot: Snapshot) -> None:
        now = (snapshot.elapsed, snapshot.tokens)
        if len(self.seen) > 1 and now[0] - self.seen[-2][0] < FRAME:  # thousands of snapshots a second may come
            self.seen[-1] = now
        else:
            self.seen.append(now)
        while len(self.seen) > 2 and self.seen[1][0] <= snapshot.elapsed - WINDOW:
            self.seen.popleft()

    @property
    def tokens_per_second(self) -> float | None:
        if not self.seen:
            return None
        (start, before), (end, after) = self.seen[0], self.seen[-1]
        return max(0.0, (after - before) / (end - start)) if end > start else None


def line(snapshot: Snapshot, speed: float | None) -> str:
    """A snapshot as one plain line."""
    return "  ".join(part for part in (_head(snapshot), _runs(snapshot), *_details(snapshot, speed)) if part)


def _head(snapshot: Snapshot) -> str:
    phase = _PHASES.get(snapshot.phase, snapshot.phase)
    return (
        f"{phase} round {snapshot.round} of {snapshot.rounds}"
        if snapshot.phase == "search" and snapshot.rounds
        else phase
    )


def _runs(snapshot: Snapshot) -> str:
    return f"{count(snapshot.done)}/{count(snapshot.total)} runs"


def _details(snapshot: Snapshot, speed: float | None) -> list[str]:
    """What there is to tell, most wanted first."""
    best = ""
    if snapshot.best is not None:
        best = f"best {percent(snapshot.best[0])} % at {amount(snapshot.best[1], snapshot.unit)}"
    left = "" if snapshot.left is None else f", about {duration(snapshot.left)} left"
    return [
        f"{count(snapshot.trials)} trials ({count(snapshot.pruned)} pruned, {count(snapshot.free)} free)",
        f"{count(snapshot.draws)} draws ({count(snapshot.reused)} reused)",
        f"{_thousands(snapshot.tokens)} tokens" + ("" if speed is None else f" ({_thousands(speed)}/s)"),
        f"spent {amount(snapshot.spend, snapshot.unit)}",
        best,
        f"{duration(snapshot.elapsed)}{left}",
    ]


def _thousands(number: float) -> str:
    return short(number * PARTS["tokens"], "tokens")


def panel(snapshot: Snapshot, speed: float | None) -> RenderableType:
    """A snapshot as the live display shows it."""
    return _Panel(snapshot, speed)


@dataclass(frozen=True, slots=True)
class _Panel:
    """The live display: a bar, and below it as many facts a line as fit."""

    snapshot: Snapshot
    speed: float | None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        yield Text(_head(self.snapshot), style="bold", no_wrap=True, overflow="ellipsis")
        yield self._bar(width, options.ascii_only)
        details = [part for part in _details(self.snapshot, self.speed) if part]
        for row in _rows(details, width) if width >= NARROW else details:
            yield Text(row, no_wrap=True, overflow="ellipsis")

    def _bar(self, width: int, letters: bool) -> Text:
        share = min(1.0, self.snapshot.done / self.snapshot.total) if self.snapshot.total > 0 else 0.0
        tail = f" {100 * share:3.0f} %  {_runs(self.snapshot)}"
        room = max(4, min(48, width - len(tail)))
        full = round(room * share)
        done, rest = ("#", "-") if letters else ("━", "─")
        bar = Text.assemble((done * full, "cyan"), (rest * (room - full), "dim"), tail)
        bar.truncate(width, overflow="ellipsis")
        return bar


def _rows(parts: list[str], width: int) -> list[str]:
    """As many parts a row as fit, in their order."""
    rows: list[str] = []
    for part in parts:
        if rows and len(rows[-1]) + 3 + len(part) <= width:
            rows[-1] += "   " + part
        else:
            rows.append(part)
    return rows
