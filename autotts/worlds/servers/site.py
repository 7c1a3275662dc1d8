"""One server with what is known of it. Models on it share its load and its limits; each has a health of its own.

Behind one address there may be a router: one model's server is dead there, and those of the others are well.
"""

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


class Load:
    """What one address and key bear, of all models together."""

    def __init__(self, server: Server, address: Address, wire: Wire, start: int = START) -> None:
        self.address: Final = address
        self.wire: Final = wire
        self.window: Final = Window(server.most, start)
        self.requests: Final = Minute(server.requests_per_minute)
        self.tokens: Final = Minute(server.tokens_per_minute)
        self.running = 0
        self.calls = 0
        self.paused_until = 0.0
        self.refusals = 0
        self.faults: Counter[str] = Counter()
        self.sites: dict[str, Site] = {}

    def site(self, what: str) -> Site:
        """The server as one model sees it."""
        if what not in self.sites:
            self.sites[what] = Site(self)
        return self.sites[what]

    def narrow(self, server: Server) -> None:
        """The same server as another entry declares it: the tighter limits hold."""
        self.window.most = min(self.window.most, server.most)
        self.window.size = min(self.window.size, float(max(1, server.most)))
        self.requests.limit = min(self.requests.limit, server.requests_per_minute or math.inf)
        self.tokens.limit = min(self.tokens.limit, server.tokens_per_minute or math.inf)

    @property
    def standing(self) -> Standing:
        """For who watches; it is healthy where none of its models is thought dead."""
        healthy = not any(site.down for site in self.sites.values())
        return Standing(self.address.shown, healthy, self.running, int(self.window.size), self.calls, dict(self.faults))


class Site:
    """One model on one server."""

    def __init__(self, load: Load) -> None:
        self.load: Final = load
        self.circuit: Final = Circuit()
        self.last = "it was not reached"

    @property
    def down(self) -> bool:
        """Whether it is thought dead."""
        return self.circuit.down_since is not None

    def ready(self, tokens: int, now: float) -> float:
        """When it can take a request: now or earlier, later, or infinity where only an end of another can tell."""
        load = self.load
        if self.down:
            if self.circuit.probing:
                return math.inf
        elif load.running >= int(load.window.size):
            return math.inf
        gate = self.circuit.opens_at if self.down else 0.0
        return max(gate, load.paused_until, load.requests.ready(1, now), load.tokens.ready(tokens, now))

    def dead(self, patience: float, now: float) -> bool:
        """Whether it has been down for so long, and its last probe failed."""
        circuit = self.circuit
        if circuit.down_since is None or circuit.probing or circuit.opens_at <= now:
            return False
        return now - circuit.down_since >= patience


class Place:
    """Room for one request on a server; taken when made, and left by one of its ends."""

    def __init__(self, site: Site, tokens: int, now: float) -> None:
        load = site.load
        self.site: Final = site
        self._number = load.window.begin()
        self._probe = site.down
        self._tokens: Share = load.tokens.take(tokens, now)
        load.requests.take(1, now)
        load.running += 1
        load.calls += 1
        site.circuit.probing = site.circuit.probing or self._probe

    def accepted(self) -> None:
        """The server took the request."""
        self.site.load.window.accept(self.site.load.running)
        self.site.circuit.answered = True

    def settle(self, tokens: int, now: float) -> None:
        """It was so many tokens."""
        self.site.load.tokens.settle(self._tokens, tokens, now)

    def leave(self) -> None:
        """It came to no end: cancelled."""
        self.site.load.running -= 1
        if self._probe:
            self.site.circuit.probing = False

    def succeed(self) -> None:
        """It came to an answer."""
        self.leave()
        self.site.circuit.succeed()
        self.site.load.refusals = 0

    def fail(self, fault: Fault, now: float, retries: Retries, rng: Random) -> float:
        """It came to nothing; returns how much of a try that was.

        A server that is busy is waited for, and its refusals are hardly tries: the window finds what it takes. Only one
        that has no room for a single request at a time is as one that fails.
        """
        site, load = self.site, self.site.load
        alone = load.window.size <= 1
        load.faults[fault.kind] += 1
        site.last = str(fault)
        if fault.kind in (BUSY, TIMEOUT):
            load.window.refuse(self._number)
        self.leave()
        if fault.wait:
            load.paused_until = max(load.paused_until, now + fault.wait)
        if fault.kind == REQUEST:  # an answer, if not the one that was wanted
            load.window.accept(load.running)
            site.circuit.succeed()
            load.refusals = 0
            return 1.0
        if fault.kind == BUSY:
            if not alone:
                return 0.1
            load.refusals += 1
            if not fault.wait:
                longest = min(retries.longest, retries.first * 2 ** min(load.refusals, 20))
                load.paused_until = max(load.paused_until, now + rng.uniform(0, longest))
        if retries.blames:
            site.circuit.strike(now, refused=fault.kind == REFUSED, probe=self._probe, rest=retries.rest)
        return 1.0
