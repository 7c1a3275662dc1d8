"""Costs, budgets and what is left, in each unit that a policy may count in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from autotts.core.cost import PARTS
from autotts.policy.opening import Where
from autotts.serve.running import Options
from autotts.worlds.fake_server import FakeServer, serving
from autotts.worlds.models.entry import Server
from tests.serve.inside import Answer, Inside, inside
from tests.serve.served import backend, policy_data

CARDS = {
    "flops": "",
    "tokens": "",
    "calls": "",
    "usd": "usd_prompt = 2.0\nusd_cached = 0.5\nusd_generated = 10.0",
    "s": "latency = { b = 0.001, c = 0.25, n = 0.02, batch = 1 }",
}


def by_hand(unit: str, usage: Mapping[str, int], parameters: float, draws: int = 1) -> float:
    """What draws of one model cost; their prompt is read once, and dollars know a price of reading it again."""
    read, made = usage["prompt_tokens"] // draws, usage["completion_tokens"]
    return {
        "flops": 2 * parameters * (read + made),
        "tokens": float(read + made),
        "calls": float(draws),
        "usd": (2.0 * read + 0.5 * read * (draws - 1) + 10.0 * made) / 1e6,
        "s": 0.25 * draws + 0.001 * read + 0.02 * made,
    }[unit]


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeServer]:
    with serving(backend()) as server:
        yield server


@pytest.fixture(params=list(CARDS))
def unit(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def data(unit: str, tmp_path: Path) -> dict[str, Any]:
    return policy_data(tmp_path, unit=unit, card=CARDS[unit])


@pytest.fixture(params=["controlled", "uncontrolled"])
def served(
    request: pytest.FixtureRequest, upstream: FakeServer, data: dict[str, Any], tmp_path: Path
) -> Iterator[Inside]:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(data))
    controlled = request.param == "controlled"
    with inside(path, Options(where=Where(upstream=Server(upstream.url)), controlled=controlled)) as found:
        yield found


def cost(answer: Answer) -> float:
    assert answer.status == 200, answer.body
    told = answer.data["autotts"]
    assert answer.headers["x-autotts-cost"] == repr(told["cost"])
    return float(told["cost"])


def test_costs_are_what_the_tokens_cost(unit: str, served: Inside) -> None:
    found = served.chat(model="plain:large")
    assert cost(found) == pytest.approx(by_hand(unit, found.data["usage"], 14e9), rel=1e-9)
    assert found.data["autotts"]["unit"] == unit
    vote = served.chat()
    told = vote.data["autotts"]
    assert told["arm"].startswith("vote(n=4") and told["draws"] == 4
    assert cost(vote) == pytest.approx(by_hand(unit, vote.data["usage"], 1.7e9, 4), rel=1e-9)


def test_a_budget_of_a_request_is_in_the_unit(unit: str, served: Inside, data: dict[str, Any]) -> None:
    room = 2 * data["frontier"][0]["budget"] / PARTS[unit]
    amount = f"{room:.12f}{unit}"
    for found in (
        served.chat(model=f"auto@{amount}"),
        served.chat({"x-autotts-budget": amount}),
        served.chat(autotts={"budget": amount}),
    ):
        told = found.data["autotts"]
        assert told["arm"].startswith("one(") and 0 < cost(found) <= told["budget"]
        assert told["budget"] == pytest.approx(room, rel=1e-6)
    other = "usd" if unit == "tokens" else "tokens"
    refused = served.chat(model=f"auto@5{other}")
    assert (refused.status, refused.error["param"]) == (400, "autotts.budget")
    assert f"expected an amount in {unit}" in refused.error["message"]


def test_what_is_left_of_the_running_budget_is_in_the_unit(unit: str, served: Inside, data: dict[str, Any]) -> None:
    """Each request brings one mean budget and takes what it cost; what it may cost is set aside while it runs."""
    first, second = (served.chat().data["autotts"] for _ in range(2))
    if "left" not in first:
        assert "left" not in second and "budget" not in second  # no controller, no account
        return
    mean = data["frontier"][data["default"]]["budget"] / PARTS[unit]
    before, after = (told["budget"] + told["left"] for told in (first, second))
    assert after - before == pytest.approx(mean - first["cost"], rel=1e-6)
    assert mean / 2 < first["effort"] < 2 * mean and first["left"] > 0
