"""Learning a `Performance`: candidates from constant to boosted trees, chosen by cross-validation over prompts.

The simplest candidate within one standard error of the best is taken; the constant unless it is beaten beyond noise.
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
from autotts.predict.candidates import Examples, candidates
from autotts.predict.choice import best_variants, choose, trial
from autotts.predict.logistic import ridge
from autotts.predict.members import CLIP, Floats
from autotts.predict.performance import EMBEDDING, Performance, beyond

Ints = NDArray[np.int64]

FOLDS: Final = 5
FEWEST: Final = 2 * FOLDS  # different prompts below which nothing is learned
FEW: Final = 400  # prompts below which folds are cut several times
REPEATS: Final = 3
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

    Returns
    -------
    Performance
        Of kind "constant", with the reason in `why`, where nothing can be learned.

    Raises
    ------
    InputError
        No prompts or arms, or shapes that do not fit together.
    """
    examples = _examples(prompts, arms, value, weight, embeddings)
    costs = np.asarray(cost, float)
    if costs.shape != examples.value.shape:
        raise InputError(f"cost: expected {examples.value.shape}, prompts x arms, found {costs.shape}")
    tried = candidates(examples)
    reason = _too_little(examples)
    cuts = _cuts(examples.same, seed)
    trials = [trial(candidate, examples, cuts, seed) for candidate in (tried[:1] if reason else tried)]
    constant, trials = trials[0], best_variants(trials)
    chosen, why = (constant, reason) if reason else choose(trials)
    slope, shift = chosen.calibration
    found = bins(chosen.chances, *chosen.cells)
    intercepts, coefficients = _costs(examples.standard, costs)
    return Performance(
        kind=chosen.name,
        why=why,
        groups=_groups() + ([EMBEDDING] if embeddings is not None else []),
        arms=list(arms),
        columns=examples.columns,
        mean=examples.mean.tolist(),
        scale=examples.scale.tolist(),
        **_range(examples),
        members=[candidate.learn(examples, np.arange(len(prompts)), seed) for candidate in chosen.candidates],
        slope=slope,
        shift=shift.tolist(),
        upto=[upto for upto, _, _ in found[:-1]],
        gaps=[gap for _, _, gap in found],
        counts=[int(count) for count in (examples.weight > 0).sum(0)],
        cost_intercepts=intercepts,
        cost_coefficients=coefficients,
        scores=[one.score(constant) for one in trials],
        n=len(prompts),
    )


def _groups() -> list[str]:
    """The dense groups that are learned from: all that there are."""
    return list(features.GROUPS)


def _examples(
    prompts: Sequence[str], arms: Sequence[str], value: Floats, weight: Floats | None, embeddings: Floats | None
) -> Examples:
    """Features and measured cells, checked."""
    value = np.asarray(value, float)
    if not prompts or not arms or value.shape != (len(prompts), len(arms)):
        raise InputError(
            f"value: expected {len(prompts)} prompts x {len(arms)} arms, at least one each, found {value.shape}"
        )
    seen = np.isfinite(value)
    if (np.isinf(value) | (value < 0) | (value > 1)).any():
        raise InputError("value: expected chances from 0 to 1, NaN where not measured")
    cells = np.ones(value.shape) if weight is None else np.asarray(weight, float)
    cells = np.broadcast_to(cells[:, None] if cells.ndim == 1 else cells, value.shape) * seen
    if not np.isfinite(cells).all() or cells.min() < 0:
        raise InputError("weight: expected finite numbers of 0 or more")
    if cells.any():
        cells = cells / cells[cells > 0].mean()
    raw = np.array([features.dense(_groups(), prompt) for prompt in prompts], float)
    columns = features.columns(_groups())
    if embeddings is not None:
        more = _imputed(np.asarray(embeddings, float), len(prompts))
        raw, columns = np.hstack([raw, more]), columns + [f"embedding_{i}" for i in range(more.shape[1])]
    mean, scale = raw.mean(0), raw.std(0)
    scale = np.where(scale > 1e-9 * (1 + np.abs(mean)), scale, 1.0)
    return Examples(
        columns=columns,
        raw=raw,
        standard=np.clip((raw - mean) / scale, -CLIP, CLIP),
        mean=mean,
        scale=scale,
        buckets=[[] for _ in prompts],
        value=np.where(seen, value, 0.0),
        weight=cells,
        same=np.unique(np.array(prompts, dtype=object), return_inverse=True)[1],
    )


def _imputed(embeddings: Floats, count: int) -> Floats:
    """Embeddings with the mean where there is none; a column that nobody has is 0."""
    if embeddings.ndim != 2 or len(embeddings) != count or not embeddings.shape[1]:
        raise InputError(f"embeddings: expected {count} rows, one for each prompt, found {embeddings.shape}")
    seen = np.isfinite(embeddings)
    total = np.where(seen, embeddings, 0.0).sum(0) / np.maximum(seen.sum(0), 1)
    return np.where(seen, embeddings, total)


def _range(examples: Examples) -> dict[str, Any]:
    """The range that the features of the prompts learned on have, and how many may be outside it; see `Performance`."""
    least, most = np.quantile(examples.raw, [LEAST, 1 - LEAST], axis=0)
    dense = len(features.columns(_groups()))
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


def _cuts(same: Ints, seed: int) -> list[list[Ints]]:
    """Rows of each fold, once or, where prompts are few, several times; equal prompts share a fold."""
    rng = np.random.default_rng(seed)
    count = int(same.max()) + 1
    out = []
    for _ in range(REPEATS if count < FEW else 1):
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
