"""A fake server of one model, and clients of it, for the tests of what goes wrong at it and of its pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx

from autotts.worlds.fake_server import FakeModel, FakeServer, Faults, echo

T = TypeVar("T")

WORDS = " ".join(f"word{i}" for i in range(40))
FORM: dict[str, Any] = {"model": "small", "prompt": "say something", "max_tokens": 100}
STREAM = {**FORM, "stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}


class Time:
    """A clock that a sleep sets forward."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        due = self.now + seconds
        await asyncio.sleep(0)
        self.now = max(self.now, due)


def fake(**options: Any) -> FakeServer:
    return FakeServer([FakeModel("small", echo(WORDS))], **options)


def faulty(*kinds: str | None, **options: Any) -> FakeServer:
    return fake(faults=Faults(listed=kinds), **options)


@asynccontextmanager
async def using(server: FakeServer) -> AsyncIterator[httpx.AsyncClient]:
    async with server, httpx.AsyncClient(base_url=server.url, timeout=20.0, verify=False) as client:
        yield client


def on(server: FakeServer, work: Callable[[httpx.AsyncClient], Awaitable[T]]) -> T:
    async def run() -> T:
        async with using(server) as client:
            return await work(client)

    return asyncio.run(run())


def post(server: FakeServer, form: dict[str, Any] = FORM) -> httpx.Response:
    return on(server, lambda client: client.post("/completions", json=form))


async def until(holds: Callable[[], bool]) -> None:
    """Wait for the server to see what its client did."""
    async with asyncio.timeout(20.0):
        while not holds():
            await asyncio.sleep(0.001)
