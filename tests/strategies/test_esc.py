"""Early-stopping self-consistency against its definition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotts.core.node import Choice
from autotts.errors import InputError
from autotts.strategies.esc import Esc
from autotts.strategies.select import majority, readable
from autotts.strategies.vote import Vote
from tests.strategies.drive import end, script
from tests.strategies.test_whole_draws import pools


def windows(nodes, size):
    return [nodes[i : i + size] for i in range(0, len(nodes), size)]


@pytest.mark.parametrize("window", [1, 2, 5, 8])
def test_a_model_that_never_changes_its_mind_is_asked_one_window(window) -> None:
    nodes = [end("a", i) for i in range(40)]
    drive = script(nodes)
    assert drive.run(Esc(most=40, window=window)) == Choice(nodes[0], 1.0)
    assert len(drive.draws) == window


@given(pools, st.integers(1, 5))
def test_it_stops_at_the_first_window_that_is_of_one_mind(nodes, size) -> None:
    size = min(size, len(nodes))
    drive = script(nodes)
    choice = drive.run(Esc(most=len(nodes), window=size))
    assert choice == majority(nodes[: len(drive.draws)])
    alike = [
        all(map(readable, w)) and len({x.answer for x in w}) == 1 for w in windows(nodes[: len(drive.draws)], size)
    ]
    assert not any(alike[:-1])
    assert alike[-1] or len(drive.draws) == len(nodes)


def test_the_answer_is_that_of_all_draws_and_not_of_the_window() -> None:
    drive = script([end("b"), end("c"), end("b"), end("d"), end("b"), end("e"), end("a"), end("a")])
    choice = drive.run(Esc(most=20, window=2))
    assert choice is not None and choice.node.answer == "b" and len(drive.draws) == 8


def test_what_cannot_be_read_is_of_no_mind() -> None:
    drive = script([end(None)] * 6)
    assert drive.run(Esc(most=6, window=2)) == Choice(drive.offers[-1].node, 0.0)
    assert len(drive.draws) == 6
    drive = script([end("a", failed=True), end("a"), end("a"), end("a")])
    drive.run(Esc(most=6, window=2))
    assert len(drive.draws) == 4


@given(pools)
def test_one_window_is_the_vote_side_by_side(nodes) -> None:
    drive, vote = script(nodes), script(nodes)
    assert drive.run(Esc(most=len(nodes), window=len(nodes))) == vote.run(Vote(n=len(nodes)))
    assert drive.late == vote.late


def test_a_window_that_can_never_be_drawn_is_refused() -> None:
    with pytest.raises(InputError, match="window expects a whole number from 1 to most = 4"):
        Esc(most=4, window=5)
