"""A cascade of whole draws: a vote of one model, and where its draws disagree, draws of another that count more.

FrugalGPT (2305.05176) asks a dearer model where a trained scorer doubts the cheaper one's answer; here agreement is the
score, so that nothing is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Annotated

from autotts.core.node import Choice, Node
from autotts.core.plan import Draw, Join, Plan, Spec, offer
from autotts.core.strategy import Range, Role
from autotts.strategies.knobs import Temperature, TopP
from autotts.strategies.select import lead, majority, readable, tally


@dataclass(frozen=True, slots=True)
class Cascade:
    """Vote of a small model; where it is not sure, draws of a large one are added that count more."""

    small: Annotated[str, Role("policy", "the model that draws first")] = "policy"
    large: Annotated[str, Role("policy", "the model that is asked where the first is not sure")] = "policy"
    n: Annotated[int, Range(1, 64, grid=(1, 2, 3, 4, 6, 8), log=True, about="draws of the small model")] = 3
    m: Annotated[int, Range(1, 64, grid=(1, 2, 4, 8), log=True, about="draws of the large model, if it is asked")] = 4
    sure: Annotated[float, Range(0.0, 1.0, grid=(0.4, 0.6, 0.8, 1.0), about="share of the n draws that must agree")] = (
        0.6
    )
    weight: Annotated[
        float, Range(0.01, 100.0, grid=(1.0, 2.0, 4.0), about="votes of each draw of the large model")
    ] = 2.0
    temperature: Temperature = 0.8
    top_p: TopP = 1.0

    def plan(self, root: Node, rng: Random) -> Plan:
        """Draw n and offer their majority; where fewer than a share `sure` agree, draw m more and weigh all votes."""
        first = yield Join(self._asks(root, self.small, self.n), offer=majority)
        choice = majority(first.slots)
        yield from offer(choice)
        if lead(tally(first.slots))[0] / self.n >= self.sure:
            return choice
        second = yield Join(self._asks(root, self.large, self.m), offer=partial(self._heaviest, first.slots))
        choice = self._heaviest(first.slots, second.slots)
        yield from offer(choice)
        return choice

    def _asks(self, root: Node, model: str, count: int) -> list[Draw]:
        spec = Spec(model=model, temperature=self.temperature, top_p=self.top_p)
        return [Draw(root, spec) for _ in range(count)]

    def _heaviest(self, first: Sequence[Node], second: Sequence[Node]) -> Choice | None:
        """The answer with the most votes, in its first draw; of answers that tie, the first seen."""
        cheap, dear = tally(first), tally(second)
        nodes = [*first, *second]
        votes = {answer: cheap.get(answer, 0.0) + self.weight * dear.get(answer, 0.0) for answer in (cheap | dear)}
        if not votes:
            return majority(nodes)
        best = max(votes, key=votes.__getitem__)
        node = next(x for x in nodes if readable(x) and x.answer == best)
        return Choice(node, votes[best] / sum(votes.values()))
