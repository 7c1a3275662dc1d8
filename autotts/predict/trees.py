"""Gradient boosting of each arm with scikit-learn, taken apart into flat lists of nodes.

`GradientBoostingClassifier` and not the histogram one: its trees are public, and so are the numbers it starts from.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from autotts.predict.logistic import logit, rates
from autotts.predict.members import Ensemble, Floats, Trees

FEWEST: Final = 40  # measured prompts of an arm, below which it stays at its mean
SETTINGS: Final[dict[str, Any]] = {
    "n_estimators": 60,
    "max_depth": 3,
    "learning_rate": 0.05,
    "subsample": 0.5,
    "max_features": 0.3,
    "min_samples_leaf": 20,
}


def boosted(raw: Floats, value: Floats, weight: Floats, seed: int) -> Trees:
    """An ensemble for each arm from raw columns [N, C] and cells [N, A]."""
    base = logit(rates(value, weight))
    ensembles = []
    for arm, start in enumerate(base):
        x, y, w = doubled(raw, value[:, arm], weight[:, arm])
        if (weight[:, arm] > 0).sum() < FEWEST or len(set(y.tolist())) < 2:
            ensembles.append(Ensemble(base=float(start)))
        else:
            ensembles.append(flat(boosting(seed).fit(x, y, sample_weight=w)))
    return Trees(uses=list(range(raw.shape[1])), ensembles=ensembles)


def boosting(seed: int) -> Any:
    """scikit-learn's estimator, not yet fitted."""
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(random_state=seed, **SETTINGS)


def doubled(raw: Floats, value: Floats, weight: Floats) -> tuple[Floats, Floats, Floats]:
    """Fractional targets as two examples each: right with the weight of the share, wrong with that of the rest."""
    weights = np.concatenate([weight * value, weight * (1 - value)])
    kept = weights > 0
    labels = np.repeat([1.0, 0.0], len(value))
    return np.vstack([raw, raw])[kept], labels[kept], weights[kept]


def flat(estimator: Any) -> Ensemble:
    """A fitted estimator's trees one after another; values are scaled by the learning rate."""
    nodes: dict[str, list[Any]] = {name: [] for name in ("feature", "threshold", "left", "right", "value")}
    roots = []
    for (stage,) in estimator.estimators_:
        tree, first = stage.tree_, len(nodes["feature"])
        leaf = tree.children_left < 0
        roots.append(first)
        nodes["feature"] += np.where(leaf, -1, tree.feature).tolist()
        nodes["threshold"] += np.where(leaf, 0.0, tree.threshold).tolist()
        nodes["left"] += np.where(leaf, 0, tree.children_left + first).tolist()
        nodes["right"] += np.where(leaf, 0, tree.children_right + first).tolist()
        nodes["value"] += np.where(leaf, tree.value[:, 0, 0] * estimator.learning_rate, 0.0).tolist()
    wrong, right = estimator.init_.class_prior_
    return Ensemble(base=float(np.log(right / wrong)), roots=roots, **nodes)
