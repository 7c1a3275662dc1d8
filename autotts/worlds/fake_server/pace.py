"""How fast a fake server is: tokens per second, places for requests, limits per minute."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from autotts.errors import InputError
from autotts.worlds.fake_server.refused import Refused


@dataclass(frozen=True)
class Pace:
    """The speed of a server; by default as fast as it can.

    Parameters
    ----------
    rate
        Tokens per second of one request that runs alone; None is no limit.
    first
        Seconds to the first token.
    slowdown
        The share by which each other running request lengthens the time of a token.
    chunk
        Tokens of one chunk of a stream.
    running
        The most requests that run at once; others wait in a queue. None is no limit.
    queue
        The most that wait; the next is refused with a 503, without Retry-After, as vLLM does. None is no limit.
    requests_per_minute, tokens_per_minute
        Of the whole server; what is above is refused with a 429 and Retry-After. The tokens of a request are those of
        its prompt and the most that it may generate.
    """

    rate: float | None = None
    first: float = 0.0
    slowdown: float = 0.0
    chunk: int = 8
    running: int | None = None
    queue: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None

    def __post_init__(self) -> None:
        wrong = self.chunk < 1 or self.first < 0 or self.slowdown < 0 or (self.running is not None and self.running < 1)
        limits = (self.rate, self.requests_per_minute, self.tokens_per_minute)
        if wrong or any(limit is not None and limit <= 0 for limit in limits):
            raise InputError(f"the pace of a fake server: expected numbers above 0, found {self}")

    def seconds(self, tokens: int, others: int) -> float:
        """How long some tokens of one request take beside `others`."""
        if self.rate is None:
            return 0.0
        return tokens / self.rate * (1.0 + self.slowdown * others)


class Places:
    """The places for running requests, taken in the order of coming."""

    def __init__(self, pace: Pace) -> None:
        self.running = 0
        self._most = math.inf if pace.running is None else pace.running
        self._queue = math.inf if pace.queue is None else pace.queue
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    async def enter(self) -> None:
        """Wait for a place; `Refused` where the queue is full."""
        if self.running < self._most and not self._waiting:
            self.running += 1
            return
        if len(self._waiting) >= self._queue:
            raise Refused(503, "The server is overloaded: the queue is full", kind="ServiceUnavailableError")
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()
            elif turn in self._waiting:  # one that left in the same moment may have passed it over
                self._waiting.remove(turn)
            raise

    def leave(self) -> None:
        """Give a place back, to who waits first."""
        self.running -= 1
        while self._waiting and self.running < self._most:
            turn = self._waiting.popleft()
            if not turn.done():
                self.running += 1
                turn.set_result(None)


class Allowance:
    """What may be used per minute: a bucket that is full at the beginning and fills at that rate."""

    def __init__(self, per_minute: float | None, clock: Callable[[], float]) -> None:
        self._rate = math.inf if per_minute is None else per_minute / 60.0
        self._size = math.inf if per_minute is None else per_minute
        self._clock = clock
        self._left, self._at = self._size, clock()

    def short(self, amount: float) -> float:
        """Seconds until an amount is there; 0 when it is. More than the whole bucket waits for a full one."""
        if math.isinf(self._size):
            return 0.0
        now = self._clock()
        self._left = min(self._size, self._left + max(0.0, now - self._at) * self._rate)
        self._at = now
        return max(0.0, min(amount, self._size) - self._left) / self._rate

    def take(self, amount: float) -> None:
        """Use an amount."""
        self._left -= amount
