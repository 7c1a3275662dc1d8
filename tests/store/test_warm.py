"""A store that another process filled answers every ask, and changes no answer and no cost."""

import asyncio
from collections.abc import Mapping
from dataclasses import astuple, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from autotts.core.node import root_node
from autotts.core.world import Binding, Meter, Reply, Request
from autotts.engine.live import search
from autotts.engine.memo import Memo, Memory
from autotts.engine.orders import Outcome
from autotts.store import database
from autotts.store.samples import Samples
from autotts.strategies import STRATEGIES
from autotts.worlds.toy import Toy, Trace


class Written:
    """The toy world with states that a database can keep."""

    def __init__(self) -> None:
        self._toy = Toy({"policy": Binding("S@1"), "prm": Binding("PRM@1")})

    @property
    def bindings(self) -> Mapping[str, Binding]:
        return self._toy.bindings

    async def answer(self, order: Request, states: tuple[Any, ...], meter: Meter) -> Reply:
        traces = tuple(Trace(*state) if isinstance(state, tuple) else state for state in states)
        reply = await self._toy.answer(order, traces, meter)
        return replace(reply, state=astuple(reply.state)) if isinstance(reply.state, Trace) else reply


def told(outcome: Outcome) -> tuple[Any, ...]:
    choice = outcome.choice
    picked = None if choice is None else (choice.node.key, choice.node.answer, choice.confidence)
    return picked, outcome.ended, outcome.cost, outcome.usage, outcome.ticks, outcome.asks


async def run(samples: Any) -> tuple[list[tuple[Any, ...]], int]:
    root = root_node("problem", tokens=7)
    async with Memo(Written(), samples) as memo:
        memo.root(root, "problem")
        plans = [kind().plan(root, Random(0)) for kind in STRATEGIES.values()]
        outcomes = [told(await search(plan, root, memo)) for plan in plans]
        return outcomes, memo.made


@pytest.mark.parametrize("bindings", [None, ("S@1", "PRM@1")])
def test_a_warm_store_changes_no_answer_and_no_cost(tmp_path: Path, bindings: tuple[str, ...] | None) -> None:
    expected, _ = asyncio.run(run(Memory()))
    engine = database.open(f"sqlite:///{tmp_path / 'a.db'}")
    with Samples(engine) as samples:
        cold, made = asyncio.run(run(samples))
    with Samples(engine, bindings) as samples:
        warm, made_again = asyncio.run(run(samples))
    assert cold == warm == expected
    assert made > 0 and made_again == 0
    engine.dispose()
