"""First-finish search (2505.18149; k of n, 2512.02008): short thoughts tend to be right, so the first to end answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated

from autotts.core.node import Node
from autotts.core.plan import Draw, Join, Plan, Spec
from autotts.core.strategy import Range
from autotts.errors import InputError
from autotts.strategies.knobs import Model, Temperature, TopP
from autotts.strategies.select import majority, readable


@dataclass(frozen=True, slots=True)
class FirstFinish:
    """The majority of the first k of n draws to end; the others are cancelled."""

    n: Annotated[int, Range(1, 64, grid=(2, 4, 8, 16), log=True, about="draws that are begun")] = 4
    k: Annotated[int, Range(1, 64, grid=(1, 2), log=True, about="readable draws to wait for, at most n")] = 1
    model: Model = "policy"
    temperature: Temperature = 0.8
    top_p: TopP = 1.0

    def __post_init__(self) -> None:
        if self.k > self.n:
            raise InputError(
                f"first_finish: k expects a whole number from 1 to n = {self.n} (draws to wait for, of those begun), "
                f"found {self.k}: lower k or raise n"
            )

    def plan(self, root: Node, rng: Random) -> Plan:
        """Begin n, wake at the k-th that can be read (a draw without an answer does not count), cancel the rest."""
        spec = Spec(model=self.model, temperature=self.temperature, top_p=self.top_p)
        got = yield Join([Draw(root, spec) for _ in range(self.n)], self._enough, majority)
        return majority(got.values)

    def _enough(self, nodes: Sequence[Node]) -> bool:
        return sum(map(readable, nodes)) >= self.k
