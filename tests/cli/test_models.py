"""`autotts models`: what a file declares, who answers and what that takes away, and speeds that budgets can use."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from autotts.core.strategy import knobs
from autotts.search.abilities import switched_off
from autotts.strategies import STRATEGIES
from autotts.worlds.fake_server import FakeServer, Pace, serving
from autotts.worlds.fake_server.ready import models_toml, ready
from autotts.worlds.models.read import read_models
from tests.cli.conftest import Cli

KEY = "a-very-secret-key"
NAMES = ("small", "prm", "orm")
DEAD = '\n[models.dead]\nendpoint = "http://127.0.0.1:9/v1"\n'


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    """One that wants a key, with a pace that can be told."""
    with serving(FakeServer(ready((*NAMES, "judge")), key=KEY, pace=Pace(rate=4000.0, chunk=4), cache_block=16)) as one:
        yield one


@pytest.fixture(scope="module")
def plain() -> Iterator[FakeServer]:
    """One that can as little as OpenAI's own, where no key is wanted."""
    with serving(FakeServer(ready(("small",)), openai=True, strict=True)) as one:
        yield one


@pytest.fixture
def models(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of models that answer."""
    monkeypatch.setenv("FAKE_SERVER_KEY", KEY)
    path = tmp_path / "models.toml"
    path.write_text(models_toml(NAMES, server.url, "FAKE_SERVER_KEY") + "\n", encoding="utf-8")
    return path


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "sums.jsonl"
    rows = [(a, b, a * 7 % 90 + 10) for a in range(11, 60, 3) for b in (12, 47)]
    lines = [json.dumps({"prompt": f"What is {a} + {b} * {c} - {a}?", "answer": b * c}) for a, b, c in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def add(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def by_name(out: str) -> Mapping[str, dict[str, Any]]:
    return {row["model"]: row for row in json.loads(out)["models"]}


# ---------------------------------------------------------------- list


def test_list_shows_the_embedded_models(cli: Cli) -> None:
    ended = cli("models", "list")
    assert ended.code == 0 and "right, % by level" in ended.out
    names = [row["name"] for row in json.loads(cli("models", "list", "--json").out)["models"]]
    assert names == ["S", "M", "L", "prm"]


def test_list_shows_a_file_and_no_key(cli: Cli, models: Path, server: FakeServer) -> None:
    add(models, f'\n[models.hosted]\nendpoint = "{server.url}"\nmodel = "x"\nusd_prompt = 0.15\nusd_generated = 0.6\n')
    ended = cli("models", "list", "--models", models)
    assert ended.code == 0 and f"autotts models check {models}" in ended.out
    assert "0.15, 0.6" in ended.out and "1.7B" in ended.out and "scores" in ended.out
    assert server.url.removeprefix("http://").removesuffix("/v1") in ended.out
    rows = {row["name"]: row for row in json.loads(cli("models", "list", "--models", models, "--json").out)["models"]}
    assert list(rows) == [*NAMES, "hosted"]
    assert (rows["small"]["parameters"], rows["small"]["where"]) == (1_700_000_000, [server.url])
    assert KEY not in ended.out + json.dumps(rows)


# ---------------------------------------------------------------- check


def test_models_that_answer_are_shown_with_what_they_can(cli: Cli, models: Path, server: FakeServer) -> None:
    ended = cli("models", "check", models)
    assert ended.code == 0, ended.err
    assert "prefix continuation" in ended.out and "yes, by ids" in ended.out
    assert f"autotts optimize --task TASK --models {models} --budget 1e14flops" in ended.out
    assert f"autotts models measure {models}" in ended.out
    before = server.counts
    rows = by_name(cli("models", "check", models, "--json").out)
    assert list(rows) == list(NAMES)
    small, prm = rows["small"], rows["prm"]
    assert (small["state"], small["role"], small["where"]) == ("answers", "draws", server.url)
    assert small["can"]["continues"] == "ids" and small["can"]["seed"] and small["can"]["usage"]
    assert 0 < small["first_s"] < 60 and 400 < small["tokens_per_s"] < 40_000
    assert (prm["state"], prm["role"], prm["first_s"], prm["can"]["pooling"]) == ("answers", "scores", None, True)
    assert 0 < prm["score"] < 1
    after = server.counts
    assert after.by_model["small"].requests - before.by_model["small"].requests <= 25
    assert after.generated - before.generated < 1500
    assert KEY not in ended.out + ended.err + json.dumps(rows)


def test_what_is_missing_is_told_with_the_strategies_that_it_switches_off(
    cli: Cli, plain: FakeServer, tmp_path: Path
) -> None:
    path = tmp_path / "models.toml"
    path.write_text(f'[models.hosted]\nendpoint = "{plain.url}"\nmodel = "small"\n', encoding="utf-8")
    ended = cli("models", "check", path)
    assert ended.code == 0, ended.err
    assert "no prefix continuation" in ended.out
    assert "beam, dvts, cut, staged" in " ".join(ended.out.split())
    assert "no tools" not in ended.out  # it switches nothing off
    assert "--budget 2ktokens" in ended.out  # its size is not known
    (row,) = by_name(cli("models", "check", path, "--json").out).values()
    assert row["can"]["continues"] == "none" and "continues" in row["off"]


def test_a_dead_server_is_a_row_beside_those_that_work(cli: Cli, models: Path) -> None:
    add(models, DEAD)
    ended = cli("models", "check", models)
    assert ended.code == 4
    assert "no connection to http://127.0.0.1:9/v1" in " ".join(ended.out.split())
    assert "optimize" not in ended.out and f"autotts models check {models}" in ended.out
    rows = by_name(cli("models", "check", models, "--json").out)
    assert {name: row["state"] for name, row in rows.items()} == dict.fromkeys(NAMES, "answers") | {"dead": "down"}
    assert rows["dead"]["can"] is None and rows["small"]["can"]["usage"]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('endpoint = "URL"\nmodel = "small"', "it wants a key, and none is given"),
        ('endpoint = "URL"\nmodel = "small"\nkey_file = "wrong.txt"', "its key was refused"),
        ('endpoint = "URL"\nmodel = "nobody"\nkey_env = "FAKE_SERVER_KEY"', "the server lists judge, orm, prm, small"),
        ('endpoint = "URL/v1"\nmodel = "small"\nkey_env = "FAKE_SERVER_KEY"', "a server in OpenAI's form"),
        (
            'endpoint = "URL"\nmodel = "nobody"\nkey_env = "FAKE_SERVER_KEY"\n'
            'scoring = { kind = "outcome", shape = "classify" }',
            "it lists judge, orm, prm, small",
        ),
        (
            'endpoint = "URL/v1"\nmodel = "prm"\nkey_env = "FAKE_SERVER_KEY"\n'
            'scoring = { kind = "outcome", shape = "classify" }',
            "a server in OpenAI's form",
        ),
        (
            'endpoint = "URL"\nmodel = "small"\nkey_env = "FAKE_SERVER_KEY"\n'
            'scoring = { kind = "process", shape = "qwen-prm" }',
            "expected a score, found an answer that cannot be read as one",
        ),
    ],
)
def test_what_the_file_says_wrong_is_told(cli: Cli, models: Path, server: FakeServer, table: str, words: str) -> None:
    (models.parent / "wrong.txt").write_text("another-secret", encoding="utf-8")
    add(models, f"\n[models.odd]\n{table.replace('URL', server.url)}\n")
    ended = cli("models", "check", models, "--models", "odd,small", "--json")
    rows = by_name(ended.out)
    assert (ended.code, rows["small"]["state"], rows["odd"]["state"]) == (2, "answers", "wrong")
    assert words in rows["odd"]["problem"]
    assert KEY not in ended.out + ended.err and "another-secret" not in ended.out + ended.err


def test_each_server_of_a_model_is_checked(cli: Cli, server: FakeServer, plain: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(f'[models.small]\nmodel = "small"\nendpoints = ["{plain.url}", "{server.url}"]\n', encoding="utf-8")
    ended = cli("models", "check", path, "--json")
    rows = json.loads(ended.out)["models"]
    assert [(row["where"], row["state"]) for row in rows] == [(plain.url, "answers"), (server.url, "wrong")]
    assert ended.code == 2


def test_a_wrong_file_is_wrong_input(cli: Cli, tmp_path: Path, models: Path) -> None:
    ended = cli("models", "check", tmp_path / "none.toml")
    assert ended.code == 2 and "expected a file of models, found none" in ended.err
    ended = cli("models", "check", models, "--models", "smal")
    assert ended.code == 2 and "expected some of small, prm, orm" in ended.err
    add(models, "\n[models.bad]\nendpoint = 3\n")
    ended = cli("models", "measure", models)
    assert ended.code == 2 and "models.bad" in ended.err


def test_an_engine_that_is_not_installed_is_a_row(cli: Cli, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    add(models, '\n[models.inside]\nengine = "transformers"\nmodel = "nobody/nothing"\n')
    ended = cli("models", "check", models, "--models", "inside", "--json")
    (row,) = json.loads(ended.out)["models"]
    assert (ended.code, row["state"], row["where"]) == (2, "wrong", "this process")
    assert "autotts-optimizer[transformers]" in row["problem"]


# ---------------------------------------------------------------- scorers


def test_scorers_are_judged_by_graded_draws_that_are_told_before(
    cli: Cli, models: Path, questions: Path, server: FakeServer
) -> None:
    ended = cli("models", "check", models, "--task", questions, "--prompts", "12", "--json")
    assert ended.code == 0, ended.err
    assert "48 draws of small (4 on each of 12 prompts of" in ended.err
    scorers = {one["scorer"]: one for one in json.loads(ended.out)["scorers"]}
    assert list(scorers) == ["prm", "orm"]
    assert scorers["prm"]["within"]["value"] > 0.6 and 0 < scorers["prm"]["right"] < 1
    assert scorers["prm"]["draws"] <= 48
    shown = cli("models", "check", models, "--task", questions, "--prompts", "2")
    assert "warning: scorer 'prm': not known: too few graded draws" in " ".join(shown.out.split())
    assert f"autotts optimize --task {questions} --models {models}" in shown.out


def test_scorers_cannot_be_judged_without_scorers(cli: Cli, models: Path, questions: Path, server: FakeServer) -> None:
    before = server.counts.requests
    ended = cli("models", "check", models, "--models", "small", "--task", questions)
    assert ended.code == 2 and "expected a scorer among small, found none" in ended.err
    ended = cli("models", "check", models, "--task", "no-such-task")
    assert ended.code == 2 and "no-such-task" in ended.err
    assert server.counts.requests == before  # told before anything was asked


# ---------------------------------------------------------------- measure


def test_a_measured_speed_is_written_and_prices_seconds(cli: Cli, models: Path, server: FakeServer) -> None:
    text = models.read_text(encoding="utf-8")
    ended = cli("models", "measure", models, "--models", "small", "--batch", "4")
    assert ended.code == 0, ended.err
    assert f"small at {server.url}: 18 requests, about" in ended.err
    assert "R2" in ended.out and "largest relative error" in ended.out and "4 side by side" in ended.out
    assert f"autotts optimize --task TASK --models {models} --budget 2s" in ended.out
    written = tomllib.loads(models.read_text(encoding="utf-8"))["models"]
    speed = written["small"].pop("latency")
    assert written == tomllib.loads(text)["models"] and speed["batch"] == 4
    entry = read_models(models, {"FAKE_SERVER_KEY": KEY})["small"]
    assert entry.card.prices("s").generated > 0
    assert entry.card.latency is not None
    assert 1 / 4000 / 2 < entry.card.latency.decode(500, 100) / 100 < 2 / 4000


def test_the_others_are_measured_where_one_is_down(cli: Cli, models: Path) -> None:
    add(models, DEAD)
    ended = cli("models", "measure", models, "--models", "dead,prm", "--json")
    assert ended.code == 4 and "no connection" in ended.err
    told = json.loads(ended.out)
    assert told["written"] == ["prm"] and "no connection" in told["models"][0]["problem"]
    prices = read_models(models, {"FAKE_SERVER_KEY": KEY})["prm"].card.prices("s")
    assert prices.generated == 0 and prices.call + prices.prompt + prices.prompt_context > 0
    assert KEY not in ended.out + ended.err


@pytest.mark.slow
def test_models_in_this_process_are_checked_and_measured(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("transformers", reason="transformers is not installed")
    from tests.worlds.tiny_llama import make_llama, make_scorer

    make_scorer(tmp_path / "scores", make_llama(tmp_path / "draws", context=512))
    path = tmp_path / "models.toml"
    path.write_text(
        '[models.T]\nengine = "transformers"\npath = "draws"\ncontext = 512\nextra = { device = "cpu" }\n'
        'template = { form = "text", user = "{prompt}" }\n\n[models.orm]\nengine = "transformers"\npath = "scores"\n'
        'context = 512\nscoring = { kind = "outcome", shape = "classify" }\n',
        encoding="utf-8",
    )
    ended = cli("models", "check", path, "--json")
    rows = by_name(ended.out)
    assert ended.code == 0, ended.err
    assert [(row["where"], row["state"]) for row in rows.values()] == [("this process", "answers")] * 2
    assert rows["T"]["can"]["continues"] == "ids" and rows["T"]["tokens_per_s"] > 0
    assert "cached" in rows["T"]["off"]
    ended = cli("models", "measure", path, "--batch", "2", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["written"] == ["T", "orm"]
    entries = read_models(path, {})
    assert entries["T"].card.prices("s").generated > 0
    assert entries["orm"].card.latency is not None and entries["orm"].card.latency.prefill(100) > 0


# ---------------------------------------------------------------- the names of strategies


def test_strategies_that_are_switched_off_are_those_that_need_it() -> None:
    def source(name: str) -> str:
        module = __import__(STRATEGIES[name].__module__, fromlist=["x"])
        return Path(str(module.__file__)).read_text(encoding="utf-8")

    goes_on = {name for name in STRATEGIES if '"step"' in source(name) or 'move="probe"' in source(name)}
    steps = {name for name in STRATEGIES if '"step"' in source(name)}
    scored = {name for name, kind in STRATEGIES.items() if "by" in knobs(kind)}
    for ability, names in (("continues", goes_on), ("stop_reason", steps), ("pooling", scored)):
        told = switched_off(ability).rpartition("(")[2].rstrip(")").split(", ")
        assert set(told) == names
