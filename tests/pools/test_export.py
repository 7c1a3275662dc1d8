"""Pools go to Parquet and JSON lines and come back with every key of every line."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotts.cli import run_cli
from autotts.errors import InputError
from autotts.pools.export import export_pool
from autotts.pools.files import rows
from autotts.pools.load import load

FULL = {
    "dataset": "d",
    "prompt_id": "p",
    "prompt": "What is 1?",
    "answer": "1",
    "level": 3,
    "model": "S",
    "params_b": 0.75,
    "active_params_b": 0.5,
    "strategy": "sample",
    "temperature": 0.7,
    "top_p": 0.95,
    "template": "t",
    "effort": "high",
    "sample_index": 0,
    "finish": "length",
    "output": "It is\n1. é",
    "extracted": "1",
    "correct": True,
    "score": -1.25,
    "step_scores": [0.5, None, 1.0],
    "prompt_tokens": 7,
    "completion_tokens": 9,
    "time_s": 0.25,
    "probe_every": 500,
    "probes": ["1", None, ""],
    "verifier": "mine",
    "nested": {"a": [1, {"b": None}], "c": 1.5},
}


def written(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def known(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines without what is null: missing and null are one."""
    return [{key: value for key, value in line.items() if value is not None} for line in lines]


FORMS = ["b.parquet", "b.jsonl", "b.jsonl.gz", "b.ndjson"]


@pytest.mark.parametrize("form", FORMS)
def test_every_key_comes_back(tmp_path: Path, form: str) -> None:
    lines = [FULL, {"prompt_id": "q", "model": "L", "extracted": None, "extra": "also mine"}]
    log = written(tmp_path / "a.jsonl", lines)
    assert export_pool([log], tmp_path / form).lines == 2
    assert known([row for _, row in rows(tmp_path / form)]) == known(lines)
    assert load([tmp_path / form]).digest == load([log]).digest


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
NUMBER = st.floats(0, 1e6, allow_nan=False)
LINES = st.fixed_dictionaries(
    {"prompt_id": TEXT.filter(bool), "model": TEXT.filter(bool), "extracted": st.none() | TEXT},
    optional={
        "correct": st.booleans(),
        "score": st.floats(-1e6, 1e6),
        "completion_tokens": st.integers(0, 2**50),
        "level": st.integers(-5, 5),
        "step_scores": st.lists(NUMBER | st.none(), max_size=4),
        "probe_every": st.just(10),
        "probes": st.lists(TEXT | st.none(), max_size=4),
        "mine": st.recursive(st.booleans() | TEXT | st.integers() | NUMBER, lambda x: st.lists(x, max_size=3)),
    },
)


@given(st.lists(LINES, min_size=1, max_size=12), st.sampled_from(FORMS))
@settings(max_examples=40)
def test_any_lines_come_back(tmp_path_factory: pytest.TempPathFactory, lines: list[dict[str, Any]], form: str) -> None:
    folder = tmp_path_factory.mktemp("trip")
    export_pool([written(folder / "a.jsonl", lines)], folder / form)
    export_pool([folder / form], folder / "c.jsonl")
    assert known([row for _, row in rows(folder / "c.jsonl")]) == known(lines)


def test_equal_pools_are_equal_files(tmp_path: Path) -> None:
    log = written(tmp_path / "a.jsonl", [FULL])
    for name in ("one.jsonl.gz", "two.jsonl.gz"):
        export_pool([log], tmp_path / name)
    assert (tmp_path / "one.jsonl.gz").read_bytes() == (tmp_path / "two.jsonl.gz").read_bytes()
    assert gzip.decompress((tmp_path / "one.jsonl.gz").read_bytes()) == log.read_bytes()


def test_the_command_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = written(tmp_path / "a.jsonl", [FULL])
    assert run_cli(["pool", "export", str(log), "--output", str(tmp_path / "b.parquet")]) == 0
    assert "Wrote 1 lines to" in capsys.readouterr().out
    assert run_cli(["pool", "export", str(log), "--output", str(tmp_path / "b.parquet"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lines"] == 1


def test_what_cannot_be_exported_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = written(tmp_path / "a.jsonl", [{"request": {}, "response": {}}])
    with pytest.raises(InputError, match=r"a\.jsonl, line 1: prompt_id and model: expected text"):
        export_pool([other], tmp_path / "b.jsonl")
    half = written(tmp_path / "half.jsonl", [{**FULL, "output": "\ud83d"}])
    with pytest.raises(InputError, match=r"cannot be kept as Parquet .*write \.jsonl\.gz"):
        export_pool([half], tmp_path / "b.parquet")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"Parquet needs pyarrow.*pip install autotts-optimizer\[parquet\]"):
        export_pool([half], tmp_path / "b.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "half.jsonl"]
