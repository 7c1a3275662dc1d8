"""Server-sent events: the payloads of a stream, however it was cut into pieces."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from autotts.worlds.servers.fault import NONSENSE, Fault
from autotts.worlds.servers.wire import Answer

_DONE: Final = b"[DONE]"
_LONGEST: Final = 16 << 20  # bytes of one event
_GRACE: Final = 1.0  # seconds that a server has to end an answer that is complete


class Events:
    """The payload of each event up to "[DONE]"; several events that come in one piece cost one wait.

    Lines end in LF, CRLF or CR; comments and other fields are passed over; the data lines of one event are joined.
    """

    def __init__(self, answer: Answer, where: str) -> None:
        self._answer = answer
        self._where = where
        self._rest = b""
        self._ready: deque[bytes] = deque()
        self._done = False

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> bytes:
        while not self._ready:
            if self._done:
                await self._end()
                raise StopAsyncIteration
            piece = await self._answer.read()
            if piece:
                self._feed(piece)
            elif _payload(self._rest.strip(b"\r\n")) == _DONE:
                self._done = True
            else:
                raise Fault(f"{self._where}: the stream ended before its end", kind=NONSENSE, status=200)
        return self._ready.popleft()

    async def leave(self) -> list[bytes]:
        """Hang up; the payloads that had come, or were still on their way, and were not taken."""
        if not self._done:
            self._feed(await self._answer.leave())
        found = list(self._ready)
        self._ready.clear()
        return found

    def _feed(self, piece: bytes) -> None:
        rest = self._rest + piece if self._rest else piece
        if b"\r" in rest:
            half = b"\r" * rest.endswith(b"\r")  # perhaps half of a line's end
            rest = rest[: len(rest) - len(half)].replace(b"\r\n", b"\n").replace(b"\r", b"\n") + half
        *whole, self._rest = rest.split(b"\n\n")
        if len(self._rest) > _LONGEST:
            raise Fault(f"{self._where}: an event of more than {_LONGEST} bytes", kind=NONSENSE, status=200)
        for event in whole:
            payload = event[6:] if event.startswith(b"data: ") and b"\n" not in event else _payload(event)
            if payload == _DONE:
                self._done = True
                return
            if payload:
                self._ready.append(payload)

    async def _end(self) -> None:
        """Read to the end of the answer, so that its connection can be used again and the server sees no hang-up."""
        try:
            async with asyncio.timeout(_GRACE):
                while await self._answer.read():
                    pass
        except (TimeoutError, Fault):
            pass  # nothing is lost but the connection


def _payload(event: bytes) -> bytes:
    """The data of an event that may have several lines."""
    found = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(found)
