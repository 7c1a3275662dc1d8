"""Insight rules: the three insights that AgentTTS (2508.00890) gives to a language model, as rules without one.

I1  Models are compared under one budget: a draw of the largest, and of each smaller one as many as that buys. A larger
    model is preferred only where it is clearly better.
I2  Accuracy rises with draws, then levels off: more are tried only while the next doubling promises more than noise.
I3  The budget is shared: levels take turns by the gain that they promise for what it costs, settings are tried around
    the best arm, and where all that was measured is alike, arms are taken at random.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np

from autotts.core.strategy import Strategy
from autotts.estimate.beyond import saturation
from autotts.search.archive import Archive, Trial
from autotts.search.proposers.factors import Factors
from autotts.search.proposers.left import Left
from autotts.search.proposers.sampled import number
from autotts.search.runs import depth
from autotts.search.space import models_of
from autotts.strategies.arms import name_of, show

CLEARLY: Final = 2.0  # standard errors by which a larger model must be better
NOISE: Final = 0.25  # of a standard error: the share below which a study, too, holds a gain to be none
FEW: Final = 3  # measured arms, from which on it can be told that they are alike
PROBED: Final = ("one", "vote", "weighted_vote", "best_of_n")  # what models are compared by, the first that is there


@dataclass(frozen=True)
class Insight:
    """The rules; each insight can be switched off, as in the paper's ablation.

    Without `i1` nothing is probed, and the model of the best arm is preferred; without `i2` draws follow no curve, and
    any number may come next; without `i3` levels do not look at each other, and nothing is tried around the best arm.
    """

    i1: bool = True
    i2: bool = True
    i3: bool = True
    name: str = "insight"

    def propose(self, archive: Archive, k: int) -> Sequence[str]:
        """Up to k arms; fewer at a level that promises less than another one for what it costs."""
        here = Look(archive)
        probes = here.left.among(probed(archive)) if self.i1 else []
        rates = self.moves(here)
        found = [*probes, *(arm for _, arm in rates)]
        if not probes and self.i3:
            k = self._room(archive, rates, k)
            found += [] if here.alike else here.around(self.i1)
        if not probes:  # what is compared comes before what is guessed
            found += here.by_chance()
        return tuple(_apart(here.left, found, k))

    def moves(self, here: Look) -> list[tuple[float, Strategy]]:
        """The next doublings that promise more than noise, by the gain for their cost: of the favourite model, then of
        the others."""
        out: list[tuple[float, Strategy]] = []
        favourite = here.favourite(self.i1)
        for model in sorted(here.archive.space.models, key=lambda m: m != favourite) if self.i2 else ():
            found = [move for curve in here.curves(model) if (move := here.next(curve)) is not None]
            out += sorted(found, key=lambda move: (-move[0], show(move[1])))
        return out

    def _room(self, archive: Archive, moves: Sequence[tuple[float, Strategy]], k: int) -> int:
        """How many of k arms a level may try: in proportion to what it promises, and the best level all."""
        best = 0.0
        for level, trials in archive.others.items():
            other = Look(replace(archive, level=level, trials=trials, others={}))
            best = max([best, *[rate for rate, _ in self.moves(other)]])
        mine = max((rate for rate, _ in moves), default=0.0)
        return k if mine >= best else math.ceil(k * mine / best)


@dataclass(frozen=True)
class Curve:
    """Arms that differ in their draws alone: what was measured by the number of draws, and all of the arms."""

    measured: dict[int, Trial]
    arms: dict[int, Strategy]


@dataclass(frozen=True)
class Look:
    """A level's archive, as the rules look at it."""

    archive: Archive

    @cached_property
    def left(self) -> Left:
        return Left.of(self.archive)

    @cached_property
    def arms(self) -> dict[str, Strategy]:
        return {show(arm): arm for arm in self.archive.space.arms}

    @cached_property
    def measured(self) -> list[Trial]:
        """Trials with a value, whose arms stand in the space."""
        done = [t for t in self.archive.trials if t.state == "complete" and t.arm in self.arms]
        return [t for t in done if t.value is not None and t.cost is not None and math.isfinite(t.value + t.cost)]

    @property
    def alike(self) -> bool:
        """Whether the values lie within the standard error of one, or too few are there to tell."""
        if len(self.measured) < FEW:
            return True
        return float(np.std([_value(t) for t in self.measured])) < max(map(_error, self.measured))

    def favourite(self, fair: bool) -> str | None:
        """The model to go on with; `fair` compares at one budget, and wants larger ones to be clearly better."""
        work = {m: self.archive.work.get(m, 1.0) for m in self.archive.space.models}
        best: dict[str, Trial] = {}
        for t in self.measured:
            models = models_of(self.arms[t.arm])[0]
            if len(models) > 1 or (fair and self._effort(t) > max(work.values())):
                continue
            if models[0] not in best or _value(t) > _value(best[models[0]]):
                best[models[0]] = t
        chosen: str | None = None
        for model in sorted(best, key=lambda m: (work[m], m)):
            if chosen is not None:
                noise = CLEARLY * math.hypot(_error(best[model]), _error(best[chosen])) if fair else 0.0
                if _value(best[model]) - _value(best[chosen]) <= noise:
                    continue
            chosen = model
        return self.favourite(False) if chosen is None and fair else chosen

    def _effort(self, trial: Trial) -> float:
        arm = self.arms[trial.arm]
        return depth(arm) * sum(self.archive.work.get(m, 1.0) for m in models_of(arm)[0])

    def curves(self, model: str) -> list[Curve]:
        """What was measured of a model, by all that is set beside draws; its best single draw begins the first one."""
        factors = Factors(self.archive.space)
        trials = {t.arm: t for t in self.measured}
        out: dict[tuple[Any, ...], Curve] = defaultdict(lambda: Curve({}, {}))
        for text, arm in self.arms.items():
            found = factors.of(arm)
            if models_of(arm)[0] == (model,) and "draws" in found:
                curve = out[tuple(value for name, value in found.items() if name != "draws")]
                curve.arms[depth(arm)] = arm
                if text in trials:
                    curve.measured[depth(arm)] = trials[text]
        single = [t for t in self.measured if t.arm.startswith("one(") and models_of(self.arms[t.arm])[0] == (model,)]
        first = next((c for c in out.values() if name_of(next(iter(c.arms.values()))) in PROBED), None)
        if single and first is not None:
            first.measured.setdefault(1, max(single, key=_value))
        return [curve for curve in out.values() if curve.measured]

    def next(self, curve: Curve) -> tuple[float, Strategy] | None:
        """The next doubling of a curve and the gain it promises for each part that it costs more; None below noise."""
        top = max(curve.measured)
        last = curve.measured[top]
        more = sorted(n for n, arm in curve.arms.items() if n > top)
        if top == 1 and len(more) > 1 and name_of(curve.arms[more[0]]) == "vote":
            more = more[1:]  # two votes settle nothing that one did not
        # What draws answer and the archive does not hold is not on the frontier: there is no way on over it.
        if not more or not self.left.has(curve.arms[more[0]]):
            return None
        gain = promise({n: _value(t) for n, t in curve.measured.items()}, more[0], last.prompts)
        if gain <= NOISE * _error(last):
            return None
        dearer = max(float(last.cost or 0.0), 1.0) * (more[0] - top) / top
        return gain / dearer, curve.arms[more[0]]

    def around(self, fair: bool) -> list[Strategy]:
        """Arms one thing apart from the best of the favourite model: temperature, top-p, strategy, then the rest."""
        model = self.favourite(fair)
        mine = [t for t in self.measured if models_of(self.arms[t.arm])[0] == (model,)]
        if not mine:
            return []
        best = self.arms[max(mine, key=lambda t: (_value(t), -float(t.cost or 0.0))).arm]
        factors = Factors(self.archive.space)
        has, order = factors.of(best), ["temperature", "top_p", "strategy", *factors.values]
        found: list[tuple[int, Strategy]] = []
        for arm in self.left.among(self.arms.values()):
            other = factors.of(arm)
            apart = [n for n in has if n in other and has[n] != other[n] and n != "draws"]
            if len(apart) == 1 and depth(arm) == depth(best) and models_of(arm)[0] == (model,):
                found.append((order.index(apart[0]), arm))
        return [arm for _, arm in sorted(found, key=lambda f: f[0])]

    def by_chance(self) -> list[Strategy]:
        """All arms that are left, in an order of chance that hangs on the place in the study alone."""
        where = (self.archive.seed, self.archive.level, self.archive.round)
        return sorted(self.left.among(self.arms.values()), key=lambda arm: number(*where, show(arm)))


