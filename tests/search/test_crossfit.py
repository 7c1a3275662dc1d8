"""Cross-fitting: what is reported on a fold never saw it, and costs nothing where there is nothing to choose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotts.core.task import Problem
from autotts.search.board import CAUTION, Board, solve
from autotts.search.crossfit import (
    FEW,
    FOLDS,
    ROUNDS,
    Binning,
    by_ease,
    by_length,
    by_prompt,
    curve,
    folds,
    learned,
    levels_of,
    together,
    worth,
)
from tests.search.test_board import ARMS, board, every

seeds = st.integers(0, 10**6)


def random_board(seed: int, problems: int) -> Board:
    """Arms whose values vary between problems; prompts of all lengths."""
    rng = np.random.default_rng(seed)
    ease = rng.random(problems)
    value = (rng.random((len(ARMS), problems)) < ease).astype(float)
    of = board(value, rng.uniform(1, 9, (len(ARMS), problems)))
    prompts = [Problem(p.id, "x" * int(rng.integers(1, 40)), p.answer) for p in of.problems]
    return Board(of.unit, prompts, of.arms, of.value, of.cost, of.worst, of.sequential)


def other_outcomes(of: Board, rows: np.ndarray, seed: int) -> Board:
    """The same board, but for what some problems came to: other values and other costs."""
    rng = np.random.default_rng(seed)
    arrays = []
    for x, new in (
        (of.value, 1 - of.value[:, rows]),
        (of.cost, rng.uniform(1, 99, (len(of.arms), len(rows)))),
        (of.worst, rng.uniform(99, 999, (len(of.arms), len(rows)))),
        (of.sequential, rng.uniform(1, 99, (len(of.arms), len(rows)))),
    ):
        changed = x.copy()
        changed[:, rows] = new
        arrays.append(changed)
    return Board(of.unit, of.problems, of.arms, *arrays)


# ---------------------------------------------------------------- folds


@given(st.integers(2, 60) | st.sampled_from((FEW - 1, FEW, 1000)), seeds)
def test_every_problem_is_reported_on_equally_often_and_never_by_itself(count: int, seed: int) -> None:
    cuts = folds(count, seed)
    rounds = ROUNDS if count < FEW else 1
    assert len(cuts) == rounds * min(FOLDS, count)
    assert np.bincount(np.concatenate([test for _, test in cuts])).tolist() == [rounds] * count
    for train, test in cuts:
        assert sorted([*train, *test]) == list(range(count)) and len(train) > 0 and len(test) > 0
        assert abs(len(test) - count / FOLDS) < 1 or count < FOLDS


def test_folds_are_those_of_the_seed() -> None:
    def shown(seed: int) -> list[list[int]]:
        return [test.tolist() for _, test in folds(30, seed)]

    assert shown(1) == shown(1) != shown(2)
    assert shown(1)[:FOLDS] != shown(1)[FOLDS : 2 * FOLDS]  # every round cuts them anew


# ---------------------------------------------------------------- the law


def lines_keep(binning: Binning, seed: int, problems: int, *, sight: bool = False) -> None:
    """A fold's line is the same whatever its problems come to; `sight`: but for the bins that they are put in."""
    of = random_board(seed, problems)
    cuts = folds(problems, seed)[:FOLDS]
    allowed = [every(of)] * len(cuts)
    before = curve(of, allowed, cuts, binning, caution=CAUTION)
    for at in (0, len(cuts) - 1):
        train, test = cuts[at]
        changed = other_outcomes(of, test, seed)
        after = curve(changed, allowed[:1], [cuts[at]], binning, caution=CAUTION).lines[0]
        assert after.nominal.tolist() == before.lines[at].nominal.tolist()
        if sight:
            one, two = (binning(x, train, test) for x in (of, changed))
            assert one.names == two.names and one.member.tolist() == two.member.tolist()
            first, second = (solve(x, every(x), train, b.member, b.names) for x, b in ((of, one), (changed, two)))
            assert first.routes == second.routes and first.nominal.tolist() == second.nominal.tolist()
        else:
            assert after.choice.tolist() == before.lines[at].choice.tolist()


