"""The rounds of a study: propose, race, tell, until a limit is reached or nothing more is gained."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from autotts.core.strategy import Strategy
from autotts.errors import SearchBudgetReached
from autotts.policy.allocation import Point, envelope, frontier
from autotts.predict.arm_learning import fit_arms
from autotts.predict.arms import ArmModel
from autotts.search.archive import Archive
from autotts.search.asking import Asking
from autotts.search.controls import guess
from autotts.search.level import Level, Slot, neighbours
from autotts.search.measure import measure
from autotts.search.race import Raced, race
from autotts.search.recipe import Recipe
from autotts.search.runs import Runner, depth, family, scorer
from autotts.search.space import Space
from autotts.search.together import together
from autotts.strategies.arms import parse

ERROR = 0.05  # over all arms and looks of a level
CHEAPER = 0.5  # no later arm costs less than this share of the cheapest of the first round
COMPLETED = 3  # times at most that the frontier is measured on all prompts
Fit: TypeAlias = Callable[[Sequence[Level], Archive, ArmModel | None, ArmModel | None], ArmModel | None]
LEARNERS = frozenset({"guided"})  # proposers that need what was learned about arms


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did; `area` is the mean accuracy under the frontiers, over the range of log cost."""

    number: int
    prompts: int  # of a level, that arms took
    area: float
    draws: int
    raced: int
    pruned: int
    free: int
    seconds: float


