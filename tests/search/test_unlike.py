"""Prompts that look different from those that a policy's predictor learned on are told of, wherever it is measured."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from autotts.policy.perprompt import unlike
from autotts.policy.schema import Policy
from autotts.pools.recorded import Recorded
from autotts.predict.learning import fit
from autotts.predict.performance import Performance
from autotts.report.lists import evaluation_table
from autotts.search.command import Limits, evaluated
from autotts.search.streams import evaluate_policy
from autotts.tasks import READERS, find
from autotts.worlds.tiny import open_tiny
from tests.policy.test_perprompt import ARMS, LEARNED, PROMPTS, data
from tests.pools.make import make

OTHERS = [f"def f{i}(x):\n    return x[{i}];\n" * 9 for i in range(30)]


def policy(performance: Performance = LEARNED, **changes: Any) -> Policy:
    plain = {**data(), **changes}
    plain["difficulty"] |= {"features": performance.groups, "performance": performance.to_json()}
    return Policy.loads(json.dumps(plain))


def pool(prompts: list[str]) -> Recorded:
    of = make(problems=len(prompts), counts=20)
    return replace(of, problems=tuple(replace(p, prompt=t) for p, t in zip(of.problems, prompts, strict=True)))


def told(found: dict[str, Any]) -> list[str]:
    return [note for note in found["notes"] if "look different" in note]


def test_on_recorded_answers() -> None:
    assert told(evaluate_policy(pool(PROMPTS[:30]), policy())) == []
    (note,) = told(evaluate_policy(pool(PROMPTS[:24] + OTHERS[:6]), policy(), controlled=False))
    assert note.startswith("20% of these prompts look different") and "does not hold" in note
    assert "make a policy from prompts like these" in note


def test_few_and_odd_prompts_are_no_sign_and_other_kinds_cannot_tell() -> None:
    assert list(unlike(policy(), PROMPTS[:9] + OTHERS[:1])) == []
    assert len(list(unlike(policy(), PROMPTS[:8] + OTHERS[:2]))) == 1
    assert list(unlike(policy(), [])) == []
    plain = data()
    plain["requires"], plain["difficulty"] = [], {"kind": "none", "bins": ["all"]}
    for setting in plain["frontier"]:
        del setting["multiplier"]
    assert list(unlike(Policy.loads(json.dumps(plain)), OTHERS)) == []


def sums_learned() -> Performance:
    """A predictor of the prompts that the task `math` asks."""
    task = find("math")
    prompts = [p.prompt for level in task.mix for p in task.source("search", level, 60, 0)]
    size = np.array([len(prompt) for prompt in prompts])
    chance = 1 / (1 + np.exp(np.outer(size - size.mean(), [0.4, 0.3, 0.1])))
    value = np.random.default_rng(0).binomial(8, chance) / 8
    return fit(prompts, ARMS, value, np.outer(size, [1.0, 4.0, 16.0]), seed=0, kinds=("logistic",))


@pytest.mark.parametrize("same", [True, False])
def test_on_a_task(same: bool) -> None:
    with open_tiny(("S",), read=READERS["arithmetic"]) as world:
        bound = {"S": {"binding": {"engine": "tiny", "id": world.bindings["S"].id}}}
    cheap = {arm: {"arm": "one(model=S, temperature=0.7)"} for arm in ARMS}
    subject = policy(sums_learned() if same else LEARNED, models=bound, arms=cheap)
    found = evaluated(subject, task="math", models=(), prompts=8, limits=Limits(), seed=0)
    assert len(found["notes"]) == (0 if same else 1)
    out = io.StringIO()
    Console(file=out, width=100).print(evaluation_table(found))
    assert ("note: 100% of these prompts look different" in out.getvalue()) == (not same)
