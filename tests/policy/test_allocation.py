"""The allocator against linear programming, exhaustive search and greedy marginal allocation."""

import heapq
import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from autotts.errors import BudgetError, InputError
from autotts.policy.allocation import Point, cheapest_within_noise, envelope, frontier

POINTS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 30)), min_size=1, max_size=7).map(
    lambda pairs: [Point(f"arm{i}", v / 20, float(c)) for i, (v, c) in enumerate(pairs)]
)
CASES = st.lists(st.tuples(POINTS, st.integers(0, 4)), min_size=1, max_size=4).filter(lambda x: any(w for _, w in x))


def case(drawn):
    bins = {f"b{i}": points for i, (points, _) in enumerate(drawn)}
    return bins, {f"b{i}": float(w) for i, (_, w) in enumerate(drawn)}


def by_linear_program(bins, weights, budget):
    total = sum(weights.values())
    names = [(b, p) for b in bins for p in bins[b]]
    gains = [-weights[b] / total * p.value for b, p in names]
    costs = [[weights[b] / total * p.cost for b, p in names]]
    rows = [[1.0 if b == name else 0.0 for b, _ in names] for name in bins]
    solved = linprog(gains, A_ub=costs, b_ub=[budget], A_eq=rows, b_eq=[1.0] * len(bins), method="highs")
    assert solved.success
    return -solved.fun


