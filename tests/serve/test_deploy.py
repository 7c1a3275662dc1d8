"""The files for containers, systemd and Prometheus keep their promises, and name only what there is."""

from __future__ import annotations

import configparser
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from autotts.cli import app
from autotts.serve import measures
from autotts.serve.listening import Limits

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "docs" / "deploy"
USER = "10001:10001"


def steps(text: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile: name and argument, continued lines joined, comments left out."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in joined.splitlines() if line]


DOCKERFILE = steps((ROOT / "Dockerfile").read_text(encoding="utf-8"))
COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")


def last(name: str) -> str:
    """The argument of the last instruction of a name: that of the image, not of what it is built in."""
    return [argument for step, argument in DOCKERFILE if step == name][-1]


def service(name: str) -> str:
    """What stands under one service of the compose file."""
    found = re.search(
        rf"^  {name}:\n(.*?)(?=^  \w|^\w|\Z)", COMPOSE.split("\nservices:\n")[1], re.MULTILINE | re.DOTALL
    )
    assert found is not None
    return found.group(1)


def serving(words: list[str]) -> dict[str, Any]:
    """What `autotts serve` is given by these words, by the names of its options; fails on one that it does not have."""
    assert words[0] == "serve"
    command: Any = typer.main.get_command(app)
    command = command.commands["serve"]
    given = command.make_context("serve", words[1:]).params
    return {param.opts[0]: given[param.name] for param in command.params}


def unit() -> configparser.RawConfigParser:
    """The systemd unit; keys that stand there more than once keep the last value."""
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / "autotts.service", encoding="utf-8")
    return parser


# ---------------------------------------------------------------- the image


def test_the_image_runs_as_a_user_that_owns_nothing() -> None:
    assert last("USER") == USER
    order = [step for step, _ in DOCKERFILE]
    after = DOCKERFILE[len(order) - order[::-1].index("USER") :]
    assert not [step for step, _ in after if step in ("RUN", "COPY", "ADD", "USER")]
    copied = [argument for step, argument in DOCKERFILE if step == "COPY"]
    assert not any("--chown" in argument for argument in copied)  # what is run cannot be changed by who runs it


def test_the_image_starts_without_a_shell_and_hears_signals() -> None:
    assert json.loads(last("ENTRYPOINT")) == ["autotts"]
    assert isinstance(json.loads(last("HEALTHCHECK").partition(" CMD ")[2]), list)
    assert last("STOPSIGNAL") == "SIGTERM"


def test_what_the_image_does_by_itself_is_a_command_that_there_is() -> None:
    given = serving(json.loads(last("CMD")))
    assert given["--host"] == "0.0.0.0" and given["--port"] == int(last("EXPOSE"))
    assert given["--api-key-file"] == Path("/run/secrets/autotts_keys")  # beyond this machine only with a key
    assert f"'127.0.0.1', {last('EXPOSE')}" in last("HEALTHCHECK")


def test_bases_are_pinned_by_tag_and_heavy_libraries_are_left_out() -> None:
    (version,) = [argument for step, argument in DOCKERFILE if step == "ARG"]
    assert re.fullmatch(r"PYTHON=3\.\d+-slim-\w+", version)
    assert {argument.partition(" ")[0] for step, argument in DOCKERFILE if step == "FROM"} == {"python:${PYTHON}"}
    installs = [argument for step, argument in DOCKERFILE if step == "RUN" and "pip install" in argument]
    assert installs == ["/opt/autotts/bin/pip install --no-cache-dir --compile ."]  # no extras: no torch, no vLLM


def test_what_the_image_is_built_from_reaches_the_builder_and_nothing_else_does() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    let = {line[1:] for line in lines if line.startswith("!")}
    copied = [a.split()[:-1] for s, a in DOCKERFILE if s == "COPY" and not a.startswith("--from")]
    assert lines[0] == "*" and let == {name for names in copied for name in names}
    assert all((ROOT / name).exists() for name in let)


# ---------------------------------------------------------------- compose


def test_compose_hardens_what_it_publishes() -> None:
    ours = service("autotts")
    for line in ("read_only: true", "cap_drop: [ALL]", 'security_opt: ["no-new-privileges:true"]', "tmpfs: ["):
        assert f"    {line}" in ours
    assert 'ports:\n      - "127.0.0.1:8080:8080"' in ours
    assert "ports:" not in service("vllm")
    assert "privileged: true" not in COMPOSE and "docker.sock" not in COMPOSE
    assert re.search(r"vllm:\n\s+condition: service_healthy", ours) and "healthcheck:" in service("vllm")
    assert re.search(r"capabilities: \[gpu\]", service("vllm"))