@dataclass
class Rounds:
    """The search of a study over its levels; `run` returns why it ended."""

    recipe: Recipe
    runner: Runner
    levels: Sequence[Level]
    weights: Mapping[str, float]
    asking: Asking
    like: Archive
    prior: ArmModel | None = None
    keep: Callable[[Level, str, Raced], None] = lambda level, arm, raced: None
    told: Callable[[], None] = lambda: None
    history: list[Round] = field(default_factory=list)
    model: ArmModel | None = None
    fit: Fit = field(default_factory=lambda: learned)
    spread: tuple[float, float] = (0.0, 0.0)

    async def run(self) -> tuple[str, str]:
        """Rounds until a stop criterion holds: (trials | timeout | search-budget | converged, in words)."""
        begun = time.monotonic()
        if self.recipe.start != "none" and not any(level.queue for level in self.levels):
            design(self.levels, self.recipe.largest)
        await self.learn()  # of an earlier study, if there is one
        for number in range(1_000_000):
            left = self.recipe.trials - sum(r.raced for r in self.history)
            if left <= 0:
                return "trials", f"{self.recipe.trials} trials were raced (--trials)"
            try:
                await self._round(number, left)
                if number == 0:
                    self._affordable()
                limit = self.recipe.timeout
                if limit is not None and time.monotonic() - begun >= limit:
                    return "timeout", f"{limit:g} s had passed at the end of a round (--timeout)"
                if self._converged() and not await self._more_prompts(number):
                    return "converged", f"the last {self.recipe.patience} rounds gained nothing beyond noise"
            except SearchBudgetReached:
                return "search-budget", f"the search used its part of {self.recipe.search_budget} (--search-budget)"
        raise AssertionError("unreachable")

    async def _round(self, number: int, left: int) -> None:
        begun = time.monotonic()
        size = max([self.recipe.slots, *(len(level.queue) for level in self.levels if number == 0)])
        asked: list[tuple[Level, Slot]] = []
        like = self._like(number)
        trials = {level.name: level.trials() for level in self.levels}
        for level in self.levels:
            room = min(size, left - len(asked)) if number else size
            slots = await self.asking.slots(level, level.archive(trials, like), room)
            asked += [(level, slot) for slot in slots]
        raced = await together(self._race(level, slot) for level, slot in asked)
        for (level, slot), result in zip(asked, raced):
            level.settle(slot, result, number)
            self.keep(level, slot.arm, result)
        for level in self.levels:
            await measure(self.runner, level.table, level.offspring(), seed=self.recipe.seed)
        free = sum(level.tell(number) for level in self.levels)
        neighbours(self.levels, self.recipe.slots)
        await self.learn()
        self.history.append(
            Round(
                number,
                max(level.taking for level in self.levels),
                self._area(),
                self.runner.memo.made - sum(r.draws for r in self.history),
                len(asked),
                sum(r.bound is not None for r in raced),
                free,
                time.monotonic() - begun,
            )
        )
        self.told()

    def _like(self, number: int) -> Archive:
        """What the archives of all levels have in common in a round."""
        return replace(self.like, round=number, model=self.model)

    async def learn(self) -> None:
        """Learn from all levels what arms give and cost, where somebody wants to know."""
        if {"before", "allocation"} & set(self.recipe.pruning) or LEARNERS & set(self.recipe.proposers):
            self.model = await asyncio.to_thread(self.fit, self.levels, self.like, self.prior, self.model)
        if "allocation" in self.recipe.pruning:
            believed = self.model if trusted(self.levels, self.model) else None
            for level in self.levels:
                level.model = believed

    async def _race(self, level: Level, slot: Slot) -> Raced:
        error = ERROR / max(1, self.recipe.trials // len(self.levels))
        rivals = level.rivals(self.runner.cap)
        predicted = guess(level.table, level.rows, slot.strategy) if "during" in self.recipe.pruning else None
        return await race(
            self.runner,
            slot.strategy,
            level.problems,
            rivals,
            block=self.recipe.block,
            error=error,
            guess=predicted,
        )

    async def _more_prompts(self, number: int) -> bool:
        """Go on with twice the prompts, if there are more; only arms that may be on the frontier are taken along."""
        growing = [level for level in self.levels if not level.whole]
        if not growing:
            return False
        for level in growing:
            await take(self.runner, level, 2 * level.taking, self.recipe.seed)
        for level in growing:
            level.tell(number)
        await self.learn()
        return True

    def _area(self) -> float:
        """Mean height of the levels' frontiers over log cost, in a range that the first round fixes."""
        curves = {level.name: envelope(level.candidates(self.runner.cap)) for level in self.levels}
        if self.spread == (0.0, 0.0):
            costs = [p.cost for curve in curves.values() for p in curve]
            if not costs:
                return 0.0  # every arm of the first round was over the cap
            self.spread = (min(costs), max(costs) * 2)
        low, high = np.log(self.spread)
        grid = np.exp(np.linspace(low, high, 65))
        return float(sum(self.weights[name] * height(curve, grid) for name, curve in curves.items() if curve))

    def _affordable(self) -> None:
        """Raise a `BudgetError` now if the budget is far below the cheapest arm; one draw is in the first round."""
        points = {level.name: level.points(self.runner.cap) for level in self.levels}
        if self.recipe.amount is None or not all(points.values()):
            return
        found = frontier(points, self.weights, unit=self.recipe.unit)
        if self.recipe.amount.parts < CHEAPER * found.cheapest.cost:
            found.at(float(self.recipe.amount.parts))

    def _converged(self) -> bool:
        """Whether the last rounds on these prompts gained less than a quarter of the frontier's standard error."""
        patience = self.recipe.patience
        alike = [r for r in self.history if r.prompts == self.history[-1].prompts]
        if self.history[-1].raced == 0:
            return True
        if len(alike) <= patience:
            return False
        gain = alike[-1].area - alike[-1 - patience].area
        p = min(max(alike[-1].area, 0.0), 1.0)
        spread = sum(self.weights[level.name] ** 2 * p * (1 - p) / len(level.rows) for level in self.levels)
        return gain < 0.25 * float(np.sqrt(spread))


def height(curve: Sequence[Point], grid: np.ndarray) -> float:
    """Mean accuracy of a frontier at the costs of a grid; nothing below its cheapest arm."""
    cost = np.array([p.cost for p in curve])
    value = np.array([p.value for p in curve])
    return float(np.interp(grid, cost, value, left=0.0).mean())


def design(levels: Sequence[Level], largest: int) -> None:
    """The first round, the same at every level: each model once greedily, and pools of one equal budget each.

    (AgentTTS' first insight: compare models under one budget before anything else.)
    """
    for level in levels:
        level.queue += [(s, "designed") for s in designed(level.space, largest)]


def designed(space: Space, largest: int) -> list[Strategy]:
    """Greedy draws, and pools on the grid that take no more than half of the work that an arm may take."""
    by = f", by={space.scorers[0]}" if space.scorers and "weighted_vote" in space.strategies else ""
    name = "weighted_vote" if by else "vote"
    out: list[Strategy] = []
    for model in space.models:
        if "one" in space.strategies:
            out.append(parse(f"one(model={model}, temperature=0.0)"))
        if name in space.strategies:
            count = min(32, max(1, space.most.get(model, largest) // 2))
            count = 1 << (count.bit_length() - 1)
            out.append(parse(f"{name}(n={count}, model={model}, temperature=0.6{by})"))
    return [s for s in out if space.params(s) is not None]


def learned(levels: Sequence[Level], like: Archive, prior: ArmModel | None, before: ArmModel | None) -> ArmModel | None:
    """What the trials of all levels tell of arms; None where there is nothing to learn from.

    `prior` is from an earlier study, `before` what was learned earlier in this one.
    """
    seen = [s for level in levels for s in level.seen()]
    if not seen and prior is None:
        return None
    names = [level.name for level in levels]
    return fit_arms(seen, levels=names, work=like.work, seed=like.seed, prior=prior, like=before)


def trusted(levels: Sequence[Level], model: ArmModel | None) -> bool:
    """Whether a model agrees with what was seen better than the mean of all arms of each level does.

    What is learned from these very figures does. A model that does not is wrong, wherever it comes from: then arms are
    compared as they were seen.
    """
    if model is None or model.fallback:
        return False
    off = {"model": 0.0, "mean": 0.0}
    for level in levels:
        seen = level.seen()
        if seen:
            value, weight = np.array([s.value for s in seen]), np.array([s.prompts for s in seen], float)
            believed = model.forecast([s.arm for s in seen], level.name).value
            off["model"] += float(weight @ (believed - value) ** 2)
            off["mean"] += float(weight @ (weight @ value / weight.sum() - value) ** 2)
    return off["model"] <= off["mean"]


async def take(runner: Runner, level: Level, count: int, seed: int) -> None:
    """Let a level take so many prompts; where the search budget ends before that, it stays with those it had."""
    before, pools = level.taking, level.pools
    wanted = level.grow(count, runner.cap)
    try:
        await measure(runner, level.table, wanted, seed=seed)
    except SearchBudgetReached:
        level.stay(before, pools)
        raise


async def complete(runner: Runner, levels: Sequence[Level], seed: int, learn: Callable[[], Awaitable[None]]) -> None:
    """Measure on all prompts, and at every level, what stands on the frontier of any.

    The uniform baselines deserve the same arms. Arms that were known on some prompts may fall as they are measured on
    all of them, and others stand in their place: hence several times.
    """
    for level in levels:
        if not level.whole:
            await take(runner, level, len(level.every), seed)
    for _ in range(COMPLETED):
        await learn()
        arms = {p.arm for level in levels for p in envelope(level.candidates(runner.cap))}
        if all(level.knows(parse(arm)) for level in levels for arm in arms):
            return
        for level in levels:
            for arm in sorted(arms):
                strategy = parse(arm)
                of = family(strategy)
                if of is not None and level.sharing and not level.knows(strategy):
                    count, by = level.pools.get(of, (0, None))
                    level.pools[of] = (max(count, depth(strategy)), by or scorer(strategy))
            wanted = level.offspring()
            for arm in arms:
                if not level.knows(parse(arm)):
                    wanted[arm] = level.unknown(arm)
            await measure(runner, level.table, wanted, seed=seed)
    await learn()
