"""The arms that a pool can tell of: each is answered by it, and none is forgotten or named twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from autotts.search.gauge import Gauge
from autotts.search.grid import PAIRED, named, pairs, probed, probing, replayable, setting
from autotts.strategies.arms import name_of, parse, show
from autotts.strategies.staged import Staged
from tests.pools.make import LARGE, SMALL, make
from tests.search.test_gauge import with_draws


def kinds(gauge: Gauge, names: tuple[str, ...] = ()) -> Counter[str]:
    return Counter(name_of(arm) for arm in replayable(gauge, names))


def test_every_arm_on_the_grid_is_answered() -> None:
    gauge = Gauge(make(problems=2, counts={0: 9, 1: 8}, scored=True), "flops")
    arms = replayable(gauge)
    assert len({show(arm) for arm in arms}) == len(arms)
    for arm in arms:
        found = gauge(arm, 4)
        assert ((found.value >= 0) & (found.value <= 1)).all() and (found.cost > 0).all()
        assert parse(show(arm)) == arm
    assert set(kinds(gauge)) == {
        *("one", "vote", "adaptive", "esc", "first_finish", "best_of_n", "weighted_vote", "cascade")
    }


def test_no_arm_takes_more_draws_than_every_problem_has() -> None:
    gauge = Gauge(make(problems=3, counts={0: 9, 1: 4, 2: 5}), "flops")
    arms = replayable(gauge)
    assert max(getattr(arm, "n", getattr(arm, "most", 1)) for arm in arms) == 4
    assert kinds(Gauge(make(counts=1), "flops")) == {"one": 2}


def test_what_is_not_recorded_rules_arms_out() -> None:
    made = make(problems=2, counts=8, scored=True)
    mute = with_draws(made, lambda d: {"answer": np.full(16, -1)})
    of_s = {name_of(a) for a in replayable(Gauge(mute, "flops")) if getattr(a, "model", "") == "S"}
    assert of_s == {"one", "best_of_n"} and "cascade" not in kinds(Gauge(mute, "flops"))
    timeless = with_draws(made, lambda d: {"tokens": np.full(16, -1)})
    of_s = {name_of(a) for a in replayable(Gauge(timeless, "calls")) if getattr(a, "model", "") == "S"}
    assert "first_finish" not in of_s and "adaptive" in of_s
    assert "best_of_n" not in kinds(Gauge(make(), "flops"))
    greedy = Gauge(make([replace(SMALL, strategy="greedy"), replace(LARGE, strategy="greedy")]), "flops")
    assert kinds(greedy) == {"one": 2}


def test_only_the_strategies_that_are_wanted() -> None:
    gauge = Gauge(make(), "flops")
    assert set(kinds(gauge, ("vote", "esc"))) == {"vote", "esc"} and not kinds(gauge, ("beam",))


def test_a_cascade_goes_from_the_cheaper_to_the_dearer_model() -> None:
    gauge = Gauge(make([LARGE, SMALL, replace(SMALL, role="T", model="T", temperature=1.0)]), "flops")
    assert [(one.role, two.role) for one, two in pairs(gauge)] == [("L", "L"), ("S", "L"), ("S", "S"), ("T", "T")]
    cascades = [a for a in replayable(gauge) if name_of(a) == "cascade"]
    assert {(a.small, a.large) for a in cascades} == {("S", "L")}  # type: ignore[attr-defined]
    many = [replace(SMALL, role=f"M{i}", model=f"M{i}") for i in range(PAIRED + 1)]
    assert pairs(Gauge(make(many, problems=1, counts=2), "tokens")) == []
    assert len(pairs(Gauge(make(many[:-1], problems=1, counts=2), "tokens"))) == PAIRED**2


def test_what_was_not_recorded_is_written_as_the_default() -> None:
    gauge = Gauge(make([replace(SMALL, temperature=None, top_p=None), replace(LARGE, top_p=0.9)]), "flops")
    assert [(x.temperature, x.top_p) for x in map(setting, gauge.sources)] == [(0.8, 1.0), (0.7, 0.9)]
    greedy = Gauge(make([replace(SMALL, strategy="greedy", temperature=None)]), "flops")
    assert setting(greedy.sources[0]).temperature == 0.0
    assert [show(arm) for arm in replayable(greedy)] == ["one(model=S, temperature=0)"]


def test_a_family_that_no_arm_can_name_is_left_to_the_one_with_samples() -> None:
    gauge = Gauge(make([replace(SMALL, strategy="beam"), SMALL]), "flops")
    assert named(gauge) == [gauge.sources[1]]
    arms = [show(arm) for arm in replayable(gauge)]
    assert len(set(arms)) == len(arms)


# ---------------------------------------------------------------- staged votes


@pytest.fixture(scope="module")
def gauge() -> Gauge:
    return Gauge(make(problems=2, counts=6, every=5, longest=60), "flops")


def test_staged_votes_lie_on_their_grids_and_within_the_draws(gauge: Gauge) -> None:
    able = probed(gauge)
    assert [(one.role, two.role) for one, two in able] == [("S", "S"), ("S", "L"), ("L", "L")]
    arms = probing(able, 60, "x")
    assert len({show(arm) for arm in arms}) == len(arms) == 60
    for arm in arms:
        assert isinstance(arm, Staged) and arm.chunk == 5 and arm.limit % 5 == 0 and 20 < arm.limit < 50
        alike = arm.small == arm.large
        assert arm.n + arm.m * arm.rounds * alike <= 6 and arm.m * arm.rounds <= 6
        assert arm.m or (alike and arm.rounds == 1)
        assert ((gauge(arm, 2).value >= 0) & (gauge(arm, 2).cost > 0)).all()
    assert {(a.small, a.large) for a in arms} == {("S", "S"), ("S", "L"), ("L", "L")}  # type: ignore[attr-defined]


def test_staged_votes_are_those_of_the_seed(gauge: Gauge) -> None:
    able = probed(gauge)
    assert probing(able, 9, "x") == probing(able, 9, "x") != probing(able, 9, "y")
    assert probing(able, 9, "x") == probing(able, 30, "x")[:9]
    assert probing(able, 0, "x") == [] == probing([], 9, "x")


def test_without_probes_there_are_none() -> None:
    assert probed(Gauge(make(), "flops")) == []
    one_of_two = make(every=5)
    bare = with_draws(one_of_two, lambda d: {"probe_every": 0, "probe": np.zeros(0, int)})
    assert [(a.role, b.role) for a, b in probed(Gauge(bare, "flops"))] == [("L", "L")]
    assert probed(Gauge(one_of_two, "calls")) == []  # a call for each chunk is not what was recorded


def test_draws_shorter_than_a_chunk_give_none() -> None:
    short = Gauge(make(problems=2, counts=6, every=50, longest=20), "flops")
    assert probing(probed(short), 9, "x") == []


def test_models_that_were_probed_at_other_distances_share_a_chunk() -> None:
    made, other = (make(problems=2, counts=4, every=every, longest=80) for every in (4, 6))
    gauge = Gauge(replace(made, drawn=(made.drawn[0], other.drawn[1])), "flops")
    arms = [arm for arm in probing(probed(gauge), 30, "x") if isinstance(arm, Staged)]
    both = {arm.chunk for arm in arms if arm.small != arm.large}
    assert both == {12} and {4, 6} <= {arm.chunk for arm in arms}
    for arm in arms:
        assert (gauge(arm, 2).cost > 0).all()
