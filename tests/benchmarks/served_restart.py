"""The backend is killed under load and comes back: `python -m tests.benchmarks.served_restart [DOWN]`.

Requests to one plain draw and to votes, whole and streamed, come at fixed moments. The backend is killed (SIGKILL) and
started again on its port DOWN seconds later (2 by default), while our server goes on. What is to be so: only requests
that the backend worked on when it was killed may end without an answer; what comes while it is down is answered once
it is back, or refused with the word when to come again; soon after its return all is answered, without a restart of
ours.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.benchmarks.backend import Paced, backend, free_port, ours
from tests.benchmarks.loading import Load, Seen, chat, quantile, steady

PACE: Final = Paced(first=0.05, rate=200.0, chunk=4, fixed=40)  # 0.25 s an answer
RATE: Final = 30.0
BEFORE: Final = 2.0  # seconds of load before the kill
AFTER: Final = 8.0  # seconds of load after the return
MODELS: Final = ("auto-fast", "auto", "plain:small")
ARMS: Final = {
    "plain": "one(model=small, temperature=0.7)",
    "vote": "vote(n=4, model=small, temperature=0.8)",
}


@dataclass(frozen=True)
class Outage:
    """What clients saw of it; `killed` and `back` are the moments of the kill and of the first sign of life again."""

    seen: Sequence[Seen]
    killed: float
    back: float

    def answered(self, one: Seen) -> bool:
        """Whether an answer came whole, and tells of no fault in its stream."""
        return one.good and b'"error"' not in one.body

    @property
    def in_flight(self) -> list[Seen]:
        """Those that were under way when it was killed."""
        return [one for one in self.seen if one.sent < self.killed < one.last]

    @property
    def refused(self) -> list[Seen]:
        """Those that were told to come again."""
        return [one for one in self.seen if one.status in (429, 503) and one.header("retry-after")]

    @property
    def lost(self) -> list[Seen]:
        """Those without an answer that were neither in flight at the kill nor refused."""
        spared = {id(one) for one in (*self.in_flight, *self.refused)}
        return [one for one in self.seen if not self.answered(one) and id(one) not in spared]

    @property
    def recovered(self) -> float:
        """Seconds from the backend's return until requests that come are all answered."""
        bad = [one.sent for one in self.seen if not self.answered(one) and one.sent > self.killed]
        return max(0.0, max(bad, default=self.back) - self.back)


async def outage(folder: Path, down: float) -> Outage:
    """Load, a kill, a return, and load until the end."""
    port, moments = free_port(), list[float]()
    with ExitStack() as ends:
        first = ends.enter_context(backend(PACE, port))
        part = ends.enter_context(ours(folder, first.url, "--controller", "off", arms=ARMS))

        async def kill_and_start() -> None:
            assert first.process is not None
            await asyncio.sleep(BEFORE)
            first.process.kill()
            moments.append(time.perf_counter())
            await asyncio.sleep(down)
            await asyncio.to_thread(ends.enter_context, backend(PACE, port))
            moments.append(time.perf_counter())

        asked = [chat(part.url, MODELS[n % 3], f"What is {n} + 2 * 3?", stream=n % 2 == 0) for n in range(100, 200)]
        async with Load(part.url) as load:
            turn = asyncio.ensure_future(kill_and_start())
            seen = await steady(load, asked, rate=RATE, count=int(RATE * (BEFORE + down + AFTER)))
            await turn
        return Outage(seen, *moments)


def wrongs(found: Outage, within: float = 5.0) -> list[str]:
    """What is not as it is to be; nothing of it where all is well."""
    told = []
    if found.lost:
        kinds = {(one.status, one.fault, one.body[:200]) for one in found.lost}
        told.append(f"{len(found.lost)} requests were lost that were not in flight: {kinds}")
    if found.recovered > within:
        told.append(f"requests were not answered for {found.recovered:.1f} s after the backend's return")
    if not found.in_flight:
        told.append("expected requests in flight at the kill, found none: nothing was tried")
    return told


def tell(found: Outage) -> str:
    """The figures in words."""
    while_down = [one for one in found.seen if found.killed <= one.sent < found.back]
    after = [one for one in found.seen if one.sent >= found.back]
    refusals = [one.last - one.sent for one in found.refused]
    waits = [one.last - one.sent for one in while_down if found.answered(one)]

    def of(some: Sequence[Seen]) -> str:
        return f"{sum(map(found.answered, some))} of {len(some)} answered"

    return "\n".join(
        [
            f"{len(found.seen)} requests, {of(found.seen)}; down for {found.back - found.killed:.1f} s",
            f"in flight at the kill: {of(found.in_flight)}",
            f"sent while it was down: {of(while_down)} (they waited {quantile(waits, 0.5):.1f} s, at most "
            f"{max(waits, default=0):.1f} s); refused with Retry-After: {len(found.refused)} (within "
            f"{max(refusals, default=0):.1f} s)",
            f"sent after its return: {of(after)}; all answered {found.recovered:.1f} s after it",
            f"lost: {len(found.lost)}",
        ]
    )


def main() -> None:
    down = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(outage(Path(folder), down))
    print(tell(found))
    sys.exit("\n".join(wrongs(found)) or 0)


if __name__ == "__main__":
    main()
