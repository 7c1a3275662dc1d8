"""Which part of a pool some arms can be played on, and what a pool cannot price or cannot know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autotts.core.strategy import Role, Strategy, knobs
from autotts.errors import InputError
from autotts.pools.recorded import Drawn, Recorded
from autotts.strategies.arms import name_of, show
from autotts.worlds.recorded import SCORER, Recording

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

CHOOSING: Final = frozenset({"one", "best_of_n", "first_finish"})  # do not count equal answers
TIMELESS: Final = frozenset({"one", "vote", "weighted_vote", "best_of_n", "adaptive", "esc", "cascade"})


@dataclass(frozen=True, slots=True)
class Pricing:
    """How what is recorded is charged: the unit, and what a probe generates."""

    unit: str
    probe_tokens: int = 0


def roles(strategy: Strategy) -> dict[str, str]:
    """The models that an arm draws from, by knob."""
    return {
        name: getattr(strategy, name)
        for name, knob in knobs(type(strategy)).items()
        if isinstance(knob.domain, Role) and knob.domain.kind == "policy"
    }


def needs(strategy: Strategy) -> dict[str, int]:
    """The most draws of each model that an arm begins; 1 where its knobs do not tell."""
    s: Any = strategy
    first = int(getattr(s, "n", getattr(s, "most", 1)))
    out: dict[str, int] = {}
    for role, count in zip(roles(strategy).values(), (first, int(getattr(s, "m", 1)))):
        out[role] = out.get(role, 0) + count
    return out


def suited(pool: Recorded, arms: Sequence[Strategy]) -> tuple[Recorded, tuple[str, ...]]:
    """The part of a pool that some arms can be played on, and what was left out, in words.

    Only their families, and only problems that have enough draws of each for every arm, labels of all of them, and
    scores where an arm asks for them.
    """
    world = Recording(pool, unit="calls")
    least: dict[int, int] = {}
    scored: set[int] = set()
    for arm in arms:
        s: Any = arm
        for role, count in needs(arm).items():
            number = world.family(role, float(s.temperature), float(s.top_p))
            least[number] = max(least.get(number, 0), count)
            if world.scorers and hasattr(s, "by"):
                scored.add(number)
    keep = np.ones(len(pool.problems), bool)
    notes = []
    for number, count in sorted(least.items()):
        for lacking, why in _lacking(pool.drawn[number], count, number in scored):
            if (lacking & keep).any():
                notes.append(f"{int((lacking & keep).sum())} of {len(keep)} prompts have {why}, and are left out")
            keep &= ~lacking
    if not keep.any():
        raise InputError(
            f"no prompt of the pool {pool.dataset} can be used: {'; '.join(notes)}: ask for fewer draws (n, most)"
        )
    return narrowed(pool, np.flatnonzero(keep), sorted(least)), tuple(notes)


def _lacking(drawn: Drawn, count: int, scored: bool) -> Iterator[tuple[Bools, str]]:
    """Problems that lack something, [P], and what."""
    role, owner = drawn.family.role, np.repeat(np.arange(len(drawn.counts)), drawn.counts)

    def of(samples: Bools) -> Ints:
        return np.bincount(owner[samples], minlength=len(drawn.counts))

    yield drawn.counts < count, f"fewer than {count} draws of {role} (the most is {drawn.counts.max(initial=0)})"
    yield of(np.isnan(drawn.correct)) > 0, f"draws of {role} whose label is not known"
    if scored:
        yield of(np.isfinite(drawn.score)) == 0, f"no score of any draw of {role}"


def narrowed(pool: Recorded, rows: Ints, families: Sequence[int]) -> Recorded:
    """Some problems and families of a pool."""
    problems = tuple(pool.problems[i] for i in rows)
    answers = tuple(pool.answers[i] for i in rows)
    drawn = tuple(_some(pool.drawn[i], rows) if len(rows) < len(pool.problems) else pool.drawn[i] for i in families)
    return replace(pool, problems=problems, answers=answers, drawn=drawn)


def _some(drawn: Drawn, rows: Ints) -> Drawn:
    """The draws of some problems."""
    counts = drawn.counts[rows]
    at = _ranges(drawn.start[rows], counts)
    flat = {"start", "probe", "probe_start"}
    arrays = {
        f.name: getattr(drawn, f.name)[at]
        for f in fields(drawn)
        if f.name not in flat and isinstance(getattr(drawn, f.name), np.ndarray)
    }
    arrays["start"] = np.concatenate([[0], np.cumsum(counts)])
    if drawn.probe_every:
        probes = np.diff(drawn.probe_start)[at]
        arrays["probe"] = drawn.probe[_ranges(drawn.probe_start[at], probes)]
        arrays["probe_start"] = np.concatenate([[0], np.cumsum(probes)])
    return replace(drawn, **arrays)


def _ranges(begin: Ints, counts: Ints) -> Ints:
    """begin[i], begin[i] + 1, ... (counts[i] of them), one after another."""
    first = np.cumsum(counts) - counts
    return np.asarray(np.repeat(begin - first, counts) + np.arange(counts.sum()))


def timed(pool: Recorded) -> bool:
    """Whether the tokens of all draws are known."""
    return all(bool((d.tokens >= 0).all()) for d in pool.drawn)


def check(pool: Recorded, strategy: Strategy, pricing: Pricing) -> None:
    """Refuse what a pool cannot price or cannot know, before anything is played."""
    name = name_of(strategy)
    if not timed(pool) and (name not in TIMELESS or pricing.unit != "calls"):
        lacking = ", ".join(dict.fromkeys(d.family.role for d in pool.drawn if (d.tokens < 0).any()))
        price = f"its {pricing.unit} are not known: only calls can be counted (--unit calls)"
        so = price if name in TIMELESS else "which of its draws ends first is not known"
        raise InputError(f"{show(strategy)}: tokens of {lacking} were not all recorded (completion_tokens), so {so}")
    if pricing.unit in ("flops", "eflops"):
        for drawn in pool.drawn:
            card = drawn.family.card
            if card.parameters is None and card.active_parameters is None:
                raise InputError(
                    f"the parameters of {card.name} are not known, so its {pricing.unit} are not: give them, such as "
                    f"--params {card.name}=4.02e9, or use --unit tokens"
                )
    for drawn in pool.drawn:
        if name not in CHOOSING and not (drawn.answer >= 0).any():
            raise InputError(
                f"{show(strategy)} counts equal answers, and none of {drawn.family.role} was recorded (extracted); "
                "one, best_of_n and first_finish do without"
            )
    scorer = getattr(strategy, "by", None)
    if scorer is not None and SCORER not in Recording(pool, unit="calls").scorers:
        raise InputError(f"{show(strategy)} needs scores, and the draws of the pool {pool.dataset} have none")
    if scorer not in (None, SCORER):
        raise InputError(
            f"{show(strategy)}: a pool cannot know what {scorer!r} says of a draw; its own score is by={SCORER}"
        )
