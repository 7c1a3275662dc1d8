import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotts.errors import InputError
from autotts.estimate.racing import GRID, HORIZONS, RECKLESS, SHARES, TRUST, _drawn, lower, upper

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


@pytest.mark.parametrize(
    ("prompts", "alpha", "low", "above", "below"),
    [(8, 0.01, -1.0, 1.0, -1.0), (32, 0.004, -1.0, 0.301, -0.289), (300, 0.1, 0.0, 0.262, 0.2135)],
)
def test_without_a_population_the_bound_is_what_it_was(prompts, alpha, low, above, below) -> None:
    rng = np.random.default_rng(prompts)
    x = np.round(rng.uniform(low, 1, prompts) ** 3, 3)
    assert (upper(x, alpha, low=low), lower(x, alpha, low=low)) == pytest.approx((above, below), abs=1e-12)


# ---------------------------------------------------------------- without replacement


def slope(pairs: list[tuple[float, float]], whole: float) -> float:
    """The share of a guess's surprise that is taken off after these (value, guess)s."""
    if not pairs or whole == 0:
        return 1.0
    x, g = np.array(pairs).T
    trust = TRUST * whole
    both = ((x - x.mean()) * (g - g.mean())).sum() + trust
    return float(np.clip(both / (((g - g.mean()) ** 2).sum() + trust), 0, 1))


def gambled(values, alpha, claim, tops, guesses) -> list[float]:  # type: ignore[no-untyped-def]
    """The wealth after each value of gamblers who know the size of the population, value by value; all in [0, 1]."""
    size = len(tops)
    whole = []
    for guess in [None, *guesses]:
        parts, seen = np.ones(len(SHARES)), []
        bet_on: list[float] = []
        path = []
        for t, x in enumerate(values):
            mean = (size * claim - sum(values[:t])) / (size - t)
            surprise, top = 0.0, max(tops[t:])
            if guess is not None:
                share = slope(seen, np.var(guess))
                middle = np.mean(guess[t:])
                surprise = share * (guess[t] - middle)
                top = max(m - share * (g - middle) for m, g in zip(tops[t:], guess[t:]))
                seen.append((x, guess[t]))
            total = squares = 0.0
            for s, earlier in enumerate(bet_on, 1):
                total += earlier
                squares += (earlier - (0.5 + total) / (s + 1)) ** 2
            variance = (0.25 + squares) / (t + 1)
            for i, share_of in enumerate(SHARES):
                horizon = size * share_of / (1 - share_of)
                stake = math.sqrt(2 * math.log(1 / alpha) / (variance * horizon)) * size / (size - t)
                stake = min(stake, RECKLESS / max(top - mean, 1e-12))
                parts[i] *= 1 - stake * (x - surprise - mean)
            bet_on.append(x - surprise)
            path.append(parts.mean())
        whole.append(path)
    return [float(v) for v in np.mean(whole, axis=0)]


POPULATION = [0.0, 0.0, 0.1, 0.5, 1.0, 1.0]
GUESS = [0.0, 0.4, 0.1, 0.2, 1.0, 0.7]
TOPS = [0.9, 0.5, 0.8, 0.6, 1.0, 1.0]


@pytest.mark.parametrize("guesses", [[], [GUESS], [GUESS, [1 - g for g in GUESS]], [[0.3] * 6]])
def test_over_all_orders_the_mean_wealth_against_the_truth_is_one(guesses) -> None:
    """A martingale exactly, whatever the guess; and in at most a share alpha of the orders the bound is ever wrong."""
    alpha, mean, wealth_, wrong, orders = 0.3, float(np.mean(POPULATION)), 0.0, 0, 0
    for order in itertools.permutations(range(6)):
        values, tops, *known = (np.array(a)[list(order)] for a in (POPULATION, TOPS, *guesses))
        wealth_ += gambled(values, alpha, mean, tops, known)[-2]  # the last value is certain
        bound = upper(values[:5], alpha, low=0.0, population=6, tops=tops, guesses=np.array(known) if known else None)
        wrong += bound < mean - 1e-12
        orders += 1
    assert wealth_ / orders == pytest.approx(1.0, abs=1e-9)
    assert wrong <= alpha * orders


