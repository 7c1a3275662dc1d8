"""An answer on its way to a client: its head once, then whole or piece by piece."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable

from autotts.serve.refused import Refused
from autotts.serve.said import EVENTS, JSON, failure
from autotts.serve.sending import Send

Headers = Iterable[tuple[bytes, bytes]]

_STREAMED = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))  # proxies are not to gather a stream


class Reply:
    """One answer; `id` names it, in its head and in the log.

    Attributes
    ----------
    status
        What was sent; 0 before.
    first
        When the first byte of the body was sent, by `time.monotonic`; None before.
    streams
        Whether what was begun is a stream of events.
    """

    def __init__(self, send: Send) -> None:
        self.id = "req-" + secrets.token_hex(8)
        self._send = send
        self.status = 0
        self.first: float | None = None
        self.streams = False

    async def whole(self, status: int, body: bytes, headers: Headers = (), kind: bytes = JSON) -> None:
        """Send an answer at once."""
        length = (b"content-length", str(len(body)).encode())
        await self._begin(status, [(b"content-type", kind), length, *headers])
        self.first = time.monotonic()
        await self._send({"type": "http.response.body", "body": body})

    async def begin(self, headers: Headers, kind: bytes = EVENTS) -> None:
        """Send the head of a stream."""
        self.streams = True
        await self._begin(200, [(b"content-type", kind), *_STREAMED, *headers])

    async def piece(self, data: bytes) -> None:
        """Send a piece of a stream."""
        if self.first is None:
            self.first = time.monotonic()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        """Send the last piece of a stream."""
        await self._send({"type": "http.response.body", "body": data})

    async def refuse(self, refused: Refused) -> None:
        """Say why there is no answer: with its status, or where the head of a stream was sent, as its last event."""
        if not self.status:
            told = [(name.encode(), value.encode()) for name, value in refused.headers.items()]
            await self.whole(refused.status, refused.body(), told)
        elif self.streams:
            await self.end(failure(refused.body()))

    async def _begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        headers.append((b"x-request-id", self.id.encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
