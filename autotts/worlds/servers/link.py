"""One kept connection, and one request under way on it.

A stream of tokens comes in many small pieces, and each piece that wakes the event loop costs more than all that is done
with it. So where many streams run at once, all are read at common beats, a few tens of milliseconds apart.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Final

from autotts.worlds.servers.address import Address
from autotts.worlds.servers.fault import RESET, TIMEOUT, Fault
from autotts.worlds.servers.http1 import Incoming
from autotts.worlds.servers.limits import Timeouts

_HELD: Final = 1 << 20  # bytes that wait for their reader before a server is held up
_FEW: Final = 8  # streams that are read as they come
_PACE: Final = 0.0005  # seconds between two beats, per stream
_LONGEST_PACE: Final = 0.05
_HEARD: Final = 0.05  # seconds that a server has to hear that we hung up


class Pace:
    """How often the streams of one event loop are read: rarely where there are many, so that reads carry more.

    A stream that is paced is not watched by the event loop: each beat looks whether something has come.
    """

    def __init__(self) -> None:
        self.streams = 0
        self._paced: set[Link] = set()
        self._beating = False

    def add(self, link: Link) -> bool:
        """Read a stream at the beats from now on; False where there are so few that none has to be."""
        if self.streams <= _FEW:
            return False
        self._paced.add(link)
        if not self._beating:
            self._next()
        return True

    def remove(self, link: Link) -> None:
        """Read it no more."""
        self._paced.discard(link)

    def _next(self) -> None:
        self._beating = True
        asyncio.get_running_loop().call_later(min(_LONGEST_PACE, _PACE * self.streams), self._beat)

    def _beat(self) -> None:
        self._beating = False
        for link in tuple(self._paced):
            link.look()
        if self._paced:
            self._next()


class Link(asyncio.BufferedProtocol):
    """One connection, and the answer that comes in on it."""

    def __init__(self, pace: Pace, buffer: bytearray) -> None:
        self.lost: Final = asyncio.get_running_loop().create_future()
        self.idle_since = 0.0
        self._pace = pace
        self._buffer = memoryview(buffer)  # one for all links of a wire: what is read is copied out at once
        self._transport: asyncio.Transport | None = None
        self._file = -1  # of a plain connection on a system that can read it beside the event loop
        self._current: Flight | None = None
        self._paused = False
        self._leaving = False
        self._hurried = False

    @property
    def usable(self) -> bool:
        """Whether another request can be sent."""
        return self._transport is not None and not (self._leaving or self._transport.is_closing())

    def begin(self, flight: Flight, request: bytes) -> None:
        """Send a request, whose answer is the flight's."""
        assert self._transport is not None
        self._current = flight
        self._hurried = False
        self._transport.write(request)

    def end(self) -> None:
        """The answer is here, or not wanted any more."""
        self._current = None
        self._pace.remove(self)
        self.wake()

    def cut(self) -> None:
        """Close at once."""
        self._current = None
        self._pace.remove(self)
        if self._transport is not None:
            self._transport.abort()

    def hang_up(self) -> bool:
        """Send nothing more, which a server takes for the end, and read on what is on its way; False where TLS is."""
        if self._file < 0 or self._transport is None or self._transport.is_closing():
            return False
        self._leaving = True
        self._pace.remove(self)
        self._transport.write_eof()
        self.wake()
        return True

    def hurry(self) -> None:
        """Have the event loop read what comes, and not the beats: somebody waits for each piece."""
        self._hurried = True
        self._pace.remove(self)
        self.wake()

    def hold(self) -> None:
        """Have the event loop read no more."""
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def wake(self) -> None:
        """Have the event loop read on."""
        if self._paused and self._transport is not None:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def look(self) -> None:
        """Read what has come, beside the event loop."""
        flight = self._current
        if flight is None or self._file < 0 or flight.full:
            return
        try:
            size = os.readv(self._file, [self._buffer])
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            flight.lose(error)
            self.cut()
            return
        if size:
            self.buffer_updated(size)
        else:
            flight.lose(None)
            self.cut()

    # ------------------------------------------------------------------ called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if transport.get_extra_info("ssl_object") is None and hasattr(os, "readv"):
            self._file = transport.get_extra_info("socket").fileno()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have come."""
        flight = self._current
        if flight is None:
            self.cut()  # nobody asked
        elif flight.take(bytes(self._buffer[:nbytes])) and (flight.full or self._paces()):
            self.hold()

    def _paces(self) -> bool:
        """Whether it is read at the beats from now on."""
        busy = self._paused or self._leaving or self._hurried
        return self._file >= 0 and not busy and self._pace.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        self._file = -1
        self._pace.remove(self)
        flight, self._current = self._current, None
        if flight is not None:
            flight.lose(exc)
        if not self.lost.done():
            self.lost.set_result(None)


class Flight:
    """One request under way: an `Answer`."""

    def __init__(self, link: Link, address: Address, limits: Timeouts, leave: Callable[[Link, bool], None]) -> None:
        self._link = link
        self._address = address
        self._limits = limits
        self._leave = leave
        self._loop = asyncio.get_running_loop()
        self._incoming = Incoming()
        self._fault: Fault | None = None
        self._turn: asyncio.Future[None] | None = None
        self._held = 0
        self._closed = False
        now = self._loop.time()
        self._ends = now + limits.total
        self._last = 0.0  # when a piece of the body came
        self._watch = self._loop.call_at(min(now + limits.first, self._ends), self._look)

    @property
    def status(self) -> int:
        """Of its head."""
        return self._incoming.status

    @property
    def headers(self) -> Mapping[str, str]:
        """Of its head."""
        return self._incoming.headers

    @property
    def full(self) -> bool:
        """Whether so much waits to be read that the server is held up."""
        return self._held > _HELD

    async def head(self) -> None:
        """Wait for the head."""
        while not self._incoming.status:
            await self._wait()

    async def read(self) -> bytes:
        """The next piece: all that has come by now."""
        incoming = self._incoming
        while not (pieces := incoming.pieces):
            if incoming.ended:
                return b""
            await self._wait()
        found = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        if self.full:
            self._link.wake()
        self._held = 0
        return found

    def hurry(self) -> None:
        """Read it as it comes, however many others do."""
        if not self._incoming.ended:
            self._link.hurry()

    async def leave(self) -> bytes:
        """Hang up, and hear what the server sent until it heard that: it was made, and nobody else will say so.

        A server that goes on all the same is cut off a few tens of milliseconds later.
        """
        self._link.look()
        try:
            if self._link.hang_up():
                async with asyncio.timeout(_HEARD):
                    while not self._incoming.ended:
                        await self._wait()
            else:
                for _ in range(2):  # the event loop looks once at what the network has
                    await asyncio.sleep(0)
        except (Fault, TimeoutError):
            pass
        found = b"".join(self._incoming.pieces)
        self._incoming.pieces.clear()
        return found

    async def close(self) -> None:
        """End it; the connection is kept where the answer is whole, and cut otherwise."""
        if self._closed:
            return
        self._closed = True
        self._watch.cancel()
        self._leave(self._link, self._incoming.ended and self._incoming.keeps and self._fault is None)

    async def _wait(self) -> None:
        if self._fault is not None:
            raise self._fault
        self._turn = self._loop.create_future()
        try:
            await self._turn
        finally:
            self._turn = None

    # ------------------------------------------------------------------ called by the link

    def take(self, data: bytes) -> bool:
        """Bytes have come; True where the stream may rest a while now."""
        incoming = self._incoming
        try:
            incoming.feed(data)
        except Fault as fault:
            self._fail(fault.kind, str(fault))
            self._link.cut()
            return False
        if incoming.pieces:
            now = self._loop.time()
            if not self._last:  # from now on it is the time between pieces that counts
                self._watch.cancel()
                self._watch = self._loop.call_at(min(now + self._limits.between, self._ends), self._look)
            self._last = now
            self._held += len(data)
        self._rouse()
        return bool(incoming.status) and not incoming.ended

    def lose(self, error: Exception | None) -> None:
        """The connection is gone."""
        try:
            if error is not None and not self._incoming.ended:
                raise Fault(f"broke off ({self._address.excerpt(why(error))})", kind=RESET)
            self._incoming.finish()
        except Fault as fault:
            self._fail(fault.kind, str(fault))
        self._rouse()

    def _rouse(self) -> None:
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    def _fail(self, kind: str, words: str) -> None:
        if self._fault is None:
            self._fault = Fault(f"{self._address.shown} {words}", kind=kind)
        self._rouse()

    def _look(self) -> None:
        """Whether it takes too long: looked at when it could, and not at every piece."""
        now, limits = self._loop.time(), self._limits
        since = now if self._incoming.pieces else self._last  # with pieces, it is the reader who takes long
        due = min(since + limits.between, self._ends)
        if self._last and now < due:
            self._watch = self._loop.call_at(due, self._look)
            return
        if now >= self._ends:
            self._fail(TIMEOUT, f"did not end its answer within {limits.total:g} s")
        elif self._last:
            self._fail(TIMEOUT, f"said nothing more for {limits.between:g} s")
        else:
            self._fail(TIMEOUT, f"said nothing for {limits.first:g} s")
        self._link.cut()


def why(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return f"its name is not known ({error.strerror})"
    if isinstance(error, ssl.SSLError):
        return str(error.reason or "no handshake").lower().replace("_", " ")
    return str(error) or type(error).__name__
