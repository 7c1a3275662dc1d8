"""Embeddings while their backend is silent: whose client hangs up holds nothing, and a deadline holds."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autotts.policy.opening import Where
from autotts.serve.running import Options
from autotts.serve.service import Settings
from autotts.worlds.fake_server import Faults, serving
from autotts.worlds.models.entry import Server
from tests.serve.inside import Inside, inside, until
from tests.serve.served import backend, policy_data

BODY = {"model": "embedder", "input": "hello"}


@pytest.fixture
def silent(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Inside]:
    """A server whose backend answers nothing; the parameter is the deadline."""
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(policy_data(tmp_path)))
    settings = Settings(deadline=request.param)
    with serving(backend(faults=Faults(always=lambda body: "hang"))) as upstream:
        options = Options(where=Where(upstream=Server(upstream.url)), settings=settings)
        with inside(path, options) as found:
            yield found


@pytest.mark.parametrize("silent", [None], indirect=True)
def test_a_client_that_hangs_up_leaves_its_place_at_once(silent: Inside) -> None:
    body = json.dumps(BODY).encode()
    head = "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", silent.port)) as line:
        line.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        until(lambda: silent.service.gate.running == 1)
    until(lambda: silent.service.gate.running == 0)


@pytest.mark.parametrize("silent", [0.02], indirect=True)
def test_a_deadline_ends_it(silent: Inside) -> None:
    found = silent.ask("POST", "/v1/embeddings", BODY)
    assert (found.status, found.error["code"]) == (504, "deadline")


@pytest.mark.parametrize("silent", [None], indirect=True)
@pytest.mark.parametrize("model", [None, "", 7, ["embedder"]])
def test_a_model_that_is_no_name_is_refused(silent: Inside, model: Any) -> None:
    found = silent.ask("POST", "/v1/embeddings", BODY | {"model": model})
    assert (found.status, found.error["param"]) == (400, "model")


@pytest.mark.parametrize("silent", [None], indirect=True)
def test_a_budget_is_refused_by_its_name(silent: Inside) -> None:
    found = silent.ask("POST", "/v1/embeddings", BODY | {"autotts": {"effort": 1}})
    assert (found.status, found.error["param"]) == (400, "autotts")
