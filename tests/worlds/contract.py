"""What is true of every world: `CHECKS` are run on an opened world with what it says that it can do."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

import pytest

from autotts.core.cost import ModelCard
from autotts.core.node import Node
from autotts.core.plan import Blend, Draw, Plan, Score, Spec
from autotts.core.world import Binding, Meter, Reply
from autotts.engine.live import search, serve
from autotts.engine.memo import Memo, Memory
from autotts.engine.replay import replay
from autotts.errors import InputError, PlanError
from autotts.strategies.arms import parse
from autotts.worlds.context import Context


@dataclass(frozen=True)
class Case:
    """An opened world and what it can do.

    Parameters
    ----------
    model, scorer
        Roles; None where nothing scores.
    step
        The delimiter of steps, where texts are known; None where it makes no steps.
    says
        The text of a state, equal where texts are; None where they are not known.
    continues
        It goes on from a partial draw, to the same end as a whole greedy draw.
    probes, repeats, cancels, async_
        It probes; the same key has the same reply; running draws can be cancelled.
    keyed
        Its nodes have the keys of their orders.
    strict
        It refuses what it does not know, and gives no score to what failed.
    made
        The world's own count of generated tokens, where it has one.
    slack
        The share of draws that may differ on a repeat: who shares a batch changes sums of floats.
    """

    world: Any
    model: str
    prompt: str
    scorer: str | None = None
    step: str | None = None
    says: Callable[[Any], str] | None = None
    continues: bool = True
    probes: bool = True
    repeats: bool = True
    cancels: bool = True
    keyed: bool = True
    strict: bool = True
    serves: bool = True
    temperature: float = 1.0
    made: Callable[[], int] | None = None
    slack: float = 0.0

    def spec(self, **knobs: Any) -> Spec:
        """A draw of the model at its usual temperature."""
        return Spec(**{"model": self.model, "temperature": self.temperature} | knobs)

    def run(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Run work in an event loop, with the world's session."""

        async def within() -> Any:
            session = getattr(self.world, "session", None)
            async with nullcontext() if session is None else session():
                return await work()

        return asyncio.run(within())

    def answers(self, *orders: Order) -> list[Reply]:
        """All replies, asked at once."""

        async def work() -> Sequence[Reply]:
            return await asyncio.gather(*(order.send(self.world) for order in orders))

        return list(self.run(work))

    def order(self, ask: Any, state: Any, *, key: int = 0, prefix: int = 0) -> Order:
        """An order for one ask."""
        role = ask.by if type(ask) is Score else ask.spec.model
        return Order(ask, key.to_bytes(16, "little"), self.world.bindings[role], prefix, state)

    def draws(self, count: int, first: int = 0, **knobs: Any) -> list[Order]:
        """Draws from the root with different keys."""
        root, state = self.world.root(self.prompt)
        spec = self.spec(**knobs)
        return [self.order(Draw(root, spec), state, key=first + i, prefix=root.tokens) for i in range(count)]


@dataclass(slots=True)
class Order:
    """As much of an order as a world sees, with the state that it is sent with."""

    ask: Any
    key: bytes
    binding: Binding
    prefix: int
    state: Any
    meter: Meter = field(default_factory=Meter)

    async def send(self, world: Any) -> Reply:
        """Ask the world; its meter is watched."""
        self.meter.moved = lambda count: True
        states = (self.state,) * (len(self.ask.nodes) if type(self.ask) is Blend else 1)
        reply: Reply = await world.answer(self, states, self.meter)
        return reply


def check_every_role_has_a_binding_and_a_card(case: Case) -> None:
    world = case.world
    assert case.model in world.models
    for role in (*world.models, *world.scorers):
        assert world.bindings[role].id
        assert type(world.bindings[role].prices.of_prompt(10, 10)) is int
        assert isinstance(world.cards[role], ModelCard)
    assert len({world.bindings[role].id for role in world.models}) >= 1
    assert not set(world.models) & set(world.scorers)


