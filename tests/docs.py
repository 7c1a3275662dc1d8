"""Writes the pages of docs/reference that follow from the code: `python -m tests.docs`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autotts.core.strategy import Knob, Options, Range, Role, knobs
from autotts.serve.measures import READ, RECORDED, Measure
from autotts.strategies import STRATEGIES
from tests import policy_schema

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "strategies.md"
METRICS = PAGE.with_name("metrics.md")


def strategies() -> str:
    """The strategies and their knobs, from their declarations."""
    lines = [
        "# Strategies",
        "",
        "Made by `python -m tests.docs`. An arm is written `vote(n=8, model=S, temperature=0.6)`; knobs that are not",
        "given have their defaults. A study tries the values of the grid; a policy and `autotts evaluate --strategy`",
        "take any value in the range.",
        "",
    ]
    for name, kind in STRATEGIES.items():
        lines += [f"## `{name}`", "", str(kind.__doc__).split("\n", maxsplit=1)[0], ""]
        lines += ["| knob | default | range | grid | what it is |", "|---|---|---|---|---|"]
        lines += [_row(knob) for knob in knobs(kind).values()]
        lines.append("")
    return "\n".join(lines)


def _row(knob: Knob) -> str:
    domain = knob.domain
    span, grid = "a name", ""
    if isinstance(domain, Range):
        span = f"{domain.low:g} to {domain.high:g}"
        grid = ", ".join(f"{v:g}" for v in domain.grid)
    elif isinstance(domain, Options):
        span = ", ".join(domain.words)
    elif isinstance(domain, Role):
        grid = "every model" if domain.kind == "policy" else "every scorer"
    return f"| `{knob.name}` | {knob.default} | {span} | {grid} | {domain.about} |"


def metrics() -> str:
    """The figures that `/metrics` tells, from their declarations."""
    lines = [
        "# Metrics",
        "",
        "Made by `python -m tests.docs`. `GET /metrics` of `autotts serve` tells these to Prometheus. Costs are in",
        "whole units (dollars, not parts of them). They add up: summed over arms, over clients, or over models and",
        "kinds of tokens, they are `autotts_cost_total` each. So where the compute of the last hour went is",
        "",
        "```promql",
        "sum by (arm) (increase(autotts_arm_cost_total[1h]))",
        "sum by (model, kind) (increase(autotts_model_cost_total[1h]))",
        "sum by (client) (increase(autotts_client_cost_total[1h]))",
        "increase(autotts_arm_cancelled_draws_total[1h]) / increase(autotts_arm_draws_total[1h])",
        "```",
        "",
        "A request's cost is shared among models and kinds of tokens by their number times their price; what a token",
        "costs for its place in a long text is spread in the same proportion.",
        "",
        "A label has 100 values at most, others are `other`; what is missing is `none`. With several workers each",
        "tells the figures of all, its own as they are and the others' at most some seconds old: counters and",
        "histograms are added, gauges as the last column says. Beside these there are the usual `process_*` of",
        "Prometheus's Python client.",
        "",
        "`autotts_drift_score` compares the last 1,000 prompts (once there are so many, every fourth counts) with",
        "those of the study, feature by feature: the largest difference of the shares of prompts up to a value, in",
        "multiples of what chance allows. Above 1 they have parted: the log says in which features, and what the",
        "policy expects of prompts may no longer hold. A policy made by an older version does not say what its prompts",
        "looked like; `autotts_drift_known` is 0 then, as it is before 200 prompts were served.",
        "",
        "## Counted at each request",
        "",
        *_table(RECORDED),
        "",
        "## Read when asked",
        "",
        *_table(READ),
        "",
    ]
    return "\n".join(lines)


def _table(measures: Sequence[Measure]) -> list[str]:
    rows = ["| name | kind | labels | what it is | workers |", "|---|---|---|---|---|"]
    for measure in measures:
        labels = ", ".join(f"`{label}`" for label in measure.labels)
        rows.append(f"| `{measure.name}` | {measure.kind} | {labels} | {measure.words} | {measure.joined} |")
    return rows


def main() -> None:
    """Write the pages and the JSON Schema."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(strategies(), encoding="utf-8")
    METRICS.write_text(metrics(), encoding="utf-8")
    policy_schema.PAGE.write_text(policy_schema.schema(), encoding="utf-8")


if __name__ == "__main__":
    main()
