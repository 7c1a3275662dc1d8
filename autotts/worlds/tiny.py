"""The embedded models as a world: real drawing and scoring, with nothing to install and nothing to reach.

A draw's seed derives from its sample key, so a draw is the same whenever and beside whatever it is made. The state of
a node is its whole text, which begins with the prompt's line.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from autotts.core.cost import ModelCard, Usage
from autotts.core.node import Node
from autotts.core.plan import Blend, Score
from autotts.core.world import Binding, Meter, Reply, Request
from autotts.errors import BackendError, InputError, PlanError
from autotts.tiny.codec import ANSWER, END, FINAL, NEWLINE, encode, path_text
from autotts.tiny.engine import Completion, Engine, EngineBroken, Event
from autotts.tiny.engine import Request as Asked
from autotts.tiny.model import WEIGHTS, Model, load
from autotts.tiny.scorer import Scored, Scorer, open_scorer
from autotts.worlds.context import NOTHING, Context, bare, root_of
from autotts.worlds.shelf import NAMES, SCORERS, card_of, cards, folder_of, known, shelf

if TYPE_CHECKING:
    from autotts.worlds.servers.site import Standing

__all__ = ["NAMES", "SCORERS", "Tiny", "cards", "known", "open_tiny", "shelf"]

PROMPT_TOKENS: Final = 96
PATH_TOKENS: Final = 160  # that may be generated on one path
_FORMAT: Final = 1  # of the template, the delimiter and the limits; part of every binding


@dataclass(slots=True, eq=False)
class _Flight:
    """A request of this world and the coroutine that waits for it."""

    future: asyncio.Future[Any]
    meter: Meter | None = None


class Tiny:
    """The world; made by `open_tiny`.

    Attributes
    ----------
    models, scorers
        Roles that draw, and roles that score.
    cards
        Each role's card.
    """

    def __init__(
        self,
        engine: Engine,
        cards: Mapping[str, ModelCard],
        scorers: Mapping[str, Scorer],
        *,
        read: Callable[[str], str | None],
        unit: str,
    ) -> None:
        self.cards = dict(cards)
        self.scorers = tuple(scorers)
        self.models = tuple(role for role in cards if role not in scorers)
        self._engine = engine
        self._scorers = dict(scorers)
        self._read = read
        self._bindings = {role: _binding(card, unit, role in scorers) for role, card in cards.items()}

    @property
    def bindings(self) -> Mapping[str, Binding]:
        """Each role's binding."""
        return self._bindings

    def root(self, prompt: str, context: Context = NOTHING) -> tuple[Node, Any]:
        """The node of a prompt and its state; an `InputError` where the models cannot read it.

        Of what is said beside it they heed a limit of tokens, which the state holds then beside the text.
        """
        context = bare(context, "the embedded models", most=True)
        if context.most is not None and context.most >= PATH_TOKENS:
            context = replace(context, most=None)
        state = path_text(prompt)
        count = len(encode(state))
        if count > PROMPT_TOKENS:
            raise InputError(
                f"the prompt {prompt[:40]!r}... has {count} tokens; the embedded models read up to {PROMPT_TOKENS}"
            )
        return root_of(prompt, count, context), _state(state, context.most)

    async def look(self) -> dict[str, str]:
        """Why each role cannot be asked now: never, since they are in this process."""
        return dict.fromkeys(self.bindings, "")

    def standings(self) -> tuple[Standing, ...]:
        """None: there are no servers."""
        return ()

    async def answer(self, order: Request, states: tuple[Any, ...], meter: Meter) -> Reply:
        """Answer one order; cancelling the call frees the draw's place in its batch."""
        ask = order.ask
        if type(ask) is Score:
            return await self._score(order, _told(states[0])[0])
        if type(ask) is Blend:
            raise PlanError("the embedded models cannot blend: they read one text at a time")
        if ask.spec.move not in ("extend", "probe"):
            raise PlanError(f"the embedded models cannot {ask.spec.move!r}: they extend texts and probe for answers")
        if ask.spec.nudge:
            raise PlanError(f"the embedded models cannot be nudged ({ask.spec.nudge!r}): they know {FINAL!r} only")
        text, most = _told(states[0])
        return await self._draw(order, path_text(text), most, meter)

    # ------------------------------------------------------------------ draws

    async def _draw(self, order: Request, text: str, most: int | None, meter: Meter) -> Reply:
        spec, path = order.ask.spec, encode(text)
        probing = spec.move == "probe"
        if probing:
            path = (*path, ANSWER)
        made = len(path) - path.index(NEWLINE) - 1
        limit = PATH_TOKENS if most is None else most
        room = min(limit, order.binding.max_tokens) - made
        if room <= 0:
            return _reply(order, _state(text, most), made=0, failed=True)
        if probing:
            meter.add(1)
        asked = Asked(
            path,
            seed=int.from_bytes(order.key[:8], "little"),
            temperature=0.0 if probing else spec.temperature,
            top_p=1.0 if probing else spec.top_p,
            stop="end" if probing else spec.stop,
            max_new=room,
        )
        done = await self._complete(self.cards[spec.model].name, asked, meter)
        state = _state(text + FINAL * probing + done.text, most)
        return self._drawn(order, state, done, cut=made + len(done.ids) >= limit)

    def _drawn(self, order: Request, state: Any, done: Completion, cut: bool) -> Reply:
        ended, (text, _) = done.finish == "end", _told(state)
        signals = {"mean_logprob": math.fsum(done.logprobs) / len(done.logprobs)}
        if cut and not ended:
            signals["cut"] = 1.0
        return _reply(
            order,
            state,
            made=len(done.ids) + (order.ask.spec.move == "probe"),
            ended=ended,
            done=ended or cut,
            answer=self._read(text) if ended else None,
            signals=signals,
        )

    async def _complete(self, model: str, asked: Asked, meter: Meter) -> Completion:
        flight = _Flight(asyncio.get_running_loop().create_future(), meter)
        before = meter.generated
        try:
            ticket = self._engine.submit(model, asked, self._arrive, watched=meter.moved is not None, tag=flight)
        except EngineBroken as error:
            raise _broken(error) from error
        try:
            done: Completion = await flight.future
        except asyncio.CancelledError:
            ticket.cancel()
            meter.generated = max(meter.generated, before + ticket.reported)  # what is on its way here
            meter.ahead = 1  # the step that runs now
            raise
        return done

    def _arrive(self, events: Sequence[Event]) -> None:
        """In a worker's thread: wake each event loop once for all that is new."""
        by_loop: dict[asyncio.AbstractEventLoop, list[Event]] = {}
        for event in events:
            by_loop.setdefault(event.ticket.tag.future.get_loop(), []).append(event)
        for loop, own in by_loop.items():
            _call(loop, self._land, own)

    def _land(self, events: Sequence[Event]) -> None:
        """In the event loop: count tokens and wake who waits."""
        for event in events:
            flight: _Flight = event.ticket.tag
            if flight.future.done():
                continue
            if event.written and flight.meter is not None:
                flight.meter.add(event.written)
            if event.error is not None:
                flight.future.set_exception(_broken(event.error))
            elif event.done is not None and not flight.future.done():
                if event.done.finish == "cancelled":
                    flight.future.cancel()
                else:
                    flight.future.set_result(event.done)

    # ------------------------------------------------------------------ scores

    async def _score(self, order: Request, text: str) -> Reply:
        node, scorer = order.ask.node, self._scorers[order.ask.by]
        usage = Usage(prompt=order.prefix, calls=1)
        if node.failed:
            return Reply(math.nan, usage)
        path = encode(path_text(text))
        if node.done and not node.signals.get("cut"):
            path = (*path, END)
        value = scorer.known(path)
        if value is None:
            flight = _Flight(asyncio.get_running_loop().create_future())
            try:
                scorer.submit(path, self._scored, flight)
                value = await flight.future
            except EngineBroken as error:
                raise _broken(error) from error
            except asyncio.CancelledError:
                scorer.withdraw(path, flight)
                raise
        return Reply(value, usage)

    def _scored(self, scored: Sequence[Scored]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[Scored]] = {}
        for one in scored:
            by_loop.setdefault(one.tag.future.get_loop(), []).append(one)
        for loop, own in by_loop.items():
            _call(loop, _land_scores, own)


