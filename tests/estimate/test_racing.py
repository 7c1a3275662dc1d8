import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotts.errors import InputError
from autotts.estimate.racing import GRID, HORIZONS, RECKLESS, lower, upper

LOOKS = range(20, 301, 20)


def differences(rng: np.random.Generator, worse: float, better: float, prompts: int = 300) -> np.ndarray:
    """Paired differences of right and wrong."""
    return rng.choice([-1.0, 0.0, 1.0], prompts, p=[worse, 1 - worse - better, better])


def bernstein(values: np.ndarray, alpha: float) -> float:
    """Empirical Bernstein for one of the looks (specs 1.5); the error rate is split over the looks."""
    n, log = len(values), math.log(3 * len(LOOKS) / alpha)
    return float(values.mean() + math.sqrt(2 * values.var() * log / n) + 3 * 2 * log / n)


@pytest.mark.parametrize(("worse", "better"), [(0.15, 0.15), (0.02, 0.02), (0.5, 0.5)])
def test_an_equal_arm_is_dropped_at_most_at_the_error_rate(worse, better) -> None:
    rng, alpha, runs = np.random.default_rng(1), 0.1, 200
    wrong = sum(upper(differences(rng, worse, better), alpha) < 0 for _ in range(runs))  # at any look: see below
    assert wrong <= alpha * runs + 3 * (alpha * (1 - alpha) * runs) ** 0.5


def test_a_skewed_mean_is_bounded_at_the_error_rate() -> None:
    """Rare large values: what a bound by normal approximation gets wrong."""
    rng, alpha, runs = np.random.default_rng(2), 0.1, 200
    wrong = sum(upper(x, alpha, low=0.0) < 0.03 for x in (rng.random((runs, 300)) < 0.03).astype(float))
    assert wrong <= alpha * runs + 3 * (alpha * (1 - alpha) * runs) ** 0.5


@pytest.mark.parametrize(
    ("worse", "better", "prompts", "alpha"),
    [
        (0.6, 0.0, 16, 0.025),  # what is hopeless goes after two blocks
        (0.25, 0.05, 100, 0.05),
        (0.1, 0.0, 100, 0.05),
        (0.2, 0.1, 300, 0.05),
        (0.2, 0.1, 600, 0.005),  # ten points with noise, one of twenty arms
    ],
)
def test_a_worse_arm_is_dropped_within_so_many_prompts(worse, better, prompts, alpha) -> None:
    rng, runs = np.random.default_rng(3), 60
    bet = other = 0
    for _ in range(runs):
        d = differences(rng, worse, better, prompts)
        bet += upper(d, alpha) < 0
        other += any(bernstein(d[:n], alpha) < 0 for n in LOOKS if n <= prompts)
    assert bet > 0.6 * runs and bet > other + 0.3 * runs


def wealth(values: list[float], alpha: float, claim: float) -> float:
    """The most that a gambler has had who bets that the mean is below a claim, value by value; values in [0, 1]."""
    parts, best = [1.0] * len(HORIZONS), 1.0
    total = squares = 0.0
    for t, x in enumerate(values, 1):
        variance = (0.25 + squares) / t
        for i, horizon in enumerate(HORIZONS):
            stake = math.sqrt(2 * math.log(1 / alpha) / (variance * horizon))
            parts[i] *= 1 - min(stake, RECKLESS / (1 - claim)) * (x - claim)
        best = max(best, sum(parts) / len(parts))
        total += x
        squares += (x - (0.5 + total) / (t + 1)) ** 2
    return best


@given(st.lists(st.floats(0, 1), min_size=1, max_size=80), st.floats(0.001, 0.5))
def test_the_bound_is_the_least_claim_that_has_lost_too_much(values, alpha) -> None:
    bound, step = upper(values, alpha, low=0.0), 1 / (GRID - 1)
    assert bound == 1.0 or wealth(values, alpha, bound) >= (1 - 1e-9) / alpha
    assert wealth(values, alpha, bound - step) < (1 + 1e-9) / alpha


@given(st.lists(st.floats(-1, 1), max_size=60), st.floats(0.001, 0.5))
def test_a_bound_once_reached_stays(values, alpha) -> None:
    bounds = [upper(values[:n], alpha) for n in range(0, len(values) + 1, 7)]
    assert bounds == sorted(bounds, reverse=True) and bounds[0] == 1.0
    assert -1.0 <= bounds[-1] <= 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_bounds_mirror_and_shift(values) -> None:
    x = np.array(values)
    assert lower(x, 0.05, low=0.0) == -upper(-x, 0.05, high=0.0)
    assert upper(2 * x - 1, 0.05) == pytest.approx(2 * upper(x, 0.05, low=0.0) - 1, abs=0.0011)  # the grid's rounding
    assert upper(x, 0.05, low=0.0) >= upper(x, 0.2, low=0.0) - 0.01


def test_certain_values_close_in_on_their_mean() -> None:
    assert upper(np.full(300, -1.0), 0.05) < -0.9
    assert -0.1 < lower(np.zeros(300), 0.05) < 0 < upper(np.zeros(300), 0.05) < 0.1


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="from -1 to 1, found 0 to 2"):
        upper([0.0, 2.0], 0.05)
    with pytest.raises(InputError, match="error rate between 0 and 1"):
        upper([0.0], 0.0)
