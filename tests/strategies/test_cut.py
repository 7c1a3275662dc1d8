"""Votes of draws that are cut off, against their definition."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotts.core.cost import Prices
from autotts.core.node import Choice, Node, root_node
from autotts.core.plan import Spec
from autotts.core.world import Binding
from autotts.engine.replay import replay
from autotts.strategies.cut import Cut
from autotts.strategies.select import majority
from autotts.strategies.vote import Vote
from autotts.worlds.toy import Skill, Toy
from tests.strategies.drive import ROOT, Drive, end
from tests.strategies.test_whole_draws import pools


def running(name: str) -> Node:
    return Node(name.encode(), 1, False, None, name.encode(), 50)


def cut(nodes, probes):
    """A drive whose draws come from the first list, and its probes from the second, in order of asking."""
    left = iter(probes)
    return Drive(lambda ask, i: next(left) if ask.spec.move == "probe" else nodes[i])


def test_what_has_not_ended_votes_with_its_probe() -> None:
    nodes = [running("x"), end("a", 5), running("y"), end("c", 6)]
    probes = [end("b", 1, text="p"), end("b", 1, text="q")]
    drive = cut(nodes, probes)
    assert drive.run(Cut(n=4, limit=50, model="S", temperature=0.7)) == Choice(probes[0], 0.5)
    assert [ask.spec for ask in drive.draws] == [
        *[Spec(stop=50, model="S", temperature=0.7)] * 4,
        *[Spec(move="probe", model="S", temperature=0.0)] * 2,
    ]
    assert [ask.node for ask in drive.draws[4:]] == [nodes[0], nodes[2]] and drive.draws[0].node is ROOT


def test_what_broke_is_not_asked_and_what_says_nothing_does_not_vote() -> None:
    nodes = [Node(b"f", 1, False, None, b"f", 3, failed=True), running("x"), end("a", 5)]
    drive = cut(nodes, [end(None, 1)])
    assert drive.run(Cut(n=3, limit=50)) == Choice(nodes[2], 1.0)
    assert len(drive.draws) == 4


@given(pools)
def test_a_limit_that_no_draw_reaches_is_the_vote(nodes) -> None:
    assert cut(nodes, []).run(Cut(n=len(nodes))) == majority(nodes)


@given(st.lists(st.sampled_from(["a", "b", None, ...]), min_size=1, max_size=9), st.data())
def test_it_is_the_majority_in_order_of_asking(said, data) -> None:
    """... stands for a draw that is cut off."""
    probes = [end(data.draw(st.sampled_from(["a", "b", None])), 1, text=f"p{i}") for i in range(said.count(...))]
    nodes = [running(f"r{i}") if x is ... else end(x, i + 1) for i, x in enumerate(said)]
    left = iter(probes)
    assert cut(nodes, probes).run(Cut(n=len(nodes))) == majority(
        [next(left) if x is ... else n for x, n in zip(said, nodes)]
    )


@pytest.mark.parametrize("limit", [1, 15, 40, 60])
def test_on_the_toy_world_no_draw_takes_more_than_its_limit_and_a_probe(limit) -> None:
    toy = Toy({"policy": Binding("S@1", prices=Prices())}, {"S@1": Skill(length=(20, 60), fail=0.0, mute=0.0, probe=2)})
    for i in range(20):
        root = root_node(f"problem {i}", 5)
        out = replay(Cut(n=6, limit=limit).plan(root, Random(0)), root, toy.script({root.key: None}), toy.bindings)
        whole = replay(Vote(n=6).plan(root, Random(0)), root, toy.script({root.key: None}), toy.bindings)
        assert out.ticks <= limit + 2
        if limit == 60:
            assert out.usage["S@1"].calls == 6 and whole.ticks <= 60
        elif limit == 1:
            assert out.cost == 5 + 6 * (1 + 2)
