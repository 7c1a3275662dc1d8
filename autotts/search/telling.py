"""What a running study tells whoever watches it."""

from __future__ import annotations

from autotts.core.progress import Snapshot
from autotts.search.rounds import Rounds
from autotts.search.tally import Tally


def snapshot(
    rounds: Rounds,
    tally: Tally,
    *,
    draws: int,
    reused: int,
    tokens: int,
    spend: int,
    elapsed: float,
) -> Snapshot:
    """The state of a study."""
    raced = sum(r.raced for r in rounds.history)
    share = raced / rounds.recipe.trials
    return Snapshot(
        phase=tally.phase,
        done=tally.done,
        total=tally.total,
        round=len(rounds.history) + 1,
        rounds=max(len(rounds.history) + 1, _expected(rounds)),
        trials=raced,
        pruned=sum(r.pruned for r in rounds.history),
        free=sum(r.free for r in rounds.history),
        draws=draws,
        reused=reused,
        tokens=tokens,
        spend=spend,
        unit=rounds.recipe.unit,
        best=_best(rounds),
        elapsed=elapsed,
        # Completing and confirming take about as long again as searching.
        left=elapsed * (2 / share - 1) if tally.phase == "search" and share > 0 else None,
    )


def _expected(rounds: Rounds) -> int:
    """Rounds in all, if none stops early."""
    levels = len(rounds.levels)
    first = rounds.history[0].raced if rounds.history else levels
    return 1 + max(0, -(-(rounds.recipe.trials - first) // max(1, rounds.recipe.slots * levels)))


def _best(rounds: Rounds) -> tuple[float, float] | None:
    """Accuracy and cost of the best arms of all levels, once every level has one."""
    value = cost = 0.0
    for level in rounds.levels:
        front = level.frontier(rounds.runner.cap)
        if not front:
            return None
        value += rounds.weights[level.name] * front[-1].value
        cost += rounds.weights[level.name] * front[-1].cost
    return value, cost
