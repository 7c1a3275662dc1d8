"""Models behind servers that fail: the same answers, a ledger that is never below, and words that say what is wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random
from typing import Any

import httpx
import pytest

from autotts.core.cost import Usage
from autotts.core.plan import Draw, Score, Spec
from autotts.core.world import Meter, Reply
from autotts.engine.capped import DRAWN, FAILED, LOST, Capped, Ledger
from autotts.engine.live import search
from autotts.engine.memo import Memo, Memory
from autotts.errors import AutottsError, BackendError, InputError
from autotts.strategies.arms import parse
from autotts.worlds.fake_server import KINDS, FakeModel, FakeServer, Faults, Pace, Scorer, Solver
from autotts.worlds.models.entry import Entry, Server, Template
from autotts.worlds.openai import OpenAI, open_openai
from autotts.worlds.servers import Fleet, Retries, Timeouts
from tests.worlds.test_openai import PROMPT, boxed, entry, order, scorer, whole

MODELS = (
    FakeModel("small", Solver(0.8)),
    FakeModel("short", Solver(0.8, wordy=1.0), context=40),
    FakeModel("orm", marks=Scorer(auc=0.9)),
)
KEY = "sk-very-secret-123"
PACE = Pace(rate=500, chunk=1)  # so that a server does not run far ahead of who hangs up
HARMLESS = ("no_usage", "duplicate")
BEFORE = ("refused", "restart", "429", "429_bare", "500", "502", "503")  # nothing was read


def fleet(tries: int = 20) -> Fleet:
    """Its clock runs 20 times faster than ours."""
    return Fleet(
        retries=Retries(tries=tries, first=0.02, longest=0.2, spare=10**6, patience=4.0),
        timeouts=Timeouts(connect=1.0, first=0.3, between=0.3),
        rng=Random(0),
        clock=lambda: 20 * time.monotonic(),
        sleep=lambda seconds: asyncio.sleep(seconds / 20),
    )


def run(
    work: Callable[[FakeServer, OpenAI], Awaitable[Any]],
    *made: Callable[[FakeServer], Entry],
    tries: int = 20,
    **options: Any,
) -> Any:
    async def live() -> Any:
        async with FakeServer(MODELS, **{"pace": Pace(chunk=1)} | options) as server:
            entries = [make(server) for make in made or (entry,)]
            named = {one.name: one for one in entries}
            with open_openai(named, read=boxed, fleet=lambda: fleet(tries)) as world:
                async with world.session():
                    return await work(server, world)

    return asyncio.run(live())


async def draw(world: OpenAI, key: int = 0, *, model: str = "small", **spec: Any) -> tuple[Reply, Meter]:
    root, state = world.root(PROMPT)
    one = order(world, Draw(root, Spec(model=model, **spec)), key, root.tokens)
    return await world.answer(one, (state,), one.meter), one.meter


async def fail(world: OpenAI) -> AutottsError:
    with pytest.raises(AutottsError) as caught:
        await draw(world)
    return caught.value


def healthy() -> Reply:
    async def work(_: FakeServer, world: OpenAI) -> Reply:
        return (await draw(world))[0]

    reply: Reply = run(work)
    return reply


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("running", [True, False])
def test_a_draw_survives_every_fault(kind: str, running: bool) -> None:
    """The answer is that of a healthy server, and what the ledger says is never less than the server's own count."""

    async def work(server: FakeServer, world: OpenAI) -> tuple[Reply, int, int]:
        ledger = Ledger()
        root, state = world.root(PROMPT)
        one = order(world, Draw(root, Spec(model="small")), 0, root.tokens)
        reply = await Capped(world, ledger).answer(one, (state,), one.meter)
        assert one.meter.generated == reply.usage.generated
        return reply, ledger.spent, server.counts.prompt + server.counts.generated

    without = healthy()
    reply, spent, counted = run(work, faults=Faults(listed=(kind,)), openai=not running, pace=PACE)
    assert (reply.value.answer, reply.state["text"]) == (without.value.answer, without.state["text"])
    assert (reply.value.digest, reply.value.failed) == (without.value.digest, False)
    if kind in HARMLESS or kind in BEFORE:
        assert whole(reply.usage) == whole(without.usage) or (kind == "no_usage" and not running)
        assert reply.usage.calls == 1 or kind in ("refused", "restart", "duplicate")
    assert counted <= spent
    lost = max(0, reply.usage.calls - 1)
    assert spent <= counted + lost * (whole(without.usage)[0] + 2) or kind == "no_usage"


