"""Bins that a rule predicts, against what they are made of."""

from __future__ import annotations

import numpy as np
import pytest

from autotts.policy.allocation import Point
from autotts.search.bins import Bins, _on

NAMES = ("1", "2")
WEIGHT = np.array([0.75, 0.25])
# One in five easy prompts is taken for hard, one in ten hard ones for easy.
TAKEN = np.array([[0.8, 0.2], [0.1, 0.9]])


def test_shares_and_chances_are_those_of_bayes() -> None:
    by = Bins(NAMES, WEIGHT, TAKEN)
    assert by.share == pytest.approx([0.75 * 0.8 + 0.25 * 0.1, 0.75 * 0.2 + 0.25 * 0.9])
    assert by.level[1] == pytest.approx([0.15 / 0.375, 0.225 / 0.375])
    assert by.level.sum(1) == pytest.approx([1, 1])


def test_a_bin_that_is_never_predicted_is_the_traffic() -> None:
    by = Bins(NAMES, WEIGHT, np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert by.share == pytest.approx([1, 0])
    assert by.level == pytest.approx(np.array([WEIGHT, WEIGHT]))


def test_an_arm_on_a_bin_is_its_mean_over_the_levels_in_it() -> None:
    known = [{"a": Point("a", 1.0, 10.0), "b": Point("b", 0.5, 1.0)}, {"a": Point("a", 0.2, 40.0)}]
    found = _on("a", np.array([0.6, 0.4]), known, 1.0)
    assert found == Point("a", pytest.approx(0.6 + 0.08), pytest.approx(6 + 16))
    assert _on("b", np.array([0.97, 0.03]), known, 1.0) is None  # not measured on the hard prompts of the bin
    assert _on("b", np.array([0.97, 0.03]), known, 0.0) == Point("b", pytest.approx(0.5), pytest.approx(1.0))


def test_mean_cost_over_levels_is_mean_cost_over_bins() -> None:
    by = Bins(NAMES, WEIGHT, TAKEN)
    cost = {"a": (10.0, 40.0), "b": (1.0, 2.0)}
    known = [{n: Point(n, 0.5, c[i]) for n, c in cost.items()} for i in range(2)]
    route = {"1": [("b", 1.0)], "2": [("a", 0.5), ("b", 0.5)]}
    on = [{n: _on(n, chances, known, 1.0) for n in cost} for chances in by.level]
    by_bin = sum(s * w * on[i][arm].cost for i, s in enumerate(by.share) for arm, w in route[NAMES[i]])  # type: ignore[union-attr]
    by_level = sum(
        WEIGHT[i] * share * cost[arm][i] for i, name in enumerate(NAMES) for arm, share in by.routes(route)[name]
    )
    assert by_bin == pytest.approx(by_level)


class Measured:
    """A level's arms."""

    def __init__(self, *points: Point) -> None:
        self.found = list(points)

    def believed(self, cap: float | None) -> list[Point]:
        return self.found


def test_an_arm_that_was_measured_on_easy_prompts_alone_does_not_look_better() -> None:
    by = Bins(NAMES, WEIGHT, TAKEN)
    levels = [Measured(Point("a", 0.9, 10), Point("easy", 0.89, 10)), Measured(Point("a", 0.1, 10))]
    assert {n: [p.arm for p in points] for n, points in by.points(levels, None).items()} == {"1": ["a"], "2": ["a"]}  # type: ignore[arg-type]
    # Where a search ended before anything was measured everywhere, what there is must do.
    levels = [Measured(Point("easy", 0.89, 10)), Measured(Point("hard", 0.1, 10))]
    assert [p.arm for p in by.points(levels, None)["1"]] == ["easy", "hard"]  # type: ignore[arg-type]
