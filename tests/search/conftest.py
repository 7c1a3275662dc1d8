"""What several tests of the search share."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from autotts.predict import levels
from autotts.search import crossfit, perprompt, pool_job

Array = NDArray[np.float64]


def _least_squares(x: Array, y: NDArray[np.int64], strength: float) -> tuple[Array, Array]:
    """Coefficients and intercepts of levels, by ridge regression on which one it is."""
    one = (y[:, None] == np.unique(y)).astype(float) - 1 / len(np.unique(y))
    fitted = np.linalg.solve(x.T @ x + len(x) / 10 * np.eye(x.shape[1]), x.T @ one)
    return 6 * fitted.T, 6 * (one.mean(0) - x.mean(0) @ fitted)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer folds, and few trials to write, so that a whole study is soon done."""
    monkeypatch.setattr(crossfit, "ROUNDS", 1)
    monkeypatch.setattr(pool_job, "SHOWN", 2)


@pytest.fixture
def plain_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules from prompts that are learned with less care and from fewer prompts, and so sooner."""
    monkeypatch.setattr(levels, "STRENGTHS", (1.0,))
    monkeypatch.setattr(levels, "FOLDS", 2)
    monkeypatch.setattr(levels, "_regress", _least_squares)
    monkeypatch.setattr(crossfit, "SCANT", 24)
    monkeypatch.setattr(crossfit, "FEW", 60)
    monkeypatch.setattr(perprompt, "KINDS", ("logistic",))
