"""Adaptive consistency (2305.11860): draw until the leading answer is surely the majority, by a Beta posterior."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, partial
from math import comb
from random import Random
from typing import Annotated

from autotts.core.node import Choice, Node
from autotts.core.plan import Draw, Join, Plan, Spec, offer
from autotts.core.strategy import Range
from autotts.strategies.knobs import Model, Temperature, TopP
from autotts.strategies.select import lead, majority, majority_after, tally


def surety(first: int, second: int) -> Fraction:
    """P(p > 1/2) for p ~ Beta(a + 1, b + 1), the counts of the first two answers; exact.

    1 - I_{1/2}(a + 1, b + 1) = P(Binomial(a + b + 1, 1/2) <= a).
    """
    n = first + second + 1
    return Fraction(sum(comb(n, i) for i in range(first + 1)), 1 << n)


@lru_cache(maxsize=4096)  # the same few counts come up for every prompt
def _sure(first: int, second: int, threshold: float) -> bool:
    return surety(first, second) >= threshold


@dataclass(frozen=True, slots=True)
class Adaptive:
    """Majority vote that stops drawing when it is sure."""

    most: Annotated[int, Range(1, 64, grid=(4, 8, 16, 32), log=True, about="most draws")] = 16
    threshold: Annotated[
        float, Range(0.0, 1.0, grid=(0.85, 0.95), about="surety of the leading answer to stop at; 1 never stops")
    ] = 0.95
    batch: Annotated[int, Range(1, 64, grid=(1,), log=True, about="draws made side by side between checks")] = 1
    model: Model = "policy"
    temperature: Temperature = 0.8
    top_p: TopP = 1.0

    def plan(self, root: Node, rng: Random) -> Plan:
        """Draw a batch, offer the majority, stop when `surety` of the first two counts reaches the threshold."""
        spec = Spec(model=self.model, temperature=self.temperature, top_p=self.top_p)
        seen: list[Node] = []
        choice: Choice | None = None
        while len(seen) < self.most:
            asks = [Draw(root, spec) for _ in range(min(self.batch, self.most - len(seen)))]
            got = yield Join(asks, offer=partial(majority_after, seen))
            seen = seen + got.slots
            choice = majority(seen)
            yield from offer(choice)
            first, second = lead(tally(seen))
            if first and _sure(int(first), int(second), self.threshold):
                break
        return choice
