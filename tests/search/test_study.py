"""A whole study on the toy world: found, told, resumed, limited."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest

from autotts.core.world import Meter, Reply, Request
from autotts.errors import BackendError, BudgetError, InputError, StoreError
from autotts.policy.schema import Policy
from autotts.report.result import read
from autotts.search.optimize import Found, optimize
from autotts.search.recipe import Recipe
from tests.search.bench import TASK, Bench, opened

SMALL = {
    "task": "toy",
    "strategies": ("one", "vote", "weighted_vote"),
    "search": 16,
    "confirm": 16,
    "block": 8,
    "trials": 18,
    "slots": 2,
    "budgets": 3,
}


def study(out: Path, world: Any = opened, **changes: Any) -> Found:
    return optimize(Recipe(**{**SMALL, **changes}), task=TASK, out=out, world=world)


def lasting(result: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on how often a study was interrupted; what was cancelled then was spent besides."""
    out = json.loads(json.dumps(result))
    spend = out.pop("spend")
    assert spend["total"] == sum(spend["by_kind"].values()) == sum(spend["by_model"].values())
    del out["provenance"]["date"]
    for entry in out["rounds"]:
        del entry["draws"]
    return out


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return study(tmp_path_factory.mktemp("study"), budget="1e15flops")


def test_hard_prompts_get_the_better_model_and_easy_ones_the_cheap_one(found: Found) -> None:
    assert not found.result["budget"]["binds"]
    assert "binds nothing" in found.result["budget"]["words"]
    route = found.result["policy"]["route"]
    assert all("model=A" in arm for arm, _ in route["1"])
    assert any("model=B" in arm for arm, _ in route["3"])
    assert found.result["accuracy"]["low"] <= found.result["accuracy"]["value"] <= found.result["accuracy"]["high"]


def test_levels_that_cannot_be_told_all_get_what_suits_the_traffic(tmp_path: Path) -> None:
    found = study(tmp_path, search=9, budget="600kflops")  # too few prompts a level to learn the levels from
    result = found.result
    assert result["difficulty"]["kind"] == "constant" and result["budget"]["binds"]
    routes = list(result["policy"]["route"].values())
    assert routes == [routes[0]] * 3
    assert 0.8 * 600_000 < result["cost"]["mean"] < 1.2 * 600_000
    hull = next(b for b in result["baselines"] if b["kind"] == "hull")
    assert hull["difference"]["value"] == pytest.approx(0, abs=0.01)
    assert "beyond noise at" not in result["verdict"]  # nothing is gained but what luck gives


def test_result_is_what_the_report_reads(found: Found) -> None:
    shown = read(found.result)
    kinds = {b.kind for b in shown.baselines}
    assert {"hull", "one", "majority", "random-routing", "length-rule"} <= kinds
    assert len(shown.frontier) == 3
    costs = [step["cost"]["mean"] for step in found.result["frontier"]]
    assert costs == sorted(costs)
    assert found.result["prompts"] == {
        "search": 48,
        "confirm": 48,
        "stream": "confirm",
        "weights": "by the task's mix of levels",
    }


def test_policy_file_routes_as_the_result_says(found: Found) -> None:
    policy = Policy.load(found.out / "policy.json")
    routed = policy.route("level 3 search 1000042")
    assert routed.arm in {arm for arm, _ in found.result["policy"]["route"][routed.bin]}
    assert policy.made.seed == 0
    assert policy.frontier[policy.default].expected.cost == pytest.approx(found.result["policy"]["budget"])


def test_optuna_holds_a_study_for_each_level_with_readable_trials(found: Found) -> None:
    url = f"sqlite:///{found.out / 'autotts.db'}"
    names = {s.study_name for s in optuna.get_all_study_summaries(url)}
    assert names == {"toy/L1", "toy/L2", "toy/L3"}
    trials = optuna.load_study(study_name="toy/L3", storage=url).get_trials()
    assert all("arm" in t.user_attrs for t in trials)
    assert any(t.user_attrs.get("free") for t in trials)
    for trial in trials:
        if trial.state == optuna.trial.TrialState.COMPLETE:
            accuracy, cost = trial.values
            assert 0 <= accuracy <= 1
            assert cost > 0


