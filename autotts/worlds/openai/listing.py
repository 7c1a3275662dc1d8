"""The names under which a server in OpenAI's form has models."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from autotts.errors import InputError
from autotts.worlds.models.entry import Server
from autotts.worlds.openai.look import QUICK, SHORT
from autotts.worlds.servers import Fault, Fleet, Line


def served_names(server: Server, proxies: Mapping[str, str]) -> list[str]:
    """Ask a server which models it has.

    Raises
    ------
    BackendError
        Nobody answers there.
    InputError
        What answers is no server in OpenAI's form, or lists no model.
    """
    data = asyncio.run(_asked(server, proxies))
    listed = data.get("data")
    names = [entry.get("id") for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    found = [name for name in names if isinstance(name, str) and name]
    if not found:
        raise InputError(f"{server.url}: expected a server that lists its models (GET /models), found none listed")
    return found


async def _asked(server: Server, proxies: Mapping[str, str]) -> dict[str, Any]:
    async def attempt(line: Line) -> dict[str, Any]:
        return await line.get("/models")

    async with Fleet(proxies=proxies, retries=QUICK, timeouts=SHORT) as fleet:
        try:
            return await fleet.call([server], attempt, tokens=0, what=server.url)
        except Fault as fault:
            raise InputError(
                f"{fault}; is the address that of a server in OpenAI's form, up to the version (/v1)?"
            ) from None