@settings(max_examples=12)
@given(seeds, st.integers(6, 30))
def test_one_bin_never_saw_its_fold(seed: int, problems: int) -> None:
    lines_keep(together, seed, problems)


@settings(max_examples=12)
@given(seeds, st.integers(6, 30), st.integers(2, 3))
def test_bins_of_length_never_saw_their_fold(seed: int, problems: int, count: int) -> None:
    lines_keep(by_length(count), seed, problems)


@settings(max_examples=12)
@given(seeds, st.integers(6, 30), st.integers(2, 3))
def test_arms_of_the_true_pass_rate_never_saw_their_fold(seed: int, problems: int, count: int) -> None:
    lines_keep(by_ease(count), seed, problems, sight=True)


@pytest.mark.usefixtures("plain_rules")
def test_bins_that_are_predicted_never_saw_their_fold() -> None:
    of = random_board(1, 60)
    train, test = folds(60, 1)[0]
    changed = other_outcomes(of, test, 1)
    one, two = (by_prompt(2, 1)(x, train, test) for x in (of, changed))
    assert one.rule is not None and two.rule is not None and set(one.used) <= {"1", "2"}
    assert one.used == two.used and one.member.tolist() == two.member.tolist()
    assert one.rule.to_json() == two.rule.to_json()
    first, second = (solve(x, every(x), train, one.member, one.names) for x in (of, changed))
    assert first.routes == second.routes and first.nominal.tolist() == second.nominal.tolist()


@pytest.mark.usefixtures("plain_rules")
def test_whether_bins_are_worth_having_is_decided_on_the_problems_to_choose_on() -> None:
    of = told_by_prompts(110, seed=0)
    train, test = np.arange(80), np.arange(80, 110)
    found = worth(of, every(of), train, 3, 0)
    assert found is not None and found.beyond_noise
    assert worth(other_outcomes(of, test, 1), every(of), train, 3, 0) == found


# ---------------------------------------------------------------- what it reports


@settings(max_examples=12)
@given(seeds, st.integers(2, 40), st.sampled_from((together, by_length(3), by_ease(3))))
def test_of_strategies_that_are_alike_the_plain_mean_is_reported(seed: int, problems: int, binning: Binning) -> None:
    of = random_board(seed, problems)
    same = Board(
        of.unit,
        of.problems,
        of.arms,
        *(np.repeat(x[:1], len(of.arms), 0) for x in (of.value, of.cost, of.worst, of.sequential)),
    )
    cuts = folds(problems, seed)
    found = curve(same, [every(of)] * len(cuts), cuts, binning, caution=CAUTION)
    for budget in (0.1, 4.0, 1e6):
        got = found.at(budget)
        for name in ("value", "cost", "sequential"):
            assert getattr(got, name) == pytest.approx(getattr(same, name)[0])


def test_an_arm_that_was_lucky_on_its_problems_gains_nothing_on_others() -> None:
    rng = np.random.default_rng(0)
    gains = []
    for seed in range(20):
        value = (rng.random((6, 24)) < 0.5).astype(float)  # all arms are worth 0.5
        of = board(value, [1.0, 1.1, 1.2, 1.3, 1.4, 1.5])
        cuts = folds(24, seed)
        found = curve(of, [every(of)] * len(cuts), cuts, together)
        gains.append(found.means(1.5)[0] - 0.5)
    assert abs(np.mean(gains)) < 3 * np.std(gains) / np.sqrt(len(gains)) + 1e-9
    assert np.mean([x.max() for x in rng.binomial(24, 0.5, (20, 6)) / 24]) > 0.6  # what a look at all of them promises


