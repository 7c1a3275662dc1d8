"""Early-stopping self-consistency (2401.10480): draw in windows, and stop at the first one that is of one mind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Annotated

from autotts.core.node import Choice, Node
from autotts.core.plan import Draw, Join, Plan, Spec, offer
from autotts.core.strategy import Range
from autotts.errors import InputError
from autotts.strategies.knobs import Model, Temperature, TopP
from autotts.strategies.select import majority, majority_after, readable


@dataclass(frozen=True, slots=True)
class Esc:
    """Majority vote that stops drawing when all of a window agree."""

    most: Annotated[int, Range(1, 64, grid=(8, 16, 32, 40), log=True, about="most draws")] = 40
    window: Annotated[
        int, Range(1, 64, grid=(2, 3, 5, 8), log=True, about="draws made side by side that must agree, at most `most`")
    ] = 5
    model: Model = "policy"
    temperature: Temperature = 0.8
    top_p: TopP = 1.0

    def __post_init__(self) -> None:
        if self.window > self.most:
            raise InputError(
                f"esc: window expects a whole number from 1 to most = {self.most} (draws that must agree, of all "
                f"draws), found {self.window}: lower window or raise most"
            )

    def plan(self, root: Node, rng: Random) -> Plan:
        """Draw a window, offer the majority of all draws so far, stop when the window is unanimous."""
        spec = Spec(model=self.model, temperature=self.temperature, top_p=self.top_p)
        seen: list[Node] = []
        choice: Choice | None = None
        while len(seen) < self.most:
            asks = [Draw(root, spec) for _ in range(min(self.window, self.most - len(seen)))]
            got = yield Join(asks, offer=partial(majority_after, seen))
            seen = seen + got.slots
            choice = majority(seen)
            yield from offer(choice)
            if _of_one_mind(got.slots):
                break
        return choice


def _of_one_mind(nodes: Sequence[Node]) -> bool:
    return all(readable(x) and x.answer == nodes[0].answer for x in nodes)
