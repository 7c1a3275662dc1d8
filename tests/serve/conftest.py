"""A server before a fake backend, for the tests of a module that speak to it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from autotts.policy.opening import Where
from autotts.serve.running import Options
from autotts.worlds.fake_server import FakeServer, serving
from autotts.worlds.models.entry import Server
from tests.serve.inside import Inside, inside
from tests.serve.served import backend, policy_data


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeServer]:
    with serving(backend()) as server:
        yield server


@pytest.fixture(scope="module")
def served(upstream: FakeServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """Without a controller, so that `auto` is the vote and `auto-fast` the plain arm, in any order of tests."""
    path = tmp_path_factory.mktemp("policy") / "policy.json"
    path.write_text(json.dumps(policy_data(path.parent)))
    with inside(path, Options(where=Where(upstream=Server(upstream.url)), controlled=False)) as found:
        yield found