def test_many_faults_change_no_answer_and_the_ledger_is_never_below() -> None:
    async def work(server: FakeServer, world: OpenAI) -> tuple[list[Any], Ledger, int]:
        ledger = Ledger()
        async with Memo(Capped(world, ledger), Memory()) as memo:
            outcomes = []
            for prompt in ("What is 3 + 4 * 5?", "What is 21 - 9 + 30?", "What is 9 * 9 - 1?"):
                root, state = world.root(prompt)
                memo.root(root, state)
                arm = parse("vote(n=12, model=small)")
                outcomes.append(await search(arm.plan(root, Random(0)), root, memo))
        told = [
            (o.choice and (o.choice.node.answer, o.choice.node.digest, o.choice.confidence), o.cost) for o in outcomes
        ]
        return told, ledger, server.counts.prompt + server.counts.generated

    without, exact, counted = run(work)
    assert exact.spent == counted
    told, ledger, counted = run(work, faults=Faults.evenly(0.2, seed=3), pace=PACE)
    assert told == without
    name = next(name for name, kind in ledger.by if kind == DRAWN)
    assert ledger.by[name, DRAWN] == exact.by[name, DRAWN]
    assert (name, FAILED) not in ledger.by
    assert counted <= ledger.spent
    assert ledger.by[name, LOST] > 0


def test_without_a_usage_the_tokenizer_counts() -> None:
    async def work(server: FakeServer, world: OpenAI) -> None:
        reply, _ = await draw(world)
        assert whole(reply.usage) == (server.counts.prompt, server.counts.generated)
        assert "estimated" not in reply.value.signals

    run(work, faults=Faults(listed=("no_usage",)), pace=Pace(chunk=5))


def test_without_usage_and_tokenizer_an_estimate_is_marked() -> None:
    async def work(server: FakeServer, world: OpenAI) -> None:
        reply, _ = await draw(world)
        assert reply.value.signals["estimated"] == 1.0
        assert whole(reply.usage)[0] >= server.counts.prompt

    run(work, faults=Faults(listed=("no_usage",)), openai=True)


# ---------------------------------------------------------------- what ends


def test_a_draw_that_fails_for_good_is_data() -> None:
    async def work(server: FakeServer, world: OpenAI) -> None:
        reply, meter = await draw(world)
        assert reply.value.failed and reply.value.done and reply.value.answer is None
        assert reply.value.signals["status"] == 400.0
        assert "top_k" in reply.state["fault"]
        assert (reply.usage, meter.calls) == (Usage(), 0)

    run(work, lambda server: entry(server, extra={"top_k": 5}), openai=True, strict=True)


def test_a_server_that_fails_always_gives_up_the_draw_and_charges_what_was_lost() -> None:
    async def work(server: FakeServer, world: OpenAI) -> None:
        reply, meter = await draw(world)
        assert (reply.value.failed and "without a finish_reason" in reply.state["fault"]) or "end" in reply.state[
            "fault"
        ]
        counts = server.counts
        assert reply.usage.calls == meter.calls == counts.requests
        assert counts.generated <= reply.usage.cancelled <= counts.generated + counts.requests
        assert reply.usage.prompt * reply.usage.calls == counts.prompt
        assert reply.usage.generated == 0

    run(work, faults=Faults(listed=("half",) * 3), tries=3)


def test_a_dead_server_is_a_broken_world() -> None:
    async def work(_: FakeServer, world: OpenAI) -> None:
        assert isinstance(await fail(world), BackendError)

    run(work, lambda _: entry(FakeServer(MODELS), servers=(Server("http://127.0.0.1:9/v1"),)), tries=3)


def test_another_models_answer_is_no_answer() -> None:
    async def work(_: FakeServer, world: OpenAI) -> None:
        reply, _ = await draw(world)
        assert reply.value.failed
        assert "expected the answer of model 'small', found that of 'another-model'" in reply.state["fault"]

    run(work, faults=Faults(listed=("other_model",) * 2), tries=2)


def test_a_model_that_is_not_served_lists_what_is() -> None:
    async def work(_: FakeServer, world: OpenAI) -> None:
        error = await fail(world)
        assert isinstance(error, InputError)
        assert "the server lists orm, short, small" in str(error)

    run(work, lambda server: replace(entry(server), served="smal"))


def test_an_address_that_is_none_in_this_form_is_said() -> None:
    async def work(_: FakeServer, world: OpenAI) -> None:
        error = await fail(world)
        assert isinstance(error, InputError)
        assert "up to the version" in str(error)

    run(work, lambda server: entry(server, servers=(Server(server.url + "/v2"),)))