def test_bets_without_replacement_are_what_a_gambler_would_do_by_hand() -> None:
    rng, alpha = np.random.default_rng(4), 0.05
    for size in (5, 16, 32):
        tops = rng.uniform(0.5, 1, size)
        x, guesses = rng.random(size) * tops, rng.random((2, size))
        for n in (1, size // 2, size - 1):
            bets = _drawn(x[:n], alpha, tops, guesses)
            for claim in (0.1, 0.3, 0.5):
                expected = max(gambled(x[:n], alpha, claim, tops, guesses))
                assert bets.wealth(claim) == pytest.approx(math.log(expected), abs=1e-9)


def equal(rng: np.random.Generator, prompts: int) -> np.ndarray:
    """Differences of two arms, in random order, whose mean over all prompts is zero."""
    half = int(rng.integers(1, prompts // 2 + 1))
    return rng.permutation(np.r_[np.ones(half), -np.ones(half), np.zeros(prompts - 2 * half)])


GUESSING = {
    "none": lambda d, rng: None,
    "right": lambda d, rng: d[None],
    "useless": lambda d, rng: rng.permutation(d)[None],
    "wrong": lambda d, rng: -d[None],
    "both": lambda d, rng: np.array([d, -d]) / 2,
}


@pytest.mark.parametrize("kind", GUESSING)
@pytest.mark.parametrize("prompts", [16, 32])
def test_an_arm_equal_over_all_prompts_is_dropped_at_most_at_the_error_rate(kind, prompts) -> None:
    rng, alpha, runs = np.random.default_rng(6), 0.1, 300
    wrong = 0
    for _ in range(runs):
        d = equal(rng, prompts)
        wrong += upper(d[:-1], alpha, population=prompts, guesses=GUESSING[kind](d, rng)) < 0  # at any look before
    assert wrong <= alpha * runs + 3 * (alpha * (1 - alpha) * runs) ** 0.5


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(0, 1)), min_size=1, max_size=40), st.data())
def test_bounds_without_replacement_never_rise_and_end_at_the_mean(rows, data) -> None:
    x, guess, slack = (np.array(column) for column in zip(*rows))
    alpha = data.draw(st.floats(0.001, 0.5))
    tops = np.minimum(x + slack, 1.0)
    known = {"population": len(x), "guesses": guess, "tops": tops}
    bounds = [upper(x[:n], alpha, **known) for n in range(len(x) + 1)]
    assert max(np.diff(bounds)) <= 1e-12
    assert bounds[0] == pytest.approx(tops.mean()) and bounds[-1] <= x.mean() + 1e-9


@pytest.mark.parametrize("better", [-2, 0, 2])
def test_all_prompts_tell_the_sign_of_the_mean(better) -> None:
    d = np.r_[np.zeros(20), np.tile([-1.0, 1.0], 5), np.sign(better) * np.ones(abs(better))]
    for seed in range(20):
        x = np.random.default_rng(seed).permutation(d)
        assert upper(x, 0.01, population=len(x)) == pytest.approx(x.mean(), abs=1e-12)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=60), st.floats(0, 1), st.data())
def test_the_worst_guess_costs_no_more_than_half_of_the_wealth(rows, claim, data) -> None:
    x, guess = (np.array(column) for column in zip(*rows))
    n, tops = data.draw(st.integers(1, len(x))), np.ones(len(x))
    for bad in (guess, 1 - x):
        plain = _drawn(x[:n], 0.01, tops, np.ones((0, len(x)))).wealth(claim)
        assert _drawn(x[:n], 0.01, tops, bad[None]).wealth(claim) >= plain - math.log(2) - 1e-9


@pytest.mark.parametrize(("prompts", "least"), [(32, 0.85), (64, 0.65), (150, 0.65)])
def test_a_population_and_a_good_guess_each_stop_a_worse_arm_sooner(prompts, least) -> None:
    """Half of the prompts are easy, half are hard; the guess knows which, the frontier is right on some of both."""
    rng, alpha, looks = np.random.default_rng(7), 0.005, range(8, prompts, 8)
    took = np.zeros(3)
    for _ in range(40):
        easy = rng.random(prompts) < 0.5
        chance = np.where(easy, 0.9, 0.05)
        other = (rng.random(prompts) < np.where(easy, 0.95, 0.55)).astype(float)
        d = (rng.random(prompts) < chance) - other
        for i, known in enumerate(
            ({}, {"population": prompts}, {"population": prompts, "guesses": chance - other, "tops": 1 - other})
        ):
            took[i] += next((n for n in looks if upper(d[:n], alpha, **known) < 0), prompts)
    assert took[1] < took[0] and took[2] < took[1] and took[2] < least * took[0]


def test_bad_populations_are_refused() -> None:
    with pytest.raises(InputError, match="population: expected at least 3, the values seen, found 2"):
        upper([0.0] * 3, 0.05, population=2)
    with pytest.raises(InputError, match="tell of, found None"):
        upper([0.0], 0.05, guesses=np.zeros(3))
    with pytest.raises(InputError, match=r"guesses: expected \[rows, 3\] for 3 values, found the shape \(1, 2\)"):
        upper([0.0], 0.05, population=3, guesses=np.zeros(2))
    with pytest.raises(InputError, match="guesses: expected finite numbers, found 1 that are not"):
        upper([0.0], 0.05, population=2, guesses=np.array([0.0, np.nan]))
    with pytest.raises(InputError, match="tops: expected numbers that no value is above"):
        upper([0.5], 0.05, population=2, tops=np.zeros(2))
