"""Beam search under a process reward (2408.03314): keep the best N/M prefixes, continue each M times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated

from autotts.core.node import Choice, Node
from autotts.core.plan import Draw, Join, Plan, Spec, offer
from autotts.core.strategy import Range
from autotts.errors import InputError
from autotts.strategies.knobs import Model, Scorer, Temperature, TopP
from autotts.strategies.select import majority, marks, readable, weighted

ROUNDS = 40  # as the paper; the last one is drawn to the end


@dataclass(frozen=True, slots=True)
class Beam:
    """Step-level search with n beams of width m; the finished ones vote, weighted by their last score."""

    n: Annotated[int, Range(1, 64, grid=(4, 8, 16), log=True, about="beams; each ends once")] = 8
    m: Annotated[int, Range(1, 64, grid=(2, 4), log=True, about="continuations of a kept prefix; divides n")] = 4
    by: Scorer = "prm"
    model: Model = "policy"
    temperature: Temperature = 0.8
    top_p: TopP = 1.0

    def __post_init__(self) -> None:
        if self.n % self.m:
            raise InputError(f"beam: m expects a divisor of n = {self.n} (n / m prefixes are kept), found {self.m}")

    def plan(self, root: Node, rng: Random) -> Plan:
        """In each round draw a step of every beam, score, keep; a beam that has ended leaves its place empty."""
        beams: list[Node] = [root] * self.n
        first: Node | None = None
        ended: list[Node] = []
        scores: list[float] = []
        for turn in range(ROUNDS):
            spec = Spec("extend", "step" if turn < ROUNDS - 1 else "end", self.model, self.temperature, self.top_p)
            got = yield Join([Draw(x, spec) for x in beams], offer=None if ended else _unscored)
            nodes: list[Node] = got.slots
            first = first or nodes[0]
            if not ended:
                yield from offer(_unscored(nodes))
            fresh: list[float] = yield from marks(nodes, self.by)
            pairs = [(x, s) for x, s in zip(nodes, fresh, strict=True) if not x.failed]
            over = [(x, s) for x, s in pairs if x.done]
            if over:
                ended += [x for x, _ in over]
                scores += [s for _, s in over]
                yield from offer(weighted(ended, scores))
            beams = self._keep([p for p in pairs if not p[0].done], self.n - len(ended))
            if not beams:
                break
        if ended:
            return weighted(ended, scores)
        yield from offer(lost := Choice(first, 0.0) if first else None)
        return lost

    def _keep(self, pairs: list[tuple[Node, float]], room: int) -> list[Node]:
        """The best prefixes, m times each, as far as there is room; ties in order, NaN last."""
        best = sorted(pairs, key=lambda p: math.inf if math.isnan(p[1]) else -p[1])
        return [x for x, _ in best for _ in range(self.m)][:room]


def _unscored(nodes: Sequence[Node]) -> Choice | None:
    """What to answer while no finished beam has been scored."""
    return majority([x for x in nodes if x.done and readable(x)])
