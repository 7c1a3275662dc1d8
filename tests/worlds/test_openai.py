"""Models behind servers as a world, with the fake server: draws, steps, probes, chunks, roots, cancelling."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from autotts.core.cost import ModelCard, Usage
from autotts.core.node import Node
from autotts.core.plan import Blend, Draw, Score, Spec
from autotts.core.world import Binding, Meter, Reply
from autotts.engine.capped import CANCELLED, Capped, Ledger
from autotts.engine.live import serve
from autotts.errors import InputError, PlanError
from autotts.strategies.arms import parse
from autotts.worlds.fake_server import FakeModel, FakeServer, Pace, Scorer, Solver
from autotts.worlds.models.entry import Entry, Scoring, Server, Template, Thinking
from autotts.worlds.openai import OpenAI, open_openai

PROMPT = "What is 12 + 30 * 2 - 7?"
MODELS = (
    FakeModel("small", Solver(0.8)),
    FakeModel("sure", Solver(1.0, wordy=0.0)),
    FakeModel("thinker", Solver(0.8), thinks=24),
    FakeModel("short", Solver(0.8), context=40),
    FakeModel("prm", marks=Scorer(auc=0.9, per="step", classes=2)),
    FakeModel("orm", marks=Scorer(auc=0.9)),
)


@dataclass(slots=True)
class Order:
    """As much of an order as a world sees."""

    ask: Any
    key: bytes
    binding: Binding
    prefix: int
    meter: Meter = field(default_factory=Meter)


def boxed(text: str) -> str | None:
    """A reader of the last box."""
    found = re.findall(r"\\boxed\{([^{}]*)\}", text)
    return found[-1] if found else None


def entry(server: FakeServer, served: str = "small", **fields: Any) -> Entry:
    known: dict[str, Any] = {"servers": (Server(server.url),), "max_tokens": 512} | fields
    return Entry(known.pop("name", served), "openai", served, ModelCard(served, "1"), **known)


def scorer(server: FakeServer, served: str, kind: str, shape: str) -> Entry:
    return entry(server, served, scoring=Scoring(kind, shape))


def run(
    work: Callable[[FakeServer, OpenAI], Awaitable[Any]],
    *made: Callable[[FakeServer], Entry],
    pace: Pace = Pace(chunk=1),  # noqa: B008
    **options: Any,
) -> Any:
    """Do some work with a server and a world of these entries, by their names."""

    async def live() -> Any:
        async with FakeServer(MODELS, pace=pace, **options) as server:
            entries = [make(server) for make in made or (entry,)]
            with open_openai({one.name: one for one in entries}, read=boxed, instruction="Box it.") as world:
                async with world.session():
                    return await work(server, world)

    return asyncio.run(live())


def order(world: OpenAI, ask: Any, key: int = 0, prefix: int = 0) -> Order:
    role = ask.by if type(ask) is Score else ask.spec.model
    return Order(ask, key.to_bytes(16, "little"), world.bindings[role], prefix)


async def answer(world: OpenAI, ask: Any, state: Any, key: int = 0, prefix: int = 50) -> Reply:
    one = order(world, ask, key, prefix)
    reply = await world.answer(one, (state,), one.meter)
    assert one.meter.generated == reply.usage.generated or type(ask) is Score
    return reply


def whole(usage: Usage) -> tuple[int, int]:
    return usage.prompt + usage.cached, usage.generated


# ---------------------------------------------------------------- draws


def test_a_draw_is_what_the_server_says_to_the_token() -> None:
    async def work(server: FakeServer, world: OpenAI) -> None:
        root, state = world.root(PROMPT)
        assert root.tokens >= 40
        before = server.counts
        reply = await answer(world, Draw(root, Spec(model="small")), state)
        after = server.counts
        drawn: Node = reply.value
        assert whole(reply.usage) == (after.prompt - before.prompt, after.generated - before.generated)
        assert whole(reply.usage)[0] <= root.tokens
        assert (drawn.tokens, drawn.done, drawn.failed, reply.usage.calls) == (reply.usage.generated, True, False, 1)
        assert drawn.answer == boxed(reply.state["text"]) is not None
        assert (reply.state["prompt"], reply.state["ids"], reply.state["by"]) == (PROMPT, None, "small")
        assert reply.seconds > 0

    run(work)


def test_a_draw_is_a_function_of_its_key() -> None:
    async def work(_: FakeServer, world: OpenAI) -> None:
        root, state = world.root(PROMPT)
        ask = Draw(root, Spec(model="small", temperature=1.0))
        replies = [await answer(world, ask, state, key) for key in (1, 2, 1, 3, 4, 5)]
        texts = [reply.state["text"] for reply in replies]
        assert texts[0] == texts[2]
        assert replies[0].value.digest == replies[2].value.digest
        assert len(set(texts)) > 2

    run(work)


@pytest.mark.parametrize("continues", ["ids", "message"])
@pytest.mark.parametrize("stop", ["step", 7])
def test_a_chat_goes_on_exactly(continues: str, stop: str | int) -> None:
    async def work(_: FakeServer, world: OpenAI) -> None:
        await goes_on(world, stop)

    run(work, lambda server: entry(server, template=Template(continues=continues)))


@pytest.mark.parametrize("continues", ["ids", "text", "auto"])
def test_a_text_goes_on_exactly(continues: str) -> None:
    template = Template(form="text", user="Q: {prompt} A:\n", continues=continues)

    async def work(_: FakeServer, world: OpenAI) -> None:
        await goes_on(world, "step")

    run(work, lambda server: entry(server, template=template))


async def goes_on(world: OpenAI, stop: str | int) -> None:
    """A greedy answer in pieces is the greedy answer in one."""
    root, start = world.root(PROMPT)
    one = await answer(world, Draw(root, Spec(model="small", temperature=0.0)), start)
    node, state, made = root, start, 0
    template = world.entries["small"].template
    spec = Spec(model="small", temperature=0.0, stop=stop)
    for depth in range(1, 40):
        reply = await answer(world, Draw(node, spec), state, depth)
        node, state = reply.value, reply.state
        assert (node.depth, node.failed) == (depth, False)
        made += node.tokens
        if node.done:
            break
        assert node.answer is None
        assert template.form == "text" or (state["ids"] is not None) == (template.continues == "ids")
        assert stop != "step" or state["text"].endswith("\n\n")
        assert stop == "step" or node.tokens == stop
    assert depth > 2
    assert (state["text"], made, node.answer) == (one.state["text"], one.value.tokens, one.value.answer)


def test_a_probe_asks_for_the_answer_now() -> None:
    async def work(_: FakeServer, world: OpenAI) -> None:
        root, state = world.root(PROMPT)
        chunk = await answer(world, Draw(root, Spec(model="sure", stop=8)), state)
        ask = Draw(chunk.value, Spec(move="probe", model="sure", temperature=1.0))
        first, second = [await answer(world, ask, chunk.state, key) for key in (1, 2)]
        assert first.value.answer == second.value.answer == "65"
        assert first.state["text"] == chunk.state["text"] + "\n\nFinal answer: \\boxed{65}"
        assert first.value.done and first.value.tokens <= 2
        assert whole(first.usage)[0] > whole(chunk.usage)[0] + 8  # the probe's own words are read

    run(work, lambda server: entry(server, "sure"))


@pytest.mark.parametrize("reasoning", ["reasoning", "reasoning_content"])
def test_thinking_is_kept_apart_and_gone_on_with(reasoning: str) -> None:
    async def work(server: FakeServer, world: OpenAI) -> None:
        root, state = world.root(PROMPT)
        one = await answer(world, Draw(root, Spec(model="thinker", temperature=0.0)), state)
        assert one.state["thought"] and "think" not in one.state["text"]
        assert one.value.answer == boxed(one.state["text"])
        begun = await answer(world, Draw(root, Spec(model="thinker", temperature=0.0, stop=6)), state)
        assert begun.state["thought"] and not begun.state["text"]
        probed = await answer(world, Draw(begun.value, Spec(move="probe", model="thinker")), begun.state)
        assert probed.value.answer == boxed(probed.state["text"]) is not None
        rest = await answer(world, Draw(begun.value, Spec(model="thinker", temperature=0.0)), begun.state)
        assert rest.value.answer == one.value.answer
        assert rest.state["text"].strip() == one.state["text"].strip()
        assert begun.value.tokens + rest.value.tokens == one.value.tokens

    run(work, lambda server: entry(server, "thinker"), reasoning=reasoning)


def test_thinking_can_be_switched_off_and_bounded() -> None:
    async def work(_: FakeServer, world: OpenAI) -> None:
        root, state = world.root(PROMPT)
        off, few = [await answer(world, Draw(root, Spec(model=name)), state) for name in ("off", "few")]
        assert "thought" not in off.state
        assert len(few.state["thought"].split()) <= 3

    run(
        work,
        lambda server: entry(server, "thinker", name="off", thinking=Thinking(enabled=False)),
        lambda server: entry(server, "thinker", name="few", thinking=Thinking(enabled=True, budget=3)),
    )


def test_logprobs_come_where_they_are_asked_for() -> None:
    async def work(_: FakeServer, world: OpenAI) -> None:
        root, state = world.root(PROMPT)
        for spec in (Spec(model="small"), Spec(model="small", stop=4)):
            reply = await answer(world, Draw(root, spec), state)
            assert -5 < reply.value.signals["mean_logprob"] < 0

    run(work, lambda server: entry(server, extra={"logprobs": True, "top_logprobs": 0}))


def test_a_path_ends_at_its_most_tokens() -> None:
    async def work(_: FakeServer, world: OpenAI) -> None:
        root, state = world.root(PROMPT)
        cut = await answer(world, Draw(root, Spec(model="small")), state)
        assert (cut.value.tokens, cut.value.answer, cut.value.signals["cut"]) == (6, None, 1.0)
        begun = await answer(world, Draw(root, Spec(model="small", stop=4)), state)
        rest = await answer(world, Draw(begun.value, Spec(model="small", stop=4)), begun.state)
        assert (rest.value.tokens, rest.value.done, rest.value.signals["cut"]) == (2, True, 1.0)
        full = await answer(world, Draw(begun.value, Spec(model="small")), begun.state | {"made": 6})
        assert full.value.failed and full.usage == Usage()
        assert "no room" in full.state["fault"]

    run(work, lambda server: entry(server, max_tokens=6))


def test_what_these_models_cannot_do_is_said() -> None:
    async def work(_: FakeServer, world: OpenAI) -> None:
        root, state = world.root(PROMPT)
        for ask, words in (
            (Draw(root, Spec(move="vary", model="small")), "cannot 'vary'"),
            (Blend((root,), Spec(model="small")), "cannot blend"),
            (Draw(root, Spec(stop=3, model="small")), "cannot go on with a partial answer"),
        ):
            with pytest.raises(PlanError, match=words):
                await answer(world, ask, state)

    run(work, lambda server: entry(server, template=Template(continues="none")))


def test_a_server_of_openai_cannot_go_on_and_draws_all_the_same() -> None:
    async def work(server: FakeServer, world: OpenAI) -> None:
        root, state = world.root(PROMPT)
        reply = await answer(world, Draw(root, Spec(model="small")), state)
        assert reply.value.answer is not None
        assert whole(reply.usage) == (server.counts.prompt, server.counts.generated)
        with pytest.raises(PlanError, match="cannot go on with a partial answer"):
            await answer(world, Draw(root, Spec(model="small", stop="step")), state)

    run(work, openai=True)


def test_fields_that_a_strict_server_refuses_are_left_out() -> None:
    async def work(_: FakeServer, world: OpenAI) -> None:
        root, state = world.root(PROMPT)
        reply = await answer(world, Draw(root, Spec(model="small", stop=5)), state)
        assert reply.value.tokens == 5 and reply.usage.calls == 1

    run(work, lambda server: entry(server, template=Template(continues="ids")), openai=True, strict=True)


# ---------------------------------------------------------------- roots


def test_a_prompt_that_can_fit_nowhere_is_an_input_error() -> None:
    async def work(_: FakeServer, world: OpenAI) -> None:
        with pytest.raises(InputError, match="has 40 words or more; model 'short' reads up to 40"):
            world.root("word " * 60)

    run(work, lambda server: entry(server, "short", context=40))


def test_the_root_bounds_the_tokens_of_every_model() -> None:
    async def work(_: FakeServer, world: OpenAI) -> None:
        for prompt in ("x", PROMPT, "é" * 40, "a b c d e f g"):
            root, state = world.root(prompt)
            for name in world.models:
                reply = await answer(world, Draw(root, Spec(model=name)), state, prefix=root.tokens)
                assert whole(reply.usage)[0] <= root.tokens

    run(work, entry, lambda server: entry(server, name="text", template=Template(form="text", system="Be brief.")))


def test_an_answer_needs_a_session() -> None:
    world_of = entry(FakeServer(MODELS))
    with open_openai({"small": world_of}, read=boxed) as world:
        root, state = world.root(PROMPT)
        with pytest.raises(RuntimeError, match="session"):
            asyncio.run(answer(world, Draw(root, Spec(model="small")), state))


# ---------------------------------------------------------------- cancelling


def test_a_cancelled_draw_is_charged_what_the_server_made() -> None:
    """Never less than the server's own count, and at most one chunk more."""

    async def work(server: FakeServer, world: OpenAI) -> None:
        ledger = Ledger()
        capped = Capped(world, ledger)
        root, state = world.root(PROMPT)
        for key in range(12):
            one = order(world, Draw(root, Spec(model="small", temperature=1.0)), key, root.tokens)
            came = asyncio.Event()
            one.meter.moved = lambda count, came=came, one=one, key=key: (
                (came.set() if one.meter.generated >= key else None) is None
            )
            task = asyncio.create_task(capped.answer(one, (state,), one.meter))
            await came.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        while server.counts.finished + server.counts.cancelled < 12:
            await asyncio.sleep(0.002)
        counts = server.counts
        assert counts.cancelled == 12
        name = world.bindings["small"].id
        made = counts.prompt + counts.generated
        assert made <= ledger.by[name, CANCELLED] <= made + 12 * 2

    run(work, pace=Pace(rate=500, chunk=2))


@pytest.mark.parametrize("arm", ["first_finish(n=6, k=1, model=thinker)", "vote(n=6, model=thinker)"])
def test_serving_ends_what_is_not_needed(arm: str) -> None:
    async def work(server: FakeServer, world: OpenAI) -> None:
        root, state = world.root(PROMPT)
        outcome = await serve(parse(arm).plan(root, Random(0)), root, state, world)
        while server.counts.finished + server.counts.cancelled < 6:
            await asyncio.sleep(0.002)
        assert outcome.choice is not None and outcome.choice.node.answer is not None
        counts, usage = server.counts, outcome.usage[world.bindings["thinker"].id]
        assert (counts.cancelled > 0) == arm.startswith("first")
        assert usage.generated <= counts.generated
        assert counts.cancelled == 0 or usage.cancelled > 0
        assert usage.generated + usage.cancelled <= counts.generated + usage.calls

    run(work, lambda server: entry(server, "thinker"), pace=Pace(rate=400, chunk=1))
