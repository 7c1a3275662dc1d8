"""Strategies that choose among whole draws, against their definitions."""

from itertools import pairwise
from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotts.core.node import Choice
from autotts.core.plan import Spec
from autotts.strategies.adaptive import Adaptive, surety
from autotts.strategies.best_of_n import BestOfN
from autotts.strategies.first_finish import FirstFinish
from autotts.strategies.one import One
from autotts.strategies.select import majority, readable
from autotts.strategies.vote import Vote
from autotts.strategies.weighted_vote import WeightedVote
from tests.strategies.drive import ROOT, end, script

answers = st.sampled_from(["a", "b", "c", None])
ends = st.builds(end, answers, st.integers(1, 9), failed=st.booleans())
pools = st.lists(ends, min_size=1, max_size=16)
marks = st.sampled_from([0.0, 0.25, 0.5, 1.0, nan])


def test_a_strategy_asks_for_what_its_knobs_say() -> None:
    drive = script([end("a")] * 3)
    drive.run(Vote(n=3, model="S", temperature=0.6, top_p=0.9))
    assert [(ask.node, ask.spec) for ask in drive.draws] == [(ROOT, Spec("extend", "end", "S", 0.6, 0.9))] * 3
    drive = script([end("a")])
    drive.run(One(model="L"))
    assert [ask.spec for ask in drive.draws] == [Spec(model="L", temperature=0.0)]
    drive = script([end("a", 1), end("b", 2)])
    drive.run(BestOfN(n=2, by="judge"))
    assert [ask.by for ask in drive.scores] == ["judge"] * 2


@given(ends)
def test_one_draw_is_a_vote_of_one(node) -> None:
    one = script([node]).run(One())
    assert one is not None and one.node is node
    assert one == script([node]).run(Vote(n=1)) == script([node]).run(WeightedVote(n=1))
    assert one == script([node]).run(FirstFinish(n=1)) == script([node]).run(Adaptive(most=1))
    best = script([node], [0.5]).run(BestOfN(n=1))
    assert best is not None and best.node is node


@given(pools)
def test_a_vote_is_the_majority_in_order_of_asking(nodes) -> None:
    drive = script(nodes)
    assert drive.run(Vote(n=len(nodes))) == majority(nodes)
    arrived = sorted(nodes, key=lambda x: x.tokens)
    assert drive.late == [majority(arrived[: i + 1]) for i in range(len(nodes))]


@given(pools)
def test_a_weighted_vote_with_equal_scores_is_the_vote(nodes) -> None:
    a, b = script(nodes, [0.5] * len(nodes)).run(WeightedVote(n=len(nodes))), script(nodes).run(Vote(n=len(nodes)))
    assert a is not None and b is not None and a.node.answer == b.node.answer


@given(pools, st.data())
def test_a_cap_before_the_scores_leaves_the_majority(nodes, data) -> None:
    scores = data.draw(st.lists(marks, min_size=len(nodes), max_size=len(nodes)))
    for strategy in (WeightedVote(n=len(nodes)), BestOfN(n=len(nodes))):
        drive = script(nodes, scores)
        drive.run(strategy)
        assert drive.offers[0] == majority(nodes) and len(drive.offers) == 2
        assert len(drive.scores) == len({x.digest for x in nodes if readable(x)})


def test_best_of_n_takes_the_best_and_weighted_adds_up() -> None:
    nodes, scores = [end("a", 1), end("b", 2), end("a", 3)], [0.5, 0.8, 0.4]
    assert script(nodes, scores).run(BestOfN(n=3)) == Choice(nodes[1], 0.8)
    choice = script(nodes, scores).run(WeightedVote(n=3))
    assert choice is not None and choice.node is nodes[0]


@given(pools, st.integers(1, 16))
def test_first_finish_is_the_majority_of_the_first_k_readable(nodes, k) -> None:
    k = min(k, len(nodes))
    arrived = sorted(nodes, key=lambda x: x.tokens)
    first = [x for x in arrived if readable(x)][:k]
    choice = script(nodes).run(FirstFinish(n=len(nodes), k=k))
    assert choice == (majority(first) or Choice(arrived[0], 0.0))


def test_a_longer_draw_never_changes_the_first_to_finish() -> None:
    nodes = [end("b", 5), end(None, 1), end("a", 3)]
    assert script(nodes).run(FirstFinish(n=3)) == Choice(nodes[2], 1.0)
    assert script([*nodes, end("b", 4)]).run(FirstFinish(n=4)) == Choice(nodes[2], 1.0)


def test_surety_is_the_beta_posterior() -> None:
    assert [float(surety(a, 0)) for a in (2, 3, 4)] == [0.875, 0.9375, 0.96875]  # 1 - 2^-(a+1)
    assert surety(0, 0) == surety(3, 3) == 0.5
    for b in range(6):
        assert all(x < y for x, y in pairwise(surety(a, b) for a in range(12)))
        assert all(x > y for x, y in pairwise(surety(6, c) for c in range(b + 1)))


def test_surety_is_the_incomplete_beta_function() -> None:
    beta = pytest.importorskip("scipy.stats").beta
    for a in range(20):
        for b in range(a + 1):
            assert abs(float(surety(a, b)) - beta.sf(0.5, a + 1, b + 1)) < 1e-12


@pytest.mark.parametrize(("threshold", "stops"), [(0.0, 1), (0.86, 2), (0.93, 3), (0.95, 4), (1.0, 40)])
def test_unanimity_stops_when_it_is_sure(threshold, stops) -> None:
    drive = script([end("a")] * 40)
    assert drive.run(Adaptive(most=40, threshold=threshold)) == Choice(drive.offers[-1].node, 1.0)
    assert len(drive.draws) == stops


@given(pools, st.integers(1, 5))
def test_a_threshold_of_1_is_the_vote(nodes, batch) -> None:
    drive = script(nodes)
    assert drive.run(Adaptive(most=len(nodes), threshold=1.0, batch=batch)) == majority(nodes)
    assert len(drive.draws) == len(nodes)


@given(pools, st.integers(1, 5))
def test_adaptive_stops_at_the_first_sure_batch(nodes, batch) -> None:
    drive = script(nodes)
    choice = drive.run(Adaptive(most=len(nodes), threshold=0.8, batch=batch))
    assert choice == majority(nodes[: len(drive.draws)])
    for seen in range(batch, len(drive.draws), batch):
        counts = sorted((sum(readable(x) and x.answer == a for x in nodes[:seen]) for a in "abc"), reverse=True)
        assert surety(counts[0], counts[1]) < 0.8