def test_a_wrong_key_is_an_input_error_that_does_not_show_it() -> None:
    async def work(_: FakeServer, world: OpenAI) -> None:
        error = await fail(world)
        assert isinstance(error, InputError)
        assert "key" in str(error) and KEY not in f"{error}{error!r}{world.entries!r}{world.bindings!r}"

    run(work, lambda server: entry(server, servers=(Server(server.url, key=KEY),)), key="another")


def test_a_key_is_in_no_reply_and_no_fault() -> None:
    """Also where the server says it back."""

    async def work(_: FakeServer, world: OpenAI) -> None:
        good, _ = await draw(world)
        bad, _ = await draw(world, 1, model="echo")
        assert not good.value.failed and bad.value.failed
        assert KEY not in f"{good}{bad}"

    keyed = {"servers": None}

    def made(server: FakeServer, **fields: Any) -> Entry:
        return entry(server, servers=(Server(server.url, key=KEY),), **fields)

    assert keyed
    run(
        work,
        made,
        lambda server: made(server, name="echo", extra={KEY: 1}),
        key=KEY,
        openai=True,
        strict=True,
    )


# ---------------------------------------------------------------- contexts


@pytest.mark.parametrize("openai", [True, False])
def test_what_does_not_fit_is_asked_for_again_with_what_does(openai: bool) -> None:
    async def work(server: FakeServer, world: OpenAI) -> None:
        reply, meter = await draw(world, model="short")
        counts = server.counts
        prompt, made = whole(reply.usage)
        assert (counts.refused, counts.finished) == (1, 1)
        assert (prompt, made, meter.calls) == (counts.prompt, counts.generated, 1)
        assert prompt + made == 40
        assert reply.value.signals["cut"] == 1.0

    run(work, lambda server: entry(server, "short"), openai=openai)


def test_a_known_context_is_not_asked_beyond_once_a_prompt_is_known() -> None:
    async def work(server: FakeServer, world: OpenAI) -> None:
        for key in range(4):
            await draw(world, key, model="short", stop=4 if key == 3 else "end")
        assert server.counts.refused == 1

    run(work, lambda server: entry(server, "short", context=40, template=Template(continues="ids")))


def test_a_prompt_that_does_not_fit_says_which_and_by_how_much() -> None:
    async def work(_: FakeServer, world: OpenAI) -> None:
        root, state = world.root("What is 1 + 1? " * 20)
        one = order(world, Draw(root, Spec(model="short")), 7, root.tokens)
        reply = await world.answer(one, (state,), one.meter)
        assert reply.value.failed
        fault = reply.state["fault"]
        assert f"draw {one.key.hex()} of 'What is 1 + 1?" in fault
        assert "exceed the model's context of 40 by " in fault

    run(work, lambda server: entry(server, "short"))


# ---------------------------------------------------------------- scores, and what a server may do


def test_a_score_survives_faults_and_counts_the_attempts() -> None:
    async def work(server: FakeServer, world: OpenAI) -> None:
        root, _ = world.root(PROMPT)
        state = {"prompt": PROMPT, "text": "The answer is \\boxed{65}.", "ids": None, "by": "small"}
        one = order(world, Score(replace(root, done=True), "orm"), 0, 80)
        reply = await world.answer(one, (state,), one.meter)
        assert reply.value == reply.value
        assert reply.usage.calls == 2
        assert reply.usage.prompt * 2 >= server.counts.prompt

    run(work, entry, lambda server: scorer(server, "orm", "outcome", "classify"), faults=Faults(listed=("half",)))


def test_a_filtered_answer_and_an_error_in_a_stream() -> None:
    def chunk(**choice: Any) -> str:
        import json

        return f"data: {json.dumps({'model': 'small', 'choices': [{'index': 0, **choice}]})}\n\n"

    streams = iter(
        [
            chunk(delta={"content": "No"}) + 'data: {"error": {"message": "out of memory", "code": 500}}\n\n',
            chunk(delta={"content": "No"}, finish_reason="content_filter") + "data: [DONE]\n\n",
        ]
    )

    def respond(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/tokenize"):
            return httpx.Response(404, json={"error": "no such path"})
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=next(streams).encode())

    async def live() -> tuple[Reply, Meter]:
        one = replace(entry(FakeServer(MODELS)), servers=(Server("http://fake/v1"),))
        transport = httpx.MockTransport(respond)
        quick = Retries(first=0.001)
        with open_openai({"small": one}, read=boxed, fleet=lambda: Fleet(transport=transport, retries=quick)) as world:
            async with world.session():
                return await draw(world)

    reply, _ = asyncio.run(live())
    assert reply.value.failed and reply.value.answer is None
    assert "filter" in reply.state["fault"]
    assert (reply.usage.calls, reply.usage.generated, reply.usage.cancelled) == (2, 1, 2)
    assert reply.value.signals["estimated"] == 1.0
