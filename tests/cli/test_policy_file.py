"""`autotts policy` from its arguments to what it prints, writes and ends with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autotts.policy.schema import Policy
from autotts.worlds.fake_server import FakeModel, FakeServer, Solver, serving
from tests.cli.conftest import Cli
from tests.policy.policies import alike_data, each_data, policy_data

DATA = {"levels": policy_data, "alike": alike_data, "each": each_data}


def recorded_data() -> dict[str, Any]:
    """A policy that was made from recorded answers of one model."""
    data = alike_data()
    data["task"]["reader"] = "text"
    data["models"] = {"small": {"binding": {"engine": "recorded", "id": "pool:1:small", "model": "Qwen3-4B"}}}
    data["scorers"] = {}
    for name in data["arms"]:
        data["arms"][name]["arm"] = {
            "cheap": "one(model=small, temperature=0.7)",
            "mid": "vote(n=2, model=small, temperature=0.7)",
            "dear": "vote(n=4, model=small, temperature=0.7)",
        }[name]
    return data


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a policy of each kind."""
    monkeypatch.chdir(tmp_path)
    for name, made in {**DATA, "recorded": recorded_data}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(made()))
    return tmp_path


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(FakeServer([FakeModel("Qwen/Qwen3-4B", Solver(0.9))])) as server:
        yield server.url


