"""A small study on the toy world: two models and a scorer, three levels, no network, no weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, replace
from typing import Any

from autotts.core.cost import ModelCard
from autotts.core.node import Node, root_node
from autotts.core.task import Problem, Task
from autotts.core.world import Binding, Meter, Reply, Request
from autotts.errors import InputError
from autotts.worlds.toy import RIGHT, Skill, Toy, Trace

CARDS = {
    "A": ModelCard("A", "1", 1_000, None, 2, 2, 1, 8),
    "B": ModelCard("B", "1", 8_000, None, 2, 4, 1, 8),
    "prm": ModelCard("prm", "1", 1_000, None, 2, 2, 1, 8),
}
# Chance of a right draw by level; B is better where it is hard, and eight times dearer.
CHANCE = {"A": {1: 0.97, 2: 0.6, 3: 0.15}, "B": {1: 0.98, 2: 0.9, 3: 0.7}}
MIX = {1: 0.5, 2: 0.3, 3: 0.2}


class Bench:
    """The toy world with a skill for each model and level; the level is the second word of a prompt."""

    def __init__(self, unit: str = "flops") -> None:
        self.models: Sequence[str] = ("A", "B")
        self.scorers: Sequence[str] = ("prm",)
        self.cards: Mapping[str, ModelCard] = CARDS
        self.bindings = {
            name: Binding(f"{name}@1", name, prices=card.prices(unit), max_tokens=80) for name, card in CARDS.items()
        }
        self.calls = 0
        self._toys = {level: Toy(self.bindings, self._skills(level)) for level in MIX}

    def _skills(self, level: int) -> dict[str, Skill]:
        out = {"prm@1": Skill(noise=0.2, fail=0.0)}
        for name, chance in CHANCE.items():
            skill = Skill(right=chance[level], fail=0.01, mute=0.01, length=(10 * level, 20 * level))
            out |= {f"{name}@1#{epoch}": skill for epoch in range(3)}
        return out

    def root(self, prompt: str) -> tuple[Node, Any]:
        if not prompt.startswith("level "):
            raise InputError(f"the toy models cannot read {prompt!r}")
        return root_node(prompt, 8), prompt

    async def answer(self, order: Request, states: tuple[Any, ...], meter: Meter) -> Reply:
        self.calls += 1
        level = int(states[0].split()[1]) if isinstance(states[0], str) else 2
        states = tuple(s if isinstance(s, str) else Trace(*s) for s in states)
        reply = await self._toys[level].answer(order, states, meter)
        return reply if reply.state is None else replace(reply, state=list(astuple(reply.state)))


@contextmanager
def opened(made: list[Bench] | None = None) -> Iterator[Bench]:
    bench = Bench()
    if made is not None:
        made.append(bench)
    yield bench


def source(stream: str, level: int | None, count: int, seed: int) -> list[Problem]:
    # The digits of the level stand in the prompt, so that the level can be learned from it.
    return [
        Problem(
            f"{stream}-{level}-{i}",
            f"level {level} {stream} {10 ** (2 * int(level or 1)) + 7 * i + seed}",
            RIGHT,
            level,
        )
        for i in range(count)
    ]


TASK = Task(
    name="toy",
    about="a toy",
    reader="exact",
    grader="exact",
    mix=MIX,
    source=source,
    read=lambda text: text,
    grade=lambda answer, gold: answer == gold,
)
