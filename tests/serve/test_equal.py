"""The served policy is the one that `autotts evaluate` measures: the same arm, answer and cost for every prompt.

What a server draws is fresh, so it is never the draws of an evaluation. Here its world draws those of an evaluation's
epoch, and nothing else of it is changed: then each draw depends on its key alone, and all is the same to the token.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autotts.core.cost import PARTS
from autotts.core.task import Problem, Task
from autotts.engine.memo import Memory
from autotts.policy.opening import HERE, Where, opened
from autotts.policy.schema import Policy
from autotts.search.evaluate import EPOCH, evaluate
from autotts.search.measure import Table
from autotts.serve.running import Options
from autotts.strategies.arms import parse, show
from autotts.tasks import READERS, find
from autotts.tasks.arithmetic import problems
from autotts.worlds.catalogue import session
from autotts.worlds.fake_server import Pace, serving
from autotts.worlds.models.entry import Server
from autotts.worlds.tiny import open_tiny
from tests.benchmarks.served_equal import Drawn
from tests.policy.policies import BINS, LEVELS, policy_data
from tests.serve import served
from tests.serve.inside import Answer, Inside, inside

SEED = 3
MIXED = {
    "one": "one(model=small, temperature=0.7)",
    "vote": "vote(n=4, model=small, temperature=0.8)",
    "best": "best_of_n(n=3, by=prm, model=large, temperature=0.8)",
    "adaptive": "adaptive(most=8, model=small, temperature=0.8)",
    "first": "first_finish(n=4, k=4, model=large, temperature=0.8)",  # all of them, so that nothing is cut off
}


@dataclass(frozen=True)
class Found:
    """What came of one prompt; the cost is in parts."""

    arm: str
    right: bool
    cost: int


def measured(policy: Policy, where: Where, task: Task, prompts: Sequence[Problem]) -> list[Found]:
    """What `autotts evaluate` finds on each prompt."""

    async def run(world: Any) -> list[Found]:
        options: dict[str, Any] = {"scorers": tuple(policy.scorers), "unit": policy.unit, "seed": SEED}
        found = []
        async with session(world):
            for problem in prompts:
                table = Table([problem], np.ones(1))
                told = await evaluate(policy, task, table, world, Memory(), **options)
                (level,) = told["levels"]
                found.append(Found(level["arms"][0], told["accuracy"]["value"] == 1.0, round(level["cost"])))
        return found

    with opened(policy, where, read=task.read) as world:
        return asyncio.run(run(world))


def asked(server: Inside, task: Task, prompts: Sequence[Problem]) -> list[Found]:
    """What the server answers to the same prompts, at once, every other one as a stream."""

    def ask(at: int) -> Found:
        problem, stream = prompts[at], at % 2 == 1
        more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        messages = [{"role": "user", "content": problem.prompt}]
        answer = server.chat({"x-autotts-token": f"{SEED}:{problem.id}"}, messages=messages, **more)
        assert answer.status == 200, answer.body
        block = (answer.events[-1] if stream else answer.data)["autotts"]
        said = task.read(text_of(answer, stream)) if block["arm"].startswith("one(") else block.get("answer")
        right = said is not None and task.grade(said, problem.answer)
        return Found(show(parse(block["arm"])), right, round(block["cost"] * PARTS[block["unit"]]))

    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(ask, range(len(prompts))))


def text_of(answer: Answer, stream: bool) -> str:
    if not stream:
        return str(answer.data["choices"][0]["message"]["content"])
    pieces = [choice["delta"].get("content") or "" for event in answer.events for choice in event["choices"]]
    return "".join(pieces)


@contextmanager
def alike(data: Mapping[str, Any], where: Where, folder: Path) -> Iterator[Inside]:
    """A policy served with its controller off, by a world that draws what an evaluation draws."""
    path = folder / "policy.json"
    path.write_text(json.dumps(data))
    with inside(path, Options(where=where, controlled=False)) as server:
        world: Any = Drawn(server.service.world, EPOCH, tuple(data["scorers"]))
        server.service.world = world
        yield server


def sums(folder: Path, reader: str, levels: Sequence[int], count: int) -> tuple[Task, list[Problem]]:
    """A task of sums, and its prompts; their names are not their texts."""
    rows = [
        {"id": f"{level}/{at}", "prompt": p.prompt, "answer": p.answer, "level": level, "reader": reader}
        for level in levels
        for at, p in enumerate(problems(level, "confirm", 1, count))
    ]
    path = folder / "sums.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return find(str(path)), [
        Problem(row["id"], row["prompt"], row["answer"], row["level"])  # type: ignore[arg-type]
        for row in rows
    ]


def mixed_data(folder: Path, arms: Mapping[str, str] = MIXED) -> dict[str, Any]:
    """A policy over a fake server's models that mixes all its arms at its default setting."""
    data = served.policy_data(folder, arms)
    mean = {f: sum(a["expected"]["all"][f] for a in data["arms"].values()) / len(arms) for f in ("value", "cost")}
    route = {"all": [[arm, 1 / len(arms)] for arm in arms]}
    data["frontier"][1:] = [{"budget": mean["cost"], "route": route, "expected": mean}]
    return {**data, "default": 1}


