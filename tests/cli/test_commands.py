"""What the commands print and write when all is well."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autotts import __version__
from tests.cli.conftest import Cli


def test_a_study_prints_its_estimate_its_progress_and_one_result(cli: Cli, tmp_path: Path, small: Path) -> None:
    out = tmp_path / "out"
    ended = cli("optimize", "--study", small, "--out", out, "--yes")
    assert ended.code == 0
    assert "8 to search on, 8 held out" in ended.err and "searching round 1" in ended.err
    assert ended.out.count("On 8 held-out prompts the policy is right on") == 1
    assert f"autotts run {out / 'policy.json'} 'your prompt'" in ended.out
    assert {path.name for path in out.iterdir()} == {"policy.json", "result.json", "report.html", "autotts.db"}

    again = cli("report", out)
    assert again.code == 0 and again.out == ended.out
    (out / "report.html").unlink()
    assert json.loads(cli("report", out, "--json").out) == json.loads((out / "result.json").read_text())
    assert (out / "report.html").stat().st_size > 10_000


def test_json_is_one_object_on_stdout_and_quiet_is_quiet(cli: Cli, tmp_path: Path, small: Path) -> None:
    ended = cli("optimize", "--study", small, "--out", tmp_path / "a", "--json")
    assert json.loads(ended.out) == json.loads((tmp_path / "a" / "result.json").read_text())
    ended = cli("optimize", "--study", small, "--out", tmp_path / "a", "--json", "--quiet")
    assert json.loads(ended.out)["spend"]["draws"] == 0 and ended.err == ""
    ended = cli("optimize", "--study", small, "--out", tmp_path / "a", "--quiet")
    assert (ended.code, ended.out, ended.err) == (0, "", "")


def test_run_says_the_answer_the_arm_and_the_cost(cli: Cli, policy: Path) -> None:
    ended = cli("run", policy, "solve: 12+3*4")
    assert ended.code == 0 and ended.err == ""
    for word in ("answer", "24", "arm", "one(model=S, temperature=0)", "cost", "Mflops"):
        assert word in ended.out
    shown = json.loads(cli("run", policy, "solve: 12+3*4", "--json").out)
    assert shown["answer"] == "24" and shown["draws"] == 1 and shown["ended"] == "returned" and shown["cost"] > 0


def test_a_cap_is_held_and_said(cli: Cli, policy: Path) -> None:
    shown = json.loads(cli("run", policy, "solve: 12+3*4-5", "--cap", "3Mflops", "--json").out)
    assert shown["ended"] == "cap" and shown["answer"] is None and shown["cost"] <= 3_000_000


def test_a_file_of_prompts_is_answered_in_order_and_gone_on_with(cli: Cli, policy: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    prompts = ["solve: 12+3*4", *(f"solve: {n}+{n}" for n in range(1, 7))]
    source.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    ended = cli("run", policy, "--input", source, "--output", target)
    assert ended.code == 0 and "7, 7 with an answer" in ended.out
    whole = target.read_text()
    rows = [json.loads(line) for line in whole.splitlines()]
    assert [row["prompt"] for row in rows] == prompts
    assert rows[0]["answer"] == "24" and rows[0]["arm"].startswith("one(")

    target.write_text("".join(line + "\n" for line in whole.splitlines()[:3]) + whole.splitlines()[3][:20])
    done = json.loads(cli("run", policy, "--input", source, "--output", target, "--json").out)
    assert (done["prompts"], done["answered"], done["cost"]) == (7, 7, sum(row["cost"] for row in rows))
    assert target.read_text() == whole


def test_an_arm_and_a_policy_are_evaluated(cli: Cli, policy: Path, sums: Path) -> None:
    ended = cli("evaluate", "--strategy", "vote(n=2)", "--models", "S", "--task", sums, "--prompts", 5)
    assert ended.code == 0 and ended.err == ""
    for word in ("vote(n=2, model=S, temperature=0.8)", "5 test prompts of sums", "95 % interval", "a prompt"):
        assert word in ended.out
    found = json.loads(cli("evaluate", policy, "--prompts", 2, "--json").out)
    assert found["format"] == "autotts.evaluation/1" and found["prompts"] == 10
    assert [level["bin"] for level in found["levels"]] == ["1", "2", "3", "4", "5"]
    table = cli("evaluate", policy, "--prompts", 2).out
    assert "level" in table and "mean cost, flops" in table and "one(model=S," in table


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("strategies",), ("vote", "adaptive", "whole number 1 to 64", "default")),
        (("tasks",), ("math", "level 1 35 %", "autotts tasks math")),
        (("tasks", "math"), ("solve: ", "answer: ")),
        (("models", "list"), ("S", "draws", "parameters", "Apache-2.0")),
        (("--version",), (f"autotts {__version__}",)),
        (("--help",), ("optimize", "evaluate", "Begin with: autotts optimize --task math")),
        (("optimize", "--help"), ("--budget", "--search-budget", "1e9flops", "--json")),
    ],
    ids=lambda value: " ".join(value) if value[0].islower() else "",
)
def test_lists_say_what_there_is(cli: Cli, argv: tuple[str, ...], words: tuple[str, ...]) -> None:
    ended = cli(*argv)
    assert ended.code == 0 and ended.err == ""
    for word in words:
        assert word in ended.out


def test_a_task_in_a_file_is_shown(cli: Cli, sums: Path) -> None:
    assert cli("tasks", sums).out.count("answer: ") == 3
