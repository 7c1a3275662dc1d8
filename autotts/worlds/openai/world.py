"""Models behind servers in OpenAI's form, as a world.

Every draw is one streamed request with a seed of its own, so that it can be cancelled and repeated. A node's state is
a dict that JSON can hold (see `Partial`); that of a root has its prompt only.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial as bound
from typing import Any, TypeAlias

from autotts.core.cost import Usage
from autotts.core.node import Node
from autotts.core.plan import Blend, Score, Spec
from autotts.core.world import Binding, Meter, Reply, Request
from autotts.errors import BackendError, InputError, PlanError
from autotts.worlds.context import NOTHING, Context, checked, root_of
from autotts.worlds.models.entry import Entry
from autotts.worlds.openai.capabilities import find_way
from autotts.worlds.openai.forms import (
    Form,
    Wish,
    check,
    check_asked,
    form,
    goes_on,
    lead_of,
    name_of,
    pieces,
    rendering,
    stuck,
)
from autotts.worlds.openai.kept import Kept
from autotts.worlds.openai.look import gone_from
from autotts.worlds.openai.nodes import failed_node, node_of
from autotts.worlds.openai.refusals import overflow
from autotts.worlds.openai.relaying import Relayed
from autotts.worlds.openai.scores import Scores, most_scored
from autotts.worlds.openai.sending import Sender, not_served
from autotts.worlds.openai.stream import Said
from autotts.worlds.openai.texts import Partial, fewest_tokens, most_tokens, question, said_of, spoken
from autotts.worlds.relay import Sink
from autotts.worlds.scoring import Marked, Text, mark
from autotts.worlds.scoring import check as check_scoring
from autotts.worlds.servers import Fault, Fleet, Standing

Looking: TypeAlias = Callable[[Mapping[str, Entry]], Awaitable[None]]


class OpenAI:
    """The world; made by `open_openai`. It answers inside `async with world.session()`.

    Attributes
    ----------
    models, scorers
        Roles that draw, and roles that score.
    cards
        Each role's card.
    entries
        What each role was opened with.
    """

    def __init__(
        self,
        entries: Mapping[str, Entry],
        *,
        read: Callable[[str], str | None],
        instruction: str,
        unit: str,
        fleet: Callable[[], Fleet],
        looking: Looking | None = None,
    ) -> None:
        self.entries = dict(entries)
        self.models = tuple(role for role, entry in entries.items() if entry.draws)
        self.scorers = tuple(role for role, entry in entries.items() if not entry.draws)
        self.cards = {role: entry.card for role, entry in entries.items()}
        self._read = read
        self._instruction = instruction
        self._bindings = {role: _binding(entry, instruction, unit) for role, entry in entries.items()}
        self._new_fleet = fleet
        self._looking = looking
        self._sender: Sender | None = None
        self._scores = Scores()
        self._ways: dict[str, tuple[str, str]] = {}  # and what was said to one that was refused
        self._finding = asyncio.Lock()
        self._lengths = Kept[int]()
        self._rendered = Kept[tuple[int, ...]]()

    @property
    def bindings(self) -> Mapping[str, Binding]:
        """Each role's binding."""
        return self._bindings

    @asynccontextmanager
    async def session(self) -> AsyncIterator[OpenAI]:
        """The scope, in one event loop, in which it answers; its connections end with it."""
        if self._sender is not None:
            raise RuntimeError("a session of this world is open already")
        if self._looking is not None:
            await self._looking(self.entries)
        async with self._new_fleet() as fleet:
            fleet.know(server for entry in self.entries.values() for server in entry.servers)
            self._sender, self._scores, self._finding = Sender(fleet), Scores(), asyncio.Lock()
            try:
                yield self
            finally:
                self._sender = None
                await self._scores.close()

    def root(self, prompt: str, context: Context = NOTHING) -> tuple[Node, dict[str, Any]]:
        """The node of a prompt, whose tokens are the most that it takes with any of the models, and its state.

        Raises
        ------
        InputError
            When it cannot fit into the context of one of them, or one of them cannot heed what is said beside it.
        """
        _sound(prompt)
        context = checked(context)
        if context.most is not None and all(context.most >= self.entries[role].max_tokens for role in self.models):
            context = replace(context, most=None)
        path = Partial.root(prompt, context)
        for entry in self.entries.values():
            if entry.draws:
                check_asked(entry, path)
            if entry.context is not None and fewest_tokens(path, entry.context) >= entry.context:
                raise InputError(
                    f"the prompt {prompt[:40]!r}... has {entry.context} words or more; model {entry.name!r} reads up "
                    f"to {entry.context} tokens, the answer included: shorten it or leave this model out"
                )
        most = max(most_tokens(entry, path, self._instruction) for entry in self.entries.values())
        return root_of(prompt, most, context), path.asked()

    async def answer(self, order: Request, states: tuple[Any, ...], meter: Meter) -> Reply:
        """Answer one order; cancelling the call closes its stream, which ends the work on the server."""
        sender, ask = self._open, order.ask
        meter.waiting = True
        if type(ask) is Score:
            return await self._score(sender, order, Partial.of(states[0]), meter)
        if type(ask) is Blend:
            raise PlanError("models behind servers cannot blend: they read one text at a time")
        entry = self.entries[ask.spec.model]
        check(entry, ask.spec)
        return await self._draw(sender, order, entry, Partial.of(states[0]), meter)

    # ------------------------------------------------------------------ requests handed on

    def form(self, spec: Spec, state: Mapping[str, Any], seed: int) -> Form:
        """The request of a draw of a whole answer, as `answer` would make it; its usage comes at its end."""
        entry, path = self.entries[spec.model], Partial.of(state)
        check(entry, spec)
        made = form(
            Wish(entry, path, spec, self._instruction, seed, self._room(self._bindings[spec.model], entry, path))
        )
        return replace(made, body=made.body | {"stream_options": {"include_usage": True}})

    async def relay(
        self, role: str, path: str, body: Mapping[str, Any], sink: Sink, *, own: Collection[str] = ()
    ) -> None:
        """Hand a request on to one of a model's servers, and its answer back; see `Relay`."""
        await Relayed(self._open, self.entries[role], path, body, own).to(sink)

    async def look(self) -> dict[str, str]:
        """Why each role cannot be asked now, in words; empty where it can. Each server is asked within 3 s."""
        async with self._new_fleet() as fleet:
            return await gone_from(self.entries, fleet)

    def standings(self) -> tuple[Standing, ...]:
        """How each server stands; none outside a session."""
        return () if self._sender is None else self._sender.fleet.standings()

    @property
    def _open(self) -> Sender:
        if self._sender is None:
            raise RuntimeError("models behind servers answer inside `async with world.session()`")
        return self._sender

    # ------------------------------------------------------------------ draws

    async def _draw(self, sender: Sender, order: Request, entry: Entry, path: Partial, meter: Meter) -> Reply:
        room = self._room(order.binding, entry, path)
        if room <= 0:
            most = min(entry.max_tokens, path.context.most or entry.max_tokens)
            why = f"no room is left on this path: {path.made} tokens of {most} were generated"
            return self._failed(order, path, meter, why, {"cut": 1.0})
        try:
            wish = await self._wish(sender, order, entry, path, room, meter)
            asked = form(wish)
            said, seconds = await sender.draw(entry, asked, meter, most=order.prefix + room)
        except Fault as fault:
            if fault.status == 404:
                raise await not_served(sender, entry, fault) from None
            over = overflow(fault.said)
            why = str(fault)
            if over is not None:
                why = f"draw {order.key.hex()} of {path.prompt[:40]!r}: {over.words(1)} ({fault})"
            signals = {} if fault.status is None else {"status": float(fault.status)}
            if fault.wait:
                signals["wait"] = fault.wait
            return self._failed(order, path, meter, why, signals)
        self._learn(entry, path, wish, said)
        ask = order.ask
        node, state = node_of(wish, asked, said, key=order.key, depth=ask.node.depth + 1, read=self._read)
        prompt = order.prefix if said.prompt is None else said.prompt
        usage = Usage(prompt - said.cached, said.cached, said.made, meter.lost, meter.calls)
        return Reply(node, usage, seconds, state)

    async def _wish(self, sender: Sender, order: Request, entry: Entry, path: Partial, room: int, meter: Meter) -> Wish:
        """What to ask for, and in what way a path that has begun goes on."""
        spec = order.ask.spec
        seed = int.from_bytes(order.key[:4], "little") & 0x7FFFFFFF
        wish = bound(Wish, entry, path, spec, self._instruction, seed, room)
        if not goes_on(path, spec):
            return wish()
        way = await self._way(sender, entry, meter)
        lead = lead_of(entry, path, spec)
        if path.fresh and not lead:
            return wish(keep_ids=way == "ids")
        if way == "ids":
            ids = await self._ids(sender, entry, path, lead)
            return wish(way=way, ids=ids, keep_ids=True)
        return wish(way=way)

    async def _way(self, sender: Sender, entry: Entry, meter: Meter) -> str:
        """How this model's server goes on with a partial answer.

        It is found out the first time that it is needed; what that takes is charged to who needed it.
        """
        way, why = entry.template.continues, ""
        if way == "auto":
            async with self._finding:
                if entry.name not in self._ways:
                    way, took, why = await find_way(sender, entry)
                    self._ways[entry.name] = way, why
                    meter.lost += took
            way, why = self._ways[entry.name]
        if way == "none":
            raise stuck(entry, why)
        if way == "text" and entry.template.form == "chat":
            raise stuck(entry, "its template is a chat's, whose text is not known here")
        return way

    async def _ids(self, sender: Sender, entry: Entry, path: Partial, lead: str) -> tuple[int, ...]:
        """The token ids of a path and of what is written after it."""
        ids = path.ids if path.by == entry.name else None
        if ids is None:
            ids = await self._prompt_ids(sender, entry, path)
            said = said_of(path)
            ids += await self._known(sender, entry, said) if said else ()
        return ids + await self._known(sender, entry, lead) if lead else ids

    async def _prompt_ids(self, sender: Sender, entry: Entry, path: Partial) -> tuple[int, ...]:
        name = entry.name, "\0" + path.name
        ids = self._rendered.get(name)
        if ids is None:
            ids = await self._tokenized(sender, entry, rendering(entry, path, self._instruction))
            self._rendered.keep(name, ids, len(ids))
        return ids

    async def _known(self, sender: Sender, entry: Entry, text: str) -> tuple[int, ...]:
        name = entry.name, text
        ids = self._rendered.get(name)
        if ids is None:
            ids = await self._tokenized(sender, entry, pieces(entry, text))
            self._rendered.keep(name, ids, len(ids) + len(text))
        return ids

    async def _tokenized(self, sender: Sender, entry: Entry, asked: Mapping[str, Any]) -> tuple[int, ...]:
        ids = await sender.ids(entry, asked)
        if ids is None:
            raise stuck(entry, "it has no /tokenize, which a probe or a nudge by token ids needs")
        return ids

    def _room(self, binding: Binding, entry: Entry, path: Partial) -> int:
        """How many tokens may still be generated on a path."""
        room = min(binding.max_tokens, entry.max_tokens, path.context.most or entry.max_tokens) - path.made
        if entry.context is None:
            return room
        whole = path.whole if path.by == entry.name else 0
        whole = whole or self._lengths.get((entry.name, path.name)) or 0
        return min(room, entry.context - whole)

    def _learn(self, entry: Entry, path: Partial, wish: Wish, said: Said) -> None:
        """Remember how long a prompt is, so that what is asked for fits into the context."""
        if path.fresh and wish.way == "fresh" and said.prompt is not None and entry.context is not None:
            self._lengths.keep((entry.name, path.name), said.prompt)

    def _failed(self, order: Request, path: Partial, meter: Meter, why: str, signals: Mapping[str, float]) -> Reply:
        """A draw that came to nothing is data; what was lost on it is charged."""
        ask = order.ask
        node, state = failed_node(path, why, key=order.key, depth=ask.node.depth + 1, signals=signals)
        prompt = (order.prefix if meter.prompt is None else meter.prompt) if meter.calls else 0
        return Reply(node, Usage(prompt=prompt, cancelled=meter.lost, calls=meter.calls), 0.0, state)

    # ------------------------------------------------------------------ scores

    async def _score(self, sender: Sender, order: Request, path: Partial, meter: Meter) -> Reply:
        node, entry = order.ask.node, self.entries[order.ask.by]
        if node.failed:
            return Reply(math.nan, Usage())
        text = spoken(path.text) or path.thought or path.text
        done = node.done and not node.signals.get("cut")
        scored = Text(question(path), text, done, self._step(path, entry))
        seed = int.from_bytes(order.key[:4], "little") & 0x7FFFFFFF
        ask = bound(sender.ask, entry, meter=meter)
        begin = bound(mark, entry, scored, ask, seed=seed)
        try:
            marked: Marked = await self._scores.get((order.binding.id, node.digest), begin)
        except Fault as fault:
            if fault.status == 404:
                raise await not_served(sender, entry, fault) from None
            raise BackendError(f"scorer {entry.name!r}: {fault}") from fault
        usage = marked.usage
        if not usage.calls:  # it failed before anything was answered
            prompt = order.prefix if meter.calls else 0
            return Reply(marked.value, Usage(prompt=prompt, cancelled=meter.lost, calls=meter.calls))
        calls = max(1, meter.calls - usage.calls + 1)  # its prompt holds those of all of its requests
        usage = Usage(usage.prompt, usage.cached, usage.generated, meter.lost, calls)
        return Reply(marked.value, usage)

    def _step(self, path: Partial, scorer: Entry) -> str:
        """The delimiter of the model that wrote a text."""
        for entry in self.entries.values():
            if entry.name == path.by:
                return entry.template.step
        return scorer.template.step


