"""The first look at servers: whether anybody is there, before anything is asked or spent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from autotts.errors import BackendError, InputError
from autotts.worlds.models.entry import Entry, Server
from autotts.worlds.servers import Fault, Fleet, Line, Retries, Timeouts
from autotts.worlds.servers.address import address_of
from autotts.worlds.servers.fault import BUSY, REQUEST, SERVER
from autotts.worlds.servers.fleet import NO_PROXIES

QUICK: Final = Retries(tries=3, first=0.05, longest=0.25, patience=0.0)
SHORT: Final = Timeouts(connect=3.0, first=30.0, between=30.0, total=30.0)
_THERE: Final = (BUSY, REQUEST, SERVER)  # what only a server says: a draw will tell whether it is of use


async def look(
    entries: Mapping[str, Entry],
    *,
    proxies: Mapping[str, str] = NO_PROXIES,
    retries: Retries = QUICK,
    timeouts: Timeouts = SHORT,
) -> None:
    """See that each model has a server that is there: one short request to each address.

    Whether a server lists the model, or takes the key for that, does not matter: not all do.

    Raises
    ------
    InputError
        When what answers is no server in OpenAI's form: a web page, as a rule.
    BackendError
        When none of a model's servers is there; it says why, of each.
    """
    servers = list(dict.fromkeys(server for entry in entries.values() for server in entry.servers))
    async with Fleet(proxies=proxies, retries=retries, timeouts=timeouts) as fleet:
        found = await asyncio.gather(*(_gone(fleet, server) for server in servers))
    gone = {server: why for server, why in zip(servers, found, strict=True) if why}
    for role, entry in entries.items():
        if entry.servers and all(server in gone for server in entry.servers):
            reasons = "; ".join(gone[server] for server in entry.servers)
            way = ", through a proxy that the environment names" if proxies.keys() & {"http", "https", "all"} else ""
            raise BackendError(
                f"model {role!r}: expected a server that answers{way}, found none: {reasons}. Nothing was asked yet: "
                "see to the servers, and run the same command again"
            )


async def _gone(fleet: Fleet, server: Server) -> str:
    """Why nobody is there; empty where somebody is."""
    last: list[Fault] = []

    async def attempt(line: Line) -> dict[str, Any]:
        try:
            return await line.get("/models")
        except Fault as fault:
            if fault.kind in _THERE:
                return {}
            last.append(fault)
            raise

    try:
        await fleet.call([server], attempt, tokens=0, what=address_of(server).shown)
    except (Fault, BackendError) as error:
        if not last:
            return str(error)
        if last[-1].status == 200:
            raise InputError(
                f"{last[-1]}; is the address that of a server in OpenAI's form, up to the version (/v1)?"
            ) from None
        return str(last[-1])
    except InputError:
        return ""  # a key or a certificate that is refused: the first draw says it in the same words
    return ""
