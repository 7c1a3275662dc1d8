"""A disk that fills up: the database refuses to grow, and what was committed is where the next run goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from tests.cli.conftest import Cli
from tests.cli.test_bad_input import refused, samples


@pytest.fixture
def pages() -> Iterator[Callable[[int], None]]:
    """Sets how many pages any database may have from now on; SQLite itself says that it is full."""
    limit = 1_000_000

    def connected(raw: Any, _: object) -> None:
        raw.execute(f"PRAGMA max_page_count={limit}")

    def set_limit(count: int) -> None:
        nonlocal limit
        limit = count

    event.listen(sa.Engine, "connect", connected)
    yield set_limit
    event.remove(sa.Engine, "connect", connected)


def found(out: Path) -> dict[str, Any]:
    result = json.loads((out / "result.json").read_text())
    return {key: result[key] for key in ("accuracy", "cost", "policy", "frontier", "levels", "trials")}


@pytest.mark.parametrize("count", [20, 54])  # while the tables are made, and while samples are
def test_a_full_disk_is_told_and_the_same_command_goes_on(
    cli: Cli, tmp_path: Path, small: Path, pages: Callable[[int], None], count: int
) -> None:
    small.write_text(small.read_text().replace('["one"]', '["one", "vote"]').replace("trials = 2", "trials = 4"))
    argv = ("optimize", "--study", small, "--quiet", "--out")
    out = tmp_path / "out"
    pages(count)
    refused(cli(*argv, out), "is full (no space left on its disk)", "make room and run the same command again")
    kept = samples(out)
    assert (kept > 0) == (count > 30) and not (out / "policy.json").exists()
    pages(1_000_000)
    assert cli(*argv, out).code == 0
    assert cli(*argv, tmp_path / "whole").code == 0
    assert found(out) == found(tmp_path / "whole")
    drawn = json.loads((out / "result.json").read_text())["spend"]["draws"]
    assert drawn == samples(out) - kept
