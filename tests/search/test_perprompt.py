"""Prompts routed one by one: learned, priced and decided on problems that do not report, and left alone if useless."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autotts.core.task import Problem
from autotts.predict.learning import fit_held_out
from autotts.search import perprompt, ways
from autotts.search.board import CAUTION, Board
from autotts.search.crossfit import Gain, alike, curve, folds, gain, inner, together
from autotts.search.perprompt import Router
from autotts.search.settled import settle
from autotts.search.ways import Way
from tests.search.test_board import ARMS, every
from tests.search.test_crossfit import other_outcomes

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perprompt, "KINDS", ("logistic",))


def graded(problems: int, seed: int) -> Board:
    """The longer the number in a prompt, the more a dearer arm helps; single draws are right or wrong."""
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 8, problems)
    chance = 1 / (1 + np.exp(np.outer([1.2, 0.8, 0.2], size) - 3.5))
    value = (rng.random(chance.shape) < chance).astype(float)
    cost = np.outer([1.0, 4.0, 16.0], 1 + 0.1 * size)
    asked = [Problem(f"p{i}", f"Double the number {'9' * s} now, {i}", "gold") for i, s in enumerate(size)]
    return Board("tokens", asked, tuple(ARMS[:3]), value, cost, cost, cost)


def shuffled(of: Board, seed: int = 0) -> Board:
    """The same, but prompts tell of other problems than their own."""
    order = np.random.default_rng(seed).permutation(len(of.problems))
    asked = [Problem(p.id, of.problems[int(i)].prompt, p.answer) for p, i in zip(of.problems, order, strict=True)]
    return replace(of, problems=asked)


@pytest.fixture(scope="module")
def of() -> Board:
    return graded(300, 0)


@pytest.fixture(scope="module")
def router(of: Board) -> Router:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perprompt, "KINDS", ("logistic",))
        return perprompt.learn(of, every(of), np.arange(200), 0)


# ---------------------------------------------------------------- routes


def test_fresh_prompts_get_the_best_arm_at_the_price(of: Board, router: Router) -> None:
    rows = np.arange(200, 300)
    table = router.performance.table([of.problems[i].prompt for i in rows.tolist()])
    found = perprompt.line(of, router, rows)
    dial = perprompt.dial(of, router, np.arange(200))
    assert found.nominal.tolist() == dial.nominal.tolist() and len(dial.nominal) > 5
    for multiplier, arms in zip(dial.multipliers, found.choice, strict=True):
        assert arms.tolist() == router.arms[(table.value - multiplier * table.cost).argmax(1)].tolist()
    assert len(np.unique(found.choice[len(dial.nominal) // 2])) > 1


def test_prices_are_set_by_what_was_foretold_out_of_fold(of: Board, router: Router) -> None:
    places = np.arange(0, 200, 2)
    dial = perprompt.dial(of, router, places)
    arms = router.held(dial.multipliers, places)
    assert of.cost[arms, router.rows[places]].mean(1) == pytest.approx(dial.nominal)
    assert (np.diff(dial.nominal) > 0).all() and (np.diff(dial.multipliers) < 0).all()
    assert len(dial.nominal) <= perprompt.SETTINGS
    inside = router.performance.table([of.problems[i].prompt for i in router.rows]).value
    assert not np.allclose(router.value, inside, atol=1e-3)
    assert abs(router.value.mean() - of.value[router.arms][:, router.rows].mean()) < 0.02


def test_few_prices_are_kept_and_both_ends(of: Board, router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    places = np.arange(200)
    whole = perprompt.dial(of, router, places)
    monkeypatch.setattr(perprompt, "SETTINGS", 4)
    few = perprompt.dial(of, router, places)
    assert 2 <= len(few.nominal) <= 4
    assert (few.nominal[0], few.nominal[-1]) == (whole.nominal[0], whole.nominal[-1])


def test_arms_of_one_cost_need_no_price(of: Board) -> None:
    same = replace(of, cost=np.full(of.cost.shape, 7.3))
    found = perprompt.learn(same, every(same), np.arange(200), 0)
    assert perprompt.dial(same, found, np.arange(200)).multipliers.tolist() == [0.0]
    assert perprompt._prices(np.array([[0.5, 0.5]]), np.array([[1.0, 2.0]])).tolist() == [0.0]


def test_arms_are_those_of_the_frontier_and_single_draws() -> None:
    of = graded(60, 1)
    names = tuple(f"one(model=M{i})" for i in range(20))
    rng = np.random.default_rng(0)
    value, cost = rng.random((20, 60)), np.ones((20, 60))
    many = Board("calls", of.problems, names, value, cost, cost, cost)
    found = perprompt.shortlist(many, np.arange(20) < 15, np.arange(60))
    best = np.argsort(-value[:15].mean(1))[: perprompt.MOST]
    assert found.tolist() == sorted(best.tolist())
    dear = replace(of, value=np.stack([of.value[0], of.value[0], 1.0 - 0.01 * of.value[0]]))
    assert [of.names[i] for i in perprompt.shortlist(dear, every(of), np.arange(60))].count("one") == of.names.count(
        "one"
    )
    assert 2 in perprompt.shortlist(dear, every(of), np.arange(60))


# ---------------------------------------------------------------- the decision


def test_routing_by_prompt_is_taken_where_it_pays(of: Board) -> None:
    way = ways.decide(of, every(of), np.arange(300), 0)
    assert way.kind == "performance" and way.gains["performance"].value > 0.01
    assert "routing by prompt is taken" in way.words() and "points" in way.words()
    figures = json.loads(json.dumps(way.figures(), allow_nan=False))
    assert figures["gains"]["performance"]["value"] == way.gains["performance"].value
    assert {s["name"] for s in figures["predictor"]["scores"]} == {"constant", "length", "logistic"}
    assert all({"log_loss", "calibration_error"} <= set(s) for s in figures["predictor"]["scores"])
    cuts = folds(300, 0)
    routed = ways.line(of, every(of), way, cuts[0], 0)
    assert (routed.choice != routed.choice[:, :1]).any()


def test_what_other_problems_came_to_changes_nothing(of: Board) -> None:
    train, test = np.arange(200), np.arange(200, 300)
    lines = []
    for board in (of, other_outcomes(of, test, 0)):
        way = ways.decide(board, every(board), train, 0)
        lines.append((ways.line(board, every(board), way, (train, test), 0), way.gains))
    assert lines[0][0].nominal.tolist() == lines[1][0].nominal.tolist()
    assert lines[0][0].choice.tolist() == lines[1][0].choice.tolist()
    assert lines[0][1] == lines[1][1]


@pytest.mark.parametrize("seed", range(4))
def test_prompts_that_tell_nothing_are_not_told_apart(of: Board, seed: int) -> None:
    blind = shuffled(of, seed)
    way = ways.decide(blind, every(of), np.arange(300), seed)
    assert way.kind == "none" and "not told apart" in way.words()
    fold = folds(300, seed)[0]
    found, plain = ways.line(blind, every(of), way, fold, seed), curve(blind, [every(of)], [fold], together)
    assert (found.choice == found.choice[:, :1]).all()
    assert found.choice.shape[1] == plain.lines[0].choice.shape[1]


@pytest.mark.parametrize("harm", ["shuffled", "reversed"])
def test_a_predictor_that_is_sure_and_wrong_is_not_taken(of: Board, harm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    learn = fit_held_out

    def wrong(*given: Any, **named: Any) -> Any:
        performance, value, cost = learn(*given, **named)
        harmed = np.random.default_rng(0).permutation(value) if harm == "shuffled" else 1.0 - value
        return performance, harmed, cost

    monkeypatch.setattr(perprompt, "fit_held_out", wrong)
    monkeypatch.setattr(ways, "worth", lambda *given: None)
    way = ways.decide(of, every(of), np.arange(300), 0)
    assert way.router is not None and way.router.able and not way.gains["performance"].beyond_noise
    assert way.kind == "none" and way.words().startswith("prompts are not told apart; gains")


def test_bins_are_taken_where_they_gain_more(of: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "worth", lambda *given: Gain(0.03, 0.01))
    for value, error, kind in ((0.02, 0.015, "levels"), (0.04, 0.03, "performance"), (0.02, 0.005, "performance")):
        found = Gain(value, error)
        monkeypatch.setattr(ways, "gain", lambda ours, plain, found=found: found)
        way = ways.decide(of, every(of), np.arange(300), 0)
        assert (way.kind, "levels" in way.gains) == (kind, value < 1.96 * error)


def test_too_few_problems_are_not_learned_from(of: Board) -> None:
    way = ways.decide(of, every(of), np.arange(119), 0)
    assert (way.kind, way.router, way.gains) == ("none", None, {})
    assert "fewer than 120" in way.words() and "predictor" not in way.figures()


def test_the_gain_is_that_over_the_frontier_at_the_same_cost(of: Board, router: Router) -> None:
    cuts = inner(200, 0)
    part = of.part(np.arange(200))
    ours, plain = perprompt.rehearsed(of, router, cuts), alike(part, every(of), cuts)
    found = gain(ours, plain)
    grid = np.geomspace(plain.span[0] * 1.05, plain.span[1], 8)
    gaps = [ours.at(float(b)).value.mean() - plain.matched(ours.means(float(b))[1]).value.mean() for b in grid]
    assert found.value == pytest.approx(np.mean(gaps))
    assert gain(plain, plain).value == pytest.approx(0, abs=1e-6) and found.error > 0


# ---------------------------------------------------------------- the whole frontier


def test_the_frontier_on_all_problems_meets_a_budget(of: Board) -> None:
    way = ways.decide(of, every(of), np.arange(300), 0)
    found = settle(of, every(of), way, 0)
    assert found.bins == ("all",) and found.weights == {"all": 1.0} and found.router is way.router
    for budget in np.linspace(found.nominal[0], found.nominal[-1], 7):
        (arms,) = found.mixed(float(budget)).values()
        assert sum(share for _, share in arms) == pytest.approx(1)
        assert found.expected(float(budget))["cost"] == pytest.approx(budget)
        fitted = found.fitted(float(budget))
        place = fitted.place(float(budget))
        assert fitted.nominal[place] == pytest.approx(budget, rel=0.02) and fitted.nominal[place] <= budget * (1 + 1e-9)
        assert (np.diff(fitted.nominal) > 0).all() and (np.diff(fitted.multipliers) < 0).all()
    means = [found.at(float(b)) for b in found.nominal]
    assert [m.cost.mean() for m in means] == pytest.approx(found.nominal.tolist())
    assert [m.value.mean() for m in means] == pytest.approx(found.value.tolist())


def test_a_way_without_a_router_has_the_frontier_of_one_bin(of: Board) -> None:
    found = settle(of, every(of), Way("none", {}, None), 0)
    plain = curve(of, [every(of)], [(np.arange(300), np.arange(300))], together, caution=CAUTION).lines[0]
    assert found.nominal.tolist() == plain.nominal.tolist() and found.choice.tolist() == plain.choice.tolist()
    middle = float(found.nominal[:2].mean())
    assert found.fitted(middle) is found and len(found.mixed(middle)["all"]) == 2
