"""The embedded models as a world: usage, answers, probes, scores, cancelling, and errors that say what is wrong."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from autotts.core.node import Node, root_node
from autotts.core.plan import Blend, Draw, Score, Spec
from autotts.core.world import Binding, Meter, Reply
from autotts.engine.live import search, serve
from autotts.engine.memo import Memo, Memory
from autotts.errors import BackendError, InputError, PlanError
from autotts.strategies.arms import parse
from autotts.tiny.codec import encode
from autotts.worlds import tiny
from autotts.worlds.tiny import PATH_TOKENS, Tiny, open_tiny
from tests.tiny.random_models import write_model

PROMPT = "solve: 80+5*9-63"


@dataclass(slots=True)
class Order:
    """As much of an order as a world sees."""

    ask: Any
    key: bytes
    binding: Binding
    prefix: int
    meter: Meter = field(default_factory=Meter)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    for name, size in (("S", "S"), ("M", "M"), ("PRM", "M")):
        write_model(folder / name, size, seed=len(name))
    return folder


@pytest.fixture(scope="module")
def world(weights: Path) -> Iterator[Tiny]:
    with open_tiny(("S", "M"), ("prm",), read=last_line, weights=weights) as opened:
        yield opened


def last_line(text: str) -> str | None:
    """A reader that reads what random models write."""
    return text.rpartition("\n")[2][:4] or None


def order(world: Tiny, ask: Any, key: int = 0, prefix: int = 0) -> Order:
    role = ask.by if type(ask) is Score else ask.spec.model
    return Order(ask, key.to_bytes(16, "little"), world.bindings[role], prefix)


def answer(world: Tiny, *asked: tuple[Order, Any]) -> list[Reply]:
    async def run() -> list[Reply]:
        return await asyncio.gather(*(world.answer(o, (state,), o.meter) for o, state in asked))

    return asyncio.run(run())


def test_a_draw_counts_its_tokens_and_says_what_it_is(world: Tiny) -> None:
    node, state = world.root(PROMPT)
    asked = [(order(world, Draw(node, Spec(model="S", temperature=1.2)), i, node.tokens), state) for i in range(40)]
    for (_, _), reply in zip(asked, answer(world, *asked), strict=True):
        drawn: Node = reply.value
        assert reply.state.startswith(state)
        written = len(encode(reply.state)) - node.tokens
        ended = not drawn.signals.get("cut")
        assert drawn.tokens == reply.usage.generated == written + ended
        assert (reply.usage.prompt, reply.usage.calls) == (node.tokens, 1)
        assert drawn.done and not drawn.failed
        assert drawn.depth == 1
        assert drawn.answer == (last_line(reply.state) if ended else None)
        assert ended or drawn.tokens == PATH_TOKENS
        assert -20 < drawn.signals["mean_logprob"] < 0


def test_a_draw_is_a_function_of_its_key(world: Tiny) -> None:
    node, state = world.root(PROMPT)
    spec = Spec(model="S", temperature=1.0)
    replies = answer(world, *((order(world, Draw(node, spec), key), state) for key in (1, 2, 1, 3)))
    again = answer(world, (order(world, Draw(node, spec), 1), state))
    assert replies[0].state == replies[2].state == again[0].state
    assert replies[0].value.digest == again[0].value.digest
    assert len({reply.state for reply in replies}) == 3


def test_steps_end_at_newlines_and_a_path_goes_on(world: Tiny) -> None:
    """A path of any pieces has one bound on its tokens."""
    node, state = world.root(PROMPT)
    spec = Spec(model="S", stop="step", temperature=1.0)
    made = 0
    for key in range(300):
        (reply,) = answer(world, (order(world, Draw(node, spec), key, node.tokens), state))
        assert reply.state.startswith(state)
        made += reply.value.tokens
        node, state = reply.value, reply.state
        if node.done:
            break
        assert state.endswith("\n")
        assert node.answer is None
    assert node.done
    assert node.depth == key + 1
    assert made <= PATH_TOKENS
    assert made == PATH_TOKENS or not node.signals.get("cut")


def test_a_chunk_has_its_tokens_and_a_probe_answers_after_it(world: Tiny) -> None:
    node, state = world.root(PROMPT)
    (chunk,) = answer(world, (order(world, Draw(node, Spec(model="S", stop=3, temperature=1.0)), 5), state))
    assert chunk.value.tokens == 3
    assert not chunk.value.done
    spec = Spec(move="probe", model="S", temperature=1.0)
    first, second = answer(world, *((order(world, Draw(chunk.value, spec), key), chunk.state) for key in (6, 7)))
    assert first.state == second.state  # a probe is greedy
    assert first.state.startswith(chunk.state + "answer: ")
    assert first.value.done
    assert first.value.tokens == first.usage.generated
    assert first.value.tokens == len(encode(first.state)) - len(encode(chunk.state)) + (
        not first.value.signals.get("cut")
    )


def test_a_path_without_room_fails_as_data(world: Tiny) -> None:
    node, state = world.root(PROMPT)
    full = state + "1" * PATH_TOKENS
    (reply,) = answer(world, (order(world, Draw(node, Spec(model="S"))), full))
    assert reply.value.failed
    assert reply.value.done
    assert reply.value.tokens == reply.usage.generated == 0


def test_a_score_is_one_for_one_text(world: Tiny) -> None:
    node, state = world.root(PROMPT)
    spec = Spec(model="S", temperature=1.0)
    (drawn,) = answer(world, (order(world, Draw(node, spec), 1), state))
    scored = answer(world, *((order(world, Score(drawn.value, "prm"), key, 30), drawn.state) for key in range(5)))
    values = {reply.value for reply in scored}
    assert len(values) == 1
    assert 0 < values.pop() < 1
    assert (scored[0].usage.prompt, scored[0].usage.generated, scored[0].usage.calls) == (30, 0, 1)


def test_a_complete_text_and_its_beginning_score_apart(world: Tiny) -> None:
    """The end token is part of a complete text: it says that the answer has no more digits."""
    _, state = world.root(PROMPT)
    text = state + "answer: 6"
    ends = (Node(b"a", 1, True, "6", b"a", 3), Node(b"b", 1, False, None, b"b", 2))
    scored = answer(world, *((order(world, Score(node, "prm")), text) for node in ends))
    assert scored[0].value != scored[1].value
    failed = Node(b"c", 1, True, None, b"c", 0, failed=True)
    assert math.isnan(answer(world, (order(world, Score(failed, "prm")), text))[0].value)


def test_a_cancelled_draw_ends_its_work_and_the_world_goes_on(world: Tiny) -> None:
    node, state = world.root(PROMPT)

    async def run() -> Reply:
        moved = asyncio.Event()
        asked = order(world, Draw(node, Spec(model="M", temperature=1.0)), 9)
        asked.meter.moved = lambda count: not moved.set()  # type: ignore[func-returns-value]
        task = asyncio.create_task(world.answer(asked, (state,), asked.meter))
        await moved.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asked.meter.generated >= 1
        other = order(world, Draw(node, Spec(model="M", temperature=1.0)), 10)
        return await world.answer(other, (state,), other.meter)

    assert asyncio.run(run()).value.tokens > 0


def test_the_meter_counts_every_token_once(world: Tiny) -> None:
    node, state = world.root(PROMPT)

    async def run() -> list[tuple[Order, Reply]]:
        asked = [order(world, Draw(node, Spec(model="S", temperature=1.0)), key) for key in range(64)]
        for one in asked:
            one.meter.moved = lambda count: True
        return list(zip(asked, await asyncio.gather(*(world.answer(o, (state,), o.meter) for o in asked)), strict=True))

    for one, reply in asyncio.run(run()):
        assert one.meter.generated == reply.usage.generated


@pytest.mark.parametrize(
    "arm",
    [
        "one(model=S)",
        "vote(n=6, model=M)",
        "best_of_n(n=4, model=S)",
        "beam(n=4, m=2, model=S)",
        "first_finish(n=4, k=2, model=S)",
    ],
)
def test_strategies_run_live_and_their_bill_is_the_worlds(world: Tiny, arm: str) -> None:
    strategy = parse(arm)

    async def run() -> tuple[Any, Any, Memo]:
        node, state = world.root(PROMPT)
        outcomes = []
        samples = Memory()
        for _ in range(2):  # the second finds every draw kept
            async with Memo(world, samples) as memo:
                memo.root(node, state)
                outcomes.append(await search(strategy.plan(node, Random(1)), node, memo))
        return outcomes[0], outcomes[1], memo

    first, second, memo = asyncio.run(run())
    assert memo.made == 0
    assert first.choice is not None
    assert (first.choice.node.answer, first.cost, first.usage) == (second.choice.node.answer, second.cost, second.usage)


def test_serving_stops_at_a_cap(world: Tiny) -> None:
    node, state = world.root(PROMPT)
    prices = world.bindings["S"].prices
    cap = prices.of_prompt(node.tokens, node.tokens) + prices.of_generated(node.tokens, 4)

    async def run() -> Any:
        return await serve(parse("vote(n=4, model=S)").plan(node, Random(0)), node, state, world, cap=cap)

    outcome = asyncio.run(run())
    assert outcome.ended == "cap"
    made = outcome.usage[world.bindings["S"].id]
    assert (
        made.generated + made.cancelled < 4 * 8
    )  # whole draws take more; the engine runs on until it hears of the cap
    late = max(0, made.cancelled - 4)
    assert outcome.cost <= cap + prices.of_generated(node.tokens, late)


def test_the_same_world_serves_one_event_loop_after_another(world: Tiny) -> None:
    node, state = world.root(PROMPT)

    async def abandoned() -> None:
        asked = order(world, Draw(node, Spec(model="M", temperature=1.0)), 77)
        task = asyncio.create_task(world.answer(asked, (state,), asked.meter))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    for _ in range(20):
        asyncio.run(abandoned())
    assert answer(world, (order(world, Draw(node, Spec(model="M")), 78), state))[0].value.tokens > 0


def test_a_root_is_that_of_the_engine(world: Tiny) -> None:
    node, state = world.root("80+5*9-63")
    expected = root_node("80+5*9-63", len(encode(state)))
    assert (node.key, node.digest, node.tokens) == (expected.key, expected.digest, expected.tokens)
    assert state == PROMPT + "\n"


def test_prices_come_from_the_card(world: Tiny) -> None:
    card, prices = world.cards["S"], world.bindings["S"].prices
    assert (card.name, card.layers, card.heads, card.kv_heads, card.head_dim) == ("S", 3, 3, 1, 32)
    assert card.parameters is not None
    assert 298_000 < card.parameters < 299_000
    assert prices.generated == 2 * card.parameters
    assert prices.generated_context == 4 * 3 * 32 * 3
    assert card.revision in world.bindings["S"].id


def test_what_the_models_cannot_do_is_said(world: Tiny) -> None:
    node, state = world.root(PROMPT)
    with pytest.raises(PlanError, match="the embedded models cannot 'vary'"):
        answer(world, (order(world, Draw(node, Spec(move="vary", model="S"))), state))
    with pytest.raises(PlanError, match="the embedded models cannot blend"):
        answer(world, (order(world, Blend((node, node), Spec(model="S"))), state))
    with pytest.raises(PlanError, match="nudged"):
        answer(world, (order(world, Draw(node, Spec(model="S", nudge="think"))), state))


@pytest.mark.parametrize("prompt", ["What is 2+2?", "", "1+1\n2+2", "1+" * 60 + "1"])
def test_a_prompt_that_cannot_be_read_is_an_input_error(world: Tiny, prompt: str) -> None:
    with pytest.raises(InputError):
        world.root(prompt)


def test_a_model_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="config"), open_tiny(("S",), read=last_line, weights=tmp_path):
        pass
    with pytest.raises(InputError, match="'XL'"), open_tiny(("XL",), read=last_line, weights=tmp_path):
        pass


def test_a_broken_engine_is_a_backend_error(weights: Path) -> None:
    with open_tiny(("S",), read=last_line, weights=weights) as world:
        node, state = world.root(PROMPT)
        batch = world._engine._lines["S"].batches
        for one in batch:
            one._rows = None  # type: ignore[assignment]
        with pytest.raises(BackendError, match="defect"):
            answer(world, (order(world, Draw(node, Spec(model="S"))), state))
        with pytest.raises(BackendError, match="defect"):
            answer(world, (order(world, Draw(node, Spec(model="S"))), state))


@pytest.mark.skipif("S" not in tiny.NAMES, reason="the models are not trained yet")
def test_the_real_model_solves_an_easy_problem() -> None:
    from autotts.tasks.arithmetic import read_answer

    with open_tiny(("S",), read=read_answer) as world:
        node, state = world.root("solve: 5+3-2+1")
        replies = answer(
            world, *((order(world, Draw(node, Spec(model="S", temperature=0.6)), key), state) for key in range(16))
        )
    answers = [reply.value.answer for reply in replies]
    assert max(answers, key=answers.count) == "7"
    assert {entry["name"] for entry in tiny.shelf()} >= {"S"}
