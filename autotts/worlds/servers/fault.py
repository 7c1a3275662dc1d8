"""What one attempt at a server may come to besides an answer."""

from __future__ import annotations

from typing import Final

from autotts.errors import BackendError

REFUSED, RESET, TIMEOUT, BUSY = "refused", "reset", "timeout", "busy"
SERVER, NONSENSE, REQUEST = "server", "nonsense", "request"
KINDS: Final = (REFUSED, RESET, TIMEOUT, BUSY, SERVER, NONSENSE, REQUEST)


class Dead(BackendError):
    """None of the servers works that could be asked."""


class Fault(Exception):
    """One attempt came to nothing.

    Parameters
    ----------
    kind
        "refused" (no connection: never begun), "reset" (broken off), "timeout", "busy" (429 or 503), "server" (another
        5xx), "nonsense" (an answer that is none: wrong JSON, half a stream, another model's), "request" (the request's
        own fault: a 4xx).
    again
        Whether another attempt may do better.
    wait
        Seconds that the server asks to be left alone; 0 where it does not say.
    status
        The HTTP status, where there was one.
    said
        The server's own words, short and without secrets.
    body
        All that it sent with its refusal, without secrets; mostly JSON.
    """

    def __init__(
        self,
        words: str,
        *,
        kind: str,
        again: bool = True,
        wait: float = 0.0,
        status: int | None = None,
        said: str = "",
        body: str = "",
    ) -> None:
        super().__init__(words)
        self.kind = kind
        self.again = again
        self.wait = wait
        self.status = status
        self.said = said
        self.body = body
