"""Plans on an event loop.

`search` runs on virtual time over a memo; `serve` on the clock, with real cancellation and without stored draws.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from autotts.core.node import Key, Node
from autotts.core.plan import Blend, Plan, Score
from autotts.core.world import Reply, World
from autotts.engine.ledger import concerns, payer
from autotts.engine.memo import Memo
from autotts.engine.orders import Order, Outcome
from autotts.engine.scheduler import Scheduler


async def search(plan: Plan, root: Node, memo: Memo, *, cap: int | None = None) -> Outcome:
    """Run a plan on virtual time, stored draws first; the outcome is that of `replay` on the same draws.

    A draw that is dropped still runs to its end, for others. An exception of the world, of the store or of the plan
    ends this plan with that exception; the draws that it began run on in the memo's scope.

    Parameters
    ----------
    root
        Known to the memo by `memo.root`.
    cap
        The most the plan may cost, in parts of the bindings' unit: it ends at the last moment that fits.
    """
    return await Searching(Scheduler(plan, root, memo.bindings, cap=cap), memo).run()


class Searching:
    """One plan over a memo, from its start to its outcome."""

    def __init__(self, scheduler: Scheduler, memo: Memo) -> None:
        self._scheduler = scheduler
        self._memo = memo
        self._payer = payer()
        self._wake = asyncio.Event()
        self._broken: BaseException | None = None

    async def run(self) -> Outcome:
        """Run it."""
        scheduler, wake = self._scheduler, self._wake
        ready, step = scheduler.ready, scheduler.step
        try:
            scheduler.start()
            while scheduler.outcome is None:
                if scheduler.wanted:
                    self._begin()
                if self._broken is not None:
                    raise self._broken
                if ready():
                    step()
                    continue
                wake.clear()
                await wake.wait()
        except BaseException:
            scheduler.close()  # its orders are dropped, so that what lands later is not for it
            raise
        return scheduler.outcome

    def _begin(self) -> None:
        memo, deliver = self._memo, self._scheduler.deliver
        for order in self._scheduler.take_wanted():
            reply = memo.stored(order)
            if reply is not None:
                deliver(order, reply)
            else:
                memo.begin(order, self)

    def moved(self, order: Order) -> None:
        """A running draw has shown tokens, so that an arrival may be decided."""
        if not self._scheduler.idle:
            self._wake.set()

    def landed(self, order: Order, task: asyncio.Task[Reply]) -> None:
        """A draw has ended."""
        if not order.live:
            return
        if task.cancelled():
            self._broken = asyncio.CancelledError("the memo's scope was left while this plan waited for a draw")
        elif (error := task.exception()) is None:
            self._scheduler.deliver(order, task.result())
        elif concerns(error, self._payer):
            self._broken = error
        else:  # the limit of whoever began it: this plan begins it again
            self._scheduler.wanted.append(order)
        self._wake.set()


async def serve(
    plan: Plan,
    root: Node,
    state: Any,
    world: World,
    *,
    cap: int | None = None,
    deadline: float | None = None,
    hang_up: asyncio.Event | None = None,
    kept: dict[Key, Any] | None = None,
) -> Outcome:
    """Run a plan on the clock: draws are cancelled the moment they are not needed, and none is stored.

    Whatever ends it, nothing of it runs on. Cancelling this call loses the bill; a hang-up settles it.

    Parameters
    ----------
    state
        What the world sees of the root: the prompt.
    cap
        The most the plan may cost, in parts of the bindings' unit. A prompt that would exceed it is not sent; tokens
        are counted as they come, so that a world that asks its meter before each token never exceeds it. A server
        makes some more until it hears that it shall stop: they are in the bill.
    deadline
        Seconds from now; the plan then ends with its last offer.
    hang_up
        Set it to end the plan with its last offer ("hang-up").
    kept
        The states of the root and of the draws that arrive are put here, by their keys.
    """
    states = {} if kept is None else kept
    states[root.key] = state
    serving = _Serving(Scheduler(plan, root, world.bindings, cap=cap, on_clock=True), states, world)
    return await serving.run(deadline, hang_up)


class _Serving:
    """One plan on the clock; its moments are milliseconds since it began."""

    def __init__(self, scheduler: Scheduler, states: dict[Key, Any], world: World) -> None:
        self._scheduler = scheduler
        self._states = states
        self._world = world
        self._loop = asyncio.get_running_loop()
        self._zero = self._loop.time()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._dropped: list[tuple[Order, int]] = []  # with the tokens that each was charged then
        self._over = asyncio.Event()
        self._broken: BaseException | None = None

    async def run(self, deadline: float | None, hang_up: asyncio.Event | None) -> Outcome:
        scheduler = self._scheduler
        timer = None if deadline is None else self._loop.call_later(deadline, self._stop, "deadline")
        watcher = None if hang_up is None else self._loop.create_task(self._listen(hang_up))
        try:
            scheduler.start()
            self._turn()
            await self._over.wait()
            if self._broken is not None:
                raise self._broken
        except BaseException:
            scheduler.close()
            raise
        finally:
            if timer is not None:
                timer.cancel()
            tasks = [*self._tasks.values(), *([] if watcher is None else [watcher])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, *self._ending, return_exceptions=True)  # these were told before
            for order, charged in self._dropped:
                scheduler.settle_late(order, order.meter.counted - charged)
        assert scheduler.outcome is not None
        return scheduler.outcome

    def _turn(self) -> None:
        """Cancel what is no longer wanted, then begin what is."""
        scheduler = self._scheduler
        for order in scheduler.take_dropped():
            self._dropped.append((order, order.shown))
            task = self._tasks.pop(order.seq, None)
            if task is not None:
                task.cancel()
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)
        for order in scheduler.take_wanted():
            order.meter.moved = partial(self._moved, order)
            order.meter.again = partial(self._again, order)
            task = self._loop.create_task(self._answer(order))
            self._tasks[order.seq] = task
            task.add_done_callback(partial(self._ended, order))
        if scheduler.outcome is not None:
            self._over.set()

    async def _answer(self, order: Order) -> None:
        ask = order.ask
        nodes = ask.nodes if type(ask) is Blend else (ask.node,)
        states = tuple(self._states[node.key] for node in nodes)
        reply = await self._world.answer(order, states, order.meter)
        if type(ask) is not Score:
            self._states[reply.value.key] = reply.state
        self._tasks.pop(order.seq, None)
        try:
            self._scheduler.arrive(order, reply, self._moment())
            self._turn()
        except Exception as error:  # of the plan: told to the caller of `serve`
            self._fail(error)

    def _ended(self, order: Order, task: asyncio.Task[None]) -> None:
        """Did the world break?"""
        error = asyncio.CancelledError("the world gave up a draw") if task.cancelled() else task.exception()
        if error is not None and order.live:
            self._fail(error)

    def _moved(self, order: Order, count: int) -> bool:
        """May so many more tokens of an order be made?"""
        scheduler = self._scheduler
        if not order.live:
            return False
        if scheduler.cap is None:
            return True
        price = order.binding.prices.of_generated(order.prefix + order.shown, count)
        if scheduler.cost_at(scheduler.now) + price <= scheduler.cap:
            return True
        self._stop("cap")
        return False

    def _again(self, order: Order) -> None:
        """Is there room for one more attempt at an order? It would read the whole prompt again."""
        scheduler = self._scheduler
        if scheduler.cap is None or not order.meter.calls:
            return
        price = order.binding.prices.of_prompt(order.prefix, order.prefix)
        if scheduler.cost_at(scheduler.now) + price > scheduler.cap:
            self._stop("cap")
            raise asyncio.CancelledError("the cap leaves no room for another attempt")

    async def _listen(self, hang_up: asyncio.Event) -> None:
        await hang_up.wait()
        self._stop("hang-up")

    def _stop(self, why: str) -> None:
        try:
            self._scheduler.now = self._moment()
            self._scheduler.stop(why)
            self._turn()
        except Exception as error:  # of the plan's offer: told to the caller of `serve`
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._broken = self._broken or error
        self._over.set()

    def _moment(self) -> int:
        return round((self._loop.time() - self._zero) * 1000)
