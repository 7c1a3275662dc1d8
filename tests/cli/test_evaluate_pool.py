"""`autotts evaluate --pool`: an arm or a policy on a log of old samples, from the command line and from Python."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

import autotts
from tests.cli.conftest import Cli
from tests.search.test_streams import policy


def write(path: Path, **changes: Any) -> Path:
    """A pool of two models on 30 prompts, 12 draws each; a change of None leaves a field out."""
    rng, lines = Random(0), []
    for p in range(30):
        for model, size, chance in (("S", 1e-6, 0.4), ("L", 4e-6, 0.7)):
            for i in range(12):
                answer = "gold" if rng.random() < chance else f"w{rng.randrange(3)}"
                sample = {
                    "dataset": "made",
                    "prompt_id": f"p{p}",
                    "prompt": f"what is {p}?",
                    "answer": "gold",
                    "model": model,
                    "params_b": size,
                    "strategy": "sample",
                    "temperature": 0.7,
                    "top_p": 1.0,
                    "sample_index": i,
                    "extracted": answer,
                    "correct": answer == "gold",
                    "completion_tokens": rng.randint(1, 39),
                }
                lines.append(json.dumps({k: v for k, v in {**sample, **changes}.items() if v is not None}))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("pools") / "made.jsonl")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    path = tmp_path / "policy.json"
    policy().save(path)
    return path


def test_one_arm_on_a_pool(cli: Cli, pool: Path) -> None:
    ended = cli("evaluate", "--strategy", "vote(n=4, model=L)", "--pool", pool, "--json")
    assert ended.code == 0
    found = json.loads(ended.out)
    assert found["arm"] == "vote(n=4, model=L, temperature=0.7)" and found["unit"] == "flops"
    assert found["cost"]["mean"] == pytest.approx(8000 * found["tokens"]["mean"])
    assert 0.6 < found["accuracy"]["value"] < 0.9 and found["prompts"] == 30
    assert any("attention is not counted" in note for note in found["notes"])
    assert found == autotts.evaluate_pool("vote(n=4, model=L)", [pool])

    capped = cli("evaluate", "--strategy", "vote(n=4, model=L)", "--pool", pool, "--cap", "60tokens", "--json")
    limited = json.loads(capped.out)
    assert limited["unit"] == "tokens" and limited["cost"]["cap"] == 60 and limited["cost"]["p95"] <= 60
    assert limited["cut"] > 0

    shown = cli("evaluate", "--strategy", "vote(n=4, model=L)", "--pool", pool)
    assert shown.code == 0 and shown.err == ""
    for word in ("vote(n=4, model=L, temperature=0.7)", "30 of the pool made", "95 % interval", "one after another"):
        assert word in " ".join(shown.out.split())


def test_an_arm_without_a_model_is_one_for_each(cli: Cli, pool: Path) -> None:
    argv = ("evaluate", "--strategy", "first_finish(n=4)", "--pool", pool, "--unit", "calls")
    found = json.loads(cli(*argv, "--json").out)
    names = [row["arm"] for row in found["arms"]]
    assert names == [f"first_finish(n=4, k=1, model={model}, temperature=0.7)" for model in "SL"]
    assert [row["cost"]["mean"] for row in found["arms"]] == pytest.approx([4, 4])
    shown = " ".join(cli(*argv).out.split())
    assert "first_finish(n=4, k=1, temperature=0.7)" in shown and "calls, mean" in shown and "sequential" in shown
    only = json.loads(cli(*argv, "--models", "S", "--json").out)
    assert only["arm"] == "first_finish(n=4, k=1, model=S, temperature=0.7)"


def test_two_files_are_one_pool(cli: Cli, pool: Path, tmp_path: Path) -> None:
    lines = pool.read_text().splitlines(keepends=True)
    for name, model in (("s", "S"), ("l", "L")):
        (tmp_path / name).with_suffix(".jsonl").write_text("".join(x for x in lines if f'"model": "{model}"' in x))
    two = ("--pool", tmp_path / "s.jsonl", "--pool", tmp_path / "l.jsonl")
    arm = ("evaluate", "--strategy", "cascade(small=S, large=L, n=2, m=2)", "--json")
    both, one = json.loads(cli(*arm, *two).out), json.loads(cli(*arm, "--pool", pool).out)
    assert both["accuracy"] == one["accuracy"] and both["cost"] == one["cost"]


def test_a_policy_on_a_pool_with_the_controller_on_and_off(cli: Cli, pool: Path, made: Path) -> None:
    on = json.loads(cli("evaluate", made, "--pool", pool, "--json").out)
    assert on["controller"] == "on" and on["budget"] == 50 and on["requests"] == 30 * 12
    assert on["worst_overshoot"] <= on["bound"] and on["overshoot"] < 0.1
    off = json.loads(cli("evaluate", made, "--pool", pool, "--controller", "off", "--json").out)
    assert off["controller"] == "off" and off["bound"] is None
    assert on == autotts.evaluate_pool(autotts.load_policy(made), [pool])
    low = json.loads(cli("evaluate", made, "--pool", pool, "--budget", "25tokens", "--json").out)
    assert low["budget"] == 25 and low["cost"]["mean"] < 30 and low["accuracy"]["value"] < on["accuracy"]["value"]
    shown = " ".join(cli("evaluate", made, "--pool", pool).out.split())
    for word in ("360 in random order, controller on", "50 tokens a prompt; mean", "never more than 6", "% vote(n=4"):
        assert word in shown
    bare = " ".join(cli("evaluate", made, "--pool", pool, "--controller", "off").out.split())
    assert "controller off" in bare and "never more than" not in bare


def test_the_tokens_of_a_probe_are_those_that_a_policy_was_made_with(cli: Cli, pool: Path, tmp_path: Path) -> None:
    kept = tmp_path / "policy.json"
    policy(pool={"probe_tokens": 8}).save(kept)
    argv = ("evaluate", kept, "--pool", pool, "--json")
    assert json.loads(cli(*argv).out)["probe_tokens"] == 8
    assert json.loads(cli(*argv, "--probe-tokens", "3").out)["probe_tokens"] == 3
    assert json.loads(cli(*argv, "--probe-tokens", "0").out)["probe_tokens"] == 0
    for wrong in ({"probe_tokens": -1}, {"probe_tokens": "8"}, {"probe_tokens": True}, 8.5):
        policy(pool=wrong).save(kept)
        ended = cli(*argv)
        assert ended.code == 2 and "pool.probe_tokens: expected a whole number from 0 up" in ended.err


VOTE = ("--strategy", "vote(n=4, model=S)")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--strategy", "vote(n=99, model=S)"), ("99",)),
        (("--strategy", "vote(n=13, model=S)"), ("fewer than 13 draws of S (the most is 12)", "ask for fewer draws")),
        (("--strategy", "vote(n=4, model=M)"), ("'M' is not in the pool", "S, L")),
        (("--strategy", "vote(n=4, model=S, temperature=0.2)"), ("was not recorded", "temperature=0.7")),
        (("--strategy", "beam(n=4, m=2, model=S)"), ("needs scores",)),
        (("--strategy", "cut(n=4, limit=5, model=S)"), ("no probes",)),
        ((*VOTE, "--unit", "metres"), ("--unit", "flops, eflops, tokens", "'metres'")),
        ((*VOTE, "--unit", "usd"), ("no price per million",)),
        ((*VOTE, "--controller", "on"), ("--controller is for a policy",)),
        ((*VOTE, "--budget", "9tokens"), ("--budget is for a policy",)),
        ((*VOTE, "--unit", "tokens", "--cap", "9flops"), ("--cap", "tokens", "9flops")),
        ((*VOTE, "--params", "S"), ("--params", "MODEL=COUNT")),
        ((*VOTE, "--params", "M=4e9"), ("'M'",)),
        ((*VOTE, "--task", "math"), ("--task is for a task",)),
        ((*VOTE, "--prompts", "5"), ("--prompts is for a task",)),
        ((*VOTE, "--models", "M"), ("unknown model 'M'",)),
        (("--strategy", "vot(n=4)"), ("unknown strategy 'vot'", "'vote'")),
    ],
)
def test_what_cannot_be_measured_is_told(cli: Cli, pool: Path, argv: tuple[str, ...], words: tuple[str, ...]) -> None:
    ended = cli("evaluate", "--pool", pool, *argv)
    assert ended.code == 2 and ended.out == ""
    assert "Traceback" not in ended.err
    for word in words:
        assert word in ended.err


def test_sizes_that_are_not_recorded_can_be_given(cli: Cli, tmp_path: Path) -> None:
    bare = write(tmp_path / "bare.jsonl", params_b=None)
    without = json.loads(cli("evaluate", *VOTE, "--pool", bare, "--json").out)
    assert without["unit"] == "tokens"
    ended = cli("evaluate", *VOTE, "--pool", bare, "--unit", "flops")
    assert ended.code == 2 and "--params S=4.02e9" in ended.err
    sized = json.loads(cli("evaluate", *VOTE, "--pool", bare, "--params", "S=5e3", "--json").out)
    assert sized["unit"] == "flops" and sized["cost"]["mean"] == pytest.approx(1e4 * without["cost"]["mean"])


def test_without_tokens_calls_are_counted(cli: Cli, tmp_path: Path) -> None:
    bare = write(tmp_path / "bare.jsonl", completion_tokens=None)
    found = json.loads(cli("evaluate", *VOTE, "--pool", bare, "--json").out)
    assert found["unit"] == "calls" and found["cost"]["mean"] == pytest.approx(4) and found["tokens"] is None
    assert "tokens" not in cli("evaluate", *VOTE, "--pool", bare).out.split("note:")[0]
    ended = cli("evaluate", "--strategy", "first_finish(n=2, model=S)", "--pool", bare)
    assert ended.code == 2 and "which of its draws ends first is not known" in ended.err


@pytest.mark.parametrize(
    ("change", "argv", "words"),
    [
        ({}, ("--budget", "1token"), ("did you mean 1tokens",)),
        ({}, ("--budget", "9flops"), ("expected an amount in tokens",)),
        ({}, ("--unit", "flops"), ("counted in tokens",)),
        ({}, ("--controller", "maybe"), ("on or off", "'maybe'")),
        (
            {"model": "A", "params_b": None, "sample_index": None},
            (),
            ("the policy asks S, L", "has A", "it lacks S, L"),
        ),
        ({"temperature": 0.2}, (), ("was not recorded", "temperature=0.2")),
        ({"completion_tokens": None}, (), ("tokens of S", "not all recorded")),
    ],
)
def test_a_policy_that_does_not_fit_a_pool_is_told(
    cli: Cli, made: Path, tmp_path: Path, change: dict[str, Any], argv: tuple[str, ...], words: tuple[str, ...]
) -> None:
    path = write(tmp_path / "pool.jsonl", **change)
    ended = cli("evaluate", made, "--pool", path, *argv)
    assert ended.code == 2 and ended.out == ""
    for word in words:
        assert word in ended.err


def test_a_budget_below_the_cheapest_setting_cannot_be_met(cli: Cli, pool: Path, made: Path) -> None:
    for controller in ("on", "off"):
        ended = cli("evaluate", made, "--pool", pool, "--budget", "2tokens", "--controller", controller)
        assert ended.code == 3 and "below the cheapest arm" in ended.err


@pytest.mark.parametrize("option", [("--controller", "on"), ("--unit", "tokens"), ("--params", "S=4e9")])
def test_what_is_for_pools_needs_one(cli: Cli, option: tuple[str, str]) -> None:
    ended = cli("evaluate", "--strategy", "one(model=S)", *option)
    assert ended.code == 2 and f"{option[0]} is for recorded answers" in ended.err and "--pool FILE" in ended.err
