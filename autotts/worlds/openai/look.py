"""Looks at servers: whether anybody is there, before anything is asked or spent, and whether each model is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from autotts.errors import BackendError, InputError
from autotts.worlds.models.entry import Entry, Server
from autotts.worlds.openai.refusals import same_model
from autotts.worlds.openai.sending import listing
from autotts.worlds.servers import Fault, Fleet, Line, Retries, Timeouts
from autotts.worlds.servers.address import address_of
from autotts.worlds.servers.fault import BUSY, NONSENSE, REQUEST, SERVER
from autotts.worlds.servers.fleet import NO_PROXIES

QUICK: Final = Retries(tries=3, first=0.05, longest=0.25, patience=0.0)
ONCE: Final = Retries(tries=1, patience=0.0, blames=False)
SOON: Final = 3.0  # seconds that a server has to say what it serves
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


async def gone_from(entries: Mapping[str, Entry], fleet: Fleet) -> dict[str, str]:
    """Why each role cannot be asked now, in words; empty where one of its servers is there and serves its model.

    A server that lists no models is taken at its word that it is there.
    """
    servers = list(dict.fromkeys(server for entry in entries.values() for server in entry.servers))
    found = dict(zip(servers, await asyncio.gather(*(_lists(fleet, server) for server in servers)), strict=True))
    out = {}
    for role, entry in entries.items():
        reasons = [_lacks(entry, server, *found[server]) for server in entry.servers]
        out[role] = "" if "" in reasons else "; ".join(dict.fromkeys(reasons))
    return out


def _lacks(entry: Entry, server: Server, why: str, listed: Mapping[str, str]) -> str:
    if why or not listed or any(same_model(entry.served, name, listed) for name in listed):
        return why
    names = ", ".join(sorted(listed)[:20])
    return f"{address_of(server).shown} does not serve {entry.served!r}: it lists {names}"


async def _lists(fleet: Fleet, server: Server) -> tuple[str, Mapping[str, str]]:
    """Why a server is not there, and what it lists."""

    async def attempt(line: Line) -> dict[str, str]:
        try:
            return listing(await line.get("/models"))
        except Fault as fault:
            if fault.status == 404 and urlsplit(server.url).path in ("", "/"):
                raise Fault(f"{fault}; is the address up to the version (/v1)?", kind=NONSENSE, again=False) from None
            if fault.kind == REQUEST or fault.status == 429:
                return {}  # it is there, and lists nothing
            raise

    shown = address_of(server).shown
    try:
        async with asyncio.timeout(SOON):
            return "", await fleet.call([server], attempt, tokens=0, what=shown, retries=ONCE)
    except TimeoutError:
        return f"{shown} said nothing within {SOON:g} s", {}
    except (Fault, BackendError, InputError) as error:
        return str(error), {}