def test_each_fold_uses_the_arms_that_it_may() -> None:
    of = random_board(0, 10)
    cuts = folds(10, 0)[:FOLDS]
    allowed = [np.arange(len(of.arms)) == i for i in range(FOLDS)]
    for i, line in enumerate(curve(of, allowed, cuts, together).lines):
        assert np.unique(line.choice).tolist() == [i]


# ---------------------------------------------------------------- bins


def told_by_prompts(problems: int, seed: int) -> Board:
    """Short prompts need one draw, long ones gain much by a vote of eight."""
    rng = np.random.default_rng(seed)
    hard = rng.random(problems) < 0.5
    value = np.array([np.where(hard, 0.4, 0.95), np.where(hard, 0.9, 0.96)]) + rng.normal(0, 0.02, (2, problems))
    cost = np.array([np.ones(problems), np.full(problems, 8.0)])
    prompts = [f"{'a long and hard question about numbers' if h else 'easy'} {i}" for i, h in enumerate(hard)]
    asked = [Problem(f"p{i}", text, "gold") for i, text in enumerate(prompts)]
    return Board("tokens", asked, (ARMS[0], ARMS[3]), value, cost, cost, cost)


@pytest.mark.usefixtures("plain_rules")
def test_bins_that_prompts_tell_are_worth_having_and_others_are_not() -> None:
    of = told_by_prompts(150, seed=3)
    rows = np.arange(150)
    found = worth(of, every(of), rows, 3, 0)
    assert found is not None and found.beyond_noise and found.value > 0.05
    assert worth(of, every(of), rows[:71], 3, 0) is None  # too few
    shuffled = np.random.default_rng(0).permutation(150)
    asked = [Problem(p.id, of.problems[i].prompt, p.answer) for p, i in zip(of.problems, shuffled, strict=True)]
    blind = Board(of.unit, asked, of.arms, of.value, of.cost, of.worst, of.sequential)
    lost = worth(blind, every(of), rows, 3, 0)
    assert lost is None or not lost.beyond_noise


def test_level_one_is_the_easiest() -> None:
    of = board([[0.9, 0.1, 0.5, 0.8, 0.2, 0.6]], [1.0])
    assert levels_of(of, np.arange(6), 3) == [1, 3, 2, 1, 3, 2]
    assert levels_of(of, np.array([1, 4]), 2) == [2, 1]  # among themselves


def test_where_all_problems_are_alike_there_is_no_rule() -> None:
    of = board([[0.5] * 40], [1.0])
    assert learned(of, np.arange(40), 3, 0) is None
    train, test = folds(40, 0)[0]
    assert by_prompt(3, 0)(of, train, test).names == ("all",)
    few = board([np.linspace(0, 1, 12)], [1.0])  # fewer of a level than can be learned from
    assert by_prompt(3, 0)(few, np.arange(12), np.arange(0)).names == ("all",)


@pytest.mark.parametrize("binning", [by_length(3), by_ease(3)])
def test_bins_hold_each_problem_once(binning: Binning) -> None:
    of = random_board(5, 31)
    of = Board(of.unit, of.problems, of.arms, of.cost / 9, of.cost, of.worst, of.sequential)
    train, test = folds(31, 0)[0]
    binned = binning(of, train, test)
    assert binned.member.sum(0).tolist() == [1.0] * len(train) and set(binned.used) <= set(binned.names)
    sizes = binned.member.sum(1)
    assert len(sizes) == 3 and sizes.min() > 0


def test_bins_of_length_are_by_length() -> None:
    sizes = np.array([3, 30, 9, 12, 33, 6])
    of = board([np.full(6, 0.5)], [1.0])
    asked = [Problem(p.id, "x" * n, p.answer) for p, n in zip(of.problems, sizes, strict=True)]
    of = Board(of.unit, asked, of.arms, of.value, of.cost, of.worst, of.sequential)
    binned = by_length(3)(of, np.arange(6), np.array([1, 0]))
    assert (np.argmax(binned.member, 0) + 1).tolist() == [1, 3, 2, 2, 3, 1] and binned.used == ("3", "1")
