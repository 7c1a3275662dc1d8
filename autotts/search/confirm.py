"""Confirmation: the chosen policies and the honest baselines, on held-out prompts with fresh draws."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotts.errors import BudgetError, SearchBudgetReached
from autotts.estimate.intervals import Interval
from autotts.policy.allocation import Allocation, Point, frontier
from autotts.search.choose import Baseline, Choice, Route, hull_arms, length_rule, tuned
from autotts.search.level import Level
from autotts.search.measure import Measured, Table, measure
from autotts.search.recipe import Recipe
from autotts.search.runs import Runner
from autotts.search.together import together
from autotts.strategies import POOLED
from autotts.strategies.arms import name_of, parse

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Held:
    """The held-out prompts: as a table, with the level that each has and the bin that the policy predicts."""

    table: Table
    level: tuple[str, ...]
    bin: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """One way of answering the held-out prompts: accuracy and cost, prompt by prompt and with intervals.

    `sequential` is the mean virtual time of the arms' own runs: tokens that are generated one after another.
    """

    measured: Measured
    accuracy: Interval
    cost: Interval
    p95: float
    sequential: float


class Confirmation:
    """Measures routes on the held-out prompts, each arm once."""

    def __init__(self, runner: Runner, held: Held, seed: int) -> None:
        self.runner = runner
        self.held = held
        self.seed = seed
        self.resamples = held.table.resamples(seed)
        self.costs: dict[str, Floats] = {}
        self.ticks: dict[str, Floats] = {}

    async def prepare(self, routes: Iterable[Sequence[Route]]) -> None:
        """Draw what some routes need: `routes` give, for each, every prompt's (arm, share)s."""
        rows: dict[str, set[int]] = defaultdict(set)
        for route in routes:
            for i, shares in enumerate(route):
                for arm, share in shares:
                    if share > 0:
                        rows[arm].add(i)
        wanted = {arm: sorted(r) for arm, r in sorted(rows.items())}
        await measure(self.runner, self.held.table, wanted, seed=self.seed)
        await together(self._served(arm, where) for arm, where in wanted.items())

    async def _served(self, arm: str, rows: Sequence[int]) -> None:
        """What the arm's own run costs on each prompt; its draws are there already."""
        strategy = parse(arm)
        self.runner.tally.expect(len(rows))
        ran = await together(self.runner.run(strategy, self.held.table.problems[row]) for row in rows)
        for found, values in ((self.costs, [r.cost for r in ran]), (self.ticks, [r.ticks for r in ran])):
            of = found.setdefault(arm, np.full(len(self.held.table.problems), np.nan))
            of[list(rows)] = values

    def figures(self, route: Sequence[Route]) -> Figures:
        """Accuracy and cost of a route, with 95 % intervals over prompts, and the 95th percentile of served costs."""
        got = self.held.table.mix(route)
        path = sum(
            self.held.table.weight[i] * share * self.ticks[arm][i]
            for i, shares in enumerate(route)
            for arm, share in shares
        )
        return Figures(got, self.interval(got.value), self.interval(got.cost), self._p95(route), float(path))

    def interval(self, values: Floats) -> Interval:
        """Mean over the traffic with a 95 % bootstrap interval; prompts are resampled within their level."""
        return self.resamples.mean(values)

    def _p95(self, route: Sequence[Route]) -> float:
        """95th percentile of what a prompt cost when it was served, over traffic and mixture."""
        pairs = [
            (self.costs[arm][i], self.held.table.weight[i] * share)
            for i, shares in enumerate(route)
            for arm, share in shares
        ]
        pairs.sort()
        reached = np.cumsum([w for _, w in pairs])
        return float(pairs[min(int(np.searchsorted(reached, 0.95 * reached[-1])), len(pairs) - 1)][0])


def by_bin(allocation: Allocation, bins: Sequence[str]) -> list[Route]:
    """Each prompt's route, from its bin."""
    return [allocation.route[b] for b in bins]


@dataclass(frozen=True)
class Confirmed:
    """All that the report needs of the held-out prompts."""

    ours: Figures
    baselines: tuple[Compared, ...]
    budgets: tuple[Step, ...]
    held: Held


@dataclass(frozen=True, slots=True)
class Compared:
    """A baseline: what it gives, our gain over it, and its own gain over the hull at its cost."""

    baseline: Baseline
    figures: Figures
    difference: Interval
    over: Interval


