"""HTTP/1.1 on one connection: reads requests, writes answers, and can break off as a server that fails does."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

_LONGEST_HEAD: Final = 1 << 16
_LONGEST_BODY: Final = 1 << 26
_RST: Final = struct.pack("ii", 1, 0)  # linger for 0 seconds: closing sends a reset
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Payload Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
}

compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came; the names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Serve = Callable[["Connection", Request], Coroutine[Any, Any, None]]


class Connection(asyncio.Protocol):
    """One client's connection: answers its requests one after another, and stops working when it hangs up.

    Parameters
    ----------
    serve
        Answers one request; it is cancelled when the client hangs up.
    open_ones
        The connections that are open; this one is in it as long as it is.
    cancels
        Whether a hang-up ends the work; some servers go on.
    """

    def __init__(self, serve: Serve, open_ones: set[Connection], *, cancels: bool = True) -> None:
        self._serve = serve
        self._open = open_ones
        self._cancels = cancels
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self.task: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._keep = True
        self.was_reset = False

    # ------------------------------------------------------------------ what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._open.add(self)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client hung up, or the connection was closed here."""
        self._transport = None
        self._open.discard(self)
        self.resume_writing()
        if self.task is not None and (self._cancels or self.was_reset):
            self.task.cancel()

    def pause_writing(self) -> None:
        """The client reads more slowly than is written."""
        self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """There is room again."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    def data_received(self, data: bytes) -> None:
        """Bytes came: begin the next request if it is whole."""
        self._buffer += data
        if self.task is None:
            self._next()

    # ------------------------------------------------------------------ reading

    def _next(self) -> None:
        if self._transport is None:
            return
        try:
            request = self._take()
        except ValueError as error:
            self._keep = False
            self.answer(400, {"error": {"message": str(error), "type": "BadRequestError", "code": 400}})
            self.close()
            return
        if request is not None:
            self.task = asyncio.get_running_loop().create_task(self._serve(self, request))
            self.task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        self.task = None
        if not task.cancelled() and task.exception() is not None:
            self.reset()
            task.get_loop().call_exception_handler(
                {"message": "a request was not answered: a defect", "exception": task.exception(), "task": task}
            )
        elif not self._keep:
            self.close()
        elif self._buffer:
            self._next()

    def _take(self) -> Request | None:
        """The next whole request of the buffer, None while it is not whole; a `ValueError` where it is none."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _LONGEST_HEAD:
                raise ValueError(f"the head of a request has more than {_LONGEST_HEAD} bytes")
            return None
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        try:
            method, path, version = lines[0].split(" ")
        except ValueError:
            raise ValueError(f"not a request line: {lines[0][:80]!r}") from None
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        start = end + 4
        if headers.get("transfer-encoding", "").lower() == "chunked":
            found = self._chunked(start)
            if found is None:
                return None
            body, stop = found
        else:
            length = headers.get("content-length", "0")
            if not length.isdecimal() or int(length) > _LONGEST_BODY:
                raise ValueError(f"not a length that is read here: {length[:40]!r}")
            stop = start + int(length)
            if len(self._buffer) < stop:
                if headers.get("expect", "").lower() == "100-continue" and len(self._buffer) == start:
                    self.raw(b"HTTP/1.1 100 Continue\r\n\r\n")
                return None
            body = bytes(self._buffer[start:stop])
        del self._buffer[:stop]
        self._keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        return Request(method, path.partition("?")[0], headers, body)

    def _chunked(self, at: int) -> tuple[bytes, int] | None:
        """A body in chunks and where it ends; None while it is not whole."""
        parts = []
        while True:
            line = self._buffer.find(b"\r\n", at)
            if line < 0:
                return None
            size = int(bytes(self._buffer[at:line]).split(b";")[0], 16)
            if len(self._buffer) < line + 2 + size + 2:
                return None
            parts.append(bytes(self._buffer[line + 2 : line + 2 + size]))
            at = line + 2 + size + 2
            if size == 0:
                return b"".join(parts), at

    # ------------------------------------------------------------------ writing

    @property
    def lost(self) -> bool:
        """Whether the client is gone."""
        return self._transport is None or self._transport.is_closing()

    def raw(self, data: bytes) -> None:
        """Write bytes as they are."""
        if self._transport is not None:
            self._transport.write(data)

    async def drained(self) -> None:
        """Wait until the client has read most of what was written."""
        if self._room is not None:
            await self._room

    def answer(self, status: int, value: object, headers: Mapping[str, str] | None = None) -> None:
        """Write a whole answer in JSON."""
        self.whole(status, compact(value).encode("utf-8", "replace"), "application/json", headers)

    def whole(self, status: int, body: bytes, kind: str, headers: Mapping[str, str] | None = None) -> None:
        """Write a whole answer."""
        self.raw(self.head(status, kind, {"Content-Length": str(len(body)), **(headers or {})}) + body)

    def head(self, status: int, kind: str, headers: Mapping[str, str]) -> bytes:
        """The head of an answer."""
        lines = [f"HTTP/1.1 {status} {_REASONS[status]}", f"Content-Type: {kind}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if not self._keep:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def stream_head(self) -> bytes:
        """The head of a stream of events."""
        return self.head(200, "text/event-stream; charset=utf-8", {"Transfer-Encoding": "chunked"})

    def close(self) -> None:
        """End the connection after what was written."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """Break the connection off at once: the client sees a reset."""
        self.was_reset = True
        if self._transport is not None:
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
            self._transport.abort()


def framed(data: bytes) -> bytes:
    """One chunk of a body in chunks; that of no bytes ends the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
