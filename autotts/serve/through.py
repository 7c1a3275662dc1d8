"""One plain draw passed through: the backend's own bytes, counted on their way, with our block beside their usage."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from autotts.core.cost import Usage
from autotts.serve.reply import Headers, Reply

_ENDS: Final = (b"\n\n", b"\r\n\r\n")  # of an event
_EVENT: Final = re.compile(rb"(.*?\r?\n\r?\n)", re.DOTALL)
_USAGE: Final = b'"usage"'
_MOST_HELD: Final = 1 << 20  # bytes of one event that are held back until it is whole

# What stands under `autotts` once the usage is known.
Telling = Callable[[Usage], dict[str, Any]]


@dataclass(slots=True)
class Count:
    """What a passed answer took: `usage` once the backend has said it, `events` as they passed."""

    usage: Usage | None = None
    events: int = 0
    begun: bool = False

    def take(self, data: Any) -> bool:
        """Take the usage out of an answer or an event; whether there was any."""
        found = data.get("usage") if isinstance(data, dict) else None
        if not isinstance(found, dict):
            return False
        details = found.get("prompt_tokens_details")
        prompt, made = _whole(found.get("prompt_tokens")), _whole(found.get("completion_tokens"))
        cached = min(prompt, _whole(details.get("cached_tokens")) if isinstance(details, dict) else 0)
        self.usage = Usage(prompt=prompt - cached, cached=cached, generated=made, calls=1)
        return True


class Streamed:
    """A stream on its way: events are handed on as they came, each as soon as it is whole.

    The one with the usage gets our block beside it where the client asked for usage, and is left out where it did not.
    """

    def __init__(self, reply: Reply, headers: Headers, telling: Telling, *, tell_usage: bool) -> None:
        self.count = Count()
        self._reply = reply
        self._headers = headers
        self._telling = telling
        self._tell_usage = tell_usage
        self._held = b""
        self._end = b""

    @property
    def whole(self) -> bool:
        """Whether the backend has said that this is all."""
        return b"[DONE]" in self._end

    async def begin(self, kind: str) -> None:
        """The backend has begun to answer."""
        self.count.begun = True
        await self._reply.begin(self._headers, kind.encode("latin-1", "replace"))

    async def piece(self, data: bytes) -> None:
        """Bytes as the backend sent them."""
        self._end = data if len(data) > 32 else self._end[-32:] + data
        if self._held:
            data, self._held = self._held + data, b""
        if not data.endswith(_ENDS):
            at = max(data.rfind(end) + len(end) if end in data else 0 for end in _ENDS)
            if at or len(data) <= _MOST_HELD:
                data, self._held = data[:at], data[at:]
        if _USAGE in data:
            data = b"".join(self._told(piece) for piece in _EVENT.split(data) if piece)
        if data:
            self.count.events += data.count(b"data:")
            await self._reply.piece(data)

    async def end(self, last: bytes = b"") -> None:
        """Send what is held back, and end the stream."""
        await self._reply.end(self._held + last)

    def _told(self, event: bytes) -> bytes:
        """An event, without its usage or with our block beside it, as it was asked for."""
        payload = event[5:].strip() if event.startswith(b"data:") else b""
        try:
            data = json.loads(payload) if _USAGE in payload else None
        except (ValueError, RecursionError):
            data = None
        if data is None or not self.count.take(data) or self.count.usage is None:
            return event
        last = not data.get("choices")
        if last and not self._tell_usage:
            return b""
        if not self._tell_usage or not (last or data["choices"][0].get("finish_reason")):
            return event
        return b"data: " + with_block(payload, self._telling(self.count.usage)) + b"\n\n"


class Gathered:
    """An answer that comes at once, kept until it is whole."""

    def __init__(self) -> None:
        self.count = Count()
        self.body = b""
        self._pieces: list[bytes] = []

    async def begin(self, kind: str) -> None:
        """The backend has begun to answer."""
        self.count.begun = True

    async def piece(self, data: bytes) -> None:
        """Bytes as the backend sent them."""
        self._pieces.append(data)

    def end(self) -> None:
        """The backend has ended."""
        self.body = b"".join(self._pieces)
        if _USAGE in self.body:
            try:
                self.count.take(json.loads(self.body))
            except (ValueError, RecursionError):
                self.count.usage = None


def with_block(data: bytes, told: dict[str, Any]) -> bytes:
    """The bytes of an object with our block under one more key; all others stay as they are."""
    head, block = data.rstrip(), json.dumps(told, separators=(",", ":")).encode()
    if not head.endswith(b"}") or head == b"{}":
        return data
    if b'"autotts"' in head:  # perhaps that of another such server behind this one
        try:
            return json.dumps(json.loads(head) | {"autotts": told}, separators=(",", ":")).encode()
        except (ValueError, TypeError, RecursionError):
            return data
    return head[:-1] + b',"autotts":' + block + b"}"


def _whole(value: Any) -> int:
    return value if type(value) is int and value >= 0 else 0
