"""Majority vote (self-consistency, 2203.11171): the most frequent answer of n draws."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from autotts.core.node import Node
from autotts.core.plan import Draw, Join, Plan, Spec
from autotts.strategies.knobs import Draws, Model, Temperature, TopP
from autotts.strategies.select import majority


@dataclass(frozen=True, slots=True)
class Vote:
    """Majority vote over n draws."""

    n: Draws = 8
    model: Model = "policy"
    temperature: Temperature = 0.8
    top_p: TopP = 1.0

    def plan(self, root: Node, rng: Random) -> Plan:
        """Draw n, count in order of asking; ended early, the majority of what has arrived."""
        spec = Spec(model=self.model, temperature=self.temperature, top_p=self.top_p)
        got = yield Join([Draw(root, spec) for _ in range(self.n)], offer=majority)
        return majority(got.slots)
