"""All servers of a session: which one a call goes to, when, and how often it is tried."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from autotts.errors import BackendError, InputError
from autotts.worlds.models.entry import Server
from autotts.worlds.servers.address import address_of
from autotts.worlds.servers.fault import Fault
from autotts.worlds.servers.limits import Retries, Timeouts
from autotts.worlds.servers.line import Line

if TYPE_CHECKING:
    import httpx

    from autotts.worlds.servers.wire import Wire

T = TypeVar("T")


class Fleet:
    """Sends calls to servers; to be entered in the event loop that uses it."""

    def __init__(
        self,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Random | None = None,
        timeouts: Timeouts | None = None,
        retries: Retries | None = None,
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._sleep = sleep
        self._rng = rng or Random()
        self._timeouts = timeouts or Timeouts()
        self._retries = retries or Retries()
        self._wires: dict[Server, Wire] = {}
        self._load: dict[Server, int] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: Any) -> None:
        if self._transport is not None:
            await self._transport.aclose()

    async def call(
        self, servers: Sequence[Server], attempt: Callable[[Line], Awaitable[T]], *, tokens: int, what: str
    ) -> T:
        """Run an attempt on one of the servers, again where it came to nothing."""
        if not servers:
            raise InputError(f"{what}: expected at least one server, found none")
        for tried in range(1, self._retries.tries + 1):
            server = min(servers, key=lambda s: self._load.get(s, 0) / s.weight)
            self._load[server] = self._load.get(server, 0) + 1
            try:
                return await attempt(self._line(server))
            except Fault as fault:
                if not fault.again:
                    raise
                if tried == self._retries.tries:
                    if fault.kind == "refused":
                        raise BackendError(f"{what}: {fault}") from None
                    raise
            finally:
                self._load[server] -= 1
            await self._sleep(self._rng.uniform(0, min(self._retries.longest, self._retries.first * 2**tried)))
        raise AssertionError

    def _line(self, server: Server) -> Line:
        from autotts.worlds.servers.through import Through

        address = address_of(server)
        if server not in self._wires:
            import httpx

            if self._transport is None:
                self._transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=512))
            headers: Final = {"Host": address.origin.partition("://")[2], "Accept-Encoding": "identity"}
            headers["Content-Type"] = "application/json"
            if address.login:
                headers["Authorization"] = address.login
            self._wires[server] = Through(self._transport, address, headers, self._timeouts)
        return Line(server, address, self._wires[server], lambda: None, lambda tokens: None)
