"""Work that is done again and again beside the requests: a pause, a beat, until it is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

log: Final = logging.getLogger("autotts.serve")

Beat = Callable[[], Awaitable[None]]


@asynccontextmanager
async def beating(beat: Beat, every: float) -> AsyncIterator[None]:
    """Call `beat` every so many seconds while inside; one that has begun is waited for at the end.

    One that fails is logged, once until it succeeds again, and the next is called all the same.
    """
    over, well = asyncio.Event(), True

    async def live() -> None:
        nonlocal well
        while not over.is_set():
            try:
                async with asyncio.timeout(every):
                    await over.wait()
            except TimeoutError:
                try:
                    await beat()
                    well = True
                except Exception:  # a mistake in it would otherwise end it unseen, and the server would go on without
                    if well:
                        log.exception("what goes on beside the requests failed; it is tried again")
                    well = False

    task = asyncio.create_task(live())
    try:
        yield
    finally:
        over.set()
        await task
