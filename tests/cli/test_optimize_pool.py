"""`autotts optimize --pool` from the command line: a log of old samples in, a policy and a page out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import optuna
import pytest

from autotts.policy.schema import Policy
from autotts.search import crossfit, pool_job
from tests.cli.conftest import Cli
from tests.cli.test_bad_input import refused
from tests.search.test_pool_job import lines, write

FEW = ("--strategies", "one,vote", "--quiet")  # arms, so that a study is short


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("pools") / "made.jsonl", lines())


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer folds, and few trials to write, so that a study is soon done."""
    monkeypatch.setattr(crossfit, "ROUNDS", 1)
    monkeypatch.setattr(pool_job, "SHOWN", 2)


def optimized(cli: Cli, pool: Path, out: Path, *argv: object) -> dict[str, Any]:
    """The result of a study that is to end well and say nothing but it."""
    ended = cli("optimize", "--pool", pool, "--out", out, *FEW, *argv)
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    found: dict[str, Any] = json.loads((out / "result.json").read_text())
    Policy.load(out / "policy.json")
    assert (out / "report.html").stat().st_size > 1000
    return found


def noted(found: dict[str, Any], *words: str) -> None:
    for word in words:
        assert any(word in note for note in found["notes"]), (word, found["notes"])


# ---------------------------------------------------------------- a log in, a policy out


