"""Fits that go on beyond the pool, against the laws that the data were drawn from, and at the ends of their range."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotts.errors import InputError
from autotts.estimate.beyond import Difficulty, Saturation, coverage, saturation, spread_of

shares = st.floats(0.01, 0.99)


def likelihood(right, draws, a, b) -> float:
    beta = lambda x, y: math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)  # noqa: E731
    return sum(beta(a + c, b + m - c) - beta(a, b) for c, m in zip(right, draws))


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (2, 5), (0.1, 1), (30, 50), (0.02, 0.03), (5, 0.3)])
@pytest.mark.parametrize("most", [4, 100])
def test_no_other_spread_is_likelier(a, b, most) -> None:
    rng = np.random.default_rng(int(10 * a + most))
    draws = rng.integers(2, most + 1, 60)  # unequal counts
    right = rng.binomial(draws, rng.beta(a, b, 60))
    fit = spread_of(right, draws)
    assert 0 < fit.spread < math.inf
    ours = likelihood(right, draws, fit.mean * fit.spread, (1 - fit.mean) * fit.spread)
    for x in np.geomspace(1e-3, 1e3, 41):
        for y in np.geomspace(1e-3, 1e3, 41):
            assert likelihood(right, draws, x, y) <= ours + 1e-9
    for turn in (1e-4, -1e-4):
        assert likelihood(right, draws, fit.mean * fit.spread * (1 + turn), (1 - fit.mean) * fit.spread) < ours
        assert likelihood(right, draws, fit.mean * fit.spread, (1 - fit.mean) * fit.spread * (1 + turn)) < ours


def test_few_draws_tell_what_many_would_give() -> None:
    """2,000 problems of 8 draws each; plugging c / M into 1 - (1 - p)^k falls short by more than the fit is off."""
    rng, a, b = np.random.default_rng(0), 0.4, 1.6
    right = rng.binomial(8, rng.beta(a, b, 2000))
    fit, truth = spread_of(right, np.full(2000, 8)), Difficulty(a / (a + b), a + b)
    for k in (16, 64, 256):
        plugged = (1 - (1 - right / 8) ** k).mean()
        assert abs(fit.coverage(k) - truth.coverage(k)) < 0.02 < truth.coverage(k) - plugged


def test_coverage_is_the_mean_over_the_beta_law() -> None:
    p = np.random.default_rng(1).beta(0.6, 2.4, 400_000)
    for k in (1, 2, 10, 300):
        assert Difficulty(0.2, 3.0).coverage(k) == pytest.approx((1 - (1 - p) ** k).mean(), abs=2e-3)
        product = np.prod([(2.4 + i) / (3.0 + i) for i in range(k)])
        assert Difficulty(0.2, 3.0).coverage(k) == pytest.approx(1 - product, rel=1e-10)


@given(shares, st.floats(0.01, 1e5))
def test_coverage_rises_from_nothing_through_the_mean_to_one(mean, spread) -> None:
    curve = [Difficulty(mean, spread).coverage(k) for k in (0, 1, 2, 5, 30, 1000)]
    assert curve == sorted(curve) and curve[0] == 0.0 and curve[-1] <= 1.0
    assert curve[1] == pytest.approx(mean, rel=1e-6)
    assert curve[-1] <= Difficulty(mean, math.inf).coverage(1000) + 1e-9  # equally hard problems are covered first


def test_the_ends_of_the_range() -> None:
    ten = np.full(20, 10)
    assert spread_of(np.zeros(20, int), ten).coverage(1000) == 0.0
    assert [spread_of(ten, ten).coverage(k) for k in (0, 1, 7)] == [0.0, 1.0, 1.0]
    never = spread_of(np.array([0] * 15 + [10] * 5), ten)
    assert never == Difficulty(0.25, 0.0) and never.coverage(50) == 0.25
    even = spread_of(np.full(20, 3), ten)  # less spread than chance would give
    assert even == Difficulty(0.3, math.inf) and even.coverage(4) == pytest.approx(1 - 0.7**4)


def test_what_is_extrapolated_says_so_and_how_far_it_saw() -> None:
    rng = np.random.default_rng(3)
    right = rng.binomial(16, rng.beta(1, 2, 40))
    got = coverage(right, np.full(40, 16), [16, 64, 512], rounds=100)
    assert got.extrapolated and got.seen == (1, 16) and got.ks == (16, 64, 512)
    fit = spread_of(right, np.full(40, 16))
    assert got.values == tuple(fit.coverage(k) for k in got.ks)
    assert all(low < value < high for low, value, high in zip(got.low, got.values, got.high))
    assert got == coverage(right, np.full(40, 16), [16, 64, 512], rounds=100)
    bare = coverage(right, np.full(40, 16), [64], rounds=0)
    assert bare.low == bare.values == bare.high


def test_intervals_hold_the_truth() -> None:
    rng, truth, held = np.random.default_rng(4), Difficulty(0.3, 2.0).coverage(100), 0
    for i in range(30):
        right = rng.binomial(16, rng.beta(0.6, 1.4, 60))
        got = coverage(right, np.full(60, 16), [100], seed=i, rounds=40)
        held += got.low[0] <= truth <= got.high[0]
    assert held >= 25


@pytest.mark.parametrize(
    ("right", "draws", "says"),
    [
        ([1, 0, 1], [1, 1, 1], "one draw of each problem does not tell"),
        ([], [], "found 0 and 0 numbers"),
        ([1, 2], [4], "found 2 and 1 numbers"),
        ([5, 1], [4, 4], "expected 0 to as many as were drawn, found 5"),
        ([-1, 1], [4, 4], "found -1"),
    ],
)
def test_counts_that_cannot_be_are_refused(right, draws, says) -> None:
    with pytest.raises(InputError, match=says):
        spread_of(np.array(right, int), np.array(draws, int))


@given(shares, shares, st.lists(st.integers(1, 64), min_size=2, max_size=6, unique=True))
def test_a_saturating_curve_is_found_again(top, rate, ns) -> None:
    law = Saturation(top, rate, (min(ns), max(ns)))
    got = saturation(ns, [law.at(n) for n in ns])
    assert got.seen == law.seen and got.extrapolated
    assert all(got.at(n) == pytest.approx(law.at(n), abs=1e-6) for n in range(min(ns), max(ns) + 1))


@given(shares, shares)
def test_a_saturating_curve_rises_to_its_top_by_its_gains(top, rate) -> None:
    law = Saturation(top, rate, (1, 8))
    assert law.at(0) == 0.0 and law.at(10**6) == pytest.approx(top)
    curve = [law.at(n) for n in range(30)]
    assert curve == sorted(curve)
    assert all(law.gain(n) == pytest.approx(law.at(n + 1) - law.at(n), abs=1e-12) for n in range(30))


@given(shares, st.floats(1e-6, 1.0), st.floats(1e-9, 2.0))
def test_enough_is_the_first_number_that_gains_no_more(top, rate, least) -> None:
    law = Saturation(top, rate, (1, 8))
    n = law.enough(least)
    assert law.gain(n) <= least and (n == 0 or law.gain(n - 1) > least)
    if n and rate < 1:  # ceil(ln(eps / (F_max p)) / ln(1 - p)), where floats leave no doubt
        exact = math.log(least / (top * rate)) / math.log1p(-rate)
        assert n == math.ceil(exact) or abs(exact - round(exact)) < 1e-6
    with pytest.raises(InputError, match="a gain above 0"):
        law.enough(0.0)


@pytest.mark.parametrize("chance", [0.1, 0.45])
def test_rounds_one_after_another_follow_the_same_curve(chance) -> None:
    """An absorbing Markov chain: wrong stays wrong with 1 - p, right stays right."""
    chain = np.array([[1 - chance, chance], [0.0, 1.0]])
    law = Saturation(1.0, chance, (1, 20))
    for n in range(20):
        assert law.at(n) == pytest.approx(np.linalg.matrix_power(chain, n)[0, 1])


def test_a_pool_of_equal_problems_tells_its_rate() -> None:
    rng, p = np.random.default_rng(5), 0.2
    hits = rng.random((4000, 16)) < p
    ns = [1, 2, 4, 8, 16]
    got = saturation(ns, [hits[:, :n].any(1).mean() for n in ns])
    assert got.rate == pytest.approx(p, abs=0.015) and got.top == pytest.approx(1.0, abs=0.02)


def test_flat_and_empty_curves_are_saturated_at_once() -> None:
    flat, empty = saturation([1, 2, 4], [0.6, 0.6, 0.6]), saturation([1, 2], [0.0, 0.0])
    assert flat.top == pytest.approx(0.6) and flat.rate == pytest.approx(1.0) and flat.enough(1e-6) == 1
    assert empty.at(100) == 0.0 and empty.enough(1e-9) == 0
    assert saturation([1, 8], [0.6, 0.5]).top == pytest.approx(0.55)  # it never falls


@pytest.mark.parametrize(
    ("ns", "accuracy", "says"),
    [
        ([4], [0.5], "two different numbers of draws"),
        ([4, 4], [0.5, 0.5], "two different numbers of draws"),
        ([1, 2], [0.5], "two different numbers of draws"),
        ([0, 2], [0.0, 0.5], "two different numbers of draws"),
        ([1, 2], [0.5, 50.0], "numbers from 0 to 1, found 0.5 to 50"),
        ([1, 2], [0.5, math.nan], "numbers from 0 to 1"),
    ],
)
def test_points_that_cannot_be_are_refused(ns, accuracy, says) -> None:
    with pytest.raises(InputError, match=says):
        saturation(ns, accuracy)
