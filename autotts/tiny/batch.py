"""One running batch of one model: rows join, take a token a step, and leave.

The rows in use are always the first ones. A step is: free the rows of cancelled requests, seat waiting requests in
the free places, close what gaps are left, run the model, choose each row's next token (a given one while it reads
its prompt, a sampled one after), and report the rows that are finished.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Condition
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autotts.tiny import sampling
from autotts.tiny.codec import END, NEWLINE, WRITABLE, decode
from autotts.tiny.model import Model, Rows
from autotts.tiny.prefixes import Prefix, Prefixes


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


@dataclass(slots=True, eq=False)
class Ticket:
    """A submitted request. `cancel` frees its place before the next step, and may be called from any thread."""

    request: Request
    sink: Sink
    watched: bool
    tag: Any
    path: bytes
    marks: list[int]  # prefixes that others are likely to want, as lengths
    batch: Batch | None = None
    row: int = -1
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
    marks = [i + 1 for i, token in enumerate(path) if token == NEWLINE]
    if request.max_new and (not marks or marks[-1] != len(path)):
        marks.append(len(path))
    return Ticket(request, sink, watched, tag, path, marks)


@dataclass(slots=True, eq=False)
class Line:
    """What waits for one model, shared by its batches; guarded by the engine's lock."""

    model: Model
    lock: Condition
    prefixes: Prefixes[Ticket]
    queue: deque[Ticket] = field(default_factory=deque)
    batches: list[Batch] = field(default_factory=list)

    def share(self) -> int:
        """Rows that one batch should hold, so that all batches have equal work."""
        total = len(self.queue) + sum(batch.count for batch in self.batches)
        return -(-total // len(self.batches))


_NO_STOP: Final = 1 << 30


class Batch:
    """The rows of one worker and one model. Only that worker calls `step`."""

    def __init__(self, line: Line, width: int) -> None:
        context = line.model.shape.context
        self.line, self.width, self.count = line, width, 0
        self.cancelled: deque[Ticket] = deque()
        self._rows = Rows(line.model, width)
        self._tickets: list[Ticket | None] = [None] * width
        self._path = np.zeros((width, context), np.int64)
        self._logprobs = np.zeros((width, context), np.float64)
        self._given = np.zeros(width, np.int64)  # tokens of the prompt
        self._limit = np.zeros(width, np.int64)  # tokens of the longest path allowed
        self._mark = np.zeros(width, np.int64)  # the next prefix to keep, as a length
        self._stepwise = np.zeros(width, np.bool_)
        self._temperature = np.zeros(width, np.float64)
        self._top_p = np.zeros(width, np.float64)
        self._seed = np.zeros(width, np.uint64)

    def step(self, events: list[Event]) -> bool:
        """One step; adds its events, and says whether there was anything to do."""
        gaps = self._free_cancelled(events)
        if self.line.queue or gaps:
            seated = self._seat(gaps, events)
            if seated:
                self._advance(np.array(seated), events)
            self._close_gaps()
        count = self.count
        if count == 0:
            return False
        rows = self._rows
        rows.step(count)
        rows.lengths[:count] += 1
        self._keep_prefixes()
        self._advance(np.arange(count), events)
        return True

    def outstanding(self) -> list[Ticket]:
        """The tickets of its rows."""
        return [t for t in self._tickets[: self.count] if t is not None]

    # ------------------------------------------------------------------ rows come and go

    def _free_cancelled(self, events: list[Event]) -> bool:
        gaps = any(t is None for t in self._tickets[: self.count])
        while self.cancelled:
            ticket = self.cancelled.popleft()
            if ticket.batch is self:
                self._leave(ticket, "cancelled", int(self._rows.lengths[ticket.row]) + 1, events)
                gaps = True
        return gaps

    def _seat(self, gaps: bool, events: list[Event]) -> list[int]:
        """Take waiting requests into free places; returns their rows."""
        line, seated = self.line, []
        free = [i for i in range(self.count) if self._tickets[i] is None] if gaps else []
        free.reverse()
        with line.lock:
            room = min(self.width, line.share() + len(free)) - self.count + len(free)
            while room > 0 and line.queue:
                ticket = line.queue.popleft()
                if ticket.cancelled:
                    events.append(Event(ticket, 0, Completion((), (), "cancelled")))
                    continue
                prefix = line.prefixes.longest(ticket.path)
                if not self._claim(ticket, 0 if prefix is None else len(prefix.logprobs)):
                    continue
                row = free.pop() if free else self.count
                self.count = max(self.count, row + 1)
                self._join(ticket, row, prefix)
                seated.append(row)
                room -= 1
        return seated

    def _claim(self, ticket: Ticket, known: int) -> bool:
        """Claim the next prefix of a request that others may want; False if it now waits for another's."""
        for mark in ticket.marks:
            if mark > known:
                tokens = ticket.path[:mark]
                if self.line.prefixes.claim(tokens):
                    ticket.claim = tokens
                    return True
                return not self.line.prefixes.wait(tokens, ticket)
        return True

    def _join(self, ticket: Ticket, row: int, prefix: Prefix | None) -> None:
        request, rows = ticket.request, self._rows
        given = len(ticket.path)
        self._path[row, :given] = request.prompt_ids
        if prefix is None:
            rows.lengths[row] = 0
            rows.logits[row] = 0.0
        else:
            known = len(prefix.logprobs)
            rows.lengths[row] = known
            rows.logits[row] = prefix.logits
            rows.cache[:, row, :known] = prefix.cache
            self._logprobs[row, :known] = prefix.logprobs
        new = min(request.max_new, request.stop) if isinstance(request.stop, int) else request.max_new
        self._given[row] = given
        self._limit[row] = min(given + new, self._path.shape[1])
        self._mark[row] = _NO_STOP if ticket.claim is None else len(ticket.claim)
        self._stepwise[row] = request.stop == "step"
        self._temperature[row], self._top_p[row] = request.temperature, request.top_p
        self._seed[row] = request.seed
        self._tickets[row] = ticket
        ticket.row = row
        ticket.batch = self
        if ticket.cancelled:  # between the queue and here
            self.cancelled.append(ticket)

    def _leave(self, ticket: Ticket, finish: str, known: int, events: list[Event]) -> None:
        """Free a row whose path has `known` tokens, and report what came of it."""
        row, given = ticket.row, len(ticket.path)
        self._tickets[row] = None
        ticket.batch = None
        start = given if ticket.request.max_new else 1
        ids = tuple(self._path[row, given:known].tolist())
        logprobs = tuple(self._logprobs[row, start:known].tolist())
        written = 1 if ticket.watched and finish != "cancelled" else len(ids)
        if ticket.watched and finish == "cancelled":
            written = 0
        if ticket.claim is not None:
            self._release(ticket)
        events.append(Event(ticket, written, Completion(ids, logprobs, finish)))

    def _release(self, ticket: Ticket) -> None:
        assert ticket.claim is not None
        line = self.line
        with line.lock:
            waited = line.prefixes.release(ticket.claim)
            line.queue.extendleft(reversed(waited))
            if waited:
                line.lock.notify_all()
        ticket.claim = None

    def _close_gaps(self) -> None:
        """Move the last rows into the places that are free."""
        last = self.count - 1
        for row in range(self.count):
            while last >= row and self._tickets[last] is None:
                last -= 1
            if row >= last:
                break
            if self._tickets[row] is None:
                self._move(last, row)
                last -= 1
        self.count = last + 1

    def _move(self, source: int, target: int) -> None:
        rows, length = self._rows, int(self._rows.lengths[source])
        rows.cache[:, target, :length] = rows.cache[:, source, :length]
        for array in (rows.ids, rows.lengths, rows.logits, *self._columns()):
            array[target] = array[source]
        ticket = self._tickets[source]
        assert ticket is not None
        self._tickets[target], self._tickets[source] = ticket, None
        ticket.row = target

    def _columns(self) -> tuple[NDArray[Any], ...]:
        one_each = (self._given, self._limit, self._mark, self._stepwise)
        return (self._path, self._logprobs, *one_each, self._temperature, self._top_p, self._seed)

    # ------------------------------------------------------------------ tokens

    def _advance(self, rows: NDArray[np.int64], events: list[Event]) -> None:
        """Fix the next token of some rows: given or sampled."""
        at = self._rows.lengths[rows].astype(np.int64)
        logprobs = sampling.log_softmax(self._rows.logits[rows])
        given = at < self._given[rows]
        tokens = self._path[rows, at]
        if not given.all():
            uniform = sampling.uniforms(self._seed[rows], at - self._given[rows])
            sampled = sampling.choose(logprobs, self._temperature[rows], self._top_p[rows], uniform)
            tokens = np.where(given, tokens, sampled + WRITABLE.start)
            self._path[rows, at] = tokens
        column = np.maximum(tokens - WRITABLE.start, 0)
        self._logprobs[rows, at] = np.where(at > 0, logprobs[np.arange(len(rows)), column], 0.0)
        self._rows.ids[rows, 0] = tokens
        ended = ~given & (tokens == END)
        stepped = ~given & (tokens == NEWLINE) & self._stepwise[rows]
        over = ended | stepped | (at + 1 >= self._limit[rows])
        self._watch(rows[~given & ~over], events)
        for i in np.flatnonzero(over).tolist():
            finish = "end" if ended[i] else "step" if stepped[i] else "length"
            self._finish(int(rows[i]), finish, int(at[i]) + 1, events)

    def _watch(self, rows: NDArray[np.int64], events: list[Event]) -> None:
        for row in rows.tolist():
            ticket = self._tickets[row]
            if ticket is not None and ticket.watched:
                events.append(Event(ticket, 1))

    def _finish(self, row: int, finish: str, known: int, events: list[Event]) -> None:
        ticket = self._tickets[row]
        assert ticket is not None
        request = ticket.request
        goes_on = self._path[row, known - 1] != END and (request.stop != "end" or not request.max_new)
        if goes_on and known > 1:
            self._keep(row, known - 1)  # all but the last token has been read
        self._leave(ticket, finish, known, events)

    def _keep_prefixes(self) -> None:
        lengths = self._rows.lengths[: self.count]
        for row in np.flatnonzero(lengths == self._mark[: self.count]).tolist():
            ticket = self._tickets[row]
            assert ticket is not None
            self._keep(row, int(lengths[row]))
            self._release(ticket)
            with self.line.lock:
                later = (mark for mark in ticket.marks if mark > lengths[row])
                self._mark[row] = _NO_STOP
                for mark in later:
                    if self.line.prefixes.claim(ticket.path[:mark]):
                        ticket.claim = ticket.path[:mark]
                        self._mark[row] = mark
                        break

    def _keep(self, row: int, length: int) -> None:
        tokens = self._path[row, :length].astype(np.uint8).tobytes()
        if tokens in self.line.prefixes:
            return
        rows = self._rows
        cache = np.ascontiguousarray(rows.cache[:, row, :length])
        prefix = Prefix(cache, rows.logits[row].copy(), self._logprobs[row, :length].copy())
        with self.line.lock:
            self.line.prefixes.keep(tokens, prefix)
