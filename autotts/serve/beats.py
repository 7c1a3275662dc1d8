"""Work that is done again and again beside the requests: a pause, a beat, until it is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Beat = Callable[[], Awaitable[None]]


@asynccontextmanager
async def beating(beat: Beat, every: float) -> AsyncIterator[None]:
    """Call `beat` every so many seconds while inside; one that has begun is waited for at the end."""
    over = asyncio.Event()

    async def live() -> None:
        while not over.is_set():
            try:
                async with asyncio.timeout(every):
                    await over.wait()
            except TimeoutError:
                await beat()

    task = asyncio.create_task(live())
    try:
        yield
    finally:
        over.set()
        await task
