import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotts.errors import InputError
from autotts.estimate.intervals import resample

values = st.lists(st.floats(-10, 10), min_size=1, max_size=30)


def test_the_interval_of_a_mean_is_that_of_the_normal_law() -> None:
    x = np.random.default_rng(0).normal(2.0, 3.0, 400)
    got = resample([1] * 400, rounds=4000).mean(x)
    error = x.std() / 20
    assert got.value == pytest.approx(x.mean())
    assert got.low == pytest.approx(x.mean() - 1.96 * error, abs=0.15 * error)
    assert got.high == pytest.approx(x.mean() + 1.96 * error, abs=0.15 * error)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng, held = np.random.default_rng(1), 0
    levels = [1] * 40 + [2] * 20
    truth = 0.7 * 0.9 + 0.3 * 0.5
    for i in range(300):
        x = np.concatenate([rng.random(40) < 0.9, rng.random(20) < 0.5]).astype(float)
        got = resample(levels, {1: 0.7, 2: 0.3}, seed=i, rounds=300).mean(x)
        held += got.low <= truth <= got.high
    assert 0.89 <= held / 300 <= 0.98


def test_levels_are_weighted_by_their_share_and_resampled_apart() -> None:
    levels, x = ["a", "a", "b", "b", "b"], [1.0, 1.0, 0.0, 0.0, 0.0]
    got = resample(levels, {"a": 3, "b": 1}).mean(x)
    assert got.value == pytest.approx(0.75)
    assert got.low == pytest.approx(0.75) and got.high == pytest.approx(0.75)  # no noise within a level
    assert resample(levels).mean(x).value == pytest.approx(0.4)


@given(values)
def test_an_arm_does_not_differ_from_itself(x) -> None:
    some = resample([1] * len(x), rounds=50)
    got = some.difference(x, x)
    assert (got.value, got.low, got.high) == (0.0, 0.0, 0.0)
    assert some.mean(x) == resample([1] * len(x), rounds=50).mean(x)  # the same seed


def test_paired_differences_are_sharper_than_two_intervals() -> None:
    rng = np.random.default_rng(2)
    base = rng.random(200)
    some = resample([1] * 200)
    got = some.difference(base + 0.01, base)
    assert got.low == pytest.approx(0.01) and got.high == pytest.approx(0.01)
    assert some.mean(base).high - some.mean(base).low > 0.05


@given(values, st.sampled_from([0.1, 0.5, 0.95, 1.0]))
def test_the_quantile_of_equal_weights_is_that_of_the_sorted_values(x, share) -> None:
    got = resample([1] * len(x), rounds=50).quantile(x, share)
    assert got.value == sorted(x)[max(0, int(np.ceil(share * len(x) - 1e-6)) - 1)]
    assert min(x) <= got.low <= got.value <= got.high <= max(x)


def test_the_quantile_of_a_mix_counts_traffic_and_not_prompts() -> None:
    levels, cost = [1] * 9 + [2], [1.0] * 9 + [50.0]
    assert resample(levels).quantile(cost, 0.85).value == 1.0
    assert resample(levels, {1: 0.8, 2: 0.2}).quantile(cost, 0.85).value == 50.0


def test_a_ratio_is_of_the_means() -> None:
    some = resample([1] * 4)
    got = some.ratio([2.0, 4.0, 6.0, 8.0], [1.0, 2.0, 3.0, 4.0])
    assert got.value == pytest.approx(2.0) and got.low == pytest.approx(2.0) and got.high == pytest.approx(2.0)


def test_bad_mixes_are_refused() -> None:
    for levels, mix, says in [
        ([], None, "at least one prompt"),
        ([1], {1: 0.5, 2: 0.5}, "no prompt is of that level"),
        ([1, 3], {1: 1.0}, "level 3 of a prompt is not in the mix"),
        ([1], {1: 0.0}, "not all be zero"),
    ]:
        with pytest.raises(InputError, match=says):
            resample(levels, mix)
    with pytest.raises(ValueError, match="one number for each of 2 prompts"):
        resample([1, 1]).mean([1.0])
