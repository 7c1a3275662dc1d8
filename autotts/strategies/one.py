"""One draw: greedy at temperature 0, sampled above."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Annotated

from autotts.core.node import Choice, Node
from autotts.core.plan import Plan, Spec, draw
from autotts.core.strategy import Range
from autotts.strategies.knobs import Model, TopP
from autotts.strategies.select import readable


@dataclass(frozen=True, slots=True)
class One:
    """One draw."""

    model: Model = "policy"
    temperature: Annotated[
        float, Range(0.0, 2.0, grid=(0.0, 0.6, 1.0), about="sampling temperature; 0 always takes the likeliest token")
    ] = 0.0
    top_p: TopP = 1.0

    def plan(self, root: Node, rng: Random) -> Plan:
        """Draw once; confidence 0 where nothing can be read."""
        spec = Spec(model=self.model, temperature=self.temperature, top_p=self.top_p)
        (node,) = yield from draw([root], spec)
        return Choice(node, 1.0 if readable(node) else 0.0)