def check_a_root_bounds_the_prompt(case: Case) -> None:
    root, _ = case.world.root(case.prompt)
    again, _ = case.world.root(case.prompt)
    assert (root.key, root.depth, root.done, root.failed) == (again.key, 0, False, False)
    for reply in case.answers(*case.draws(3)):
        assert reply.usage.prompt + reply.usage.cached <= root.tokens


def check_a_context_is_heeded_or_refused_by_name(case: Case) -> None:
    world, prompt = case.world, case.prompt
    alone, _ = world.root(prompt)
    nothing, _ = world.root(prompt, Context(fields={"user": "me", "top_p": None}))
    assert (nothing.key, nothing.digest) == (alone.key, alone.digest)
    for context, names in (
        (Context(before=({"role": "system", "content": "Be brief."},)), "messages"),
        (Context(fields={"stop": ["Q"]}), "stop"),
        (Context(fields={"top_k": 5}), "top_k"),
        (Context(fields={"n": 2}), "n"),
        (Context(most=2), "max_tokens"),
        (Context(salt="a"), "salt"),
    ):
        try:
            root, state = world.root(prompt, context)
        except InputError as error:
            assert str(error).startswith(f"{names}: ")
            continue
        assert root.key != alone.key
        assert root.tokens >= alone.tokens
        assert (root.digest == alone.digest) == (names in ("salt", "max_tokens"))
        order = case.order(Draw(root, case.spec()), json.loads(json.dumps(state)), key=5, prefix=root.tokens)
        (reply,) = case.answers(order)
        assert reply.usage.prompt + reply.usage.cached <= root.tokens
        assert context.most is None or reply.usage.generated <= context.most


def check_a_reply_says_what_it_took(case: Case) -> None:
    orders = case.draws(24)
    for order, reply in zip(orders, case.answers(*orders), strict=True):
        node: Node = reply.value
        assert not case.keyed or node.key == order.key
        assert node.depth == 1
        assert node.tokens == reply.usage.generated == order.meter.generated
        assert reply.usage.calls >= (not node.failed)
        assert not (node.failed and (node.answer is not None or not node.done))
        assert node.done  # stop="end"
        assert node.tokens <= order.binding.max_tokens
        assert node.signals.get("mean_logprob", -1.0) <= 0


def check_equal_texts_have_equal_digests(case: Case) -> None:
    assert case.says is not None
    replies = [r for r in case.answers(*case.draws(32, stop=3), *case.draws(32)) if not r.value.failed]
    by_text: dict[Any, set[bytes]] = {}
    for reply in replies:
        ended = reply.value.done and not reply.value.signals.get("cut")
        by_text.setdefault((case.says(reply.state), ended), set()).add(reply.value.digest)
    assert all(len(digests) == 1 for digests in by_text.values())
    assert len(set.union(*by_text.values())) == len(by_text) > 1


def check_a_chunk_has_at_most_its_tokens(case: Case) -> None:
    for reply in case.answers(*case.draws(16, stop=5)):
        node = reply.value
        assert node.tokens <= 5
        assert node.done or node.tokens == 5 or node.signals.get("cut")
        assert node.done or node.answer is None


def check_chunks_lead_where_a_whole_greedy_draw_does(case: Case) -> None:
    assert case.says is not None
    (whole,) = case.answers(*case.draws(1, temperature=0.0))
    root, state = case.world.root(case.prompt)
    node, made, prefix = root, 0, root.tokens
    for key in range(1000):
        (reply,) = case.answers(case.order(Draw(node, case.spec(temperature=0.0, stop=4)), state, key=key))
        assert reply.usage.prompt + reply.usage.cached <= prefix
        node, state, made = reply.value, reply.state, made + reply.value.tokens
        prefix += node.tokens
        if node.done:
            break
    assert case.says(state) == case.says(whole.state)
    assert (node.answer, node.digest) == (whole.value.answer, whole.value.digest)
    assert made == whole.value.tokens
    assert node.depth == key + 1


