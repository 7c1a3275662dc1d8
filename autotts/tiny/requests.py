"""What goes into an engine and what comes out: requests, tickets, events, completions."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from autotts.tiny.codec import NEWLINE, decode


@dataclass(frozen=True, slots=True)
class Request:
    """One draw: what to go on from, and how. `max_new` 0 asks only for the log-probabilities of `prompt_ids`.

    `temperature` 0 takes the most likely token. `stop`: "end", "step" (the first newline, which belongs to the
    step) or after that many tokens; the end token stops every draw. All its randomness is `seed` (64 bits).
    """

    prompt_ids: tuple[int, ...]
    seed: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    stop: str | int = "end"
    max_new: int = 256


@dataclass(frozen=True, slots=True)
class Completion:
    """What came of a request.

    `ids` are the new tokens, the end token included. `logprobs` are theirs at temperature 1, whatever they were
    sampled at; for a request of no new tokens, those of its prompt after the first. `finish`: "end", "step",
    "length" or "cancelled".
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish: str

    @property
    def text(self) -> str:
        """The new text; the end token has none."""
        return decode(self.ids)


@dataclass(frozen=True, slots=True)
class Event:
    """News of a request: tokens written since the last event, and what came of it, if it is finished.

    `error` is set, and `done` is not, when the engine broke.
    """

    ticket: Ticket
    written: int
    done: Completion | None = None
    error: BaseException | None = None


Sink = Callable[[Sequence[Event]], None]


class Place(Protocol):
    """The batch that has a request's row."""

    @property
    def cancelled(self) -> deque[Ticket]:
        """Where to leave a ticket that is cancelled."""
        ...


@dataclass(slots=True, eq=False)
class Ticket:
    """A submitted request. `cancel` frees its place before the next step, and may be called from any thread."""

    request: Request
    sink: Sink
    watched: bool
    tag: Any
    path: bytes
    useful: bytes  # the longest prefix of the path that it can go on from
    marks: list[int]  # prefixes that others are likely to want, as lengths
    batch: Place | None = None
    row: int = -1
    reported: int = 0
    claim: bytes | None = None
    cancelled: bool = False

    def cancel(self) -> None:
        """Stop this request; a last event says that it is cancelled, if it was not finished before."""
        self.cancelled = True
        batch = self.batch
        if batch is not None:
            batch.cancelled.append(self)


def ticket(request: Request, sink: Sink, *, watched: bool = False, tag: Any = None) -> Ticket:
    """A ticket for a request, not yet in any queue."""
    path = bytes(request.prompt_ids)
    # The last token of a text that is only read is never run: nothing is asked of what comes after it.
    useful = path if request.max_new else path[:-1]
    marks = [i + 1 for i, token in enumerate(useful) if token == NEWLINE]
    if request.max_new and (not marks or marks[-1] != len(path)):
        marks.append(len(path))
    return Ticket(request, sink, watched, tag, path, useful, marks)
