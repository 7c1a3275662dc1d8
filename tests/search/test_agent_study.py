"""A language model among the proposers of a whole study: charged, kept, and done without where it fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from autotts.errors import InputError
from autotts.search.agents import AgentOptions
from autotts.search.optimize import Found, optimize
from autotts.search.recipe import Recipe
from autotts.worlds.scripted import Scripted
from tests.search.bench import TASK, opened

SMALL = {
    "task": "toy",
    "strategies": ("one", "vote"),
    "search": 8,
    "confirm": 8,
    "trials": 18,
    "slots": 2,
    "budgets": 2,
    "start": "designed",
    "proposer": "agent",
}
ARMS = [
    "vote(n=4, model=B, temperature=0.6, top_p=1.0)",
    "vote(n=4, model=B, temperature=1.0, top_p=1.0)",
    "buy shares",
]


def options(transport: Any, **changes: Any) -> AgentOptions:
    return AgentOptions("http://agent.test/v1", "thinker", **{"params": 1000.0, "transport": transport, **changes})


def study(out: Path, agent: AgentOptions | None, **changes: Any) -> Found:
    return optimize(Recipe(**{**SMALL, **changes}), task=TASK, out=out, world=opened, agent=agent)


def scripted() -> Scripted:
    proposals = json.dumps({"proposals": [{"arm": arm, "why": "to see"} for arm in ARMS]})
    return Scripted(["More draws help.", proposals], again=True)


def test_what_it_proposes_is_tried_and_what_it_takes_is_charged(tmp_path: Path) -> None:
    first, second = scripted(), scripted()
    found = study(tmp_path, options(first))
    told = found.result["proposed"]
    assert told["by"]["agent"]["tried"] >= 2
    assert told["agent"]["tokens"] > 0 and told["agent"]["asked"] == first.calls
    spend = found.result["spend"]
    assert spend["by_model"]["agent"] > 0
    assert sum(spend["by_model"].values()) == spend["total"]
    again = study(tmp_path, options(second))
    assert second.calls == 0  # replies are kept: the same study asks nothing twice
    assert again.policy.digest == found.policy.digest
    assert again.result["spend"]["by_model"] == spend["by_model"]


def test_a_dead_server_is_said_and_the_study_goes_on(tmp_path: Path) -> None:
    dead = Scripted([httpx.ConnectError("refused")], again=True)
    found = study(tmp_path, options(dead))
    told = found.result["proposed"]
    assert any("proposer agent failed" in note and "goes on there with guided" in note for note in told["notes"])
    assert told["by"]["guided"]["tried"] > 0
    assert found.result["accuracy"]["value"] > 0.5


def test_an_agent_without_a_price_or_a_server_is_told_before_anything_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--agent-params"):
        study(tmp_path / "a", options(scripted(), params=None))
    with pytest.raises(InputError, match="--agent URL"):
        study(tmp_path / "b", None)
    with pytest.raises(InputError, match="--agent-without"):
        study(tmp_path / "c", options(scripted(), without=("luck",)))
