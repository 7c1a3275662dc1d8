"""`autotts recommend` and `autotts distil`: advice before anything is spent, and what makes a study one of the past."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from autotts.cli_recommend import distil, recommend
from autotts.errors import BudgetError, InputError
from autotts.search.distilled import Distilled
from tests.cli.conftest import Cli

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(recommend)
app.command()(distil)


def out(*argv: object) -> str:
    """What a command prints to stdout; its error, if it ends with one."""
    done = CliRunner().invoke(app, [str(arg) for arg in argv])
    if done.exception is not None:
        raise done.exception
    return done.stdout


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without predictors."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_the_advice_for_math_is_that_of_the_shipped_predictor() -> None:
    found = json.loads(out("recommend", "--task", "math", "--budget", "3e8flops", "--json"))
    assert found["format"] == "autotts.advice/1" and found["near"] and found["unit"] == "flops"
    assert found["memories"][0]["name"] == "embedded-math" and found["memories"][0]["distance"] == 0
    assert [row["level"] for row in found["levels"]] == ["1", "2", "3", "4", "5"]
    for row in found["levels"]:
        assert sum(arm["share"] for arm in row["arms"]) == pytest.approx(1)
        for of in (row["accuracy"], row["cost"], *(arm["accuracy"] for arm in row["arms"])):
            assert of["low"] < of["value"] < of["high"]
    assert found["cost"]["value"] == pytest.approx(3e8, rel=1e-6) and found["budget"]["binds"]
    assert found["accuracy"]["value"] == pytest.approx(
        sum(r["share"] * r["accuracy"]["value"] for r in found["levels"])
    )
    assert found["next"] == ["autotts optimize --task math --budget 3e8flops"]


def test_more_budget_is_foretold_to_give_more_until_it_binds_nothing() -> None:
    budgets = ("3e7flops", "1e8flops", "1e15flops")
    found = [json.loads(out("recommend", "--budget", budget, "--json")) for budget in budgets]
    values = [one["accuracy"]["value"] for one in found]
    assert values == sorted(values) and values[0] < values[-1] - 0.05
    assert [one["budget"]["binds"] for one in found] == [True, True, False]
    assert "1e15flops a prompt binds nothing here" in found[-1]["words"]
    target = json.loads(out("recommend", "--target", "0.85", "--models", "S,M", "--json"))
    assert target["accuracy"]["value"] == pytest.approx(0.85) and target["models"] == ["S", "M"]
    assert target["next"] == ["autotts optimize --task math --models S,M --target 0.85"]


def test_the_table_says_what_is_advised_how_sure_it_is_and_what_is_next() -> None:
    shown = " ".join(out("recommend", "--budget", "3e8flops").split())
    for words in (
        "best mix that is foretold for 3e8flops",
        "level 5",
        "95 % intervals",
        "embedded-math, distance 0: the same task, math",
        "Nothing was measured. Next: autotts optimize --task math --budget 3e8flops",
    ):
        assert words in shown


def test_where_nothing_is_near_it_says_so_and_names_what_a_study_begins_with(elsewhere: Path) -> None:
    path = elsewhere / "words.jsonl"
    text = "Which of these? \\frac{1}{2} = 3^2\n(A) one > 12345\n(B) two/3\nWHY? def f(): return é\n" * 40
    path.write_text("".join(json.dumps({"prompt": f"{text}{n}", "answer": "A"}) + "\n" for n in range(40)))
    found = json.loads(out("recommend", "--task", path, "--models", "M", "--json"))
    assert not found["near"] and found["levels"] == [] and found["accuracy"] is None
    assert found["start"] == ["one(model=M, temperature=0)"]
    shown = " ".join(out("recommend", "--task", path).split())
    assert "nothing can be foretold" in shown and "too far to be used" in shown
    assert "begin with one(model=S, temperature=0)" in shown
    tokens = json.loads(out("recommend", "--budget", "200tokens", "--json"))
    assert not tokens["near"] and tokens["notes"] == ["left out: embedded-math counts in flops, not in tokens"]


def test_a_task_that_is_alike_gets_wider_intervals(elsewhere: Path) -> None:
    path = elsewhere / "sums.jsonl"
    rows = [{"prompt": f"solve: {n}+{n % 7}*3-{n % 11}", "answer": n + n % 7 * 3 - n % 11} for n in range(10, 130)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = json.loads(out("recommend", "--task", path, "--budget", "3e8flops", "--json"))
    same = json.loads(out("recommend", "--budget", "3e8flops", "--json"))
    assert found["near"] and 0.25 <= found["memories"][0]["distance"] < 2.9
    assert "widened by that distance" in found["words"] and "widened" not in same["words"]
    width, known = (one["accuracy"]["high"] - one["accuracy"]["low"] for one in (found, same))
    assert width > 1.5 * known
    assert [row["level"] for row in found["levels"]] == ["all"]


def test_a_study_is_distilled_and_advises_at_once(cli: Cli, small: Path, sums: Path, elsewhere: Path) -> None:
    assert cli("optimize", "--study", small, "--out", "study", "--quiet").code == 0
    said = out("distil", "study", "--name", "my-sums")
    assert "Wrote card.md, model.json, recipe.toml to predictors/my-sums" in said
    assert f"autotts recommend --task {sums}" in said
    home = elsewhere / "predictors" / "my-sums"
    recipe = tomllib.loads((home / "recipe.toml").read_text())
    result = json.loads((elsewhere / "study" / "result.json").read_text())
    assert recipe["recipe"] == result["provenance"]["recipe"] and recipe["command"] == result["provenance"]["command"]
    card = (home / "card.md").read_text()
    assert recipe["again"] in card and "When not to trust it" in card
    assert Distilled.load(home / "model.json").n == len(result["levels"][0]["arms"])
    found = json.loads(out("recommend", "--task", sums, "--models", "S", "--json"))
    assert found["near"] and found["memories"][0] == {
        "name": "my-sums",
        "distance": 0.0,
        "near": True,
        "words": ["the same task, sums", "the same model S"],
    }
    again = json.loads(out("distil", "study", "--name", "my-sums", "--json"))
    assert again["files"] == ["card.md", "model.json", "recipe.toml"]


def test_wrong_names_and_budgets_are_told() -> None:
    wrong = {
        ("recommend", "--task", "chess"): "unknown task 'chess'",
        ("recommend", "--task", "none.jsonl"): "none.jsonl",
        ("recommend", "--models", "S,X"): "unknown model 'X'",
        ("recommend", "--budget", "1e8flop"): "did you mean 1e8flops?",
        ("recommend", "--target", "1.5"): "target: expected an accuracy",
        ("recommend", "--target", "0.9", "--budget", "1e8flops"): "expected --budget or --target",
        ("distil", "nowhere", "--name", "x"): "expected the folder of a finished study",
        ("distil", "nowhere", "--name", "X!"): "--name: expected lower-case",
    }
    for argv, words in wrong.items():
        with pytest.raises(InputError) as caught:
            out(*argv)
        assert words in str(caught.value)
    with pytest.raises(BudgetError, match="below the cheapest arm"):
        out("recommend", "--budget", "10flops")
    with pytest.raises(BudgetError, match="above what these arms reach"):
        out("recommend", "--target", "0.9999")
