"""A request handed on to a model's servers as it is, and their answer handed back as it comes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from autotts.core.plan import Spec
from autotts.worlds.models.entry import Entry

if TYPE_CHECKING:
    from autotts.worlds.openai.forms import Form


class Sink(Protocol):
    """Takes an answer as it comes; who waits in it holds the server up."""

    async def begin(self, kind: str) -> None:
        """There is an answer, of this content type; its first bytes follow."""
        ...

    async def piece(self, data: bytes) -> None:
        """The next bytes, as the server sent them."""
        ...


@runtime_checkable
class Relay(Protocol):
    """What worlds of models behind servers can do besides drawing; see `relay_of`."""

    @property
    def entries(self) -> Mapping[str, Entry]:
        """What each role was opened with."""
        ...

    def form(self, spec: Spec, state: Any, seed: int) -> Form:
        """The request of a draw of a whole answer, as the world itself would make it; its usage comes at its end."""
        ...

    async def relay(
        self, role: str, path: str, body: Mapping[str, Any], sink: Sink, *, own: Collection[str] = ()
    ) -> None:
        """Post a request to one of a model's servers, and hand on the bytes of the answer.

        Another server is tried until one begins to answer, and none after that. Cancelling the call hangs up.

        Parameters
        ----------
        path
            Below the version, such as "/chat/completions" or "/embeddings".
        own
            Fields of the body that nobody asked for: they are left out where the server refuses them.

        Raises
        ------
        Fault
            When the servers refuse the request, with their `status` and `body` (404: they know no such model or no such
            path), or when what had begun breaks off.
        BackendError
            When no server works, or they refuse our key.
        """
        ...


def relay_of(world: object, role: str) -> Relay | None:
    """What hands on requests to a model's servers; None where the model is not behind any."""
    found: Any = world
    while (of := getattr(found, "world_of", None)) is not None:
        found = of(role)
    return found if isinstance(found, Relay) and role in found.entries else None
