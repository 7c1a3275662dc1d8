"""From many arms to those that may be chosen: what a fold lets through depends on its own problems alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotts.core.strategy import Strategy
from autotts.estimate.replayed import Estimate
from autotts.pools.recorded import Drawn, Recorded
from autotts.search import measuring
from autotts.search.board import undominated
from autotts.search.crossfit import Fold, folds
from autotts.search.gauge import Gauge
from autotts.search.grid import replayable
from autotts.search.measuring import Measured, board_of, joined, measure, shortlist
from autotts.strategies.arms import parse, show
from autotts.strategies.staged import Staged
from tests.pools.make import LARGE, SMALL, make
from tests.search.test_board import ARMS, board
from tests.search.test_gauge import with_draws

FAMILIES = (SMALL, LARGE, replace(SMALL, role="M", model="M", parameters=2000))


def silent(what: str, done: int, of: int) -> None:
    """Tells nobody."""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer arms and orderings, so that each choice leaves something out."""
    for name, value in {"SCREENED": 3, "REFINED": 5, "KEPT": 8, "SCOUTS": 6, "FAVOURED": 1}.items():
        monkeypatch.setattr(measuring, name, value)


def other_labels(pool: Recorded, rows: np.ndarray, seed: int) -> Recorded:
    """The same draws of some problems, of which other answers are right."""
    rng = np.random.default_rng(seed)
    wins = rng.integers(0, 4, len(pool.problems))

    def change(drawn: Drawn) -> dict[str, Any]:
        owner = np.repeat(np.arange(len(drawn.counts)), drawn.counts)
        other = (drawn.answer == wins[owner]).astype(float)
        return {"correct": np.where(np.isin(owner, rows), other, drawn.correct)}

    for role in pool.roles:
        pool = with_draws(pool, change, role)
    return pool


def through(of: Measured, fold: int) -> list[str]:
    """The arms that a fold lets through."""
    return sorted(arm for arm, open_ in zip(of.board.arms, of.allowed[fold], strict=True) if open_)


def measured(pool: Recorded, cuts: list[Fold], candidates: int = 24) -> Measured:
    gauge = Gauge(pool, "flops")
    return measure(gauge, replayable(gauge, ("one", "vote", "esc")), candidates, cuts, 0, silent)


