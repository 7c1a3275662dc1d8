"""All numbers of draws at once, against the enumeration of all subsets, and against the truth that they estimate."""

from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotts.estimate.curves import (
    absent,
    best_of_curve,
    countable,
    first_finish_curve,
    first_of,
    majority_curve,
    pass_curve,
)
from tests.estimate.test_exact import plurality, subsets

small = st.integers(1, 7)


def every(draws: int) -> range:
    return range(1, draws + 1)


@pytest.mark.parametrize("draws", range(1, 10))
def test_pass_is_the_enumeration_for_all_counts_and_all_k(draws) -> None:
    exact = [[1 - comb(draws - c, k) / comb(draws, k) for k in every(draws)] for c in range(draws + 1)]
    assert np.allclose(pass_curve(np.arange(draws + 1), draws, every(draws)), exact, atol=1e-12)
    assert np.allclose(1 - absent(draws, every(draws)), exact, atol=1e-12)
    ranks = [[comb(draws - 1 - i, k - 1) / comb(draws, k) for k in every(draws)] for i in range(draws)]
    assert np.allclose(first_of(draws, every(draws)), ranks, atol=1e-12)


@given(st.data(), small)
def test_best_of_is_the_enumeration(data, draws) -> None:
    score = data.draw(st.lists(st.integers(0, 3), min_size=draws, max_size=draws))
    value = data.draw(st.lists(st.integers(-5, 5), min_size=draws, max_size=draws))
    exact = []
    for k in every(draws):
        best = [[i for i in some if score[i] == max(score[j] for j in some)] for some in subsets(draws, k)]
        exact.append(np.mean([np.mean([value[i] for i in tied]) for tied in best]))
    got = best_of_curve(np.array([score, score], float), np.array([value, value], float), every(draws))
    assert np.allclose(got, [exact, exact], atol=1e-12)


def test_every_pool_of_up_to_six_draws_votes_as_enumerated() -> None:
    """All counts of up to three classes and unreadable ones, any of the classes right, all k: 3,000 cases or so."""
    for draws in range(1, 7):
        pools = [c for c in product(range(draws + 1), repeat=4) if sum(c) == draws and c[0] >= c[1] >= c[2]]
        gold = [np.array(r, float) for r in product([0, 1], repeat=3)]
        cases = [(c, r) for c in pools for r in gold]
        counts, mute = np.array([c[:3] for c, _ in cases]), np.array([c[3] for c, _ in cases])
        got = majority_curve(counts, np.array([r for _, r in cases]), mute, every(draws))
        for row, (c, r) in zip(got, cases):
            answers = [a for a in range(3) for _ in range(c[a])] + [-1] * c[3]
            right = set(np.flatnonzero(r).tolist())
            exact = [
                np.mean([plurality([answers[i] for i in s], right) for s in subsets(draws, k)]) for k in every(draws)
            ]
            assert np.allclose(row, exact, atol=1e-12), (c, r)


@settings(deadline=None)
@given(st.data(), small)
def test_a_vote_of_many_classes_is_the_enumeration(data, draws) -> None:
    """Two problems at once; classes that tie in twos, threes and more need more nodes."""
    rows = [data.draw(st.lists(st.integers(-1, 5), min_size=draws, max_size=draws)) for _ in range(2)]
    right = [data.draw(st.sets(st.integers(0, 5), max_size=3)) for _ in range(2)]
    counts = np.array([[row.count(a) for a in range(6)] for row in rows])
    gold = np.array([[a in r for a in range(6)] for r in right], float)
    got = majority_curve(counts, gold, np.array([row.count(-1) for row in rows]), every(draws))
    for i in range(2):
        exact = [
            np.mean([plurality([rows[i][j] for j in s], right[i]) for s in subsets(draws, k)]) for k in every(draws)
        ]
        assert np.allclose(got[i], exact, atol=1e-12)


