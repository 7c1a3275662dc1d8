"""A policy or a single strategy, measured on a task's prompts with fresh draws and real runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from autotts.core.strategy import Strategy
from autotts.core.task import Problem, Task
from autotts.engine.memo import Memo, Samples
from autotts.errors import BackendError, InputError
from autotts.estimate.intervals import resample
from autotts.policy.perprompt import unlike
from autotts.policy.schema import Policy
from autotts.search.confirm import as_dict
from autotts.search.measure import Table, level_name
from autotts.search.runs import Ran, Readable, Runner
from autotts.search.together import together
from autotts.strategies.arms import show
from autotts.worlds.epochs import Epoch

EPOCH = 2  # neither what a search draws nor what a confirmation draws


async def evaluate(
    subject: Policy | Strategy,
    task: Task,
    table: Table,
    world: Readable,
    samples: Samples,
    *,
    scorers: Sequence[str],
    unit: str,
    budget: float | None = None,
    cap: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Run the subject on every problem of a table.

    A policy's mixture is decided for each prompt as it is when served, and its own cap holds too. Accuracy, cost and
    their 95 % intervals are means over the table's weights; prompts are resampled within their level.
    """
    problems = table.problems
    caps = [each for each in (cap, subject.cap if isinstance(subject, Policy) else None) if each is not None]
    cap = math.floor(min(caps)) if caps else None
    async with Memo(Epoch(world, EPOCH, scorers), samples) as memo:
        runner = Runner(memo, world, task, cap)
        if isinstance(subject, Policy):
            routed = [subject.route(p.prompt, budget, token=f"{seed}:{p.id}") for p in problems]
            arms = [r.strategy for r in routed]
        else:
            arms = [subject] * len(problems)
        ran = await together(runner.run(arm, p) for arm, p in zip(arms, problems))
    failed = [r.problem for r in ran if r.problem]
    if len(failed) == len(ran):
        raise BackendError(f"all {len(ran)} prompts failed, the last because: {failed[-1]}")
    return _figures(subject, task, table, arms, ran, unit, seed, cap)


def _figures(
    subject: Policy | Strategy,
    task: Task,
    table: Table,
    arms: Sequence[Strategy],
    ran: Sequence[Ran],
    unit: str,
    seed: int,
    cap: int | None,
) -> dict[str, Any]:
    strata = [level_name(p) for p in table.problems]
    failed = [r.problem for r in ran if r.problem]
    value = np.array([float(r.correct) for r in ran])
    cost = np.array([float(r.cost) for r in ran])
    over = table.resamples(seed)
    accuracy, spent, p95 = over.mean(value), over.mean(cost), over.quantile(cost, 0.95).value
    levels = []
    for name in sorted(set(strata)):
        rows = [i for i, s in enumerate(strata) if s == name]
        levels.append(
            {
                "bin": name,
                "prompts": len(rows),
                "accuracy": as_dict(resample([name] * len(rows), seed=seed).mean(value[rows])),
                "cost": float(cost[rows].mean()),
                "arms": sorted({show(arms[i]) for i in rows}),
            }
        )
    return {
        "format": "autotts.evaluation/1",
        "task": task.name,
        "subject": "policy" if isinstance(subject, Policy) else show(subject),
        "unit": unit,
        "prompts": len(ran),
        "accuracy": as_dict(accuracy),
        "cost": {"unit": unit, "mean": spent.value, "low": spent.low, "high": spent.high, "p95": p95, "cap": cap},
        "unanswered": sum(r.answer is None for r in ran),
        "levels": levels,
        "notes": [
            *(unlike(subject, [p.prompt for p in table.problems]) if isinstance(subject, Policy) else []),
            *([f"{len(failed)} of {len(ran)} prompts failed, the last because: {failed[-1]}"] if failed else []),
        ],
    }


def table_of(task: Task, stream: str, count: int, seed: int) -> Table:
    """Problems of a stream, equally many at each level, with weights that stand for the task's mix."""
    levels: list[int | None] = [*sorted(task.mix)] if task.mix else [None]
    problems: list[Problem] = []
    weight: list[float] = []
    total = sum(task.mix.values()) or 1.0
    for level in levels:
        some = task.source(stream, level, count, seed)
        problems += some
        share = 1.0 if level is None else task.mix[level] / total
        weight += [share / len(some)] * len(some)
    if not problems:
        raise InputError(f"task {task.name!r} has no {stream} prompts")
    return Table(problems, np.array(weight) / sum(weight))
