"""Stored draws first. Owns the draws that run, so that one outlives the plan that asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol

from autotts.core.cost import Usage
from autotts.core.node import Key, Node
from autotts.core.plan import Blend
from autotts.core.world import Binding, Meter, Reply, World
from autotts.engine.orders import Order


class Samples(Protocol):
    """Finished draws by key."""

    def get(self, key: Key) -> Reply | None:
        """The stored reply, or None."""
        ...

    def put(self, order: Order, reply: Reply) -> None:
        """Keep a reply; called once for each key, as it lands."""
        ...


class Memory:
    """Samples that end with the process."""

    def __init__(self) -> None:
        self.replies: dict[Key, Reply] = {}

    def get(self, key: Key) -> Reply | None:
        """The kept reply, or None."""
        return self.replies.get(key)

    def put(self, order: Order, reply: Reply) -> None:
        """Keep a reply."""
        self.replies[order.key] = reply


class Flight:
    """One running draw and who waits for it: `landed` is called once, `moved` whenever its meter counts."""

    __slots__ = ("meter", "task", "waiting")

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.task: asyncio.Task[Reply]
        self.waiting: list[tuple[Order, Watch]] = []

    def moved(self, count: int) -> bool:
        """Tokens are about to be counted; they are always wanted here."""
        for order, watch in self.waiting:
            watch.moved(order)
        return True


class Watch(Protocol):
    """A plan that waits for flights."""

    def moved(self, order: Order) -> None:
        """The order's meter is about to count tokens."""
        ...

    def landed(self, order: Order, task: asyncio.Task[Reply]) -> None:
        """The order's draw has ended: a reply, an exception, or cancelled."""
        ...


class Memo:
    """`async with Memo(world, samples)`: one flight for each key, shared by all plans of the scope.

    Leaving the scope waits for the draws still running; leaving it by an exception or a cancellation cancels them.
    A draw that breaks fails the plans that wait for it, and is not kept.

    Attributes
    ----------
    made, reused
        How many replies came from the world, and how many orders were answered by a stored or running draw.
    spend
        New work by binding id, as the world counted it; what a broken or cancelled draw had made is `cancelled`.
    """

    def __init__(self, world: World, samples: Samples) -> None:
        self.world = world
        self.samples = samples
        self.bindings: Mapping[str, Binding] = world.bindings
        self.spend: dict[str, Usage] = {}
        self.made = 0
        self.reused = 0
        self._roots: dict[Key, Any] = {}
        self._flights: dict[Key, Flight] = {}
        self._open = False

    async def __aenter__(self) -> Memo:
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            while error is None and self._flights:
                await asyncio.wait([flight.task for flight in self._flights.values()])
        finally:
            self._open = False
            tasks = [flight.task for flight in self._flights.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def running(self) -> int:
        """How many draws run now."""
        return len(self._flights)

    def root(self, node: Node, state: Any) -> Node:
        """Make a root known, with the state (the prompt) that worlds see."""
        self._roots[node.key] = state
        return node

    def stored(self, order: Order) -> Reply | None:
        """The reply that is kept for an order, if any."""
        reply = self.samples.get(order.key)
        if reply is not None:
            self.reused += 1
        return reply

    def begin(self, order: Order, watch: Watch) -> None:
        """Start the draw or share the one in flight; a later asker reads the first one's meter."""
        flight = self._flights.get(order.key)
        if flight is None:
            flight = self._take_off(order)
        else:
            self.reused += 1
            order.meter = flight.meter
        flight.waiting.append((order, watch))

    def _take_off(self, order: Order) -> Flight:
        if not self._open:
            raise RuntimeError("a Memo begins draws inside its scope: use `async with Memo(world, samples) as memo`")
        flight = Flight(order.meter)
        order.meter.moved = flight.moved
        flight.task = asyncio.get_running_loop().create_task(self._fetch(order))
        self._flights[order.key] = flight
        flight.task.add_done_callback(lambda task: self._landed(order, flight, task))
        return flight

    async def _fetch(self, order: Order) -> Reply:
        reply = await self.world.answer(order, self._states(order), order.meter)
        self.samples.put(order, reply)
        return reply

    def _landed(self, order: Order, flight: Flight, task: asyncio.Task[Reply]) -> None:
        del self._flights[order.key]
        if task.cancelled() or task.exception() is not None:  # asking marks the exception as seen
            usage = Usage(cancelled=order.meter.generated)
        else:
            usage = task.result().usage
            self.made += 1
        name = order.binding.id
        self.spend[name] = self.spend.get(name, Usage()) + usage
        for waiting, watch in flight.waiting:
            watch.landed(waiting, task)

    def _states(self, order: Order) -> tuple[Any, ...]:
        ask = order.ask
        return tuple(self._state(node) for node in (ask.nodes if type(ask) is Blend else (ask.node,)))

    def _state(self, node: Node) -> Any:
        if node.key in self._roots:
            return self._roots[node.key]
        reply = self.samples.get(node.key)
        if reply is None:
            raise RuntimeError(f"no state for node {node.key.hex()}: call memo.root(node, state) before the plan runs")
        return reply.state