def test_a_large_vote_loses_no_digits() -> None:
    """Whole fractions, by counting the ways of each number of votes: one rival, up to 128 draws."""
    a, b, mute = 61, 55, 12
    got = majority_curve(np.array([[a, b]]), np.array([[1.0, 0.0]]), np.array([mute]), every(a + b + mute))[0]
    for k in (1, 2, 3, 8, 31, 64, 100, 127, 128):
        twice = 0
        for x in range(min(a, k) + 1):
            for y in range(min(b, k - x, x) + 1):
                ways = comb(a, x) * comb(b, y) * (comb(mute, k - x - y) if k - x - y <= mute else 0)
                twice += ways * ((x > y) * 2 + (x == y > 0))
        assert got[k - 1] == pytest.approx(twice / (2 * comb(a + b + mute, k)), rel=1e-12)


def test_the_chances_of_all_classes_and_of_silence_add_up_to_one() -> None:
    counts, mute = np.array([[40, 40, 17, 5, *[1] * 16]]), np.array([10])
    each = sum(majority_curve(counts, np.eye(20)[[i]], mute, every(128)) for i in range(20))
    silent = [comb(10, k) / comb(128, k) for k in every(128)]
    assert np.allclose(each[0] + silent, 1.0, atol=1e-12)


def test_known_votes() -> None:
    ks = every(6)
    got = majority_curve(np.array([[3, 2, 1]]), np.array([[1.0, 0.0, 0.0]]), np.zeros(1, int), ks)[0]
    assert got[[0, 1, 5]].tolist() == pytest.approx([0.5, 0.5, 1.0])  # ties at random: two draws are one
    assert majority_curve(np.array([[5]]), np.ones((1, 1)), np.array([1]), ks)[0].tolist() == pytest.approx(
        [5 / 6] + [1] * 5
    )
    assert majority_curve(np.array([[0]]), np.ones((1, 1)), np.array([6]), ks)[0].tolist() == [0.0] * 6
    some = majority_curve(np.array([[3, 3]]), np.array([[0.5, 0.0]]), np.zeros(1, int), ks)[0]
    assert np.allclose(some, 0.25)  # a class half of whose draws are right
    assert majority_curve(np.zeros((0, 2), int), np.zeros((0, 2)), np.zeros(0, int), [3]).shape == (0, 1)


@settings(deadline=None)
@given(st.data(), small)
def test_first_finish_is_the_enumeration(data, draws) -> None:
    tokens = data.draw(st.lists(st.integers(1, 5), min_size=draws, max_size=draws))
    readable = data.draw(st.lists(st.booleans(), min_size=draws, max_size=draws))
    right = [can and data.draw(st.booleans()) for can in readable]
    price = [3 * t + t * t for t in tokens]  # rises with the tokens
    args = (np.array([tokens] * 2, float), np.array([readable] * 2))
    got = first_finish_curve(
        *args, every(draws), value=np.array([right] * 2, float), price=np.array([price] * 2, float)
    )
    for k in every(draws):
        value, total, wait = [], [], []
        for some in combinations(range(draws), k):
            ends = [tokens[i] for i in some if readable[i]] or [max(tokens[i] for i in some)]
            stop = min(ends)
            value.append(np.mean([right[i] for i in some if tokens[i] == stop and readable[i]] or [0.0]))
            total.append(sum(min(price[i], 3 * stop + stop * stop) for i in some))
            wait.append(stop)
        assert np.allclose(got.value[:, k - 1], np.mean(value), atol=1e-12)
        assert np.allclose(got.total[:, k - 1], np.mean(total))
        assert np.allclose(got.sequential[:, k - 1], np.mean(wait))


def test_first_finish_costs_n_times_the_shortest() -> None:
    tokens = np.array([[5.0, 3.0, 9.0, 4.0, 7.0]])
    got = first_finish_curve(tokens, np.ones((1, 5), bool), every(5), value=tokens, price=tokens)
    assert np.allclose(got.total, got.sequential * np.arange(1, 6)) and np.allclose(got.value, got.sequential)
    assert np.allclose(got.sequential, best_of_curve(-tokens, tokens, every(5)))


