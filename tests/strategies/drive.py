"""Drives a plan by hand: draws and scores come from a written list, in order of asking or of their length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from autotts.core.node import Choice, Node
from autotts.core.plan import MISSING, Arrivals, Draw, Join, Score

ROOT = Node(b"root", 0, False, None, b"", 7)


def end(answer: str | None, tokens: int = 10, *, text: str = "", failed: bool = False) -> Node:
    """A whole draw; draws with the same `text` are the same text."""
    name = (text or f"{answer}/{tokens}/{failed}").encode()
    return Node(name, 1, True, answer, name, tokens, failed)


@dataclass
class Drive:
    """`draw` makes the value of the i-th draw, `score` that of a node; draws arrive in order of their tokens."""

    draw: Callable[[Draw, int], Node]
    score: Callable[[Node], float] = lambda node: 0.5
    draws: list[Draw] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    offers: list[Choice] = field(default_factory=list)
    late: list[Choice | None] = field(default_factory=list)  # what `Join.offer` says after each arrival

    def run(self, strategy: Any) -> Choice | None:
        """What the strategy answers; its plan must offer that last, if it offers anything."""
        choice: Choice | None = self._plan(strategy.plan(ROOT, Random(0)), top=True)
        assert not self.offers or self.offers[-1] == choice
        return choice

    def _plan(self, plan: Any, top: bool = False) -> Any:
        send = None
        while True:
            try:
                item = plan.send(send)
            except StopIteration as stop:
                return stop.value
            if isinstance(item, Join):
                send = self._join(item, top)
            else:
                send = None
                if top:
                    self.offers.append(item.choice)

    def _join(self, join: Join, top: bool) -> Arrivals:
        known = [self._value(ask) for ask in join.asks]
        slots: list[Any] = [MISSING] * len(known)
        values: list[Any] = []
        length = [v.tokens if isinstance(v, Node) else 0 for v in known]
        for i in sorted(range(len(known)), key=length.__getitem__):
            slots[i] = known[i]
            values.append(known[i])
            if top and join.offer is not None:
                self.late.append(join.offer(list(values)))
            if join.enough is not None and join.enough(values):
                break
        return Arrivals(join.asks, slots, values)

    def _value(self, ask: Any) -> Any:
        if isinstance(ask, Draw):
            self.draws.append(ask)
            return self.draw(ask, len(self.draws) - 1)
        if isinstance(ask, Score):
            self.scores.append(ask)
            return self.score(ask.node)
        return self._plan(ask)


def script(nodes: Sequence[Node], scores: Iterable[float] = ()) -> Drive:
    """Whole draws in this order; `scores` belong to them by position (the same text has one score)."""
    marks = {x.digest: s for x, s in zip(nodes, scores)}
    return Drive(lambda ask, i: nodes[i], lambda node: marks.get(node.digest, 0.5))
