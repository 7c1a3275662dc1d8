"""A study on recorded answers: everything is known, so the choice of a policy is cross-fitted, and nothing is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotts.core.cost import show
from autotts.errors import BudgetError, InputError
from autotts.estimate.intervals import Interval, Resamples, resample
from autotts.policy.allocation import Point, cheapest_within_noise, frontier
from autotts.search.board import CAUTION, FIXED, Board, Curve, Spread, spread, undominated
from autotts.search.crossfit import Binning, Fold, by_ease, by_length, curve, folds, together
from autotts.search.gauge import Gauge
from autotts.search.grid import replayable
from autotts.search.measuring import Measured, Tell, measure
from autotts.search.pool_recipe import PoolRecipe
from autotts.search.settled import Settled, settle
from autotts.search.ways import BINS, Way, decide, line
from autotts.strategies import STRATEGIES
from autotts.strategies.arms import parse

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SINGLE = frozenset({"one"})
TUNED = {
    "majority vote": ("majority", "vote"),
    "best-of-N": ("best-of-n", "best_of_n"),
    "weighted vote": ("weighted-vote", "weighted_vote"),
    "first-finish": ("first-finish", "first_finish"),
    "adaptive consistency": ("adaptive", "adaptive"),
    "early-stopping consistency": ("esc", "esc"),
    "cascade of two votes": ("cascade", "cascade"),
    "staged votes with probes": ("staged", "staged"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One way of spending on the same problems, as the report shows it; `over` is its gain over the fixed hull."""

    name: str
    kind: str
    spread: Spread
    over: Interval
    note: str = ""
    attainable: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """The policy at one budget, beside the fixed hull and the oracle at the cost that it realised."""

    budget: float
    ours: Spread
    uniform: Spread
    oracle: Spread
    captured: Interval | None
    needed: float | None