# ---------------------------------------------------------------- the law


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kept", [8, 10**6])  # a few arms, or all those of the pairs that a fold favours
def test_what_a_fold_lets_through_never_saw_its_problems(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SCREENED": 1, "REFINED": 1, "SCOUTS": 3, "KEPT": kept}.items():
        monkeypatch.setattr(measuring, name, value)
    differ = []
    for seed in range(3):
        pool = make(FAMILIES, problems=6, counts=4, every=5, seed=seed)
        cuts = folds(6, seed)[:2]
        before = measured(pool, cuts)
        assert any(isinstance(arm, Staged) for arm in map(parse, through(before, 0)))
        for f, (_, test) in enumerate(cuts):
            assert through(measured(other_labels(pool, test, seed), cuts), f) == through(before, f)
        changed = measured(other_labels(pool, cuts[0][0], seed), cuts)  # what it may see does matter
        differ.append(through(changed, 0) != through(before, 0))
    assert any(differ)


@pytest.mark.usefixtures("small")
def test_the_same_pool_is_measured_alike() -> None:
    pool = make(FAMILIES, problems=10, counts=6, every=5)
    cuts = folds(10, 0)[:3]
    one, two = measured(pool, cuts), measured(pool, cuts)
    assert one.board.arms == two.board.arms and one.board.value.tolist() == two.board.value.tolist()
    assert len(set(one.board.arms)) == len(one.board.arms)


# ---------------------------------------------------------------- two looks


class Spied(Gauge):
    """A gauge that remembers what it was asked."""

    def __call__(self, strategy: Strategy, orders: int = 64, seed: int = 0) -> Estimate:
        self.__dict__.setdefault("asked", []).append((show(strategy), orders, seed))
        return super().__call__(strategy, orders, seed)


@pytest.mark.usefixtures("small")
def test_arms_that_may_be_chosen_are_measured_again_on_other_orderings() -> None:
    gauge = Spied(make(problems=10, counts=8), "flops")
    arms = replayable(gauge)
    told: list[tuple[str, int, int]] = []
    found = measure(gauge, arms, 0, folds(10, 0)[:2], 7, lambda *at: told.append(at))
    asked = gauge.__dict__["asked"]
    first, second = asked[: len(arms)], asked[len(arms) :]
    assert first == [(show(arm), 3, 7) for arm in arms]
    assert second == [(arm, 5, 8) for arm in found.board.arms] and len(second) < len(first) == found.screened
    again = board_of(gauge, [parse(arm) for arm in found.board.arms], 5, 8, lambda done: None)
    for name in ("value", "cost", "worst", "sequential"):
        assert getattr(found.board, name).tolist() == getattr(again, name).tolist()
    assert told[0] == ("screening arms", 1, len(arms)) and told[-1][1] == told[-1][2] == len(second)
    assert np.any([*found.allowed, found.every], axis=0).all()  # nothing is measured for nothing


@pytest.mark.usefixtures("small")
def test_staged_votes_are_tried_where_there_are_probes() -> None:
    cuts = folds(10, 0)[:2]
    pool = make(problems=10, counts=6, every=5)
    assert any(isinstance(parse(arm), Staged) for arm in measured(pool, cuts).board.arms)
    for without in (measured(pool, cuts, 0), measured(make(problems=10, counts=6), cuts)):
        assert not any(isinstance(parse(arm), Staged) for arm in without.board.arms)
    short = make(problems=10, counts=6, every=50, longest=20)  # no draw lives to see a probe
    assert not any(isinstance(parse(arm), Staged) for arm in measured(short, cuts).board.arms)


# ---------------------------------------------------------------- the shortlist


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 40))
def test_the_shortlist_holds_the_frontiers_of_all_and_of_each_strategy(seed: int, problems: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"vote(n={n}, model=S)" for n in range(2, 40)]
    arms = (ARMS[0], *names, *(f"esc(most=8, window={w}, model=S)" for w in (2, 4)), ARMS[4])
    of = board(rng.random((len(arms), problems)), rng.uniform(1, 9, len(arms)), arms)
    rows = rng.permutation(problems)[: max(1, problems // 2)]
    mask = rng.random(len(arms)) < 0.8
    mask[0] = True
    kept = shortlist(of, rows, mask)
    assert kept[0] and not (kept & ~mask).any()
    value, cost = of.value[:, rows].mean(1), of.cost[:, rows].mean(1)
    for group in (mask, *(mask & of.of(frozenset({name})) for name in set(of.names))):
        open_ = np.flatnonzero(group)
        assert kept[open_[undominated(value[open_], cost[open_])]].all()


def test_the_shortlist_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "KEPT", 8)
    arms = (ARMS[0], *(f"vote(n={n}, model=S)" for n in range(2, 60)))
    value = np.linspace(0.9, 0.1, 59)[:, None].repeat(4, 1)  # the dearer, the worse
    kept = shortlist(board(value, np.linspace(1, 2, 59), arms), np.arange(4), np.ones(59, bool))
    assert kept[0] and kept.sum() <= 9


def test_boards_are_joined_arm_by_arm() -> None:
    one, two = board([[0.1, 0.2]], [1.0], ARMS[:1]), board([[0.3, 0.4], [0.5, 0.6]], [2.0, 3.0], ARMS[1:3])
    both = joined([one, two])
    assert both.arms == ARMS[:3] and both.problems == one.problems
    assert both.value.tolist() == [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]] and both.cost[:, 0].tolist() == [1, 2, 3]
