"""What the figures of a server add up to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from autotts import __version__
from autotts.core.cost import Prices, Usage
from autotts.errors import StoreError
from autotts.policy.control import State
from autotts.policy.drift import Drift
from autotts.policy.schema import Policy
from autotts.serve import measures
from autotts.serve.joined import EVERY, STALE, Shared
from autotts.serve.metrics import MOST, OTHER, Metrics, Told
from autotts.serve.watched import Watched
from autotts.worlds.servers.site import Standing
from tests.policy.policies import policy_data

ARM = "vote(n=8, model=S, temperature=0.8)"


def told(**given: object) -> Told:
    usage = {"S": Usage(prompt=100, cached=20, generated=300, cancelled=40, calls=8)}
    plain: dict[str, object] = {
        "endpoint": "chat",
        "status": 200,
        "seconds": 0.3,
        "ended": "returned",
        "client": "alice",
        "arm": ARM,
        "bin": "easy",
        "usage": usage,
        "cost": 1234,
        "unit": "flops",
        "draws": 8,
        "cancelled": 2,
    }
    return Told(**plain | given)  # type: ignore[arg-type]


def figures(text: bytes) -> dict[str, dict[tuple[str, ...], float]]:
    """Value by name and by the values of the labels, in the order of their names."""
    out: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            out.setdefault(sample.name, {})[tuple(v for _, v in sorted(sample.labels.items()))] = sample.value
    return out


def test_cost_adds_up_by_arm_by_client_and_by_model_and_kind() -> None:
    metrics = Metrics({"S": Prices(2, 1, 3, 5, 5, 7)})
    both = {"S": Usage(prompt=10, generated=70, calls=2), "L": Usage(prompt=11, cached=5, cancelled=3, calls=1)}
    for n, arm in enumerate([ARM, "one(model=L)", ""]):
        metrics.begun()
        metrics.ended(told(arm=arm, cost=1000 + 7 * n, usage=both if n else {}, client="bob" if n else ""))
    found = figures(metrics.text())
    total = found["autotts_cost_total"]["flops",]
    assert total == 3021
    for name in ("arm", "client", "model"):
        assert sum(found[f"autotts_{name}_cost_total"].values()) == pytest.approx(total)
    assert found["autotts_model_cost_total"]["call", "S", "flops"] > 0
    assert found["autotts_model_cost_total"]["none", "none", "flops"] == 1000


def test_the_place_of_a_message_is_no_label() -> None:
    metrics = Metrics()
    for index in range(3):
        metrics.begun()
        metrics.ended(told(fallback=f"messages[{index}]: a call of a tool: one plain draw"))
    assert figures(metrics.text())["autotts_fallbacks_total"] == {("messages",): 3}


def test_tokens_draws_and_ends_are_counted() -> None:
    metrics = Metrics()
    for _ in range(3):
        metrics.begun()
    assert figures(metrics.text())["autotts_requests_open"] == {(): 3}
    metrics.ended(told(fallback="tools", ended="cap", first_byte=0.1, waited=0.0, routing=0.0001))
    metrics.ended(told(ended="refused", status=429, cost=0, usage={}, draws=0, cancelled=0, arm="", bin=""))
    metrics.ended(told(ended="refused", status=429, reason="queue", cost=0, usage={}, draws=0, cancelled=0))
    metrics.reloaded(False)
    found = figures(metrics.text())
    assert found["autotts_tokens_total"] == {
        ("prompt", "S"): 100,
        ("cached", "S"): 20,
        ("generated", "S"): 300,
        ("cancelled", "S"): 40,
    }
    assert found["autotts_calls_total"] == {("S",): 8}
    assert found["autotts_requests_total"] == {("alice", "chat", "200"): 1, ("alice", "chat", "429"): 2}
    assert found["autotts_arm_draws_total"] == {(ARM,): 8, ("none",): 0}
    assert found["autotts_arm_cancelled_draws_total"] == {(ARM,): 2, ("none",): 0}
    assert found["autotts_outcomes_total"] == {("cap",): 1, ("refused",): 2}
    assert found["autotts_fallbacks_total"] == {("tools",): 1}
    assert found["autotts_refused_total"] == {("429",): 1, ("queue",): 1}
    assert found["autotts_policy_reloads_total"] == {("ok",): 0, ("failed",): 1}
    assert found["autotts_requests_open"] == {(): 0}
    assert found["autotts_routing_seconds_count"] == {(): 1}


def test_dollars_are_whole_dollars() -> None:
    metrics = Metrics()
    metrics.ended(told(cost=5 * 10**11, unit="usd"))
    assert figures(metrics.text())["autotts_cost_total"] == {("usd",): 0.5}


def test_labels_from_outside_are_bounded_and_safe() -> None:
    metrics = Metrics()
    for n in range(3 * MOST):
        metrics.ended(told(client=f'c{n}\ud800\n"' + "x" * 1000))
    found = figures(metrics.text())["autotts_client_cost_total"]
    assert len(found) == MOST + 1
    assert found[OTHER, "flops"] == 2 * MOST * 1234
    assert max(len(client) for client, _ in found) <= 120


# ---------------------------------------------------------------- what is read when asked


@dataclass
class Account:
    """Stands for a controller."""

    budget: float = 3e9
    bound: float = 18e9
    state: State = field(default_factory=lambda: State(7, 2, 9e9, 1.3e9, 2e9, 1.1, 5e9, 0.0))


@dataclass
class Two:
    running: int = 3
    waiting: int = 1


@dataclass
class Lines:
    written: int = 10
    lost: int = 1
    problem: str = ""


def watched(account: Account, drift: Drift) -> Watched:
    policy = Policy.loads(json.dumps(policy_data() | {"unit": "usd"}))
    stands = Standing("http://up:1", False, 2, 8, 50, {"busy": 3})
    return Watched(
        policy=lambda: policy,
        ruling=lambda: account,
        queue=Two,
        upstreams=lambda: [stands],
        drift=lambda: drift,
        kept=Lines,
    )


DRIFT = Drift(True, True, 500, {"plus": 2.5}, ("plus",), "plus")


def test_budget_queue_upstreams_and_drift_are_read_when_asked() -> None:
    metrics, account = Metrics(), Account(budget=3e12, bound=18e12)
    metrics.watch(watched(account, DRIFT))
    account.budget = 4e12
    found = figures(metrics.text())
    assert found["autotts_budget"] == {("usd",): 4.0}
    assert found["autotts_budget_overshoot_bound"] == {("usd",): 18.0}
    assert found["autotts_budget_requests"] == {(): 7}
    assert found["autotts_queue_running"] == {(): 3}
    assert found["autotts_upstream_healthy"] == {("http://up:1",): 0}
    assert found["autotts_upstream_calls_total"] == {("http://up:1",): 50}
    assert found["autotts_upstream_faults_total"] == {("busy", "http://up:1"): 3}
    assert found["autotts_drift_parted"] == {(): 1}
    assert found["autotts_drift_score"] == {("plus",): 2.5}
    assert found["autotts_kept_total"] == {("lost",): 1, ("written",): 10}
    assert all(name.startswith(("autotts_", "process_")) and not name.endswith("_created") for name in found)


def test_a_store_that_does_not_answer_costs_its_own_figures_only() -> None:
    class Down(Account):
        @property
        def state(self) -> State:
            raise StoreError("down")

        @state.setter
        def state(self, _: State) -> None: ...

    metrics = Metrics()
    metrics.watch(watched(Down(), DRIFT))
    found = figures(metrics.text())
    assert "autotts_budget" not in found and found["autotts_queue_running"] == {(): 3}


def test_every_family_is_written_down_and_every_measure_is_told() -> None:
    metrics = Metrics()
    metrics.watch(watched(Account(), DRIFT))
    metrics.ended(told(fallback="tools", first_byte=0.1, waited=0.0, routing=0.0001))
    metrics.ended(told(ended="refused"))
    families = {family.name for family in text_string_to_metric_families(metrics.text().decode())}
    written = {measure.name.removesuffix("_total") for measure in (*measures.RECORDED, *measures.READ)}
    assert {name for name in families if name.startswith("autotts_")} == written


# ---------------------------------------------------------------- several workers


def test_each_of_two_workers_tells_the_figures_of_both(tmp_path: Path) -> None:
    clock = [100.0]
    one, two = (Metrics(shared=Shared(tmp_path, name, lambda: clock[0])) for name in ("a", "b"))
    for metrics, cost, healthy in ((one, 100, 2.0), (two, 1000, 4.0)):
        metrics.watch(watched(Account(budget=6e12, bound=healthy * 1e12), DRIFT))
        metrics.begun()
        metrics.begun()
        metrics.ended(told(cost=cost, status=200 if metrics is one else 429))
        metrics.save()
    for metrics in (one, two):
        found = figures(metrics.text())
        assert found["autotts_cost_total"] == {("flops",): 1100}
        assert found["autotts_requests_total"] == {("alice", "chat", "200"): 1, ("alice", "chat", "429"): 1}
        assert found["autotts_request_seconds_count"] == {("chat",): 2}
        assert found["autotts_requests_open"] == {(): 2}
        assert found["autotts_budget"] == {("usd",): 6}
        assert found["autotts_budget_overshoot_bound"] == {("usd",): 4}
        assert found["autotts_budget_requests"] == {(): 14}
        assert found["autotts_build_info"] == {(__version__,): 1}


@pytest.mark.parametrize("how", ["ended", "killed"])
def test_what_a_worker_that_is_gone_counted_is_kept_and_its_gauges_are_not(tmp_path: Path, how: str) -> None:
    clock = [100.0]
    one, two = (Metrics(shared=Shared(tmp_path, name, lambda: clock[0])) for name in ("a", "b"))
    two.begun()
    two.begun()
    two.ended(told(cost=1000))
    two.save(last=how == "ended")
    clock[0] += STALE + 1 if how == "killed" else 0
    found = figures(one.text())
    assert found["autotts_cost_total"] == {("flops",): 1000}
    assert found["autotts_requests_open"] == {(): 0}


def test_figures_are_written_when_it_is_time_and_at_last(tmp_path: Path) -> None:
    clock = [100.0]
    one, two = (Metrics(shared=Shared(tmp_path, name, lambda: clock[0])) for name in ("a", "b"))

    def total() -> float:
        return sum(figures(one.text()).get("autotts_cost_total", {}).values())

    for seconds, last, expected in ((0, False, 1), (1, False, 1), (EVERY, False, 3), (1, True, 4)):
        clock[0] += seconds
        two.ended(told(cost=1))
        two.save(last=last)
        assert total() == expected


def test_a_folder_that_is_gone_breaks_nothing(tmp_path: Path) -> None:
    metrics = Metrics(shared=Shared(tmp_path / "gone", "a"))
    metrics.save()
    assert b"autotts_build_info" in metrics.text()
