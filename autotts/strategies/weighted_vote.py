"""Best-of-N weighted (2408.03314): the answer whose draws have the largest sum of scores."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from autotts.core.node import Node
from autotts.core.plan import Draw, Join, Plan, Spec, offer
from autotts.strategies.knobs import Draws, Model, Scorer, Temperature, TopP
from autotts.strategies.select import majority, marks, weighted


@dataclass(frozen=True, slots=True)
class WeightedVote:
    """Vote over n draws, each weighted by its score."""

    n: Draws = 8
    by: Scorer = "prm"
    model: Model = "policy"
    temperature: Temperature = 0.8
    top_p: TopP = 1.0

    def plan(self, root: Node, rng: Random) -> Plan:
        """Draw n, score each text once, add up; ended before the scores are there, the plain majority."""
        spec = Spec(model=self.model, temperature=self.temperature, top_p=self.top_p)
        got = yield Join([Draw(root, spec) for _ in range(self.n)], offer=majority)
        yield from offer(majority(got.slots))
        choice = weighted(got.slots, (yield from marks(got.slots, self.by)))
        yield from offer(choice)
        return choice
