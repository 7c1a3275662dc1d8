"""Arms by problems: the choice of a frontier, what it is worth on problems, and the caution that it is made with."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotts.core.task import Problem
from autotts.policy.allocation import Point, frontier
from autotts.search.board import Board, Curve, Line, solve, spread, undominated, used

ONE, TWO, FOUR, EIGHT = "one(model=S)", "vote(n=2, model=S)", "vote(n=4, model=S)", "vote(n=8, model=S)"
ADAPTIVE, ESC = "adaptive(most=4, model=S)", "esc(most=4, window=2, model=S)"
ARMS = (ONE, TWO, FOUR, EIGHT, ADAPTIVE, ESC)

seeds = st.integers(0, 10**6)


def board(value: object, cost: object, arms: tuple[str, ...] = ARMS) -> Board:
    """A board of so many arms; a cost of one number each is that of all problems."""
    v = np.asarray(value, float)
    c = np.asarray(cost, float)
    c = np.broadcast_to(c[:, None], v.shape).copy() if c.ndim == 1 else c
    problems = [Problem(f"p{i}", f"what is {i}?", "gold") for i in range(v.shape[1])]
    return Board("tokens", problems, arms[: len(v)], v, c, 2 * c, c / 2)


def every(of: Board) -> np.ndarray:
    return np.ones(len(of.arms), bool)


def rows(of: Board) -> np.ndarray:
    return np.arange(len(of.problems))


def together(of: Board) -> Curve:
    """The frontier of all problems, chosen and used on all of them."""
    chosen = solve(of, every(of), rows(of), np.ones((1, len(of.problems))), ["all"], caution=2.0)
    return Curve(of, (used(chosen, of, rows(of), ["all"] * len(of.problems)),))


# ---------------------------------------------------------------- the choice


@settings(max_examples=30)
@given(seeds, st.integers(1, 6), st.integers(1, 3))
def test_where_problems_are_alike_it_is_the_frontier_of_the_means(seed: int, arms: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    v, c = rng.random((arms, bins)), rng.uniform(1, 9, (arms, bins))
    counts = rng.integers(2, 4, bins)
    of = board(np.repeat(v, counts, 1), np.repeat(c, counts, 1))
    owner = np.repeat(np.arange(bins), counts)
    names = [f"b{b}" for b in range(bins)]
    chosen = solve(of, every(of), rows(of), (np.arange(bins)[:, None] == owner).astype(float), names)
    plain = frontier(
        {n: [Point(of.arms[a], v[a, b], c[a, b]) for a in range(arms)] for b, n in enumerate(names)},
        dict(zip(names, counts.tolist(), strict=True)),
    )
    assert chosen.nominal == pytest.approx([vertex.cost for vertex in plain.breakpoints])
    assert [dict(route) for route in chosen.routes] == [
        {name: shares[0][0] for name, shares in vertex.route.items()} for vertex in plain.breakpoints
    ]


@settings(max_examples=30)
@given(seeds, st.integers(2, 30))
def test_every_vertex_costs_more_and_is_right_more_often(seed: int, problems: int) -> None:
    rng = np.random.default_rng(seed)
    of = board(rng.integers(0, 5, (6, problems)) / 4, rng.uniform(1, 9, (6, problems)))
    curve = together(of)
    nominal = curve.lines[0].nominal
    means = [curve.means(float(b)) for b in nominal]
    assert (np.diff(nominal) > 0).all() and (np.diff([value for value, _ in means]) > 0).all()
    assert [cost for _, cost in means] == pytest.approx(nominal.tolist())
    assert nominal[0] == pytest.approx(of.cost.mean(1).min())


def test_of_equal_means_the_one_whose_gains_vary_is_not_preferred() -> None:
    base = np.full(24, 0.5)
    steady, risky = base + 0.1, base + np.tile([0.4, -0.2], 12)  # a gain of 0.1 each
    for lead in (0.0, 0.03):  # also where it looks a little better
        of = board([base, steady, risky + lead], [1.0, 2.0, 2.0], (ONE, ADAPTIVE, ESC))
        assert set(np.unique(together(of).lines[0].choice)) == {0, 1}
    # Cheaper but unsure does not keep out what is surely better than one draw.
    of = board([base, steady, risky], [1.0, 2.0, 1.9], (ONE, ADAPTIVE, ESC))
    assert 1 in together(of).lines[0].choice


def test_with_many_problems_the_choice_is_by_means() -> None:
    few = np.array([0.5, 0.5]), np.array([0.6, 0.6]), np.array([0.93, 0.33])
    for times, expected in ((12, {0, 1}), (4000, {0, 2})):
        of = board([np.tile(x, times) for x in few], [1.0, 2.0, 2.0], (ONE, ADAPTIVE, ESC))
        assert set(np.unique(together(of).lines[0].choice)) == expected


def test_plain_votes_are_not_doubted() -> None:
    rng = np.random.default_rng(0)
    value = rng.random((4, 10))
    value = value - value.mean(1, keepdims=True) + np.array([0.4, 0.5, 0.55, 0.57])[:, None]
    of = board(value, [1.0, 2.0, 4.0, 8.0])
    assert together(of).lines[0].choice[:, 0].tolist() == [0, 1, 2, 3]


def test_gains_are_those_over_the_hull_of_plain_votes() -> None:
    poor = np.tile([0.7, 0.1], 10)  # a vote that nobody would take, and that varies much
    of = board([[0.5] * 20, poor, [0.7] * 20, [0.65] * 20], [1.0, 2.0, 3.0, 2.0], (ONE, TWO, FOUR, ADAPTIVE))
    chosen = solve(of, every(of), rows(of), np.ones((1, 20)), ["all"], caution=2.0)
    assert [route["all"] for route in chosen.routes] == [ONE, ADAPTIVE, FOUR]


def test_only_open_arms_and_only_its_rows_are_looked_at() -> None:
    value = np.array([[0.2] * 6, [0.9] * 3 + [0.0] * 3, [0.0] * 3 + [0.9] * 3])
    of = board(value, [1.0, 2.0, 2.0])
    ones = np.ones((1, 3))
    first = solve(of, every(of), np.arange(3), ones, ["all"])
    assert [route["all"] for route in first.routes] == [ONE, TWO]
    assert [r["all"] for r in solve(of, every(of), np.arange(3, 6), ones, ["all"]).routes] == [ONE, FOUR]
    closed = np.array([True, False, True])
    assert [r["all"] for r in solve(of, closed, np.arange(3), ones, ["all"]).routes] == [ONE]


def test_a_problem_may_belong_to_bins_in_part() -> None:
    of = board([[0.1, 0.5], [0.7, 0.6]], [1.0, 3.0], (ONE, TWO))
    member = np.array([[0.75, 0.25], [0.25, 0.75]])
    chosen = solve(of, every(of), rows(of), member, ["a", "b"])
    assert chosen.frontier.weights == {"a": 0.5, "b": 0.5}
    assert chosen.nominal == pytest.approx([1.0, 2.0, 3.0])
    assert chosen.routes[1] == {"a": TWO, "b": ONE}  # the gain in a is 0.475, in b 0.225


def test_a_bin_without_problems_has_arms_all_the_same() -> None:
    of = board([[0.1, 0.5], [0.7, 0.6]], [1.0, 3.0], (ONE, TWO))
    chosen = solve(of, every(of), rows(of), np.array([[1.0, 1.0], [0.0, 0.0]]), ["a", "none"])
    assert chosen.nominal == pytest.approx([1.0, 3.0])
    assert [sorted(route) for route in chosen.routes] == [["a", "none"]] * 2
    line = used(chosen, of, rows(of), ["none", "a"])
    assert line.choice.shape == (2, 2) and line.choice[-1].tolist() == [1, 1]


@settings(max_examples=30)
@given(seeds, st.integers(1, 12))
def test_undominated_arms_are_those_that_no_cheaper_one_equals(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    value, cost = rng.integers(0, 4, count) / 4, rng.integers(1, 5, count).astype(float)
    kept = undominated(value, cost).tolist()
    assert (np.diff(cost[kept]) > 0).all() and (np.diff(value[kept]) > 0).all()
    for i in range(count):
        assert any(cost[k] <= cost[i] and value[k] >= value[i] for k in kept)


# ---------------------------------------------------------------- what it is worth


@settings(max_examples=30)
@given(seeds, st.integers(2, 20), st.floats(0, 1))
def test_a_mean_budget_is_met_exactly_by_mixing_two_vertices(seed: int, problems: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    curve = together(board(rng.random((6, problems)), rng.uniform(1, 9, (6, problems))))
    low, high = curve.span
    budget = low + share * (high - low)
    found = curve.at(budget)
    assert found.cost.mean() == pytest.approx(budget)
    assert curve.means(budget) == pytest.approx((found.value.mean(), found.cost.mean()))
    for shares in found.route:
        assert sum(s for _, s in shares) == pytest.approx(1) and len(shares) <= 2
    again = spread(curve.board, found.route)
    for name in ("value", "cost", "sequential"):
        assert getattr(again, name) == pytest.approx(getattr(found, name))
    assert curve.at(low / 2).cost.mean() == pytest.approx(low)
    assert curve.at(high * 2).cost.mean() == pytest.approx(high)


def halves(seed: int, problems: int) -> Curve:
    """Two lines, each chosen on the half that the other is used on."""
    rng = np.random.default_rng(seed)
    of = board(rng.random((6, problems)), rng.uniform(1, 9, (6, problems)))
    first, second = np.arange(problems // 2), np.arange(problems // 2, problems)
    lines = [
        used(
            solve(of, every(of), train, np.ones((1, len(train))), ["all"]),
            of,
            test,
            ["all"] * len(test),
        )
        for train, test in ((first, second), (second, first))
    ]
    return Curve(of, tuple(lines))


@settings(max_examples=30)
@given(seeds, st.integers(4, 20), st.floats(0, 1))
def test_a_realised_cost_is_matched_where_it_can_be(seed: int, problems: int, share: float) -> None:
    curve = halves(seed, problems)
    low, high = (curve.means(end)[1] for end in curve.span)
    wanted = min(low, high) + share * abs(high - low)
    if low <= wanted <= high:
        assert curve.matched(wanted).cost.mean() == pytest.approx(wanted, rel=1e-6)
    assert curve.matched(1e9).cost.mean() == pytest.approx(high)
    if low < high:
        assert curve.matched(0.0).cost.mean() == pytest.approx(low)


def test_a_problem_of_several_lines_gets_their_mean() -> None:
    of = board([[0.0, 0.2], [1.0, 0.6]], [1.0, 3.0], (ONE, TWO))

    def line(arms: tuple[int, int]) -> Line:
        return Line(np.array([0, 1]), np.array([2.0]), np.array([arms]))

    found = Curve(of, (line((0, 0)), line((1, 0)))).at(2.0)
    assert found.value.tolist() == [0.5, 0.2] and found.cost.tolist() == [2.0, 1.0]
    assert found.route == (((0, 0.5), (1, 0.5)), ((0, 1.0),))


def test_the_cost_of_an_accuracy_is_that_of_the_mixture_that_reaches_it() -> None:
    curve = together(board([[0.5, 0.5], [0.9, 0.9]], [1.0, 5.0], (ONE, TWO)))
    for value, cost in ((0.3, 1.0), (0.5, 1.0), (0.6, 2.0), (0.7, 3.0), (0.9, 5.0)):
        assert curve.cost_of(value) == pytest.approx(cost, rel=1e-4)
    assert curve.cost_of(0.95) is None
    assert together(board([[0.5, 0.5]], [3.0], (ONE,))).cost_of(0.4) == 3.0


@settings(max_examples=30)
@given(seeds, st.integers(4, 12), st.floats(0, 1))
def test_that_cost_reaches_the_accuracy_and_is_not_far_too_much(seed: int, problems: int, share: float) -> None:
    curve = together(board(*_plain(seed, problems)))
    low, high = (curve.means(end)[0] for end in curve.span)
    wanted = low + share * (high - low)
    cost = curve.cost_of(wanted)
    assert cost is not None
    assert curve.means(cost)[0] >= wanted - 1e-9
    if cost > curve.span[0] * 1.001:
        assert curve.means(cost * 0.999)[0] <= wanted + 1e-9


def _plain(seed: int, problems: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.random((4, problems)), np.cumsum(rng.uniform(1, 4, 4))


# ---------------------------------------------------------------- the board itself


def test_a_part_of_a_board() -> None:
    of = board(np.arange(12).reshape(3, 4) / 12, np.arange(1, 13).reshape(3, 4))
    part = of.part(np.array([2, 0]))
    assert [p.id for p in part.problems] == ["p2", "p0"] and part.arms == of.arms
    for name in ("value", "cost", "worst", "sequential"):
        assert getattr(part, name).tolist() == getattr(of, name)[:, [2, 0]].tolist()


def test_a_cap_is_for_the_worst_case_on_any_problem() -> None:
    of = board([[0.1, 0.1], [0.2, 0.2]], [[1.0, 1.0], [1.0, 4.0]], (ONE, TWO))
    assert of.within(None).tolist() == [True, True]
    assert of.within(8.0).tolist() == [True, True]
    assert of.within(7.9).tolist() == [True, False]
    assert of.within(1.9).tolist() == [False, False]


def test_the_ease_of_a_problem_is_that_of_single_draws() -> None:
    arms = (ONE, TWO, "one(model=L)")
    of = board([[0.2, 0.4], [1.0, 1.0], [0.6, 0.8]], [1.0, 2.0, 3.0], arms)
    assert of.ease == pytest.approx([0.4, 0.6])
    assert of.names == ("one", "vote", "one") and of.index["one(model=L)"] == 2
    assert of.of(frozenset({"vote"})).tolist() == [False, True, False]
