import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotts.errors import InputError
from autotts.estimate.racing import lower, upper

LOOKS = range(20, 301, 20)


def differences(rng: np.random.Generator, worse: float, better: float) -> np.ndarray:
    """Paired differences of right and wrong on 300 prompts."""
    return rng.choice([-1.0, 0.0, 1.0], 300, p=[worse, 1 - worse - better, better])


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


@pytest.mark.parametrize(("worse", "better", "prompts"), [(0.25, 0.05, 100), (0.1, 0.0, 100), (0.2, 0.1, 300)])
def test_a_worse_arm_is_dropped_within_so_many_prompts(worse, better, prompts) -> None:
    """At an error rate of 0.05: 20 points worse, and 10 worse without noise, within 100; 10 with noise, within 300."""
    rng, runs = np.random.default_rng(3), 60
    bet = other = 0
    for _ in range(runs):
        d = differences(rng, worse, better)
        bet += upper(d[:prompts], 0.05) < 0
        other += any(bernstein(d[:n], 0.05) < 0 for n in LOOKS if n <= prompts)
    assert bet > 0.6 * runs and bet > other + 0.3 * runs


@given(st.lists(st.floats(-1, 1), max_size=60), st.floats(0.001, 0.5))
def test_a_bound_once_reached_stays(values, alpha) -> None:
    bounds = [upper(values[:n], alpha) for n in range(0, len(values) + 1, 7)]
    assert bounds == sorted(bounds, reverse=True) and bounds[0] == 1.0
    assert -1.0 <= bounds[-1] <= 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_bounds_mirror_and_shift(values) -> None:
    x = np.array(values)
    assert lower(x, 0.05, low=0.0) == -upper(-x, 0.05, high=0.0)
    assert upper(2 * x - 1, 0.05) == pytest.approx(2 * upper(x, 0.05, low=0.0) - 1, abs=0.011)  # the grid's rounding
    assert upper(x, 0.05, low=0.0) >= upper(x, 0.2, low=0.0) - 0.01


def test_certain_values_close_in_on_their_mean() -> None:
    assert upper(np.full(300, -1.0), 0.05) < -0.9
    assert -0.1 < lower(np.zeros(300), 0.05) < 0 < upper(np.zeros(300), 0.05) < 0.1


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="from -1 to 1, found 0 to 2"):
        upper([0.0, 2.0], 0.05)
    with pytest.raises(InputError, match="error rate between 0 and 1"):
        upper([0.0], 0.0)
