"""What is proposed by design: the covering array with its bounds, and the insight rules."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from autotts.search.archive import Archive, Trial
from autotts.search.proposers.covering import Covering, array, learned, pairs
from autotts.search.proposers.insight import Insight, Look, probed, promise
from autotts.search.proposers.left import Left
from autotts.search.runs import depth
from autotts.search.space import Space
from autotts.strategies import STRATEGIES
from autotts.strategies.arms import parse, show
from tests.search.archives import SPACE, SPACES, WORK, archive_of, figures, sample, tried

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
