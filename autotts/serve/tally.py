"""What one request took: what backends did for it, as `usage` tells, and its cost, which is counted by rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotts.core.cost import Usage
from autotts.core.plan import Score
from autotts.core.world import Binding, Meter, Reply, Request, World
from autotts.serve.guess import Guess


class Tally:
    """A world for one request, which adds up what each role's model read and generated.

    A prompt that eight draws read counts eight times, as their backend counts it. Of a draw that was cancelled, what
    its meter counted: the prompt if the backend had begun, guessed where it has not told its length, and all that was
    generated. `cost` is set by who runs the plan, in parts.

    Parameters
    ----------
    guesses
        What is known of answers of each model, by role; roles that score have none.
    """

    def __init__(self, world: World, guesses: Mapping[str, Guess]) -> None:
        self._world = world
        self._guesses = guesses
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
            role = self._role[order.binding.id]
            self.add(role, _broken_off(order, meter, self._guesses.get(role)))
            raise
        self.ended += drawn
        if meter.waiting:  # answered without asking the backend: a score that was there
            return reply
        usage, role = reply.usage, self._role[order.binding.id]
        if self.ended == 1 and drawn and role in self._guesses:  # its prompt is still bounded by its length
            self._guesses[role].learn(usage, whole=order.prefix, seconds=0.0)
        again = max(0, usage.calls - 1) * (usage.prompt + usage.cached)
        self.add(role, usage + Usage(prompt=again))
        return reply

    def progress(self) -> dict[str, int]:
        """How far the work is: draws begun, ended and given up so far."""
        return {"draws": self.draws, "ended": self.ended, "cancelled": self.cancelled}

    def add(self, role: str, usage: Usage) -> None:
        """Count what a model of a role did."""
        self.usage[role] = self.usage.get(role, Usage()) + usage


def _broken_off(order: Request, meter: Meter, guess: Guess | None) -> Usage:
    """Of every attempt at an order that has no reply."""
    if meter.waiting:
        return Usage()
    calls = max(1, meter.calls)
    prompt = meter.prompt
    if prompt is None:
        prompt = order.prefix if guess is None else guess.prompt(order.prefix)
    return Usage(prompt=calls * prompt, cancelled=meter.counted + meter.ahead, calls=calls)
