"""The two ends of a client's line: knowing that it hung up, and not waiting for one that does not read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, MutableMapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from types import coroutine
from typing import Any, TypeVar, cast

from autotts.errors import AutottsError

T = TypeVar("T")

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
            await within(self._send(message), self._seconds)
        except TimeoutError:
            self._gone.set()
            raise Gone(f"the client did not take a piece within {self._seconds:g} s") from None
        except OSError as error:  # what servers raise for a line that is cut
            self._gone.set()
            raise Gone("the client hung up") from error


async def within(work: Awaitable[T], seconds: float) -> T:
    """The result of some work that has so many seconds; what need not wait at all needs no timer."""
    if not isinstance(work, Coroutine):
        async with asyncio.timeout(seconds):
            return await work
    try:
        first = work.send(None)
    except StopIteration as ended:
        return cast(T, ended.value)
    async with asyncio.timeout(seconds):
        return cast(T, await _rest(work, first))


@coroutine
def _rest(work: Coroutine[Any, Any, Any], first: Any) -> Generator[Any, Any, Any]:
    """Go on with what waits for `first`."""
    waits = first
    while True:
        try:
            found = yield waits
        except BaseException as error:
            step: Callable[[], Any] = partial(work.throw, error)
        else:
            step = partial(work.send, found)
        try:
            waits = step()
        except StopIteration as ended:
            return ended.value


@dataclass(slots=True)
class HangUp:
    """A client that may hang up: then `event` is set, and `call` is called if there is one."""

    event: asyncio.Event = field(default_factory=asyncio.Event)
    call: Callable[[], object] | None = None

    def happened(self) -> None:
        """It has hung up, or is to be treated as one that has."""
        self.event.set()
        if self.call is not None:
            self.call()


async def ending(work: Callable[[], Awaitable[None]], until: float | None, gone: HangUp) -> str:
    """Work until it is done ("returned"), the client hangs up ("hang-up"), or its time is over ("deadline").

    Parameters
    ----------
    until
        When its time is over, by `time.monotonic`; None is never.
    """
    loop, task, ended = asyncio.get_running_loop(), asyncio.current_task(), ""
    assert task is not None

    def end(why: str) -> None:
        nonlocal ended
        if not ended:
            ended = why
            task.cancel()

    timer = None if until is None else loop.call_later(max(0.0, until - time.monotonic()), end, "deadline")
    gone.call = partial(end, "hang-up")
    try:
        if gone.event.is_set():
            return "hang-up"
        await work()
        return "returned"
    except asyncio.CancelledError:
        if not ended:
            raise  # the server ends
        task.uncancel()
        return ended
    finally:
        gone.call = None
        if timer is not None:
            timer.cancel()


@asynccontextmanager
async def listen(receive: Receive) -> AsyncIterator[HangUp]:
    """Listens whether the client hangs up; to be entered once the request's body is read.

    Listening ends with the scope, so that no task is left behind.
    """
    gone = HangUp()
    task = asyncio.create_task(_disconnected(receive, gone))
    try:
        yield gone
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _disconnected(receive: Receive, gone: HangUp) -> None:
    """Wait for the end of the line; one that breaks while it is listened to has ended as well."""
    with suppress(OSError):
        while (await receive())["type"] != "http.disconnect":
            pass
    gone.happened()