class PoolStudy:
    """One study: arms measured, policy chosen, and what each choice is worth on problems that it did not see."""

    def __init__(self, recipe: PoolRecipe, gauge: Gauge, tell: Tell) -> None:
        self.recipe = recipe
        self.gauge = gauge
        if len(gauge.problems) < 2:
            raise InputError(
                "pool: expected at least 2 prompts, to choose on some and report on others, found 1; see autotts pool "
                "stats"
            )
        self.cuts: list[Fold] = folds(len(gauge.problems), recipe.seed)
        # The fixed ones are measured whatever is wanted: they are what a policy is compared with.
        arms = replayable(gauge, (*recipe.strategies, *FIXED) if recipe.strategies else ())
        staged = recipe.candidates if not recipe.strategies or "staged" in recipe.strategies else 0
        self.measured: Measured = measure(gauge, arms, staged, self.cuts, recipe.seed, tell)
        tell("choosing, fold by fold", 0, 0)
        self.cap = None if recipe.cap_amount is None else float(recipe.cap_amount.parts)
        self._check()

    def _check(self) -> None:
        """See that there is something to choose from, and to compare it with, in every fold."""
        if not self.wanted & set(self.board.names):
            raise InputError(
                f"pool: none of the strategies {', '.join(self.recipe.strategies)} can be read off it; see autotts "
                "pool stats for what is missing"
            )
        if not self._open(FIXED) or not self._open(self.wanted):
            fixed = np.flatnonzero(self.board.of(FIXED))
            least = int(fixed[self.board.worst[fixed].max(1).argmin()])
            raise BudgetError(
                f"--cap {self.recipe.cap} is below what whole draws may cost: {self.board.arms[least]} takes up to "
                f"{show(float(self.board.worst[least].max()), self.recipe.unit)} a prompt; give at least that"
            )

    @property
    def board(self) -> Board:
        """All arms that were measured well, by problems."""
        return self.measured.board

    @cached_property
    def resamples(self) -> Resamples:
        """The problems drawn again, for all intervals."""
        return resample(["all"] * len(self.board.problems), seed=self.recipe.seed)

    # ------------------------------------------------------------ curves, each cross-fitted

    @cached_property
    def ways(self) -> list[Way]:
        """How prompts are told apart, decided within each fold."""
        allowed = self.measured.allowed
        return [
            decide(self.board, self._may(a), c[0], self.recipe.seed) for a, c in zip(allowed, self.cuts, strict=True)
        ]

    @cached_property
    def way(self) -> Way:
        """The same, decided on all problems, for the policy."""
        return decide(self.board, self._may(self.measured.every), np.arange(len(self.board.problems)), self.recipe.seed)

    @property
    def binned(self) -> bool:
        """Whether the policy has bins that are predicted from the prompt."""
        return self.way.kind == "levels"

    @cached_property
    def wanted(self) -> frozenset[str]:
        """The strategies that a policy may use."""
        return frozenset(self.recipe.strategies or STRATEGIES)

    def _may(self, arms: Bools, kinds: frozenset[str] | None = None) -> Bools:
        """The arms within the cap, of some strategies or of those that are wanted."""
        return arms & self.board.within(self.cap) & self.board.of(self.wanted if kinds is None else kinds)

    def _open(self, kinds: frozenset[str]) -> bool:
        """Whether every choice finds an arm of these strategies within the cap."""
        return all(self._may(kept, kinds).any() for kept in (*self.measured.allowed, self.measured.every))

    def curve(self, binning: Binning = together, kinds: frozenset[str] | None = None) -> Curve:
        """A frontier of some strategies' arms over some bins; of all that are wanted, as the policy is chosen: None.

        Few settings are compared in a baseline, and taking the best as it looks serves it better than caution.
        """
        caution = CAUTION if kinds is None else 0.0
        arms = [self._may(kept, kinds) for kept in self.measured.allowed]
        return curve(self.board, arms, self.cuts, binning, caution=caution)

    @cached_property
    def ours(self) -> Curve:
        """The policy: how prompts are told apart is decided within each fold as well."""
        folds = zip(self.measured.allowed, self.ways, self.cuts, strict=True)
        lines = (line(self.board, self._may(arms), way, cut, self.recipe.seed) for arms, way, cut in folds)
        return Curve(self.board, tuple(lines))

    @cached_property
    def alike(self) -> Curve:
        """All arms, one bin: the best that treats all prompts alike but for their own first draws."""
        return self.curve()

    @cached_property
    def fixed(self) -> Curve:
        """The uniform hull: mixtures of arms that do not look at the prompt at all."""
        return self.curve(kinds=FIXED)

    # ------------------------------------------------------------ the choice

    @cached_property
    def settled(self) -> Settled:
        """The policy's frontier, chosen on all problems."""
        return settle(self.board, self._may(self.measured.every), self.way, self.recipe.seed)

    @cached_property
    def budget(self) -> tuple[float, bool, str]:
        """The mean budget that the policy is made for, whether it binds, and why it is this one.

        Raises
        ------
        BudgetError
            When the budget is below the cheapest arm, or the target above what was reached on unseen problems.
        """
        low, high = float(self.settled.nominal[0]), float(self.settled.nominal[-1])
        unit, asked = self.recipe.unit, self.recipe.amount
        if self.recipe.target is not None:
            return self._target(self.recipe.target)
        if asked is not None and asked.parts < low:
            least = ", ".join(sorted({arm for arms in self.settled.shares[0].values() for arm in arms}))
            raise BudgetError(
                f"budget {self.recipe.budget} a prompt is below the cheapest arm: {least} costs {show(low, unit)} a "
                "prompt on average; give at least that"
            )
        if asked is not None and asked.parts < high:
            return (
                float(asked.parts),
                True,
                f"{self.recipe.budget} a prompt binds: the best arms would take {show(high, unit)}.",
            )
        if asked is not None:
            return (
                high,
                False,
                f"{self.recipe.budget} a prompt binds nothing here: the best arms take {show(high, unit)}.",
            )
        enough = self._enough()
        return (
            enough,
            False,
            f"No budget was given. The policy is the cheapest that is not worse than the best beyond noise: "
            f"{show(enough, unit)} a prompt (the best arms take {show(high, unit)}).",
        )

    def _target(self, target: float) -> tuple[float, bool, str]:
        grid = np.unique(np.concatenate([self.settled.nominal, np.geomspace(*self.ours.span, 100)]))
        reached = [self.ours.means(float(b))[0] for b in grid]
        fit = next((float(b) for b, value in zip(grid, reached) if value >= target), None)
        if fit is None:
            best = int(np.argmax(reached))
            raise BudgetError(
                f"target {target:g} is above what was reached on problems that the choice had not seen: "
                f"{reached[best]:.3f} at {show(float(grid[best]), self.recipe.unit)} a prompt; ask for at most that"
            )
        fit = min(max(fit, float(self.settled.nominal[0])), float(self.settled.nominal[-1]))
        words = f"An accuracy of {target:.1%} takes {show(fit, self.recipe.unit)} a prompt, as cross-fitted."
        return fit, True, words

    def _enough(self) -> float:
        """The cheapest vertex that is not worse than the best beyond noise, on paired problems."""
        values = [self.settled.at(float(b)).value.tolist() for b in self.settled.nominal]
        return float(self.settled.nominal[cheapest_within_noise(values)])

    # ------------------------------------------------------------ what is reported

    def mean(self, values: Floats) -> Interval:
        """A mean over the problems with its 95 % interval."""
        return self.resamples.mean(values)

    def over(self, found: Spread) -> Interval:
        """The gain over the fixed hull at the cost that was realised."""
        return self.resamples.difference(found.value, self.fixed.matched(float(found.cost.mean())).value)

    @cached_property
    def headline(self) -> Spread:
        """The policy at its budget, cross-fitted."""
        return self.ours.at(self.budget[0])

    def rows(self) -> list[Row]:
        """The baselines, each at the cost that ours realised where it can be."""
        cost = float(self.headline.cost.mean())
        out = [
            self._row(
                "mixture of fixed arms",
                "hull",
                self.fixed.matched(cost),
                "the fair uniform baseline: mixtures of one draw, votes and first-finish, alike for every prompt",
            )
        ]
        if self.way.kind != "none":
            note = "any arms, adaptive ones too, without looking at the prompt itself"
            out.append(self._row("mixture of any arms", "alike", self.alike.matched(cost), note))
        singles = [i for i, name in enumerate(self.board.names) if name == "one"]
        for i in sorted(singles, key=lambda i: float(self.board.cost[i].mean())):
            route = [((i, 1.0),)] * len(self.board.problems)
            arm: Any = parse(self.board.arms[i])
            alone = sum(getattr(parse(self.board.arms[j]), "model", "") == arm.model for j in singles) == 1
            name = f"one draw of {arm.model}" + ("" if alone else f" at temperature {arm.temperature:g}")
            out.append(self._row(name, "one", spread(self.board, route)))
        for name, (kind, strategy) in TUNED.items():
            kinds = frozenset({strategy}) | SINGLE
            if strategy in self.board.names and self._open(kinds):
                out.append(self._row(name, kind, self.curve(kinds=kinds).matched(cost)))
        if len(singles) > 1 and self._open(SINGLE):
            mixed = self.curve(kinds=SINGLE).matched(cost)
            out.append(self._row("random routing", "random-routing", mixed, "one draw, of a model taken at random"))
        if len(self.board.problems) >= 4 * BINS:
            length = self.curve(by_length(BINS)).matched(cost)
            out.append(self._row("routing by prompt length", "length-rule", length, "bins of length, all arms"))
            bins = self.curve(by_ease(BINS)).matched(cost)
            note = "bins of the pool's own pass rate, which a prompt does not carry"
            out.append(self._row("bins of the true pass rate", "oracle-level", bins, note, attainable=False))
        note = "perfect knowledge of every prompt, chosen on the same draws: an upper bound"
        out.append(self._row("oracle", "oracle", self.oracle(cost), note, attainable=False))
        return out

    def _row(self, name: str, kind: str, found: Spread, note: str = "", attainable: bool = True) -> Row:
        return Row(name, kind, found, self.over(found), note, attainable)

    def oracle(self, cost: float) -> Spread:
        """Each problem gets what is best for it, at a mean cost: what perfect knowledge would give."""
        solved = self._oracle
        found = solved.at(min(max(cost, solved.cheapest.cost), solved.best.cost))
        index = self.board.index
        return spread(
            self.board,
            [tuple((index[a], s) for a, s in found.route[str(p)]) for p in range(len(self.board.problems))],
        )

    @cached_property
    def _oracle(self) -> Any:
        arms = np.flatnonzero(self.board.within(self.cap))
        points = {}
        for p in range(len(self.board.problems)):
            value, cost = self.board.value[arms, p], self.board.cost[arms, p]
            points[str(p)] = [
                Point(self.board.arms[arms[i]], float(value[i]), float(cost[i])) for i in undominated(value, cost)
            ]
        return frontier(points, dict.fromkeys(points, 1.0), unit=self.recipe.unit)

    def step(self, budget: float) -> Step:
        """The policy at one budget beside the hull and the oracle."""
        ours = self.ours.at(budget)
        cost = float(ours.cost.mean())
        uniform, oracle = self.fixed.matched(cost), self.oracle(cost)
        room = oracle.value - uniform.value
        captured = None
        if self.mean(room).low > 1e-3:
            captured = self.resamples.ratio(ours.value - uniform.value, room)
        return Step(budget, ours, uniform, oracle, captured, self.fixed.cost_of(float(ours.value.mean())))

    @cached_property
    def steps(self) -> list[Step]:
        """The policy at budgets spread evenly, on a log scale, over what it can use."""
        low, high = self.ours.span
        if not high > low * 1.01 or all(len(line.nominal) == 1 for line in self.ours.lines):
            return []
        grid = np.geomspace(low, high, self.recipe.budgets + 2)[1:-1]
        return [self.step(float(f"{b:.3g}")) for b in grid]

    def p95(self, found: Spread) -> float:
        """The 95th percentile of what a prompt costs, over problems, mixtures and orderings."""
        costs, weights = [], []
        for p, shares in enumerate(found.route):
            for arm, share in shares:
                row = self._costs(arm)[p]
                costs.append(row)
                weights.append(np.full(len(row), share / len(row)))
        cost, weight = np.concatenate(costs), np.concatenate(weights)
        order = np.argsort(cost, kind="stable")
        reached = np.cumsum(weight[order])
        return float(cost[order][min(int(np.searchsorted(reached, 0.95 * reached[-1])), len(cost) - 1)])

    def _costs(self, arm: int) -> Floats:
        """What an arm costs on each problem and ordering, [P, R]."""
        if arm not in self._seen:
            self._seen[arm] = self.gauge(parse(self.board.arms[arm]), 64, self.recipe.seed + 1).costs
        return self._seen[arm]

    @cached_property
    def _seen(self) -> dict[int, Floats]:
        return {}