@dataclass(frozen=True, slots=True)
class Step:
    """The policy at one budget, beside the hull and the oracle at the cost that it realised."""

    budget: float
    allocation: Allocation
    figures: Figures
    hull: Hull
    oracle: Figures | None
    captured: Interval | None


@dataclass(frozen=True, slots=True)
class Hull:
    """The random mixture of uniform arms at the cost that ours realised, and our gain over it."""

    route: Route
    figures: Figures
    difference: Interval
    equal_accuracy_cost: float | None


async def confirm(
    runner: Runner,
    held: Held,
    choice: Choice,
    levels: Sequence[Level],
    weights: Mapping[str, float],
    recipe: Recipe,
) -> Confirmed:
    """Measure everything on the held-out prompts; ours is routed by *predicted* level."""
    asked = Confirmation(runner, held, recipe.seed)
    chosen = by_bin(choice.allocation, held.bin)
    rivals = _baselines(choice, levels, weights, held, recipe, runner.cap)
    plans = [by_bin(a, held.bin) for _, a in choice.budgets]
    dearest = max([choice.allocation.cost, *(a.cost for _, a in choice.budgets)])
    vertices = hull_arms(choice.uniform, dearest)
    hull = [[((arm, 1.0),)] * len(held.bin) for arm in vertices]
    listed = [[b.routes(i) for i in range(len(held.bin))] for b in rivals]
    try:
        await asked.prepare([chosen, *plans, *hull, *listed])
    except SearchBudgetReached as error:
        raise BudgetError(
            f"--search-budget {recipe.search_budget} is too small to confirm a policy on {len(held.bin)} held-out "
            "prompts; what was drawn is kept: run the same command with a larger --search-budget"
        ) from error
    ours = asked.figures(chosen)
    curve = [(arm, asked.figures(route)) for arm, route in zip(vertices, hull)]
    mixture = hull_at(asked, curve, ours)
    hull_name = Baseline(
        "mixture of uniform arms",
        "hull",
        lambda i: mixture.route,
        {"all": mixture.route},
        "the fair uniform baseline: two arms for every prompt, mixed at random to our cost",
    )
    rows = [Compared(hull_name, mixture.figures, mixture.difference, asked.interval(0.0 * ours.measured.value))]
    for b, route in zip(rivals, listed):
        got = asked.figures(route)
        gap = asked.interval(ours.measured.value - got.measured.value)
        rows.append(Compared(b, got, gap, hull_at(asked, curve, got).difference))
    perfect = Oracle(asked)
    best = perfect.at(ours.cost.value)
    if best is not None:
        note = f"perfect knowledge of every prompt, over {len(perfect.arms)} arms: an upper bound"
        known = Baseline("oracle", "oracle", lambda i: (), {}, note, attainable=False)
        gap = asked.interval(ours.measured.value - best.measured.value)
        rows.append(Compared(known, best, gap, hull_at(asked, curve, best).difference))
    budgets = []
    for (budget, allocation), plan in zip(choice.budgets, plans):
        got = asked.figures(plan)
        hull_there, oracle = hull_at(asked, curve, got), perfect.at(got.cost.value)
        captured = None if oracle is None else _captured(asked, got, hull_there, oracle)
        budgets.append(Step(budget, allocation, got, hull_there, oracle, captured))
    return Confirmed(ours, tuple(rows), tuple(budgets), held)


def _captured(asked: Confirmation, ours: Figures, hull: Hull, oracle: Figures) -> Interval | None:
    """The share of the gap between the hull and the oracle that ours captured; None where there is hardly a gap."""
    room = oracle.measured.value - hull.figures.measured.value
    if asked.interval(room).low < 1e-3:  # hardly a gap: a share of it means nothing
        return None
    return asked.resamples.ratio(ours.measured.value - hull.figures.measured.value, room)


