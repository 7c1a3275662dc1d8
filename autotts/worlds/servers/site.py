"""One server with what is known of it: its load, its limits, its health; shared by all models on it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from autotts.worlds.models.entry import Server
from autotts.worlds.servers.address import Address
from autotts.worlds.servers.circuit import Circuit
from autotts.worlds.servers.fault import BUSY, REFUSED, REQUEST, TIMEOUT, Fault
from autotts.worlds.servers.limits import Retries
from autotts.worlds.servers.window import START, Minute, Share, Window
from autotts.worlds.servers.wire import Wire


@dataclass(frozen=True, slots=True)
class Standing:
    """How a server stands: for who watches. `faults` are attempts that failed, by kind."""

    url: str
    healthy: bool
    in_flight: int
    window: int
    calls: int
    faults: Mapping[str, int]


class Site:
    """The state of one address and key."""

    def __init__(self, server: Server, address: Address, wire: Wire, start: int = START) -> None:
        self.address: Final = address
        self.wire: Final = wire
        self.window: Final = Window(server.most, start)
        self.requests: Final = Minute(server.requests_per_minute)
        self.tokens: Final = Minute(server.tokens_per_minute)
        self.circuit: Final = Circuit()
        self.running = 0
        self.calls = 0
        self.paused_until = 0.0
        self.faults: Counter[str] = Counter()
        self.last = "it was not reached"
        self.refusals = 0

    def narrow(self, server: Server) -> None:
        """The same server as another entry declares it: the tighter limits hold."""
        self.window.most = min(self.window.most, server.most)
        self.window.size = min(self.window.size, float(max(1, server.most)))
        self.requests.limit = min(self.requests.limit, server.requests_per_minute or math.inf)
        self.tokens.limit = min(self.tokens.limit, server.tokens_per_minute or math.inf)

    @property
    def down(self) -> bool:
        """Whether it is thought dead."""
        return self.circuit.down_since is not None

    @property
    def standing(self) -> Standing:
        """For who watches."""
        faults = dict(self.faults)
        return Standing(self.address.shown, not self.down, self.running, int(self.window.size), self.calls, faults)

    def ready(self, tokens: int, now: float) -> float:
        """When it can take a request: now or earlier, later, or infinity where only an end of another can tell."""
        if self.down:
            if self.circuit.probing:
                return math.inf
        elif self.running >= int(self.window.size):
            return math.inf
        gate = self.circuit.opens_at if self.down else 0.0
        return max(gate, self.paused_until, self.requests.ready(1, now), self.tokens.ready(tokens, now))

    def dead(self, patience: float, now: float) -> bool:
        """Whether it has been down for so long, and its last probe failed."""
        circuit = self.circuit
        if circuit.down_since is None or circuit.probing or circuit.opens_at <= now:
            return False
        return now - circuit.down_since >= patience


class Place:
    """Room for one request on a server; taken when made, and left by one of its ends."""

    def __init__(self, site: Site, tokens: int, now: float) -> None:
        self.site: Final = site
        self._number = site.window.begin()
        self._probe = site.down
        self._tokens: Share = site.tokens.take(tokens, now)
        site.requests.take(1, now)
        site.running += 1
        site.calls += 1
        site.circuit.probing = site.circuit.probing or self._probe

    def accepted(self) -> None:
        """The server took the request."""
        self.site.window.accept(self.site.running)
        self.site.circuit.answered = True

    def settle(self, tokens: int, now: float) -> None:
        """It was so many tokens."""
        self.site.tokens.settle(self._tokens, tokens, now)

    def leave(self) -> None:
        """It came to no end: cancelled."""
        self.site.running -= 1
        if self._probe:
            self.site.circuit.probing = False

    def succeed(self) -> None:
        """It came to an answer."""
        self.leave()
        self.site.circuit.succeed()
        self.site.refusals = 0

    def fail(self, fault: Fault, now: float, retries: Retries, rng: Random) -> float:
        """It came to nothing; returns how much of a try that was.

        A server that is busy is waited for, and its refusals are hardly tries: the window finds what it takes. Only one
        that has no room for a single request at a time is as one that fails.
        """
        site, alone = self.site, self.site.window.size <= 1
        site.faults[fault.kind] += 1
        site.last = str(fault)
        if fault.kind in (BUSY, TIMEOUT):
            site.window.refuse(self._number)
        self.leave()
        if fault.wait:
            site.paused_until = max(site.paused_until, now + fault.wait)
        if fault.kind == REQUEST:  # an answer, if not the one that was wanted
            site.window.accept(site.running)
            site.circuit.succeed()
            site.refusals = 0
            return 1.0
        if fault.kind == BUSY:
            if not alone:
                return 0.1
            site.refusals += 1
            if not fault.wait:
                longest = min(retries.longest, retries.first * 2 ** min(site.refusals, 20))
                site.paused_until = max(site.paused_until, now + rng.uniform(0, longest))
        if retries.blames:
            site.circuit.strike(now, refused=fault.kind == REFUSED, probe=self._probe, rest=retries.rest)
        return 1.0
