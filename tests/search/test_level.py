"""A level of a study: prompts that grow, arms that are left behind, trials that are told once."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from autotts.core.task import Problem
from autotts.search.archive import Archive
from autotts.search.book import Book, opened
from autotts.search.level import Level, narrowed
from autotts.search.measure import Table
from autotts.search.race import Raced
from autotts.search.runs import Family, Ran
from autotts.search.screen import Verdict
from autotts.search.space import Space
from autotts.strategies import STRATEGIES
from autotts.strategies.arms import parse, show

SPACE = Space({n: STRATEGIES[n] for n in ("one", "vote", "beam")}, ("A", "B"), ("prm",))
GOOD = "beam(n=4, m=2, model=A, by=prm, temperature=0.6)"
POOR = "beam(n=4, m=2, model=B, by=prm, temperature=0.6)"


def level_of(storage: Any, taking: int = 8, count: int = 32) -> Level:
    problems = [Problem(f"p{i}", f"prompt {i}", "1", 1) for i in range(count)]
    table = Table(problems, np.full(count, 1 / count))
    book = Book(opened("x/L1", storage, "flops"), SPACE)
    return Level("1", table, np.arange(count), taking, book, SPACE)


@pytest.fixture
def level() -> Level:
    return level_of(optuna.storages.InMemoryStorage())


def ran(level: Level, right: float, cost: int) -> Raced:
    take = level.taking
    return Raced(tuple(Ran("1", i < right * take, cost, "returned") for i in range(take)), None)


def settle(level: Level, arm: str, right: float, cost: int, slot: int = 0) -> None:
    began = level.begin(parse(arm), "random", 0, slot)
    level.settle(began, ran(level, right, cost), 0)


def trials(level: Level) -> dict[str, Any]:
    return {t.user_attrs["arm"]: t for t in level.book.study.get_trials()}


def test_an_arm_far_from_the_frontier_is_left_behind_as_prompts_grow(level: Level) -> None:
    settle(level, GOOD, 1.0, 100)
    settle(level, POOR, 0.0, 200, 1)
    level.tell(0)
    assert {t.state for t in trials(level).values()} == {TrialState.RUNNING}
    wanted = level.grow(16, None)
    good, poor = show(parse(GOOD)), show(parse(POOR))
    assert wanted == {good: list(range(8, 16))}
    assert level.taking == 16
    told = trials(level)[poor]
    assert told.state == TrialState.PRUNED
    assert told.user_attrs["pruned"] == "between"
    assert "after 8 prompts" in told.user_attrs["why"]
    assert "not near the frontier" in level.log[poor].trace
    assert level.tried(parse(POOR))
    assert not level.knows(parse(GOOD))  # not on the new prompts yet
    level.table.put(good, level.rows, np.ones(16), np.full(16, 100.0), np.full(16, 100.0))
    assert [p.arm for p in level.frontier()] == [good]


def test_arms_on_all_prompts_are_complete(level: Level) -> None:
    level.taking = 32
    settle(level, GOOD, 0.5, 100)
    level.tell(3)
    told = trials(level)[show(parse(GOOD))]
    assert told.state == TrialState.COMPLETE
    assert told.values == [0.5, 100]
    assert level.running == {}


def test_a_level_without_room_for_more_stays_where_it_was(level: Level) -> None:
    settle(level, GOOD, 1.0, 100)
    pools = level.pools
    level.grow(16, None)
    level.stay(8, pools)
    assert level.taking == 8
    assert [p.value for p in level.points()] == [1.0]
    level.finish(1)
    assert trials(level)[show(parse(GOOD))].state == TrialState.COMPLETE


def test_a_pool_keeps_the_depth_that_its_near_arms_need(level: Level) -> None:
    of = Family("A", 0.6, 1.0)
    level.pools[of] = (16, None)
    one, deep = "one(model=A, temperature=0.6)", "vote(n=16, model=A, temperature=0.6)"
    for arm, value, cost in ((one, 0.5, 10.0), (deep, 0.5, 160.0)):
        name = show(parse(arm))
        level.table.put(name, level.rows, np.full(8, value), np.full(8, cost), np.full(8, cost))
    level.grow(16, None)
    assert level.pools == {of: (1, None)}  # 16 draws gave nothing that one does not give


def test_what_an_archive_tells_and_what_it_keeps(level: Level) -> None:
    settle(level, GOOD, 0.0, 100)  # a zero score is kept
    level.skip(Verdict(show(parse(POOR)), True, False, 0.01, "foretold to be below"), "random", 0, 2)
    level.tell(0)
    like = Archive(level="", levels=("1",), space=SPACE, work={"A": 1.0, "B": 8.0}, seed=3)
    archive = level.archive({level.name: level.trials()}, like)
    assert archive.level == "1" and archive.prompts == 8 and archive.seed == 3
    assert [(t.state, t.value) for t in archive.trials] == [("complete", 0.0), ("skipped", None)]
    assert "0 of 8 right" in archive.trials[0].trace
    assert level.tried(parse(POOR)) and not level.knows(parse(POOR))
    skipped = trials(level)[show(parse(POOR))]
    assert skipped.state == TrialState.PRUNED
    assert (skipped.user_attrs["pruned"], skipped.user_attrs["why"]) == ("before", "foretold to be below")


def test_an_interrupted_trial_is_found_again_and_a_finished_one_is_not_written_again() -> None:
    storage = optuna.storages.InMemoryStorage()
    first = level_of(storage)
    began = first.begin(parse(GOOD), "random", 2, 1)
    again = level_of(storage)
    assert again.begin(parse(GOOD), "random", 2, 1) == began
    again.book.complete(began.trial, 0.75, 10.0)
    again.book.prune(began.trial, "during", "late")
    third = level_of(storage)
    assert third.begin(parse(GOOD), "random", 2, 1).trial == began.trial
    trial = trials(third)[began.arm]
    assert trial.state == TrialState.COMPLETE and trial.values == [0.75, 10.0] and "why" not in trial.user_attrs
    other = third.begin(parse(POOR), "random", 2, 2)
    level_of(storage).book.leave()
    assert third.book.count(TrialState.FAIL) == 1
    assert trials(third)[other.arm].user_attrs["why"] == "interrupted, and not taken up again"


def test_a_study_that_ended_early_is_seen_on_the_prompts_that_it_took(level: Level) -> None:
    settle(level, GOOD, 1.0, 100)
    (part,) = narrowed([level])
    assert part.whole and len(part.table.problems) == 8
    assert part.table.weight.sum() == pytest.approx(1)
    assert part.point(show(parse(GOOD))) == (1.0, 100.0)
    level.taking = 32
    assert narrowed([level])[0] is level


def test_without_sharing_draws_tell_of_one_arm_alone(level: Level) -> None:
    level.sharing = False
    settle(level, "vote(n=8, model=A, temperature=0.6)", 0.5, 100)
    assert level.pools == {} and level.offspring() == {}
    assert level.point("vote(n=8, model=A, temperature=0.6)") == (0.5, 100.0)
