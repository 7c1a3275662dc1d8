"""One running batch of one model: rows join, take a token a step, and leave.

The rows in use are always the first ones. A step is: free the rows of cancelled requests, seat waiting requests, fix
each row's next token (a given one while it reads its prompt, a sampled one after), report and free the rows that are
finished, and run the model on the tokens of the others.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from threading import Condition
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autotts.tiny import sampling
from autotts.tiny.codec import END, NEWLINE, WRITABLE
from autotts.tiny.model import Model, Rows
from autotts.tiny.prefixes import Prefix, Prefixes
from autotts.tiny.requests import Completion, Event, Ticket


@dataclass(slots=True, eq=False)
class Line:
    """What waits for one model, shared by its batches; guarded by the engine's lock."""

    model: Model
    lock: Condition
    prefixes: Prefixes[Ticket]
    queue: deque[Ticket] = field(default_factory=deque)
    batches: list[Batch] = field(default_factory=list)

    def share(self, gaps: int) -> int:
        """Rows that one batch should hold, so that all batches have equal work; `gaps` of the rows are free."""
        total = len(self.queue) + sum(batch.count for batch in self.batches) - gaps
        return -(-total // len(self.batches))


_NEVER: Final = 1 << 30
_REPORTS: Final = 8  # events a step for news of running draws, at most, on average
_GIVEN, _LIMIT, _MARK, _STEPWISE = range(4)
_TEMPERATURE, _TOP_P = range(2)


class Batch:
    """The rows of one worker and one model, the ones in use first. Only that worker calls it."""

    def __init__(self, line: Line, width: int) -> None:
        context = line.model.shape.context
        self.line, self.width, self.count = line, width, 0
        self.cancelled: deque[Ticket] = deque()
        self._rows = Rows(line.model, width)
        self._tickets: list[Ticket] = []
        self.written = 0  # tokens since it was made
        self._watched = 0
        self._steps = 0
        self._path = np.zeros((width, context), np.int64)
        self._logprobs = np.zeros((width, context), np.float64)
        # Tokens of the prompt, of the longest path allowed, of the next prefix to keep; whether it stops at a step.
        self._whole = np.zeros((4, width), np.int64)
        self._real = np.zeros((2, width), np.float64)
        self._seed = np.zeros(width, np.uint64)

    def advance(self, events: list[Event]) -> None:
        """Fix every row's next token; finished and cancelled rows leave, and waiting requests take their places."""
        self._close(self._cancelled_rows(events))
        gaps = self._fix_tokens(np.arange(self.count), events) if self.count else []
        if self.line.queue:
            seated = self._seat(gaps, events)
            if seated:
                gaps += self._fix_tokens(np.array(seated), events)
        self._close(gaps)

    def run(self) -> bool:
        """Run the model on the fixed tokens; False if there are none."""
        count, rows = self.count, self._rows
        if count == 0:
            return False
        rows.step(count)
        lengths = rows.lengths[:count]
        lengths += 1
        for row in np.flatnonzero(lengths == self._whole[_MARK, :count]).tolist():
            self._pass_mark(row)
        return True

    def outstanding(self) -> list[Ticket]:
        """The tickets of its rows that are not finished."""
        return [ticket for ticket in self._tickets if ticket.batch is self]

    # ------------------------------------------------------------------ rows come and go

    def _cancelled_rows(self, events: list[Event]) -> list[int]:
        gone = []
        while self.cancelled:
            ticket = self.cancelled.popleft()
            if ticket.batch is self:
                gone.append(ticket.row)
                self._leave(ticket, "cancelled", int(self._rows.lengths[ticket.row]), events)
        return gone

    def _seat(self, gaps: list[int], events: list[Event]) -> list[int]:
        """Take waiting requests into the gaps and behind the last row; returns their rows."""
        line, seated = self.line, []
        with line.lock:
            room = min(self.width, line.share(len(gaps))) - self.count + len(gaps)
            while room > 0 and line.queue:
                ticket = line.queue.popleft()
                if ticket.cancelled:
                    events.append(Event(ticket, 0, Completion((), (), "cancelled")))
                    continue
                prefix = line.prefixes.longest(ticket.useful)
                if self._claim(ticket, 0 if prefix is None else len(prefix.logprobs)):
                    row = gaps.pop() if gaps else self.count
                    try:
                        self._join(ticket, row, prefix)
                    except BaseException:
                        line.queue.appendleft(ticket)  # so that it is told that the engine broke
                        raise
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
            if known > rows.span:
                rows.reserve(known, self.count)
            rows.lengths[row] = known
            rows.logits[row] = prefix.logits
            rows.cache[:, row, :known] = prefix.cache
            self._logprobs[row, :known] = prefix.logprobs
        new = min(request.max_new, request.stop) if isinstance(request.stop, int) else request.max_new
        limit = min(given + new, self._path.shape[1])
        mark = _NEVER if ticket.claim is None else len(ticket.claim)
        self._whole[:, row] = (given, limit, mark, request.stop == "step")
        self._real[:, row] = (request.temperature, request.top_p)
        self._seed[row] = request.seed
        if row == self.count:
            self._tickets.append(ticket)
            self.count += 1
        else:
            self._tickets[row] = ticket
        self._watched += ticket.watched
        ticket.row = row
        ticket.batch = self
        if ticket.cancelled:  # between the queue and here
            self.cancelled.append(ticket)

    def _leave(self, ticket: Ticket, finish: str, known: int, events: list[Event]) -> None:
        """Report what came of a row whose path has `known` tokens."""
        ticket.batch = None
        self._watched -= ticket.watched
        if ticket.claim is not None:
            self._release(ticket)
        given = len(ticket.path)
        ids = tuple(self._path[ticket.row, given:known].tolist())
        start = given if ticket.request.max_new else 1
        logprobs = tuple(self._logprobs[ticket.row, start:known].tolist())
        events.append(Event(ticket, len(ids) - ticket.reported, Completion(ids, logprobs, finish)))

    def _close(self, gone: list[int]) -> None:
        """Move the last rows into the places that became free."""
        for row in sorted(gone, reverse=True):
            last = self.count - 1
            mover = self._tickets.pop()
            if row != last:
                self._move(last, row)
                self._tickets[row] = mover
                mover.row = row
            self.count = last

    def _move(self, source: int, target: int) -> None:
        rows, length = self._rows, int(self._rows.lengths[source])
        rows.cache[:, target, :length] = rows.cache[:, source, :length]
        rows.ids[target] = rows.ids[source]
        rows.lengths[target] = length
        rows.logits[target] = rows.logits[source]
        known = max(length + 1, int(self._whole[_GIVEN, source]))
        self._path[target, :known] = self._path[source, :known]
        self._logprobs[target, :known] = self._logprobs[source, :known]
        for table in (self._whole, self._real):
            table[:, target] = table[:, source]
        self._seed[target] = self._seed[source]

    # ------------------------------------------------------------------ tokens

    def _fix_tokens(self, rows: NDArray[np.int64], events: list[Event]) -> list[int]:
        """Fix the next token of some rows, given or sampled; returns those that are finished."""
        at = self._rows.lengths[rows]
        lengths, limits, _, stepwise = self._whole[:, rows]
        given = at < lengths
        tokens = self._path[rows, at]
        following = sampling.distribution(self._rows.logits[rows])
        if not given.all():
            uniform = sampling.uniforms(self._seed[rows], at - lengths)
            temperature, top_p = self._real[:, rows]
            sampled = sampling.choose(following, temperature, top_p, uniform)
            tokens = np.where(given, tokens, sampled + WRITABLE.start)
            self._path[rows, at] = tokens
        self._rows.ids[rows, 0] = tokens
        logprobs = following.logprobs(np.maximum(tokens - WRITABLE.start, 0))
        logprobs[at == 0] = 0.0  # nothing says how likely the first is
        self._logprobs[rows, at] = logprobs
        free = ~given
        self.written += int(np.count_nonzero(free))
        ended = free & (tokens == END)
        stepped = free & (tokens == NEWLINE) & (stepwise == 1)
        over = ended | stepped | (at + 1 >= limits)
        if self._watched:
            self._report(rows[free & ~over], events)
        finished = np.flatnonzero(over).tolist()
        for i in finished:
            finish = "end" if ended[i] else "step" if stepped[i] else "length"
            self._finish(int(rows[i]), finish, int(at[i]) + 1, events)
        gone: list[int] = rows[finished].tolist()
        return gone

    def _report(self, rows: NDArray[np.int64], events: list[Event]) -> None:
        """Tell how far watched requests are: at every step while they are few, more rarely when they are many."""
        self._steps += 1
        if self._steps % (1 + self.count // _REPORTS):
            return
        for row in rows.tolist():
            ticket = self._tickets[row]
            if ticket.watched:
                written = int(self._rows.lengths[row]) + 1 - len(ticket.path)
                events.append(Event(ticket, written - ticket.reported))
                ticket.reported = written

    def _finish(self, row: int, finish: str, known: int, events: list[Event]) -> None:
        ticket = self._tickets[row]
        request = ticket.request
        goes_on = self._path[row, known - 1] != END and (request.stop != "end" or not request.max_new)
        if goes_on and known > 1:
            self._keep(row, known - 1)  # all but the last token has been read
        self._leave(ticket, finish, known, events)

    # ------------------------------------------------------------------ prefixes

    def _pass_mark(self, row: int) -> None:
        """Keep the prefix that was claimed, and claim the next."""
        ticket, length = self._tickets[row], int(self._rows.lengths[row])
        self._keep(row, length)
        self._release(ticket)
        self._whole[_MARK, row] = _NEVER
        with self.line.lock:
            for mark in ticket.marks:
                if mark > length and self.line.prefixes.claim(ticket.path[:mark]):
                    ticket.claim = ticket.path[:mark]
                    self._whole[_MARK, row] = mark
                    break

    def _release(self, ticket: Ticket) -> None:
        """Give a claim back; who waited for it goes to the front of the queue."""
        line = self.line
        if ticket.claim is not None:
            with line.lock:
                waited = line.prefixes.release(ticket.claim)
                line.queue.extendleft(reversed(waited))
                if waited:
                    line.lock.notify_all()
            ticket.claim = None

    def _keep(self, row: int, length: int) -> None:
        tokens = self._path[row, :length].astype(np.uint8).tobytes()
        if tokens in self.line.prefixes:
            return
        rows = self._rows
        cache = np.ascontiguousarray(rows.cache[:, row, :length])
        prefix = Prefix(cache, rows.logits[row].copy(), self._logprobs[row, :length].copy())
        with self.line.lock:
            self.line.prefixes.keep(tokens, prefix)
