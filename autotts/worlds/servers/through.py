"""A wire through a transport of httpx: for proxies, and for fakes that stand in for the network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final

import httpx

from autotts.errors import InputError
from autotts.worlds.servers.address import Address
from autotts.worlds.servers.fault import NONSENSE, REFUSED, RESET, TIMEOUT, Fault
from autotts.worlds.servers.limits import Timeouts


class Through:
    """Sends requests through a transport, which it does not own; `headers` are those of every request."""

    def __init__(
        self, transport: httpx.AsyncBaseTransport, address: Address, headers: Mapping[str, str], timeouts: Timeouts
    ) -> None:
        self._transport = transport
        self._address = address
        self._headers = httpx.Headers(dict(headers))
        self._timeouts = timeouts

    async def ask(self, method: str, target: str, body: bytes) -> Passed:
        """Send a request."""
        limits = self._timeouts
        request = httpx.Request(
            method,
            self._address.origin + target,
            headers=self._headers,
            content=body or None,
            extensions={"timeout": {"connect": limits.connect, "pool": None, "read": None, "write": limits.first}},
        )
        ends = asyncio.get_running_loop().time() + limits.total
        try:
            async with asyncio.timeout(min(limits.first, limits.total)):
                response = await self._transport.handle_async_request(request)
        except (TimeoutError, httpx.HTTPError) as error:
            raise _fault(error, self._address) from None
        return Passed(response, self._address, limits, ends)

    async def close(self) -> None:
        """The transport is closed by its owner."""


class Passed:
    """An answer through a transport."""

    def __init__(self, response: httpx.Response, address: Address, limits: Timeouts, ends: float) -> None:
        self.status: Final = response.status_code
        self.headers: Final = {name.lower(): value for name, value in response.headers.items()}
        self._response = response
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self._pieces: AsyncIterator[bytes] = aiter(response.stream)
        self._address = address
        self._limits = limits
        self._wait = limits.first
        self._ends = ends

    async def read(self) -> bytes:
        """The next piece."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(min(loop.time() + self._wait, self._ends)):
                piece = b""
                while not piece:
                    piece = await anext(self._pieces)
        except StopAsyncIteration:
            return b""
        except (TimeoutError, httpx.HTTPError) as error:
            raise _fault(error, self._address, begun=True) from None
        self._wait = self._limits.between
        return piece

    def hurry(self) -> None:
        """It is read as it comes anyway."""

    async def leave(self) -> bytes:
        """Nothing: a transport does not say what has come by now."""
        return b""

    async def close(self) -> None:
        """Cut it off."""
        await self._response.aclose()


def _fault(error: Exception, address: Address, begun: bool = False) -> Exception:
    words = address.excerpt(str(error)) or type(error).__name__
    if isinstance(error, httpx.ConnectTimeout):
        return Fault(f"no connection to {address.shown} in time", kind=REFUSED)
    if isinstance(error, (TimeoutError, httpx.TimeoutException)):
        return Fault(f"{address.shown} said nothing {'more ' * begun}in time", kind=TIMEOUT)
    if isinstance(error, httpx.ConnectError):
        if "CERTIFICATE" in words.upper():
            return InputError(f"{address.shown} shows a certificate that is not trusted: {words}")
        return Fault(f"no connection to {address.shown}: {words}", kind=REFUSED)
    if isinstance(error, (httpx.ProxyError, httpx.UnsupportedProtocol)):
        return InputError(f"no way to {address.shown}: {words}; check the proxy")
    if isinstance(error, httpx.RemoteProtocolError) and "disconnect" not in words and "incomplete" not in words:
        return Fault(f"{address.shown} does not speak HTTP: {words}", kind=NONSENSE)
    return Fault(f"the connection to {address.shown} broke off: {words}", kind=RESET)


def open_proxy(proxy: str, address: Address) -> httpx.AsyncHTTPTransport:
    """A transport through a proxy; to be closed by who opened it. `InputError` where the proxy is none."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=4.0)
    try:
        return httpx.AsyncHTTPTransport(proxy=proxy if "://" in proxy else f"http://{proxy}", limits=limits)
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        place = proxy.rpartition("@")[2]
        words = str(error).replace(proxy, place)
        raise InputError(f"the proxy {place!r} for {address.shown} cannot be used: {words}") from None
