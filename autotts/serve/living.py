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
from typing import Any, Final

from autotts.errors import AutottsError
from autotts.policy.controller import Controller
from autotts.policy.schema import Policy
from autotts.serve import bank, purses, reload
from autotts.serve.bank import Bank, account_of
from autotts.serve.beats import beating
from autotts.serve.ready import Ready
from autotts.serve.service import Service
from autotts.store.accounts import Holder
from autotts.worlds.catalogue import session

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
            await shared.adopt(policy, beside.budget, partial(Holder, beside.engine), service.obey)
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
                account = account_of(service.policy, service.ruling.budget)
                holder = Holder(beside.engine, account, math.floor(service.ruling.bound))
                shared = Bank(
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


def _grade(problem: str) -> int:
    """How loud the log is."""
    return logging.WARNING if problem else logging.INFO
