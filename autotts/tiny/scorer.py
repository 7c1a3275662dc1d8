"""The process reward model: how likely it is that every token of a solution is valid.

The model is a causal language model of its own; P(token valid) = sigmoid(a * logp(token) + b), trained on the labels
of an exact checker. A text's score is the product over its solution tokens. Each text is scored once however often
it is drawn, and goes on from what was read of the texts before it; since every token is one row of one step, what is
kept never shows in a score.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event as Flag
from threading import Lock
from typing import Any, Final

from autotts.errors import InputError
from autotts.tiny.codec import NEWLINE
from autotts.tiny.engine import Engine, Event, Request, Ticket

_MOST: Final = 200_000  # scores kept


@dataclass(frozen=True, slots=True)
class Calibration:
    """P(token valid) = sigmoid(a * logp + b)."""

    a: float
    b: float

    def valid(self, logprob: float) -> float:
        """P(token valid) of a token's log-probability."""
        x = self.a * logprob + self.b
        return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


def read_calibration(path: Path) -> Calibration:
    """Read `prm.json`."""
    try:
        data = json.loads(path.read_bytes())
        return Calibration(float(data["a"]), float(data["b"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f'{path}: expected a reward model\'s calibration such as {{"a": 0.5, "b": 4.0}}, found {error!r}'
        ) from error


@dataclass(frozen=True, slots=True)
class Scored:
    """The score of a text that was asked for with `tag`; `error` is set when the engine broke."""

    tag: Any
    value: float
    error: BaseException | None = None


ScoreSink = Callable[[Sequence[Scored]], None]


@dataclass(slots=True, eq=False)
class _Flight:
    """A text being scored, and who waits for it."""

    waiting: list[tuple[ScoreSink, Any]] = field(default_factory=list)
    ticket: Ticket | None = None


class Scorer:
    """Scores of texts (as tokens: prompt, newline, solution; with the end token if the text is complete)."""

    def __init__(self, engine: Engine, model: str, calibration: Calibration) -> None:
        self._engine = engine
        self._model = model
        self._calibration = calibration
        self._known: dict[tuple[int, ...], float] = {}
        self._flights: dict[tuple[int, ...], _Flight] = {}
        self._lock = Lock()

    def known(self, path: tuple[int, ...]) -> float | None:
        """The score of a text that was scored before."""
        return self._known.get(path)

    def submit(self, path: tuple[int, ...], sink: ScoreSink, tag: Any = None) -> None:
        """Ask for a score; the sink is called from a worker's thread, once for each of its steps."""
        with self._lock:
            flight = self._flights.get(path)
            new = flight is None
            if flight is None:
                flight = self._flights[path] = _Flight()
            flight.waiting.append((sink, tag))
        if new:
            request = Request(path, max_new=0)
            flight.ticket = self._engine.submit(self._model, request, self._arrive, tag=path)

    def withdraw(self, path: tuple[int, ...], tag: Any) -> None:
        """No longer wait; scoring stops when nobody does."""
        with self._lock:
            flight = self._flights.get(path)
            if flight is None:
                return
            flight.waiting = [(sink, other) for sink, other in flight.waiting if other is not tag]
            if not flight.waiting:
                del self._flights[path]
        if not flight.waiting and flight.ticket is not None:
            flight.ticket.cancel()

    def score(self, paths: Sequence[tuple[int, ...]]) -> list[float]:
        """The scores of texts, in order; waits for them."""
        found: dict[int, Scored] = {}
        ready = Flag()

        def take(scored: Sequence[Scored]) -> None:
            found.update((one.tag, one) for one in scored)
            if len(found) == len(paths):
                ready.set()

        for i, path in enumerate(paths):
            value = self.known(path)
            if value is None:
                self.submit(path, take, i)
            else:
                take([Scored(i, value)])
        if paths:
            ready.wait()
        for one in found.values():
            if one.error is not None:
                raise one.error
        return [found[i].value for i in range(len(paths))]

    def _arrive(self, events: Sequence[Event]) -> None:
        by_sink: dict[ScoreSink, list[Scored]] = {}
        for event in events:
            value = math.nan if event.done is None else self._value(event)
            with self._lock:
                flight = self._flights.get(event.ticket.tag)
                if flight is None or (flight.ticket is not None and flight.ticket is not event.ticket):
                    continue  # withdrawn, and perhaps asked for again
                del self._flights[event.ticket.tag]
                if not math.isnan(value):
                    self._remember(event.ticket.tag, value)
            for sink, tag in flight.waiting:
                by_sink.setdefault(sink, []).append(Scored(tag, value, event.error))
        for sink, scored in by_sink.items():
            sink(scored)

    def _value(self, event: Event) -> float:
        """Product over the tokens after the prompt's newline; the log-probabilities begin at the second token."""
        assert event.done is not None
        path, logprobs = event.ticket.request.prompt_ids, event.done.logprobs
        if event.done.finish == "cancelled":
            return math.nan
        start = path.index(NEWLINE) if NEWLINE in path else len(path)
        return math.prod(self._calibration.valid(x) for x in logprobs[start:])

    def _remember(self, path: tuple[int, ...], value: float) -> None:
        self._known[path] = value
        if len(self._known) > _MOST:
            del self._known[next(iter(self._known))]


def open_scorer(engine: Engine, model: str, folder: Path) -> Scorer:
    """A scorer over a model of a running engine; its calibration is in the model's folder."""
    return Scorer(engine, model, read_calibration(folder / "prm.json"))
