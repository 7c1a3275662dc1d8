"""All draws that a search of the embedded models could ask for, made once and kept as arrays.

A folder holds, for each split of prompts ("search" and "test"), one file for each family of draws (the draws and
their scores, and how every arm that chooses among them ran on them, in order) and one for each group of arms that are
run live. What is there is not made again, so that a broken fill goes on.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotts.core.node import Key
from autotts.core.plan import Draw
from autotts.core.strategy import Strategy
from autotts.core.task import Problem, Task
from autotts.core.world import Reply
from autotts.engine.live import search
from autotts.engine.memo import Memo, Memory
from autotts.engine.orders import Order
from autotts.estimate.replayed import Pool
from autotts.search.evaluate import table_of
from autotts.search.recipe import Recipe
from autotts.search.runs import Family, Runner, depth, family
from autotts.search.space import Space, usable
from autotts.search.study import Prompts, Study
from autotts.search.together import together
from autotts.strategies import STRATEGIES, STUDIED
from autotts.strategies.arms import show
from autotts.worlds.catalogue import Bench
from autotts.worlds.epochs import Epoch

SPLITS = {"search": 0, "test": 1}  # and the epochs of their draws
SEED = 0  # of the prompts
CHUNK = 64  # prompts whose draws are held at a time


@dataclass(frozen=True, eq=False)
class Runs:
    """How the arms of one file ran, once on each prompt.

    Attributes
    ----------
    correct, cost, draws
        [arms, prompts]: whether the answer was right, its cost in parts, and how many draws it asked for.
    shared
        Of live arms, the draws that were made, as rows of: prompt, arms that asked for it (as bits), tokens.
    """

    arms: tuple[str, ...]
    correct: NDArray[np.bool_]
    cost: NDArray[np.int64]
    draws: NDArray[np.int64]
    shared: NDArray[np.int64] | None


@dataclass(frozen=True, eq=False)
class Split:
    """What is known of the prompts of one split."""

    problems: list[Problem]
    weight: NDArray[np.float64]
    pools: dict[Family, Pool]
    runs: dict[str, Runs]  # by the name of the file

    @property
    def level(self) -> list[str]:
        return [str(p.level) for p in self.problems]


@dataclass(frozen=True, eq=False)
class Filled:
    """A filled folder: the space that was searched, and both splits."""

    task: str
    space: Space
    work: dict[str, float]
    mix: dict[str, float]
    splits: dict[str, Split]


# ---------------------------------------------------------------- filling


def fill(
    folder: Path,
    task: Task,
    count: int,
    opened: Callable[[], AbstractContextManager[Bench]],
    *,
    largest: int = 16,
    say: Callable[[str], None] = print,
) -> None:
    """Make all draws for so many prompts a level and split; what an earlier fill has made stays."""
    folder.mkdir(parents=True, exist_ok=True)
    with opened() as world:
        space = space_of(task, world, largest)
        card = _card(task, world, space, count)
        path = folder / "card.json"
        if path.exists() and json.loads(path.read_text()) != json.loads(json.dumps(card)):
            raise SystemExit(f"{folder}: expected an empty folder or one filled in the same way, found another card")
        path.write_text(json.dumps(card, indent=1))
        lots = lots_of(space)
        for split, epoch in SPLITS.items():
            problems = list(table_of(task, split, count, SEED).problems)
            for name, (of, arms) in lots.items():
                to = folder / f"{split}-{name}.npz"
                if to.exists():
                    continue
                began = time.monotonic()
                arrays = asyncio.run(_lot(world, task, epoch, problems, of, arms, space))
                part = to.with_suffix(".part")
                with part.open("wb") as file:
                    np.savez_compressed(file, **arrays)
                part.rename(to)
                made, seconds = int(arrays["made"]), time.monotonic() - began
                say(f"{to.name}: {made} tokens, {seconds:.0f} s")


def space_of(task: Task, world: Bench, largest: int) -> Space:
    """What a study of this world searches by default."""
    nothing = table_of(task, "search", 1, SEED)
    recipe = Recipe(task=task.name, largest=largest)
    return Study("", recipe, task, world, Prompts([], {}, nothing, nothing), None).space()


def lots_of(space: Space) -> dict[str, tuple[Family | None, list[Strategy]]]:
    """The arms of a space by the file that they stand in: those of one family, and live ones that share steps."""
    out: dict[str, tuple[Family | None, list[Strategy]]] = {}
    for arm in space.arms:
        of = family(arm)
        s: Any = arm
        kind = "draws" if of is not None else "live"
        name = f"{kind}-{s.model}-t{s.temperature:g}-p{s.top_p:g}"
        out.setdefault(name, (of, []))[1].append(arm)
    return out


def _card(task: Task, world: Bench, space: Space, count: int) -> dict[str, Any]:
    """What the arrays depend on; problems as they were asked."""
    total = sum(task.mix.values())
    return {
        "task": task.name,
        "count": count,
        "mix": {str(level): share / total for level, share in sorted(task.mix.items())},
        "models": list(space.models),
        "most": dict(space.most),
        "work": {m: float(world.cards[m].active_parameters or world.cards[m].parameters or 1) for m in space.models},
        "scorer": space.scorers[0],
        "bindings": {role: b.id for role, b in sorted(world.bindings.items())},
        "arms": [show(arm) for arm in space.arms],
        "problems": {split: [asdict(p) for p in table_of(task, split, count, SEED).problems] for split in SPLITS},
    }


async def _lot(
    world: Bench,
    task: Task,
    epoch: int,
    problems: Sequence[Problem],
    of: Family | None,
    arms: Sequence[Strategy],
    space: Space,
) -> dict[str, Any]:
    """The arrays of one file; a chunk of prompts is forgotten before the next begins."""
    parts: list[dict[str, Any]] = []
    made = 0
    for start in range(0, len(problems), CHUNK):
        some = problems[start : start + CHUNK]
        samples = Memory()
        async with Memo(Epoch(world, epoch, world.scorers), samples) as memo:
            runner = Runner(memo, world, task)
            part: dict[str, Any] = {}
            if of is not None:
                pool = await runner.pool(some, of, max(map(depth, arms)), space.scorers[0])
                part |= {f.name: getattr(pool, f.name) for f in fields(pool)}
            flat = await together(_run(runner, arm, p) for arm in arms for p in some)
            ran = [flat[i : i + len(some)] for i in range(0, len(flat), len(some))]
            part["run_correct"] = np.array([[right for right, _, _ in row] for row in ran]).T
            part["run_cost"] = np.array([[cost for _, cost, _ in row] for row in ran]).T
            part["run_draws"] = np.array([[len(keys) for _, _, keys in row] for row in ran]).T
            if of is None:
                rows = _shared([[keys for _, _, keys in row] for row in ran], samples.replies)
                part["shared"] = np.concatenate([np.insert(r, 0, start + i, axis=1) for i, r in enumerate(rows)])
            parts.append(part)
        made += sum(u.generated + u.cancelled for u in memo.spend.values())
    whole = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return whole | {"made": np.array(made), "arms": np.array([show(arm) for arm in arms])}


class _Asked:
    """A memo that notes which draws one run asked for."""

    def __init__(self, memo: Memo) -> None:
        self._memo = memo
        self.bindings = memo.bindings
        self.keys: set[Key] = set()
        self.begin = memo.begin

    def stored(self, order: Order) -> Reply | None:
        if type(order.ask) is Draw:
            self.keys.add(order.key)
        return self._memo.stored(order)


async def _run(runner: Runner, arm: Strategy, problem: Problem) -> tuple[bool, int, set[Key]]:
    """As `Runner.run`, with the keys of the draws that the run asked for."""
    root, asked = runner.root(problem), _Asked(runner.memo)
    out = await search(arm.plan(root, Random(problem.id)), root, asked)  # type: ignore[arg-type]
    answer = None if out.choice is None else out.choice.node.answer
    return answer is not None and runner.task.grade(answer, problem.answer), out.cost, asked.keys


def _shared(asked: Sequence[Sequence[set[Key]]], replies: Mapping[Key, Reply]) -> list[NDArray[np.int64]]:
    """For each problem the draws that were made: tokens, and which arms asked for it, as bits; `asked[arm][problem]`.

    Draws of the same arms are one row.
    """
    out = []
    for keys in zip(*asked):
        bits: dict[Key, int] = defaultdict(int)
        for arm, some in enumerate(keys):
            for key in some:
                bits[key] |= 1 << arm
        tokens: dict[int, int] = defaultdict(int)
        for key, mask in bits.items():
            tokens[mask] += replies[key].usage.generated
        out.append(np.array(sorted(tokens.items()), dtype=np.int64).reshape(-1, 2))
    return out


# ---------------------------------------------------------------- reading


def load(folder: Path) -> Filled:
    """Read a filled folder."""
    card = json.loads((folder / "card.json").read_text())
    kinds = usable({n: STRATEGIES[n] for n in STUDIED}, (card["scorer"],))
    space = Space(kinds, tuple(card["models"]), (card["scorer"],), card["most"])
    lots = lots_of(space)
    if [show(arm) for arm in space.arms] != card["arms"]:
        raise SystemExit(f"{folder}: was filled for another space of arms; fill a new folder")
    splits = {}
    for split in SPLITS:
        problems = [Problem(**p) for p in card["problems"][split]]
        weight = np.array([card["mix"][str(p.level)] / card["count"] for p in problems])
        pools: dict[Family, Pool] = {}
        runs: dict[str, Runs] = {}
        for name, (of, _) in lots.items():
            with np.load(folder / f"{split}-{name}.npz") as arrays:
                if of is not None:
                    pools[of] = Pool(**{f.name: arrays[f.name] for f in fields(Pool)})
                right, cost, draws = (arrays[f"run_{key}"].T for key in ("correct", "cost", "draws"))
                shared = arrays["shared"] if of is None else None
                runs[name] = Runs(tuple(map(str, arrays["arms"])), right, cost, draws, shared)
        splits[split] = Split(problems, weight / weight.sum(), pools, runs)
    return Filled(card["task"], space, card["work"], card["mix"], splits)
