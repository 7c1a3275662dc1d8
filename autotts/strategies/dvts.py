"""Diverse verifier tree search (search-and-learn): n/m subtrees side by side, each greedy under a process reward."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated

from autotts.core.node import Choice, Node
from autotts.core.plan import Join, Plan, Spec, draw
from autotts.core.strategy import Range
from autotts.errors import InputError
from autotts.strategies.beam import ROUNDS
from autotts.strategies.knobs import Model, Scorer, Temperature, TopP
from autotts.strategies.select import marks, weighted

Pool = list[tuple[Node, float]]


@dataclass(frozen=True, slots=True)
class Dvts:
    """n/m independent greedy searches of width m; what their last steps ended in votes, weighted by score."""

    n: Annotated[int, Range(1, 64, grid=(4, 8, 16), log=True, about="draws in each round, over all subtrees")] = 8
    m: Annotated[int, Range(1, 64, grid=(2, 4), log=True, about="steps to choose from in a subtree; divides n")] = 4
    by: Scorer = "prm"
    model: Model = "policy"
    temperature: Temperature = 0.8
    top_p: TopP = 1.0

    def __post_init__(self) -> None:
        if self.n % self.m:
            raise InputError(f"dvts: m expects a divisor of n = {self.n} (there are n / m subtrees), found {self.m}")

    def plan(self, root: Node, rng: Random) -> Plan:
        """Run the subtrees as plans of their own; ended early, those that are through vote."""
        got = yield Join([self._subtree(root) for _ in range(self.n // self.m)], offer=_vote)
        return _vote(got.slots)

    def _subtree(self, root: Node) -> Plan:
        """Draw m steps, go on from the best, until the best has ended; the last m steps with their scores."""
        node, nodes, scores = root, [root], [math.nan]
        for turn in range(ROUNDS):
            spec = Spec("extend", "step" if turn < ROUNDS - 1 else "end", self.model, self.temperature, self.top_p)
            nodes = yield from draw([node] * self.m, spec)
            scores = yield from marks(nodes, self.by)
            usable = [(x, s) for x, s in zip(nodes, scores, strict=True) if not x.failed]
            if not usable:
                break
            node = max(usable, key=lambda p: -math.inf if math.isnan(p[1]) else p[1])[0]
            if node.done:
                break
        return list(zip(nodes, scores, strict=True))


def _vote(pools: Sequence[Pool]) -> Choice | None:
    """Best-of-N weighted over what has ended; the first draw, with confidence 0, where nothing can be read."""
    last = [p for pool in pools for p in pool]
    over = [p for p in last if p[0].done] or last[:1]
    return weighted([x for x, _ in over], [s for _, s in over])