def probed(archive: Archive) -> list[Strategy]:
    """One arm for each model, the largest first, each within the work of one draw of the largest model."""
    space, work = archive.space, archive.work
    models = sorted(space.models, key=lambda m: (-work.get(m, 1.0), m))
    out: list[Strategy] = []
    for model in models:
        room = max(work.get(m, 1.0) for m in models) / work.get(model, 1.0)
        mine = [a for a in space.arms if models_of(a)[0] == (model,) and depth(a) <= room]
        known = [a for a in mine if name_of(a) in PROBED] or mine
        out += sorted(known, key=lambda a: (-depth(a), PROBED.index(name_of(a)) if name_of(a) in PROBED else 0))[:1]
    return out


def promise(values: dict[int, float], then: int, prompts: int) -> float:
    """What a curve of accuracies at numbers of draws is expected to gain by going on to `then` draws.

    A saturating curve (TTSPM, 2505.20522) is fitted; with one point its top is 1, and half an answer is added on either
    side, so that a score of zero promises something too. Where the last step went down, nothing is expected.
    """
    ns = sorted(values)
    top = ns[-1]
    if len(ns) == 1:
        one = (values[top] * prompts + 0.5) / (prompts + 1)
        return float((1 - one) - (1 - one) ** (then / top))
    if values[top] < values[ns[-2]]:
        return 0.0
    fit = saturation(ns, [values[n] for n in ns])
    return fit.at(then) - fit.at(top)


def _apart(left: Left, arms: Sequence[Strategy], k: int) -> list[str]:
    """The first k that are left, none of them answered by the draws of one before it."""
    out: list[str] = []
    for arm in arms:
        if len(out) >= k:
            break
        if left.has(arm):
            left = left.after(arm)
            out.append(show(arm))
    return out


def _value(trial: Trial) -> float:
    return min(max(float(trial.value or 0.0), 0.0), 1.0)


def _error(trial: Trial) -> float:
    """The standard error of a trial's value, of its prompts; half an answer is added on either side."""
    n = max(trial.prompts, 1)
    p = (_value(trial) * n + 0.5) / (n + 1)
    return math.sqrt(p * (1 - p) / n)
