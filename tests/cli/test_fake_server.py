"""`autotts fake-server` serves until it is told to end, says how it is used, and what it counted."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from autotts.cli_fake import fake_server
from autotts.errors import InputError
from autotts.worlds.fake_server.ready import READY, models_toml
from autotts.worlds.models.read import read_models

RUN = "import typer; from autotts.cli_fake import fake_server; typer.run(fake_server)"


def test_it_answers_and_says_what_it_counted(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", RUN, "--port", "0", "--key", "secret", "--models", "small,large,prm", "--json"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None and process.stderr is not None
        said = ""
        while "FAKE_SERVER_KEY\n" not in said.partition("with the key")[2]:
            said += process.stderr.readline()
            assert process.poll() is None, said
        url = re.search(r"http://127.0.0.1:\d+/v1", said)
        assert url is not None and "secret" not in said
        toml = tmp_path / "models.toml"
        toml.write_text(said[said.index("[models.") : said.index("with the key")], encoding="utf-8")
        entries = read_models(toml, {"FAKE_SERVER_KEY": "secret"})
        assert list(entries) == ["small", "large", "prm"] and entries["small"].servers[0].url == url[0]
        form = {"model": "small", "messages": [{"role": "user", "content": "What is 1 + 2?"}]}
        key = {"authorization": "Bearer secret"}
        answer = httpx.post(f"{url[0]}/chat/completions", json=form, headers=key).json()
        assert "boxed" in answer["choices"][0]["message"]["content"]
        process.send_signal(signal.SIGINT)
        out = process.stdout.read()
        assert process.wait(timeout=20) == 0
    counts = json.loads(out)
    assert counts["by_model"]["small"]["generated"] == answer["usage"]["completion_tokens"]
    assert counts["requests"] == counts["finished"] == 1


def test_every_ready_model_can_be_declared(tmp_path: Path) -> None:
    toml = tmp_path / "models.toml"
    toml.write_text(models_toml(list(READY), "http://127.0.0.1:1/v1", None), encoding="utf-8")
    entries = read_models(toml, {})
    assert list(entries) == list(READY)
    assert [name for name, entry in entries.items() if not entry.draws] == ["prm", "orm", "judge"]
    assert all(entry.card.parameters for entry in entries.values())


def test_a_model_that_is_not_ready_is_named() -> None:
    with pytest.raises(InputError, match=r"expected names of small .*found 'huge'"):
        fake_server(models="small,huge")
