"""One command line in this process: its exit code, and what it wrote where."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from autotts.cli import run_cli
from autotts.tasks import READERS
from autotts.worlds.tiny import open_tiny
from tests.policy.policies import policy_data


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


Cli = Callable[..., Ended]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    def run(*argv: object) -> Ended:
        code = run_cli([str(arg) for arg in argv])
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return run


@pytest.fixture(scope="session")
def served() -> dict[str, Any]:
    """The plain data of a policy that the embedded model S can serve."""
    with open_tiny(("S",), read=READERS["arithmetic"]) as world:
        name = world.bindings["S"].id
    data = policy_data()
    data["task"] = {"name": "math", "reader": "arithmetic", "grader": "arithmetic"}
    data["models"] = {"S": {"binding": {"engine": "tiny", "id": name}}}
    data["scorers"] = {}
    data["arms"]["dear"]["arm"] = "vote(n=16, model=S, temperature=1)"
    return data


@pytest.fixture
def policy(served: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(served))
    return path


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    """A small task without levels."""
    path = tmp_path / "sums.jsonl"
    rows = [{"prompt": f"solve: {n}+{n % 7}", "answer": n + n % 7} for n in range(10, 50)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def small(tmp_path: Path, sums: Path) -> Path:
    """A study of one arm on a few sums."""
    path = tmp_path / "small.toml"
    path.write_text(
        f'task = "{sums}"\nmodels = ["S"]\nstrategies = ["one"]\nsearch = 8\nconfirm = 8\nblock = 4\n'
        "trials = 2\nslots = 1\n"
    )
    return path
