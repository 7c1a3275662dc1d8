"""What the figures of a server add up to."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from autotts.core.cost import Prices, Usage
from autotts.serve.metrics import MOST, OTHER, Metrics, Told

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
        metrics.begun("bob")
        metrics.ended(told(arm=arm, cost=1000 + 7 * n, usage=both if n else {}, client="bob" if n else ""))
    found = figures(metrics.text())
    total = found["autotts_cost_total"]["flops",]
    assert total == 3021
    for name in ("arm", "client", "model"):
        assert sum(found[f"autotts_{name}_cost_total"].values()) == pytest.approx(total)
    assert found["autotts_model_cost_total"]["call", "S", "flops"] > 0
    assert found["autotts_model_cost_total"]["none", "none", "flops"] == 1000


def test_tokens_draws_and_ends_are_counted() -> None:
    metrics = Metrics()
    metrics.begun()
    assert figures(metrics.text())["autotts_requests_open"] == {(): 1.0}
    metrics.ended(told(fallback="tools", ended="cap", first_byte=0.1, waited=0.0, routing=0.0001))
    metrics.refused("queue")
    metrics.reloaded(False)
    found = figures(metrics.text())
    assert found["autotts_tokens_total"] == {
        ("prompt", "S"): 100,
        ("cached", "S"): 20,
        ("generated", "S"): 300,
        ("cancelled", "S"): 40,
    }
    assert found["autotts_calls_total"] == {("S",): 8}
    assert found["autotts_requests_total"] == {("alice", "chat", "200"): 1}
    assert found["autotts_arm_draws_total"] == {(ARM,): 8}
    assert found["autotts_arm_cancelled_draws_total"] == {(ARM,): 2}
    assert found["autotts_outcomes_total"] == {("cap",): 1}
    assert found["autotts_fallbacks_total"] == {("tools",): 1}
    assert found["autotts_refused_total"] == {("queue",): 1}
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
