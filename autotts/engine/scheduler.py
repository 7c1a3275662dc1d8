"""One plan, step by step, without I/O and without a clock.

It is told what has arrived and says which orders it needs and which it no longer needs; `replay`, `live.search` and
`live.serve` are its three engines. On virtual time an order arrives at begun + generated tokens x ticks; on the
clock it arrives when it does. The cost is exact at every moment: prompts are charged when an order is issued,
generated tokens when they settle, and those of a dropped order up to that moment, rounded up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from heapq import heappop, heappush
from types import GeneratorType
from typing import Any

from autotts.core.node import Choice, Key, Node
from autotts.core.plan import MISSING, Arrivals, Draw, Join, Offer, Plan, Score
from autotts.core.world import Binding, Reply
from autotts.engine.orders import Echo, Frame, Keys, Order, Outcome, Waiting
from autotts.engine.paths import Book, Paths
from autotts.errors import PlanError


class _Ended(Exception):
    """The plan is ended from outside while it runs."""


class Scheduler:
    """The state of one plan. Engines call the methods above the line `inside`, in this order:

    `start()`, then until `outcome` is set: `take_wanted()`, begin those orders, `deliver` what is known,
    `step()` while `ready()`; on the clock `arrive` instead of `deliver` and `step`.

    Parameters
    ----------
    cap
        The most the plan may cost, in parts of the bindings' unit.
    on_clock
        Orders arrive when the engine says so, and running tokens are those that the meters show.
    """

    def __init__(
        self,
        plan: Plan,
        root: Node,
        bindings: Mapping[str, Binding],
        *,
        cap: int | None = None,
        on_clock: bool = False,
    ) -> None:
        self.cap = cap
        self.on_clock = on_clock
        self.now = 0
        self.outcome: Outcome | None = None
        self.wanted: list[Order] = []
        self.total = 0  # settled cost
        self._known = 0  # price of what orders have generated whose reply is known but has not arrived
        self._seq = 0
        self._asks = 0
        self._dropped: list[Order] = []
        self._running: dict[int, Order] = {}
        self._unknown: dict[int, Order] = {}  # running, reply not known; oldest first
        self._scored: dict[Key, Order] = {}
        self._heap: list[tuple[int, int, Waiting]] = []
        self._keys = Keys(bindings)
        self._paths = Paths(root)
        self._books: dict[str, Book] = {}
        self._offers: list[Choice] = []
        self._root = self._frame(plan, None, 0)

    def start(self) -> None:
        """Run the plan up to its first `Join`."""
        try:
            self._resume(self._root, None)
        except _Ended as end:
            self.stop(str(end))
        if self.on_clock:
            self._drain()

    def take_wanted(self) -> list[Order]:
        """Orders to begin; one that was issued and dropped in the same turn is never begun."""
        orders, self.wanted = self.wanted, []
        return [order for order in orders if order.live]

    def take_dropped(self) -> list[Order]:
        """Orders that are no longer wanted."""
        orders, self._dropped = self._dropped, []
        return orders

    def deliver(self, order: Order, reply: Reply) -> None:
        """The reply of an order is known; on virtual time it arrives when its tokens are generated."""
        if order.live:
            self._know(order, reply, order.begun + reply.usage.generated * order.binding.ticks)

    @property
    def idle(self) -> bool:
        """Nothing could arrive, whatever the meters show."""
        return not self._heap

    def ready(self) -> bool:
        """May the next arrival be decided? Not while an order whose reply is unknown could arrive before it."""
        heap = self._heap
        while heap and not heap[0][2].live:
            heappop(heap)
        if not heap:
            return False
        if self._unknown:
            due, seq, _ = heap[0]
            for order in self._unknown.values():  # it arrives no earlier than the tokens it has shown
                least = order.begun + order.meter.generated * order.binding.ticks
                if least < due or (least == due and order.seq < seq):
                    return False
        return True

    def step(self) -> None:
        """Let the next arrival happen."""
        try:
            self._step()
        except _Ended as end:
            self.stop(str(end))

    def arrive(self, order: Order, reply: Reply, now: int) -> None:
        """On the clock: the reply has arrived now."""
        if order.live and self.outcome is None:
            self.now = now
            self._know(order, reply, now)
            self._drain()

    def settle_late(self, order: Order, late: int) -> None:
        """On the clock: a dropped order has ended; charge what it made beyond what it was charged before."""
        if late > 0 and self.outcome is not None:
            order.book.cancelled += late
            self.total += order.binding.prices.of_generated(order.prefix + order.meter.counted - late, late)
            usage = {**self.outcome.usage, order.binding.id: order.book.usage()}
            self.outcome = replace(self.outcome, cost=self.total, usage=usage)

    def stop(self, why: str) -> None:
        """End now with the last offer: a cap, a deadline, a hang-up. The bill is settled."""
        if self.outcome is None:
            root = self._root
            late = root.offer(root.values) if root.offer is not None and root.values else None
            if late is not None:
                self._offers.append(late)
            self._end(why, self._offers[-1] if self._offers else None)

    def cost_at(self, moment: int) -> int:
        """What the plan costs if it ends at a moment from now on (on the clock: at this one)."""
        total = self.total
        for order in self._running.values():
            prices = order.binding.prices
            total += prices.of_generated(order.prefix, self._made(order, moment))
            if self.on_clock and order.repeats:
                total += order.repeats * prices.of_prompt(order.prefix, order.prefix)
        return total

    def close(self) -> None:
        """Give up a plan that failed: its generators are closed and nothing is decided."""
        for waiting in self._root.pending.values():
            self._cancel(waiting)
        self._root.pending = {}
        self._root.ask.close()

    # ---------------------------------------------------------------- inside

    def _drain(self) -> None:
        while self.outcome is None and self._heap:
            self.step()

    def _frame(self, plan: Plan, parent: Frame | None, pos: int) -> Frame:
        frame = Frame(self._seq, plan, parent, pos)
        self._seq += 1
        return frame

    def _know(self, order: Order, reply: Reply, due: int) -> None:
        order.reply = reply
        order.due = due
        usage = reply.usage
        order.worth = order.binding.prices.of_generated(usage.prompt + usage.cached, usage.generated)
        self._known += order.worth
        del self._unknown[order.seq]
        heappush(self._heap, (due, order.seq, order))
        if order.echoes:
            for echo in order.echoes:
                heappush(self._heap, (due, echo.seq, echo))

    def _step(self) -> None:
        heap = self._heap
        due, _, item = heap[0]
        while not item.live:
            heappop(heap)
            if not heap:
                return
            due, _, item = heap[0]
        if self.cap is not None and (self._unknown or self.total + self._known > self.cap):
            self._afford_until(due)
        heappop(heap)
        self.now = due
        item.live = False
        value = self._settle(item) if type(item) is Order else self._value(item)
        frame = item.frame
        assert frame is not None  # the root's frame ends the run, and never arrives
        del frame.pending[id(item.ask)]
        frame.slots[item.pos] = value
        frame.values.append(value)
        if self.on_clock and self.cap is not None and self.cost_at(due) > self.cap:
            raise _Ended("cap")  # a world that shows its tokens only at the end
        if not frame.pending or (frame.enough is not None and frame.enough(frame.values)):
            self._resume(frame, Arrivals(frame.asks, frame.slots, frame.values))

    def _settle(self, order: Order) -> Any:
        """An order has arrived: charge what it generated, and know its node."""
        reply, book, ask = order.reply, order.book, order.ask
        assert reply is not None
        usage = reply.usage
        book.generated += usage.generated
        self.total += order.worth
        self._known -= order.worth
        del self._running[order.seq]
        value = reply.value
        read = usage.prompt + usage.cached
        if type(ask) is Draw:
            if read != order.prefix and ask.node.depth == 0 and not value.failed:
                self._paths.learn(book, ask.node, read)
            self._paths.extend(value, ask.node)
            book.seen.add(value.key)
        elif type(ask) is not Score:
            self._paths.blend(value, read)
            book.seen.add(value.key)
        elif read != order.prefix and usage.calls:
            self._paths.learn(book, ask.node, read)
        if read != order.prefix:
            self._correct(order, read)
        if self.on_clock and (usage.cancelled or usage.calls > 1):
            self._waste(order, usage.cancelled, usage.calls - 1)
        return value

    def _waste(self, order: Order, made: int, repeats: int) -> None:
        """Charge attempts that came to nothing; on virtual time a draw costs what it would without faults."""
        prices, book = order.binding.prices, order.book
        book.cancelled += made
        book.prompt += repeats * order.prefix
        book.calls += repeats
        self.total += prices.of_generated(order.prefix, made) + repeats * prices.of_prompt(order.prefix, order.prefix)

    def _correct(self, order: Order, read: int) -> None:
        """The backend has read another number of tokens than was charged: the prompt's were a bound."""
        order.fresh, more = order.book.correct(order.fresh, order.prefix, read)
        order.prefix = read
        self.total += more

    @staticmethod
    def _value(item: Waiting) -> Any:
        if type(item) is Echo:
            assert item.first.reply is not None
            return item.first.reply.value
        assert type(item) is Frame
        return item.value

    def _resume(self, frame: Frame, send: Arrivals | None) -> None:
        """Run a plan until it waits or returns."""
        plan = frame.ask
        while True:
            try:
                item = plan.send(send)
            except StopIteration as stop:
                self._returned(frame, stop.value)
                return
            if type(item) is Join:
                self._open(frame, item)
                if frame.pending:
                    return
                send = Arrivals(frame.asks, frame.slots, frame.values)
            elif type(item) is Offer:
                if frame.frame is None:
                    self._offers.append(item.choice)
                send = None
            else:
                raise PlanError(f"a plan yields Join or Offer, found {type(item).__name__}")

    def _returned(self, frame: Frame, value: Any) -> None:
        if frame.frame is None:
            self._end("returned", value)
            return
        for waiting in frame.pending.values():
            self._cancel(waiting)
        frame.pending = {}
        frame.value = value
        heappush(self._heap, (self.now, frame.seq, frame))

    def _open(self, frame: Frame, join: Join) -> None:
        """Wait for a `Join`: drop what is not handed on, then issue what is new, in order."""
        asks, pending = join.asks, frame.pending
        kept: set[int] = set()
        if pending:
            wanted = {id(ask) for ask in asks}
            for i in [i for i in pending if i not in wanted]:
                self._cancel(pending[i])
                del pending[i]
            kept = set(pending)
        frame.asks, frame.enough, frame.offer = asks, join.enough, join.offer
        frame.slots = [MISSING] * len(asks)
        frame.values = []
        for pos, ask in enumerate(asks):
            i = id(ask)
            if i in kept:
                kept.discard(i)
                pending[i].pos = pos
            elif i in pending:
                raise PlanError("the same ask stands twice in one Join; make one object for each request")
            elif type(ask) is GeneratorType:
                pending[i] = child = self._frame(ask, frame, pos)
                self._resume(child, None)
            else:
                pending[i] = self._issue(frame, pos, ask)

    def _issue(self, frame: Frame, pos: int, ask: Any) -> Order | Echo:
        binding, key = self._keys.of(ask)
        book = self._books.get(binding.id)
        if book is None:
            book = self._books[binding.id] = Book(binding)
        seq = self._seq
        self._seq = seq + 1
        self._asks += 1
        kind = type(ask)
        if kind is Score:
            first = self._scored.get(key)
            if first is not None:
                return self._echo(Echo(seq, ask, frame, pos, first))
            new, whole = self._paths.show(book, ask.node)
            new, whole = new * binding.stretch, whole * binding.stretch
        elif kind is Draw:
            if ask.node.done and ask.spec.move == "extend":
                raise PlanError(f"the plan extends a node that is done (key {ask.node.key.hex()})")
            new, whole = self._paths.show(book, ask.node)
        else:
            new = whole = self._paths.together(ask.nodes)
        price = binding.prices.of_prompt(whole, new)
        if self.cap is not None and not self._affordable(price):
            raise _Ended("cap")
        self.total += price
        book.show(new, whole)
        order = Order(seq, ask, key, book)
        order.frame, order.pos, order.prefix, order.begun = frame, pos, whole, self.now
        order.fresh = new
        if kind is Score:
            self._scored[key] = order
        self._running[seq] = self._unknown[seq] = order
        self.wanted.append(order)
        return order

    def _echo(self, echo: Echo) -> Echo:
        """A text is scored once in a plan: a second ask for it waits for the first and is charged nothing."""
        first = echo.first
        self._paths.show(first.book, echo.ask.node)
        if first.live:
            if first.echoes is None:
                first.echoes = []
            first.echoes.append(echo)
        if first.reply is not None:
            heappush(self._heap, (max(self.now, first.due), echo.seq, echo))
        return echo

    def _made(self, order: Order, moment: int) -> int:
        """Tokens that a running order has generated at a moment: begun ones count."""
        reply = order.reply
        if self.on_clock:
            return order.shown if reply is None else reply.usage.generated
        made = -((order.begun - moment) // order.binding.ticks)
        return made if reply is None else min(made, reply.usage.generated)

    def _cancel(self, item: Waiting) -> None:
        if not item.live:
            return
        if type(item) is Order:
            if item.echoes is None or not self._hand_on(item):
                self._drop(item)
            return
        item.live = False
        if type(item) is Frame:
            item.ask.close()
            for waiting in item.pending.values():
                self._cancel(waiting)
            item.pending = {}

    def _hand_on(self, order: Order) -> bool:
        """Whoever waits for the same score takes the order over; nothing is cancelled then."""
        while order.echoes:
            echo = order.echoes.pop(0)
            if echo.live:
                echo.live = False
                order.ask, order.frame, order.pos = echo.ask, echo.frame, echo.pos
                echo.frame.pending[id(echo.ask)] = order
                return True
        return False

    def _drop(self, order: Order) -> None:
        order.live = False
        read = self._read(order)
        if read != order.prefix:
            self._correct(order, read)
        self._waste(order, self._made(order, self.now), order.repeats if self.on_clock else 0)
        if order.reply is None:
            del self._unknown[order.seq]
        else:
            self._known -= order.worth
        del self._running[order.seq]
        if type(order.ask) is Score:
            del self._scored[order.key]
        self._dropped.append(order)

    def _read(self, order: Order) -> int:
        """Tokens of its prompt as far as a dropped order can know them: on virtual time, from those that arrived."""
        meter = order.meter
        if self.on_clock and meter.prompt is not None:
            return meter.prompt
        if self.on_clock and meter.waiting and not order.fresh:
            return 0  # it was never sent, and no other counts on its prompt
        ask = order.ask
        if type(ask) is Draw and ask.node.depth == 0:
            return self._paths.length[ask.node.key] + order.book.shift
        return order.prefix

    def _affordable(self, price: int) -> bool:
        """May a prompt be charged now? Everything issued before it in the same turn is in the total."""
        cap, unknown = self.cap, self._unknown
        assert cap is not None
        # On virtual time, orders that began now have generated nothing: the sum of all that is known is a bound.
        if (
            not self.on_clock
            and self.total + self._known + price <= cap
            and (not unknown or next(iter(unknown.values())).begun == self.now)
        ):
            return True
        return self.cost_at(self.now) + price <= cap

    def _afford_until(self, moment: int) -> None:
        """End at the last moment whose cost is within the cap, if that is before `moment`."""
        cap = self.cap
        assert cap is not None
        if self.on_clock or self.cost_at(moment) <= cap:
            return
        low, high = self.now, moment
        while high - low > 1:
            middle = (low + high) // 2
            if self.cost_at(middle) <= cap:
                low = middle
            else:
                high = middle
        self.now = low
        raise _Ended("cap")

    def _end(self, why: str, choice: Choice | None) -> None:
        self.close()
        self.wanted = []
        usage = {name: book.usage() for name, book in self._books.items()}
        self.outcome = Outcome(choice, why, self.total, usage, self.now, self._asks, self._offers)
