"""What a line needs of the network: one request out, the pieces of one answer in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Answer(Protocol):
    """An answer as it comes in; names of headers are in lower case."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The last of each name."""
        ...

    async def read(self) -> bytes:
        """The next piece of the body; empty at its end. Raises `Fault`."""
        ...

    def hurry(self) -> None:
        """Read it as it comes, however many others do."""
        ...

    async def leave(self) -> bytes:
        """Hang up; what had come, or was still on its way, and was not read."""
        ...

    async def close(self) -> None:
        """End it at once, whole or not; a connection that is left half read is cut."""
        ...


class Wire(Protocol):
    """Connections to one server."""

    async def ask(self, method: str, target: str, body: bytes) -> Answer:
        """Send a request; returns with the answer's head. Raises `Fault`, and `InputError` where no try can help."""
        ...

    async def close(self) -> None:
        """Cut all connections."""
        ...
