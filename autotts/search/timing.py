"""One draw with the moments at which its tokens came, or one score with its seconds, whatever engine it is."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final

import numpy as np

from autotts.core.node import Node
from autotts.core.plan import Draw, Score, Spec
from autotts.core.world import Binding, Meter
from autotts.errors import BackendError, InputError
from autotts.worlds.catalogue import Asking, Bench, Catalogue
from autotts.worlds.models.entry import Entry
from autotts.worlds.servers import Retries, Timeouts

# A server that does not work is told of at once, and not waited for as in a study.
IMPATIENT: Final = Retries(tries=5, first=0.05, longest=0.25, patience=0.0)
SOON: Final = Timeouts(connect=5.0, first=120.0, between=60.0, total=600.0)
_OWN: Final = range(400, 500)  # statuses that say that the request is wrong; 408 and 429 are the server's matter
_NOT_OWN: Final = (408, 429)


@dataclass(frozen=True, slots=True)
class Timed:
    """A draw: tokens of its prompt and of its answer, and its moments: seconds since the start, tokens by then."""

    prompt: int
    generated: int
    moments: tuple[tuple[float, float], ...]

    @property
    def first(self) -> float:
        """Seconds to the first tokens."""
        return self.moments[0][0]

    @property
    def ends(self) -> float:
        """Seconds to the last one."""
        return self.moments[-1][0]

    @property
    def rate(self) -> float | None:
        """Tokens a second after the first ones; None where all came at once."""
        seconds, tokens = self.ends - self.first, self.generated - self.moments[0][1]
        return tokens / seconds if seconds > 0 and tokens > 0 else None

    def made_by(self, seconds: float) -> float:
        """Tokens that were there by a moment, as if those of a chunk came one after another."""
        times, counts = zip(*self.moments, strict=True)
        return float(np.interp(seconds, times, counts))

    def reached(self, tokens: float) -> float:
        """Seconds until so many were there."""
        times, counts = zip(*self.moments, strict=True)
        return float(np.interp(tokens, counts, times))


@dataclass(slots=True)
class Order:
    """As much of an order as a world sees."""

    ask: Any
    key: bytes
    binding: Binding
    prefix: int


async def timed(world: Bench, model: str, prompt: str, *, number: int = 0, begun: float | None = None) -> Timed:
    """Draw one whole answer.

    Parameters
    ----------
    number
        Draws of one prompt that differ in it have other seeds.
    begun
        The event loop's time from which moments are counted; now if None.

    Raises
    ------
    InputError
        When the server refuses what is asked.
    BackendError
        When it did not answer, or nothing was generated.
    """
    clock = asyncio.get_running_loop().time
    begun = clock() if begun is None else begun
    node, state = world.root(prompt)
    order = Order(
        Draw(node, Spec(model=model)), number.to_bytes(16, "little"), world.bindings[model], prefix=node.tokens
    )
    meter, moments, made = Meter(), [], 0

    def came(count: int) -> bool:
        nonlocal made
        if count > 0:
            made += count
            moments.append((clock() - begun, made))
        return True

    meter.moved = came
    reply = await world.answer(order, (state,), meter)
    if reply.value.failed:
        status = int(reply.value.signals.get("status", 0))
        words = f"model {model!r}: {reply.state.get('fault') or 'the draw came to nothing'}"
        raise InputError(words) if status in _OWN and status not in _NOT_OWN else BackendError(words)
    usage = reply.usage
    if not moments or not usage.generated or meter.calls > 1:
        what = "an answer with tokens" if meter.calls <= 1 else "an answer at the first attempt"
        raise BackendError(
            f"model {model!r}: expected {what}, found {usage.generated} tokens in {meter.calls} attempts"
        )
    scale = usage.generated / made  # a server may count otherwise in the end than while it writes
    exact = tuple((moment, count * scale) for moment, count in moments)
    return Timed(usage.prompt + usage.cached, usage.generated, exact)


async def scored(world: Bench, scorer: str, prompt: str, text: str) -> tuple[float, int, float]:
    """Have a text scored once: the score, the tokens that were read for it, and the seconds that it took.

    Raises
    ------
    InputError
        When what the scorer says cannot be read.
    """
    clock = asyncio.get_running_loop().time
    root, state = world.root(prompt)
    digest = blake2b(f"{prompt}\0{text}".encode(), digest_size=16).digest()
    node = Node(digest, 1, True, None, digest, 0)
    order = Order(Score(node, scorer), bytes(16), world.bindings[scorer], prefix=root.tokens)
    begun = clock()
    reply = await world.answer(order, ({**state, "text": text, "by": scorer},), Meter())
    seconds, value = clock() - begun, float(reply.value)
    if math.isnan(value):
        raise InputError(
            f"model {scorer!r}: expected a score, found an answer that cannot be read as one, or none: see whether its "
            "`scoring` is that of the model, and whether its server was started for it (vLLM: --runner pooling)"
        )
    return value, reply.usage.prompt + reply.usage.cached, seconds


@contextmanager
def opened_alone(entry: Entry, *, retries: Retries = IMPATIENT) -> Iterator[Bench]:
    """The world of one model, under its own name; nothing is read from its answers, and prices are in tokens."""
    if entry.engine == "openai":
        from autotts.worlds.openai import open_openai
        from autotts.worlds.servers import Fleet

        with open_openai(
            {entry.name: entry},
            read=_nothing,
            unit="tokens",
            fleet=lambda: Fleet(retries=retries, timeouts=SOON),
        ) as world:
            yield world
        return
    drawing = (entry.name,) if entry.draws else ()
    scoring = () if entry.draws else (entry.name,)
    with Catalogue({entry.name: entry}).opened(drawing, scoring, Asking(_nothing, unit="tokens")) as bench:
        yield bench


def brief(error: Exception) -> str:
    """What an error says here, where nothing was waited for and there is nothing to go on with."""
    return str(error).partition(" What was finished is kept")[0].replace(" after 0 s of trying", "")


def alone(entry: Entry, index: int) -> Entry:
    """The same model on one of its servers only."""
    return replace(entry, servers=(entry.servers[index],))


def _nothing(text: str) -> str | None:
    return None
