"""The two ends of a client's line: knowing that it hung up, and not waiting for one that does not read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from autotts.errors import AutottsError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Gone(AutottsError):
    """The client hung up, or does not read; nothing more can be said to it, and what works for it is to stop."""


class Patient:
    """An ASGI `send` that waits for the client a limited time a piece, and then takes it for gone.

    The server blocks `send` while the client's line is full. A client that reads a byte a second would otherwise hold
    its place, its memory and the backend's work for hours.

    Parameters
    ----------
    send
        The server's own.
    seconds
        How long one piece may wait to be handed over.
    gone
        Set when the client is taken for gone; what works for it may wait for this.
    """

    __slots__ = ("_gone", "_seconds", "_send")

    def __init__(self, send: Send, seconds: float, gone: asyncio.Event) -> None:
        self._send = send
        self._seconds = seconds
        self._gone = gone

    async def __call__(self, message: Message) -> None:
        """Hand a piece over.

        Raises
        ------
        Gone
            The client hung up, or did not take the piece in time.
        """
        if self._gone.is_set():
            raise Gone("the client hung up")
        try:
            async with asyncio.timeout(self._seconds):
                await self._send(message)
        except TimeoutError:
            self._gone.set()
            raise Gone(f"the client did not take a piece within {self._seconds:g} s") from None
        except OSError as error:  # what servers raise for a line that is cut
            self._gone.set()
            raise Gone("the client hung up") from error


@asynccontextmanager
async def listen(receive: Receive) -> AsyncIterator[asyncio.Event]:
    """An event that is set when the client hangs up; to be entered once the request's body is read.

    Listening ends with the scope, so that no task is left behind.
    """
    gone = asyncio.Event()
    task = asyncio.create_task(_disconnected(receive, gone))
    try:
        yield gone
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _disconnected(receive: Receive, gone: asyncio.Event) -> None:
    """Wait for the end of the line; one that breaks while it is listened to has ended as well."""
    with suppress(OSError):
        while (await receive())["type"] != "http.disconnect":
            pass
    gone.set()
