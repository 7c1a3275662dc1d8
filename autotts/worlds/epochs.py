"""The same world with fresh draws: another epoch gives every drawing role other sample keys, and scores stay."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from autotts.core.world import Binding, Meter, Reply, Request, World


class Epoch:
    """A world whose draws are those of one epoch.

    Epoch 0 is what a search draws; a confirmation draws epoch 1, so that no figure is reported from draws that
    it was chosen on. A scorer gives one text one score, in whatever epoch the text was drawn.
    """

    def __init__(self, world: World, epoch: int, scorers: Collection[str] = ()) -> None:
        self.world = world
        self._inner = dict(world.bindings)
        self._bindings = {
            role: b if role in scorers else replace(b, id=f"{b.id}#{epoch}") for role, b in self._inner.items()
        }

    @property
    def bindings(self) -> Mapping[str, Binding]:
        """Each role's binding, with the epoch in its id."""
        return self._bindings

    async def answer(self, order: Request, states: tuple[Any, ...], meter: Meter) -> Reply:
        """As the world answers; the seed of a draw derives from its key, which has the epoch in it."""
        return await self.world.answer(order, states, meter)
