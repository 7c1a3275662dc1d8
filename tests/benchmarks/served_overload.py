"""Twice as many requests as can be answered: `python -m tests.benchmarks.served_overload [--minutes 10]`.

Requests come at fixed moments, at twice the rate that the backend has places for, to a policy of one draw and of votes
whose mean budget lies between the two. What is to be so: those that are let in are answered, and wait no longer than
the queue is long; all others are told 429 with Retry-After; memory stays as it is; and the mean cost keeps within the
bound that the controller states.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.benchmarks.backend import Paced, Stack, figures, stack
from tests.benchmarks.loading import Load, Seen, chat, quantile, steady
from tests.serve.served import policy_data

PACE: Final = Paced(first=0.02, rate=600.0, chunk=20, running=8, fixed=100)  # 0.19 s an answer, 43 draws a second
AT_ONCE: Final = 8
QUEUE: Final = 32
ARMS: Final = {
    "plain": "one(model=small, temperature=0.7)",
    "vote": "vote(n=4, model=small, temperature=0.8)",
}
BUDGET: Final = 2.0  # of what the policy expects of one draw, which is about what one costs here; votes cost 3.5
DRAWS: Final = 2.2  # of a request on average, at that budget
TIMES: Final = 2.0
EVERY: Final = 10.0  # seconds between two looks at the memory


@dataclass
class Crowded:
    """What was seen: answers by status, seconds of those that were answered, bytes of memory after each slice."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    bare: int = 0  # refusals without Retry-After
    slowest: float = 0.0  # of refusals, in seconds
    spent: float = 0.0  # whole units
    requests: float = 0.0  # that the budget was held over
    budget: float = 0.0
    bound: float = 0.0  # how far the budget may be overshot in all, in whole units

    @property
    def over(self) -> float:
        """By what part of the budget the total was overshot; below 0 where it was not."""
        return self.spent / max(1.0, self.budget * self.requests) - 1.0


async def crowded(on: Stack, seconds: float, rate: float) -> Crowded:
    """Ask for some seconds at a rate, and look now and then."""
    found = Crowded()
    asked = [chat(on.ours.url, "auto", f"What is {n} + {n % 7 + 2} * 3?", stream=n % 2 == 0) for n in range(100, 300)]
    async with Load(on.ours.url) as load:
        asking = asyncio.ensure_future(steady(load, asked, rate=rate, count=max(1, int(rate * seconds))))
        while not asking.done():
            await asyncio.wait([asking], timeout=EVERY)
            found.memory.append(on.ours.memory())
        note(found, await asking)
    told = await figures(on.ours)
    found.spent, found.requests = told["autotts_cost_total"], told["autotts_budget_requests"]
    found.budget, found.bound = told["autotts_budget"], told["autotts_budget_overshoot_bound"]
    return found


def note(found: Crowded, seen: Sequence[Seen]) -> None:
    """Count what came of some requests."""
    for one in seen:
        found.statuses[str(one.status) if not one.fault else one.fault] += 1
        if one.good:
            found.seconds.append(one.last - one.due)
        elif one.status == 429:
            found.bare += not (one.header("retry-after") or "").isdecimal()
            found.slowest = max(found.slowest, one.last - one.due)


def longest() -> float:
    """Seconds that a request may take that is let in: all that is before it, and itself, at four draws each."""
    draw = PACE.seconds
    return (QUEUE + AT_ONCE) / AT_ONCE * 4 * AT_ONCE / PACE.running * draw + 4 * draw


def wrongs(found: Crowded) -> list[str]:
    """What is not as it is to be; nothing of it where all is well."""
    told = []
    other = {status: n for status, n in found.statuses.items() if status not in ("200", "429")}
    if other:
        told.append(f"expected 200 and 429 only, found {other}")
    if not found.statuses["429"] or not found.seconds:
        told.append("expected some to be answered and some refused: nothing was tried")
    if found.bare:
        told.append(f"{found.bare} refusals without Retry-After")
    if found.seconds and quantile(found.seconds, 0.99) > longest():
        told.append(f"99 % of the accepted: {quantile(found.seconds, 0.99):.2f} s, more than {longest():.2f} s")
    if found.spent > found.budget * found.requests + found.bound:
        told.append(f"spent {found.over:+.1%} of the budget, beyond the bound")
    settled = found.memory[len(found.memory) // 4 :]
    if len(settled) >= 8 and (grown := min(settled[-3:]) - max(settled[:3])) > 4 << 20:
        told.append(f"memory grew by {grown >> 20} MB")
    return told


def tell(found: Crowded) -> str:
    """The figures in words."""
    whole = sum(found.statuses.values())
    by = ", ".join(f"{n} x {status}" for status, n in found.statuses.most_common())
    memory = ", ".join(f"{each / (1 << 20):.0f}" for each in found.memory[:: max(1, len(found.memory) // 12)])
    return "\n".join(
        [
            f"{whole} requests: {by}; slowest refusal {1e3 * found.slowest:.0f} ms",
            f"accepted: p50 {quantile(found.seconds, 0.5):.2f} s, p99 {quantile(found.seconds, 0.99):.2f} s "
            f"(bound {longest():.2f} s), worst {max(found.seconds, default=0.0):.2f} s",
            f"mean cost against the budget: {found.over:+.2%} over {found.requests:.0f} requests; the bound allows "
            f"{found.bound / max(1.0, found.budget * found.requests):+.2%}",
            f"memory of our server, MB: {memory}",
        ]
    )


def overloaded(folder: Path, minutes: float, times: float = TIMES) -> Crowded:
    """The whole of it, at so many times the capacity."""
    budget = BUDGET * policy_data(folder, ARMS)["frontier"][0]["budget"]
    options = ("--at-once", str(AT_ONCE), "--queue", str(QUEUE), "--budget", f"{budget:.0f}flops")
    with stack(folder, PACE, *options, arms=ARMS) as on:
        return asyncio.run(crowded(on, 60 * minutes, times * PACE.capacity / DRAWS))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = overloaded(Path(folder), given.minutes)
    print(tell(found))
    sys.exit("\n".join(wrongs(found)) or 0)


if __name__ == "__main__":
    main()