@settings(max_examples=60, deadline=None)
@given(CASES, st.floats(0, 1))
def test_equals_the_linear_program(drawn, where):
    bins, weights = case(drawn)
    solved = frontier(bins, weights)
    low, high = solved.cheapest.cost, solved.best.cost
    budget = low + where * (high - low)
    found = solved.at(budget)
    assert found.value == pytest.approx(by_linear_program(bins, weights, budget + 1e-9), abs=1e-7)
    assert found.cost == pytest.approx(budget, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(CASES)
def test_a_vertex_is_the_best_of_all_pure_allocations_of_its_cost(drawn):
    bins, weights = case(drawn)
    total = sum(weights.values())
    pure = [
        (
            sum(weights[b] / total * p.cost for b, p in zip(bins, choice, strict=True)),
            sum(weights[b] / total * p.value for b, p in zip(bins, choice, strict=True)),
        )
        for choice in itertools.product(*bins.values())
    ]
    for vertex in frontier(bins, weights).breakpoints:
        assert vertex.value == pytest.approx(max(v for c, v in pure if c <= vertex.cost + 1e-9), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(CASES, st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_budget_is_met_value_never_falls_and_at_most_one_bin_is_mixed(drawn, places):
    bins, weights = case(drawn)
    solved = frontier(bins, weights)
    low, high = solved.cheapest.cost, solved.best.cost
    before = -1.0
    for place in sorted(places):
        found = solved.at(low + place * 1.2 * (high - low))
        assert found.cost <= low + place * 1.2 * (high - low) + 1e-9
        assert found.value >= before - 1e-12
        before = found.value
        assert sum(len(shares) > 1 for shares in found.route.values()) <= 1
        for name, shares in found.route.items():
            assert sum(s for _, s in shares) == pytest.approx(1)
            assert {arm for arm, _ in shares} <= {p.arm for p in bins[name]}
            assert all(0 < s <= 1 for _, s in shares)
    assert solved.at(float("inf")) == solved.best


@settings(max_examples=60, deadline=None)
@given(CASES, st.randoms(use_true_random=False), st.floats(0, 1))
def test_the_order_of_bins_and_arms_changes_nothing(drawn, rng, place):
    bins, weights = case(drawn)
    names = list(bins)
    rng.shuffle(names)
    shuffled = {name: rng.sample(bins[name], len(bins[name])) for name in names}
    first, second = frontier(bins, weights), frontier(shuffled, weights)
    budget = first.cheapest.cost + place * (first.best.cost - first.cheapest.cost)
    assert first.at(budget) == second.at(budget)
    assert first.breakpoints == second.breakpoints


@settings(max_examples=60, deadline=None)
@given(CASES, st.floats(0, 1))
def test_target_is_the_inverse_of_budget(drawn, place):
    bins, weights = case(drawn)
    solved = frontier(bins, weights)
    target = solved.cheapest.value + place * (solved.best.value - solved.cheapest.value)
    found = solved.for_target(target)
    assert found.value == pytest.approx(target, abs=1e-9)
    assert solved.at(found.cost).value == pytest.approx(found.value, abs=1e-9)
    with pytest.raises(BudgetError, match="best allocation has"):
        solved.for_target(solved.best.value + 1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_equals_greedy_marginal_allocation_on_concave_curves(seed):
    """Damani et al. 2024: samples for queries with success p, value 1 - (1 - p)^b, one by one by marginal gain."""
    rng = random.Random(seed)
    queries = [rng.random() for _ in range(4)]
    budget = rng.randint(0, 20)
    given_out = [0] * 4
    gains = [(-p, i) for i, p in enumerate(queries)]
    heapq.heapify(gains)
    for _ in range(budget):
        _, i = heapq.heappop(gains)
        given_out[i] += 1
        heapq.heappush(gains, (-queries[i] * (1 - queries[i]) ** given_out[i], i))
    greedy = sum(1 - (1 - p) ** b for p, b in zip(queries, given_out, strict=True)) / 4
    bins = {f"q{i}": [Point(str(b), 1 - (1 - p) ** b, b) for b in range(22)] for i, p in enumerate(queries)}
    found = frontier(bins, dict.fromkeys(bins, 1.0)).at(budget / 4)
    assert found.value == pytest.approx(greedy)
    assert [max(range(22), key=lambda b, i=i: dict(found.route[f"q{i}"]).get(str(b), 0)) for i in range(4)] == given_out


def test_one_bin_is_the_random_mixture_hull():
    arms = [Point("a", 0.2, 1), Point("b", 0.6, 5), Point("worse", 0.3, 4), Point("c", 0.7, 9)]
    solved = frontier({"all": arms}, {"all": 1})
    assert [p.arm for p in envelope(arms)] == ["a", "b", "c"]
    assert solved.at(3).route == {"all": (("a", 0.5), ("b", 0.5))}
    assert solved.at(3).value == pytest.approx(0.4)
    assert solved.at(5).route == {"all": (("b", 1.0),)}
    assert [v.cost for v in solved.breakpoints] == [1, 5, 9]


def test_below_the_cheapest_names_the_arm_and_its_cost():
    solved = frontier({"all": [Point("one(model=S)", 0.2, 10), Point("b", 0.6, 50)]}, {"all": 1})
    with pytest.raises(BudgetError, match=r"one\(model=S\) costs 10 a prompt"):
        solved.at(9.99)
    with pytest.raises(BudgetError, match="cap 5 is below the cheapest arm"):
        frontier({"all": [Point("a", 0.2, 10)]}, {"all": 1}, cap=5)


def test_the_cap_removes_dear_arms():
    bins = {"easy": [Point("a", 0.2, 1), Point("b", 0.9, 8)], "hard": [Point("a", 0.1, 2), Point("b", 0.5, 20)]}
    assert frontier(bins, {"easy": 1, "hard": 1}, cap=10).best.route == {
        "easy": (("b", 1.0),),
        "hard": (("a", 1.0),),
    }


@pytest.mark.parametrize(
    "bins, weights",
    [
        ({}, {}),
        ({"a": []}, {"a": 1}),
        ({"a": [Point("x", float("nan"), 1)]}, {"a": 1}),
        ({"a": [Point("x", 1, -1)]}, {"a": 1}),
        ({"a": [Point("x", 1, 1)]}, {"a": 0}),
        ({"a": [Point("x", 1, 1)]}, {"b": 1}),
    ],
)
def test_nonsense_is_refused(bins, weights):
    with pytest.raises(InputError):
        frontier(bins, weights)


def test_cheapest_within_noise():
    rng = np.random.default_rng(0)
    hard = rng.random(400)
    draws = np.stack([hard < p for p in (0.3, 0.79, 0.8, 0.8)]).astype(float)
    assert cheapest_within_noise(draws) == cheapest_within_noise(draws[[0, 1, 2]])
    assert cheapest_within_noise(draws) in (1, 2)
    # A clear difference on many prompts is not noise; the same on few is.
    worse = np.r_[np.zeros(40), np.ones(360)]
    assert cheapest_within_noise([worse, np.ones(400)]) == 1
    assert cheapest_within_noise([worse[38:50], np.ones(12)]) == 0
    # Prompts that stand for more traffic count more.
    assert cheapest_within_noise([[1.0, 0.0] * 50, [0.0, 1.0] * 50], weights=[1.0, 9.0] * 50) == 1
    assert cheapest_within_noise([[0.5], [0.6]]) == 1
    with pytest.raises(InputError):
        cheapest_within_noise([[float("nan"), 1.0]])


def test_messages_speak_the_unit():
    with pytest.raises(BudgetError, match=r"below the cheapest arm: a costs 51\.2 Mflops"):
        frontier({"all": [Point("a", 0.2, 51_200_000)]}, {"all": 1}, unit="flops").at(1e6)
