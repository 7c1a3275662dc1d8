"""The two ends of an ASGI line, scripted: what a server would give an application, and what it would take from it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from autotts.serve.sending import Message


def pieces(*bodies: bytes) -> list[Message]:
    """A body in pieces."""
    last = len(bodies) - 1
    return [{"type": "http.request", "body": body, "more_body": i < last} for i, body in enumerate(bodies)]


class Upward:
    """What a client sends: these messages, and then nothing until it hangs up."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self._left = list(messages)
        self._gone = asyncio.Event()
        self.taken = 0

    def hang_up(self) -> None:
        self._gone.set()

    async def receive(self) -> Message:
        if self._left:
            self.taken += 1
            return self._left.pop(0)
        await self._gone.wait()
        return {"type": "http.disconnect"}


class Downward:
    """What a client takes: so many pieces, and no more after that."""

    def __init__(self, room: int) -> None:
        self._room = room
        self.taken: list[Message] = []

    async def send(self, message: Message) -> None:
        if len(self.taken) >= self._room:
            await asyncio.Event().wait()
        self.taken.append(message)

    def bodies(self) -> Sequence[bytes]:
        return [message["body"] for message in self.taken if message["type"] == "http.response.body"]