@given(st.lists(st.integers(0, 4), min_size=2, max_size=40))
def test_a_vote_of_one_or_two_is_one_draw_and_of_all_is_the_plurality(answers) -> None:
    counts, draws = np.array([np.bincount(answers, minlength=5)]), len(answers)
    got = majority_curve(counts, np.eye(5)[[0]], np.zeros(1, int), every(draws))[0]
    assert got[0] == pytest.approx(counts[0, 0] / draws) == pytest.approx(got[1])
    assert got[-1] == pytest.approx(plurality(answers, {0}))


def test_first_finish_is_unbiased() -> None:
    """Over random pools of six, the mean is that of three fresh draws; right ones tend to be shorter."""
    rng = np.random.default_rng(1)

    def drawn(rows: int, draws: int) -> tuple[np.ndarray, ...]:
        right, readable = rng.random((rows, draws)) < 0.4, rng.random((rows, draws)) < 0.8
        return rng.geometric(np.where(right, 0.3, 0.15)).astype(float), readable, (right & readable).astype(float)

    tokens, readable, right = drawn(6000, 6)
    got = first_finish_curve(tokens, readable, [3], value=right, price=tokens)
    tokens, readable, right = drawn(60_000, 3)
    stop = np.where(readable.any(1), np.where(readable, tokens, np.inf).min(1), tokens.max(1))
    tied = readable & (tokens == stop[:, None])
    value = (right * tied).sum(1) / np.maximum(tied.sum(1), 1)
    for ours, fresh in [
        (got.value[:, 0], value),
        (got.total[:, 0], np.minimum(tokens, stop[:, None]).sum(1)),
        (got.sequential[:, 0], stop),
    ]:
        assert abs(ours.mean() - fresh.mean()) < 4 * (ours.var() / len(ours) + fresh.var() / len(fresh)) ** 0.5


def test_curves_are_unbiased() -> None:
    """The mean over random pools is the true value of k fresh draws, from the chances of three answers and silence."""
    chances, draws, ks = np.array([0.4, 0.3, 0.2, 0.1]), 6, [2, 3, 5]
    drawn = np.random.default_rng(0).choice(4, (20000, draws), p=chances)
    counts = np.stack([(drawn == a).sum(1) for a in range(3)], 1)
    got = majority_curve(counts, np.tile([1.0, 0.0, 0.0], (20000, 1)), (drawn == 3).sum(1), ks)
    passed = pass_curve(counts[:, 0], draws, ks)
    for i, k in enumerate(ks):
        tuples = [list(s) for s in product(range(4), repeat=k)]
        truth = sum(chances[s].prod() * plurality([a if a < 3 else -1 for a in s], {0}) for s in tuples)
        assert abs(got[:, i].mean() - truth) < 4 * got[:, i].std() / 20000**0.5
        assert abs(passed[:, i].mean() - (1 - 0.6**k)) < 4 * passed[:, i].std() / 20000**0.5


def test_what_cannot_be_counted_is_refused() -> None:
    for ks in ([0], [5], [], [2, 9]):
        with pytest.raises(ValueError, match="expected 1 to 4 draws"):
            pass_curve(np.array([1]), 4, ks)
    with pytest.raises(ValueError, match="found NaN"):
        best_of_curve(np.array([[np.nan, 1.0]]), np.zeros((1, 2)), [1])
    with pytest.raises(ValueError, match="as many draws of each problem, found 2 to 3"):
        majority_curve(np.array([[2], [3]]), np.ones((2, 1)), np.zeros(2, int), [1])
    assert countable(1000, 500) and countable(100_000, 64) and not countable(4000, 2000)
    with pytest.raises(ValueError, match="too many to be counted"):
        majority_curve(np.array([[4000]]), np.ones((1, 1)), np.zeros(1, int), [2000])
