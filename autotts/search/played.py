"""Arms on recorded answers: by formula or on whole arrays where `gauge` can, else replayed ask by ask.

Every arm sees the same orderings of each problem's draws, so differences between arms have little noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from autotts.core.node import Choice
from autotts.core.strategy import Strategy
from autotts.engine.replay import replay
from autotts.estimate.replayed import orderings
from autotts.pools.recorded import Recorded
from autotts.search.gauge import Gauge
from autotts.search.suited import Pricing, check, needs, suited, timed
from autotts.strategies import POOLED
from autotts.strategies.arms import name_of
from autotts.worlds.recorded import Ordering, Recording, Run

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ORDERS: Final = 64  # of a plan that is replayed ask by ask
MOST_ORDERS: Final = 1024  # of one that is estimated on whole arrays, where these have room:
CELLS: Final = 30_000_000
ESTIMABLE: Final = POOLED | {"cut", "staged", "cascade"}  # what `gauge` knows

Tell: TypeAlias = Callable[[int, int], None]  # called with how much is done, and of how much


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """What an arm gives on each problem of a pool, over orderings of its draws.

    Attributes
    ----------
    pool
        The problems and families that it was played on.
    value, cost
        [P]: the chance of a right answer, and the mean cost.
    tokens, sequential
        [P]: generated tokens (those of cancelled draws as well), and tokens one after another; None where unknown.
    costs
        [P, R]: the cost of each ordering that was played, for percentiles.
    cut
        The share of runs that the cap ended.
    by
        "estimate", or "replay" for one that was played ask by ask.
    notes
        What was left out, and why.
    """

    pool: Recorded
    value: Floats
    cost: Floats
    tokens: Floats | None
    sequential: Floats | None
    costs: Floats
    cut: float
    by: str
    notes: tuple[str, ...]


def play(
    pool: Recorded,
    strategy: Strategy,
    pricing: Pricing,
    *,
    cap: int | None = None,
    orders: int | None = None,
    seed: int = 0,
    tell: Tell | None = None,
) -> Played:
    """Play one arm on the problems that have enough draws for it.

    Parameters
    ----------
    cap
        The most that one run may cost, in parts: its plan ends there with its last offer.
    orders
        Play it ask by ask on so many orderings, whatever the arm. By default that is done only where it must be.

    Raises
    ------
    InputError
        When the pool cannot know what the arm does, or cannot price it.
    """
    part, notes = suited(pool, [strategy])
    check(part, strategy, pricing)
    if orders is None and cap is None and _estimable(strategy, pricing):
        return _estimated(part, strategy, pricing, seed, notes)
    return _replayed(part, strategy, pricing, cap=cap, orders=orders or ORDERS, seed=seed, tell=tell, notes=notes)


# ---------------------------------------------------------------- estimates and replays


def _estimable(strategy: Strategy, pricing: Pricing) -> bool:
    """Whether `gauge` has it; calls for probes and chunks are counted by replay only."""
    name = name_of(strategy)
    return name in ESTIMABLE and not (name in ("cut", "staged") and pricing.unit == "calls")


def _estimated(pool: Recorded, strategy: Strategy, pricing: Pricing, seed: int, notes: tuple[str, ...]) -> Played:
    room = CELLS // (len(pool.problems) * sum(needs(strategy).values()))
    orders = int(np.clip(room, ORDERS, MOST_ORDERS)) if name_of(strategy) in POOLED | {"cut"} else ORDERS
    found = Gauge(pool, pricing.unit, pricing.probe_tokens)(strategy, orders, seed)
    known = timed(pool)
    unread = all(bool((d.prompt_tokens < 0).all()) for d in pool.drawn)
    tokens = found.cost if known and unread and pricing.unit == "tokens" else None
    if known and tokens is None:
        bare = replace(pool, drawn=tuple(replace(d, prompt_tokens=np.full_like(d.tokens, -1)) for d in pool.drawn))
        tokens = Gauge(bare, "tokens", pricing.probe_tokens)(strategy, orders, seed).cost
    sequential = found.sequential if known else None
    return Played(pool, found.value, found.cost, tokens, sequential, found.costs, 0.0, "estimate", notes)


class Grades:
    """Whether what a plan chose is right: by the draw's own label, a probe by the label of its answer."""

    def __init__(self, pool: Recorded) -> None:
        self._pool = pool
        self._known: dict[int, Mapping[str, float]] = {}

    def __call__(self, run: Run, choice: Choice | None) -> float:
        """1 right, 0 wrong."""
        if choice is None:
            return 0.0
        found = run.find(choice.node)
        if found is not None:
            shelf, sample = found
            return float(shelf.drawn.correct[shelf.first + sample] > 0.5)
        answer = choice.node.answer
        return 0.0 if answer is None else self._right(run.problem).get(answer, 0.0)

    def _right(self, problem: int) -> Mapping[str, float]:
        """Each answer of a problem: as the last draw that has it was labelled, else as it equals the gold answer."""
        known = self._known.get(problem)
        if known is None:
            texts, gold = self._pool.answers[problem], self._pool.problems[problem].answer.strip()
            right = {text: float(text == gold) for text in texts}
            for drawn in self._pool.drawn:
                of = slice(int(drawn.start[problem]), int(drawn.start[problem + 1]))
                for answer, label in zip(drawn.answer[of].tolist(), drawn.correct[of].tolist()):
                    if answer >= 0 and label == label:
                        right[texts[answer]] = float(label > 0.5)
            known = self._known[problem] = right
        return known


def generated(usage: Mapping[str, Any]) -> int:
    """Tokens that a run has generated, those of cancelled draws as well."""
    return sum(u.generated + u.cancelled for u in usage.values())


def _replayed(
    pool: Recorded,
    strategy: Strategy,
    pricing: Pricing,
    *,
    cap: int | None,
    orders: int,
    seed: int,
    tell: Tell | None,
    notes: tuple[str, ...],
) -> Played:
    world = Recording(pool, unit=pricing.unit, probe_tokens=pricing.probe_tokens)
    grade, shape = Grades(pool), (len(pool.problems), orders)
    right, cost, tokens, ticks = (np.zeros(shape) for _ in range(4))
    ended = 0
    for p in range(shape[0]):
        if tell is not None:
            tell(p, shape[0])
        for r, order in enumerate(shared(pool, p, orders, seed)):
            run = world.run(p, order)
            out = replay(strategy.plan(run.root, Random(p)), run.root, run.script, world.bindings, cap=cap)
            right[p, r], cost[p, r] = grade(run, out.choice), out.cost
            tokens[p, r], ticks[p, r] = generated(out.usage), out.ticks
            ended += out.ended == "cap"
        world.forget(p)
    known = timed(pool)
    return Played(
        pool,
        right.mean(1),
        cost.mean(1),
        tokens.mean(1) if known else None,
        ticks.mean(1) if known else None,
        cost,
        ended / right.size,
        "replay",
        notes,
    )


def shared(pool: Recorded, problem: int, orders: int, seed: int) -> list[Ordering]:
    """The orderings of a problem's draws: those of the estimates, and the same for every arm."""
    counts = [int(d.start[problem + 1] - d.start[problem]) for d in pool.drawn]
    rows = {count: orderings(count, orders, seed).tolist() for count in set(counts)}

    def nth(r: int) -> Ordering:
        return lambda number: rows[counts[number]][r]

    return [nth(r) for r in range(orders)]