def _land_scores(scored: Sequence[Scored]) -> None:
    for one in scored:
        if one.tag.future.done():
            continue
        if one.error is not None:
            one.tag.future.set_exception(_broken(one.error))
        else:
            one.tag.future.set_result(one.value)


def _call(loop: asyncio.AbstractEventLoop, land: Callable[[Any], None], news: Any) -> None:
    try:
        loop.call_soon_threadsafe(land, news)
    except RuntimeError:
        if not loop.is_closed():  # a loop that is closed has nobody who waits
            raise


def _broken(error: BaseException) -> BackendError:
    broken = BackendError(f"the embedded models stopped working: {error!r}; this is a defect, please report it")
    broken.__cause__ = error
    return broken


def _state(text: str, most: int | None) -> Any:
    """What stands for a path: its text, and the most tokens of its answer where a request says that."""
    return text if most is None else {"text": text, "most": most}


def _told(state: Any) -> tuple[str, int | None]:
    """The text of a path, and the most tokens of its answer."""
    return (state, None) if isinstance(state, str) else (state["text"], state["most"])


def _reply(
    order: Request,
    state: Any,
    *,
    made: int,
    ended: bool = False,
    done: bool = True,
    answer: str | None = None,
    failed: bool = False,
    signals: Mapping[str, float] | None = None,
) -> Reply:
    """A drawn node; texts that differ only in being complete have different digests."""
    text, _ = _told(state)
    digest = blake2b(text.encode() + b"<end>" * ended, digest_size=16).digest()
    node = Node(order.key, order.ask.node.depth + 1, done, answer, digest, made, failed, signals or {})
    return Reply(node, Usage(prompt=order.prefix, generated=made, calls=1), 0.0, state)


@contextmanager
def open_tiny(
    names: Sequence[str],
    scorers: Sequence[str] = (),
    *,
    read: Callable[[str], str | None],
    unit: str = "flops",
    weights: Path = WEIGHTS,
) -> Iterator[Tiny]:
    """The world of some models and scorers; its threads end with the scope.

    Parameters
    ----------
    names, scorers
        Roles: see `DRAWING` and `SCORING`.
    read
        The task's reader: text -> canonical answer.
    unit
        What prices are in.
    weights
        The folder of the models' folders.
    """
    folders = {role: folder_of(role, weights) for role in (*names, *scorers)}
    models: dict[str, Model] = {}
    for folder in folders.values():
        if folder.name not in models:
            models[folder.name] = load(folder)
    with Engine(models) as engine:
        found = {role: open_scorer(engine, folders[role].name, folders[role]) for role in scorers}
        yield Tiny(engine, {r: card_of(f) for r, f in folders.items()}, found, read=read, unit=unit)


def _binding(card: ModelCard, unit: str, scores: bool) -> Binding:
    return Binding(
        id=f"tiny/{card.name}@{card.revision}/{_FORMAT}",
        model=card.name,
        prices=card.prices(unit),
        max_tokens=0 if scores else PATH_TOKENS,
    )
