"""Logistic and ridge regression of many arms at once, with missing cells and fractional targets.

The optimum is that of scikit-learn's `LogisticRegression(C=...)` and `Ridge(alpha=...)`, arm by arm (a test); all arms
are solved together because a study has hundreds of them, and a call of scikit-learn for each would take minutes.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np

from autotts.predict.members import Floats
from autotts.predict.performance import expit

Cells: TypeAlias = tuple[Floats, Floats, Floats]  # value, weight and offset of arms x prompts, [A, N] each

STEPS: Final = 60  # of Newton's method; regularised regressions need about 8
ENOUGH: Final = 1e-11  # change of a coefficient below which an arm is done
CELLS: Final = 2_000_000  # floats of one block of arms


def logit(share: Floats) -> Floats:
    """The log odds."""
    out: Floats = np.log(share) - np.log1p(-share)
    return out


def rates(value: Floats, weight: Floats) -> Floats:
    """Each arm's mean over the cells it was measured on, [A], half a success of each kind added: never 0 or 1."""
    out: Floats = ((value * weight).sum(0) + 0.5) / (weight.sum(0) + 1.0)
    return out


def regress(
    x: Floats, value: Floats, weight: Floats, strength: float, offset: Floats | None = None
) -> tuple[Floats, Floats]:
    """Coefficients [A, D] and intercepts [A] of a logistic regression for each arm.

    Parameters
    ----------
    x
        Standardised features, [N, D].
    value, weight
        Targets from 0 to 1 and their weights, [N, A]; a weight of 0 is a missing cell.
    strength
        C: the inverse of the penalty on coefficients, as in scikit-learn. An arm that is always right or always wrong
        gets no coefficients, and an intercept that is not infinite.
    offset
        Logits that are added as they are, [N, A].
    """
    coefficients = np.zeros((value.shape[1], x.shape[1]))
    intercepts = logit(rates(value, weight))
    known = np.zeros(value.shape) if offset is None else offset
    todo = np.flatnonzero([_varied(v[w > 0]) for v, w in zip(value.T, weight.T)])
    design = np.hstack([x, np.ones((len(x), 1))])
    block = max(1, CELLS // max(design.size, 1))
    for start in range(0, len(todo), block):
        arms = todo[start : start + block]
        cells = value[:, arms].T, weight[:, arms].T, known[:, arms].T
        solved = _newton(design, cells, intercepts[arms], strength)
        coefficients[arms], intercepts[arms] = solved[:, :-1], solved[:, -1]
    return coefficients, intercepts


def _varied(seen: Floats) -> bool:
    """Whether there is an optimum: targets that are not all 0 and not all 1."""
    return bool(len(seen) and seen.max() > 0 and seen.min() < 1)


def _newton(x: Floats, cells: Cells, intercepts: Floats, strength: float) -> Floats:
    """Damped Newton steps of a block of arms: `x` [N, D] ends with ones."""
    value, weight, offset = cells
    penalty = np.append(np.full(x.shape[1] - 1, 1.0 / strength), 0.0)
    beta = np.zeros((len(value), x.shape[1]))
    beta[:, -1] = intercepts
    loss = _loss(beta, x, cells, penalty)
    for _ in range(STEPS):
        chance = expit(beta @ x.T + offset)
        slope = (weight * (chance - value)) @ x + penalty * beta
        curved = weight * chance * (1 - chance)
        # Transposed after the product, so that BLAS takes it.
        hessian = (curved[:, :, None] * x).transpose(0, 2, 1) @ x + np.diag(penalty + 1e-10)
        step = np.linalg.solve(hessian, slope[:, :, None])[:, :, 0]
        size = np.ones((len(beta), 1))
        for _ in range(20):
            tried = beta - size * step
            fresh = _loss(tried, x, cells, penalty)
            worse = fresh > loss + 1e-12 * (1 + np.abs(loss))
            if not worse.any():
                break
            size[worse] /= 2
        beta, loss = tried, fresh
        if np.abs(size * step).max() < ENOUGH:
            break
    return beta


def _loss(beta: Floats, x: Floats, cells: Cells, penalty: Floats) -> Floats:
    value, weight, offset = cells
    logits = beta @ x.T + offset
    out: Floats = (weight * (np.logaddexp(0.0, logits) - value * logits)).sum(1) + 0.5 * (beta**2) @ penalty
    return out


def ridge(x: Floats, value: Floats, weight: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Coefficients [A, D] and intercepts [A] of a ridge regression for each arm; weights as in `regress`."""
    count = np.maximum(weight.sum(0), 1e-12)
    coefficients = np.zeros((value.shape[1], x.shape[1]))
    means = (value * weight).sum(0) / count
    intercepts = means.copy()
    for arm in np.flatnonzero(weight.sum(0) > 1):
        w = weight[:, arm]
        center = w @ x / count[arm]
        apart = (x - center) * w[:, None]
        solved = np.linalg.solve(apart.T @ (x - center) + alpha * np.eye(x.shape[1]), apart.T @ value[:, arm])
        coefficients[arm], intercepts[arm] = solved, means[arm] - center @ solved
    return coefficients, intercepts
