"""A policy that runs: arms as evaluated, costs as charged, mixtures that repeat, and worlds that are closed again."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from autotts.errors import BudgetError, InputError
from autotts.policy.prompts import open_prompts
from autotts.policy.running import amounts, as_dict, opened, run, run_file
from autotts.policy.schema import Policy
from autotts.policy.serving import answer
from autotts.tasks import READERS
from autotts.worlds.tiny import open_tiny
from tests.policy.policies import policy_data


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    with open_tiny(("S",), read=READERS["arithmetic"]) as world:
        name = world.bindings["S"].id
    out = policy_data()
    out["task"] = {"name": "math", "reader": "arithmetic", "grader": "arithmetic"}
    out["models"] = {"S": {"binding": {"engine": "tiny", "id": name}}}
    out["scorers"] = {}
    out["arms"]["dear"]["arm"] = "vote(n=16, model=S, temperature=1)"
    return out


@pytest.fixture(scope="module")
def policy(data: dict[str, Any]) -> Policy:
    return Policy.loads(json.dumps(data))


def test_the_arm_that_is_run_is_the_one_that_is_routed(policy: Policy) -> None:
    prompt = "solve: 80+5*9-63"
    for budget in ("1Mflops", "64Mflops"):
        routed = policy.route(prompt, amounts("flops", budget, None)[0])
        done = run(policy, prompt, budget=budget)
        assert (done.arm, done.bin, done.ended) == (routed.arm, routed.bin, "returned")
    assert run(policy, prompt, budget="1Mflops").draws == 1


def test_the_cost_is_the_sum_of_what_was_used(policy: Policy) -> None:
    done = run(policy, "solve: 12+3*4")
    with opened(policy) as world:
        node, _ = world.root("solve: 12+3*4")
        prices = world.bindings["S"].prices
    (usage,) = done.usage.values()
    assert done.cost == prices.of_prompt(node.tokens, usage.prompt) + prices.of_generated(node.tokens, usage.generated)
    assert json.loads(json.dumps(as_dict(done)))["tokens"] == {next(iter(done.usage)): usage.generated}


def test_a_cap_of_the_policy_or_of_the_call_is_held(data: dict[str, Any]) -> None:
    capped = Policy.loads(json.dumps({**data, "cap": 4_000_000.0}))
    for cap in (None, "1Gflops", "2Mflops"):
        done = run(capped, "solve: 80+5*9-63", cap=cap)
        assert done.ended == "cap" and done.answer is None
        assert done.cost <= (2_000_000 if cap == "2Mflops" else 4_000_000)


def test_a_deadline_that_is_over_ends_with_what_there_is(policy: Policy) -> None:
    with opened(policy) as world:
        done = asyncio.run(answer(policy, world, "solve: 80+5*9-63", deadline=0.0))
    assert done.ended == "deadline" and done.answer is None


def test_a_mixture_repeats_for_the_same_token_and_varies_with_it(policy: Policy) -> None:
    prompt = next(p for p in ("solve: 93*87-45*62+718*4-95", "solve: 97*86*5-443") if policy.bin(p)[0] == "L5")
    arms = {policy.route(prompt, None, str(token)).arm for token in range(40)}
    assert len(arms) == 2
    assert len({policy.route(prompt, None, "7").arm for _ in range(5)}) == 1


def test_no_thread_outlives_a_run(policy: Policy) -> None:
    before = set(threading.enumerate())
    run(policy, "solve: 12+3*4")
    with pytest.raises(InputError):
        run(policy, "what is love?")
    assert set(threading.enumerate()) <= before


def test_a_file_is_checked_whole_before_the_first_answer(policy: Policy, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("solve: 1+2\n\n solve: 3*4 \nsolve: x\n")
    with open_prompts(tmp_path / "in.txt") as prompts:
        assert list(prompts) == ["solve: 1+2", "solve: 3*4", "solve: x"]
    with pytest.raises(InputError, match="prompt 3: the embedded models cannot read the symbol 'x'"):
        run_file(policy, tmp_path / "in.txt", tmp_path / "out.jsonl")
    (tmp_path / "in.txt").write_text("solve: 1+2\n")
    with pytest.raises(BudgetError, match="below the cheapest arm"):
        run_file(policy, tmp_path / "in.txt", tmp_path / "out.jsonl", budget="5flops")
    assert not (tmp_path / "out.jsonl").exists()


def test_many_prompts_get_the_answers_that_each_gets_alone(policy: Policy, tmp_path: Path) -> None:
    prompts = [f"solve: {n}*3+{n}" for n in range(10, 90)]  # more than run at once
    (tmp_path / "in.txt").write_text("\n".join(prompts))
    run_file(policy, tmp_path / "in.txt", tmp_path / "out.jsonl", budget="1Mflops")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["prompt"] for row in rows] == prompts
    for n in (0, 41, 79):
        alone = run(policy, prompts[n], budget="1Mflops")
        assert (rows[n]["answer"], rows[n]["cost"]) == (alone.answer, alone.cost)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_an_output_that_is_full_is_told(policy: Policy, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("solve: 1+2\n")
    (tmp_path / "out.jsonl").symlink_to("/dev/full")
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        run_file(policy, tmp_path / "in.txt", tmp_path / "out.jsonl")
