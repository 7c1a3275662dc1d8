"""The cascade of whole draws against its definition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotts.core.node import Choice
from autotts.core.plan import Spec
from autotts.strategies.arms import parse, show
from autotts.strategies.cascade import Cascade
from autotts.strategies.select import majority, readable, tally
from autotts.strategies.vote import Vote
from tests.strategies.drive import end, script
from tests.strategies.test_whole_draws import pools


def test_a_sure_vote_asks_nobody_else() -> None:
    nodes = [end("a", 1), end("b", 2), end("a", 3)]
    drive = script(nodes)
    assert drive.run(Cascade(small="S", large="L", n=3, sure=0.6, temperature=0.7)) == Choice(nodes[0], 2 / 3)
    assert [ask.spec for ask in drive.draws] == [Spec(model="S", temperature=0.7)] * 3


def test_where_it_is_not_sure_the_large_model_counts_more() -> None:
    nodes = [end("a", 1), end("a", 2), end("b", 3), end("b", 4), end("c", 5)]
    drive = script(nodes)
    assert drive.run(Cascade(small="S", large="L", n=3, m=2, sure=0.8, weight=2.0)) == Choice(nodes[2], 3 / 7)
    assert [ask.spec.model for ask in drive.draws] == ["S", "S", "S", "L", "L"]
    assert drive.offers[0] == Choice(nodes[0], 2 / 3)
    light = script(nodes).run(Cascade(n=3, m=2, sure=0.8, weight=1.0))
    assert light == Choice(nodes[0], 2 / 5)  # two and two: the first seen


def test_a_draw_that_cannot_be_read_agrees_with_nobody() -> None:
    drive = script([end("a", 1), end("a", 2), end(None, 3), end("b", 4)])
    drive.run(Cascade(n=3, m=1, sure=0.7))
    assert len(drive.draws) == 4
    nothing = [end(None, i) for i in range(1, 4)]
    assert script(nothing).run(Cascade(n=1, m=2)) == Choice(nothing[0], 0.0)


@given(pools, pools, st.sampled_from([0.5, 1.0, 3.0]))
def test_the_answer_is_the_heaviest_of_both_stages(early, late, weight) -> None:
    drive = script([*early, *late])
    choice = drive.run(Cascade(n=len(early), m=len(late), sure=1.0, weight=weight))
    counts = tally(early)
    if max(counts.values(), default=0) == len(early):
        assert choice == majority(early) and len(drive.draws) == len(early)
        return
    votes = tally([*early, *late], [1.0] * len(early) + [weight] * len(late))
    assert choice is not None
    if not votes:
        assert choice == Choice(early[0], 0.0)
        return
    assert votes[choice.node.answer] == pytest.approx(max(votes.values()))
    assert choice.node is next(x for x in [*early, *late] if readable(x) and x.answer == choice.node.answer)
    arrived = sorted(late, key=lambda x: x.tokens)
    assert len(drive.late) == len(early) + len(late)
    assert drive.late[-1] == script([*early, *arrived]).run(Cascade(n=len(early), m=len(late), sure=1.0, weight=weight))


@given(pools)
def test_one_that_is_always_sure_is_a_vote(nodes) -> None:
    assert script(nodes).run(Cascade(n=len(nodes), sure=0.0)) == script(nodes).run(Vote(n=len(nodes)))


def test_its_text_names_both_models() -> None:
    arm = Cascade(small="A", large="org/B@1", n=2, m=6, sure=0.8)
    assert show(arm) == "cascade(small=A, large=org/B@1, n=2, m=6, sure=0.8, temperature=0.8)"
    assert parse(show(arm)) == arm
