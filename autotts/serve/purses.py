"""What a client may spend in an hour, a day, a month or ever: set aside before, settled after, never exceeded.

Without a database the count is this process's own and ends with it. With one, servers share it: each draws a little
more than it needs and puts back what it does not use, and what is in the hands of one that is killed counts as used.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from autotts.errors import BudgetError, StoreError

BEAT: Final = 1.0  # seconds between two looks at what is in hand and not used
ADVANCE: Final = 64  # the share of a limit that is drawn besides
EVER: Final = "ever"


class Exhausted(BudgetError):
    """A client has spent what it may in this period; `resets_in` is in seconds, None where it never does."""

    def __init__(self, name: str, period: str, resets_in: float | None) -> None:
        when = "" if resets_in is None else f"; it starts anew in {resets_in:.0f} s"
        of = "its budget" if period == EVER else f"its budget of this {period}"
        super().__init__(f"the client {name!r} has spent {of}, or the rest is set aside for its running requests{when}")
        self.resets_in = resets_in


class Till(Protocol):
    """Where it is counted what clients have used; `store.accounts.Tills` is one."""

    def draw(self, name: str, period: str, limit: int, *, least: int, most: int) -> int:
        """Take up to `most` parts if at least `least` are left of the limit, else none; how many were taken."""
        ...

    def put(self, name: str, period: str, parts: int) -> None:
        """Put back what was drawn; more than was drawn is used, where it is negative."""
        ...

    def forget(self, period: str) -> None:
        """Remove what was used in a period that is over."""
        ...


class Held:
    """So many `parts` are set aside for a request, until it is told once what it cost."""

    def __init__(self, purse: _Purse, parts: int) -> None:
        self.parts = parts
        self._purse: _Purse | None = purse

    def settle(self, parts: int) -> None:
        """What the request cost; the rest is there again. Told a second time, nothing happens."""
        purse, self._purse = self._purse, None
        if purse is not None:
            purse.open -= 1
            purse.free += self.parts - parts


class Purses:
    """The budgets of all clients.

    Parameters
    ----------
    unit
        Of the parts: what was used in another unit does not count.
    till
        Of a database that several servers share, asked in a thread; None counts in this process.
    clock
        Seconds since 1970.
    """

    def __init__(self, unit: str, till: Till | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._unit = unit
        self._till = till
        self._clock = clock
        self._own = _Own()
        self._drawing: set[asyncio.Future[int]] = set()
        self._purses: dict[tuple[str, str], _Purse] = {}
        self.problem = ""

    async def reserve(self, name: str, limit: int, period: str, most: int, *, least: int | None = None) -> Held:
        """Set parts aside for a request of a client, before anything is spent.

        Parameters
        ----------
        limit
            What the client may spend in a period.
        period
            "hour", "day", "month" (of UTC) or "ever".
        most
            What the request may come to.
        least
            What it makes do with: then between the two are set aside, and `Held.parts` is the request's cap. By
            default as `most`.

        Raises
        ------
        Exhausted
            When less is left.
        StoreError
            When the database cannot be used, and what is in hand is not enough.
        """
        key, end = window(period, self._clock())
        purse = self._purses.setdefault((name, key), _Purse(end))
        most = max(1, most)
        least = max(1, most if least is None else min(least, most))
        advance = 0 if self._till is None else limit // ADVANCE
        while purse.free < most:
            async with purse.turn:
                lacking = most - purse.free
                if lacking <= 0:
                    break
                enough = max(1, least - purse.free)
                drawing = self._draw(purse, (name, key), limit, least=enough, most=lacking + advance)
                try:
                    if await self._whole(drawing) < lacking:
                        break
                except StoreError:
                    if purse.free < least:
                        raise
                    break
        granted = min(most, purse.free)
        if granted < least:
            raise Exhausted(name, period, None if end is None else max(1.0, end - self._clock()))
        purse.free -= granted
        purse.open += 1
        purse.used = True
        return Held(purse, granted)

    async def beat(self) -> None:
        """Put back what was drawn and is not used, and forget periods that are over; to be called again and again."""
        now = self._clock()
        over: set[str] = set()
        try:
            for (name, key), purse in list(self._purses.items()):
                past = purse.end is not None and now >= purse.end
                await self._put(name, key, purse)
                if not purse.open and not purse.free and not purse.turn.locked() and (past or not purse.used):
                    self._purses.pop((name, key), None)
                    over.update({key} if past else ())
                purse.used = False
            for key in over:
                await self._forget(key)
            self.problem = ""
        except StoreError as error:
            self.problem = str(error)

    async def close(self) -> None:
        """Put back all that is in hand."""
        for purse in self._purses.values():
            purse.used = False
        await self.beat()

    # ------------------------------------------------------------ inside

    async def _draw(self, purse: _Purse, key: tuple[str, str], limit: int, *, least: int, most: int) -> int:
        name, period = key
        if self._till is None:
            drawn = self._own.draw(name, period, limit, least=least, most=most)
        else:
            drawn = await asyncio.to_thread(self._till.draw, self._name(name), period, limit, least=least, most=most)
        purse.free += drawn
        return drawn

    async def _whole(self, drawing: Coroutine[Any, Any, int]) -> int:
        """Draw to the end though the request is cancelled: what was drawn must come into hand."""
        task = asyncio.ensure_future(drawing)
        self._drawing.add(task)
        task.add_done_callback(self._drawing.discard)
        return await asyncio.shield(task)

    async def _put(self, name: str, key: str, purse: _Purse) -> None:
        if purse.free < 0 or (purse.free and not purse.used):
            parts, purse.free = purse.free, 0  # if the database fails now, it counts as used
            if self._till is None:
                self._own.put(name, key, parts)
            else:
                await asyncio.to_thread(self._till.put, self._name(name), key, parts)

    async def _forget(self, key: str) -> None:
        if self._till is None:
            self._own.forget(key)
        else:
            await asyncio.to_thread(self._till.forget, key)

    def _name(self, name: str) -> str:
        return f"{self._unit} {name}"


def window(period: str, now: float) -> tuple[str, float | None]:
    """The name of the period that a moment lies in, and when it ends; both moments in seconds since 1970.

    Examples
    --------
    >>> window("day", 90_000.0)
    ('day 1970-01-02', 172800.0)
    >>> window("ever", 90_000.0)
    ('ever', None)
    """
    then = datetime.fromtimestamp(now, UTC)
    hour = then.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    if period == "hour":
        return f"hour {hour:%Y-%m-%dT%H}", (hour + timedelta(hours=1)).timestamp()
    if period == "day":
        return f"day {day:%Y-%m-%d}", (day + timedelta(days=1)).timestamp()
    if period == "month":
        following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        return f"month {day:%Y-%m}", following.timestamp()
    if period == EVER:
        return EVER, None
    raise ValueError(f"expected a period hour, day, month or ever, found {period!r}")


class _Purse:
    """What is in hand of a client's budget in one period: `free` parts, and `open` requests that hold others."""

    def __init__(self, end: float | None) -> None:
        self.end = end
        self.free = 0
        self.open = 0
        self.used = True  # since the last beat
        self.turn = asyncio.Lock()


class _Own:
    """A till of this process."""

    def __init__(self) -> None:
        self._taken: dict[tuple[str, str], int] = {}

    def draw(self, name: str, period: str, limit: int, *, least: int, most: int) -> int:
        drawn = min(most, limit - self._taken.get((name, period), 0))
        if drawn < least or drawn <= 0:
            return 0
        self._taken[name, period] = self._taken.get((name, period), 0) + drawn
        return drawn

    def put(self, name: str, period: str, parts: int) -> None:
        self._taken[name, period] = max(0, self._taken.get((name, period), 0) - parts)

    def forget(self, period: str) -> None:
        self._taken = {key: taken for key, taken in self._taken.items() if key[1] != period}
