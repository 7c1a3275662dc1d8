"""What people see of arms and policies that were measured on a pool, in a wide and in a narrow terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from autotts.report.evaluations import pool_evaluation


def arm(text: str, **changes: Any) -> dict[str, Any]:
    return {
        "subject": text,
        "arm": text,
        "pool": "made",
        "unit": "flops",
        "prompts": 30,
        "accuracy": {"value": 0.5, "low": 0.4, "high": 0.6},
        "cost": {"unit": "flops", "mean": 2e12, "low": 1e12, "high": 3e12, "p95": 4e12, "cap": None},
        "tokens": {"mean": 1234.4},
        "sequential_tokens": {"mean": 567.0},
        "cut": 0.0,
        "notes": ["prompts are not counted"],
        **changes,
    }


def shown(found: dict[str, Any], width: int = 100) -> str:
    out = io.StringIO()
    Console(file=out, width=width, markup=False, highlight=False).print(pool_evaluation(found))
    return " ".join(out.getvalue().split())


def several(*arms: dict[str, Any]) -> dict[str, Any]:
    return {"pool": "made", "unit": "flops", "arms": list(arms), "notes": ["L is left out"]}


def test_one_arm_is_a_list_of_facts() -> None:
    text = shown(arm("vote(n=8, model=S)", cut=0.25))
    for words in ("50.0 (40.0 to 60.0) %", "2 Tflops a prompt (1 Tflops to 3 Tflops)", "1,234 a prompt, 567 one after"):
        assert words in text
    assert "25 % of the runs were ended by a cap" in text and text.endswith("note: prompts are not counted")
    assert "tokens" not in shown(arm("one(model=S)", tokens=None, sequential_tokens=None))


def test_arms_that_differ_by_model_are_rows_of_a_table() -> None:
    text = shown(several(arm("vote(n=8, model=S)"), arm("vote(n=8, model=L)", prompts=28)))
    for words in (
        "evaluated vote(n=8)",
        "28 to 30 of the pool made",
        "model right, %",
        "S 50.0 (40.0-60.0) 2 T 4 T 1,234",
    ):
        assert words in text
    assert text.count("note:") == 2 and "note: L is left out" in text
    alone = shown(several(arm("one(model=S)"), arm("one(model=L)", tokens=None, sequential_tokens=None)))
    assert "one()" in alone and "- -" in alone
    odd = shown(several(arm("one(model=S, temperature=0)"), arm("one(model=S, temperature=0.7)")))
    assert "arm right, %" in odd and "temperature=0.7 50.0" in odd


@pytest.mark.parametrize("width", [40, 60])
def test_in_a_narrow_terminal_rows_are_lists(width: int) -> None:
    text = shown(several(arm("vote(n=8, model=S)"), arm("vote(n=8, model=L)")), width)
    assert "vote(n=8, model=S)" in text and "vote(n=8, model=L)" in text and text.count("95 % interval") == 2


def test_a_policy_says_how_its_budget_was_held() -> None:
    policy = {
        "controller": "on",
        "requests": 2010,
        "budget": 1e12,
        "overshoot": 0.012,
        "worst_overshoot": 3.5,
        "bound": 6.0,
        "routed": {"one(model=S)": 0.25, "vote(n=8, model=S)": 0.75},
    }
    text = shown(arm("policy", **policy))
    for words in (
        "2,010 in random order, controller on",
        "1 Tflops a prompt; mean +1.2 % off it",
        "3.50 budgets above",
    ):
        assert words in text
    assert "never more than 6" in text and text.index("75 % vote(n=8, model=S)") < text.index("25 % one(model=S)")
    assert "never more" not in shown(arm("policy", **{**policy, "bound": None, "controller": "off"}))
