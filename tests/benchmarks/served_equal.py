"""Is the served policy the one that was measured? `python -m tests.benchmarks.served_equal [PROMPTS]`.

Prompts are evaluated as `autotts evaluate` does it, and asked of the server without its controller, with the token of
each prompt that evaluation uses, so that mixtures of arms are decided alike. The first table is of a server whose world
draws what an evaluation draws (its own epoch): there each draw depends on nothing but its key, so arms, accuracy and
costs are to be the same to the token. The second is of the draws that a server makes by itself: its accuracy and its
costs are to be the same within noise. On the fake server, over HTTP, and on the embedded models, at two budgets.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from autotts.core.cost import PARTS
from autotts.engine.memo import Memory
from autotts.policy.opening import HERE, Where
from autotts.policy.schema import Policy
from autotts.search.evaluate import EPOCH, evaluate, table_of
from autotts.search.measure import level_name
from autotts.serve.running import Options
from autotts.strategies.arms import parse, show
from autotts.tasks import find
from autotts.tasks.arithmetic import problems
from autotts.worlds.catalogue import session
from autotts.worlds.epochs import Epoch
from autotts.worlds.fake_server import serving
from autotts.worlds.models.entry import Server
from autotts.worlds.tiny import open_tiny
from tests.benchmarks.called import App, post, service
from tests.serve.served import backend, policy_data

ARMS: Final = {
    "plain": "one(model=small, temperature=0.7)",
    "vote": "vote(n=4, model=small, temperature=0.8)",
    "best": "best_of_n(n=4, by=prm, model=large, temperature=0.8)",
}
AT_ONCE: Final = 16
SEED: Final = 0


class Drawn(Epoch):
    """A world whose draws are those of an epoch, with all else that a served world has."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world, name)


@dataclass
class Level:
    """What came of the prompts of one level: how many, how many right, their cost in parts, their arms."""

    prompts: int = 0
    right: int = 0
    cost: int = 0
    arms: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        return f"{self.right} of {self.prompts} right, cost {self.cost:,}, arms {len(self.arms)}"


Levels = dict[str, Level]


@dataclass(frozen=True)
class Ground:
    """A policy, where its models answer, and the file with the prompts of its task."""

    name: str
    policy: Policy
    where: Where
    task: Path


# ------------------------------------------------------------------ both ways


def measured(ground: Ground, world: Any, count: int) -> Levels:
    """What `autotts evaluate` finds."""
    task = find(str(ground.task))
    table = table_of(task, "test", count, SEED)

    async def run() -> dict[str, Any]:
        async with session(world):
            scorers = tuple(ground.policy.scorers)
            return await evaluate(
                ground.policy, task, table, world, Memory(), scorers=scorers, unit=ground.policy.unit, seed=SEED
            )

    found = asyncio.run(run())
    return {
        level["bin"]: Level(
            level["prompts"],
            round(level["accuracy"]["value"] * level["prompts"]),
            round(level["cost"] * level["prompts"]),
            set(level["arms"]),
        )
        for level in found["levels"]
    }


async def asked(ground: Ground, app: App, world: Any, count: int) -> Levels:
    """What the server answers to the same prompts."""
    task = find(str(ground.task))
    found: Levels = {}
    room = asyncio.Semaphore(AT_ONCE)

    async def one(problem: Any) -> None:
        body = {"model": "auto", "messages": [{"role": "user", "content": problem.prompt}]}
        async with room:
            called = await post(app, body, headers={"x-autotts-token": f"{SEED}:{problem.id}"})
        if called.status != 200:
            raise RuntimeError(f"{problem.prompt!r}: {called.status} {called.body!r}")
        told, text = called.json()["autotts"], called.json()["choices"][0]["message"]["content"]
        said = told.get("answer") or task.read(text)  # what is passed through is not read on its way
        level = found.setdefault(level_name(problem), Level())
        level.prompts += 1
        level.right += said is not None and task.grade(said, problem.answer)
        level.cost += round(told["cost"] * PARTS[told["unit"]])
        level.arms.add(show(parse(told["arm"])))  # with or without what is the default

    async with session(world), asyncio.TaskGroup() as group:
        for problem in table_of(task, "test", count, SEED).problems:
            group.create_task(one(problem))
    return found


