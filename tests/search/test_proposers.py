"""Every proposer: one suite for all, as Optuna has for its samplers, then what each is for."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from autotts.core.strategy import Strategy
from autotts.errors import InputError
from autotts.search.archive import Archive, Proposer, State, Trial
from autotts.search.proposers import PROPOSERS, gaussian
from autotts.search.proposers.covering import Covering, array, learned, pairs
from autotts.search.proposers.factors import Factors
from autotts.search.proposers.insight import Insight, Look, probed, promise
from autotts.search.proposers.left import Left
from autotts.search.proposers.sampled import FREE, Sampled
from autotts.search.runs import depth
from autotts.search.space import Space, models_of
from autotts.search.validator import Refusal, check
from autotts.strategies import STRATEGIES, STUDIED
from autotts.strategies.arms import parse, show

KINDS = {n: STRATEGIES[n] for n in STUDIED}
SPACE = Space(KINDS, ("A", "B"), ("prm",), {"A": 128, "B": 16})
WORK = {"A": 1.0, "B": 8.0}
PLAIN = {n: STRATEGIES[n] for n in ("one", "vote", "first_finish", "adaptive")}
SPACES = {
    "two models": SPACE,
    "one model": Space(KINDS, ("A",), ("prm",)),
    "no scorer": Space(PLAIN, ("A", "B"), ()),
    "a model that may hardly draw": Space(KINDS, ("A", "B"), ("prm",), {"A": 64, "B": 1}),
    "two models in one arm": Space({"cascade": STRATEGIES["cascade"]}, ("A", "B"), (), {"A": 4}),
}
HAVE_TORCH = all(importlib.util.find_spec(name) for name in gaussian.NEEDED)
NAMES = [
    pytest.param(n, marks=pytest.mark.skipif(n == "gp" and not HAVE_TORCH, reason="needs torch")) for n in PROPOSERS
]

Table = dict[str, tuple[float, float]]


def figures(arm: Strategy) -> tuple[float, float]:
    """A toy truth: B is better and dearer, and draws help less and less."""
    model = models_of(arm)[0][-1]
    return 0.95 * (1 - (0.5 if model == "A" else 0.2) ** (1 + np.log2(depth(arm)))), 100 * WORK[model] * depth(arm)


def tried(
    arms: Iterable[Strategy], state: State = "complete", value: float | None = None, kind: str = "tpe"
) -> tuple[Trial, ...]:
    out = []
    for arm in arms:
        accuracy, cost = figures(arm)
        out.append(Trial(show(arm), kind, 0, state, accuracy if value is None else value, cost, 16))
    return tuple(out)


def sample(space: Space, count: int, seed: int = 0) -> list[Strategy]:
    order = np.random.default_rng(seed).permutation(len(space.arms))
    return [space.arms[i] for i in order[:count]]


def archive_of(space: Space = SPACE, trials: tuple[Trial, ...] = (), **more: object) -> Archive:
    return replace(Archive("1", ("1", "2"), space, WORK, trials, prompts=16), **more)  # type: ignore[arg-type]


def histories(space: Space) -> dict[str, tuple[Trial, ...]]:
    arms = sample(space, 12)
    odd = (
        Trial("no arm at all (", "agent", 0, "refused", trace="unreadable"),
        Trial("vote(n=8, model=gone, temperature=0.6)", "tpe", 0, "complete", 0.5, 10.0, 16),
        Trial(show(arms[0]), "tpe", 0, "complete", float("nan"), 10.0, 16),
        Trial(show(arms[1]), "tpe", 0, "complete", 0.0, 0.0, 0),
        Trial(show(arms[2]), "tpe", 0, "complete", 1.0, float("inf"), 16),
        Trial(show(arms[3]), "tpe", 0, "skipped"),
        Trial(show(arms[4]), "tpe", 0, "pruned"),
    )
    return {
        "nothing": (),
        "one trial": tried(arms[:1]),
        "some trials": tried(arms),
        "zero scores": tried(arms, value=0.0),
        "full scores": tried(arms, value=1.0),
        "stopped trials": tried(arms, "pruned"),
        "free trials": tried(arms, kind="free"),
        "skipped trials": tuple(Trial(show(a), "tpe", 0, "skipped") for a in arms),
        "odd trials": odd + tried(arms[5:]),
    }


# ------------------------------------------------------------ what all have in common


def cases() -> Iterable[object]:
    """Every proposer in every space after every history; of gp, which takes seconds, those that differ for it."""
    for name, space, history in itertools.product(NAMES, SPACES, histories(SPACE)):
        if name.values[0] != "gp" or (space in ("two models", "no scorer") and history != "full scores"):
            yield pytest.param(name.values[0], space, history, marks=name.marks)


@pytest.mark.parametrize(("name", "space", "history"), cases())
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


# ------------------------------------------------------------ the covering array, and the bounds


@pytest.mark.parametrize("doublings", [1, 2])
@pytest.mark.parametrize("space", list(SPACES))
def test_any_two_values_that_go_together_stand_together_in_the_array(space: str, doublings: int) -> None:
    of = SPACES[space]
    rows = array(of, WORK, Left.of(archive_of(of)), set(), 10**6, doublings)
    have = {pair for row in rows for pair in pairs(of, row, doublings)}
    assert have == {pair for arm in of.arms for pair in pairs(of, arm, doublings)}
    assert len(rows) < len(of.arms) / 4 or len(of.arms) < 40
    assert rows == array(of, WORK, Left.of(archive_of(of)), set(), 10**6, doublings)


def test_the_array_has_the_pairs_that_are_meant() -> None:
    found = pairs(SPACE, parse("weighted_vote(n=8, by=prm, model=B, temperature=0.6)"), 2)
    has = {"strategy": "weighted_vote", "model": "B", "by": "prm", "temperature": 0.6, "top_p": 1.0, "size": 1}
    assert found == set(itertools.combinations(sorted(has.items()), 2))
    assert not any("by" in (a[0], b[0]) for a, b in pairs(SPACE, parse("one(model=B, temperature=0)"), 2))


class Known:
    """A surrogate that knows the arms' means, and is as unsure of each."""

    def __init__(self, archive: Archive) -> None:
        self.asked = archive

    def forecast(self, arms: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return np.array([figures(parse(a))[0] for a in arms]), np.full(len(arms), 0.1)


def test_round_after_round_all_pairs_are_tried_then_the_best_and_the_worst_in_turn() -> None:
    proposer = Covering(Known)
    trials: tuple[Trial, ...] = ()
    for at in range(30):
        archive = archive_of(trials=trials, round=at)
        left = Left.of(archive)
        missing = {p for a in left.among(SPACE.arms) for p in pairs(SPACE, a, 2)} - proposer._seen(archive, left)
        got = [parse(t) for t in proposer.propose(archive, 3)]
        if not missing:
            break
        assert missing & pairs(SPACE, got[0], 2)
        trials += tried(got)
    else:
        raise AssertionError("the array never ended")
    assert 4 <= at <= 10
    for turn in (at, at + 1):
        first, second, _ = (figures(parse(t))[0] for t in proposer.propose(replace(archive, round=turn), 3))
        values = [figures(a)[0] for a in left.among(SPACE.arms)]
        ends = (max(values), min(values)) if turn % 2 == 0 else (min(values), max(values))
        assert (first, second) == pytest.approx(ends)


def test_what_is_unsure_is_sought_from_both_sides() -> None:
    odd = "beam(n=8, m=4, model=B, temperature=1)"

    class Unsure(Known):
        def forecast(self, arms: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            return np.full(len(arms), 0.5), np.array([1.0 if a == odd else 0.1 for a in arms])

    rows = array(SPACE, WORK, Left.of(archive_of()), set(), 10**6, 2)
    trials = tried([a for a in rows if show(a) != odd])
    for at in (0, 1):
        assert Covering(Unsure).propose(archive_of(trials=trials, round=at), 1) == (odd,)


def test_what_a_study_has_seen_makes_the_surrogate() -> None:
    archive = archive_of(trials=tried(sample(SPACE, 30)), others={"2": tried(sample(SPACE, 10, 1), value=0.1)})
    arms = [show(a) for a in sample(SPACE, 60, 2)]
    mean, sd = learned(archive).forecast(arms)
    truth = [figures(parse(a))[0] for a in arms]
    assert np.corrcoef(mean, truth)[0, 1] > 0.6
    assert (sd > 0).all()


# ------------------------------------------------------------ insight rules


def test_models_are_probed_at_one_budget_the_largest_first() -> None:
    assert [show(a) for a in probed(archive_of())] == [
        "one(model=B, temperature=0)",
        "vote(n=8, model=A, temperature=0.6)",
    ]
    assert list(Insight().propose(archive_of(), 5)) == [show(a) for a in probed(archive_of())]
    even = replace(archive_of(), work={"A": 1.0, "B": 1.0})
    assert [depth(a) for a in probed(even)] == [1, 1]
    no_vote = Space({"beam": STRATEGIES["beam"]}, ("A", "B"), ("prm",))
    assert [show(a) for a in probed(archive_of(no_vote))] == ["beam(n=8, m=2, model=A, temperature=0.6)"]
    bare = Insight(i1=False).propose(archive_of(), 5)
    assert set(bare) != {show(a) for a in probed(archive_of())} and len(bare) == 5


def compared(small: float, large: float, prompts: int = 100) -> Archive:
    return archive_of(
        trials=(
            Trial("one(model=B, temperature=0)", "insight", 0, "complete", large, 800.0, prompts),
            Trial("vote(n=8, model=A, temperature=0.6)", "insight", 0, "complete", small, 800.0, prompts),
        )
    )


@pytest.mark.parametrize(
    ("small", "large", "prompts", "model"),
    [(0.5, 0.6, 100, "A"), (0.5, 0.7, 100, "B"), (0.5, 0.7, 16, "A"), (0.5, 0.5, 100, "A"), (0.6, 0.5, 10**6, "A")],
)
def test_a_larger_model_is_preferred_only_where_it_is_clearly_better(
    small: float, large: float, prompts: int, model: str
) -> None:
    assert Look(compared(small, large, prompts)).favourite(True) == model
    assert Look(compared(small, large, prompts)).favourite(False) == ("B" if large > small else "A")


def test_what_cost_more_than_the_probes_does_not_speak_for_a_model() -> None:
    archive = compared(0.6, 0.5)
    dear = Trial("vote(n=16, model=B, temperature=0.6)", "tpe", 0, "complete", 0.99, 9000.0, 100)
    archive = replace(archive, trials=(*archive.trials, dear))
    assert Look(archive).favourite(True) == "A"
    assert Look(archive).favourite(False) == "B"
    assert Look(replace(archive, trials=(dear,))).favourite(True) == "B"  # where there is nothing else


def curve(values: dict[int, float], prompts: int = 64, temperature: float = 0.6) -> tuple[Trial, ...]:
    return tuple(
        Trial(f"vote(n={n}, model=A, temperature={temperature:g})", "insight", 0, "complete", v, 100.0 * n, prompts)
        for n, v in values.items()
    )


# The larger model is no better, and draws do not help it.
OTHER = (
    Trial("one(model=B, temperature=0)", "insight", 0, "complete", 0.05, 800.0, 64),
    Trial("vote(n=4, model=B, temperature=0.6)", "insight", 0, "complete", 0.04, 3200.0, 64),
)


@pytest.mark.parametrize(
    ("values", "then"),
    [
        ({8: 0.5}, "vote(n=16"),  # nothing is known of the direction yet
        ({1: 0.2, 4: 0.5, 8: 0.7}, "vote(n=16"),  # it rises
        ({1: 0.3, 4: 0.7, 8: 0.705}, None),  # it has levelled off
        ({4: 0.7, 8: 0.6}, None),  # it goes down
        ({64: 0.5}, None),  # the grid ends
        ({1: 0.0, 8: 0.0}, None),  # more of nothing
        ({8: 0.0}, "vote(n=16"),  # nothing in one place may become something
    ],
)
def test_draws_are_doubled_while_that_promises_more_than_noise(values: dict[int, float], then: str | None) -> None:
    archive = archive_of(trials=(*OTHER, *curve(values)))
    moves = [show(arm) for _, arm in Insight().moves(Look(archive))]
    assert [m.split(",")[0] for m in moves] == ([] if then is None else [then])
    assert Insight(i2=False).moves(Look(archive)) == []
    assert (Insight().propose(archive, 1)[:1] == tuple(moves)) == (then is not None)


def test_a_vote_of_two_is_not_tried_and_what_was_stopped_is_not_gone_beyond() -> None:
    one = archive_of(trials=(*OTHER, *curve({1: 0.3})))
    assert [show(a) for _, a in Insight().moves(Look(one))] == ["vote(n=4, model=A, temperature=0.6)"]
    stopped = Trial("vote(n=4, model=A, temperature=0.6)", "insight", 0, "pruned", 0.1, 400.0, 8)
    assert Insight().moves(Look(replace(one, trials=(*one.trials, stopped)))) == []


def test_a_promise_follows_the_curve_that_saturates() -> None:
    truth = {n: 0.8 * (1 - 0.7**n) for n in (1, 2, 4, 8, 16)}
    seen = {n: truth[n] for n in (1, 2, 4)}
    assert promise(seen, 8, 64) == pytest.approx(truth[8] - truth[4], abs=1e-4)
    assert promise(seen, 16, 64) == pytest.approx(truth[16] - truth[4], abs=1e-4)


def test_the_favourite_model_goes_on_first_and_then_the_others() -> None:
    archive = archive_of(trials=(OTHER[0], *curve({8: 0.5})))
    moves = [show(arm) for _, arm in Insight().moves(Look(archive))]
    assert moves == ["vote(n=16, model=A, temperature=0.6)", "vote(n=4, model=B, temperature=0.6)"]
    better = archive_of(trials=(replace(OTHER[0], value=0.9), *curve({8: 0.5})))
    assert [m.split("model=")[1][0] for m in (show(a) for _, a in Insight().moves(Look(better)))] == ["B", "A"]


def test_levels_take_turns_by_what_they_promise_for_the_cost() -> None:
    rising, level = (*OTHER, *curve({1: 0.1, 4: 0.35, 8: 0.6})), (*OTHER, *curve({1: 0.3, 4: 0.7, 8: 0.7}))
    behind = archive_of(trials=level, others={"2": rising})
    ahead = archive_of(trials=rising, others={"2": level})
    assert Insight().propose(behind, 4) == ()
    assert len(Insight(i3=False).propose(behind, 4)) == 4
    assert len(Insight().propose(ahead, 4)) == 4
    alone = archive_of(trials=level)
    assert len(Insight().propose(alone, 4)) == 4  # nothing promises more elsewhere


def test_around_the_best_arm_one_thing_is_changed_unless_all_is_alike() -> None:
    archive = archive_of(trials=(*OTHER, *curve({1: 0.3, 4: 0.7, 8: 0.9, 16: 0.9}, 400)))
    got = Insight().propose(archive, 3)
    assert got[:2] == (
        "vote(n=8, model=A, temperature=1)",
        "vote(n=8, model=A, temperature=0.6, top_p=0.9)",
    )
    flat = tuple(replace(t, value=0.3) for t in OTHER)
    alike = archive_of(trials=(*flat, *curve({1: 0.3, 4: 0.3, 8: 0.3, 16: 0.3})))
    assert Look(alike).alike and not Look(archive).alike
    chance = [show(a) for a in Look(alike).by_chance()]
    assert set(Insight().propose(alike, 3)) <= set(chance)
    assert Insight().propose(alike, 1) == (chance[0],)
    assert Insight().propose(replace(alike, round=1), 1) != (chance[0],)


def test_every_name_makes_a_proposer_of_that_name() -> None:
    makers: dict[str, Callable[[], Proposer]] = {n: m for n, m in PROPOSERS.items() if n != "gp" or HAVE_TORCH}
    assert {n: m().name for n, m in makers.items()} == {n: n for n in makers}
    assert "agent" not in PROPOSERS
