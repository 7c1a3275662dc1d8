"""The first contact of a study with its models: what their servers cannot do, and which strategies that leaves out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from autotts.core.cost import Prices
from autotts.core.world import Binding
from autotts.engine.shared import SharedLedger
from autotts.errors import InputError
from autotts.search.abilities import lacks, left_out
from autotts.store.meta import Meta
from autotts.worlds.catalogue import Catalogue
from autotts.worlds.openai.look import look

PROBED = "probed"  # in the ledger
_MOST: Final = 2400  # tokens that are set aside to ask one model


class Contact:
    """What the models of a study can; found once and remembered in its database, so that a study stays what it is.

    What it takes to find out is paid from the study's ledger, and written there before what was found: a study that is
    killed in between asks again, and pays again.

    Attributes
    ----------
    missing
        By model, the abilities that it lacks.

    Raises
    ------
    SearchBudgetReached
        When the ledger has no room to ask.
    """

    def __init__(self, models: Catalogue, meta: Meta, bindings: Mapping[str, Binding], shared: SharedLedger) -> None:
        self.missing: dict[str, list[str]] = {}
        if models.embedded:
            return
        names = [name for name in bindings if models.entries[name].draws]
        known: dict[str, Any] = {name: meta.get(_key(bindings[name])) for name in names}
        asked = [name for name in names if known[name] is None]
        reserved = sum(_dearest(bindings[name].prices, _MOST) for name in asked)
        shared.ledger.insist(reserved)
        found: list[tuple[list[str], int]] = []
        try:
            found = asyncio.run(_ask(models, asked))
        finally:
            took = [(bindings[name], tokens) for name, (_, tokens) in zip(asked, found)]
            shared.ledger.pay(reserved, [(b.id, PROBED, _dearest(b.prices, tokens)) for b, tokens in took if tokens])
        shared.settled()
        for name, (missing, _) in zip(asked, found):
            known[name] = {"missing": missing}
            meta.set(_key(bindings[name]), known[name])
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


def _dearest(prices: Prices, tokens: int) -> int:
    """The price of tokens that were read or written."""
    return max(prices.of_prompt(tokens, tokens), prices.of_generated(0, tokens))


def _key(binding: Binding) -> str:
    return f"abilities/{binding.id}"


async def _ask(models: Catalogue, names: Sequence[str]) -> list[tuple[list[str], int]]:
    await look({name: models.entries[name] for name in names}, proxies=models.proxies)
    return await asyncio.gather(*(lacks(models.entries[name], models.proxies) for name in names))