def compared(ground: Ground, count: int, *, alike: bool) -> tuple[Levels, Levels]:
    """Evaluated, and served: with the draws of the evaluation, or with draws of its own."""
    with service(ground.policy, Options(where=ground.where, controlled=False)) as (found, app):
        world = found.world
        before = measured(ground, world, count)
        if alike:
            found.world = Drawn(world, EPOCH, tuple(ground.policy.scorers))  # type: ignore[assignment]
        return before, asyncio.run(asked(ground, app, found.world, count))


# ------------------------------------------------------------------ the grounds


def tasks(folder: Path, reader: str, levels: tuple[int, ...]) -> Path:
    """Sums with their answers. A prompt is its own name, since a plan's random numbers are those of the name."""
    path = folder / f"{reader}.jsonl"
    rows = [
        {"id": p.prompt, "prompt": p.prompt, "answer": p.answer, "level": p.level, "reader": reader}
        for level in levels
        for p in problems(level, "search", 0, 400)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in {row["id"]: row for row in rows}.values()))
    return path


def mixed(data: Mapping[str, Any]) -> Policy:
    """A policy that mixes its arms at its default setting, half and half of each two."""
    arms, steps = list(data["arms"]), [dict(step) for step in data["frontier"]]
    whole: dict[str, Any] = dict(data)
    route = {"all": [[arm, 1.0 / len(arms)] for arm in arms]}
    mean = {k: sum(data["arms"][a]["expected"]["all"][k] for a in arms) / len(arms) for k in ("value", "cost")}
    whole["frontier"] = [steps[0], {"budget": mean["cost"], "route": route, "expected": mean}]
    return Policy.loads(json.dumps({**whole, "default": 1}))


@contextmanager
def fake(folder: Path) -> Iterator[Ground]:
    """The fake server."""
    with serving(backend()) as upstream:
        where = Where(upstream=Server(upstream.url))
        yield Ground("fake server", mixed(policy_data(folder, ARMS)), where, tasks(folder, "math", (1, 2)))


@contextmanager
def embedded(folder: Path) -> Iterator[Ground]:
    """The embedded models."""
    data = policy_data(folder, ARMS)
    from autotts.tasks import READERS

    with open_tiny(("S", "M"), ("prm",), read=READERS["arithmetic"]) as world:
        bound = {name: {"binding": {"engine": "tiny", "id": b.id}} for name, b in world.bindings.items()}
    data["task"] |= {"reader": "arithmetic", "grader": "arithmetic"}
    data["models"], data["scorers"] = {name: bound[name] for name in ("S", "M")}, {"prm": bound["prm"]}
    for arm in data["arms"].values():
        arm["arm"] = arm["arm"].replace("small", "S").replace("large", "M")
    yield Ground("embedded", mixed(data), HERE, tasks(folder, "arithmetic", (1, 3)))


def wrongs(name: str, before: Levels, after: Levels) -> list[str]:
    """Where two ways differ that are to be the same."""
    return [
        f"{name}, level {level}: evaluated {before.get(level)}, served {after.get(level)}"
        for level in sorted({*before, *after})
        if before.get(level) != after.get(level)
    ]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    told = []
    with tempfile.TemporaryDirectory() as folder:
        for ground in (fake, embedded):
            with ground(Path(folder)) as on:
                for alike in (True, False):
                    before, after = compared(on, count, alike=alike)
                    for level in sorted(before):
                        print(f"{on.name}, {'its' if alike else 'other'} draws, {level}:")
                        print(f"  evaluated {before[level]}\n  served    {after[level]}")
                    told += wrongs(on.name, before, after) if alike else []
    sys.exit("\n".join(told) or 0)


if __name__ == "__main__":
    main()
