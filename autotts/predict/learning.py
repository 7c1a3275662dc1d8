"""Learning a `Performance`: candidates from constant to boosted trees, chosen by cross-validation over prompts.

The simplest candidate that is about as good as the best is taken; the constant unless it is beaten beyond noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autotts.errors import InputError
from autotts.predict import groups as features
from autotts.predict.calibration import bins
from autotts.predict.candidates import FEW, MANY_ARMS, candidates
from autotts.predict.choice import best_variants, choose, trial, with_average
from autotts.predict.examples import GROUPS, Examples, prepare
from autotts.predict.logistic import ridge
from autotts.predict.members import Floats, Linear
from autotts.predict.performance import EMBEDDING, KINDS, NGRAMS, Performance, beyond
from autotts.predict.quick import COSTLIEST

Ints = NDArray[np.int64]

FOLDS: Final = 5
FEWEST: Final = 2 * FOLDS  # different prompts below which nothing is learned
REPEATS: Final = 2  # times that few prompts are cut into folds
LEAST: Final = 0.01  # quantile of the range of a feature, and 1 minus the other one
FREE: Final = 0.5  # parts: a cost of nothing, so that it has a logarithm
ALPHA: Final = 10.0  # ridge penalty of the logarithm of costs, in prompts


def fit(
    prompts: Sequence[str],
    arms: Sequence[str],
    value: Floats,
    cost: Floats,
    *,
    seed: int,
    weight: Floats | None = None,
    embeddings: Floats | None = None,
    kinds: Sequence[str] = KINDS,
) -> Performance:
    """Learn what each arm does on a prompt.

    Parameters
    ----------
    prompts, arms
        N texts and A names. Equal texts stay in one fold.
    value, cost
        [N, A]: the chance of a right answer (a mean over draws), 0 to 1, and the cost in parts. NaN where an arm was
        not measured on a prompt.
    seed
        Of folds and trees; the same arguments give the same predictor.
    weight
        Of each prompt, [N], or cell, [N, A]; equal by default.
    embeddings
        [N, E], of the prompts; NaN where there is none.
    kinds
        Candidates that are tried beside the constant and the length; all by default.

    Returns
    -------
    Performance
        Of kind "constant", with the reason in `why`, where nothing can be learned.

    Raises
    ------
    InputError
        No prompts or arms, or shapes that do not fit together.
    """
    return _fitted(prompts, arms, (value, weight), cost, embeddings, seed, kinds)[0]


def fit_held_out(
    prompts: Sequence[str],
    arms: Sequence[str],
    value: Floats,
    cost: Floats,
    *,
    seed: int,
    kinds: Sequence[str] = KINDS,
) -> tuple[Performance, Floats, Floats]:
    """`fit`, and the values and costs that are predicted of each prompt out of fold, [N, A] each.

    Values are calibrated on all prompts. A cost is NaN where its arm was not measured on other folds.
    """
    return _fitted(prompts, arms, (value, None), cost, None, seed, kinds)


def _fitted(
    prompts: Sequence[str],
    arms: Sequence[str],
    cells: tuple[Floats, Floats | None],
    cost: Floats,
    embeddings: Floats | None,
    seed: int,
    kinds: Sequence[str],
) -> tuple[Performance, Floats, Floats]:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    # Threads that wait for each other take longer than these small products.
    with threadpool_limits(1):
        examples = prepare(prompts, arms, cells, embeddings, seed)
        costs = np.asarray(cost, float)
        if costs.shape != examples.value.shape:
            raise InputError(f"cost: expected {examples.value.shape}, prompts x arms, found {costs.shape}")
        return _learned(examples, arms, costs, seed, kinds)


def _learned(
    examples: Examples, arms: Sequence[str], costs: Floats, seed: int, kinds: Sequence[str]
) -> tuple[Performance, Floats, Floats]:
    """The chosen candidate, learned on all prompts; and what was predicted out of fold."""
    reason = _too_little(examples)
    baselines, others = candidates(examples)[:2], candidates(examples)[2:]
    tried = baselines if reason else baselines + [one for one in others if one.name in kinds]
    cuts = _cuts(examples, seed)
    trials = best_variants([trial(candidate, examples, cuts, seed) for candidate in tried])
    trials = with_average(trials) if "average" in kinds else trials
    chosen, why = (trials[0], reason) if reason else choose(trials)
    members = [candidate.learn(examples, np.arange(len(costs)), seed) for candidate in chosen.candidates]
    sparse = any(isinstance(member, Linear) and member.ngrams for member in members)
    found = bins(chosen.chances, *chosen.cells)
    intercepts, coefficients = _costs(examples.standard, costs)
    performance = Performance(
        kind=chosen.name,
        why=why,
        groups=GROUPS + [NGRAMS] * sparse + [EMBEDDING] * bool(examples.basis),
        arms=list(arms),
        columns=examples.columns,
        basis=examples.basis,
        mean=examples.mean.tolist(),
        scale=examples.scale.tolist(),
        **_range(examples),
        members=members,
        slope=chosen.calibration[0],
        shift=chosen.calibration[1].tolist(),
        upto=[upto for upto, _, _ in found[:-1]],
        gaps=[gap for _, _, gap in found],
        counts=(examples.weight > 0).sum(0).tolist(),
        cost_intercepts=intercepts,
        cost_coefficients=coefficients,
        scores=[one.score(trials[0]) for one in trials],
        n=len(costs),
    )
    return performance, chosen.chances.reshape(-1, *costs.shape).mean(0), _costs_held_out(examples, costs, cuts[0])


def _range(examples: Examples) -> dict[str, Any]:
    """The range that the features of the prompts learned on have, and how many may be outside it; see `Performance`."""
    least, most = np.quantile(examples.raw, [LEAST, 1 - LEAST], axis=0)
    dense = len(features.columns(GROUPS))
    odd = np.quantile(beyond(examples.raw[:, :dense], least[:dense], most[:dense]), 1 - LEAST)
    return {"least": least.tolist(), "most": most.tolist(), "odd": int(odd)}


def _too_little(examples: Examples) -> str:
    """Why nothing can be learned, or ""."""
    seen = examples.weight > 0
    different = len(set(examples.same[seen.any(1)].tolist()))
    if different < FEWEST:
        return f"only {different} different prompts were measured; at least {FEWEST} are needed"
    measured = [examples.value[seen[:, arm], arm] for arm in range(seen.shape[1])]
    if not any(len(values) and np.ptp(values) > 0 for values in measured):
        return "no arm does better on one prompt than on another"
    return ""


def _cuts(examples: Examples, seed: int) -> list[list[Ints]]:
    """Rows of each fold, once or, where prompts and arms are few, twice; equal prompts share a fold."""
    rng = np.random.default_rng(seed)
    same = examples.same
    count = int(same.max()) + 1
    few = count < FEW and examples.value.shape[1] <= MANY_ARMS
    out = []
    for _ in range(REPEATS if few else 1):
        place = rng.permutation(np.arange(count) % FOLDS)
        out.append([np.flatnonzero(place[same] == fold) for fold in range(min(FOLDS, count))])
    return out


def _costs(standard: Floats, cost: Floats) -> tuple[list[float | None], list[list[float]]]:
    """Logarithms of costs: intercepts, None for an arm without costs, and coefficients.

    Intercepts are set so that the mean prediction of each arm is its mean cost.
    """
    seen = np.isfinite(cost) & (cost >= 0)
    logs = np.log(np.maximum(np.where(seen, cost, 1.0), FREE))
    coefficients, intercepts = ridge(standard, logs, seen.astype(float), ALPHA)
    predicted = np.exp(intercepts + standard @ coefficients.T)
    total = [float(np.where(seen, part, 0.0).sum(0)[arm]) for part in (cost, predicted) for arm in range(cost.shape[1])]
    arms = cost.shape[1]
    known: list[float | None] = []
    for arm in range(arms):
        spent, expected = total[arm], total[arms + arm]
        scaled = float(intercepts[arm]) + (math.log(spent / expected) if spent > 0 else 0.0)
        known.append(scaled if seen[:, arm].any() else None)
    return known, coefficients.tolist()


def _costs_held_out(examples: Examples, cost: Floats, cut: Sequence[Ints]) -> Floats:
    """The cost of each prompt as predicted from the other folds, [N, A]."""
    out = np.full(cost.shape, np.nan)
    for rows in cut:
        others = np.setdiff1d(np.arange(len(cost)), rows)
        if len(others):
            known, coefficients = _costs(examples.standard[others], cost[others])
            intercepts = np.array([np.nan if k is None else k for k in known])
            logs = intercepts + examples.standard[rows] @ np.array(coefficients).T
            out[rows] = np.exp(np.minimum(logs, COSTLIEST))
    return out
