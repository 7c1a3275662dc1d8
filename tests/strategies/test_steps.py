"""Step-level search against hand-made trees: a node's name is the path of choices that made it."""

from math import nan

from autotts.core.node import Choice, Node
from autotts.core.plan import Draw
from autotts.strategies.beam import ROUNDS, Beam
from autotts.strategies.dvts import Dvts
from autotts.strategies.select import majority
from tests.strategies.drive import ROOT, Drive


def tree(depth: int, answers: str = "ab", mute: str = "", broken: str = "") -> Drive:
    """Each child is named by its number among its siblings; at `depth` it ends with the answer of its last number."""
    born: dict[bytes, int] = {}

    def child(ask: Draw, i: int) -> Node:
        parent = b"" if ask.node is ROOT else ask.node.key
        nth = born[parent] = born.get(parent, -1) + 1
        key = parent + b"%x" % (nth % 16)
        done = ask.node.depth + 1 >= depth or ask.spec.stop == "end"
        text = key.decode()
        answer = answers[nth % len(answers)] if done and text not in mute.split() else None
        return Node(key, ask.node.depth + 1, done, answer, key, 3, text in broken.split())

    return Drive(child)


def stops(drive: Drive) -> list[str | int]:
    return [ask.spec.stop for ask in drive.draws]


def test_beam_of_width_1_is_n_independent_draws() -> None:
    drive = tree(3)
    choice = drive.run(Beam(n=4, m=1))
    paths = [ask.node.key for ask in drive.draws]
    assert paths == [b"root"] * 4 + [b"0", b"1", b"2", b"3"] + [b"00", b"10", b"20", b"30"]
    assert choice is not None and choice.node.answer == "a"


def test_beam_keeps_the_best_prefixes() -> None:
    drive = tree(3)
    drive.score = lambda node: {b"1": 0.9, b"3": 0.8}.get(node.key, 0.1) if node.depth == 1 else 0.5
    drive.run(Beam(n=4, m=2))
    assert [ask.node.key for ask in drive.draws[4:8]] == [b"1", b"1", b"3", b"3"]
    assert len(drive.draws) == len(drive.scores) == 12  # never more than n at once, each scored


def test_beam_weighs_what_has_ended_by_its_last_score() -> None:
    drive = tree(1, answers="aab")
    drive.score = lambda node: {b"2": 0.9}.get(node.key, 0.2)
    choice = drive.run(Beam(n=3, m=3))
    assert choice is not None and (choice.node.key, choice.node.answer) == (b"2", "b")


def test_beam_ends_each_of_its_n_beams_once() -> None:
    drive = tree(2)
    ask_child = drive.draw

    def early(ask: Draw, i: int) -> Node:
        node = ask_child(ask, i)
        return Node(node.key, 1, True, "c", node.key, 3) if node.key == b"0" else node

    drive.draw = early
    drive.run(Beam(n=4, m=4))
    assert [ask.node.key for ask in drive.draws] == [b"root"] * 4 + [b"1"] * 3
    assert len(drive.offers) == 3  # the first that ended, scored; then with the others; `early` was offered unscored


def test_nan_scores_are_kept_last() -> None:
    drive = tree(2)
    drive.score = lambda node: {b"0": nan, b"1": 0.0}.get(node.key, nan)
    drive.run(Beam(n=2, m=2))
    assert [ask.node.key for ask in drive.draws[2:]] == [b"1", b"1"]


def test_endless_steps_are_drawn_to_the_end_in_the_last_round() -> None:
    for strategy in (Beam(n=2, m=2), Dvts(n=2, m=2)):
        drive = tree(10**6)
        choice = drive.run(strategy)
        assert choice is not None and choice.node.done
        assert stops(drive) == ["step"] * 2 * (ROUNDS - 1) + ["end"] * 2


def test_where_all_draws_broke_there_is_a_marked_first_draw() -> None:
    for strategy in (Beam(n=2, m=1), Dvts(n=2, m=1), Beam(n=2, m=2), Dvts(n=2, m=2)):
        choice = tree(3, broken="0 1").run(strategy)
        assert choice is not None and choice.node.key == b"0" and choice.confidence == 0.0


def test_an_ended_beam_without_an_answer_never_wins() -> None:
    for strategy in (Beam(n=2, m=2), Dvts(n=2, m=2)):
        drive = tree(1, mute="0")
        choice = drive.run(strategy)
        assert choice is not None and choice.node.key == b"1"
        assert [ask.node.key for ask in drive.scores] == [b"1"]


def test_a_cap_before_the_first_score_leaves_the_majority_of_what_ended() -> None:
    drive = tree(1, answers="bba")
    drive.run(Beam(n=3, m=3))
    assert drive.offers[0].node.answer == "b" and drive.late[-1] == drive.offers[0]
    assert tree(2).run(Beam(n=3, m=3)) is not None


def test_dvts_with_m_equal_n_is_one_greedy_subtree() -> None:
    drive = tree(3)
    drive.score = lambda node: 0.9 if node.key.endswith(b"2") else 0.1
    choice = drive.run(Dvts(n=4, m=4))
    assert [ask.node.key for ask in drive.draws] == [b"root"] * 4 + [b"2"] * 4 + [b"22"] * 4
    assert choice is not None and choice.node.key == b"222"


def test_dvts_subtrees_do_not_compete() -> None:
    drive = tree(2)
    drive.score = lambda node: {b"0": 0.9, b"1": 0.8, b"2": 0.3, b"3": 0.2}.get(node.key, 0.5)
    drive.run(Dvts(n=4, m=2))
    assert {ask.node.key for ask in drive.draws if ask.node.depth == 1} == {b"0", b"2"}


def test_dvts_of_width_1_is_n_independent_draws() -> None:
    drive = tree(2)
    choice = drive.run(Dvts(n=4, m=1))
    assert sorted(ask.node.key for ask in drive.draws) == [b"0", b"1", b"2", b"3"] + [b"root"] * 4
    assert choice is not None and choice.node.answer == "a"


def test_with_constant_scores_search_follows_the_first_draw() -> None:
    drive = tree(3)
    drive.run(Beam(n=4, m=4))
    assert [ask.node.key for ask in drive.draws] == [b"root"] * 4 + [b"0"] * 4 + [b"00"] * 4
    drive = tree(3)
    drive.run(Dvts(n=4, m=4))
    assert [ask.node.key for ask in drive.draws] == [b"root"] * 4 + [b"0"] * 4 + [b"00"] * 4


def test_with_constant_scores_what_has_ended_votes_alike() -> None:
    ended: list[Node] = []
    drive = tree(1, answers="abbca")
    make = drive.draw

    def keep(ask: Draw, i: int) -> Node:
        ended.append(make(ask, i))
        return ended[-1]

    drive.draw = keep
    choice = drive.run(Beam(n=5, m=5))
    vote = majority(ended)
    assert isinstance(choice, Choice) and vote is not None and choice.node.answer == vote.node.answer


def test_a_prefix_that_reads_like_an_answer_does_not_vote() -> None:
    def child(ask: Draw, i: int) -> Node:
        return Node(b"%d" % i, 1, i == 0, "a" if i == 0 else "b", b"%d" % i, 3)

    drive = Drive(child, lambda node: 0.5 if node.key == b"0" else 0.4)
    choice = drive.run(Dvts(n=3, m=3))
    assert choice is not None and choice.node.answer == "a"
