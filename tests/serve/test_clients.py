"""Clients of others against `autotts serve`: they work unchanged, and are told of the tokens that the backend counts.

Skipped unless `AUTOTTS_CLIENTS_PYTHON` names an interpreter that has the clients, or several of them, separated as
paths are; a client's script is run by each that has its package.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autotts.worlds.fake_server import Pace
from tests.serve.served import Served, backend, served, tokens

pytestmark = [pytest.mark.clients, pytest.mark.slow]
SCRIPTS = Path(__file__).parent / "clients"
TOKENS = re.compile(r'^autotts_tokens_total\{.*?kind="(\w+)".*?\} (\S+)$', re.MULTILINE)
KEY = "sk-a-clients-key"
ALONE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}  # no network
PACKAGES = {
    "openai": "openai",
    "optillm": "openai",
    "litellm": "litellm",
    "langchain": "langchain_openai",
    "lm_eval": "lm_eval",
    "inspect": "inspect_ai",
}


@pytest.fixture(scope="module")
def pythons() -> tuple[str, ...]:
    """The interpreters that have clients."""
    named = os.environ.get("AUTOTTS_CLIENTS_PYTHON", "")
    if not named:
        pytest.skip("AUTOTTS_CLIENTS_PYTHON names no interpreter")
    return tuple(named.split(os.pathsep))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server for all clients; the policy is obeyed as it stands, so that each knows its arms."""
    with served(tmp_path_factory.mktemp("served"), "--controller", "off") as found:
        yield found


def has(python: str, package: str) -> bool:
    """Whether an interpreter has a package."""
    find = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    return subprocess.run([python, "-c", find], check=False).returncode == 0


def run(python: str, client: str, url: str, home: Path) -> dict[str, Any]:
    """What a client's script tells; `home` is for what it keeps."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "OPENAI_"))}
    environment |= {"CLIENT_URL": url, "CLIENT_KEY": KEY, "OPENAI_API_KEY": KEY, "NO_PROXY": "*", **ALONE}
    environment |= {"HF_HOME": str(home), "TMPDIR": str(home)}
    argv = [python, str(SCRIPTS / f"{client}_client.py")]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    assert not told["failed"], "\n".join(f"{name}: {why}" for name, why in told["failed"].items())
    return told


def metered(server: Served) -> tuple[int, int]:
    """The tokens that the server's own metrics tell of: those of prompts, and those that were generated."""
    found: Counter[str] = Counter()
    with urllib.request.urlopen(f"{server.url.removesuffix('/v1')}/metrics") as answer:
        for kind, value in TOKENS.findall(answer.read().decode()):
            found[kind] += int(float(value))
    return found["prompt"] + found["cached"], found["generated"] + found["cancelled"]


@pytest.mark.parametrize("client", PACKAGES)
def test_a_client_works_unchanged_and_is_told_of_every_token(
    client: str, server: Served, pythons: tuple[str, ...], tmp_path: Path
) -> None:
    able = [python for python in pythons if has(python, PACKAGES[client])]
    if not able:
        pytest.skip(f"none of {', '.join(pythons)} has {PACKAGES[client]}")
    for python in able:
        before, metered_before = tokens(server.backend), metered(server)
        told = run(python, client, server.url, tmp_path)
        after, metered_after = tokens(server.backend), metered(server)
        counted = (after.prompt - before.prompt, after.generated - before.generated)
        assert (told["prompt"], told["completion"]) == counted, python
        measured = [b - a for a, b in zip(metered_before, metered_after, strict=True)]
        assert measured == list(counted), python
        assert told["requests"] > 0


def test_clients_that_hang_up_leave_nothing_running(tmp_path: Path, pythons: tuple[str, ...]) -> None:
    slow = backend(pace=Pace(rate=20.0, first=0.05))
    with served(tmp_path, "--controller", "off", before=slow) as found:
        run(pythons[0], "hang_up", found.url, tmp_path)
        assert slow.counts.cancelled > 0
        assert "running" not in slow.counts.by_outcome


def test_keys_and_limits_have_the_errors_that_clients_know(tmp_path: Path, pythons: tuple[str, ...]) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(f'[clients.a]\nkey = "{KEY}"\nrequests_per_minute = 1\n')
    file.chmod(0o600)
    with served(tmp_path, "--controller", "off", "--api-key-file", str(file)) as found:
        run(pythons[0], "keyed", found.url, tmp_path)
