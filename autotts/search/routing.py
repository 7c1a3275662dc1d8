"""RouteLLM's figures for a pool of two models: which prompts go to the stronger one, one draw each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotts.core.task import Problem
from autotts.estimate.routers import Routed, routed
from autotts.pools.recorded import Drawn
from autotts.predict.learning import fit
from autotts.search.crossfit import folds
from autotts.search.gauge import Gauge

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

KINDS = ("logistic", "ngrams")  # the others take longer and are never ahead between two models
GAPS = (0.2, 0.5, 0.8)  # shares of the gap that RouteLLM counts calls for


def routing(gauge: Gauge, seed: int) -> dict[str, Any] | None:
    """What routers between two models give, one draw a prompt; None unless there are two, one of them better.

    Returns
    -------
    dict
        `weak` and `strong` (roles), their accuracies, and `rows` of name, apgr, cpt20, cpt50 and cpt80: calls to the
        strong model, as shares of all, that recover so much of the gap. The oracle knows who is right; its apgr
        passes 1 where the strong model is wrong on prompts that the weak one is right on.

    Notes
    -----
    "learned" is how much likelier the strong model is to be right, predicted from the prompt by a rule that was learned
    on other folds, and ranked within each fold.
    """
    chances = _chances(gauge)
    if len(chances) != 2:
        return None
    (weak, low), (strong, high) = sorted(chances.items(), key=lambda item: float(item[1].mean()))
    if low.mean() == high.mean():
        return None
    problems = gauge.problems
    rows = [_row("random", routed(low, high, np.zeros(len(low))))]
    if all(problem.prompt for problem in problems):
        length = np.array([len(problem.prompt) for problem in problems], np.float64)
        rows.append(_row("prompt length", routed(low, high, length)))
        rows.append(_row("learned", routed(low, high, _learned(problems, low, high, seed))))
    rows.append(_row("oracle", routed(low, high, high - low)))
    return {
        "weak": weak,
        "strong": strong,
        "weak_accuracy": float(low.mean()),
        "strong_accuracy": float(high.mean()),
        "rows": rows,
    }


def _row(name: str, found: Routed) -> dict[str, Any]:
    return {"name": name, "apgr": found.apgr, **{f"cpt{round(100 * gap)}": found.cpt(gap) for gap in GAPS}}


def _chances(gauge: Gauge) -> dict[str, Floats]:
    """The chance of a right draw of each role on each problem, [P].

    Of a role's settings, the most accurate one; a strategy that was recorded beside plain samples is no single draw.
    """
    found: dict[str, tuple[bool, float, Floats]] = {}
    for drawn in gauge.recorded.drawn:
        chance, family = _chance(drawn, gauge.rows), drawn.family
        entry = family.exchangeable, float(chance.mean()), chance
        if family.role not in found or entry[:2] > found[family.role][:2]:
            found[family.role] = entry
    return {role: chance for role, (_, _, chance) in found.items()}


def _chance(drawn: Drawn, rows: Ints) -> Floats:
    """The share of right draws of each problem; a gauge holds no draws without a label."""
    right = np.concatenate(([0.0], np.cumsum(drawn.correct > 0.5)))
    start, end = drawn.start[rows], drawn.start[rows + 1]
    return np.asarray((right[end] - right[start]) / (end - start))


def _learned(problems: Sequence[Problem], weak: Floats, strong: Floats, seed: int) -> Floats:
    """Where each problem stands among those of its fold, from 0 to 1, by a rule learned on the other folds.

    Scores of rules from different folds are not compared: a rule that finds fewer prompts worth sending scores all
    prompts lower, and its own fold has more of them.
    """
    prompts = [problem.prompt for problem in problems]
    value = np.stack([weak, strong], axis=1)
    unknown = np.full(value.shape, np.nan)  # what the models cost does not matter here
    total, times = np.zeros(len(prompts)), np.zeros(len(prompts))
    for train, test in folds(len(prompts), seed):
        known = [prompts[i] for i in train]
        rule = fit(known, ("weak", "strong"), value[train], unknown[train], seed=seed, kinds=KINDS)
        found = rule.table([prompts[i] for i in test]).value
        total[test] += _ranks(found[:, 1] - found[:, 0])
        times[test] += 1
    return np.asarray(total / times)


def _ranks(values: Floats) -> Floats:
    """The share of values below each, and half of those that are equal."""
    ordered = np.sort(values)
    below, upto = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    return np.asarray((below + upto) / (2 * len(values)))