def test_a_log_of_samples_becomes_a_policy_and_a_page(cli: Cli, pool: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    argv = ("optimize", "--pool", pool, "--budget", "300kflops", "--strategies", "one,vote,adaptive", "--out", out)
    ended = cli(*argv)
    assert ended.code == 0 and "Traceback" not in ended.err
    shown = " ".join(ended.out.split())
    for word in (
        "On 8 prompts",
        "our policy",
        "mixture of fixed arms",
        "majority vote",
        "oracle",
        "300kflops a prompt",
    ):
        assert word in shown, word
    for step in ("reading the pool", "screening arms", "measuring the best ones again", "choosing", "writing"):
        assert step in ended.err
    assert f"autotts evaluate {out / 'policy.json'} --pool OTHER.jsonl" in shown and f"autotts report {out}" in shown
    assert sorted(path.name for path in out.iterdir()) == ["autotts.db", "policy.json", "report.html", "result.json"]
    page = (out / "report.html").read_text()
    assert "<html" in page and "mixture of fixed arms" in page

    told = optuna.load_study(study_name="made/all", storage=f"sqlite:///{out / 'autotts.db'}")
    done = told.get_trials(deepcopy=False)
    routed = {arm.arm for arm in Policy.load(out / "policy.json").arms.values()}
    assert routed <= {trial.user_attrs["arm"] for trial in done} and all(trial.values is not None for trial in done)

    first = json.loads((out / "result.json").read_text())
    assert first["provenance"]["command"] == " ".join(["autotts", *map(str, argv)])
    again = cli(*argv, "--json")  # the same command again, with the result on standard output
    assert again.code == 0 and json.loads(again.out) == json.loads((out / "result.json").read_text())
    second = json.loads(again.out)
    for found in (first, second):
        found["spend"]["seconds"] = found["provenance"]["date"] = found["provenance"]["command"] = None
    assert first == second
    assert len(told.get_trials(deepcopy=False)) == len(done)

    evaluated = cli("evaluate", out / "policy.json", "--pool", pool, "--json")
    assert evaluated.code == 0
    figures = json.loads(evaluated.out)
    assert figures["worst_overshoot"] <= figures["bound"] and any("made from" in note for note in figures["notes"])
    reported = cli("report", out, "--json")
    assert reported.code == 0 and json.loads(reported.out)["policy"] == second["policy"]


@pytest.mark.usefixtures("short")
def test_a_folder_that_holds_another_study_is_left_as_it_is(cli: Cli, pool: Path, tmp_path: Path) -> None:
    optimized(cli, pool, tmp_path)
    before = (tmp_path / "policy.json").read_text()
    other = write(tmp_path / "other.jsonl", lines())
    refused(cli("optimize", "--pool", other, "--out", tmp_path, *FEW), f"--out {tmp_path}", "another study, 'made'")
    refused(cli("optimize", "--pool", pool, "--out", tmp_path, *FEW, "--seed", "4"), "seed is 0 there and 4 here")
    assert (tmp_path / "policy.json").read_text() == before


@pytest.mark.usefixtures("short")
def test_two_files_are_one_pool_and_models_can_be_chosen(cli: Cli, tmp_path: Path) -> None:
    samples = lines()
    one, two = (write(tmp_path / f"{name}.jsonl", [x for x in samples if x["model"] == name]) for name in ("S", "L"))
    both = optimized(cli, one, tmp_path / "both", "--pool", two)
    assert both["pool"]["roles"] == ["S", "L"] and both["study"] == "S"
    alone = optimized(cli, one, tmp_path / "alone", "--pool", two, "--models", "L", "--strategies", "one")
    assert alone["pool"]["roles"] == ["L"]


@pytest.mark.usefixtures("short")
def test_a_report_names_the_commands_that_serve_a_policy_of_a_pool(cli: Cli, pool: Path, tmp_path: Path) -> None:
    argv = ("optimize", "--pool", pool, "--out", tmp_path, "--strategies", "one,vote")
    following = cli(*argv).out.partition("Next:")[2]
    (tmp_path / "report.html").unlink()
    reported = cli("report", tmp_path)
    assert reported.code == 0 and (tmp_path / "report.html").is_file()
    assert reported.out.partition("Next:")[2] == following
    assert "--pool OTHER.jsonl" in following
    assert "autotts run" not in reported.out and "--task" not in reported.out


# ---------------------------------------------------------------- wrong options


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--task", "math"), ("--task is for studies that draw", "leave it out")),
        (("--search-budget", "9flops", "--timeout", "5"), ("--search-budget, --timeout is for studies that draw",)),
        (("--proposer", "tpe"), ("--proposer is for",)),
        (("--study", "study.toml"), ("--study is for",)),
        (("--budget", "9tokens", "--cap", "9flops"), ("in one unit", "flops and tokens")),
        (("--budget", "9tokens", "--unit", "flops"), ("in one unit",)),
        (("--unit", "metres"), ("--unit", "flops, eflops, tokens", "'metres'")),
        (("--unit", "usd"), ("no price per million",)),
        (("--budget", "1e15flop"), ("--budget", "did you mean 1e15flops?")),
        (("--budget", "9flops", "--target", "0.5"), ("--budget or --target, found both",)),
        (("--target", "2"), ("target", "2")),
        (("--strategies", "vot"), ("unknown strategy 'vot'",)),
        (("--strategies", "beam"), ("none of the strategies beam can be read off it",)),
        (("--models", "Q"), ("unknown model 'Q'", "S, L")),
        (("--params", "S"), ("--params", "MODEL=COUNT")),
        (("--params", "Q=4e9"), ("'Q'", "S, L")),
        (("--seed", "-1"), ("--seed", "at least 0")),
        (("--trials", "-1"), ("--trials", "at least 0")),
    ],
)
def test_options_that_do_not_fit_are_told(
    cli: Cli, pool: Path, tmp_path: Path, argv: tuple[str, ...], words: tuple[str, ...]
) -> None:
    refused(cli("optimize", "--pool", pool, "--out", tmp_path / "out", "--quiet", *argv), *words)
    assert not (tmp_path / "out" / "policy.json").exists()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--budget", "3flops"), ("budget 3flops", "below the cheapest arm", "one(model=S", "give at least that")),
        (("--cap", "3flops"), ("--cap 3flops is below", "one(model=S", "give at least that")),
        (("--target", "1"), ("target 1 is above what was reached", "ask for at most that")),
    ],
)
def test_what_cannot_be_met_ends_with_3(cli: Cli, pool: Path, tmp_path: Path, argv: Any, words: Any) -> None:
    refused(cli("optimize", "--pool", pool, "--out", tmp_path, *FEW, *argv), *words, code=3)


# ---------------------------------------------------------------- bad pools


def spoilt(tmp_path: Path, kind: str) -> Path:
    """A file that is no pool to choose from."""
    path = tmp_path / "bad.jsonl"
    samples = lines()
    if kind == "empty":
        return write(path, [])
    if kind == "folder":
        path.mkdir()
    elif kind == "cut off":
        whole = gzip.compress("".join(json.dumps(x) + "\n" for x in samples).encode())
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "text":
        path.write_text("all answers were right\n")
    elif kind == "unlabelled":
        write(path, lines(correct=None, answer=None))
    elif kind == "half labelled":
        bare = [{k: v for k, v in x.items() if x["model"] == "S" or k not in ("correct", "extracted")} for x in samples]
        write(path, [{**x, "output": "..."} for x in bare])
    elif kind == "one prompt":
        write(path, [x for x in samples if x["prompt_id"] == "p0"])
    elif kind == "no shared prompt":
        write(path, [x for x in samples if (x["model"] == "S") == (x["prompt_id"] < "p4")])
    elif kind == "sizeless":
        write(path, lines(params_b=None))
    elif kind == "two sizes":
        write(path, [*samples, {**samples[0], "params_b": 5.0, "sample_index": 9}])
    return path


