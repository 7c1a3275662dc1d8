"""The parts of a study: its space, its races, its choices."""

from __future__ import annotations

import asyncio

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotts.errors import InputError
from autotts.estimate.intervals import Interval
from autotts.policy.allocation import Point
from autotts.search.choose import tuned
from autotts.search.level import choosing
from autotts.search.race import Rival, race, rival_at
from autotts.search.recipe import Recipe, recipe_from
from autotts.search.result import judged
from autotts.search.rounds import designed, height
from autotts.search.runs import Family, Ran
from autotts.search.space import Space, models_of, usable
from autotts.search.tally import Tally
from autotts.strategies import STRATEGIES, STUDIED
from autotts.strategies.arms import parse, show

KINDS = {name: STRATEGIES[name] for name in STUDIED}
SPACE = Space(KINDS, ("A", "B"), ("prm",))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_whatever_is_suggested_is_a_valid_arm_on_the_grid(seed: int) -> None:
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=optuna.samplers.RandomSampler(seed=seed))
    strategy = SPACE.suggest(study.ask())
    assert parse(show(strategy)) == strategy
    params = SPACE.params(strategy)
    assert params is not None
    domains = SPACE.distributions(params["strategy"])
    for name, value in params.items():
        assert domains[name]._contains(domains[name].to_internal_repr(value))


def test_contradicting_knobs_are_lowered_on_their_grid() -> None:
    trial = optuna.trial.FixedTrial(
        {
            "strategy": "first_finish",
            "first_finish.n": 1,
            "first_finish.k": 2,
            "first_finish.model": "A",
            "first_finish.temperature": 0.6,
            "first_finish.top_p": 1.0,
        }
    )
    space = Space({"first_finish": STRATEGIES["first_finish"]}, ("A",), ())
    object.__setattr__(space, "values", lambda knob: {"n": (1,), "k": (1, 2)}.get(knob.name, Space.values(space, knob)))
    assert show(space.suggest(trial)) == "first_finish(n=1, k=1, model=A, temperature=0.6)"  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_a_strategy_of_two_models_can_be_asked_for(seed) -> None:
    space = Space({"cascade": STRATEGIES["cascade"]}, ("A", "B"), (), {"A": 2, "B": 64})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    arm = space.suggest(study.ask())
    assert set(models_of(arm)[0]) <= {"A", "B"} and models_of(arm)[1] == ()
    assert arm.small != "A" or arm.n <= 2  # type: ignore[attr-defined]


def test_strategies_that_score_need_a_scorer() -> None:
    assert "beam" in usable(KINDS, ["prm"])
    assert set(usable(KINDS, [])) == {"one", "vote", "first_finish", "adaptive"}
    with pytest.raises(InputError, match="at least one strategy"):
        Space({}, ("A",), ())


def test_a_pool_answers_every_setting_up_to_its_depth_and_no_more() -> None:
    arms = [show(s) for s in choosing(SPACE, Family("A", 0.6, 1.0), 8, None)]
    assert "vote(n=8, model=A, temperature=0.6)" in arms
    assert "one(model=A, temperature=0.6)" in arms
    assert not any("n=16" in arm or "weighted_vote" in arm for arm in arms)
    scored = [show(s) for s in choosing(SPACE, Family("A", 0.6, 1.0), 8, "prm")]
    assert any("weighted_vote(n=8" in arm for arm in scored)


def test_the_first_round_gives_models_equal_budgets() -> None:
    arms = [show(s) for s in designed(Space(KINDS, ("A", "B"), ("prm",), {"A": 256, "B": 32}), 32)]
    assert arms == [
        "one(model=A, temperature=0)",
        "weighted_vote(n=32, model=A, temperature=0.6)",
        "one(model=B, temperature=0)",
        "weighted_vote(n=16, model=B, temperature=0.6)",
    ]


class Scripted:
    """A runner whose arm is right on every k-th prompt."""

    def __init__(self, every: int) -> None:
        self.every, self.ran, self.tally = every, 0, Tally()

    async def run(self, strategy: object, problem: int) -> Ran:
        self.ran += 1
        return Ran("x", problem % self.every == 0, 100, "returned")


