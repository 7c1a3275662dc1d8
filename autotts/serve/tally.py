"""What one request took: what backends did for it, as `usage` tells, and its cost, which is counted by rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotts.core.cost import Usage
from autotts.core.plan import Score
from autotts.core.world import Binding, Meter, Reply, Request, World


class Tally:
    """A world for one request, which adds up what each role's model read and generated.

    A prompt that eight draws read counts eight times, as their backend counts it. Of a draw that was cancelled, what
    its meter counted: the prompt if the backend had begun, and all that was generated. `cost` is set by who runs the
    plan, in parts.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._role = {binding.id: role for role, binding in world.bindings.items()}
        self.usage: dict[str, Usage] = {}
        self.cost = 0
        self.draws = 0
        self.ended = 0
        self.cancelled = 0

    @property
    def bindings(self) -> Mapping[str, Binding]:
        """Those of the world."""
        return self._world.bindings

    async def answer(self, order: Request, states: tuple[Any, ...], meter: Meter) -> Reply:
        """As the world answers."""
        drawn = type(order.ask) is not Score
        self.draws += drawn
        try:
            reply = await self._world.answer(order, states, meter)
        except BaseException:
            self.cancelled += drawn
            self.add(self._role[order.binding.id], _broken_off(order, meter))
            raise
        self.ended += drawn
        if meter.waiting:  # answered without asking the backend: a score that was there
            return reply
        usage = reply.usage
        again = max(0, usage.calls - 1) * (usage.prompt + usage.cached)
        self.add(self._role[order.binding.id], usage + Usage(prompt=again))
        return reply

    def progress(self) -> dict[str, int]:
        """How far the work is: draws begun, ended and given up so far."""
        return {"draws": self.draws, "ended": self.ended, "cancelled": self.cancelled}

    def add(self, role: str, usage: Usage) -> None:
        """Count what a model of a role did."""
        self.usage[role] = self.usage.get(role, Usage()) + usage


def _broken_off(order: Request, meter: Meter) -> Usage:
    """Of every attempt at an order that has no reply."""
    if meter.waiting:
        return Usage()
    calls = max(1, meter.calls)
    prompt = order.prefix if meter.prompt is None else meter.prompt
    return Usage(prompt=calls * prompt, cancelled=meter.counted + meter.ahead, calls=calls)
