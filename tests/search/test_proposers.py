"""Every proposer: one suite for all, as Optuna has for its samplers, then what the samplers are for."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from autotts.errors import InputError
from autotts.search.archive import Proposer, Trial
from autotts.search.proposers import PROPOSERS, gaussian
from autotts.search.proposers.factors import Factors
from autotts.search.proposers.left import Left
from autotts.search.proposers.sampled import FREE, Sampled
from autotts.search.space import Space, models_of
from autotts.search.validator import Refusal, check
from autotts.strategies import STRATEGIES
from autotts.strategies.arms import parse, show
from tests.search.archives import SPACE, SPACES, archive_of, histories, sample, tried

HAVE_TORCH = all(importlib.util.find_spec(name) for name in gaussian.NEEDED)
GP = (pytest.mark.slow, pytest.mark.skipif(not HAVE_TORCH, reason="needs torch"))
NAMES = [pytest.param(name, marks=GP if name == "gp" else ()) for name in PROPOSERS]

# ------------------------------------------------------------ what all have in common


def cases() -> Iterable[object]:
    """Every proposer in every space after every history; of gp, which takes seconds, those that differ for it."""
    for name, space, history in itertools.product(NAMES, SPACES, histories(SPACE)):
        if name.values[0] != "gp" or (space in ("two models", "no scorer") and history != "full scores"):
            yield pytest.param(name.values[0], space, history, marks=name.marks)


@pytest.mark.parametrize(("name", "space", "history"), list(cases()))
def test_whatever_was_tried_all_proposals_are_new_valid_arms(name: str, space: str, history: str) -> None:
    proposer = PROPOSERS[name]()
    assert proposer.name == name
    archive = archive_of(SPACES[space], histories(SPACES[space])[history])
    k = 1 if name == "gp" else 3
    got = proposer.propose(archive, k)
    assert len(got) <= k and len(set(got)) == len(got)
    for text in got:
        assert not isinstance(found := check(text, archive, ()), Refusal), found
        assert show(parse(text)) == text
    if name != "insight" or history in ("nothing", "stopped trials"):  # rules may find that nothing is worth it
        assert got


@pytest.mark.parametrize("name", NAMES)
def test_the_same_archive_gives_the_same_proposals_and_another_place_others(name: str) -> None:
    archive = archive_of(trials=tried(sample(SPACE, 9)))
    got = PROPOSERS[name]().propose(archive, 2)
    assert got == PROPOSERS[name]().propose(archive, 2)
    if name in ("random", "tpe", "nsga2"):
        assert got != PROPOSERS[name]().propose(replace(archive, round=1), 2)
        assert got != PROPOSERS[name]().propose(replace(archive, level="2"), 2)
        assert got != PROPOSERS[name]().propose(replace(archive, seed=1), 2)


@pytest.mark.parametrize("name", NAMES)
def test_none_are_proposed_where_none_are_asked_for_or_left(name: str) -> None:
    proposer = PROPOSERS[name]()
    assert not proposer.propose(archive_of(), 0)
    single = Space({"one": STRATEGIES["one"]}, ("A",), ())
    object.__setattr__(single, "values", lambda knob: Space.values(single, knob)[:1])
    (arm,) = single.arms
    assert list(proposer.propose(archive_of(single), 3)) == [show(arm)]
    assert not proposer.propose(archive_of(single, tried([arm])), 3)
    assert not proposer.propose(archive_of(single, tried([arm], "skipped")), 3)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_proposed_that_draws_answer_or_that_surely_costs_too_much(name: str) -> None:
    deep = parse("weighted_vote(n=8, by=prm, model=A, temperature=0.6)")
    archive = archive_of(trials=tried([deep, *sample(SPACE, 8)]), cap=2000.0)
    left = Left.of(archive)
    for at in range(2 if name == "gp" else 5):
        for text in PROPOSERS[name]().propose(replace(archive, round=at), 3):
            assert left.has(parse(text))
            assert isinstance(check(text, archive, ()), type(parse(text)))


def test_what_is_left_is_neither_tried_nor_answered_nor_too_dear() -> None:
    deep = parse("weighted_vote(n=8, by=prm, model=A, temperature=0.6)")
    left = Left.of(archive_of(trials=tried([deep]), cap=800.0))
    has = {text: left.has(parse(text)) for text in map(show, SPACE.arms)}
    assert not has["vote(n=8, model=A, temperature=0.6)"]
    assert not has["best_of_n(n=4, model=A, temperature=0.6)"]
    assert not has["one(model=A, temperature=0.6)"]
    assert has["vote(n=16, model=A, temperature=0.6)"]  # it may cost just as much
    assert has["vote(n=8, model=A, temperature=1)"]
    assert has["beam(n=8, m=4, model=A, temperature=0.6)"]
    dear = Left.of(archive_of(trials=tried([deep]), cap=799.0))
    assert not dear.has(parse("best_of_n(n=16, model=A, temperature=0.6)"))
    unscored = Left.of(archive_of(trials=tried([parse("vote(n=8, model=A, temperature=0.6)")])))
    assert unscored.has(parse("best_of_n(n=4, by=prm, model=A, temperature=0.6)"))  # nothing has scored the draws
    stopped = Left.of(archive_of(trials=tried([deep], "pruned")))
    assert stopped.has(parse("vote(n=8, model=A, temperature=0.6)")) and not stopped.has(deep)


# ------------------------------------------------------------ factors


@pytest.mark.parametrize("space", list(SPACES))
def test_every_arm_is_itself_again_after_its_factors(space: str) -> None:
    factors = Factors(SPACES[space])
    for arm in SPACES[space].arms:
        params = factors.params(arm)
        assert factors.arm(params) == arm
        for name, value in params.items():
            assert factors.distributions[name]._contains(factors.distributions[name].to_internal_repr(value))


def test_draws_off_a_strategys_grid_are_the_nearest_on_it() -> None:
    factors = Factors(SPACE)
    assert factors.values["draws"] == (1, 2, 4, 8, 16, 32, 64)
    params = factors.params(parse("vote(n=1, model=A, temperature=0.6)")) | {"strategy": "beam"}
    assert show(factors.arm(params)) == "beam(n=4, m=2, model=A, temperature=0.6)"
    params |= {"strategy": "vote", "model": "B", "draws": 6}
    assert show(factors.arm(params)) == "vote(n=16, model=B, temperature=0.6)"  # no more than B may draw


# ------------------------------------------------------------ samplers


def near(text: str, others: Sequence[str]) -> int:
    """In how many factors an arm differs from the nearest of others."""
    factors = Factors(SPACE)
    mine = factors.params(parse(text))
    return min(sum(mine[n] != v for n, v in factors.params(parse(o)).items()) for o in others)


def test_children_of_nsga2_take_after_the_frontier_and_random_arms_do_not() -> None:
    best = [f"beam(n={n}, m={m}, model=B, temperature=1, top_p=0.9)" for n in (4, 8) for m in (2, 4)]
    rest = [a for a in sample(SPACE, 40) if show(a) not in best and models_of(a)[0] == ("A",)]
    trials = [Trial(a, "tpe", 0, "complete", 0.9, 10.0 + i, 16) for i, a in enumerate(best)]
    trials += [Trial(show(a), "tpe", 0, "complete", 0.1, 1000.0, 16) for a in rest]
    apart = {}
    for name in ("nsga2", "random"):
        found = [t for r in range(12) for t in PROPOSERS[name]().propose(archive_of(trials=tuple(trials), round=r), 2)]
        apart[name] = float(np.mean([near(t, best) for t in found]))
    assert apart["nsga2"] < apart["random"] - 1


@pytest.mark.parametrize("name", [n for n in NAMES if n.values[0] in ("tpe", "gp")])
def test_models_of_the_history_prefer_what_did_well(name: str) -> None:
    space = Space({"beam": STRATEGIES["beam"]}, ("A", "B"), ("prm",))
    good = {"B": 0.9, "A": 0.1}
    trials = tuple(Trial(show(a), "tpe", 0, "complete", good[models_of(a)[0][0]], 100.0, 16) for a in sample(space, 16))
    rounds = range(3 if name == "gp" else 12)
    share = {}
    for asked in (name, "random"):
        found = [t for r in rounds for t in PROPOSERS[asked]().propose(archive_of(space, trials, round=r), 2)]
        share[asked] = float(np.mean(["model=B" in t for t in found]))
    assert share[name] >= share["random"] + 0.2


def test_of_free_trials_the_latest_are_shown_and_of_others_all() -> None:
    free = [Trial(f"f{i}", "free", 0, "complete", 0.5, 1.0, 16) for i in range(FREE + 5)]
    paid = [Trial(f"p{i}", "tpe", 0, "pruned") for i in range(7)]
    blank = Trial("b", "tpe", 0, "skipped")
    proposer = PROPOSERS["tpe"]()
    assert isinstance(proposer, Sampled)
    shown = [t.arm for t in proposer._shown([*paid, *free, blank])]
    assert shown == [t.arm for t in paid] + [t.arm for t in free[5:]]


def test_without_torch_gp_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"gp: expected torch to be installed.*pip install torch.*such as tpe"):
        PROPOSERS["gp"]()


def test_every_name_makes_a_proposer_of_that_name() -> None:
    makers: dict[str, Callable[[], Proposer]] = {n: m for n, m in PROPOSERS.items() if n != "gp" or HAVE_TORCH}
    assert {n: m().name for n, m in makers.items()} == {n: n for n in makers}
    assert "agent" not in PROPOSERS
