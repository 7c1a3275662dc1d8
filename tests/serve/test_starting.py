"""A server that cannot begin: it ends with words that say why, and nobody was answered."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from autotts.errors import StoreError
from autotts.policy.opening import Where
from autotts.serve.running import Options, listening, serve_on
from autotts.store import database
from autotts.worlds.models.entry import Server
from tests.serve.served import policy_data


def test_a_database_that_is_locked_ends_the_start_in_words(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, file = tmp_path / "policy.json", tmp_path / "serve.db"
    path.write_text(json.dumps(policy_data(tmp_path)))
    url = f"sqlite:///{file}?timeout=0.01"
    database.open(url).dispose()
    options = Options(port=0, storage=url, where=Where(upstream=Server("http://127.0.0.1:9/v1")))
    with closing(sqlite3.connect(file, isolation_level=None)) as other, listening(options) as bound:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            serve_on(bound, path, options, tmp_path)
    assert "Traceback" not in capfd.readouterr().err
