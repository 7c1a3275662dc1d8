"""A request whose arm is one plain draw, answered by the backend itself: what is sent, and what it came to."""

from __future__ import annotations

import json
import time
from bisect import bisect_right
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from autotts.core.cost import Prices, Usage
from autotts.core.node import Node
from autotts.core.plan import Draw, Spec
from autotts.engine.orders import Keys
from autotts.errors import BackendError, InputError
from autotts.serve.guess import Guess
from autotts.serve.obey import Ruled, field_of, priced
from autotts.serve.refused import Busy, Refused
from autotts.serve.reply import Reply
from autotts.serve.request import CHAT
from autotts.serve.said import Block, Form, Spent, Text, failure
from autotts.serve.sending import HangUp, ending
from autotts.serve.service import Service
from autotts.serve.tally import Tally
from autotts.serve.through import Gathered, Streamed, with_block
from autotts.strategies.one import One
from autotts.worlds.relay import Relay
from autotts.worlds.servers.fault import BUSY, REQUEST, Dead, Fault

_PATHS: Final = {CHAT: "/chat/completions", "text": "/completions"}


@dataclass(frozen=True, slots=True)
class Passage:
    """What is sent for one plain draw.

    `whole` is the most tokens that its prompt can be, `most` those that all its answers can have, `lowered`: by the
    cap; `own` are the fields that the client did not ask for.
    """

    relay: Relay
    role: str
    path: str
    body: Mapping[str, Any]
    whole: int
    most: int
    lowered: bool
    own: Collection[str]


def passage(service: Service, ruled: Ruled) -> Passage | None:
    """What to send where the backend itself can answer; None where the engine is to make the draw.

    Raises
    ------
    Refused
        400 where only the backend's own form could honour the request, and it cannot be asked in it.
    """
    strategy, request = ruled.strategy, ruled.request
    if not isinstance(strategy, One):
        return None
    relay = service.relays[strategy.model]
    special = request.plainly or request.media
    if relay is None:
        if special:
            name = special.partition(":")[0].partition(" ")[0]
            raise Refused(400, f"{special}: the model {strategy.model!r} cannot honour it; leave it out", param=name)
        return None
    if special or ruled.direct:
        path, body, whole = _as_it_is(relay, ruled, strategy)
    else:
        path, body, whole = _templated(service, relay, ruled, strategy)
    if path != _PATHS[request.endpoint]:
        return None
    most = _within(body, ruled.cap, service.world.bindings[strategy.model].prices, whole)
    if most < 1 and not special:
        return None
    asked = body[_limit(body)]
    most, lowered = (asked, False) if most >= asked else (max(1, most), True)
    sent = _streamed({**body, _limit(body): most}, request.stream)
    own = sent.keys() - request.body.keys() - {"model", "messages", "prompt", "stream"}
    return Passage(relay, strategy.model, path, sent, whole, most * (body.get("n") or 1), lowered, own)


def _templated(service: Service, relay: Relay, ruled: Ruled, strategy: One) -> tuple[str, dict[str, Any], int]:
    """The request as the engine would make the same draw."""
    try:
        node, state = service.world.root(ruled.request.prompt, ruled.context)
    except InputError as error:
        raise Refused(400, str(error), param=field_of(str(error))) from None
    spec = Spec(model=strategy.model, temperature=strategy.temperature, top_p=strategy.top_p)
    form = relay.form(spec, state, _seed(service, node, spec))
    return form.path, dict(form.body), node.tokens


def _as_it_is(relay: Relay, ruled: Ruled, strategy: One) -> tuple[str, dict[str, Any], int]:
    """The client's own request, but for the name of the model; its own fields win over those of the entry."""
    request, entry = ruled.request, relay.entries[strategy.model]
    given = {name: value for name, value in request.body.items() if value is not None}
    body = {**entry.extra, **given, "model": entry.served}
    named = _limit(given)
    body.setdefault(named, entry.max_tokens)
    return _PATHS[request.endpoint], body, _most_tokens(given.get("messages", given.get("prompt")))


def _most_tokens(words: Any) -> int:
    """The most tokens that a prompt in any form can be: a token is a byte at least."""
    if isinstance(words, str):
        return len(words) if words.isascii() else len(words.encode("utf-8", "replace"))
    if isinstance(words, Mapping):
        return sum(map(_most_tokens, words.values())) + 16
    return sum(map(_most_tokens, words)) if isinstance(words, list) else 1


def _within(body: Mapping[str, Any], cap: int | None, prices: Prices, whole: int) -> int:
    """The most tokens of an answer that its cap leaves room for, up to those that were asked for."""
    most, choices = int(body[_limit(body)]), body.get("n") or 1
    if cap is None:
        return most
    room = cap - prices.of_prompt(whole, whole)

    def cost(tokens: int) -> int:
        return prices.of_generated(whole, tokens * choices)

    return most if cost(most) <= room else bisect_right(range(1, most + 1), room, key=cost)


def _limit(body: Mapping[str, Any]) -> str:
    """The field that limits an answer."""
    return "max_completion_tokens" if "max_completion_tokens" in body else "max_tokens"