# ---------------------------------------------------------------- show


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("name", DATA)
def test_a_policy_is_shown_at_any_width(
    cli: Cli, files: Path, monkeypatch: pytest.MonkeyPatch, name: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    done = cli("policy", "show", f"{name}.json")
    assert (done.code, done.err) == (0, "")
    table = done.out.split("\nNext:")[0]
    assert max(map(len, table.splitlines())) <= width
    flat = " ".join(table.split())
    for words in ("made for", "told apart", "effort", "controller", "Who gets what", "70.0 (60.0 to 80.0) % right"):
        assert words in flat, words
    assert f"autotts serve {name}.json --upstream" in done.out


def test_the_default_setting_is_marked_and_shares_are_shown(cli: Cli, files: Path) -> None:
    out = cli("policy", "show", "levels.json").out
    assert len(re.findall(r"^\* [01]\.\d\d ", out, re.MULTILINE)) == 1
    assert "50 % vote(n=8" in " ".join(out.split())


def test_what_is_shown_is_json_too(cli: Cli, files: Path) -> None:
    told = json.loads(cli("policy", "show", "levels.json", "--json").out)
    assert [point["effort"] for point in told["frontier"]][::2] == [0.0, 1.0]
    assert told["effort"]["0"] == told["frontier"][0]["cost"] and told["evidence"]["accuracy"]["value"] == 0.7
    assert {role["role"] for role in told["roles"]} == {"S", "M", "prm"}


def test_recorded_answers_lead_to_rebind(cli: Cli, files: Path) -> None:
    assert "autotts policy rebind recorded.json --models models.toml" in cli("policy", "show", "recorded.json").out
    done = cli("run", "recorded.json", "What is 12 + 30?")
    assert done.code == 2 and "is bound to recorded answers" in done.err


# ---------------------------------------------------------------- validate


def test_a_right_file_is_ok_and_a_wrong_one_names_its_faults(cli: Cli, files: Path) -> None:
    done = cli("policy", "validate", "levels.json")
    assert done.code == 0 and done.out.startswith(
        "levels.json: OK. 3 arms of 3 models, 3 bins, 3 settings from 1 Mflops"
    )
    wrong = policy_data() | {"unit": "parsecs", "default": 9}
    (files / "wrong.json").write_text(json.dumps(wrong))
    done = cli("policy", "validate", "wrong.json")
    assert (done.code, done.err) == (2, "")
    assert done.out.startswith("wrong.json: 2 problems\n  unit: expected one of") and "default: expected" in done.out
    told = cli("policy", "validate", "wrong.json", "--json")
    assert told.code == 2 and len(json.loads(told.out)["problems"]) == 2
    (files / "text.json").write_text("{")
    done = cli("policy", "validate", "text.json")
    assert done.code == 2 and "line 1" in done.err


# ---------------------------------------------------------------- diff


def test_what_changes_is_told_with_its_prompts(cli: Cli, files: Path) -> None:
    assert cli("policy", "diff", "levels.json", "levels.json").out == "The two policies are equal.\n"
    data = policy_data()
    data["frontier"][1]["route"]["L1"] = [["mid", 1.0]]
    (files / "other.json").write_text(json.dumps(data))
    (files / "prompts.txt").write_text("solve: 1+2\nsolve: 3+4\n")
    done = cli("policy", "diff", "levels.json", "other.json", "--prompts", "prompts.txt")
    flat = " ".join(done.out.split())
    assert done.code == 0
    assert "Who gets something else, at the defaults L1 before one(model=S, temperature=0): 50.0 % at 1 Mflops" in flat
    assert "2; 2 of them (100 %) get another arm" in flat and "1 Mflops -> 8 Mflops a prompt" in flat
    told = json.loads(cli("policy", "diff", "levels.json", "other.json", "--task", "math", "--json").out)
    assert told["tried"]["prompts"] == 200 and [c["bin"] for c in told["points"][0]["bins"]] == ["L1"]
    assert "--prompts FILE" in cli("policy", "diff", "levels.json", "other.json").out
    assert "found both" in cli("policy", "diff", "each.json", "each.json", "--task", "math", "--prompts", "x").err
    assert "--prompts gone.txt" in cli("policy", "diff", "each.json", "each.json", "--prompts", "gone.txt").err
    assert "counts in tokens, the other in flops" in cli("policy", "diff", "each.json", "alike.json").out


# ---------------------------------------------------------------- explain


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("name", DATA)
def test_an_arm_is_explained_at_any_width(
    cli: Cli, files: Path, monkeypatch: pytest.MonkeyPatch, name: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    done = cli("policy", "explain", f"{name}.json", "solve: 12+3*4", "--effort", "0.7")
    assert (done.code, done.err) == (0, "")
    assert max(map(len, done.out.splitlines())) <= max(width, 60)
    assert "effort 0.70" in " ".join(done.out.split()) and "Arms for" in done.out
    told = json.loads(cli("policy", "explain", f"{name}.json", "solve: 12+3*4", "--effort", "0.7", "--json").out)
    assert [one["arm"] for one in told["considered"] if one["chosen"]] == [told["arm"]]


def test_a_budget_is_of_the_policys_unit_and_not_too_small(cli: Cli, files: Path) -> None:
    assert "12 Mflops a prompt on average" in cli("policy", "explain", "levels.json", "1+2", "--budget", "12Mflops").out
    assert cli("policy", "explain", "levels.json", "1+2", "--budget", "1flops").code == 3
    assert "expected an amount in flops" in cli("policy", "explain", "levels.json", "1+2", "--budget", "9tokens").err
    assert "found both" in cli("policy", "explain", "levels.json", "x", "--budget", "9flops", "--effort", "1").err
    assert "from 0 (cheapest) to 1 (best)" in cli("policy", "explain", "levels.json", "x", "--effort", "2").err


# ---------------------------------------------------------------- rebind


def test_a_policy_of_recorded_answers_is_bound_to_a_server_and_answers(cli: Cli, files: Path, url: str) -> None:
    done = cli("policy", "rebind", "recorded.json", "--upstream", url, "--reader", "math", "--out", "mine.json")
    assert (done.code, done.err) == (0, "")
    assert "Qwen3-4B (recorded) -> Qwen/Qwen3-4B (openai)" in " ".join(done.out.split())
    assert "autotts serve mine.json --upstream" in done.out
    assert cli("policy", "validate", "mine.json").code == 0
    answered = cli("run", "mine.json", "What is 12 + 30?", "--upstream", url, "--json")
    assert answered.code == 0 and json.loads(answered.out)["arm"].startswith("vote(n=2, model=small")
    assert json.loads((files / "recorded.json").read_text()) == recorded_data()


def test_a_name_that_the_server_has_not_is_refused(cli: Cli, files: Path, url: str) -> None:
    asked = ("policy", "rebind", "recorded.json", "--upstream", url, "--reader", "math", "--out", "mine.json")
    assert "has, found none of it: Qwen/Qwen3-4B" in " ".join(cli(*asked, "small=gpt").err.split())
    assert not (files / "mine.json").exists()
    two = ("policy", "rebind", "levels.json", "--upstream", url, "--out", "mine.json")
    assert "say which of them is which, such as S=Qwen/Qwen3-4B (and M)" in cli(*two).err


def test_a_policy_is_bound_to_a_file_of_models(cli: Cli, files: Path, url: str) -> None:
    (files / "models.toml").write_text(f'[models.mine]\nendpoint = "{url}"\nmodel = "Qwen/Qwen3-4B"\n')
    asked = ("policy", "rebind", "recorded.json", "--models", "models.toml", "--reader", "math", "--out", "mine.json")
    assert "'small' needs a model that draws" in cli(*asked).err
    done = cli(*asked, "small=mine", "--json")
    assert done.code == 0 and json.loads(done.out)["moved"][0]["to"] == "mine"
    policy = Policy.load("mine.json")
    assert list(policy.models) == ["mine"] and policy.arms["mid"].arm.startswith("vote(n=2, model=mine")
    assert cli("run", "mine.json", "What is 2 + 3?", "--models", "models.toml").code == 0


def test_rebind_says_what_it_needs(cli: Cli, files: Path) -> None:
    assert "--out FILE" in cli("policy", "rebind", "levels.json", "S=x").err
    assert "the roles here are S, M, prm" in cli("policy", "rebind", "levels.json", "--out", "o.json").err
    both = ("--models", "a.toml", "--upstream", "http://localhost:1", "--out", "o.json")
    assert "found both" in cli("policy", "rebind", "levels.json", *both).err
    assert "expected a file of models" in cli("policy", "rebind", "levels.json", "--models", "S", "--out", "o.json").err