def test_a_second_run_draws_nothing_and_finds_the_same(found: Found) -> None:
    made: list[Bench] = []
    again = study(found.out, lambda: opened(made), budget="1e15flops")
    assert made[0].calls == 0
    assert lasting(again.result) == lasting(found.result)
    assert again.result["spend"]["by_kind"] == found.result["spend"]["by_kind"]
    assert again.policy.digest == found.policy.digest


class Breaking(Bench):
    """Answers so many orders, then breaks for good."""

    limit = 0

    async def answer(self, order: Request, states: tuple[Any, ...], meter: Meter) -> Reply:
        if self.calls >= self.limit:
            raise BackendError("the toy broke")
        return await super().answer(order, states, meter)


@pytest.mark.parametrize("limit", [40, 2500])
def test_an_interrupted_study_resumes_to_the_same_result(found: Found, tmp_path: Path, limit: int) -> None:
    made: list[Bench] = []

    @contextmanager
    def breaking() -> Iterator[Bench]:
        bench = Breaking()
        bench.limit = limit
        made.append(bench)
        yield bench

    with pytest.raises(BackendError, match="the toy broke"):
        study(tmp_path, breaking, budget="1e15flops")
    again = study(tmp_path, lambda: opened(made), budget="1e15flops")
    assert lasting(again.result) == lasting(found.result)
    assert again.result["spend"]["by_kind"]["drawn"] >= found.result["spend"]["by_kind"]["drawn"]
    whole = found.result["spend"]["draws"]
    # What was finished before the break is not made again; what was in flight when it broke may be.
    assert made[1].calls <= whole - limit * 0.8


def test_another_recipe_in_the_same_folder_is_refused(found: Found) -> None:
    with pytest.raises(StoreError, match=r"another study.*seed is 0 there and 1 here"):
        study(found.out, budget="1e15flops", seed=1)
    with pytest.raises(StoreError, match=r"holds another study.*'toy'"):
        optimize(Recipe(**SMALL), task=TASK, name="other", out=found.out, world=opened)


def test_a_binding_budget_is_met_and_a_hopeless_one_names_the_cheapest_arm(found: Found) -> None:
    middle = found.result["frontier"][1]["budget"]
    bound = study(found.out, budget=f"{middle:.0f}flops")
    assert bound.result["budget"]["binds"]
    assert bound.result["policy"]["budget"] == pytest.approx(middle, rel=1e-6)
    with pytest.raises(BudgetError, match=r"cheapest arm: .*model=A"):
        study(found.out, budget="10flops")


def test_a_target_takes_what_it_takes(found: Found) -> None:
    aimed = study(found.out, target=0.8)
    assert "80.0%" in aimed.result["budget"]["words"]
    assert aimed.result["policy"]["budget"] < found.result["policy"]["budget"] * 1.5


def test_search_budget_holds_and_is_told(tmp_path: Path, found: Found) -> None:
    whole = found.result["spend"]["total"]
    limit = 2 * whole
    limited = study(tmp_path, budget="1e15flops", search_budget=f"{limit:.0f}flops", trials=500, patience=99)
    assert limited.result["stopped"]["why"] == "search-budget"
    assert limited.result["spend"]["total"] <= limit
    with pytest.raises(BudgetError, match="--search-budget"):
        study(tmp_path / "poor", budget="1e15flops", search_budget="1Mflops")


def test_no_run_costs_more_than_the_cap(tmp_path: Path) -> None:
    cap = 600_000
    capped = study(tmp_path, cap=f"{cap}flops")
    assert capped.result["cost"]["cap"] == cap
    assert capped.result["cost"]["p95"] <= cap
    for baseline in capped.result["baselines"]:
        if baseline["kind"] != "oracle-level":
            assert baseline["cost"]["p95"] <= cap
    assert capped.policy.cap == cap


def test_timeout_ends_at_a_round(tmp_path: Path) -> None:
    short = study(tmp_path, budget="1e15flops", timeout=1e-6)
    assert short.result["stopped"]["why"] == "timeout"
    assert len(short.result["rounds"]) == 1


def test_prompts_that_cannot_be_read_are_told_before_anything_is_drawn(tmp_path: Path) -> None:
    made: list[Bench] = []

    class Illiterate(Bench):
        def root(self, prompt: str) -> Any:
            raise InputError(f"the toy models cannot read {prompt!r}")

    @contextmanager
    def illiterate() -> Iterator[Bench]:
        made.append(Illiterate())
        yield made[0]

    with pytest.raises(InputError, match="cannot read"):
        study(tmp_path, illiterate)
    assert made[0].calls == 0
