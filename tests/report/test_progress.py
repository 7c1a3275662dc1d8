"""A running study is shown a few times a second on a terminal, and as plain lines elsewhere."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from autotts.core.progress import Snapshot
from autotts.report.progress import Screen, panel

FIRST = Snapshot(
    phase="search", done=0, total=2000, round=3, rounds=8, trials=41, pruned=12, free=30, draws=12345, reused=2345,
    tokens=0, spend=5 * 10**11, unit="flops", best=(0.931, 51e6), elapsed=0.0, left=70.0,
)  # fmt: skip


class Terminal(io.StringIO):
    """A stream that says that somebody looks at it."""

    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_elsewhere_a_line_every_ten_seconds_and_at_each_phase() -> None:
    stream, clock = io.StringIO(), Clock()
    with Screen(stream, clock) as screen:
        for second in range(26):
            clock.now = float(second)
            phase = "search" if second < 24 else "confirm"
            screen(replace(FIRST, phase=phase, done=80 * second, tokens=1000 * second, elapsed=clock.now))
    lines = stream.getvalue().splitlines()
    assert [line.split("  ")[:2] for line in lines] == [
        ["searching round 3 of 8", "0/2,000 runs"],
        ["searching round 3 of 8", "800/2,000 runs"],
        ["searching round 3 of 8", "1,600/2,000 runs"],
        ["confirming", "1,920/2,000 runs"],
        ["confirming", "2,000/2,000 runs"],  # the last snapshot is never lost
    ]
    assert "(1 k/s)" in lines[1]
    assert "best 93.1 % at 51 Mflops" in lines[1]
    assert stream.getvalue().isascii()
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_sees_eight_frames_a_second_at_most() -> None:
    stream, clock = Terminal(), Clock()
    with Screen(stream, clock) as screen:
        before = len(stream.getvalue())
        frames = 0
        for step in range(1000):
            clock.now = step / 1000
            screen(replace(FIRST, done=step, elapsed=clock.now))
            after = len(stream.getvalue())
            frames, before = frames + (after > before), after
        screen(replace(FIRST, done=1999, elapsed=1.0))
    assert frames == 8
    assert "1,999/2,000 runs" in stream.getvalue()


def test_the_terminal_gets_its_cursor_back_after_an_error() -> None:
    stream = Terminal()
    with pytest.raises(KeyboardInterrupt), Screen(stream, Clock()) as screen:
        screen(FIRST)
        raise KeyboardInterrupt
    assert stream.getvalue().rfind("\x1b[?25h") > stream.getvalue().rfind("\x1b[?25l")


@pytest.mark.parametrize("width", [20, 40, 80, 120])
@pytest.mark.parametrize(
    "snapshot", [FIRST, replace(FIRST, done=7, total=0, best=None, left=None, rounds=0, phase="?")]
)
def test_the_display_fits(snapshot: Snapshot, width: int) -> None:
    stream = io.StringIO()
    Console(file=stream, width=width).print(panel(snapshot, 45_600.0))
    assert max(len(line) for line in stream.getvalue().splitlines()) <= width


def test_the_bar_is_as_long_as_what_is_done() -> None:
    stream = io.StringIO()
    Console(file=stream, width=80).print(panel(replace(FIRST, done=1000), None))
    bar = stream.getvalue().splitlines()[1]
    assert bar.count("━") == bar.count("─") == 24
    assert " 50 %  1,000/2,000 runs" in bar
