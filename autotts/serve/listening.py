"""The settings of the HTTP server: what it takes from strangers before any code of ours sees it."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_TOO_LONG: Final = b"431 Request Header Fields Too Large"
_TOO_SLOW: Final = b"408 Request Timeout"


@dataclass(frozen=True, slots=True)
class Limits:
    """What of a client is borne.

    Parameters
    ----------
    head_bytes
        Bytes of a request's line and headers at most.
    head_seconds
        How long they may take, from the connection or from their first byte.
    idle_seconds
        How long a connection without a request is kept. Longer than clients keep it (5 s in httpx, 60 s in most
        balancers), so that it is they who close it, not we while they send.
    stalled_seconds
        After how long a connection is cut whose client takes nothing of what was sent.
    connections
        Connections at most; what is beyond is told 503.
    drain_seconds
        How long requests may go on after the server was told to stop.
    """

    head_bytes: int = 64 << 10
    head_seconds: float = 30.0
    idle_seconds: int = 75
    stalled_seconds: float = 60.0
    connections: int | None = None
    drain_seconds: int = 120


class Heads(HttpToolsProtocol):
    """uvicorn's own protocol, with a limit for the size of a request's head and for the time that it takes.

    uvicorn has neither with httptools: a client that sends headers without end, or a byte of them a minute, or
    nothing at all, would hold its connection and its memory for ever. It is a subclass since the callbacks of the
    parser are the only place where the end of a head is seen.
    """

    def __init__(self, *, head_bytes: int, head_seconds: float, **options: Any) -> None:
        super().__init__(**options)
        self._most = head_bytes
        self._seconds = head_seconds
        self._in_head = True
        self._begun = False  # whether anything of the head came
        self._fresh = False  # whether it began in the piece that is being read
        self._length = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head = self._begun = self._fresh = True
        self._length = 0
        self._stop()
        self._wait()

    def on_headers_complete(self) -> None:
        """A head is whole."""
        self._in_head = self._begun = False
        self._stop()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Take what came; a head that is too long ends the line, and so does what belongs to no request in the end."""
        self._fresh = False
        super().data_received(data)
        if self._in_head and not self._fresh:
            self._length += len(data)
            if self._length > self._most:
                self._cut(_TOO_LONG)
        elif self._timer is None and not self._answering():
            self._wait()

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._cut, _TOO_SLOW)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cut(self, status: bytes) -> None:
        """Cut the line; say why where a request had begun and no other is being answered."""
        self._stop()
        if self.transport.is_closing():
            return
        if self._begun and not self._answering():
            self.transport.write(b"HTTP/1.1 %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status)
        self.transport.close()


def cut_stalled(listening: socket.socket, seconds: float) -> None:
    """Have the kernel cut connections whose client takes nothing; to be called before any is accepted.

    A server that closes the line of a client that does not read waits for it to take what is buffered, for ever.
    Connections inherit this from the socket that is listened on; only Linux has it.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(seconds * 1000))


def settings(app: Any, limits: Limits) -> uvicorn.Config:
    """How uvicorn runs an ASGI application."""
    return uvicorn.Config(
        app,
        http=partial(Heads, head_bytes=limits.head_bytes, head_seconds=limits.head_seconds),  # type: ignore[arg-type]
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,  # paths and addresses of clients are not kept
        proxy_headers=False,  # nobody's word about whose address it is
        forwarded_allow_ips="",
        server_header=False,
        headers=[("x-content-type-options", "nosniff")],
        timeout_keep_alive=limits.idle_seconds,
        timeout_graceful_shutdown=limits.drain_seconds,
        limit_concurrency=limits.connections,
    )
