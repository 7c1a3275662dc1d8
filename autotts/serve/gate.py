"""The gate before the work: so many requests run, so many wait, and the rest are told when to come again."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from autotts.serve.keys import Client
from autotts.serve.refused import Busy
from autotts.serve.sending import Gone

_LATELY: Final = 64  # ends of requests from which the pace is read
_LONGEST: Final = 600  # seconds that a client is asked to stay away at most
_BURST: Final = 10.0  # seconds' worth of a client's rate that may come at one moment


@dataclass(slots=True, eq=False)
class _Line:
    """One client: what of it runs and waits, and how many requests it may begin now."""

    client: Client
    tokens: float
    filled: float
    running: int = 0
    waiting: OrderedDict[asyncio.Future[None], None] = field(default_factory=OrderedDict)

    @property
    def free(self) -> bool:
        """Whether one more of it may run."""
        return self.client.at_once is None or self.running < self.client.at_once

    def rate(self) -> float:
        """Requests per second; infinity where there is no limit."""
        return math.inf if self.client.requests_per_minute is None else self.client.requests_per_minute / 60

    def fill(self, now: float) -> None:
        rate = self.rate()
        self.tokens = min(_burst(rate), self.tokens + rate * max(0.0, now - self.filled)) if rate < math.inf else 1.0
        self.filled = max(now, self.filled)


def _burst(rate: float) -> float:
    return max(1.0, rate * _BURST) if rate < math.inf else 1.0


class Gate:
    """At most `at_once` requests run, at most `queue` wait; places go round the clients that wait, in order for each.

    A full queue still takes the first waiting request of each client, so that none is shut out by another; so
    `queue` and the number of clients together bound what waits. Every step takes the same time however many wait.

    Parameters
    ----------
    at_once
        Requests that run at one time, of all clients together.
    queue
        Requests that wait; with 0, none does.
    clock
        Seconds of a clock that never goes back.
    """

    def __init__(self, at_once: int, queue: int, clock: Callable[[], float]) -> None:
        self._places: Final = at_once
        self._queue: Final = queue
        self._clock: Final = clock
        self._lines: dict[str, _Line] = {}
        self._turns: OrderedDict[str, None] = OrderedDict()  # clients that wait and may run, in order of their turn
        self._running = 0
        self._waiting = 0
        # A clock that runs while every place is taken: what is read from it is the pace of the work, not of the demand.
        self._worked = 0.0
        self._full_since = 0.0
        self._ends: deque[float] = deque([0.0], maxlen=_LATELY + 1)

    @property
    def running(self) -> int:
        """Requests that run now."""
        return self._running

    @property
    def waiting(self) -> int:
        """Requests that wait now."""
        return self._waiting

    @asynccontextmanager
    async def room(
        self, client: Client, *, within: float | None = None, hang_up: asyncio.Event | None = None
    ) -> AsyncIterator[float]:
        """A place for one request of a client while the scope is open; gives the seconds that it waited.

        Parameters
        ----------
        within
            Seconds after which it waits no longer.
        hang_up
            Set when the client hangs up.

        Raises
        ------
        Busy
            429 beyond the client's rate, where the queue is full, or past `within`. Nothing was spent then.
        Gone
            The client hung up while it waited.
        """
        begun = self._clock()
        line = self._admitted(client, begun)
        if line.free and self._running < self._places:
            self._enter(line)
            waited = 0.0
        else:
            await self._wait(line, within, hang_up)
            waited = self._clock() - begun
        try:
            yield waited
        finally:
            self._leave(line)

    def _admitted(self, client: Client, now: float) -> _Line:
        """The client's line, if one more request of it may run or wait."""
        line = self._lines.get(client.name)
        if line is None:
            line = self._lines[client.name] = _Line(client, 0.0, now)
            line.tokens = _burst(line.rate())
        if line.client != client:
            line.client = client
            self._turn(line)
        line.fill(now)
        if line.tokens < 1.0 - 1e-9:
            seconds = _whole((1.0 - line.tokens) / line.rate())
            most = f"{client.requests_per_minute:g} requests a minute"
            raise Busy(429, f"client {client.name!r} may send {most}; ask again in {seconds} s", seconds)
        runs = line.free and self._running < self._places
        if not runs and self._waiting >= self._queue and (line.waiting or not self._queue or not line.free):
            seconds = self._pause(now)
            full = f"{self._running} requests run and {self._waiting} wait"
            raise Busy(429, f"this server is full: {full}; ask again in {seconds} s", seconds, code="queue_full")
        line.tokens -= 1.0 if line.rate() < math.inf else 0.0
        return line

    def _pause(self, now: float) -> int:
        """Seconds until those that wait now have gone in, at the pace at which places became free lately."""
        worked = self._worked + (now - self._full_since if self._running >= self._places else 0.0)
        # As long as none has become free, all of them are taken to become free within as long again.
        pace = (len(self._ends) - 1 or self._places) / max(worked - self._ends[0], 1e-3)
        return _whole((self._waiting + 1) / pace)

    async def _wait(self, line: _Line, within: float | None, hang_up: asyncio.Event | None) -> None:
        """Wait for a place, which is the request's own when this returns; else nothing of it is left."""
        ours: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.waiting[ours] = None
        self._waiting += 1
        self._turn(line)
        listening = None if hang_up is None else asyncio.create_task(_give_up(hang_up, ours))
        try:
            async with asyncio.timeout(within):
                await ours
        except BaseException as error:
            if ours.done() and not ours.cancelled() and ours.exception() is None:
                self._leave(line)  # the place came together with what ended the waiting
            else:
                self._forget(line, ours)
            if isinstance(error, TimeoutError):
                words = f"no place became free within the {within:g} s that this request may take"
                raise Busy(429, words, self._pause(self._clock()), code="queue_timeout") from None
            raise
        finally:
            if listening is not None:
                listening.cancel()  # and not waited for: a cancellation here would lose the place

    def _forget(self, line: _Line, ours: asyncio.Future[None]) -> None:
        if ours in line.waiting:
            del line.waiting[ours]
            self._waiting -= 1
        if not line.waiting:
            self._turns.pop(line.client.name, None)
        self._settle()

    def _enter(self, line: _Line) -> None:
        self._running += 1
        line.running += 1
        if self._running == self._places:
            self._full_since = self._clock()

    def _leave(self, line: _Line) -> None:
        if self._running == self._places:
            self._worked += self._clock() - self._full_since
            self._ends.append(self._worked)
        self._running -= 1
        line.running -= 1
        self._turn(line)
        self._settle()

    def _turn(self, line: _Line) -> None:
        """Give a client that waits and may run its turn, behind the others."""
        if line.waiting and line.free:
            self._turns.setdefault(line.client.name)

    def _settle(self) -> None:
        """Give what is free to those whose turn it is."""
        while self._turns and self._running < self._places:
            name, _ = self._turns.popitem(last=False)
            line = self._lines[name]
            if not line.free:  # its limit was lowered while it waited
                continue
            ours, _ = line.waiting.popitem(last=False)
            self._waiting -= 1
            if not ours.done():  # else it has given up, and has not been told yet
                self._enter(line)
                ours.set_result(None)
            self._turn(line)


async def _give_up(hang_up: asyncio.Event, ours: asyncio.Future[None]) -> None:
    await hang_up.wait()
    if not ours.done():
        ours.set_exception(Gone("the client hung up while its request waited"))


def _whole(seconds: float) -> int:
    return min(max(1, math.ceil(seconds - 1e-9)), _LONGEST)
