"""Findings and figures of pools fit the terminal, and say everything at any width."""

from __future__ import annotations

from typing import Any

import pytest

from autotts.report.pools import findings_table, stats_table
from tests.report.test_tables import printed, told

Json = dict[str, Any]


def finding(**given: Any) -> Json:
    place = {"file": "a.jsonl", "line": 12, "prompt_id": "p[1]\x1b", "model": "S", "sample_index": 3}
    return {
        "kind": "labels", "grave": True, "says": "labels contradict answers", "lines": 1200, "problems": 1,
        "places": [place], "spoils": ["accuracy", "majority"], "advice": "label these again",
    } | given  # fmt: skip


def checked(*findings: Json, files: tuple[str, ...] = ("a.jsonl",)) -> Json:
    return {"files": files, "lines": 15360, "problems": 30, "models": 4, "findings": list(findings)}


def family(role: str = "Qwen3-4B", **given: Any) -> Json:
    curve = [{"k": k, "value": 0.5 + k / 1000, "problems": 30} for k in (2, 4, 8, 16, 32, 64, 128)]
    return {
        "role": role, "model": role, "strategy": "sample", "temperature": 0.7, "problems": 30, "samples": 3840,
        "fewest": 128, "median": 128.0, "most": 128, "accuracy": {"value": 0.718, "low": 0.572, "high": 0.83},
        "pass_at": curve, "majority_at": [at | {"value": at["value"] - 0.1} for at in curve], "tokens": 13851.3,
        "tokens_p95": 32108.0, "length_within": -0.505, "length_between": None, "unread": 0.0036, "cut": 0.0,
        "auc": 0.81, "missing": [], "beyond": [], "beyond_note": None,
    } | given  # fmt: skip


def bare(role: str) -> Json:
    none = dict.fromkeys(("accuracy", "tokens", "tokens_p95", "length_within", "length_between", "auc"))
    few = {"fewest": 1, "median": 1.0, "most": 2, "pass_at": [], "majority_at": [], "strategy": "greedy"}
    return family(role, **none, **few)


def stats(*families: Json) -> Json:
    return {
        "pool": "made", "files": ["a.jsonl"], "problems": 30, "families": list(families), "notes": ["a [b] note"],
    }  # fmt: skip


@pytest.mark.parametrize("width", (40, 60, 80, 100, 140))
def test_findings_fit_and_tell_all(width: int) -> None:
    limit = finding(kind="missing-score", grave=False, says="no line has a score", spoils=[], problems=30)
    text = printed(findings_table(checked(finding(), limit)), width)
    assert max(map(len, text.splitlines())) <= width
    assert text.isascii()
    assert "\x1b" not in text
    together = told(text)
    for piece in (
        "a.jsonl: 15,360 lines, 30 problems, 4 models",
        "1 finding makes figures false; 1 says what figures cannot be had",
        "! labels contradict answers",
        "(labels; 1,200 lines, 1 problem)",
        "spoils accuracy, majority",
        "such as line 12, p[1]?, S, sample 3",
        "- no line has a score",
    ):
        assert piece in together
    assert together.count("such as") == 1  # limits hold for the pool, not for a place
    assert "limits" not in together


def test_files_are_named_where_there_are_several() -> None:
    assert "a.jsonl, line 12" in told(printed(findings_table(checked(finding(), files=("a.jsonl", "b.jsonl"))), 100))


def test_a_sound_pool_is_called_one() -> None:
    assert "Nothing is amiss" in printed(findings_table(checked()), 80)


@pytest.mark.parametrize("width", (40, 60, 80, 100, 140))
def test_stats_fit_and_tell_all(width: int) -> None:
    families = [family(), family("Qwen3-8B" + "-and-more" * 5), family("Qwen3-8B", temperature=1.0), bare("[red]G")]
    text = printed(stats_table(stats(*families)), width)
    assert max(map(len, text.splitlines())) <= width
    assert text.isascii()
    together = told(text)
    for piece in (
        "71.8 (57.2-83.0)",
        "13,851",
        "32,108",
        "-0.51, -",
        "81.0",
        "note: a [b] note",
        "1-2",
        "51.6" if width == 140 else "50.8",
        "41.6" if width == 140 else "40.8",
    ):
        assert piece in together


def test_the_width_decides_how_many_numbers_of_draws_are_shown() -> None:
    def shown(width: int) -> list[str]:
        text = printed(stats_table(stats(family())), width)
        head = next(line for line in text.splitlines() if "draws each" in line)
        return [word for word in head.split() if "@" in word]

    assert shown(80) == ["pass@8", "maj@8"]
    assert shown(100) == ["pass@8", "pass@128", "maj@8", "maj@128"]
    assert shown(140) == ["pass@4", "pass@16", "pass@128", "maj@4", "maj@16", "maj@128"]
    assert "128:62.8" in told(printed(stats_table(stats(family())), 50))


def test_families_of_one_role_are_told_apart() -> None:
    text = printed(stats_table(stats(family(), family(temperature=1.0), family(strategy="beam(n=4)"))), 120)
    assert "Qwen3-4B T=0.7" in text
    assert "Qwen3-4B T=1" in text
    assert "Qwen3-4B beam(n=4) T=0.7" in text


def test_columns_of_which_nothing_is_known_are_left_out_and_shares_of_some_problems_marked() -> None:
    text = printed(stats_table(stats(bare("G"))), 100)
    for absent in ("AUC  ", "p95", "pass@8"):
        assert absent not in text
    some = family(pass_at=[{"k": 8, "value": 0.5, "problems": 10}], majority_at=[])
    text = printed(stats_table(stats(some)), 80)
    assert "50.0*" in text
    assert "* of the problems with so many draws only" in text


def test_what_is_beyond_the_pool_is_called_extrapolated() -> None:
    at = {"k": 256, "value": 0.912, "low": 0.85, "high": 0.951, "problems": 30, "extrapolated": True}
    fitted = family("A", beyond=[at, at | {"k": 512, "value": 0.93}])
    missed = family("B", beyond_note="no extrapolation: the fit misses pass@k inside the pool")
    for width in (40, 120):
        text = told(printed(stats_table(stats(fitted, missed, family("C"))), width))
        assert (
            "A: extrapolated (Beta fit to the pass rates of 30 problems): "
            "pass@256 91.2 (85.0-95.1), pass@512 93.0 (85.0-95.1)"
        ) in text
        assert "B: no extrapolation: the fit misses pass@k inside the pool" in text
        assert text.count("extrapolat") == 2
