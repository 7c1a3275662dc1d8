"""The policy that a pool's study exports: its frontier as settled on all problems, by bins or prompt by prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from autotts.policy.perprompt import BIN
from autotts.predict.levels import LevelModel
from autotts.search import perprompt
from autotts.search.board import CAUTION, Board, Spread, solve, spread
from autotts.search.crossfit import learned, membership
from autotts.search.perprompt import Router
from autotts.search.ways import BINS, Way

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

Shares: TypeAlias = dict[str, dict[str, float]]  # of each bin: its arms


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """A frontier over all problems.

    Attributes
    ----------
    member
        [B, P]: how far each problem belongs to each of `bins`.
    rule, router
        What tells prompts apart, if anything does; one of them at most.
    nominal
        [V]: mean cost of each vertex, ascending.
    multipliers
        [V], descending, where there is a router.
    shares
        Of each vertex: the arms of each bin.
    value
        [V]: mean value of each vertex.
    choice
        [V, P]: the arm of each problem, as the policy routes it (with a router: as foretold out of fold).
    """

    board: Board
    bins: tuple[str, ...]
    member: Floats
    rule: LevelModel | None
    router: Router | None
    nominal: Floats
    multipliers: Floats
    shares: tuple[Shares, ...]
    value: Floats
    choice: Ints

    @property
    def arms(self) -> list[str]:
        """All arms that a prompt may get."""
        routed = {arm for shares in self.shares for arms in shares.values() for arm in arms}
        return sorted(routed if self.router is None else routed.union(self.router.performance.arms))

    @property
    def weights(self) -> dict[str, float]:
        """The share of the problems in each bin."""
        return dict(zip(self.bins, (self.member.sum(1) / self.member.sum()).tolist(), strict=True))

    def at(self, budget: float) -> Spread:
        """The vertex below a budget, on the problems that it was chosen on: never reported as a result."""
        vertex = self._between(budget)[0]
        return spread(self.board, [((int(arm), 1.0),) for arm in self.choice[vertex]])

    def mixed(self, budget: float) -> dict[str, list[list[Any]]]:
        """Who gets what at a mean budget: (arm, share)s of each bin, dearer ones last."""
        low, high, part = self._between(budget)
        out: dict[str, list[list[Any]]] = {}
        for name in self.bins:
            found: dict[str, float] = {}
            for vertex, weight in ((low, 1.0 - part), (high, part)):
                for arm, share in self.shares[vertex][name].items():
                    if weight > 0:
                        found[arm] = found.get(arm, 0.0) + weight * share
            out[name] = [[arm, share if len(found) > 1 else 1.0] for arm, share in found.items()]
        return out

    def expected(self, budget: float) -> dict[str, float]:
        """Mean value and cost at a mean budget, as chosen from."""
        low, high, part = self._between(budget)
        return {
            name: float((1.0 - part) * row[low] + part * row[high])
            for name, row in (("value", self.value), ("cost", self.nominal))
        }

    def of_bins(self, arm: str) -> dict[str, dict[str, float]]:
        """Mean value and cost of an arm in each bin."""
        i, out = self.board.index[arm], {}
        for name, belongs in zip(self.bins, self.member, strict=True):
            w = belongs if belongs.any() else np.ones_like(belongs)  # no prompt was taken for this bin
            value, cost = (float(of[i] @ w / w.sum()) for of in (self.board.value, self.board.cost))
            out[name] = {"value": value, "cost": cost}
        return out

    def place(self, budget: float) -> int:
        """The vertex at or below a budget."""
        return self._between(budget)[0]

    def fitted(self, budget: float) -> Settled:
        """With a router, a vertex more whose cost is as near below a budget as a multiplier gets it."""
        low, high, part = self._between(budget)
        if self.router is None or low == high or part <= 0:
            return self
        places = np.arange(len(self.choice[0]))
        above, below = self.multipliers[low], self.multipliers[high]
        for _ in range(40):
            middle = (above + below) / 2
            arms = self.router.held(np.array([middle]), places)[0]
            within = self.board.cost[arms, places].mean() <= budget
            above, below = (middle, below) if within else (above, middle)
        found = _by_prompt(self.board, self.router, np.unique(np.append(self.multipliers, above))[::-1])
        return found if (np.diff(found.nominal) > 0).all() else self

    def _between(self, budget: float) -> tuple[int, int, float]:
        """The vertices around a budget, and how far it is from the lower one to the other."""
        low = max(0, int(np.searchsorted(self.nominal, budget * (1 + 1e-12), side="right")) - 1)
        if low + 1 >= len(self.nominal):
            return low, low, 0.0
        part = float((budget - self.nominal[low]) / (self.nominal[low + 1] - self.nominal[low]))
        return low, low + 1, max(0.0, part)


def settle(board: Board, allowed: Bools, way: Way, seed: int) -> Settled:
    """Choose the frontier on all problems, in the way that was decided."""
    rows = np.arange(len(board.problems))
    if way.kind == "performance" and way.router is not None:
        return _by_prompt(board, way.router, perprompt.dial(board, way.router, rows).multipliers)
    rule = learned(board, rows, BINS, seed) if way.kind == "levels" else None
    member = np.ones((1, len(rows))) if rule is None else membership(board, rows, BINS, rule)
    bins = (BIN,) if rule is None else tuple(map(str, rule.levels))
    named = [BIN] * len(rows) if rule is None else [str(rule.level(p.prompt)) for p in board.problems]
    chosen = solve(board, allowed, rows, member, bins, caution=CAUTION)
    return Settled(
        board=board,
        bins=bins,
        member=member,
        rule=rule,
        router=None,
        nominal=chosen.nominal,
        multipliers=np.zeros(0),
        shares=tuple({name: {route[name]: 1.0} for name in bins} for route in chosen.routes),
        value=np.array([_mean(board.value, board, route, bins, member) for route in chosen.routes]),
        choice=np.array([[board.index[route[name]] for name in named] for route in chosen.routes]),
    )


def _by_prompt(board: Board, router: Router, multipliers: Floats) -> Settled:
    rows = np.arange(len(board.problems))
    choice = router.held(multipliers, rows)
    shares = []
    for arms in choice:
        found, times = np.unique(arms, return_counts=True)
        order = np.argsort(board.cost[found].mean(1), kind="stable")
        shares.append({BIN: {board.arms[found[i]]: float(times[i] / len(rows)) for i in order}})
    return Settled(
        board=board,
        bins=(BIN,),
        member=np.ones((1, len(rows))),
        rule=None,
        router=router,
        nominal=board.cost[choice, rows].mean(1),
        multipliers=multipliers,
        shares=tuple(shares),
        value=board.value[choice, rows].mean(1),
        choice=choice,
    )


def _mean(of: Floats, board: Board, route: dict[str, str], bins: Sequence[str], member: Floats) -> float:
    return sum(float(of[board.index[route[name]]] @ w) for name, w in zip(bins, member, strict=True)) / len(of[0])
