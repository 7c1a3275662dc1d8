"""Best-of-N (2110.14168): the draw with the highest score."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from autotts.core.node import Node
from autotts.core.plan import Draw, Join, Plan, Spec, offer
from autotts.strategies.knobs import Draws, Model, Scorer, Temperature, TopP
from autotts.strategies.select import highest, majority, marks


@dataclass(frozen=True, slots=True)
class BestOfN:
    """The best scored of n draws."""

    n: Draws = 8
    by: Scorer = "prm"
    model: Model = "policy"
    temperature: Temperature = 0.8
    top_p: TopP = 1.0

    def plan(self, root: Node, rng: Random) -> Plan:
        """Draw n, score each text once, take the best; ended before the scores are there, the plain majority."""
        spec = Spec(model=self.model, temperature=self.temperature, top_p=self.top_p)
        got = yield Join([Draw(root, spec) for _ in range(self.n)], offer=majority)
        yield from offer(majority(got.slots))
        choice = highest(got.slots, (yield from marks(got.slots, self.by)))
        yield from offer(choice)
        return choice
