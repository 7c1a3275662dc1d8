"""Server-sent events: the payloads of a stream, however it was cut into pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from autotts.worlds.servers.fault import NONSENSE, Fault
from autotts.worlds.servers.wire import Answer

_DONE: Final = b"[DONE]"
_LONGEST: Final = 16 << 20  # bytes of one event
_GRACE: Final = 1.0  # seconds that a server has to end an answer that is complete


async def events(answer: Answer, where: str) -> AsyncIterator[bytes]:
    """The payload of each event up to "[DONE]"; several events that come in one piece cost one wait.

    Lines end in LF, CRLF or CR; comments and other fields are passed over; the data lines of one event are joined.
    """
    rest = b""
    while piece := await answer.read():
        rest += piece
        if b"\n\n" not in rest and b"\r" not in rest:
            if len(rest) > _LONGEST:
                raise Fault(f"{where}: an event of more than {_LONGEST} bytes", kind=NONSENSE, status=200)
            continue
        if b"\r" in rest:
            held = rest.endswith(b"\r")  # perhaps half of a line's end
            rest = rest[:-1] if held else rest
            rest = rest.replace(b"\r\n", b"\n").replace(b"\r", b"\n") + b"\r" * held
        *whole, rest = rest.split(b"\n\n")
        for event in whole:
            payload = event[6:] if event.startswith(b"data: ") and b"\n" not in event else _payload(event)
            if payload == _DONE:
                await _end(answer)
                return
            if payload:
                yield payload
    if _payload(rest.strip(b"\r\n")) == _DONE:
        return
    raise Fault(f"{where}: the stream ended before its end", kind=NONSENSE, status=200)


async def _end(answer: Answer) -> None:
    """Read to the end of the answer, so that its connection can be used again and the server sees no hang-up."""
    try:
        async with asyncio.timeout(_GRACE):
            while await answer.read():
                pass
    except (TimeoutError, Fault):
        pass  # nothing is lost but the connection


def _payload(event: bytes) -> bytes:
    """The data of an event that may have several lines."""
    found = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(found)
