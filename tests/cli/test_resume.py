"""A study that is killed goes on where it was: no finished draw is made again, and the result is the same."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

STUDY = """
name = "resumed"
task = "{task}"
models = ["S"]
search = 10
confirm = 8
block = 4
trials = 9
slots = 1
"""
# Control-C is ignored in a program that a shell runs in the background, and in all that it starts.
PROGRAM = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); from autotts.cli import main; main()"
)


def start(study: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", PROGRAM, "optimize", "--study", str(study), "--out", str(out), "--quiet", *more]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def samples(out: Path) -> int:
    path = out / "autotts.db"
    if not path.exists():
        return 0
    db = sqlite3.connect(path, timeout=30)
    try:
        return int(db.execute("SELECT count(*) FROM autotts_sample").fetchone()[0])
    except sqlite3.OperationalError:  # the tables are not there yet
        return 0
    finally:
        db.close()


def keys(out: Path) -> set[bytes]:
    with sqlite3.connect(out / "autotts.db") as db:
        return {row[0] for row in db.execute("SELECT key FROM autotts_sample WHERE kind != 'root'")}


def stop_at(process: subprocess.Popen[str], out: Path, count: int, number: int) -> None:
    """Send a signal when so many samples are kept."""
    end = time.monotonic() + 300
    while samples(out) < count and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    assert process.poll() is None, "it ended too early to be stopped"
    process.send_signal(number)


def finished(process: subprocess.Popen[str]) -> None:
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err


def lasting(out: Path) -> dict[str, Any]:
    """What must not depend on interruptions: all but the times, what this run alone drew, and what was cancelled."""
    result: dict[str, Any] = json.loads((out / "result.json").read_text())
    spend = result.pop("spend")
    assert spend["total"] == sum(spend["by_kind"].values())
    for done in result["rounds"]:
        del done["draws"]
    for name in ("date", "command"):
        del result["provenance"][name]
    return result


def policy(out: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((out / "policy.json").read_text())
    del data["made"]
    return data


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of sums, in two levels."""
    folder = tmp_path_factory.mktemp("study")
    easy = [{"prompt": f"solve: {n}+{n % 7}", "answer": n + n % 7, "level": 1} for n in range(10, 50)]
    hard = [
        {"prompt": f"solve: {n}*3+{n % 5}*{n}-8", "answer": n * 3 + n % 5 * n - 8, "level": 2} for n in range(20, 60)
    ]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (*easy, *hard)))
    path = folder / "resumed.toml"
    path.write_text(STUDY.format(task=folder / "sums.jsonl"))
    return path


@pytest.fixture(scope="module")
def whole(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "out"
    finished(start(study, out))
    return out


@pytest.mark.slow
def test_a_study_that_is_stopped_again_and_again_ends_as_if_it_had_not_been(
    whole: Path, study: Path, tmp_path: Path
) -> None:
    out, total = tmp_path / "out", samples(whole)
    for share in (0.15, 0.5):
        process = start(study, out)
        stop_at(process, out, int(share * total), signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL

    process = start(study, out)
    stop_at(process, out, int(0.8 * total), signal.SIGINT)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert f"Go on with:\n  autotts optimize --study {study} --out {out} --quiet" in err
    assert not (out / "result.json").exists()

    kept = keys(out)
    finished(start(study, out))
    assert lasting(out) == lasting(whole)
    assert policy(out) == policy(whole)
    assert kept < keys(out) == keys(whole)
    made = json.loads((out / "result.json").read_text())["spend"]["draws"]
    assert made == len(keys(out) - kept)  # what was kept was not drawn again
