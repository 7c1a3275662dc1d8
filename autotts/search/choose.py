"""From what was measured on the search prompts to allocations: ours, the uniform hull, the tuned baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autotts.core.cost import show
from autotts.policy.allocation import Allocation, Frontier, Point, cheapest_within_noise, envelope, frontier
from autotts.predict.levels import LevelModel
from autotts.search.bins import Bins, bins
from autotts.search.level import Level
from autotts.search.measure import Table
from autotts.search.recipe import Recipe
from autotts.strategies.arms import name_of, parse
from autotts.strategies.one import One

Route = Sequence[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Choice:
    """What a study chose: the allocation, whether the budget binds, why, and allocations at budgets that do."""

    allocation: Allocation
    budget: float | None
    binds: bool
    words: str
    best: Allocation
    uniform: Frontier
    uniform_points: tuple[Point, ...]
    budgets: tuple[tuple[float, Allocation], ...]


def choose(
    levels: Sequence[Level],
    weights: Mapping[str, float],
    recipe: Recipe,
    cap: float | None,
    rule: LevelModel | None = None,
) -> Choice:
    """Solve for the whole frontier, then for the budget or the target that was asked for.

    Arms are allotted to the bins that the rule predicts, by what they give on the prompts that it takes for them: the
    budget holds for predicted levels, and where levels cannot be told, all get what suits the traffic.

    Raises
    ------
    BudgetError
        When the budget is below the cheapest arm, or the target above the best.
    """
    unit = recipe.unit
    everywhere = uniform_points(levels, weights, cap)
    uniform = frontier({"all": everywhere}, {"all": 1.0}, unit=unit)
    by = bins(rule, levels, weights)
    ours = frontier(by.points(levels, cap), dict(zip(by.names, by.share.tolist())), unit=unit)
    budget = None if recipe.amount is None else float(recipe.amount.parts)
    if recipe.target is not None:
        chosen = ours.for_target(recipe.target)
        words = f"An accuracy of {recipe.target:.1%} took {show(chosen.cost, unit)} a prompt on the search prompts."
        binds = True
    elif budget is not None and ours.at(budget).cost < ours.best.cost:
        chosen, binds = ours.at(budget), True
        words = f"{recipe.budget} a prompt binds: the best arms of every level would take {show(ours.best.cost, unit)}."
    else:
        chosen, binds = _enough(ours, levels, by), False
        asked = "No budget was given" if budget is None else f"{recipe.budget} a prompt binds nothing here"
        words = (
            f"{asked}: every arm fits (the dearest useful mix takes {show(ours.best.cost, unit)}). The policy is the "
            f"cheapest that is not worse than the best beyond noise: {show(chosen.cost, unit)} a prompt."
        )
    budgets = tuple((b, _everywhere(a, by)) for b, a in _budgets(ours, chosen, recipe.budgets))
    chosen, best = _everywhere(chosen, by), _everywhere(ours.best, by)
    return Choice(chosen, budget, binds, words, best, uniform, tuple(everywhere), budgets)


def _enough(ours: Frontier, levels: Sequence[Level], by: Bins) -> Allocation:
    """The cheapest vertex that is not worse than the best beyond noise, on paired prompts."""
    table = levels[0].table
    vertices = ours.breakpoints
    names = bins_of(levels, table)
    values = []
    for allocation in vertices:
        mixed = by.routes(allocation.route)
        routes = {level.name: _measured(level, mixed[level.name]) for level in levels}
        values.append(table.mix([routes[name] for name in names]).value.tolist())
    return vertices[cheapest_within_noise(values, weights=table.weight.tolist())]


def _measured(level: Level, route: Route) -> Route:
    """The arms of a route that are measured at a level, which are nearly all of it."""
    known = [(arm, share) for arm, share in route if level.knows(parse(arm))]
    whole = sum(share for _, share in known)
    return [(arm, share / whole) for arm, share in known]


def _everywhere(allocation: Allocation, by: Bins) -> Allocation:
    """A bin that the rule never predicts gets what the most frequent one gets."""
    usual = by.names[int(np.argmax(by.share))]
    route = {n: allocation.route[n if s > 0 else usual] for n, s in zip(by.names, by.share)}
    return replace(allocation, route=route)


def _budgets(ours: Frontier, chosen: Allocation, count: int) -> tuple[tuple[float, Allocation], ...]:
    """Budgets that bind, evenly spaced on a log scale between the cheapest allocation and the chosen one."""
    low, high = ours.cheapest.cost, chosen.cost if chosen.cost > ours.cheapest.cost * 1.01 else ours.best.cost
    if count < 1 or not low * 1.01 < high:
        return ()
    grid = [low * (high / low) ** (k / (count + 1)) for k in range(1, count + 1)]
    return tuple((float(f"{b:.3g}"), ours.at(float(f"{b:.3g}"))) for b in grid if float(f"{b:.3g}") >= low)


def uniform_points(levels: Sequence[Level], weights: Mapping[str, float], cap: float | None) -> list[Point]:
    """Arms that are measured at every level, as if they answered everything."""
    by_level = [{p.arm: p for p in level.believed(cap)} for level in levels]
    share = [weights[level.name] for level in levels]
    common = set(by_level[0]).intersection(*by_level[1:])
    return [
        Point(
            arm,
            sum(w * points[arm].value for w, points in zip(share, by_level)),
            sum(w * points[arm].cost for w, points in zip(share, by_level)),
        )
        for arm in sorted(common)
    ]


def bins_of(levels: Sequence[Level], table: Table) -> list[str]:
    """The level of each problem of the search table, by name."""
    out = [""] * len(table.problems)
    for level in levels:
        for row in level.rows:
            out[int(row)] = level.name
    return out


@dataclass(frozen=True, slots=True)
class Baseline:
    """One way of spending the same compute that does not look at the prompt, or looks at less of it."""

    name: str
    kind: str
    routes: Callable[[int], Route]
    route: Mapping[str, Route]
    note: str | None = None
    attainable: bool = True


TUNED = {
    "majority vote": ("majority", "vote"),
    "best-of-N": ("best-of-n", "best_of_n"),
    "weighted vote": ("weighted-vote", "weighted_vote"),
    "adaptive consistency": ("adaptive", "adaptive"),
    "first-finish": ("first-finish", "first_finish"),
}


def tuned(uniform: Sequence[Point], models: Sequence[str], cost: float) -> list[Baseline]:
    """Single arms for every prompt: one draw of each model, and each strategy at its best for at most this cost."""
    out: list[Baseline] = []
    for model in models:
        found = [p for p in uniform if isinstance(s := parse(p.arm), One) and s.model == model]
        if found:
            out.append(_single(f"one draw of {model}", "one", max(found, key=lambda p: (p.value, -p.cost)).arm))
    for name, (kind, strategy) in TUNED.items():
        found = [p for p in uniform if name_of(parse(p.arm)) == strategy and p.cost <= cost]
        if found:
            out.append(_single(name, kind, max(found, key=lambda p: (p.value, -p.cost)).arm, None))
    return out


def _single(name: str, kind: str, arm: str, note: str | None = None) -> Baseline:
    route = ((arm, 1.0),)
    return Baseline(name, kind, lambda i: route, {"all": route}, note)


def length_rule(
    levels: Sequence[Level], weights: Mapping[str, float], cost: float, cap: float | None
) -> tuple[list[float], Allocation] | None:
    """Route by the prompt's length alone: the same number of bins, cut where the traffic's shares cut lengths."""
    table = levels[0].table
    length = np.array([len(p.prompt) for p in table.problems], float)
    order = np.argsort(length, kind="stable")
    reached = np.cumsum(table.weight[order])
    cuts = sorted(
        {
            float(length[order[int(np.searchsorted(reached, edge))]])
            for edge in np.cumsum([weights[v.name] for v in levels])[:-1]
        }
    )
    bins = np.searchsorted(np.array(cuts), length, side="left")
    arms = [a for a in table.arms if table.known(a, np.arange(len(table.problems)))]
    points: dict[str, list[Point]] = {}
    shares: dict[str, float] = {}
    for b in sorted(set(bins.tolist())):
        rows = bins == b
        w = table.weight[rows] / table.weight[rows].sum()
        shares[str(b)] = float(table.weight[rows].sum())
        points[str(b)] = [
            Point(a, float(table.arms[a].value[rows] @ w), float(table.arms[a].cost[rows] @ w))
            for a in arms
            if cap is None or float(table.arms[a].worst[rows].max()) <= cap
        ]
    if not all(points.values()):
        return None
    solved = frontier(points, shares)
    return cuts, solved.at(max(cost, solved.cheapest.cost))


def hull_arms(uniform: Frontier, cost: float) -> list[str]:
    """Vertices of the uniform hull, by ascending cost, up to one beyond a cost."""
    curve = uniform.envelopes["all"]
    out: list[str] = []
    for p in envelope(curve):
        out.append(p.arm)
        if p.cost > cost:
            break
    return out
