"""Figures of routers: by hand, against RouteLLM's own formula, and against every order of equal scores."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autotts.estimate.routers import Routed, routed

WEAK = np.array([0.0, 0.0, 1.0, 1.0])
STRONG = np.array([1.0, 1.0, 1.0, 0.0])
PAIRS = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 3)), min_size=2, max_size=5)


def columns(pairs: list[tuple[bool, bool, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    weak, strong, score = np.array(pairs, float).T
    assume(strong.sum() > weak.sum())
    return weak, strong, score


def test_by_hand() -> None:
    found = routed(WEAK, STRONG, np.array([4.0, 3.0, 2.0, 1.0]))
    assert found.share.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert found.pgr.tolist() == [0, 1, 2, 2, 1]
    assert found.apgr == 0.25 * (0.5 + 1.5 + 2 + 1.5)
    assert [found.cpt(x) for x in (0.2, 0.5, 1)] == pytest.approx([0.05, 0.125, 0.25])


def test_a_router_that_knows_nothing_is_a_straight_line() -> None:
    found = routed(WEAK, STRONG, np.zeros(4))
    assert found.apgr == 0.5
    assert [found.cpt(x) for x in (0.2, 0.5, 0.8)] == [0.2, 0.5, 0.8]


def test_the_least_share_counts_where_the_gain_falls_again() -> None:
    falling = Routed(np.array([0, 0.2, 0.4, 1]), np.array([0, 0.6, 0.1, 1]))
    assert falling.cpt(0.5) == pytest.approx(0.5 / 0.6 * 0.2)
    assert falling.cpt(0.8) == pytest.approx(0.4 + 0.6 * 0.7 / 0.9)


@given(PAIRS)
def test_equal_scores_are_the_mean_over_all_orders(pairs: list[tuple[bool, bool, int]]) -> None:
    weak, strong, score = columns(pairs)
    areas = []
    for order in itertools.permutations(range(len(weak))):
        places = np.array(order, float) / 10  # breaks ties, and nothing else
        areas.append(routed(weak, strong, score + places).apgr)
    assert routed(weak, strong, score).apgr == pytest.approx(np.mean(areas))


@given(PAIRS)
def test_no_router_beats_the_oracle_at_any_share(pairs: list[tuple[bool, bool, int]]) -> None:
    weak, strong, score = columns(pairs)
    best, found = routed(weak, strong, strong - weak), routed(weak, strong, score)
    shares = np.linspace(0, 1, 21)
    gap = np.interp(shares, best.share, best.pgr) - np.interp(shares, found.share, found.pgr)
    assert (gap > -1e-9).all() and best.apgr >= found.apgr - 1e-9
    assert all(best.cpt(x) <= found.cpt(x) + 1e-9 for x in (0.2, 0.5, 0.8))


def test_the_area_is_that_of_routellm_between_its_two_models() -> None:
    rng = np.random.default_rng(0)
    weak, strong = (rng.random(50) < 0.4).astype(float), (rng.random(50) < 0.8).astype(float)
    score = rng.permutation(50).astype(float)
    cuts = np.sort(score)[::-1]
    accuracy = np.array([weak.mean(), *(np.where(score >= cut, strong, weak).mean() for cut in cuts)])
    share = np.arange(51) / 50
    area = float(np.diff(share) @ (accuracy[1:] + accuracy[:-1]) / 2)
    found = routed(weak, strong, score)
    assert found.apgr == pytest.approx((area - weak.mean()) / (strong.mean() - weak.mean()))
    # All to the weak model, and all to the strong one.
    assert (found.share[0], found.pgr[0], found.share[-1], found.pgr[-1]) == (0, 0, 1, 1)


def test_chances_between_0_and_1_count_as_they_are() -> None:
    found = routed(np.array([0.25, 0.5]), np.array([0.75, 1.0]), np.array([1.0, 0.0]))
    assert found.pgr.tolist() == [0, 0.5, 1]


def test_what_has_no_meaning_is_refused() -> None:
    with pytest.raises(ValueError, match="right more often"):
        routed(STRONG, WEAK, np.zeros(4))
    with pytest.raises(ValueError, match="above 0 and up to 1, found 0"):
        routed(WEAK, STRONG, np.zeros(4)).cpt(0)
