"""A plan on virtual time, fed from memory: deterministic, without an event loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from autotts.core.node import Node
from autotts.core.plan import Plan
from autotts.core.world import Binding, Reply
from autotts.engine.orders import Order, Outcome
from autotts.engine.scheduler import Scheduler


def replay(
    plan: Plan,
    root: Node,
    script: Callable[[Order], Reply],
    bindings: Mapping[str, Binding],
    *,
    cap: int | None = None,
) -> Outcome:
    """Run a plan whose replies are known.

    Parameters
    ----------
    script
        The reply to an order, such as a lookup by its sample key.
    bindings
        What each role that the plan names is bound to.
    cap
        The most the plan may cost, in parts of the bindings' unit: it ends at the last moment that fits.
    """
    scheduler = Scheduler(plan, root, bindings, cap=cap)
    deliver, step = scheduler.deliver, scheduler.step
    try:
        scheduler.start()
        while scheduler.outcome is None:
            if scheduler.wanted:
                for order in scheduler.take_wanted():
                    deliver(order, script(order))
            step()
    except BaseException:
        scheduler.close()
        raise
    return scheduler.outcome
