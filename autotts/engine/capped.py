"""The search budget: what new work may cost, reserved before and settled after, never exceeded under concurrency.

It stands inside the memo, so that only work that is really done is counted; a plan's own limit is the scheduler's.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any, Final

from autotts.core.cost import Prices
from autotts.core.plan import Score
from autotts.core.world import Binding, Meter, Reply, Request, World
from autotts.engine.ledger import Charge, Ledger
from autotts.errors import InputError

__all__ = ["CANCELLED", "DRAWN", "FAILED", "JUDGED", "KINDS", "LOST", "SCORED", "Capped", "Ledger"]

DRAWN = "drawn"
SCORED = "scored"  # by a reward model
JUDGED = "judged"  # by a scorer that generates
CANCELLED = "cancelled"  # draws and scores that nobody waited for, or that broke
FAILED = "failed"  # draws and scores that ended without a value
LOST = "lost"  # attempts that came to nothing, and what was in flight when a process died
AHEAD: Final = 16  # orders for which parts are set aside, at most, while they wait for their backend
KINDS = (DRAWN, SCORED, JUDGED, CANCELLED, FAILED, LOST)


class Capped:
    """A world whose work is paid from a ledger: it stands inside the memo.

    Before an order is answered the most that one attempt can cost is set aside: its whole prompt, and tokens up to
    the stop of the ask or `max_tokens` of the binding (0 for a scorer that generates nothing). Before a world begins
    another attempt (`Meter.begin`) as much is set aside again, or `SearchBudgetReached` is raised there. Afterwards
    what was used is charged. Of a draw that was cancelled or broke that is, for each attempt that was begun, its whole
    prompt as if nothing of it was cached, and what its meter counted, `ahead` included: never less than the backend
    counts. An order that still waited for its backend is charged nothing.

    It is paid from the innermost ledger that was open when the draw began: `with ledger.child(limit).open()` around
    a trial or a prompt. A memo begins a draw in the context of who asks first, so that one pays for a shared draw.

    A backend that takes more than it was asked for is charged what it took, so that a ledger can then show more than
    its limit; nothing is begun any more.

    Parameters
    ----------
    prices
        By binding id, where the ledger's unit is not the bindings' own. One that is missing is an error.

    Raises
    ------
    InputError
        When the price of a binding is unknown.
    """

    def __init__(self, world: World, ledger: Ledger, prices: Mapping[str, Prices] | None = None) -> None:
        self.ledger = ledger
        self._world = world
        self._ready: set[str] = set()  # bindings that make no order wait
        self._prices = {b.id: b.prices for b in world.bindings.values()} if prices is None else prices
        for binding in world.bindings.values():
            self._price(binding)

    @property
    def bindings(self) -> Mapping[str, Binding]:
        """Those of the world."""
        return self._world.bindings

    async def answer(self, order: Request, states: tuple[Any, ...], meter: Meter) -> Reply:
        """Answer one order, if the ledger has room for it; `SearchBudgetReached` otherwise."""
        ledger, prices = self.ledger.opened(), self._price(order.binding)
        most = _most(order, prices)
        ahead = None if order.binding.id in self._ready else AHEAD
        await ledger.claim(most, ahead)
        reserved = most

        def again() -> None:
            nonlocal reserved
            if most * (meter.calls + 1) > reserved:
                ledger.insist(most)
                reserved += most
            begin()

        def begin() -> None:
            nonlocal ahead
            if ahead is not None:
                ahead = None
                ledger.began()

        def look() -> None:  # when the world has been asked: one that does not make it wait has begun
            if not meter.waiting:
                begin()
                if not meter.calls:
                    self._ready.add(order.binding.id)

        meter.again = again
        if ahead is not None:
            asyncio.get_running_loop().call_soon(look)
        try:
            reply = await self._world.answer(order, states, meter)
        except BaseException:
            ledger.pay(reserved, [(order.binding.id, CANCELLED, _broken_off(order, meter, prices))])
            raise
        finally:
            meter.again = None
            begin()
        ledger.pay(reserved, _bill(order, reply, prices))
        return reply

    def _price(self, binding: Binding) -> Prices:
        try:
            return self._prices[binding.id]
        except KeyError:
            raise InputError(
                f"the prices of a search budget: expected those of {binding.id!r}, found them for "
                f"{', '.join(sorted(self._prices)) or 'nothing'}: give each model its price or size"
            ) from None


def _most(order: Request, prices: Prices) -> int:
    """The most that one attempt at an order can cost."""
    tokens = order.binding.max_tokens
    if type(order.ask) is not Score and isinstance(order.ask.spec.stop, int):
        tokens = min(tokens, order.ask.spec.stop)
    return _dearest(order.prefix, prices) + prices.of_generated(order.prefix, tokens)


def _dearest(prompt: int, prices: Prices) -> int:
    """The price of a prompt of which nobody knows what was cached."""
    return prices.of_prompt(prompt, prompt) + max(0, prices.cached - prices.prompt) * prompt


def _broken_off(order: Request, meter: Meter, prices: Prices) -> int:
    """The price of an order that has no reply: of every attempt at it."""
    if meter.waiting:
        return 0
    prompt = order.prefix if meter.prompt is None else meter.prompt
    made = meter.lost + meter.generated + meter.ahead
    return max(1, meter.calls) * _dearest(prompt, prices) + prices.of_generated(prompt, made)


def _bill(order: Request, reply: Reply, prices: Prices) -> list[Charge]:
    """The price of a reply, and of the attempts at it that came to nothing."""
    usage, name = reply.usage, order.binding.id
    whole = usage.prompt + usage.cached
    made = prices.of_prompt(whole, usage.prompt) + prices.of_generated(whole, usage.generated)
    lost = max(0, usage.calls - 1) * _dearest(whole, prices) + prices.of_generated(whole, usage.cancelled)
    bill = [(name, _kind(order, reply), made)]
    return [*bill, (name, LOST, lost)] if lost else bill


def _kind(order: Request, reply: Reply) -> str:
    if type(order.ask) is not Score:
        return FAILED if reply.value.failed else DRAWN
    if math.isnan(reply.value):
        return FAILED
    return JUDGED if order.binding.max_tokens else SCORED
