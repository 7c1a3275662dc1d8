"""Clients hang up at random moments: when does the work end? `python -m tests.benchmarks.served_hangups [COUNT]`.

A thousand requests, 40 at a time, to one plain draw, to votes and to best-of-n, whole and streamed, before a backend
with so few places that some wait in its queue and some in ours. Each is cut off at a moment of its own: before its head
is sent whole, before anything is answered, in the midst of it. After each wave: how long it is from the last hang-up
until the backend works on nothing and our queue is empty, by their own counts. In the end: whether all that the backend
generated is in our bill.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from tests.benchmarks.backend import Paced, Stack, figures, stack, working
from tests.benchmarks.loading import Load, chat, quantile, until

PACE: Final = Paced(first=0.02, rate=100.0, chunk=1, running=24, fixed=60)  # 0.62 s an answer
OPTIONS: Final = ("--at-once", "24", "--queue", "64", "--controller", "off")
AT_ONCE: Final = 40
LATEST: Final = 0.5  # seconds after which a client hangs up
MODELS: Final = ("auto-fast", "auto", "auto-best", "plain:small")


@dataclass
class Ends:
    """What was seen: seconds until all work ended after each wave, hang-ups by when they came, tokens in the end."""

    backend: list[float] = field(default_factory=list)
    gate: list[float] = field(default_factory=list)
    early: int = 0  # before their head was sent whole
    waiting: int = 0  # before anything was answered
    midway: int = 0
    answered: int = 0
    made: float = 0.0  # tokens that the backend generated
    billed: float = 0.0  # tokens of answers in our own count, finished or cancelled
    read: float = 0.0  # tokens of prompts that the backend read
    charged: float = 0.0  # tokens of prompts in our own count


async def hang_up(load: Load, request: bytes, after: float, part: float, ends: Ends) -> None:
    """Send a request, or a part of it, and hang up after some seconds; one that was answered by then counts as that."""
    wire = await load.open()
    done = asyncio.Event()
    seen = wire.begin(request[: int(len(request) * part)], time.perf_counter(), lambda _: done.set())
    try:
        await asyncio.wait_for(done.wait(), after)
        ends.answered += 1
    except TimeoutError:
        if part < 1:
            ends.early += 1
        elif not seen.status:
            ends.waiting += 1
        else:
            ends.midway += 1
        wire.cut()


async def wave(on: Stack, number: int, count: int, ends: Ends) -> None:
    """Some clients at once, who all hang up; then the wait for the end of all work."""
    rng = Random(number)
    async with Load(on.ours.url) as load, asyncio.TaskGroup() as group:
        for _ in range(count):
            n, part = rng.randrange(10, 99), rng.random() if rng.random() < 0.1 else 1.0
            fields = {"stream": True} if rng.random() < 0.5 else {}
            request = chat(on.ours.url, rng.choice(MODELS), f"What is {n} + 2 * 3?", **fields)
            group.create_task(hang_up(load, request, LATEST * rng.random(), part, ends))
    cut = time.perf_counter()

    async def idle() -> bool:
        return await working(on.backend) == 0

    async def empty() -> bool:
        found = await figures(on.ours)
        return not any(found[f"autotts_{what}"] for what in ("queue_running", "queue_waiting", "requests_open"))

    async with asyncio.TaskGroup() as group:
        backend, gate = group.create_task(until(idle, 10)), group.create_task(until(empty, 10))
    ends.backend.append(backend.result() if backend.result() < 10 else time.perf_counter() - cut)
    ends.gate.append(gate.result())


async def hung_up(on: Stack, count: int, at_once: int = AT_ONCE) -> Ends:
    """All waves."""
    ends = Ends()
    for number, begun in enumerate(range(0, count, at_once)):
        await wave(on, number, min(at_once, count - begun), ends)
    theirs, own = await figures(on.backend), await figures(on.ours)
    ends.made, ends.read = theirs["vllm:generation_tokens_total"], theirs["vllm:prompt_tokens_total"]
    ends.billed = own.get("autotts_tokens_total generated", 0.0) + own.get("autotts_tokens_total cancelled", 0.0)
    ends.charged = own.get("autotts_tokens_total prompt", 0.0) + own.get("autotts_tokens_total cached", 0.0)
    return ends


def wrongs(ends: Ends, within: float = 0.1) -> list[str]:
    """What is not as it is to be; nothing of it where all is well."""
    found = []
    if max(ends.backend) > within:
        found.append(f"the backend worked on for {max(ends.backend):.3f} s after a hang-up")
    if max(ends.gate) > within:
        found.append(f"our queue was not empty for {max(ends.gate):.3f} s after a hang-up")
    if ends.billed < ends.made:
        found.append(f"{ends.made - ends.billed:,.0f} of {ends.made:,.0f} generated tokens are not billed")
    if ends.charged < ends.read:
        found.append(f"{ends.read - ends.charged:,.0f} of {ends.read:,.0f} tokens of prompts are not billed")
    if not (ends.waiting and ends.midway):
        found.append("expected hang-ups before and in the midst of answers, found one kind: nothing was tried")
    return found


def tell(ends: Ends) -> str:
    """The figures in words."""

    def times(found: list[float]) -> str:
        return f"median {1e3 * quantile(found, 0.5):.0f} ms, worst {1e3 * max(found):.0f} ms"

    return "\n".join(
        [
            f"hang-ups: {ends.early} in the head, {ends.waiting} before an answer, {ends.midway} in its midst; "
            f"{ends.answered} answered before",
            f"the backend worked on after the last hang-up of {len(ends.backend)} waves: {times(ends.backend)}",
            f"our queue was empty after: {times(ends.gate)}",
            f"generated tokens: {ends.made:,.0f} by the backend's count, {ends.billed:,.0f} billed "
            f"({ends.billed / max(1.0, ends.made) - 1:+.1%})",
            f"tokens of prompts: {ends.read:,.0f} by the backend's count, {ends.charged:,.0f} billed",
        ]
    )


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder, stack(Path(folder), PACE, *OPTIONS) as on:
        ends = asyncio.run(hung_up(on, count))
    print(tell(ends))
    sys.exit("\n".join(wrongs(ends)) or 0)


if __name__ == "__main__":
    main()
