"""The Python interface does what the commands do, with types, and costs nothing to import."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
from pathlib import Path

import pytest

import autotts
from autotts import (
    InputError,
    PoolRecipe,
    Recipe,
    Snapshot,
    evaluate,
    load_policy,
    optimize,
    optimize_pool,
    parse_arm,
    run,
    run_file,
)


@pytest.fixture(scope="module")
def sums(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("api") / "sums.jsonl"
    rows = [{"prompt": f"solve: {n}*2+{n % 7}", "answer": n * 2 + n % 7} for n in range(10, 50)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def recipe(sums: Path) -> Recipe:
    return Recipe(task=str(sums), models=("S",), strategies=("one",), search=8, confirm=8, block=4, trials=2, slots=1)


def test_a_study_gives_a_policy_that_answers_and_is_measured(recipe: Recipe, sums: Path, tmp_path: Path) -> None:
    seen: list[Snapshot] = []
    found = optimize(recipe, out=tmp_path / "out", watch=seen.append)
    assert found.result == json.loads((tmp_path / "out" / "result.json").read_text())
    assert {snapshot.phase for snapshot in seen} >= {"search", "confirm"}
    assert (tmp_path / "out" / "report.html").is_file()

    policy = load_policy(tmp_path / "out" / "policy.json")
    assert policy == found.policy
    answered = run(policy, "solve: 12+3*4")
    assert answered.answer == "24" and answered.cost > 0 and answered.unit == "flops"
    assert run(policy, "solve: 12+3*4", cap="3Mflops").ended == "cap"

    (tmp_path / "in.txt").write_text("solve: 12+3*4\nsolve: 3*4+12\n")
    done = run_file(policy, tmp_path / "in.txt", tmp_path / "out.jsonl")
    assert (done["prompts"], done["unit"]) == (2, "flops")

    measured = evaluate(policy, task=str(sums), prompts=5)
    arm = evaluate(parse_arm("one(model=S, temperature=0)"), task=str(sums), prompts=5)
    assert measured["prompts"] == arm["prompts"] == 5 and arm["subject"] == "one(model=S, temperature=0)"


def test_a_notebook_has_an_event_loop_already(recipe: Recipe, tmp_path: Path) -> None:
    async def cell() -> str | None:
        found = optimize(recipe, out=tmp_path / "out")
        return run(found.policy, "solve: 12+3*4").answer

    assert asyncio.run(cell()) == "24"


def test_wrong_input_is_an_error_of_the_tree(tmp_path: Path) -> None:
    for wrong in (
        lambda: Recipe(budget="1e15flop"),
        lambda: Recipe(models="S"),  # type: ignore[arg-type]
        lambda: optimize(Recipe(task="maths")),
        lambda: load_policy(tmp_path / "absent.json"),
        lambda: parse_arm("vote(n=0)"),
        lambda: evaluate(parse_arm("one(model=S)"), models=["M"]),
    ):
        with pytest.raises(InputError):
            wrong()


def test_every_public_name_is_there_typed_and_documented() -> None:
    homes = autotts._HOMES
    assert sorted(homes) == sorted(autotts.__all__) == sorted(set(autotts.__all__))
    for name in autotts.__all__:
        thing = getattr(autotts, name)
        assert getattr(importlib.import_module(homes[name]), name) is thing
        assert inspect.getdoc(thing), name
        if inspect.isfunction(thing):
            hints = inspect.signature(thing)
            assert hints.return_annotation is not inspect.Signature.empty
            assert all(p.annotation is not inspect.Parameter.empty for p in hints.parameters.values())
    assert set(autotts.__all__) <= set(dir(autotts))
    with pytest.raises(AttributeError, match=r"it offers .*optimize"):
        autotts.optimise  # noqa: B018


def test_a_policy_from_recorded_answers(tmp_path: Path) -> None:
    rows = [
        {
            "dataset": "d",
            "prompt_id": f"p{p}",
            "prompt": f"what is {p}?",
            "answer": "1",
            "model": "M",
            "params_b": 0.001,
        }
        | {"strategy": "sample", "temperature": 0.7, "sample_index": i, "extracted": str((p + i) % 3), "correct": None}
        | {"completion_tokens": 10 + i}
        for p in range(8)
        for i in range(6)
    ]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = PoolRecipe((str(tmp_path / "pool.jsonl"),), budget="1Gflops")
    found = optimize_pool(recipe, out=tmp_path / "out")
    assert found.result["pool"]["roles"] == ["M"] and found.policy.unit == "flops"
    assert (tmp_path / "out" / "report.html").is_file()
