"""Gaussian processes as a proposer: Optuna's GP sampler, where torch is installed."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.samplers import BaseSampler, GPSampler, RandomSampler

from autotts.errors import InputError
from autotts.search.proposers.sampled import STARTUP, Sampled, Shown

NEEDED = ("torch", "scipy")  # by Optuna's sampler


def gp() -> Sampled:
    """Gaussian processes of accuracy and log cost, and the expected gain in hypervolume over every untried arm.

    Raises
    ------
    InputError
        Where torch, or scipy, is not installed.
    """
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            raise InputError(
                f"proposer gp: expected {name} to be installed, found none; run `pip install {name}`, "
                "or use another proposer, such as tpe"
            )
    return Sampled("gp", _gp, flat=True, free=32, trials=64)


def _gp(seed: int, shown: Shown) -> BaseSampler:
    arms = shown.left.among(shown.factors.space.arms)
    if shown.measured < STARTUP or not arms:
        return RandomSampler(seed=seed)
    return _Listed(seed, [shown.factors.params(arm) for arm in arms])


class _Listed(GPSampler):
    """It looks at every arm that is left; climbing in the grid, which is mostly no arms, takes ten times longer."""

    def __init__(self, seed: int, arms: list[dict[str, Any]]) -> None:
        super().__init__(seed=seed, n_startup_trials=STARTUP, warn_independent_sampling=False)
        self._arms = arms

    def _optimize_acqf(self, acqf: Any, best_params: NDArray[np.float64] | None) -> NDArray[np.float64]:
        # Optuna: "Advanced users can override this method to change the optimization algorithm."
        points = acqf.search_space.get_normalized_params(self._arms, self._arms)
        best: NDArray[np.float64] = points[int(np.argmax(acqf.eval_acqf_no_grad(points)))]
        return best
