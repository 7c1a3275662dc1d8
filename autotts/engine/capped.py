"""The search budget: what new work may cost, reserved before and settled after, never exceeded under concurrency.

It stands inside the memo, so that only work that is really done is counted; a plan's own limit is the scheduler's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

from autotts.core.cost import Prices
from autotts.core.plan import Score
from autotts.core.world import Binding, Meter, Reply, Request, World
from autotts.errors import SearchBudgetReached

DRAWN, SCORED, CANCELLED = "drawn", "scored", "cancelled"


class Ledger:
    """What a search may spend and has spent, in whole parts of one unit; `limit` None is no limit.

    Attributes
    ----------
    spent, reserved
        Settled so far, and the most that what is running may still come to: together never more than the limit.
    by
        What was settled, by (binding id, "drawn" | "scored" | "cancelled").

    Examples
    --------
    >>> ledger = Ledger(100)
    >>> ledger.reserve(70), ledger.reserve(31)
    (True, False)
    >>> ledger.settle("S@1", DRAWN, reserved=70, parts=20)
    >>> ledger.spent, ledger.reserved, ledger.left
    (20, 0, 80)
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.spent = 0
        self.reserved = 0
        self.by: dict[tuple[str, str], int] = {}
        self._queue: deque[tuple[asyncio.Future[None], int]] = deque()

    @property
    def left(self) -> int | None:
        """What may still be reserved."""
        return None if self.limit is None else self.limit - self.spent - self.reserved

    def reserve(self, parts: int) -> bool:
        """Set so much aside, if it is there."""
        if self.limit is not None and self.spent + self.reserved + parts > self.limit:
            return False
        self.reserved += parts
        return True

    async def claim(self, parts: int) -> None:
        """Set so much aside, waiting in line while what is running may still give back enough.

        Raises
        ------
        SearchBudgetReached
            When nothing is running that could give it back.
        """
        if not self._queue and self.reserve(parts):
            return
        if not self.reserved:
            raise self._reached(parts)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((turn, parts))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.exception() is None:  # it was served in the same moment
                self.reserved -= parts
            self._serve()
            raise

    def settle(self, binding: str, kind: str, *, reserved: int, parts: int) -> None:
        """Give back what was set aside and charge what it came to."""
        self.reserved -= reserved
        self.spent += parts
        self.by[binding, kind] = self.by.get((binding, kind), 0) + parts
        self._serve()

    def _serve(self) -> None:
        """Whoever waits is served in line; the first that nothing running could make room for is refused."""
        while self._queue:
            turn, parts = self._queue[0]
            if turn.done():
                pass  # it has gone away
            elif self.reserve(parts):
                turn.set_result(None)
            elif self.reserved:
                return
            else:
                turn.set_exception(self._reached(parts))
            self._queue.popleft()

    def _reached(self, parts: int) -> SearchBudgetReached:
        return SearchBudgetReached(
            f"the search budget of {self.limit} is reached: {self.spent} are spent, and the next draw may need {parts}"
        )


class Capped:
    """A world whose work is paid from a ledger: it stands inside the memo.

    Before an order is answered the most that it can cost is set aside: its whole prompt, and tokens up to the stop
    of the ask or `max_tokens` of the binding (0 for a scorer that generates nothing). Afterwards what was used is
    charged; of a draw that was cancelled or broke, its prompt and what its meter counted.

    Parameters
    ----------
    prices
        By binding id, where the ledger's unit is not the bindings' own.
    """

    def __init__(self, world: World, ledger: Ledger, prices: Mapping[str, Prices] | None = None) -> None:
        self.ledger = ledger
        self._world = world
        self._prices = prices or {}

    @property
    def bindings(self) -> Mapping[str, Binding]:
        """Those of the world."""
        return self._world.bindings

    async def answer(self, order: Request, states: tuple[Any, ...], meter: Meter) -> Reply:
        """Answer one order, if the ledger has room for it; `SearchBudgetReached` otherwise."""
        name = order.binding.id
        prices = self._prices.get(name, order.binding.prices)
        most = _most(order, prices)
        await self.ledger.claim(most)
        try:
            reply = await self._world.answer(order, states, meter)
        except BaseException:
            made = prices.of_prompt(order.prefix, order.prefix) + prices.of_generated(order.prefix, meter.generated)
            self.ledger.settle(name, CANCELLED, reserved=most, parts=made)
            raise
        usage = reply.usage
        whole = usage.prompt + usage.cached
        made = prices.of_prompt(whole, usage.prompt) + prices.of_generated(whole, usage.generated + usage.cancelled)
        kind = SCORED if type(order.ask) is Score else DRAWN
        self.ledger.settle(name, kind, reserved=most, parts=made)
        return reply


def _most(order: Request, prices: Prices) -> int:
    """The most that an order can cost."""
    tokens = order.binding.max_tokens
    if type(order.ask) is not Score and isinstance(order.ask.spec.stop, int):
        tokens = min(tokens, order.ask.spec.stop)
    dearer = max(0, prices.cached - prices.prompt) * order.prefix
    return prices.of_prompt(order.prefix, order.prefix) + dearer + prices.of_generated(order.prefix, tokens)
