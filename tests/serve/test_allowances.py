"""What the budget of a key holds while a server answers: room for several requests, and a word when it is used up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from autotts.errors import StoreError
from autotts.policy.opening import Where
from autotts.serve.keys import Keys
from autotts.serve.purses import Purses
from autotts.serve.running import Options
from autotts.worlds.fake_server import serving
from autotts.worlds.models.entry import Server
from tests.serve.inside import Inside, inside
from tests.serve.served import backend, policy_data

TEAM, POOR = "team-0123456789abcdef", "poor-0123456789abcdef"


@pytest.fixture(scope="module", params=[False, True], ids=["uncontrolled", "controlled"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """A policy without a cap, a client with the budget of 60 votes, and one with that of less than two plain draws."""
    folder = tmp_path_factory.mktemp("policy")
    data = policy_data(folder)
    (folder / "policy.json").write_text(json.dumps(data))
    costs = [int(setting["budget"]) for setting in data["frontier"]]
    keys = folder / "keys.toml"
    keys.write_text(
        f"[clients.team]\nkey = '{TEAM}'\nbudget = '{60 * costs[1]}flops'\nper = 'ever'\n"
        f"[clients.poor]\nkey = '{POOR}'\nbudget = '{costs[0] + costs[0] // 2}flops'\nper = 'ever'\n"
    )
    keys.chmod(0o600)
    with serving(backend()) as upstream:
        where = Where(upstream=Server(upstream.url))
        options = Options(where=where, keys=Keys.load(keys, {}), controlled=request.param)
        with inside(folder / "policy.json", options) as found:
            yield found


def test_requests_of_one_key_run_beside_each_other(served: Inside) -> None:
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: served.chat({"authorization": f"Bearer {TEAM}"}), range(6)))
    assert [one.status for one in found] == [200] * 6
    assert all(one.data["choices"][0]["message"]["content"] for one in found)


def test_a_key_that_has_less_left_than_an_answer_costs_is_told_so(served: Inside) -> None:
    found = [served.chat({"authorization": f"Bearer {POOR}"}) for _ in range(4)]
    refused = [one for one in found if one.status == 429]
    assert refused
    assert all(one.error["code"] == "insufficient_quota" for one in refused)
    assert all(one.data["autotts"]["cost"] > 0 for one in found if one.status == 200)


class Gone:
    """A till whose database does not answer."""

    def draw(self, name: str, period: str, limit: int, *, least: int, most: int) -> int:
        raise StoreError("storage: /secret/place/serve.db is locked")

    def put(self, name: str, period: str, parts: int) -> None:
        raise AssertionError("nothing was drawn")

    def forget(self, period: str) -> None:
        raise AssertionError("nothing was drawn")


def test_a_database_that_is_down_is_no_fault_of_the_backend(served: Inside) -> None:
    before, served.service.purses = served.service.purses, Purses("flops", Gone())
    try:
        found = served.chat({"authorization": f"Bearer {TEAM}"})
    finally:
        served.service.purses = before
    assert found.status == 503
    assert "secret" not in found.body.decode() and "retry-after" in found.headers
    assert served.service.ruling.state.running == 0
