"""Stages with probes: a few draws side by side, ended when they agree; where they do not, rounds of a second model.

The answer of a running draw is read off by probes (as the controllers of 2605.08083 do), so a stage can end before its
draws do, and what still runs is cancelled. Cascades of whole draws (FrugalGPT, 2305.05176) pay for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated

from autotts.core.node import Choice, Node
from autotts.core.plan import Draw, Join, Plan, Spec, offer
from autotts.core.strategy import Range, Role
from autotts.strategies.knobs import Temperature, TopP
from autotts.strategies.select import lead, majority, readable


@dataclass(slots=True)
class Trace:
    """One draw made in chunks, what its probes said, and what its vote weighs."""

    node: Node
    weight: float
    made: int = 0
    probe: Node | None = None
    stable: int = 0  # probes in a row with the same answer
    over: bool = False

    def grow(self, node: Node, limit: int) -> None:
        """Take note of its next chunk."""
        self.node = node
        self.made += node.tokens
        self.over = node.done or node.failed or self.made >= limit

    def hear(self, probe: Node) -> None:
        """Take note of what a probe said."""
        known = readable(probe)
        same = known and self.probe is not None and readable(self.probe) and probe.answer == self.probe.answer
        self.stable = self.stable + 1 if same else int(known)
        self.probe = probe

    @property
    def ended(self) -> bool:
        """Whether it came to its end by itself, with an answer."""
        return self.node.done and readable(self.node)


@dataclass(frozen=True, slots=True)
class Staged:
    """A vote of probed draws that ends early, and goes on with another model where they disagree."""

    small: Annotated[str, Role("policy", "the model of the first stage")] = "policy"
    large: Annotated[str, Role("policy", "the model of the later stages")] = "policy"
    n: Annotated[int, Range(1, 32, grid=(1, 2, 3, 4), about="draws of the first stage")] = 3
    m: Annotated[int, Range(0, 32, grid=(0, 1, 2, 3, 4, 6), about="draws of each later stage; 0: there is none")] = 6
    rounds: Annotated[int, Range(1, 16, grid=(1, 2, 3), about="most later stages")] = 1
    chunk: Annotated[int, Range(1, 10**6, grid=(500,), log=True, about="tokens between two probes")] = 500
    limit: Annotated[
        int, Range(1, 10**7, grid=(18000, 22000, 26000, 30000), log=True, about="most tokens of a draw")
    ] = 26000
    patience: Annotated[
        int, Range(1, 100, grid=(4, 6, 8, 12), log=True, about="equal probes in a row after which a draw votes")
    ] = 4
    weak: Annotated[
        float, Range(0.0, 1.0, grid=(0.0, 0.25, 0.5), about="weight of such a vote; an ended draw has 1")
    ] = 0.5
    need: Annotated[int, Range(0, 32, grid=(1, 2), about="ended draws that a stage waits for")] = 1
    sure: Annotated[
        float, Range(0.0, 100.0, grid=(1.0, 1.5, 2.0, 2.5), about="lead of an answer that ends stage one")
    ] = 2.0
    unsure: Annotated[
        float, Range(0.0, 100.0, grid=(0.5, 1.0, 1.5, 2.0), about="lead below which there is another stage")
    ] = 0.5
    weight: Annotated[float, Range(0.0, 100.0, grid=(1.0, 1.5, 2.0), about="weight of a later vote")] = 2.0
    settled: Annotated[
        float, Range(0.0, 100.0, grid=(0.5, 1.0, 1.5, 2.0, 3.0), about="lead of an answer that ends a later stage")
    ] = 0.5
    temperature: Temperature = 0.8
    top_p: TopP = 1.0

    def plan(self, root: Node, rng: Random) -> Plan:
        """Each stage marches in step, a chunk and a probe at a time; the heaviest answer wins."""
        traces = yield from self._march(_Stage(root, self.small, self.n, 1.0, self.sure), [])
        for _ in range(self.rounds if self.m else 0):
            if self._lead(traces) >= self.unsure:
                break
            traces = yield from self._march(_Stage(root, self.large, self.m, self.weight, self.settled), traces)
        return self._choice(traces)

    def _march(self, stage: _Stage, before: list[Trace]) -> Plan:
        """Draw and probe until enough draws have ended and the lead is large enough, or all are over."""
        chunk = Spec(stop=self.chunk, model=stage.model, temperature=self.temperature, top_p=self.top_p)
        probe = Spec(move="probe", model=stage.model, temperature=0.0)
        fresh = [Trace(stage.root, stage.weight) for _ in range(stage.count)]
        traces = [*before, *fresh]
        while going := [t for t in fresh if not t.over]:
            got = yield Join([Draw(t.node, chunk) for t in going])
            for trace, node in zip(going, got.slots, strict=True):
                trace.grow(node, self.limit)
            asked = [t for t in going if not (t.node.done or t.node.failed)]
            if asked:
                got = yield Join([Draw(t.node, probe) for t in asked])
                for trace, node in zip(asked, got.slots, strict=True):
                    trace.hear(node)
            yield from offer(self._choice(traces))
            if sum(t.ended for t in fresh) >= self.need and self._lead(traces) >= stage.sure:
                break
        return traces

    def _lead(self, traces: Sequence[Trace]) -> float:
        first, second = lead(self._votes(traces))
        return first - second

    def _votes(self, traces: Sequence[Trace]) -> dict[str, float]:
        """The weight of each answer, in order of first sight."""
        votes: dict[str, float] = {}
        for t in traces:
            node, weight = self._vote(t)
            if weight > 0 and node.answer is not None:
                votes[node.answer] = votes.get(node.answer, 0.0) + weight
        return votes

    def _vote(self, t: Trace) -> tuple[Node, float]:
        """The node that has its answer, and what that is worth."""
        if t.node.done or t.node.failed or t.probe is None:
            return t.node, t.weight if t.ended else 0.0
        return t.probe, self.weak * t.weight if t.stable >= self.patience else 0.0

    def _choice(self, traces: Sequence[Trace]) -> Choice | None:
        """The heaviest answer; where nothing weighs anything, the majority of what was read last."""
        votes = self._votes(traces)
        if not votes:
            last = [t.node if t.node.done or t.node.failed or t.probe is None else t.probe for t in traces]
            found = majority([x for x in last if x.depth > 0])
            return None if found is None else Choice(found.node, 0.0)
        best = max(votes, key=votes.__getitem__)
        holder = next(node for node, w in map(self._vote, traces) if w > 0 and node.answer == best)
        return Choice(holder, votes[best] / sum(votes.values()))


@dataclass(frozen=True, slots=True)
class _Stage:
    root: Node
    model: str
    count: int
    weight: float
    sure: float
