"""Optuna's own dashboard opens a study: every level is there, with its arms and its frontier in words."""

from __future__ import annotations

import gzip
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.cli.test_resume import PROGRAM

Get = Callable[[str], Any]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def get(cli: Cli, tmp_path: Path, small: Path) -> Iterator[Get]:
    """Asks the dashboard of a small study of math for a page."""
    pytest.importorskip("optuna_dashboard")
    text = small.read_text()
    small.write_text(re.sub("task = .*", 'task = "math"', text).replace("trials = 2", "trials = 5"))
    assert cli("optimize", "--study", small, "--out", tmp_path / "out", "--quiet").code == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [sys.executable, "-c", PROGRAM, "dashboard", str(tmp_path / "out"), "--port", str(port)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            while "Listening" not in (line := process.stderr.readline()):
                assert line, "the dashboard ended"
            end = time.monotonic() + 60
            while time.monotonic() < end and not listens(port):  # it says so a little before it does
                time.sleep(0.02)

            def ask(path: str) -> Any:
                request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Accept-Encoding": "gzip"})
                with urllib.request.urlopen(request, timeout=60) as reply:
                    data = reply.read()
                    data = gzip.decompress(data) if reply.headers["Content-Encoding"] == "gzip" else data
                    return json.loads(data) if "json" in reply.headers["Content-Type"] else data.decode()

            yield ask
        finally:
            process.send_signal(signal.SIGINT)
            process.stderr.read()
    assert process.returncode == 0


@pytest.mark.slow
def test_the_dashboard_shows_every_level_with_its_arms(get: Get) -> None:
    studies = {study["study_name"]: study["study_id"] for study in get("/api/studies")["study_summaries"]}
    assert list(studies) == [f"small/L{level}" for level in range(1, 6)]
    shown = get(f"/api/studies/{studies['small/L3']}")
    assert shown["directions"] == ["maximize", "minimize"]
    assert shown["objective_names"] == ["accuracy", "mean cost (flops)"]
    arms = [{a["key"]: a["value"] for a in trial["user_attrs"]}["arm"] for trial in shown["trials"]]
    assert "one(model=S, temperature=0)" in arms
    assert "| `one(model=S, temperature=0)` |" in shown["note"]["body"]
    assert "<html" in get("/dashboard") and len(get("/static/bundle.js")) > 10_000