@pytest.mark.parametrize(
    ("kind", "argv", "words"),
    [
        ("missing", (), ("expected a file of recorded answers, found nothing there",)),
        ("empty", (), ("the file is empty",)),
        ("folder", (), ("found a folder there",)),
        ("cut off", (), ("whole gzip file", "cut off after line", "are good")),
        ("text", (), ("line 1", "expected one JSON object")),
        ("unlabelled", (), ("expected labels (`correct`) or gold answers", "S, L", "--answers")),
        ("half labelled", (), ("found none for L", "--models")),
        ("one prompt", (), ("at least 2 prompts", "found 1")),
        ("no shared prompt", (), ("every model has labelled draws of, found none", "--models", "S, L")),
        ("sizeless", ("--budget", "9flops"), ("parameters of S are not known", "--params S=4.02e9", "--unit tokens")),
        ("sizeless", ("--unit", "flops", "--params", "S=2e9"), ("parameters of L are not known", "--params L=4.02e9")),
        ("two sizes", (), ("params_b", "line 65")),
    ],
)
def test_what_is_no_pool_is_told(cli: Cli, tmp_path: Path, kind: str, argv: tuple[str, ...], words: Any) -> None:
    ended = cli("optimize", "--pool", spoilt(tmp_path, kind), "--out", tmp_path / "out", *FEW, *argv)
    refused(ended, *words)
    assert not (tmp_path / "out" / "policy.json").exists()


@pytest.mark.usefixtures("short")
def test_one_sample_of_each_prompt_leaves_single_draws(cli: Cli, tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", lines(draws=1, params_b=None, correct=None))
    found = optimized(cli, path, tmp_path / "out")
    assert found["unit"] == "tokens" and found["pool"]["samples"] == [1, 1]
    noted(found, "S has one draw of some prompts: no votes of it", "L has one draw", "had no label", "parameters are")
    assert {arm["arm"].partition("(")[0] for arm in found["levels"][0]["arms"]} == {"one"}


@pytest.mark.usefixtures("short")
def test_unequal_counts_copies_odd_scores_and_missing_labels_are_told(cli: Cli, tmp_path: Path) -> None:
    samples = lines(draws=6, score=0.5)
    samples = [x for x in samples if not (x["prompt_id"] == "p3" and x["sample_index"] > 2)]
    samples = [x for x in samples if not (x["prompt_id"] == "p5" and x["model"] == "L")]
    samples[1]["score"] = float("nan")
    samples[2]["score"] = 4.5
    samples += [samples[0], {**samples[8], "extracted": "other", "correct": False}]
    del samples[20]["correct"], samples[20]["answer"], samples[20]["extracted"]
    samples[20]["output"] = "..."
    path = write(tmp_path / "p.jsonl", samples)
    found = optimized(cli, path, tmp_path / "out", "--strategies", "one,vote,best_of_n", "--unit", "calls")
    noted(
        found,
        "samples a problem are not equally many",
        "arms take at most 3 draws of S: some prompts have no more",
        "1 of 8 prompts have no labelled draws of every model",
        "a copy of another line",
        "with the sample_index of another one",
        "score: 1 value not finite",
        "scores of S lie outside 0 to 1 and are read as logits",
        "what a score took was not recorded",
    )
    assert found["prompts"]["confirm"] == 7
    assert any(arm["arm"].startswith("best_of_n(n=3") for arm in found["levels"][0]["arms"])


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(("answer", "words"), [("gold", "every draw is right"), ("wrong", "no draw is right")])
def test_all_right_or_all_wrong_is_told(cli: Cli, tmp_path: Path, answer: str, words: str) -> None:
    path = write(tmp_path / "p.jsonl", lines(extracted=answer, correct=answer == "gold"))
    found = optimized(cli, path, tmp_path / "out", "--budget", "1Mflops")
    noted(found, words)
    assert found["policy"]["route"] == {"all": [["one(model=S, temperature=0.7)", 1.0]]}
    assert "does not pay" in found["verdict"]
