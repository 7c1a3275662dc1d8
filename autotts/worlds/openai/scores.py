"""Scores of texts: one request for each text, whoever asks, and the last ones remembered."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from autotts.worlds.models.entry import Entry
from autotts.worlds.scoring import Marked

MOST: Final = 4096  # scores that are remembered
_JUDGES_WORDS: Final = 1024  # tokens of a judge's templates, at most
_GENERATED: Final = 256  # tokens of shapes that read what a model would say next, one a request
_STEPS: Final = 16  # of a long answer, each of which reads half of it

Name = tuple[str, bytes]  # binding id and digest of the text


def most_scored(entry: Entry) -> tuple[int, int]:
    """What a score is sure not to exceed: tokens on top of the text, and how often the text is read, with its marks.

    A judge's words around the text are counted with those that it says itself, which cost no less. RLHFlow's form has a
    request for each step, and each reads all that stands before it: on the average half of the text.
    """
    scoring = entry.scoring
    assert scoring is not None
    shape = scoring.shape.replace("_", "-").removesuffix("-prm")
    if scoring.kind == "judge":
        orders = 2 if shape == "compare" else 1
        told = sum(len(str(value).encode()) for value in scoring.options.values())  # a rubric, what it is held against
        return entry.max_tokens + orders * (_JUDGES_WORDS + told), 2 * orders
    if shape == "rlhflow" and scoring.reduce != "last":
        return _GENERATED, 2 * _STEPS
    return (_GENERATED if shape in ("rlhflow", "math-shepherd") else 0), 2


class Scores:
    """One flight for each text and scorer; it ends when nobody waits for it any more."""

    def __init__(self) -> None:
        self._known: OrderedDict[Name, Marked] = OrderedDict()
        self._flights: dict[Name, asyncio.Task[Marked]] = {}
        self._waiting: dict[Name, int] = {}

    async def get(self, name: Name, mark: Callable[[], Awaitable[Marked]]) -> Marked:
        """The score of a text: known, on its way, or begun now by `mark`."""
        known = self._known.get(name)
        if known is not None:
            self._known.move_to_end(name)
            return known
        flight = self._flights.get(name)
        if flight is None:
            flight = self._flights[name] = asyncio.ensure_future(mark())
            flight.add_done_callback(lambda done: self._landed(name, done))
        self._waiting[name] = self._waiting.get(name, 0) + 1
        try:
            return await asyncio.shield(flight)
        finally:
            self._waiting[name] -= 1
            if not self._waiting[name]:
                del self._waiting[name]
                if not flight.done():
                    flight.cancel()
                    self._flights.pop(name, None)  # who asks from now on begins anew

    async def close(self) -> None:
        """End what is on its way."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _landed(self, name: Name, flight: asyncio.Task[Marked]) -> None:
        if self._flights.get(name) is flight:
            del self._flights[name]
        if flight.cancelled() or flight.exception() is not None:
            return
        marked = flight.result()
        if not math.isnan(marked.value):  # what failed may be asked again
            self._known[name] = marked
            if len(self._known) > MOST:
                self._known.popitem(last=False)