def _sound(prompt: str) -> None:
    """An `InputError` where a prompt is none that can be sent."""
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"the prompt {prompt[:40]!a}...: expected text, found half a character (a lone surrogate) at "
            f"{error.start}: is it in UTF-8?"
        ) from None
    if not prompt.strip():
        raise InputError(f"the prompt {prompt[:40]!r}: expected a question, found nothing")


def _binding(entry: Entry, instruction: str, unit: str) -> Binding:
    most, stretch = (entry.max_tokens, 1) if entry.scoring is None else most_scored(entry)
    return Binding(
        id=name_of(entry, instruction),
        model=entry.card.name,
        prices=entry.card.prices(unit),
        max_tokens=most,
        stretch=stretch,
    )


@contextmanager
def open_openai(
    entries: Mapping[str, Entry],
    *,
    read: Callable[[str], str | None],
    instruction: str = "",
    unit: str = "tokens",
    fleet: Callable[[], Fleet] = Fleet,
    looking: Looking | None = None,
) -> Iterator[OpenAI]:
    """The world of some models behind servers.

    Parameters
    ----------
    entries
        By role; an entry with `scoring` scores, any other draws.
    read
        The task's reader: text -> canonical answer.
    instruction
        What the task says of the form of answers (`Task.instruction`).
    unit
        What prices are in.
    fleet
        Makes the fleet of a session; it is entered in the session's event loop.
    looking
        What sees, as a session begins, whether the servers are there (`look`); None does not look.

    Raises
    ------
    InputError
        When an entry has no server, or its card no price in the unit.
    """
    for role, entry in entries.items():
        if not entry.servers:
            raise InputError(f"model {role!r}: expected at least one server (`url`), found none")
        if entry.scoring is not None:
            check_scoring(entry)
    yield OpenAI(entries, read=read, instruction=instruction, unit=unit, fleet=fleet, looking=looking)
