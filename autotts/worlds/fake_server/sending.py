"""How an answer goes out: at the server's pace, chunk by chunk or whole, up to where its fault breaks it off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from autotts.worlds.fake_server.answers import Answer
from autotts.worlds.fake_server.counts import Record
from autotts.worlds.fake_server.faults import Faults
from autotts.worlds.fake_server.pace import Pace, Places
from autotts.worlds.fake_server.spoiling import BREAKS, frames, half, spoilt
from autotts.worlds.fake_server.wire import Connection, framed

Sleep = Callable[[float], Awaitable[None]]

_DONE: Final = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Sending:
    """Sends the answers of one server; what is generated is counted as it goes out."""

    pace: Pace
    faults: Faults
    places: Places
    sleep: Sleep
    clock: Callable[[], float]

    async def send(self, conn: Connection, answer: Answer, record: Record) -> None:
        """Generate and send an answer."""
        asked, fault = answer.asked, record.fault
        total = max(len(one.tokens) for one in answer.drawn)
        hit = 0 if fault is None else max(1, int(total * self.faults.share(record.number)))
        breaks = fault in BREAKS and (asked.stream or fault != "half")
        ends, last = hit if breaks else total, b""
        if asked.stream:
            last = await self._stream(conn, answer, record, ends=ends, hit=hit)
        else:
            async for _ in self._steps(answer, record, ends):
                pass
        if breaks:
            conn.raw(last)
        if fault == "reset_midway":
            conn.reset()
        elif fault == "hang_midway":
            await asyncio.Event().wait()
        elif asked.stream:
            end = frames(fault, [answer.closing()], False) if asked.usage else []
            conn.raw(framed(b"") if breaks else last + framed(b"".join([*end, _DONE])) + framed(b""))
        else:
            reply(conn, spoilt(fault, answer.whole(), "choices"), fault)

    async def _stream(self, conn: Connection, answer: Answer, record: Record, *, ends: int, hit: int) -> bytes:
        """Send the chunks of the steps, but for the last, which is given back to go out with the end.

        A fault of a single place meets the step that comes to `hit` tokens.
        """
        out, opening, fault = conn.stream_head(), answer.opening(), record.fault
        if self.pace.first or self.pace.rate is not None:
            conn.raw(out)  # a real server sends its head before it has a token
            out = b""
        if opening is not None:
            out += framed(b"".join(frames(fault, [opening], False)))
        async for start, stop in self._steps(answer, record, ends):
            here = start < hit <= stop or stop == 0
            out += framed(b"".join(frames(fault, answer.chunks(start, stop), here)))
            if stop < ends:
                conn.raw(out)
                out = b""
                await conn.drained()
        return out

    async def _steps(self, answer: Answer, record: Record, ends: int) -> AsyncIterator[tuple[int, int]]:
        """The tokens start:stop of each choice, when they are generated; at least one step."""
        lengths = [len(one.tokens) for one in answer.drawn]
        due, sent = self.clock() + self.pace.first, 0
        while True:
            stop = min(sent + self.pace.chunk, ends)
            due += self.pace.seconds(stop - sent, self.places.running - 1)
            await self.sleep(max(0.0, due - self.clock()))
            record.generated = sum(min(stop, length) for length in lengths)
            yield sent, stop
            sent = stop
            if sent >= ends:
                break


def reply(conn: Connection, body: bytes, fault: str | None) -> None:
    """Send a whole answer, or half of it."""
    if fault == "half":
        half(conn, body)
    else:
        conn.whole(200, body, "application/json")