def _streamed(body: dict[str, Any], stream: bool) -> dict[str, Any]:
    """The request as a stream that ends with its usage, or at once."""
    if stream:
        return {**body, "stream": True, "stream_options": {**body.get("stream_options", {}), "include_usage": True}}
    return {name: value for name, value in body.items() if name not in ("stream", "stream_options")}


def _seed(service: Service, node: Node, spec: Spec) -> int:
    """That of the draw's key, so that what is passed through is what the engine would draw."""
    _, key = Keys(service.world.bindings).of(Draw(node, spec))
    return int.from_bytes(key[:4], "little") & 0x7FFFFFFF


# ---------------------------------------------------------------- on its way


async def carry(
    service: Service, ruled: Ruled, way: Passage, reply: Reply, gone: HangUp, tally: Tally, told: Block
) -> str:
    """Have the backend answer, and hand on what it says; how it ended.

    Raises
    ------
    Refused
        What the backend refuses, with its own status and words.
    BackendError
        Nobody answered, and nothing was sent to the client.
    """
    choices, cut = ruled.request.body.get("n") or 1, 0

    def spent(usage: Usage) -> Spent:
        return Spent({way.role: usage}, priced(service, {way.role: usage}), choices, cut)

    def beside(usage: Usage) -> Block:
        return replace(told, ended="cap") if way.lowered and usage.generated >= way.most else told

    def telling(usage: Usage) -> dict[str, Any]:
        return beside(usage).told(spent(usage))

    sink: Streamed | Gathered = Gathered()
    if ruled.request.stream:
        sink = Streamed(reply, told.headers(), telling, tell_usage=ruled.request.tell_usage)
    since, ended = time.monotonic(), ""
    tally.draws += choices
    try:
        ended = await _until(way, sink, ruled.until, gone)
        if isinstance(sink, Gathered):
            sink.end()
        elif ended == "returned" and not sink.whole:
            ended = "failed"
    finally:
        usage = _usage(service.guesses[way.role], way, sink, time.monotonic() - since, ended)
        tally.add(way.role, usage)
        tally.cost += priced(service, {way.role: usage})
        cut = 0 if ended == "returned" else choices
        if ended or sink.count.begun:
            tally.cancelled += cut
        else:  # nobody answered
            tally.draws -= choices
    if ended == "returned":
        ended = beside(usage).ended
    if isinstance(sink, Streamed):
        await _end_stream(sink, ruled, replace(told, ended=ended), spent(usage), reply)
    elif ended in ("returned", "cap"):
        await reply.whole(200, with_block(sink.body, telling(usage)), beside(usage).headers(spent(usage)))
    elif ended == "deadline":
        form, late = Form(ruled.request.endpoint, ruled.request.body["model"]), replace(told, ended=ended)
        await reply.whole(200, form.whole(Text("", cut=True), late, spent(usage)), late.headers(spent(usage)))
    return ended


async def _until(way: Passage, sink: Streamed | Gathered, until: float | None, gone: HangUp) -> str:
    """Relay until the answer ends, the client hangs up, or its time is over; which of them."""
    try:
        return await ending(partial(way.relay.relay, way.role, way.path, way.body, sink, own=way.own), until, gone)
    except Fault as fault:
        if fault.status == 404:  # what the policy names is not there: no fault of who asks
            raise BackendError(str(fault)) from None
        if fault.status == 503 and not fault.wait:
            raise Dead(str(fault)) from None
        raise refusal(fault) from None


def _usage(guess: Guess, way: Passage, sink: Streamed | Gathered, seconds: float, ended: str) -> Usage:
    """What the backend did: as it told, or no less than it will have done."""
    told = sink.count.usage
    if told is not None:
        guess.learn(told, whole=way.whole, seconds=seconds, events=sink.count.events)
        return told
    if not ended and not sink.count.begun:
        return Usage()  # nobody answered
    return guess.usage(whole=way.whole, seconds=seconds, most=way.most, events=sink.count.events)


def refusal(fault: Fault) -> Exception:
    """What a client is told of a backend that did not answer."""
    if fault.kind == BUSY:
        return Busy(429, str(fault), max(1, round(fault.wait)), code="backend_busy")
    if fault.kind == REQUEST and fault.status is not None:
        return Refused(fault.status, fault.said or str(fault), code="backend_refused", raw=_own_words(fault.body))
    return BackendError(str(fault))


def _own_words(body: str) -> bytes:
    """A backend's refusal as it came, if it is in OpenAI's form; clients know its fields."""
    try:
        error = json.loads(body).get("error")
    except (ValueError, RecursionError, AttributeError):
        return b""
    sound = isinstance(error, dict) and isinstance(error.get("message"), str)
    return body.encode("utf-8", "replace") if sound else b""


async def _end_stream(sink: Streamed, ruled: Ruled, told: Block, spent: Spent, reply: Reply) -> None:
    """End a stream: as the backend did, or by ourselves where its time was over."""
    if told.ended in ("returned", "cap"):
        await sink.end()
    elif told.ended == "failed":
        broken = Refused(502, "the backend's answer broke off", code="backend_failed")
        await sink.end(failure(broken.body()))
    elif told.ended == "deadline":
        form = Form(ruled.request.endpoint, ruled.request.body["model"])
        if not reply.status:
            await reply.begin(told.headers())
        await reply.end(form.end(Text("", cut=True), told, spent, ruled.request.tell_usage))