class Oracle:
    """What perfect knowledge of every held-out prompt would give, over the arms that were measured on all of them.

    Only arms whose value is an expectation count: of arms that were run once, it would pick the lucky runs.
    """

    def __init__(self, asked: Confirmation) -> None:
        table, every = asked.held.table, np.arange(len(asked.held.table.problems))
        self.asked = asked
        self.arms = [
            arm
            for arm in sorted(table.arms)
            if name_of(parse(arm)) in POOLED
            and table.known(arm, every)
            and arm in asked.costs
            and not bool(np.isnan(asked.costs[arm]).any())
        ]
        points = {
            str(i): [Point(a, float(table.arms[a].value[i]), float(table.arms[a].cost[i])) for a in self.arms]
            for i in every
        }
        self.solved = frontier(points, dict(zip(points, table.weight.tolist()))) if self.arms else None

    def at(self, cost: float) -> Figures | None:
        """The best at a mean cost; None where nothing was measured on all prompts."""
        if self.solved is None:
            return None
        found = self.solved.at(min(max(cost, self.solved.cheapest.cost), self.solved.best.cost))
        return self.asked.figures([found.route[str(i)] for i in range(len(self.asked.held.bin))])


def hull_at(asked: Confirmation, curve: Sequence[tuple[str, Figures]], ours: Figures) -> Hull:
    """The hull at the cost that ours realised: vertices chosen on the search prompts, costs as realised here."""
    keep = _rising([f.cost.value for _, f in curve])
    arms, figures = [curve[k][0] for k in keep], [curve[k][1] for k in keep]
    costs = [f.cost.value for f in figures]
    at = ours.cost.value
    high = int(np.searchsorted(costs, at))
    if high == 0 or high == len(costs):
        route: Route = ((arms[min(high, len(costs) - 1)], 1.0),)
    else:
        share = float((at - costs[high - 1]) / (costs[high] - costs[high - 1]))
        route = ((arms[high - 1], 1.0 - share), (arms[high], share))
    got = asked.figures([route] * len(asked.held.bin))
    gap = asked.interval(ours.measured.value - got.measured.value)
    return Hull(route, got, gap, _cost_of(ours.accuracy.value, figures))


def _rising(costs: Sequence[float]) -> list[int]:
    """Indices of costs that rise; of one that is no dearer than those before, these are left out.

    Later arms of the hull were better on the search prompts: one that came out cheaper here than a worse one stands in
    its place, since the baseline would else be the worse of the two.
    """
    out: list[int] = []
    for i, cost in enumerate(costs):
        while out and cost <= costs[out[-1]]:
            out.pop()
        out.append(i)
    return out


def _cost_of(accuracy: float, figures: Sequence[Figures]) -> float | None:
    """The cost at which the hull first reaches an accuracy, or None where it does not."""
    last: tuple[float, float] | None = None
    for f in figures:
        value, cost = f.accuracy.value, f.cost.value
        if value >= accuracy:
            if last is None or value <= last[0]:
                return cost
            share = (accuracy - last[0]) / (value - last[0])
            return last[1] + share * (cost - last[1])
        if last is None or value > last[0]:
            last = (value, cost)
    return None


def _baselines(
    choice: Choice,
    levels: Sequence[Level],
    weights: Mapping[str, float],
    held: Held,
    recipe: Recipe,
    cap: float | None,
) -> list[Baseline]:
    """The baselines of one table; all chosen on the search prompts."""
    cost = choice.allocation.cost
    out = tuned(choice.uniform_points, levels[0].space.models, cost)
    shuffled: dict[str, float] = defaultdict(float)
    for name, shares in choice.allocation.route.items():
        for arm, share in shares:
            shuffled[arm] += weights[name] * share
    mixed = tuple(shuffled.items())
    if len(choice.allocation.route) > 1:
        out.append(
            Baseline(
                "random routing", "random-routing", lambda i: mixed, {"all": mixed}, "our arms and shares, blindly"
            )
        )
        ruled = length_rule(levels, weights, cost, cap)
        if ruled is not None:
            cuts, allocation = ruled
            lengths = [len(p.prompt) for p in held.table.problems]
            names = [str(int(np.searchsorted(cuts, n, side="left"))) for n in lengths]
            out.append(
                Baseline(
                    "routing by prompt length",
                    "length-rule",
                    lambda i: allocation.route.get(names[i]) or next(iter(allocation.route.values())),
                    allocation.route,
                    "bins of length in place of predicted levels",
                )
            )
        if held.level != held.bin:
            out.append(
                Baseline(
                    "our policy, true levels",
                    "oracle-level",
                    lambda i: choice.allocation.route[held.level[i]],
                    choice.allocation.route,
                    "not attainable: prompts carry no level",
                    attainable=False,
                )
            )
    return out


def as_dict(interval: Interval) -> dict[str, Any]:
    """An interval for result.json."""
    return {"value": interval.value, "low": interval.low, "high": interval.high}
