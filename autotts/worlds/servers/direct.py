"""A wire straight to a server, over plain or encrypted connections that are kept for the next request.

It is our own, for its cost: through a general client one piece of a stream costs 200 to 350 us of a core, and a request
of 64 pieces 22 ms; here it costs about 1 ms (measured side by side, 64 requests at once).
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Mapping
from typing import Final

from autotts.errors import InputError
from autotts.worlds.servers.address import Address
from autotts.worlds.servers.fault import REFUSED, Fault
from autotts.worlds.servers.limits import Timeouts
from autotts.worlds.servers.link import Flight, Link, Pace, why

_KEPT: Final = 4.0  # seconds that an unused connection is kept: servers close theirs after 5 and more


class Direct:
    """Connections to one server; `headers` are those of every request."""

    def __init__(self, address: Address, headers: Mapping[str, str], timeouts: Timeouts, pace: Pace) -> None:
        self._address = address
        self._fixed = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1")
        self._timeouts = timeouts
        self._pace = pace
        self._buffer = bytearray(64 << 10)
        self._idle: list[Link] = []
        self._links: set[Link] = set()
        self._context: ssl.SSLContext | None = None
        # A race of a name's addresses that is cancelled loses the socket that has just won it (asyncio, Python 3.11),
        # so there is none where there is one address.
        self._race = None if _is_number(address.host) else 0.25

    async def ask(self, method: str, target: str, body: bytes) -> Flight:
        """Send a request."""
        link = self._kept() or await self._connect()
        flight = Flight(link, self._address, self._timeouts, self._leave)
        head = f"{method} {target} HTTP/1.1\r\n".encode()
        length = b"Content-Length: %d\r\n\r\n" % len(body) if body else b"\r\n"
        self._pace.streams += 1
        link.begin(flight, head + self._fixed + length + body)
        try:
            await flight.head()
        except BaseException:
            await flight.close()
            raise
        return flight

    async def close(self) -> None:
        """Cut all connections, and wait until they are gone."""
        links = tuple(self._links)
        for link in links:
            link.cut()
        if links:
            await asyncio.wait([link.lost for link in links], timeout=1.0)

    def _kept(self) -> Link | None:
        """The connection that was used last, if it is still good."""
        youngest = asyncio.get_running_loop().time() - _KEPT
        while self._idle:
            link = self._idle.pop()
            if link.usable and link.idle_since > youngest:
                return link
            link.cut()
        return None

    def _leave(self, link: Link, good: bool) -> None:
        """An answer is done with."""
        self._pace.streams -= 1
        link.end()
        if not (good and link.usable):
            link.cut()
        else:
            link.idle_since = asyncio.get_running_loop().time()
            self._idle.append(link)

    async def _connect(self) -> Link:
        address, loop = self._address, asyncio.get_running_loop()
        if address.secure and self._context is None:
            import httpx

            self._context = httpx.create_ssl_context()
        try:
            async with asyncio.timeout(self._timeouts.connect):
                _, link = await loop.create_connection(
                    lambda: Link(self._pace, self._buffer),
                    address.host,
                    address.port,
                    ssl=self._context,
                    happy_eyeballs_delay=self._race,
                )
        except TimeoutError:
            words = f"no connection to {address.shown} within {self._timeouts.connect:g} s"
            raise Fault(words, kind=REFUSED) from None
        except ssl.SSLCertVerificationError as error:
            raise InputError(
                f"{address.shown} shows a certificate that is not trusted ({error.verify_message}); if it is your own, "
                "set SSL_CERT_FILE to a file with it"
            ) from None
        except ssl.SSLError as error:
            raise InputError(
                f"{address.shown} does not speak TLS ({why(error)}); is http:// meant in place of https://?"
            ) from None
        except (OSError, UnicodeError) as error:
            raise Fault(f"no connection to {address.shown}: {why(error)}", kind=REFUSED) from None
        self._links.add(link)
        link.lost.add_done_callback(lambda _: self._links.discard(link))
        return link


def _is_number(host: str) -> bool:
    """Whether a host is an address, and no name of any."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
