"""Several worlds as one: each role is answered by the world that binds it, and paths may go from one to another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from autotts.core.cost import ModelCard
from autotts.core.node import Node
from autotts.core.plan import Score
from autotts.core.world import Binding, Meter, Reply, Request
from autotts.errors import InputError
from autotts.worlds.catalogue import Bench, session
from autotts.worlds.context import NOTHING, Context
from autotts.worlds.servers.site import Standing


class Joined:
    """The world of some worlds, whose states are alike: the prompt, the text so far, and who wrote it.

    A prompt takes at most as many tokens as the world says that counts most.

    Raises
    ------
    InputError
        When two of them bind one role.
    """

    def __init__(self, worlds: Sequence[Bench]) -> None:
        self._worlds = tuple(worlds)
        self._of: dict[str, Bench] = {}
        for world in worlds:
            for role in world.bindings:
                if role in self._of:
                    raise InputError(f"the model {role!r} stands in two worlds: give one of them another name")
                self._of[role] = world
        self._bindings = {role: world.bindings[role] for role, world in self._of.items()}

    @property
    def bindings(self) -> Mapping[str, Binding]:
        """Those of all."""
        return self._bindings

    @property
    def models(self) -> Sequence[str]:
        """Roles that draw."""
        return tuple(role for world in self._worlds for role in world.models)

    @property
    def scorers(self) -> Sequence[str]:
        """Roles that score."""
        return tuple(role for world in self._worlds for role in world.scorers)

    @property
    def cards(self) -> Mapping[str, ModelCard]:
        """Each role's card."""
        return {role: card for world in self._worlds for role, card in world.cards.items()}

    def world_of(self, role: str) -> Bench | None:
        """The world that binds a role."""
        return self._of.get(role)

    def root(self, prompt: str, context: Context = NOTHING) -> tuple[Node, Any]:
        """The prompt's node and state, if all can read it and heed what is said beside it."""
        return max((world.root(prompt, context) for world in self._worlds), key=lambda root: root[0].tokens)

    async def look(self) -> dict[str, str]:
        """Why each role cannot be asked now, in words; empty where it can."""
        found: dict[str, str] = {}
        for one in await asyncio.gather(*(world.look() for world in self._worlds)):
            found |= one
        return found

    def standings(self) -> tuple[Standing, ...]:
        """How the servers of all stand."""
        return tuple(standing for world in self._worlds for standing in world.standings())

    @asynccontextmanager
    async def session(self) -> AsyncIterator[None]:
        """What the worlds need in the event loop."""
        async with AsyncExitStack() as stack:
            for world in self._worlds:
                await stack.enter_async_context(session(world))
            yield

    async def answer(self, order: Request, states: tuple[Any, ...], meter: Meter) -> Reply:
        """The answer of the world that binds the order's role."""
        ask = order.ask
        return await self._of[ask.by if type(ask) is Score else ask.spec.model].answer(order, states, meter)