def levelled_data() -> dict[str, Any]:
    """A policy over the embedded models that routes by predicted levels, and mixes two arms at the hardest."""
    data = policy_data()
    with open_tiny(("S", "M"), ("prm",), read=READERS["arithmetic"]) as world:
        ids = {name: b.id for name, b in world.bindings.items()}
    for name, bound in (data["models"] | data["scorers"]).items():
        bound["binding"] = {"engine": "tiny", "id": ids[name]}
    data["task"] |= {"reader": "arithmetic", "grader": "arithmetic"}
    arms = ("one(model=S, temperature=0.7)", "vote(n=4, model=S, temperature=0.8)")
    for arm, text in zip(data["arms"].values(), (*arms, "weighted_vote(n=4, by=prm, model=M, temperature=0.8)")):
        arm["arm"] = text
    assert list(data["frontier"][1]["route"]) == BINS
    return data


def test_before_a_server_each_prompt_is_as_it_was_evaluated(tmp_path: Path) -> None:
    data = mixed_data(tmp_path)
    task, prompts = sums(tmp_path, "math", (1, 2), 12)
    with serving(served.backend(cache_block=16)) as upstream:
        where = Where(upstream=Server(upstream.url))
        before = measured(Policy.loads(json.dumps(data)), where, task, prompts)
        with alike(data, where, tmp_path) as server:
            assert asked(server, task, prompts) == before
    assert {found.arm for found in before} == {show(parse(arm["arm"])) for arm in data["arms"].values()}
    assert sum(found.right for found in before) > 0


def test_with_the_embedded_models_each_prompt_is_as_it_was_evaluated(tmp_path: Path) -> None:
    data = levelled_data()
    task, prompts = sums(tmp_path, "arithmetic", LEVELS, 3)
    before = measured(Policy.loads(json.dumps(data)), HERE, task, prompts)
    with alike(data, HERE, tmp_path) as server:
        assert asked(server, task, prompts) == before
    assert len({found.arm for found in before}) == 3 and {found.right for found in before} == {True, False}


def test_a_race_is_cut_off_in_its_own_time_so_it_costs_no_more_than_all_its_draws(tmp_path: Path) -> None:
    """Which draw ends first, and how far the others are by then, is the clock's: the same arms, not the same tokens."""
    race = "first_finish(n=4, model=large, temperature=0.8)"
    task, prompts = sums(tmp_path, "math", (1, 2), 6)
    with serving(served.backend(pace=Pace(rate=2000, chunk=1))) as upstream:
        where = Where(upstream=Server(upstream.url))
        whole = served.policy_data(tmp_path, {"all": "vote(n=4, model=large, temperature=0.8)"})
        before = measured(Policy.loads(json.dumps(whole)), where, task, prompts)
        with alike(served.policy_data(tmp_path, {"race": race}), where, tmp_path) as server:
            found = asked(server, task, prompts)
    assert {each.arm for each in found} == {show(parse(race))}
    assert all(0 < one.cost <= most.cost for one, most in zip(found, before, strict=True))


def test_a_policys_own_cap_holds_where_it_is_measured_as_where_it_is_served(tmp_path: Path) -> None:
    """What a cap cuts off is the clock's: until a reply tells how long its prompt is, its bound counts."""
    data = served.policy_data(tmp_path, {"vote": "vote(n=4, model=small, temperature=0.8)"})
    task, prompts = sums(tmp_path, "math", (1, 2), 4)
    with serving(served.backend()) as upstream:
        where = Where(upstream=Server(upstream.url))
        free = measured(Policy.loads(json.dumps(data)), where, task, prompts)
        most = max(found.cost for found in free)
        for cap in (most // 2, most * 2):
            data["cap"] = cap
            before = measured(Policy.loads(json.dumps(data)), where, task, prompts)
            with alike(data, where, tmp_path) as server:
                found = asked(server, task, prompts)
            assert max(each.cost for each in (*before, *found)) <= cap
            assert (before == found == free) == (cap > most)
