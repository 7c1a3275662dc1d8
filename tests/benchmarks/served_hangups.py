"""Clients hang up at random moments: when does the work end? `python -m tests.benchmarks.served_hangups [COUNT]`.

A thousand requests, 40 at a time, to one plain draw, to votes and to best-of-n, whole and streamed, before a backend
with so few places that some wait in its queue and some in ours. Each is cut off at a moment of its own: before its head
is sent whole, before anything is answered, in the midst of it. After each wave: how long it is from the last hang-up
until the backend works on nothing and our queue is empty, by their own counts; and whether all that the backend
generated and read is in our bill, for waves of plain draws streamed, of such as whole answers, and of searches.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import product
from pathlib import Path
from random import Random
from typing import Final

from tests.benchmarks.backend import Paced, Stack, figures, stack, working
from tests.benchmarks.loading import Load, chat, quantile, until

PACE: Final = Paced(first=0.02, rate=100.0, chunk=1, running=24, fixed=60)  # 0.62 s an answer
OPTIONS: Final = ("--at-once", "24", "--queue", "64", "--controller", "off")
AT_ONCE: Final = 40
LATEST: Final = 0.5  # seconds after which a client hangs up
KINDS: Final[Mapping[str, tuple[Sequence[str], Sequence[bool]]]] = {  # models, and whether they are streamed
    "plain, streamed": (("auto-fast", "plain:small"), (True,)),
    "plain, whole": (("auto-fast", "plain:small"), (False,)),
    "searches": (("auto", "auto-best"), (True, False)),
}


@dataclass
class Bill:
    """Tokens by the backend's count, generated and of prompts, and by our own, what was cancelled included."""

    made: float = 0.0
    billed: float = 0.0
    read: float = 0.0
    charged: float = 0.0

    def add(self, other: Bill, times: float = 1.0) -> None:
        """Add another, so many times."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + times * getattr(other, one.name))


@dataclass
class Ends:
    """What was seen: seconds until all work ended after each wave, hang-ups by when they came, tokens by kind."""

    backend: list[float] = field(default_factory=list)
    gate: list[float] = field(default_factory=list)
    early: int = 0  # before their head was sent whole
    waiting: int = 0  # before anything was answered
    midway: int = 0
    answered: int = 0
    bills: dict[str, Bill] = field(default_factory=dict)


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
    """Some clients of one kind at once, who all hang up; then the wait for the end of all work, and the bill."""
    rng, before = Random(number), await bill(on)
    kind = list(KINDS)[number % len(KINDS)]
    models, streams = KINDS[kind]
    async with Load(on.ours.url) as load, asyncio.TaskGroup() as group:
        for _ in range(count):
            n, part = rng.randrange(10, 99), rng.random() if rng.random() < 0.1 else 1.0
            request = chat(on.ours.url, rng.choice(models), f"What is {n} + 2 * 3?", stream=rng.choice(streams))
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
    told = ends.bills.setdefault(kind, Bill())
    told.add(await bill(on))
    told.add(before, -1.0)


async def hung_up(on: Stack, count: int, at_once: int = AT_ONCE) -> Ends:
    """All waves, after one answer of each sort: how fast a model is, is known by then."""
    ends = Ends()
    async with Load(on.ours.url) as load:
        for models, streams in KINDS.values():
            for model, stream in product(models, streams):
                await load.ask(chat(on.ours.url, model, "What is 1 + 2 * 3?", stream=stream))
    for number, begun in enumerate(range(0, count, at_once)):
        await wave(on, number, min(at_once, count - begun), ends)
    return ends


async def bill(on: Stack) -> Bill:
    """Both counts so far."""
    theirs, own = await figures(on.backend), await figures(on.ours)

    def ours(*kinds: str) -> float:
        return sum(own.get(f"autotts_tokens_total {kind}", 0.0) for kind in kinds)

    made, read = (theirs.get(f"vllm:{what}_tokens_total", 0.0) for what in ("generation", "prompt"))
    return Bill(made, ours("generated", "cancelled"), read, ours("prompt", "cached"))


def wrongs(ends: Ends, within: float = 0.1) -> list[str]:
    """What is not as it is to be; nothing of it where all is well."""
    found = []
    if max(ends.backend) > within:
        found.append(f"the backend worked on for {max(ends.backend):.3f} s after a hang-up")
    if max(ends.gate) > within:
        found.append(f"our queue was not empty for {max(ends.gate):.3f} s after a hang-up")
    for kind, told in ends.bills.items():
        if told.billed < told.made:
            found.append(f"{kind}: {told.made - told.billed:,.0f} of {told.made:,.0f} generated tokens are not billed")
        if told.charged < told.read:
            found.append(f"{kind}: {told.read - told.charged:,.0f} of {told.read:,.0f} tokens of prompts not billed")
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
            *(
                f"{kind}: generated {told.made:,.0f} by the backend's count, {told.billed:,.0f} billed "
                f"({told.billed / max(1.0, told.made):.2f}); prompts {told.read:,.0f}, {told.charged:,.0f} billed "
                f"({told.charged / max(1.0, told.read):.2f})"
                for kind, told in ends.bills.items()
            ),
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
