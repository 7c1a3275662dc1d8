"""Archives for the tests of what proposes: a small space, a toy truth, and histories of every kind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from autotts.core.strategy import Strategy
from autotts.search.archive import Archive, State, Trial
from autotts.search.runs import depth
from autotts.search.space import Space, models_of
from autotts.strategies import STRATEGIES, STUDIED
from autotts.strategies.arms import show

KINDS = {n: STRATEGIES[n] for n in STUDIED}
SPACE = Space(KINDS, ("A", "B"), ("prm",), {"A": 128, "B": 16})
WORK = {"A": 1.0, "B": 8.0}
PLAIN = {n: STRATEGIES[n] for n in ("one", "vote", "first_finish", "adaptive")}
SPACES = {
    "two models": SPACE,
    "one model": Space(KINDS, ("A",), ("prm",)),
    "no scorer": Space(PLAIN, ("A", "B"), ()),
    "a model that may hardly draw": Space(KINDS, ("A", "B"), ("prm",), {"A": 64, "B": 1}),
    "two models in one arm": Space({"cascade": STRATEGIES["cascade"]}, ("A", "B"), (), {"A": 4}),
}


def figures(arm: Strategy) -> tuple[float, float]:
    """A toy truth: B is better and dearer, and draws help less and less."""
    model = models_of(arm)[0][-1]
    return 0.95 * (1 - (0.5 if model == "A" else 0.2) ** (1 + np.log2(depth(arm)))), 100 * WORK[model] * depth(arm)


def tried(
    arms: Iterable[Strategy], state: State = "complete", value: float | None = None, kind: str = "tpe"
) -> tuple[Trial, ...]:
    out = []
    for arm in arms:
        accuracy, cost = figures(arm)
        out.append(Trial(show(arm), kind, 0, state, accuracy if value is None else value, cost, 16))
    return tuple(out)


def sample(space: Space, count: int, seed: int = 0) -> list[Strategy]:
    order = np.random.default_rng(seed).permutation(len(space.arms))
    return [space.arms[i] for i in order[:count]]


def archive_of(space: Space = SPACE, trials: tuple[Trial, ...] = (), **more: object) -> Archive:
    return replace(Archive("1", ("1", "2"), space, WORK, trials, prompts=16), **more)  # type: ignore[arg-type]


def histories(space: Space) -> dict[str, tuple[Trial, ...]]:
    arms = sample(space, 12)
    odd = (
        Trial("no arm at all (", "agent", 0, "refused", trace="unreadable"),
        Trial("vote(n=8, model=gone, temperature=0.6)", "tpe", 0, "complete", 0.5, 10.0, 16),
        Trial(show(arms[0]), "tpe", 0, "complete", float("nan"), 10.0, 16),
        Trial(show(arms[1]), "tpe", 0, "complete", 0.0, 0.0, 0),
        Trial(show(arms[2]), "tpe", 0, "complete", 1.0, float("inf"), 16),
        Trial(show(arms[3]), "tpe", 0, "skipped"),
        Trial(show(arms[4]), "tpe", 0, "pruned"),
    )
    return {
        "nothing": (),
        "one trial": tried(arms[:1]),
        "some trials": tried(arms),
        "zero scores": tried(arms, value=0.0),
        "full scores": tried(arms, value=1.0),
        "stopped trials": tried(arms, "pruned"),
        "free trials": tried(arms, kind="free"),
        "skipped trials": tuple(Trial(show(a), "tpe", 0, "skipped") for a in arms),
        "odd trials": odd + tried(arms[5:]),
    }
