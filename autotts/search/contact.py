"""The first contact of a study with its models: what their servers cannot do, and which strategies that leaves out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from autotts.core.world import Binding
from autotts.errors import InputError
from autotts.search.abilities import lacks, left_out
from autotts.store.meta import Meta
from autotts.worlds.catalogue import Catalogue

PROBED = "probed"  # in the ledger


class Contact:
    """What the models of a study can; found once and remembered in its database, so that a study stays what it is.

    Attributes
    ----------
    missing
        By model, the abilities that it lacks.
    charges
        What it took to find out, by (binding id, kind), in parts.
    """

    def __init__(self, models: Catalogue, meta: Meta, bindings: Mapping[str, Binding]) -> None:
        self.missing: dict[str, list[str]] = {}
        self.charges: dict[tuple[str, str], int] = {}
        if models.embedded:
            return
        names = [name for name in bindings if models.entries[name].draws]
        known: dict[str, Any] = {name: meta.get(_key(bindings[name])) for name in names}
        asked = [name for name in names if known[name] is None]
        for name, (missing, tokens) in zip(asked, asyncio.run(_ask(models, asked))):
            binding = bindings[name]
            known[name] = {"missing": missing}
            meta.set(_key(binding), known[name])
            if tokens:  # read or written: charged as the dearer of the two
                price = max(binding.prices.of_prompt(tokens, tokens), binding.prices.of_generated(0, tokens))
                self.charges[binding.id, PROBED] = price
        self.missing = {name: list(known[name]["missing"]) for name in names}

    def unable(self, asked: Sequence[str]) -> dict[str, str]:
        """Strategies that these models cannot run, and why.

        Raises
        ------
        InputError
            When one of them was asked for by name.
        """
        found = left_out(self.missing)
        wanted = [name for name in asked if name in found]
        if wanted:
            raise InputError(
                f"--strategies: {', '.join(wanted)} cannot be run here: {found[wanted[0]]}; leave them out, or ask "
                "another server (autotts models check says what each can)"
            )
        return found


def words(unable: Mapping[str, str]) -> list[str]:
    """What a report says of strategies that were left out."""
    reasons: dict[str, list[str]] = {}
    for strategy, why in unable.items():
        reasons.setdefault(why, []).append(strategy)
    return [f"left out: {', '.join(names)}: {why}" for why, names in reasons.items()]


def _key(binding: Binding) -> str:
    return f"abilities/{binding.id}"


async def _ask(models: Catalogue, names: Sequence[str]) -> list[tuple[list[str], int]]:
    return await asyncio.gather(*(lacks(models.entries[name]) for name in names))
