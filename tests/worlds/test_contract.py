"""The contract of worlds, on those that need nothing but this package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from autotts.core.cost import ModelCard
from autotts.core.node import Node
from autotts.core.world import Binding, Meter, Reply, Request
from autotts.worlds.context import NOTHING, Context, bare, root_of
from autotts.worlds.fake_server import FakeModel, FakeServer, Pace, Scorer, Solver, serving
from autotts.worlds.models.entry import Entry, Scoring, Server
from autotts.worlds.openai import open_openai
from autotts.worlds.recorded import Recording
from autotts.worlds.tiny import open_tiny
from autotts.worlds.toy import Skill, Toy
from tests.pools.make import SMALL, make
from tests.tiny.random_models import write_model
from tests.worlds.contract import Case, every_check, run_check


def last_line(text: str) -> str | None:
    return text.rpartition("\n")[2][:4] or None


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    weights = tmp_path_factory.mktemp("weights")
    write_model(weights / "S", "S", seed=1)
    write_model(weights / "PRM", "M", seed=3)
    with open_tiny(("S",), ("prm",), read=last_line, weights=weights) as world:
        line = world._engine._lines["S"]
        yield Case(
            world,
            "S",
            "solve: 80+5*9-63",
            scorer="prm",
            step="\n",
            says=str,
            made=lambda: sum(batch.written for batch in line.batches),
        )


class ToyBench:
    """A toy as what a study is given: it can be given prompts."""

    models, scorers = ("S",), ("prm",)

    def __init__(self, toy: Toy) -> None:
        self.bindings = toy.bindings
        self.cards = {role: ModelCard(role, "1") for role in toy.bindings}
        self._toy = toy

    def root(self, prompt: str, context: Context = NOTHING) -> tuple[Node, Any]:
        return root_of(prompt, 7, bare(context, "toys")), None

    async def answer(self, order: Request, states: tuple[Any, ...], meter: Meter) -> Reply:
        return await self._toy.answer(order, states, meter)


@pytest.fixture(scope="module")
def toy() -> Case:
    bindings = {"S": Binding("S@1", max_tokens=100), "prm": Binding("prm@1", max_tokens=0)}
    skills = {"S@1": Skill(fail=0.1), "prm@1": Skill(fail=0.0)}
    return Case(ToyBench(Toy(bindings, skills)), "S", "anything", scorer="prm", cancels=False, strict=False)


class PoolBench:
    """A pool as what answers orders, each plan anew."""

    def __init__(self, pool: Recording) -> None:
        self.models, self.scorers, self.cards, self.bindings = pool.models, pool.scorers, pool.cards, pool.bindings
        self.root = pool.root
        self._run = pool.run(0)

    async def answer(self, order: Request, states: tuple[Any, ...], meter: Meter) -> Reply:
        reply = self._run.script(order)
        meter.add(reply.usage.generated)
        return reply


@pytest.fixture
def pool() -> Case:
    world = PoolBench(Recording(make(counts=64)))
    return Case(
        world, "S", "what is 0?", temperature=SMALL.temperature or 0.0, keyed=False, repeats=False, cancels=False,
        continues=False, serves=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def served() -> Iterator[Case]:
    """Models behind a server that keeps a count of its own."""
    models = [FakeModel("S", Solver(0.6)), FakeModel("prm", marks=Scorer(auc=0.9, per="step", classes=2))]
    with serving(FakeServer(models, pace=Pace(rate=400, first=0.001, chunk=1))) as server:
        here = (Server(server.url),)
        entries = {
            "S": Entry("S", "openai", "S", ModelCard("S", "1"), here, max_tokens=512),
            "prm": Entry("prm", "openai", "prm", ModelCard("prm", "1"), here, scoring=Scoring("process", "qwen-prm")),
        }
        with open_openai(entries, read=last_line, instruction="Box it.") as world:
            yield Case(
                world,
                "S",
                "What is 12 + 30 * 2 - 7?",
                scorer="prm",
                step="\n\n",
                says=lambda state: state.get("text", ""),
                made=lambda: server.counts.generated,
            )


@every_check()
def test_models_behind_a_server(check: Callable[[Case], None], served: Case) -> None:
    run_check(check, served)


@every_check()
def test_the_embedded_models(check: Callable[[Case], None], tiny: Case) -> None:
    run_check(check, tiny)


@every_check()
def test_the_toy(check: Callable[[Case], None], toy: Case) -> None:
    run_check(check, toy)


@every_check()
def test_a_recorded_pool(check: Callable[[Case], None], pool: Case) -> None:
    run_check(check, pool)
