"""The walk of docs/serve.md, as it stands there: from a policy file and a server's address to answers."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer

from autotts.cli import app, run_cli
from autotts.serve.keys import Keys
from tests.serve.served import Served, served

DOCS = Path(__file__).parent.parent.parent / "docs"
SERVE = DOCS / "serve.md"
PAGES = [SERVE, *sorted((DOCS / "deploy").glob("*.md"))]
CLIENTS = os.environ.get("AUTOTTS_CLIENTS_PYTHON", "").split(os.pathsep)[0]
UPSTREAM, HERE = "http://localhost:8000/v1", "http://localhost:8080/v1"


def blocks(page: Path, kind: str) -> list[str]:
    """What stands in the blocks of one kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def lines(page: Path, program: str) -> list[list[str]]:
    """The command lines of a page that run a program, as lists of words; what stands before an && is left out."""
    shown = [line.rpartition(" && ")[2] for block in blocks(page, "bash") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in shown if line.startswith(program + " ")]


def parsed(words: list[str]) -> None:
    """Fails where a command or one of its options is not there."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    command.make_context(command.name, list(words))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_that_are_shown_have_the_options_that_they_are_shown_with(page: Path) -> None:
    here = [words[1:] for words in lines(page, "autotts")]
    image = "autotts-optimizer"
    inside = [words[words.index(image) + 1 :] for words in lines(page, "docker") if image in words and "run" in words]
    for words in here + inside:
        parsed(words)
    assert here or inside or page.stem == "beside-litellm"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Served]]:
    """A folder with policy.json, and the server of it."""
    folder = tmp_path_factory.mktemp("walk")
    with served(folder) as found:
        address, until = found.url.removesuffix("/v1") + "/ready", time.monotonic() + 30
        while httpx.get(address, trust_env=False).status_code != 200 and time.monotonic() < until:
            time.sleep(0.01)  # it listens before it has looked at its models
        yield folder, found


def test_the_policy_is_looked_at_and_bound_to_other_names(
    server: tuple[Path, Served], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(server[0])
    done = []
    for words in lines(SERVE, "autotts"):
        if words[1] == "serve":
            assert words[1:] == ["serve", "policy.json", "--upstream", UPSTREAM]  # what runs here, but for the port
            continue
        assert run_cli(words[1:]) == 0, (words, capsys.readouterr())
        done.append(words[2])
    assert done == ["validate", "show", "explain", "rebind", "validate"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_curl_is_answered(server: tuple[Path, Served]) -> None:
    said = []
    for words in lines(SERVE, "curl"):
        words = [word.replace(HERE.removesuffix("/v1"), server[1].url.removesuffix("/v1")) for word in words]
        answer = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout
        assert "error" not in answer, (words, answer)
        said.append(answer)
    ready, models, whole, stream, *budgets = said
    assert json.loads(ready) == {"status": "ready"}
    assert {"auto", "auto-fast", "plain:small"} <= {model["id"] for model in json.loads(models)["data"]}
    assert json.loads(whole)["choices"][0]["message"]["content"] and json.loads(whole)["autotts"]["cost"] > 0
    assert stream.startswith("data: ") and stream.endswith("data: [DONE]\n\n")
    assert len(budgets) == 2 and all(json.loads(answer)["autotts"]["draws"] >= 1 for answer in budgets)


@pytest.mark.clients
@pytest.mark.skipif(not CLIENTS, reason="AUTOTTS_CLIENTS_PYTHON names no interpreter")
def test_the_openai_package_is_answered(server: tuple[Path, Served]) -> None:
    (program,) = blocks(SERVE, "python")
    argv = [CLIENTS, "-c", program.replace(HERE, server[1].url)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("boxed") >= 2  # whole, and in pieces


def test_the_block_that_is_shown_is_one_that_is_sent(server: tuple[Path, Served]) -> None:
    (block,) = blocks(SERVE, "json")
    asked = {"model": "auto-best", "messages": [{"role": "user", "content": "What is 12 + 7 * 3?"}]}
    said = httpx.post(server[1].url + "/chat/completions", json=asked, timeout=60, trust_env=False).json()["autotts"]
    assert json.loads(block).keys() <= said.keys()


def test_the_keys_that_are_shown_can_be_read(tmp_path: Path) -> None:
    (tables,) = blocks(SERVE, "toml")
    (tmp_path / "keys.toml").write_text(tables, encoding="utf-8")
    (tmp_path / "keys.toml").chmod(0o600)
    clients = Keys.load(tmp_path / "keys.toml", {"METRICS_KEY": "0123456789abcdef"}).clients
    assert [(client.name, client.admin) for client in clients] == [("chat", False), ("prometheus", True)]
