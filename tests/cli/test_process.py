"""The command as a process of its own: pipes that close, disks that are full, and a traceback never."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "autotts"]


def test_a_pipe_that_closes_is_no_error() -> None:
    process = subprocess.Popen([*COMMAND, "strategies"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()  # the reader is gone before a line is written, as with `| head -0`
    err = process.stderr.read()
    process.stderr.close()
    assert err == b"" and process.wait() in (1, 141)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_an_output_that_is_full_is_told() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, "tasks"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "autotts: standard output cannot be written: No space left on device\n"


def test_wrong_input_leaves_one_line_and_code_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "optimize", "--task", "math", "--budget", "1e15flop", "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("autotts: --budget: expected a positive number and a unit")
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_json_is_all_that_stands_on_stdout(policy: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "run", str(policy), "solve: 12+3*4", "--json"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["answer"] == "24"


def test_text_survives_a_terminal_that_knows_ascii_only() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    for argv in (["strategies"], ["tasks", "math"], ["models", "list"], ["optimize", "--help"]):
        done = subprocess.run([*COMMAND, *argv], capture_output=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr == b"" and done.stdout.isascii()