def check_a_step_ends_with_its_delimiter(case: Case) -> None:
    assert case.says is not None and case.step is not None
    node, state = case.world.root(case.prompt)
    steps = 0
    for key in range(1000):
        before = case.says(state)
        (reply,) = case.answers(case.order(Draw(node, case.spec(stop="step")), state, key=key))
        node, state = reply.value, reply.state
        after = case.says(state)
        assert after.startswith(before)
        if node.done:
            break
        assert after[len(before) :].endswith(case.step)
        assert node.answer is None
        steps += 1
    assert node.done
    assert node.depth == steps + 1


def check_a_probe_ends_a_path_with_an_answer(case: Case) -> None:
    assert case.says is not None
    (chunk,) = case.answers(*case.draws(1, stop=3))
    if chunk.value.done:
        pytest.skip("this world's first draw ends at once")
    probe = Draw(chunk.value, case.spec(move="probe"))
    first, second = case.answers(*(case.order(probe, chunk.state, key=key) for key in (1, 2)))
    for reply in (first, second):
        assert reply.value.done
        assert reply.value.depth == 2
        assert reply.value.tokens == reply.usage.generated
        assert case.says(reply.state).startswith(case.says(chunk.state))
    assert first.value.digest == second.value.digest  # a probe is greedy
    (again,) = case.answers(case.order(Draw(chunk.value, case.spec(stop=3)), chunk.state, key=9))
    assert again.value.depth == 2  # the path goes on from the chunk


def check_a_draw_is_a_function_of_its_key(case: Case) -> None:
    first = case.answers(*case.draws(16))
    again = case.answers(*case.draws(8))
    same = sum(a.value.digest == b.value.digest for a, b in zip(first, again, strict=False))
    assert same >= 8 * (1 - case.slack)
    assert len({reply.value.digest for reply in first}) > 1


def check_a_cancelled_draw_stops_and_is_counted(case: Case) -> None:
    """What was generated is on the meters, but for what each may have been ahead."""
    before = 0 if case.made is None else case.made()

    async def work() -> list[Order]:
        orders = case.draws(12, first=100)
        tasks = []
        for order in orders:
            tasks.append(asyncio.create_task(order.send(case.world)))
            await asyncio.sleep(0)
            order.meter.moved = lambda count, task=tasks[-1]: task.cancel() or True
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(result, asyncio.CancelledError) for result in results) >= 10
        await case.draws(1, first=200)[0].send(case.world)  # the world goes on
        return orders

    orders = case.run(work)
    if case.made is not None:
        (reply,) = case.answers(*case.draws(1, first=201))
        other = case.draws(1, first=200)[0]
        (again,) = case.answers(other)
        made = case.made() - before - reply.usage.generated - 2 * again.usage.generated
        counted = sum(order.meter.generated for order in orders)
        assert counted <= made <= counted + sum(order.meter.ahead for order in orders)


def check_64_answers_at_once_are_counted_once(case: Case) -> None:
    before = 0 if case.made is None else case.made()
    orders = case.draws(64, first=300)
    replies = case.answers(*orders)
    total = sum(reply.usage.generated for reply in replies)
    assert [order.meter.generated for order in orders] == [reply.usage.generated for reply in replies]
    assert case.made is None or case.made() - before == total


def check_a_score_is_one_for_one_text(case: Case) -> None:
    assert case.scorer is not None
    (drawn,) = case.answers(*case.draws(1))
    ask = Score(drawn.value, case.scorer)
    replies = case.answers(*(case.order(ask, drawn.state, key=key, prefix=30) for key in (7, 7, 7)))
    assert len({reply.value for reply in replies}) == 1
    assert not math.isnan(replies[0].value)
    assert all(reply.usage.calls >= 1 for reply in replies)
    if not case.strict:
        return
    failed = Node(b"f", 1, True, None, b"f", 0, failed=True)
    (reply,) = case.answers(case.order(Score(failed, case.scorer), drawn.state, key=8))
    assert math.isnan(reply.value)


