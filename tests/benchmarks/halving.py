"""Successive halving over random arms, again and again, with shared draws and the arms that these make free."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import numpy as np

from autotts.core.strategy import Strategy
from autotts.policy.allocation import Point, envelope
from autotts.search.level import Level
from autotts.search.measure import measure
from autotts.search.race import Raced
from autotts.strategies.arms import show
from tests.benchmarks.replaying import measured
from tests.benchmarks.searching import PROMPTS, Method, Trial, every, known

LEAST, ENTRANTS = 4, 16  # prompts of the first rung, and arms that begin it


def halving(trial: Trial, method: Method) -> None:
    """Brackets, until every arm has begun in one."""
    runner, levels, arms = trial.runner(method), trial.levels(method), trial.space.arms
    orders = {level.name: Random(f"{trial.draw.seed}:{level.name}").sample(arms, k=len(arms)) for level in levels}
    with measured(runner):
        for bracket in range(trial.rounds):
            if not any(orders.values()):
                trial.ended = "all arms were tried"
                return
            asyncio.run(_bracket(trial, bracket, runner, levels, orders))
            if trial.over:
                return


async def _bracket(
    trial: Trial, bracket: int, runner: Any, levels: Sequence[Level], orders: Mapping[str, list[Strategy]]
) -> None:
    entrants: dict[str, list[Strategy]] = {}
    for level in levels:
        order = orders[level.name]
        entrants[level.name] = []
        while order and len(entrants[level.name]) < ENTRANTS:
            if not level.knows(strategy := order.pop()):
                entrants[level.name].append(strategy)
        trial.raced += len(entrants[level.name])
    size = LEAST
    while size < PROMPTS:
        for level in levels:
            ran = {show(s): (s, await every(runner, s, level.problems[:size])) for s in entrants[level.name]}
            entrants[level.name] = _better(ran)
        trial.note(runner.memo.tokens, known(levels))
        size *= 2
    for level in levels:
        for i, strategy in enumerate(entrants[level.name]):
            raced = Raced(tuple(await every(runner, strategy, level.problems)), None)
            level.settle(level.begin(strategy, "halving", bracket, i), raced, bracket)
        await measure(runner, level.table, level.offspring(), seed=0)
    trial.note(runner.memo.tokens, known(levels))


def _better(ran: Mapping[str, tuple[Strategy, list[Any]]]) -> list[Strategy]:
    """The half of the arms that is nearest to the frontier of them all, at the cost of each."""
    points = {
        arm: Point(arm, float(np.mean([r.correct for r in runs])), float(np.mean([r.cost for r in runs])))
        for arm, (_, runs) in ran.items()
    }
    curve = envelope(list(points.values()))
    cost, value = [p.cost for p in curve], [p.value for p in curve]
    below = {arm: float(np.interp(p.cost, cost, value)) - p.value for arm, p in points.items()}
    order = sorted(below, key=lambda arm: (below[arm], points[arm].cost))
    return [ran[arm][0] for arm in order[: (len(order) + 1) // 2]]
