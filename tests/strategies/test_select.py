from math import inf, isnan, nan

from hypothesis import assume, given
from hypothesis import strategies as st

from autotts.core.node import Choice
from autotts.strategies.select import highest, lead, majority, marks, readable, tally, weighted
from tests.strategies.drive import Drive, end

answers = st.sampled_from(["a", "b", "c", None])
draws = st.lists(st.builds(end, answers, st.integers(1, 5), failed=st.booleans()), min_size=1, max_size=12)
score_values = st.sampled_from([0.0, 0.25, 0.5, 1.0, nan])


def test_majority_takes_the_most_frequent_in_its_first_draw() -> None:
    nodes = [end("b"), end("a", 1), end(None), end("a", 2)]
    assert majority(nodes) == Choice(nodes[1], 2 / 3)


def test_ties_go_to_the_first_seen() -> None:
    nodes = [end("b"), end("a"), end("a"), end("b")]
    assert majority(nodes) == Choice(nodes[0], 0.5)
    assert weighted(nodes, [0.5] * 4) == Choice(nodes[0], 0.5)
    assert highest(nodes, [0.5, 0.7, 0.7, 0.7]) == Choice(nodes[1], 0.7)


def test_where_nothing_can_be_read_the_first_draw_has_confidence_0() -> None:
    nodes = [end(None, 3), end("a", failed=True), end(None, 4)]
    assert majority(nodes) == weighted(nodes, [0.9] * 3) == highest(nodes, [0.1, 0.9, 0.9]) == Choice(nodes[0], 0.0)
    assert majority([]) is None and weighted([], []) is None and highest([], []) is None


def test_nan_never_wins() -> None:
    nodes = [end("a", 1), end("a", 2), end("b", 3), end(None, 4)]
    assert highest(nodes, [nan, nan, 0.0, 1.0]) == Choice(nodes[2], 0.0)
    assert weighted(nodes, [nan, nan, 0.0, 1.0]) == Choice(nodes[2], 1.0)
    assert highest(nodes, [nan] * 4) == Choice(nodes[0], 0.0)
    assert weighted(nodes, [nan] * 4) == majority(nodes)


def test_weighted_adds_up_and_shows_the_best_scored_draw() -> None:
    nodes = [end("a", 1), end("b", 2), end("a", 3)]
    choice = weighted(nodes, [0.2, 0.5, 0.4])
    assert choice is not None and choice.node is nodes[2] and abs(choice.confidence - 0.6 / 1.1) < 1e-12
    choice = weighted(nodes, [0.1, 0.5, 0.2])
    assert choice is not None and choice.node is nodes[1]


@given(draws, st.sampled_from([0.0, 0.3, 1.0]))
def test_with_equal_scores_the_weighted_vote_is_the_majority(nodes, score) -> None:
    a, b = majority(nodes), weighted(nodes, [score] * len(nodes))
    assert a is not None and b is not None
    assert a.node.answer == b.node.answer and abs(a.confidence - b.confidence) < 1e-9


@given(draws, st.data())
def test_unreadable_draws_change_nothing(nodes, data) -> None:
    scores = data.draw(st.lists(score_values, min_size=len(nodes), max_size=len(nodes)))
    kept = [(x, s) for x, s in zip(nodes, scores) if readable(x)]
    assume(kept)
    fewer, marks_ = [x for x, _ in kept], [s for _, s in kept]
    assert majority(nodes) == majority(fewer)
    assert weighted(nodes, scores) == weighted(fewer, marks_)
    assert highest(nodes, scores) == highest(fewer, marks_)


@given(draws)
def test_doubling_every_draw_changes_no_vote(nodes) -> None:
    assert majority(nodes + nodes) == majority(nodes)


@given(draws, st.data())
def test_best_of_n_does_not_change_under_a_shift_of_the_scores(nodes, data) -> None:
    scores = data.draw(st.lists(score_values, min_size=len(nodes), max_size=len(nodes)))
    a, b = highest(nodes, scores), highest(nodes, [s - 8.0 for s in scores])
    assert a is not None and b is not None and a.node is b.node


def test_tally_and_lead() -> None:
    votes = tally([end("b"), end("a"), end(None), end("a", failed=True), end("b", 2)], [1.0, 2.0, 9.0, 9.0, 0.5])
    assert list(votes.items()) == [("b", 1.5), ("a", 2.0)]
    assert lead(votes) == (2.0, 1.5) and lead({"a": 1.0}) == (1.0, 0.0) and lead({}) == (0.0, 0.0)
    assert lead({"a": inf, "b": 1.0, "c": 2.0}) == (inf, 2.0)


def test_a_text_is_scored_once_and_what_cannot_win_is_not_scored() -> None:
    nodes = [end("a", text="x"), end(None, text="y"), end("a", text="x"), end("b", text="z", failed=True)]
    drive = Drive(lambda ask, i: nodes[i], lambda node: 0.25)
    a, unread, again, failed = drive._plan(marks(nodes, "prm"))
    assert a == again == 0.25 and isnan(unread) and isnan(failed)
    assert [ask.node for ask in drive.scores] == [nodes[0]] and drive.scores[0].by == "prm"
