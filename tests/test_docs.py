"""What the documentation says is what the code does."""

from __future__ import annotations

import json
import re
import shlex
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import pytest
import typer

from autotts.cli import app, run_cli
from autotts.worlds.fake_server import FakeModel, FakeServer, Solver, serving
from tests import docs
from tests.check import STEPS
from tests.readme import BEGIN, END, README, first_command

ROOT = Path(__file__).parent.parent
POOLS = ROOT / "docs" / "pools.md"
SERVERS = ROOT / "docs" / "servers.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_reference_of_strategies_is_fresh() -> None:
    assert docs.PAGE.read_text(encoding="utf-8") == docs.strategies(), "run `python -m tests.docs`"


def test_the_reference_of_metrics_is_fresh() -> None:
    assert docs.METRICS.read_text(encoding="utf-8") == docs.metrics(), "run `python -m tests.docs`"


def test_ci_calls_the_test_command_of_the_readme() -> None:
    readme, script = README.read_text(encoding="utf-8"), (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    command = re.search(r"\.venv-test/bin/pip (install .*?) && \.venv-test/bin/python (-m tests\.check)", readme)
    assert command is not None
    assert f'/bin/pip" {command.group(1)}' in script
    assert f'/bin/python" {command.group(2)}' in script
    assert any("pytest" in step for step in STEPS)


def test_the_readme_shows_the_output_of_its_first_command() -> None:
    assert first_command()[:3] == ["optimize", "--task", "math"]
    shown = README.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    assert "our policy" in shown
    assert "mixture of uniform arms" in " ".join(shown.split())


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    titles = {re.sub(r"[^\w -]", "", x).lower().replace(" ", "-") for x in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        file, _, title = target.partition("#")
        assert target.startswith("http") or (page.parent / file).exists(), target
        assert file or title in titles, target


# ---------------------------------------------------------------- commands


def commands(page: Path, title: str = "") -> list[list[str]]:
    """The arguments of every `autotts` that a page shows in its blocks (those under one title), in order."""
    text = page.read_text(encoding="utf-8")
    if title:
        text = text.split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = "\n".join(re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)).splitlines()
    parts = [part for line in lines for part in re.split(r" \| ", line)]
    return [shlex.split(part, comments=True)[1:] for part in parts if part.startswith("autotts ")]


@pytest.mark.parametrize("page", [README, POOLS, SERVERS], ids=lambda path: path.name)
def test_commands_that_are_shown_have_the_options_that_they_are_shown_with(page: Path) -> None:
    assert len(commands(page)) > 6
    for words in commands(page):
        command: Any = typer.main.get_command(app)
        while hasattr(command, "commands"):
            command, words = command.commands[words[0]], words[1:]
        command.make_context(command.name, list(words))


def sample(rng: Random, model: str, number: int, index: int, **more: Any) -> dict[str, Any]:
    """A line of the common layout."""
    right = rng.random() < 0.3 + 0.05 * (number % 10)
    return {
        "prompt_id": f"gsm8k/{number}",
        "prompt": f"What is {number} + 1?",
        "answer": str(number + 1),
        "model": model,
        "strategy": "sample",
        "temperature": 0.7,
        "sample_index": index,
        "extracted": str(number + 1 if right else number),
        "completion_tokens": rng.randint(200, 2000),
        **more,
    }


def write(path: Path, lines: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the logs that the pages name, each as its tool writes it, and small."""
    monkeypatch.chdir(tmp_path)
    rng, prompts = Random(0), range(12)
    harness, log = [], {"eval": {"task": "gsm8k", "model": "openai/m"}, "plan": {}}
    with zipfile.ZipFile(tmp_path / "gsm8k.eval", "w") as archive:
        archive.writestr("header.json", json.dumps(log))
        for n in prompts:
            drawn = [sample(rng, "", n, i)["extracted"] for i in range(4)]
            texts = [f"So it is {answer}." for answer in drawn]
            of = {"doc_id": n, "doc": {"question": f"What is {n} + 1?"}, "target": f"#### {n + 1}"}
            of |= {"arguments": {"gen_args_0": {"arg_0": "", "arg_1": {"do_sample": True, "temperature": 0.7}}}}
            harness.append(of | {"resps": [texts], "filtered_resps": [drawn], "filter": "strict-match"})
            one = {"id": n, "epoch": 1, "input": f"What is {n} + 1?", "target": str(n + 1)}
            scores = {"match": {"value": "C" if drawn[0] == str(n + 1) else "I", "answer": drawn[0]}}
            archive.writestr(f"samples/{n}_epoch_1.json", json.dumps(one | {"output": {}, "scores": scores}))
    write(tmp_path / "logs/Qwen__Qwen3-4B/samples_gsm8k_2025-01-02T03-04-05.678901.jsonl", harness)
    (tmp_path / "gsm8k.eval").rename(tmp_path / "logs/gsm8k.eval")

    asked = [{"model": "m", "messages": [{"role": "user", "content": f"What is {n} + 1?"}]} for n in prompts]
    reply = {"choices": [{"message": {"content": "I think it is \\boxed{4}."}}], "usage": {"completion_tokens": 9}}
    write(tmp_path / "calls.jsonl", [{"request": request, "response": reply} for request in asked])
    write(tmp_path / "gold.jsonl", [{"prompt": f"What is {n} + 1?", "answer": str(n + 1)} for n in prompts])

    small, large = "Qwen3-4B", "Qwen3-8B"
    write(tmp_path / "a.jsonl", [sample(rng, small, n, i) for n in prompts for i in range(4)])
    write(tmp_path / "b.jsonl", [sample(rng, large, n, 0) for n in prompts])
    named = (("Qwen/Qwen3-4B", 4.02), (small, 4.02), (large, 8.19))
    every: dict[str, Any] = {"probe_every": 500, "probes": ["1", "2", "2"], "completion_tokens": 2000}
    for name, more in (("other", {}), ("probed", every)):
        lines = [sample(rng, m, n, i, params_b=b, **more) for m, b in named for n in range(50, 62) for i in range(4)]
        write(tmp_path / f"{name}.jsonl", lines)
        assert run_cli(["pool", "export", f"{name}.jsonl", "--output", f"{name}.jsonl.gz"]) == 0

    write(tmp_path / "sums.jsonl", [{"prompt": f"solve: {n}+{n % 7}", "answer": n + n % 7} for n in range(10, 50)])
    study = 'task = "sums.jsonl"\nmodels = ["S"]\nstrategies = ["one"]\nsearch = 8\nconfirm = 8\nblock = 4\n'
    (tmp_path / "study.toml").write_text(study + "trials = 2\nslots = 1\n", encoding="utf-8")
    assert run_cli(["optimize", "--study", "study.toml", "--out", "runs/math", "--quiet"]) == 0
    yield tmp_path


@pytest.mark.parametrize(("page", "title"), [(README, "You have old samples"), (POOLS, "")], ids=["readme", "pools"])
def test_the_walk_from_old_samples_to_a_policy(
    logs: Path, capsys: pytest.CaptureFixture[str], page: Path, title: str
) -> None:
    for block in re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        (logs / "models.toml").write_text(block, encoding="utf-8")
    done = []
    for words in commands(page, title):
        if words[0] == "serve":  # tried by the walk of its own page
            continue
        named = (sorted(map(str, Path().glob(word))) if "*" in word else [word] for word in words)
        assert run_cli(list(chain.from_iterable(named))) == 0, (words, capsys.readouterr().err)
        done.append(" ".join(words[:2]))
    assert {"pool import", "optimize --pool", "evaluate runs/mine/policy.json"} <= set(done)
    assert (logs / "runs/mine/report.html").exists()


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with what the walk from a server names; a fake server stands in for vLLM."""
    monkeypatch.chdir(tmp_path)
    text = SERVERS.read_text(encoding="utf-8")
    (file,) = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (line,) = re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    rows = [{"prompt": f"What is {n} + {n % 9}?", "answer": str(n + n % 9), "level": 1} for n in range(10, 42)]
    write(tmp_path / "mine.jsonl", [json.loads(line), *rows])
    write(tmp_path / "questions.jsonl", [{"prompt": row["prompt"]} for row in rows[:8]])
    (name,) = re.findall(r'^model = "(.*)"', file, re.MULTILINE)
    with serving(FakeServer([FakeModel(name, Solver(0.8))])) as server:
        (tmp_path / "models.toml").write_text(file.replace("http://localhost:8000/v1", server.url), encoding="utf-8")
        yield tmp_path


@pytest.mark.slow
def test_the_walk_from_a_server_to_a_policy(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = []
    for words in commands(SERVERS):
        assert run_cli([*words, *(["--yes"] if words[0] == "optimize" else [])]) == 0, (words, capsys.readouterr().err)
        done.append(words[0])
    assert done == ["models", "optimize", "optimize", "report", "run", "run", "evaluate"]
    answers = [json.loads(line) for line in (models / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(answers) == 8 and all(answer["text"] for answer in answers)
