"""Who waits for which servers: served in order, each when one of its servers has room."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import chain
from typing import TypeAlias

from autotts.worlds.servers.fault import Dead
from autotts.worlds.servers.site import Place, Site

Sites: TypeAlias = tuple[tuple[Site, float], ...]  # with weights

_SHORTEST = 0.001  # seconds: no alarm rings sooner, whatever is lost in rounding


class Turn:
    """One that waits."""

    __slots__ = ("avoid", "future", "number", "tokens", "what")

    def __init__(self, number: int, tokens: int, what: str) -> None:
        self.number = number
        self.tokens = tokens
        self.what = what
        self.avoid: Site | None = None
        self.future: asyncio.Future[Place] | None = None


class Queue:
    """Gives places to turns, first come first served among those that wait for the same servers."""

    def __init__(self, now: Callable[[], float], sleep: Callable[[float], Awaitable[None]], patience: float) -> None:
        self._now = now
        self._sleep = sleep
        self._patience = patience
        self._groups: dict[Sites, deque[Turn]] = {}
        self._alarm: asyncio.Task[None] | None = None
        self._rings_at = math.inf

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._groups.values()))

    async def place(self, sites: Sites, turn: Turn) -> Place:
        """Wait for room on one of the servers.

        Raises
        ------
        Dead
            When all of them are.
        """
        if sites not in self._groups:
            found = self._grant(sites, turn, self._now())
            if found is not None:
                return found
        turn.future = asyncio.get_running_loop().create_future()
        group = self._groups.setdefault(sites, deque())
        if group and turn.number < group[0].number:
            group.appendleft(turn)  # it is tried again, and was in line before
        else:
            group.append(turn)
        self.serve()
        try:
            return await turn.future
        except asyncio.CancelledError:
            if turn.future.done() and not turn.future.cancelled() and turn.future.exception() is None:
                turn.future.result().leave()  # it was served in the same moment
            self.serve()
            raise

    def serve(self) -> None:
        """Give what room there is, in order."""
        if not self._groups:
            return
        now, rings_at, stuck = self._now(), math.inf, set[Sites]()
        while (sites := self._next(stuck)) is not None:
            group = self._groups[sites]
            turn = group[0]
            assert turn.future is not None
            found = self._grant(sites, turn, now)
            if found is not None:
                group.popleft()
                turn.future.set_result(found)
            elif all(site.dead(self._patience, now) for site, _ in sites):
                group.popleft()
                turn.future.set_exception(self.hopeless(sites, turn.what))
            else:
                stuck.add(sites)
                rings_at = min(rings_at, self._opens(sites, turn.tokens, now))
        self._set_alarm(rings_at, now)

    async def close(self) -> None:
        """Wait no more: calls that still do are cancelled."""
        groups, self._groups = self._groups, {}
        for turn in chain.from_iterable(groups.values()):
            if turn.future is not None:
                turn.future.cancel()
        if self._alarm is not None:
            self._alarm.cancel()
            await asyncio.wait([self._alarm])
            self._alarm = None

    def _next(self, stuck: set[Sites]) -> Sites | None:
        """The group whose first has waited longest."""
        best: Sites | None = None
        for sites, group in tuple(self._groups.items()):
            while group and (group[0].future is None or group[0].future.done()):
                group.popleft()  # it has gone away
            if not group:
                del self._groups[sites]
            elif sites not in stuck and (best is None or group[0].number < self._groups[best][0].number):
                best = sites
        return best

    def _grant(self, sites: Sites, turn: Turn, now: float) -> Place | None:
        """Room on the least loaded of the servers that have it.

        One that was down and may be probed comes first, or it would never come back; one that just failed the call
        comes last.
        """
        best: Site | None = None
        least = (True, True, math.inf)
        for site, weight in sites:
            if site.ready(turn.tokens, now) <= now:
                load = (site is turn.avoid, not site.down, (site.load.running + 1) / weight)
                if best is None or load < least:
                    best, least = site, load
        return None if best is None else Place(best, turn.tokens, now)

    def _opens(self, sites: Sites, tokens: int, now: float) -> float:
        """When something changes by time alone."""
        soonest = min(site.ready(tokens, now) for site, _ in sites)
        if all(site.down for site, _ in sites):
            ends = max(site.circuit.down_since or 0.0 for site, _ in sites) + self._patience
            soonest = min(soonest, ends) if ends > now else soonest
        return soonest

    def hopeless(self, sites: Sites, what: str) -> Dead:
        """What is said to who waits for servers that are all dead."""
        reasons = "; ".join(site.last for site, _ in sites)
        return Dead(
            f"{what}: expected an answer, found no server that works after {self._patience:g} s of trying: {reasons}. "
            "What was finished is kept: see to the servers, then ask again"
        )

    def _set_alarm(self, at: float, now: float) -> None:
        if at >= self._rings_at or at == math.inf:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._rings_at = at
        self._alarm = asyncio.get_running_loop().create_task(self._ring(max(_SHORTEST, at - now)))

    async def _ring(self, wait: float) -> None:
        await self._sleep(wait)
        self._alarm, self._rings_at = None, math.inf
        self.serve()
