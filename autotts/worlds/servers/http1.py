"""An answer of HTTP/1.1, read from the bytes that come: no sockets, no clock."""

from __future__ import annotations

from collections import deque
from typing import Final

from autotts.worlds.servers.fault import NONSENSE, RESET, Fault

_LONGEST_HEAD: Final = 64 << 10  # bytes
_LONGEST_LINE: Final = 4096  # of a chunk's size or a trailer
_HEAD, _SIZE, _DATA, _GAP, _TRAILER, _LENGTH, _OPEN, _END = range(8)


class Incoming:
    """One answer as it comes in.

    Attributes
    ----------
    status, headers
        Of its head; the status is 0 until that is there. Names are in lower case, the last of each counts.
    pieces
        What came of its body and was not taken.
    keeps
        Whether the connection can be used again afterwards.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.pieces: deque[bytes] = deque()
        self.keeps = False
        self._state = _HEAD
        self._rest = b""
        self._left = 0  # bytes of the body, or of its chunk, that are still to come

    @property
    def ended(self) -> bool:
        """Whether it is here to its end."""
        return self._state == _END

    def feed(self, data: bytes) -> None:
        """Take what came. Raises `Fault` where it is not HTTP."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        if self._state == _HEAD:
            data = self._read_head(data)
        if self._state in (_LENGTH, _OPEN):
            self._read_plain(data)
        elif self._state == _END:
            self.keeps = self.keeps and not data  # more than was announced: whose would it be?
        elif self._state != _HEAD:
            self._read_chunks(data)

    def finish(self) -> None:
        """The connection has ended. Raises `Fault` where the answer has not."""
        if self._state == _OPEN:
            self._state = _END
        elif self._state != _END:
            raise Fault("broke off" if self.status else "was closed without an answer", kind=RESET)

    # ------------------------------------------------------------------ the head

    def _read_head(self, data: bytes) -> bytes:
        """Read heads up to that of the answer proper; returns what comes after it."""
        while True:
            if not b"HTTP/1.".startswith(data[:7]):
                raise Fault("does not speak HTTP", kind=NONSENSE)
            head, found, after = data.partition(b"\r\n\r\n")
            if not found:
                if len(data) > _LONGEST_HEAD:
                    raise Fault("sent a head without an end", kind=NONSENSE)
                self._rest = data
                return b""
            data = after
            first, *lines = head.decode("latin-1").split("\r\n")
            version, _, rest = first.partition(" ")
            if not (rest[:3].isascii() and rest[:3].isdigit() and len(rest[:3]) == 3):
                raise Fault("does not speak HTTP", kind=NONSENSE)
            if int(rest[:3]) >= 200:
                break
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        self.headers = headers
        self._begin_body(int(rest[:3]), version)
        return data

    def _begin_body(self, status: int, version: str) -> None:
        headers = self.headers
        self.keeps = version == "HTTP/1.1" and "close" not in headers.get("connection", "").lower()
        length = headers.get("content-length", "")
        if status in (204, 304):
            self._state = _END
        elif "chunked" in headers.get("transfer-encoding", "").lower():
            self._state = _SIZE
        elif length:
            if not (length.isascii() and length.isdigit()):
                raise Fault("sent a length that is none", kind=NONSENSE)
            self._left = int(length)
            self._state = _LENGTH if self._left else _END
        else:
            self._state, self.keeps = _OPEN, False
        self.status = status

    # ------------------------------------------------------------------ the body

    def _read_plain(self, data: bytes) -> None:
        if self._state == _LENGTH:
            if len(data) > self._left:
                data, self.keeps = data[: self._left], False
            self._left -= len(data)
            if not self._left:
                self._state = _END
        if data:
            self.pieces.append(data)

    def _read_chunks(self, data: bytes) -> None:
        at, size = 0, len(data)
        while at < size:
            if self._state == _SIZE:  # whole chunks, as nearly all are
                end = data.find(b"\r\n", at)
                if 0 < end - at <= 8 and (digits := data[at:end]).isalnum() and digits[0] != 48:
                    start = end + 2
                    stop = start + _number(digits)
                    if data[stop : stop + 2] == b"\r\n":
                        self.pieces.append(data[start:stop])
                        at = stop + 2
                        continue
            if self._state == _DATA:
                piece = data[at : at + self._left]
                self.pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = _GAP
                continue
            if self._state == _END:
                self.keeps = False
                return
            end = data.find(b"\r\n", at)
            if end < 0 or end - at > _LONGEST_LINE:
                if size - at > _LONGEST_LINE:
                    raise Fault("sent a chunk without a size", kind=NONSENSE)
                self._rest = data[at:]
                return
            self._read_line(data[at:end])
            at = end + 2

    def _read_line(self, line: bytes) -> None:
        """The size of a chunk, the empty line after one, or a line of the trailer."""
        if self._state == _GAP:
            if line:
                raise Fault("sent a chunk of another size than it said", kind=NONSENSE)
            self._state = _SIZE
        elif self._state == _TRAILER:
            if not line:
                self._state = _END
        else:
            self._left = _number(line.partition(b";")[0].strip())
            self._state = _DATA if self._left else _TRAILER


def _number(digits: bytes) -> int:
    """The size of a chunk."""
    try:
        if digits.isalnum() and len(digits) <= 15:
            return int(digits, 16)
    except ValueError:
        pass
    raise Fault("sent a chunk without a size", kind=NONSENSE)