def test_compose_serves_what_it_mounts() -> None:
    ours = service("autotts")
    listed = re.search(r"command:\n((?:      - .*\n)+)", ours)
    assert listed is not None
    given = serving([line.removeprefix("      - ") for line in listed.group(1).splitlines()])
    (secret,) = re.findall(r"secrets: \[(\w+)\]", ours)
    assert given["--api-key-file"] == Path(f"/run/secrets/{secret}") and f"\n  {secret}:\n    file: " in COMPOSE
    assert f":{given['policy'].parent}:ro" in ours  # the folder, so that a file that is moved into place is seen
    assert given["--upstream"] == "http://vllm:8000/v1" and given["--port"] == 8080
    grace = re.search(r"stop_grace_period: (\d+)s", ours)
    assert grace is not None and int(grace.group(1)) > Limits().drain_seconds


def test_images_of_others_are_pinned() -> None:
    images = re.findall(r"image: (\S+)", COMPOSE)
    assert len(images) == 3
    assert all(re.search(r":v?\d+\.\d+\.\d+\}?$", image) for image in images), images


def test_named_volumes_and_secrets_are_declared() -> None:
    declared = set(re.findall(r"^  (\w+):", COMPOSE.split("\nsecrets:\n")[1], re.MULTILINE))
    named = set(re.findall(r"- ([a-z]+):/", COMPOSE)) | set(re.findall(r"secrets: \[(\w+)\]", COMPOSE))
    assert named == declared
    for path in re.findall(r"- \./(docs/\S+?):", COMPOSE):
        assert (ROOT / path).is_file()


# ---------------------------------------------------------------- systemd


def test_the_unit_is_hardened_and_lets_requests_finish() -> None:
    told = unit()["Service"]
    for key in ("DynamicUser", "NoNewPrivileges", "PrivateTmp", "ProtectHome", "PrivateDevices", "RestrictNamespaces"):
        assert told[key] == "yes"
    assert told["ProtectSystem"] == "strict" and told["CapabilityBoundingSet"] == ""
    assert told["ExecReload"] == "/bin/kill -HUP $MAINPID" and told["KillSignal"] == "SIGTERM"
    assert int(told["TimeoutStopSec"]) > Limits().drain_seconds


def test_the_unit_serves_with_the_keys_that_it_loads() -> None:
    given = serving(shlex.split(unit()["Service"]["ExecStart"])[1:])
    loaded = re.findall(r"^LoadCredential=(\w+):/", (DEPLOY / "autotts.service").read_text(), re.MULTILINE)
    assert {given["--api-key-file"], given["--upstream-key-file"]} == {Path("%d") / name for name in loaded}


# ---------------------------------------------------------------- metrics


@pytest.mark.parametrize("name", ["alerts.yml", "grafana.json"])
def test_every_metric_that_is_shown_is_one_that_there_is(name: str) -> None:
    text = (DEPLOY / name).read_text(encoding="utf-8")
    there = {m.name for m in vars(measures).values() if isinstance(m, measures.Measure)}
    there |= {f"{name}_bucket" for name in there}
    used = set(re.findall(r"\bautotts_\w+", text)) - {"autotts_metrics_key"}
    assert used and used <= there


def test_labels_that_are_shown_are_those_of_the_metrics() -> None:
    labels = {m.name: m.labels for m in vars(measures).values() if isinstance(m, measures.Measure)}
    texts = [(DEPLOY / name).read_text(encoding="utf-8") for name in ("alerts.yml", "grafana.json")]
    found = [row for text in texts for row in re.findall(r"sum by \(([^)]+)\) \(rate\((\w+)\[", text)]
    assert len(found) > 8
    for by, metric in found:
        assert set(by.split(", ")) - {"le"} <= set(labels[metric.removesuffix("_bucket")]), metric


def test_the_dashboard_is_whole() -> None:
    board = json.loads((DEPLOY / "grafana.json").read_text(encoding="utf-8"))
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids)) > 10
    assert all(target["expr"] for panel in board["panels"] for target in panel["targets"])
    assert "alerts.yml" in (DEPLOY / "prometheus.yml").read_text(encoding="utf-8")
