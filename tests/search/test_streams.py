"""A policy that serves a pool as a stream: what it is charged, how far it is over its budget."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autotts.errors import BudgetError, InputError
from autotts.policy.controller import Controller
from autotts.policy.schema import Policy
from autotts.pools.recorded import Recorded
from autotts.search.evaluate_pool import Asked, evaluate_arms
from autotts.search.export import digest
from autotts.search.streams import Uncontrolled, evaluate_policy, requests, stream
from tests.pools.make import LARGE, SMALL, make

CHEAP, DEAR = "one(model=S, temperature=0.7)", "vote(n=4, model=L, temperature=0.7)"
COSTS = {"cheap": 20.0, "dear": 80.0}


def policy(**changes: Any) -> Policy:
    """Two arms, one bin, in tokens; the middle setting mixes them."""

    def setting(share: float) -> dict[str, Any]:
        cost = (1 - share) * COSTS["cheap"] + share * COSTS["dear"]
        route = [[arm, part] for arm, part in (("cheap", 1 - share), ("dear", share)) if part > 0]
        return {"budget": cost, "route": {"all": route}, "expected": {"value": 0.5 + share / 4, "cost": cost}}

    data: dict[str, Any] = {
        "format": "autotts.policy/1",
        "task": {"name": "made", "reader": "exact", "grader": "exact"},
        "models": {"S": {}, "L": {}},
        "unit": "tokens",
        "arms": {
            "cheap": {"arm": CHEAP, "expected": {"all": {"value": 0.5, "cost": COSTS["cheap"]}}},
            "dear": {"arm": DEAR, "expected": {"all": {"value": 0.75, "cost": COSTS["dear"]}}},
        },
        "difficulty": {"kind": "none", "bins": ["all"]},
        "frontier": [setting(0.0), setting(0.5), setting(1.0)],
        "default": 1,
    }
    import json

    return Policy.loads(json.dumps({**data, **changes}))


@pytest.fixture(scope="module")
def pool() -> Recorded:
    return make(problems=25, counts=40, seed=2, longest=39)  # a draw takes 20 tokens on average, as the policy expects


def test_without_the_controller_a_setting_costs_what_its_arms_cost(pool: Recorded) -> None:
    found = evaluate_policy(pool, policy(), budget=COSTS["cheap"], controlled=False)
    arm = evaluate_arms(pool, CHEAP, Asked(unit="tokens"))
    assert found["routed"] == {CHEAP: 1.0} and found["controller"] == "off" and found["bound"] is None
    assert (found["prompts"], found["requests"]) == (25, 25 * 40)
    assert found["cost"]["mean"] == pytest.approx(arm["cost"]["mean"], rel=0.05)
    assert found["accuracy"]["value"] == pytest.approx(arm["accuracy"]["value"], abs=0.05)
    assert found["tokens"]["mean"] == found["sequential_tokens"]["mean"] == found["cost"]["mean"]
    assert found["overshoot"] == pytest.approx(found["cost"]["mean"] / 20 - 1)

    mixed = evaluate_policy(pool, policy(), controlled=False)
    assert mixed["budget"] == 50.0 and mixed["routed"][DEAR] == pytest.approx(0.5, abs=0.06)
    assert mixed["accuracy"]["low"] <= mixed["accuracy"]["value"] <= mixed["accuracy"]["high"]
    assert mixed["cost"]["p95"] > mixed["cost"]["mean"] > mixed["sequential_tokens"]["mean"]


def test_the_controller_holds_the_budget_where_the_policy_alone_overspends() -> None:
    harder = make(problems=25, counts=100, seed=2, longest=60)  # half as dear again as the policy expects
    off = evaluate_policy(harder, policy(), controlled=False)
    on = evaluate_policy(harder, policy())
    assert off["overshoot"] > 0.3 and off["worst_overshoot"] > 300
    assert on["controller"] == "on" and on["overshoot"] < 0.02
    assert on["worst_overshoot"] <= on["bound"] == 6.0
    assert on["requests"] == 2000 and 0 <= on["cut"] < 0.2


def test_the_account_is_that_of_the_requests(pool: Recorded) -> None:
    control = Uncontrolled(policy(), None)
    served = stream(pool, policy(), control, seed=3)
    found = evaluate_policy(pool, policy(), controlled=False, seed=3)
    assert found["cost"]["mean"] == pytest.approx(served.cost.mean())
    ahead = [sum(served.cost[: i + 1]) / 50 - (i + 1) for i in range(200)]
    assert found["worst_overshoot"] >= max(0.0, *ahead) - 1e-9
    counts = np.bincount(served.problem)
    assert counts.tolist() == [40] * 25
    for start in range(0, 1000, 25):  # every pass is one of all prompts
        assert sorted(served.problem[start : start + 25].tolist()) == list(range(25))
    assert served.cost.tolist() != stream(pool, policy(), control, seed=4).cost.tolist()
    assert served.cost.tolist() == stream(pool, policy(), control, seed=3).cost.tolist()


def test_every_request_has_its_own_ordering_of_the_draws(pool: Recorded) -> None:
    served = stream(pool, policy(), Uncontrolled(policy(), COSTS["cheap"]))
    first = pool.drawn[0]
    for p in range(3):
        costs = served.cost[served.problem == p]
        assert len(set(costs.tolist())) > 10
        assert set(costs.tolist()) <= set(first.tokens[first.start[p] : first.start[p + 1]].tolist())


def test_caps_end_requests(pool: Recorded) -> None:
    told: list[float] = []

    class Half(Uncontrolled):
        def tell(self, asked: Any, cost: float) -> None:
            told.append(cost)

    served = stream(pool, policy(), Half(policy(), None), cap=30)
    assert served.cost.max() <= 30 and 0 < served.cut.mean() < 1 and told == served.cost.tolist()
    capped = evaluate_policy(pool, policy(cap=25.0), controlled=False, cap=40)
    assert capped["cost"]["cap"] == 25.0 and capped["cost"]["p95"] <= 25 and capped["cut"] > 0
    controlled = evaluate_policy(pool, policy(cap=25.0))
    assert controlled["cost"]["p95"] <= 25
    assert Controller(policy(cap=25.0)).ask("what is 1?").cap <= 25


def test_requests_are_as_many_as_the_draws_justify() -> None:
    rng = np.random.default_rng(0)
    assert len(requests(make(problems=3, counts=1), rng)) == 3
    assert len(requests(make(problems=3, counts={0: 9, 1: 5, 2: 7}), rng)) == 15
    assert len(requests(make([SMALL], problems=300, counts=9), rng)) == 2100


def test_progress_is_told(pool: Recorded) -> None:
    seen: list[tuple[int, int]] = []
    evaluate_policy(pool, policy(), tell=lambda *at: seen.append(at))
    assert seen[:2] == [(0, 1000), (50, 1000)]


def test_only_the_arms_that_can_be_reached_need_draws() -> None:
    few = make(problems=5, counts=3)
    found = evaluate_policy(few, policy(), budget=COSTS["cheap"], controlled=False)
    assert found["requests"] == 15
    with pytest.raises(InputError, match="fewer than 4 draws of L"):
        evaluate_policy(few, policy(), controlled=False)
    with pytest.raises(InputError, match="fewer than 4 draws of L"):
        evaluate_policy(few, policy(), budget=COSTS["cheap"])


def test_a_policy_for_other_models_or_settings_is_an_error(pool: Recorded) -> None:
    other = make([replace(SMALL, role="A"), replace(LARGE, role="B")])
    with pytest.raises(InputError, match="the policy asks S, L, and the pool made has A, B: it lacks S, L;"):
        evaluate_policy(other, policy())
    with pytest.raises(InputError, match=r"has S, L: it lacks score;"):
        evaluate_policy(pool, policy(scorers={"score": {}}))
    with pytest.raises(InputError, match=r"and scores: it lacks prm;"):
        evaluate_policy(make(scored=True), policy(scorers={"prm": {}}))
    warm = make([SMALL, replace(LARGE, temperature=1.0)])
    with pytest.raises(InputError, match="it has L at temperature=1, top_p=1"):
        evaluate_policy(warm, policy())
    with pytest.raises(BudgetError):
        evaluate_policy(pool, policy(), budget=1.0)


def test_a_temperature_that_the_policys_pool_did_not_record_is_that_of_the_other_pool(pool: Recorded) -> None:
    arms = {
        "cheap": {"arm": "one(model=S)", "expected": {"all": {"value": 0.5, "cost": COSTS["cheap"]}}},
        "dear": {"arm": "vote(n=4, model=L)", "expected": {"all": {"value": 0.75, "cost": COSTS["dear"]}}},
    }
    bound = {role: {"binding": {"engine": "recorded", "id": role}} for role in "SL"}
    silent = policy(arms=arms, models=bound)
    found = evaluate_policy(pool, silent, controlled=False)
    assert set(found["routed"]) == {CHEAP, DEAR}
    for role in "SL":
        assert (
            f"{role}: the temperature was not recorded where the policy was made; "
            "it is played at 0.7, which this pool recorded"
        ) in found["notes"]
    assert silent.arms["cheap"].arm == "one(model=S)"  # the policy itself is left as it is
    narrow = make([replace(SMALL, top_p=0.9), LARGE], problems=25, counts=8)
    assert "one(model=S, temperature=0.7, top_p=0.9)" in evaluate_policy(narrow, silent)["routed"]

    for role in "SL":
        bound[role]["binding"]["temperature"] = 0.8  # type: ignore[assignment]
    stated = policy(arms=arms, models=bound)
    with pytest.raises(InputError, match=r"S at temperature 0 and top_p 1 was not recorded"):
        evaluate_policy(pool, stated)
    del bound["S"]["binding"]["temperature"], bound["L"]["binding"]["temperature"]
    several = make([SMALL, replace(SMALL, temperature=1.0), LARGE])
    with pytest.raises(InputError, match=r"S at temperature 0 and top_p 1 was not recorded"):
        evaluate_policy(several, policy(arms=arms, models=bound))


def test_sizes_that_the_pool_lacks_are_those_of_the_policy(pool: Recorded) -> None:
    sizeless = [replace(family, parameters=None) for family in (SMALL, LARGE)]
    unsized = make(sizeless, problems=25, counts=40, seed=2, longest=39)
    with pytest.raises(InputError, match=r"--params S=4\.02e9"):
        evaluate_policy(unsized, policy(unit="flops"), controlled=False)
    cards = {"S": {"card": {"parameters": 1000}}, "L": {"card": {"parameters": 4000}}}
    known = evaluate_policy(unsized, policy(unit="flops", models=cards), controlled=False)
    assert known["cost"] == evaluate_policy(pool, policy(unit="flops"), controlled=False)["cost"]
    assert any("attention is not counted" in note for note in known["notes"])


def test_the_prompts_that_a_policy_was_made_from_are_told(pool: Recorded) -> None:
    seen = policy(task={"name": "made", "reader": "exact", "grader": "exact", "prompts": digest(pool.problems)})
    assert any("made from" in note for note in evaluate_policy(pool, seen)["notes"])
    assert not any("made from" in note for note in evaluate_policy(make(problems=5, counts=9), seen)["notes"])
