"""Votes of draws that are cut off: what has not ended after a number of tokens is asked for its answer as it stands.

A thinking budget (s1, 2501.19393) without its forced end: a probe reads the answer off a copy of the running draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Annotated

from autotts.core.node import Choice, Node
from autotts.core.plan import Draw, Join, Plan, Spec, offer
from autotts.core.strategy import Range
from autotts.strategies.knobs import Draws, Model, Temperature, TopP
from autotts.strategies.select import majority


@dataclass(frozen=True, slots=True)
class Cut:
    """Majority vote over n draws that are cut off at a limit; what was cut off votes with its probed answer."""

    n: Draws = 4
    limit: Annotated[
        int, Range(1, 10**7, grid=(4000, 8000, 12000, 16000), log=True, about="tokens after which a draw is cut off")
    ] = 8000
    model: Model = "policy"
    temperature: Temperature = 0.8
    top_p: TopP = 1.0

    def plan(self, root: Node, rng: Random) -> Plan:
        """Draw n up to the limit, probe those that have not ended (at temperature 0), count in order of asking."""
        spec = Spec(stop=self.limit, model=self.model, temperature=self.temperature, top_p=self.top_p)
        probe = Spec(move="probe", model=self.model, temperature=0.0)
        got = yield Join([Draw(root, spec) for _ in range(self.n)], offer=majority)
        nodes: list[Node] = got.slots
        running = [x for x in nodes if not (x.done or x.failed)]
        choice = majority(nodes)
        yield from offer(choice)
        if running:
            got = yield Join([Draw(x, probe) for x in running], offer=partial(_said, nodes))
            choice = _said(nodes, got.slots)
            yield from offer(choice)
        return choice


def _said(nodes: Sequence[Node], probes: Sequence[Node]) -> Choice | None:
    """The majority of ended draws and, in the places of the others, of what their probes said."""
    left = iter(probes)
    return majority([x if x.done or x.failed else next(left, x) for x in nodes])
