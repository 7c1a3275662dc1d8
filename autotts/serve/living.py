"""What goes on beside the requests: backends are looked at, the policy file is watched, accounts are shared."""

from __future__ import annotations

import gc
import logging
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from autotts.errors import AutottsError
from autotts.policy.controller import Controller
from autotts.policy.schema import Policy
from autotts.serve import purses, reload
from autotts.serve.beats import beating
from autotts.serve.ready import Ready
from autotts.serve.service import Service
from autotts.worlds.catalogue import session

if TYPE_CHECKING:
    from autotts.serve.bank import Bank
    from autotts.store.accounts import Holder

TEND: Final = 1.0  # seconds between two looks at what stands still

log: Final = logging.getLogger("autotts.serve")


@dataclass(frozen=True, slots=True)
class Beside:
    """What a service is connected to.

    Parameters
    ----------
    path
        The policy's file.
    budget
        The mean budget in parts that was given, None for that of the policy.
    workers
        How many processes serve together.
    engine
        The database that they share (`store.database.open`), or None.
    """

    path: Path
    budget: float | None = None
    workers: int = 1
    engine: Any = None


@asynccontextmanager
async def living(service: Service, ready: Ready, beside: Beside) -> AsyncIterator[None]:
    """The scope in which a service answers; it is left when the last request has ended."""
    changes = service.changes
    shared: Bank | None = None

    async def take(policy: Policy) -> None:
        """Obey another policy from the next request on; one that cannot be is refused, and nothing changes."""
        if shared is None:
            service.ruling.adopt(policy, beside.budget)
            service.obey(policy)
        else:
            await shared.adopt(policy, beside.budget, partial(holder_of, beside.engine), service.obey)
        service.metrics.reloaded(True)

    watch = reload.Watch(beside.path, service.policy, take, lambda words: log.log(_grade(watch.problem), words))

    refused = 0

    async def tend() -> None:
        nonlocal refused
        for _ in range(watch.refused - refused):
            service.metrics.reloaded(False)
        refused = watch.refused
        changes.look(service.watched)
        changes.say("policy file", watch.problem)
        changes.say("clients' budgets", service.purses.problem)
        service.metrics.save()

    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(session(service.world))
            await stack.enter_async_context(ready.watching())
            if beside.engine is not None and isinstance(service.ruling, Controller):
                from autotts.serve import bank  # with the database's library, which takes half a second

                account = bank.account_of(service.policy, service.ruling.budget)
                holder = holder_of(beside.engine, account, math.floor(service.ruling.bound))
                shared = bank.Bank(
                    service.ruling,
                    holder,
                    servers=beside.workers,
                    tell=lambda words: changes.say("shared budget", words),
                )
                await stack.enter_async_context(shared)
                await stack.enter_async_context(beating(shared.beat, bank.BEAT))
            stack.push_async_callback(service.purses.close)
            await stack.enter_async_context(beating(service.purses.beat, purses.BEAT))
            await stack.enter_async_context(beating(tend, TEND))
            stack.callback(service.metrics.save, last=True)
            await stack.enter_async_context(watch.watching())
        except AutottsError as fault:
            service.fault = fault
            raise
        except Exception:
            log.exception("a mistake of this server keeps it from beginning")
            raise
        gc.collect()
        gc.freeze()  # what lives as long as the server is not looked through again and again
        yield


def holder_of(engine: Any, account: str, bound: int) -> Holder:
    """This server's part in an account that others share."""
    from autotts.store.accounts import Holder

    return Holder(engine, account, bound)


def _grade(problem: str) -> int:
    """How loud the log is."""
    return logging.WARNING if problem else logging.INFO
