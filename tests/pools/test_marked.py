"""Prompts that lines mark are left out with all that is theirs, and what cannot be meant is an error."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autotts.errors import InputError
from autotts.pools.load import load

PROMPTS = ("a", "b", "c", "d")


def lines(marked: dict[str, Any], key: str = "seen") -> list[dict[str, Any]]:
    """Two models on four prompts; large has probes, and draws of prompt c alone at another temperature."""
    out = []
    for n, name in enumerate(PROMPTS):
        for model, count in (("S", 2), ("L", 3)):
            for index in range(count):
                line: dict[str, Any] = {
                    "prompt_id": name,
                    "answer": "1",
                    "model": model,
                    "strategy": "sample",
                    "temperature": 0.7,
                    "sample_index": index,
                    "extracted": str(1 + index % 2),
                    "completion_tokens": 10 * n + index,
                }
                if model == "L":
                    line |= {"probe_every": 5, "probes": [str(n)] * (1 + index)}
                elif name in marked:
                    line[key] = marked[name]
                out.append(line)
    out.append({"prompt_id": "c", "model": "S", "strategy": "sample", "temperature": 0.1, "extracted": "1"})
    return out


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_marked_pool_is_the_pool_that_never_had_those_prompts(tmp_path: Path) -> None:
    rows = lines({"a": True, "b": False, "c": 1, "d": None})
    found = load([write(tmp_path / "all.jsonl", rows)], without=["seen"])
    bare = load([write(tmp_path / "some.jsonl", [row for row in rows if row["prompt_id"] in "bd"])])
    assert [p.id for p in found.problems] == ["b", "d"]
    assert found.digest == bare.digest
    assert [drawn.family for drawn in found.drawn] == [drawn.family for drawn in bare.drawn]
    for one, other in zip(found.drawn, bare.drawn, strict=True):
        np.testing.assert_array_equal(one.probe, other.probe)
        np.testing.assert_array_equal(one.tokens, other.tokens)
    assert "2 prompts left out: seen is true" in found.notes
    assert [note for note in found.notes if "seen" not in note] == list(bare.notes)


def test_a_prompt_counts_once_under_several_keys(tmp_path: Path) -> None:
    rows = [{**row, "old": row["prompt_id"] == "a"} for row in lines({"a": True, "d": True})]
    found = load([write(tmp_path / "pool.jsonl", rows)], without=["seen", "old"])
    assert [p.id for p in found.problems] == ["b", "c"]
    assert {"2 prompts left out: seen is true", "1 prompt left out: old is true"} <= set(found.notes)


def test_without_marks_nothing_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "pool.jsonl", lines({"a": False}))
    found = load([path], without=["seen"])
    assert found.digest == load([path]).digest and "0 prompts left out: seen is true" in found.notes


@pytest.mark.parametrize(
    ("keys", "marked", "words"),
    [
        (["sene"], {"a": True}, r"beside those of the layout \(seen\), found 'sene'"),
        (["correct"], {"a": True}, "not of the layout of pools, found 'correct'"),
        (["seen"], {"a": "yes"}, "line 1: seen: expected true or false, found 'yes'"),
        (["seen"], dict.fromkeys(PROMPTS, True), "prompts that are not marked, found none"),
    ],
)
def test_what_cannot_be_meant_is_an_error(tmp_path: Path, keys: list[str], marked: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        load([write(tmp_path / "pool.jsonl", lines(marked))], without=keys)
