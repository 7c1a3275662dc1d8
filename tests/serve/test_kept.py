"""Prompts that an operator asked to be kept: where, for how long, and what a broken disk does."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from autotts.errors import InputError
from autotts.serve.kept import DAY, File, Kept

NOW = 1_800_000_000.0


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_lines_are_written_with_their_time_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    with Kept(File(path, clock=lambda: NOW)) as kept:
        for n in range(3):
            kept.keep({"prompt": f"p{n} \ud800\n", "cost": n})
    assert [line["cost"] for line in lines(path)] == [0, 1, 2]
    assert lines(path)[0]["time"] == "2027-01-15T08:00:00.000+00:00"
    assert lines(path)[0]["prompt"] == "p0 \ud800\n"
    assert (kept.written, kept.lost, kept.problem) == (3, 0, "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_others_can_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    path.touch(0o644)
    File(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_old_lines_are_dropped_and_young_ones_stay(tmp_path: Path) -> None:
    path, now = tmp_path / "kept.jsonl", [NOW]
    file = File(path, days=2, clock=lambda: now[0])
    for n in range(5):
        file.append([{"n": n}])
        now[0] += DAY
    with path.open("ab") as broken:
        broken.write(b'{"time": "half a')
    before = path.stat().st_ino
    file.append([{"n": 5}])
    file.tend()
    assert [line["n"] for line in lines(path)] == [3, 4, 5]
    assert path.stat().st_ino != before and stat.S_IMODE(path.stat().st_mode) == 0o600
    now[0] -= DAY
    before = path.stat().st_ino
    file.tend()
    assert path.stat().st_ino == before, "nothing was old"
    assert os.listdir(tmp_path) == ["kept.jsonl"]


def test_a_server_drops_old_lines_when_it_starts_and_daily(tmp_path: Path) -> None:
    path, now, mono = tmp_path / "kept.jsonl", [NOW], [0.0]
    file = File(path, days=1, clock=lambda: now[0])
    file.append([{"n": 0}])
    now[0] += 1.5 * DAY
    with Kept(file, clock=lambda: mono[0]) as kept:
        kept.keep({"n": 1})
    assert [line["n"] for line in lines(path)] == [1]


def test_beyond_the_largest_size_the_older_half_goes(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    file = File(path, largest=1000, clock=lambda: NOW)
    for n in range(100):
        file.append([{"n": n}])
        assert path.stat().st_size <= 1000
    kept = [line["n"] for line in lines(path)]
    assert kept == list(range(kept[0], 100)) and len(kept) >= 8


def test_two_servers_share_a_file_while_one_writes_it_anew(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    one, two = (File(path, largest=10_000, clock=lambda: NOW) for _ in range(2))
    for n in range(200):
        (one if n % 2 else two).append([{"n": n}])
    found = [line["n"] for line in lines(path)]
    assert found == list(range(found[0], 200))


class Broken(File):
    """A disk that is full until it is `mended`."""

    mended = False

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        if not self.mended:
            raise OSError(28, "No space left on device")
        super().append(rows)


def test_a_full_disk_breaks_no_request_and_is_counted(tmp_path: Path) -> None:
    broken = Broken(tmp_path / "kept.jsonl")
    with Kept(broken) as kept:
        kept.keep({"n": 0})
        kept.keep({"n": 1})
    assert (kept.written, kept.lost) == (0, 2)
    assert "No space left" in kept.problem


def test_half_a_line_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    file = File(path, clock=lambda: NOW)
    file.append([{"n": 0}])
    with pytest.raises(TypeError):
        file.append([{"n": 1}, {"n": object()}])
    assert [line["n"] for line in lines(path)] == [0]


class Slow(File):
    """A file that is written to when `go` is set; `inside` is set when somebody tries."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.inside, self.go = threading.Event(), threading.Event()

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.inside.set()
        self.go.wait(5)
        super().append(rows)


def test_what_the_queue_has_no_room_for_is_lost_at_once(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    slow = Slow(path)
    with Kept(slow, waiting=2) as kept:
        kept.keep({"n": 0})
        assert slow.inside.wait(5)
        for n in range(1, 6):
            kept.keep({"n": n})
        assert kept.lost == 3
        slow.go.set()
    assert [line["n"] for line in lines(path)] == [0, 1, 2]
    assert kept.written == 3


def test_long_prompts_that_wait_are_bounded_in_all(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    slow = Slow(path)
    with Kept(slow, heaviest=100) as kept:
        for n in range(5):
            kept.keep({"n": n, "prompt": 40 * "x"})
            assert slow.inside.wait(5)
        assert kept.lost == 3
        slow.go.set()
        while kept.written < 2:
            time.sleep(0)
        kept.keep({"n": 5, "prompt": 40 * "x"})
    assert [line["n"] for line in lines(path)] == [0, 1, 5]


def test_another_file_is_never_taken_for_one_of_these(tmp_path: Path) -> None:
    path = tmp_path / "thesis.md"
    path.write_text("# mine")
    with pytest.raises(InputError, match="something else"):
        File(path)
    assert path.read_text() == "# mine"
    with pytest.raises(InputError, match="written to"):
        File(tmp_path)
    with pytest.raises(InputError, match="keep-days"):
        File(tmp_path / "x", days=0)
