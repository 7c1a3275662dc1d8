"""Who a server without keys answers to: programs of its own machine, not web pages that borrow its name."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Any, Final

from autotts.serve.refused import Refused
from autotts.serve.sending import Receive, Send

# A web page can have its own name point to 127.0.0.1, and then ask this server as if it were the page's own.
_MESSAGE: Final = (
    "host: expected localhost or an address of this machine, found another name; a server without keys answers to "
    "nothing else: ask it as http://127.0.0.1, or give it keys (--api-key-file)"
)


class LocalOnly:
    """An ASGI application that refuses requests by other names than this machine's own; for servers without keys."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it with 421."""
        if scope["type"] != "http" or all(is_local(value) for name, value in scope["headers"] if name == b"host"):
            await self._app(scope, receive, send)
            return
        body = Refused(421, _MESSAGE, code="host_not_allowed").body()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 421, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@lru_cache(256)
def is_local(host: bytes) -> bool:
    """Whether the value of a `Host` header names this machine as only itself can.

    Examples
    --------
    >>> [is_local(host) for host in (b"localhost:8080", b"127.0.0.1", b"[::1]:80", b"example.org")]
    [True, True, True, False]
    """
    name = host.decode("latin-1").lower()
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    if name.rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