def check_what_a_world_cannot_do_is_an_error(case: Case) -> None:
    root, state = case.world.root(case.prompt)
    with pytest.raises((PlanError, InputError)):
        case.answers(case.order(Draw(root, case.spec(move="fold")), state))


def check_a_blend_is_an_error(case: Case) -> None:
    root, state = case.world.root(case.prompt)
    with pytest.raises((PlanError, InputError)):
        case.answers(case.order(Blend((root, root), case.spec()), state))


def check_live_equals_replay(case: Case) -> None:
    arms = [f"vote(n=6, model={case.model})", f"first_finish(n=4, k=2, model={case.model})"]
    if case.step is not None and case.scorer is not None:
        arms.append(f"beam(n=4, m=2, model={case.model}, by={case.scorer})")
    root, state = case.world.root(case.prompt)
    for arm in arms:
        plan, samples = parse(arm).plan, Memory()
        live = case.run(partial(_searched, case.world, plan, root, state, samples))
        script = samples.replies.__getitem__
        again = replay(plan(root, Random(1)), root, lambda order, at=script: at(order.key), case.world.bindings)
        assert live.choice is not None and again.choice is not None
        assert live.choice.node.digest == again.choice.node.digest
        assert (live.cost, live.usage, live.ticks, live.asks) == (again.cost, again.usage, again.ticks, again.asks)


async def _searched(world: Any, plan: Callable[[Node, Random], Plan], root: Node, state: Any, samples: Memory) -> Any:
    async with Memo(world, samples) as memo:
        memo.root(root, state)
        return await search(plan(root, Random(1)), root, memo)


def check_a_served_plan_keeps_its_cap(case: Case) -> None:
    root, state = case.world.root(case.prompt)
    prices = case.world.bindings[case.model].prices
    cap = prices.of_prompt(root.tokens, root.tokens) + prices.of_generated(root.tokens, 4)

    async def work() -> Any:
        strategy = parse(f"vote(n=4, model={case.model})")
        return await serve(strategy.plan(root, Random(0)), root, state, case.world, cap=cap)

    outcome = case.run(work)
    late = prices.of_generated(root.tokens, 4 * 8)  # of four draws, until each has heard that it shall stop
    assert outcome.cost <= cap + late
    assert outcome.ended == "cap"


# Each check, and what a world must be able to do for it.
CHECKS: dict[Callable[[Case], None], Callable[[Case], bool]] = {
    check_every_role_has_a_binding_and_a_card: lambda case: True,
    check_a_root_bounds_the_prompt: lambda case: True,
    check_a_context_is_heeded_or_refused_by_name: lambda case: True,
    check_a_reply_says_what_it_took: lambda case: True,
    check_equal_texts_have_equal_digests: lambda case: case.says is not None,
    check_a_chunk_has_at_most_its_tokens: lambda case: case.continues,
    check_chunks_lead_where_a_whole_greedy_draw_does: lambda case: case.continues and case.says is not None,
    check_a_step_ends_with_its_delimiter: lambda case: case.step is not None,
    check_a_probe_ends_a_path_with_an_answer: lambda case: case.probes and case.says is not None,
    check_a_draw_is_a_function_of_its_key: lambda case: case.repeats,
    check_a_cancelled_draw_stops_and_is_counted: lambda case: case.cancels,
    check_64_answers_at_once_are_counted_once: lambda case: case.keyed,
    check_a_score_is_one_for_one_text: lambda case: case.scorer is not None,
    check_what_a_world_cannot_do_is_an_error: lambda case: case.strict,
    check_a_blend_is_an_error: lambda case: case.says is not None,
    check_live_equals_replay: lambda case: case.keyed,
    check_a_served_plan_keeps_its_cap: lambda case: case.serves,
}


def every_check() -> Any:
    """A decorator: the test is run for each check; it calls `run_check`."""
    return pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))


def run_check(check: Callable[[Case], None], case: Case) -> None:
    """Run a check on a world that can do what it needs."""
    if not CHECKS[check](case):
        pytest.skip("this world does not say that it can")
    check(case)
