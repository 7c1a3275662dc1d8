"""Each formula against the enumeration of all subsets, and against the truth it estimates."""

from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotts.estimate.exact import absent, best_of_k, distinct_at_k, longest_of_k, majority_at_k, pass_at_k

small = st.integers(1, 7)


def subsets(draws: int, k: int) -> list[list[int]]:
    return [list(c) for c in combinations(range(draws), k)]


def plurality(answers: list[int], right: set[int]) -> float:
    """The probability that the vote is right, ties at random; -1 cannot be read."""
    votes = {a: answers.count(a) for a in answers if a >= 0}
    top = [a for a in votes if votes[a] == max(votes.values())]
    return sum(a in right for a in top) / len(top) if top else 0.0


def test_pass_at_k_is_the_enumeration() -> None:
    for draws in range(1, 9):
        for k in range(1, draws + 1):
            exact = [1 - comb(draws - c, k) / comb(draws, k) for c in range(draws + 1)]
            assert np.allclose(pass_at_k(np.arange(draws + 1), draws, k), exact, atol=1e-12)
            assert np.allclose(1 - absent(draws, k), exact, atol=1e-12)


def test_pass_at_k_is_one_where_too_few_are_wrong() -> None:
    assert pass_at_k(np.array([0, 61, 64]), 64, 4).tolist() == [0.0, 1.0, 1.0]


@given(st.data(), small)
def test_best_of_k_is_the_enumeration(data, draws) -> None:
    k = data.draw(st.integers(1, draws))
    score = data.draw(st.lists(st.integers(0, 3), min_size=draws, max_size=draws))
    value = data.draw(st.lists(st.integers(-5, 5), min_size=draws, max_size=draws))
    each = []
    for some in subsets(draws, k):
        best = [i for i in some if score[i] == max(score[j] for j in some)]
        each.append(np.mean([value[i] for i in best]))
    got = best_of_k(np.array([score, score], float), np.array([value, value], float), k)
    assert np.allclose(got, np.mean(each), atol=1e-12)


@given(st.data(), small)
def test_best_of_k_has_the_known_special_cases(data, draws) -> None:
    k = data.draw(st.integers(1, draws))
    right = np.array([data.draw(st.lists(st.booleans(), min_size=draws, max_size=draws))], float)
    assert np.allclose(best_of_k(right, right, k), pass_at_k(right.sum(1).astype(int), draws, k))
    assert np.allclose(best_of_k(np.zeros((1, draws)), right, k), right.mean(1))


@given(st.data(), small)
def test_distinct_at_k_is_the_enumeration(data, draws) -> None:
    k = data.draw(st.integers(1, draws))
    texts = data.draw(st.lists(st.integers(0, 3), min_size=draws, max_size=draws))
    price = [10.0**t for t in texts]
    each = [sum(10.0**t for t in {texts[i] for i in some}) for some in subsets(draws, k)]
    assert np.allclose(distinct_at_k(np.array([price]), np.array([texts]), k), np.mean(each))


@settings(deadline=None)
@given(st.data(), small)
def test_majority_at_k_is_the_enumeration(data, draws) -> None:
    """Two problems at once, with none, one or several right classes."""
    k = data.draw(st.integers(1, draws))
    rows = [data.draw(st.lists(st.integers(-1, 3), min_size=draws, max_size=draws)) for _ in range(2)]
    right = [data.draw(st.sets(st.integers(0, 3), max_size=2)) for _ in range(2)]
    counts = np.array([[row.count(a) for a in range(4)] for row in rows])
    gold = np.array([[a in r for a in range(4)] for r in right])
    mute = np.array([row.count(-1) for row in rows])
    exact = [np.mean([plurality([row[i] for i in s], r) for s in subsets(draws, k)]) for row, r in zip(rows, right)]
    assert np.allclose(majority_at_k(counts, gold, mute, k), exact, atol=1e-12)


def test_majority_identities() -> None:
    counts, right = np.array([[3, 2, 1]]), np.array([[True, False, False]])
    nothing = np.zeros(1, int)
    assert np.allclose(majority_at_k(counts, right, nothing, 1), 0.5)
    assert np.allclose(majority_at_k(counts, right, nothing, 2), 0.5)  # ties at random: two draws are one
    assert np.allclose(majority_at_k(counts, right, nothing, 6), 1.0)
    assert np.allclose(majority_at_k(np.array([[5]]), np.array([[True]]), np.array([1]), 2), 1.0)
    assert np.allclose(majority_at_k(np.array([[0]]), np.array([[True]]), np.array([4]), 2), 0.0)


def test_majority_of_large_pools_stays_accurate() -> None:
    counts, right = np.array([[80, 48, 64, 32, 16, 8, 8]]), np.array([[True] + [False] * 6])
    total = [majority_at_k(counts, np.eye(7, dtype=bool)[[a]], np.zeros(1, int), 16)[0] for a in range(7)]
    assert abs(sum(total) - 1) < 1e-9
    assert total[0] == majority_at_k(counts, right, np.zeros(1, int), 16)[0]


def test_estimates_are_unbiased() -> None:
    """The mean over random pools is the true value of k fresh draws: by hand, from the chances of three answers."""
    chances, k, draws = np.array([0.5, 0.3, 0.2]), 3, 6
    pools = np.random.default_rng(0).choice(3, (20000, draws), p=chances)
    counts = np.stack([(pools == a).sum(1) for a in range(3)], 1)
    right = np.tile([True, False, False], (len(pools), 1))
    truth = sum(chances[list(s)].prod() * plurality(list(s), {0}) for s in product(range(3), repeat=k))
    got = majority_at_k(counts, right, np.zeros(len(pools), int), k)
    assert abs(got.mean() - truth) < 4 * got.std() / len(got) ** 0.5
    got = pass_at_k(counts[:, 0], draws, k)
    assert abs(got.mean() - (1 - 0.5**3)) < 4 * got.std() / len(got) ** 0.5


@given(st.data(), small)
def test_the_longest_of_k_is_the_enumeration(data, draws) -> None:
    k = data.draw(st.integers(1, draws))
    tokens = data.draw(st.lists(st.integers(1, 9), min_size=draws, max_size=draws))
    each = [max(tokens[i] for i in some) for some in subsets(draws, k)]
    assert np.allclose(longest_of_k(np.array([tokens], float), k), np.mean(each))


def test_more_draws_than_recorded_are_refused() -> None:
    for k in (0, 5):
        with pytest.raises(ValueError, match="expected 1 to 4 draws"):
            pass_at_k(np.array([1]), 4, k)
