"""Plans, scores and capabilities of models behind servers, with the fake server."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from autotts.core.plan import Draw, Score, Spec
from autotts.engine.capped import DRAWN, Capped, Ledger
from autotts.engine.live import search
from autotts.engine.memo import Memo, Memory
from autotts.strategies.arms import parse
from autotts.worlds.fake_server import FakeServer, Pace
from autotts.worlds.models.entry import Server, Template
from autotts.worlds.openai import OpenAI, open_openai, probe
from autotts.worlds.servers import Fleet
from tests.worlds.test_openai import MODELS, PROMPT, answer, boxed, entry, run, scorer


@pytest.mark.parametrize(
    "arm",
    [
        "vote(n=8, model=small)",
        "beam(n=4, m=2, by=prm, model=small)",
        "best_of_n(n=4, by=orm, model=small)",
        "cut(n=2, limit=9, model=small)",
    ],
)
def test_a_plan_costs_what_the_server_counts(arm: str) -> None:
    """The ledger in tokens is the server's own count, to the token."""

    async def work(server: FakeServer, world: OpenAI) -> None:
        ledger = Ledger()
        async with Memo(Capped(world, ledger), Memory()) as memo:
            root, state = world.root(PROMPT)
            memo.root(root, state)
            outcome = await search(parse(arm).plan(root, Random(0)), root, memo)
        assert outcome.choice is not None and outcome.choice.node.answer is not None
        assert ledger.spent == server.counts.prompt + server.counts.generated
        assert ledger.by[world.bindings["small"].id, DRAWN] > 0

    run(
        work,
        lambda server: entry(server, template=Template(continues="ids")),
        lambda server: scorer(server, "prm", "process", "qwen-prm"),
        lambda server: scorer(server, "orm", "outcome", "classify"),
    )


def test_two_servers_share_the_work() -> None:
    async def live() -> None:
        async with FakeServer(MODELS, pace=Pace(first=0.005)) as one, FakeServer(MODELS, pace=Pace(first=0.005)) as two:
            both = entry(one, servers=(Server(one.url), Server(two.url)))
            with open_openai({"small": both}, read=boxed) as world:
                async with world.session():
                    root, state = world.root(PROMPT)
                    asks = [answer(world, Draw(root, Spec(model="small")), state, key) for key in range(24)]
                    replies = await asyncio.gather(*asks)
            assert min(one.counts.requests, two.counts.requests) >= 6
            made = sum(reply.usage.generated for reply in replies)
            assert made == one.counts.generated + two.counts.generated

    asyncio.run(live())


# ---------------------------------------------------------------- scores


def test_a_text_is_scored_once_whoever_asks() -> None:
    async def work(server: FakeServer, world: OpenAI) -> None:
        root, state = world.root(PROMPT)
        drawn = await answer(world, Draw(root, Spec(model="small")), state)
        before = server.counts.requests
        asks = [answer(world, Score(drawn.value, "orm"), drawn.state, key) for key in range(5)]
        scored = await asyncio.gather(*asks)
        again = await answer(world, Score(drawn.value, "orm"), drawn.state)
        assert len({reply.value for reply in [*scored, again]}) == 1
        assert not math.isnan(again.value)
        assert server.counts.requests == before + 1
        assert (again.usage.generated, again.usage.calls) == (0, 1)
        failed = replace(drawn.value, failed=True)
        assert math.isnan((await answer(world, Score(failed, "orm"), drawn.state)).value)

    run(work, entry, lambda server: scorer(server, "orm", "outcome", "classify"))


def test_a_score_lives_on_while_somebody_waits_for_it() -> None:
    async def work(server: FakeServer, world: OpenAI) -> None:
        root, state = world.root(PROMPT)
        drawn = await answer(world, Draw(root, Spec(model="small")), state)
        first, second = [
            asyncio.create_task(answer(world, Score(drawn.value, "orm"), drawn.state, key)) for key in (1, 2)
        ]
        await asyncio.sleep(0.005)
        first.cancel()
        reply = await second
        assert not math.isnan(reply.value)
        assert first.cancelled()

    run(work, entry, lambda server: scorer(server, "orm", "outcome", "classify"), pace=Pace(first=0.02))


# ---------------------------------------------------------------- capabilities


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"cache_block": 4, "pace": Pace(rate=2000, chunk=2)},
            {"continues": "ids", "cached": True, "tokenize": True, "running_usage": True, "cancel": True},
        ),
        (
            {"openai": True},
            {"continues": "none", "cached": False, "tokenize": False, "running_usage": False, "cancel": None},
        ),
    ],
)
def test_capabilities_are_found_by_what_a_server_does(options: dict[str, Any], expected: dict[str, Any]) -> None:
    async def live() -> None:
        async with FakeServer(MODELS, **options) as server, Fleet() as fleet:
            found = await probe(fleet, entry(server))
            assert {name: getattr(found, name) for name in expected} == expected
            assert found.logprobs and found.n and found.seed and found.temperature and found.usage
            assert not found.thinking
            assert set(found.missing) >= {name for name, value in expected.items() if value in (False, "none")}
            assert (await probe(fleet, entry(server, "thinker"))).thinking
            assert (
                not options.get("cache_block")
                or (await probe(fleet, scorer(server, "orm", "outcome", "classify"))).pooling
            )

    asyncio.run(live())
