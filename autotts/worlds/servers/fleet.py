"""All servers of a session: which one a call goes to, when, and how often it is tried."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from autotts.errors import InputError
from autotts.worlds.models.entry import Server
from autotts.worlds.servers.address import Address, address_of
from autotts.worlds.servers.direct import Direct
from autotts.worlds.servers.fault import BUSY, Fault
from autotts.worlds.servers.limits import Retries, Timeouts
from autotts.worlds.servers.line import Line
from autotts.worlds.servers.link import Pace
from autotts.worlds.servers.site import Load, Place, Standing
from autotts.worlds.servers.waiting import Queue, Sites, Turn
from autotts.worlds.servers.window import START

if TYPE_CHECKING:
    import httpx

    from autotts.worlds.servers.wire import Wire

T = TypeVar("T")

NO_PROXIES: Final[Mapping[str, str]] = MappingProxyType({})


class Fleet:
    """Sends calls to servers; a scope of the event loop that uses it, at whose end all connections are cut.

    Parameters
    ----------
    transport
        Through which all goes in place of the network.
    clock, sleep, rng
        Seconds that only go forward (where they go back, that moment is left out), how to wait, and the jitter.
    proxies
        By scheme, and hosts without one under "no", as `urllib.request.getproxies` says.
    start
        Requests at once that each server is first tried with.
    """

    def __init__(
        self,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Random | None = None,
        timeouts: Timeouts | None = None,
        retries: Retries | None = None,
        proxies: Mapping[str, str] = NO_PROXIES,
        start: int = START,
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._read_at = clock()
        self._elapsed = 0.0
        self._sleep = sleep
        self._rng = rng or Random()
        self._timeouts = timeouts or Timeouts()
        self._retries = retries or Retries()
        self._proxies = proxies
        self._start = start
        self._owned: dict[str, httpx.AsyncBaseTransport] = {}
        self._pace = Pace()
        self._loads: dict[tuple[str, str | None], Load] = {}
        self._known: dict[Server, Load] = {}
        self._queue = Queue(self._now, sleep, self._retries.patience)
        self._calls = 0
        self._retried = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self._queue.close()
        for load in self._loads.values():
            await load.wire.close()
        for transport in self._owned.values():
            await transport.aclose()

    @property
    def waiting(self) -> int:
        """Calls that wait for a server."""
        return self._queue.waiting

    @property
    def retried(self) -> int:
        """Attempts that were retries from the fleet's budget of them."""
        return self._retried

    def know(self, servers: Iterable[Server]) -> None:
        """Name servers before any call does; an `InputError` where one has an address that is none."""
        for server in servers:
            self._load(server)

    def standings(self) -> tuple[Standing, ...]:
        """How each server stands that was named."""
        return tuple(load.standing for load in self._loads.values())

    async def call(
        self,
        servers: Sequence[Server],
        attempt: Callable[[Line], Awaitable[T]],
        *,
        tokens: int,
        what: str,
        retries: Retries | None = None,
    ) -> T:
        """Run an attempt on one of the servers, and again, elsewhere if possible, where it came to nothing.

        Parameters
        ----------
        attempt
            Makes one request and reads its answer; a `Fault` that it raises counts against the server.
        tokens
            The most that it may come to, for limits of tokens per minute; `Line.settle` corrects it.
        what
            Who asks, for messages; a server's health is judged for each by itself.
        retries
            How often this call is tried, where not as others are.

        Raises
        ------
        Fault
            When it failed for good while a server is alive: one that has never taken a request is not.
        Dead
            When all servers are: a `BackendError`.
        InputError
            When a server cannot be used as it is declared.
        """
        if not servers:
            raise InputError(f"{what}: expected at least one server, found none")
        sites = tuple((self._load(server).site(what), server.weight) for server in servers)
        self._calls += 1
        turn = Turn(self._calls, tokens, what)
        retries = retries or self._retries
        tried, took, since = 0.0, 0.0, math.inf
        while True:
            self._refuse_pauses(sites, retries, what)
            place = await self._queue.place(sites, turn)
            begun = self._now()
            since = min(since, begun)
            try:
                return await self._attempt(place, attempt, servers[[site for site, _ in sites].index(place.site)])
            except Fault as fault:
                now = self._now()
                took += now - begun
                tried += place.fail(fault, now, retries, self._rng)
                self._queue.serve()
                if not fault.again:
                    raise
                if self._alive(sites, retries):
                    late = tried >= 2 and took > retries.within
                    if tried >= retries.tries or late or not self._again(fault, retries):
                        raise
                elif all(now - site.circuit.failing_since(since) >= retries.patience for site, _ in sites):
                    raise self._queue.hopeless(sites, what) from fault
            turn.avoid = place.site
            if not all(site.down for site, _ in sites):  # those are probed by one call at a time, at their own pace
                await self._sleep(self._rng.uniform(0, _longest(tried, retries)))

    def _refuse_pauses(self, sites: Sites, retries: Retries, what: str) -> None:
        """A `Fault` where all servers have asked to be left alone for longer than a call may wait."""
        left = min(site.load.paused_until for site, _ in sites) - self._now()
        if left > retries.pause:
            reasons = "; ".join(site.last for site, _ in sites)
            raise Fault(
                f"{what}: its servers want a pause of {left:.0f} s: {reasons}", kind=BUSY, wait=left, status=429
            )

    async def _attempt(self, place: Place, attempt: Callable[[Line], Awaitable[T]], server: Server) -> T:
        """One attempt; its place is left however it ends, but where it is the caller who judges."""
        try:
            found = await attempt(self._line(place, server))
        except Fault:
            raise
        except BaseException:
            place.leave()
            self._queue.serve()
            raise
        place.succeed()
        self._queue.serve()
        return found

    def _line(self, place: Place, server: Server) -> Line:
        def accepted() -> None:
            place.accepted()
            self._queue.serve()

        def settle(tokens: int) -> None:
            place.settle(tokens, self._now())
            self._queue.serve()

        return Line(server, place.site.load.address, place.site.load.wire, accepted, settle)

    def _alive(self, sites: Sites, retries: Retries) -> bool:
        """Whether a call that fails is data, and not the servers' fault."""
        return not retries.blames or any(site.circuit.alive for site, _ in sites)

    def _again(self, fault: Fault, retries: Retries) -> bool:
        """Whether the budget of retries has room for one more, which is counted then."""
        if fault.kind == BUSY:
            return True  # it costs the server next to nothing, and its window and its pauses hold it back
        if self._retried >= retries.spare + retries.share * self._calls:
            return False
        self._retried += 1
        return True

    def _now(self) -> float:
        found = self._clock()
        self._elapsed += max(0.0, found - self._read_at)
        self._read_at = found
        return self._elapsed

    # ------------------------------------------------------------------ servers

    def _load(self, server: Server) -> Load:
        """What a server bears, shared by all who declare the same address and key."""
        if server in self._known:
            return self._known[server]
        name = (server.url.rstrip("/"), server.key)
        if name in self._loads:
            self._loads[name].narrow(server)
        else:
            address = address_of(server)
            self._loads[name] = Load(server, address, self._wire(address), self._start)
        self._known[server] = self._loads[name]
        return self._known[server]

    def _wire(self, address: Address) -> Wire:
        headers = {
            "Host": address.origin.partition("://")[2],
            "User-Agent": "autotts",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
        }
        if address.login:
            headers["Authorization"] = address.login
        proxy = self._proxy(address)
        if self._transport is None and proxy is None:
            return Direct(address, headers, self._timeouts, self._pace)
        from autotts.worlds.servers.through import Through, open_proxy

        if self._transport is not None:
            return Through(self._transport, address, headers, self._timeouts)
        assert proxy is not None
        if proxy not in self._owned:
            self._owned[proxy] = open_proxy(proxy, address)
        return Through(self._owned[proxy], address, headers, self._timeouts)

    def _proxy(self, address: Address) -> str | None:
        proxy = self._proxies.get("https" if address.secure else "http", self._proxies.get("all"))
        own = (address.host.lower(), f"{address.host.lower()}:{address.port}")
        for name in self._proxies.get("no", "").lower().replace(",", " ").split():
            if name == "*" or name in own or any(host.endswith("." + name.lstrip(".")) for host in own):
                return None
        return proxy or None


def _longest(tried: float, retries: Retries) -> float:
    """Seconds that bound the wait before the next attempt."""
    return min(retries.longest, retries.first * 2 ** min(20.0, max(0.0, tried - 1)))