def raced(every: int, rivals: list[Rival]) -> tuple[object, int]:
    runner = Scripted(every)
    out = asyncio.run(race(runner, parse("one"), range(120), rivals, block=12, error=0.01))  # type: ignore[arg-type]
    return out, runner.ran


def test_an_arm_that_cannot_reach_the_frontier_is_stopped_with_its_bound() -> None:
    good = Rival("good", np.ones(120), np.full(120, 100.0))
    out, ran = raced(3, [good])
    assert ran < 60
    assert "good" in str(out.bound)  # type: ignore[attr-defined]
    out, ran = raced(1, [good])
    assert ran == 120
    assert out.bound is None  # type: ignore[attr-defined]


def test_a_cheaper_arm_is_never_stopped_by_a_dearer_one() -> None:
    dear = Rival("dear", np.ones(120), np.full(120, 1000.0))
    assert raced(3, [dear])[1] == 120


def test_rivals_are_mixed_to_the_same_cost() -> None:
    rivals = [Rival("low", np.zeros(4), np.full(4, 100.0)), Rival("high", np.ones(4), np.full(4, 200.0))]
    mixed = rival_at(rivals, 4, 150.0)
    assert mixed is not None
    assert mixed[0].tolist() == [0.5] * 4
    assert rival_at(rivals, 4, 99.0) is None


def test_baselines_are_tuned_within_our_cost() -> None:
    points = [
        Point("one(model=A, temperature=0)", 0.5, 10),
        Point("one(model=A, temperature=0.6)", 0.4, 10),
        Point("vote(n=4, model=A, temperature=0.6)", 0.6, 40),
        Point("vote(n=8, model=A, temperature=0.6)", 0.7, 80),
        Point("vote(n=16, model=A, temperature=0.6)", 0.9, 160),
    ]
    found = {b.name: b.routes(0)[0][0] for b in tuned(points, ["A"], 100)}
    assert found == {
        "one draw of A": "one(model=A, temperature=0)",
        "majority vote": "vote(n=8, model=A, temperature=0.6)",
    }


def test_area_of_a_frontier() -> None:
    grid = np.array([1.0, 2.0, 3.0, 4.0])
    assert height([Point("a", 0.5, 2.0), Point("b", 1.0, 4.0)], grid) == pytest.approx((0 + 0.5 + 0.75 + 1.0) / 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trials": 0}, "trials: expected a whole number of at least 1, found 0"),
        ({"budget": "1e15flop"}, "did you mean 1e15flops"),
        ({"budget": "1e15flops", "target": 0.9}, "--budget or --target"),
        ({"target": 1.5}, "target: expected an accuracy"),
        ({"budget": "1e15flops", "cap": "5tokens"}, "in one unit"),
        ({"proposer": "magic"}, "proposer: expected some of guided, tpe"),
        ({"timeout": -1.0}, "timeout"),
    ],
)
def test_a_wrong_recipe_says_what_was_expected(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        recipe = Recipe(**change)  # type: ignore[arg-type]
        recipe.unit  # noqa: B018


def test_a_study_file_names_the_wrong_key() -> None:
    assert recipe_from({"task": "math", "models": ["S"], "trials": 5}, "x.toml").models == ("S",)
    with pytest.raises(InputError, match="unknown key 'trails'"):
        recipe_from({"trails": 5}, "x.toml")
    with pytest.raises(InputError, match="trials: expected a whole number"):
        recipe_from({"trials": "five"}, "x.toml")


def test_a_verdict_says_what_the_intervals_say() -> None:
    better, worse, noise = Interval(0.02, 0.01, 0.03), Interval(-0.01, -0.02, -0.005), Interval(0.01, -0.01, 0.03)
    said = {
        "pays here, beyond noise at 1 of 2 budgets": (better, noise),
        "looks better here, beyond noise at 1 of 3 budgets": (better, noise, noise),
        "better beyond noise at 1 and worse at 1 of 3 budgets": (better, worse, noise),
        "does not pay here: worse beyond noise at b1": (noise, worse),
        "but no budget shows it beyond noise": (noise, noise),
        "does not pay here (": (Interval(0.0, -0.01, 0.01),),
    }
    for words, gaps in said.items():
        assert words in judged([(f"b{i}", gap) for i, gap in enumerate(gaps)])
