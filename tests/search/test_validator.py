"""The one validator: what it lets through stands in the space, and what it refuses it refuses in words."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotts.search.archive import Archive, State, Trial
from autotts.search.space import Space
from autotts.search.validator import Floor, Refusal, certain, check
from autotts.strategies import STRATEGIES, STUDIED
from autotts.strategies.arms import parse, show

SPACE = Space({n: STRATEGIES[n] for n in STUDIED}, ("A", "B"), ("prm",), {"A": 128, "B": 16})
ARCHIVE = Archive("1", ("1", "2"), SPACE, {"A": 1.0, "B": 8.0})
ARM = "vote(n=8, model=A, temperature=0.6)"


def tried(arm: str, cost: float | None = 100.0, state: State = "complete") -> Trial:
    return Trial(arm, "tpe", 3, state, 0.0 if cost is not None else None, cost, 16)


def refused(text: str, archive: Archive = ARCHIVE, known: tuple[str, ...] = ()) -> Refusal:
    found = check(text, archive, known)
    assert isinstance(found, Refusal), f"{found} was let through"
    assert found.why and len(found.why) <= 200 and len(found.text) <= 200
    assert (found.why + found.text).isprintable()
    return found


def test_every_arm_of_the_space_is_let_through_as_it_is_written() -> None:
    for arm in SPACE.arms:
        assert check(show(arm), ARCHIVE, ()) == arm


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("", "unreadable", "the name of a strategy"),
        ("I would try a vote of eight draws.", "unreadable", "expected"),
        ("vote(n=8", "unreadable", "expected"),
        ('{"arm": "vote"}', "unreadable", "expected"),
        ("import os; os.system('true')", "unreadable", "expected"),
        (ARM + " " + ARM, "unreadable", "the end"),
        ("\ud800\x1b[2J\n" + "vote(", "unreadable", "expected"),
        ("votes(n=8, model=A)", "unknown", "expected one of the strategies one, vote"),
        ("cascade(small=A, large=B)", "unknown", "found cascade"),
        ("vote(n=8, model=C, temperature=0.6)", "unknown", "expected one of the models A, B, found C"),
        ("vote(n=8, temperature=0.6)", "unknown", "found policy"),
        ("best_of_n(n=8, by=judge, model=A, temperature=0.6)", "unknown", "scorers prm, found judge"),
        ("vote(n=8, model=A, heat=0.6)", "unknown", "no heat"),
        ("vote(n=8, model=A)", "off the grid", "temperature: expected one of 0.6, 1, found 0.8"),
        ("vote(n=3, model=A, temperature=0.6)", "off the grid", "n: expected one of 1, 2, 4"),
        ("vote(n=1000000, model=A, temperature=0.6)", "off the grid", "from 1 to 64"),
        ("vote(n=eight, model=A, temperature=0.6)", "off the grid", "a whole number"),
        ("beam(n=8, m=3, model=A, temperature=0.6)", "off the grid", "divisor"),
        ("vote(n=32, model=B, temperature=0.6)", "too many draws", "at most 16 draws of B"),
        ("adaptive(most=32, model=B, temperature=0.6)", "too many draws", "most: expected at most 16"),
    ],
)
def test_what_is_wrong_is_refused_as_what_it_is(text: str, kind: str, words: str) -> None:
    found = refused(text)
    assert found.kind == kind
    assert words in found.why


def test_a_hundred_megabytes_are_not_read() -> None:
    text = "vote(" + "n=8, " * 20_000_000
    begun = time.perf_counter()
    found = refused(text)
    assert time.perf_counter() - begun < 0.05
    assert found.kind == "unreadable"
    assert found.text.startswith("vote(n=8, n=8") and found.text.endswith("...")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.builds(lambda a, b: ARM[:a] + b + ARM[a:], st.integers(0, 40), st.text(max_size=4)))
def test_any_text_is_an_arm_of_the_space_or_refused(text: str) -> None:
    found = check(text, ARCHIVE, ())
    if isinstance(found, Refusal):
        refused(text)
    else:
        assert found in SPACE.arms


@pytest.mark.parametrize(("state", "word"), [("complete", "measured"), ("pruned", "pruned"), ("skipped", "skipped")])
def test_what_was_tried_is_known_however_it_is_written(state: State, word: str) -> None:
    archive = replace(ARCHIVE, trials=(tried(ARM, 100.0, state),))
    found = refused("vote( model='A', temperature=.6, n=8 )", archive)
    assert found.kind == "known"
    assert word in found.why and "round 3 (tpe)" in found.why


def test_what_was_refused_before_or_tried_elsewhere_is_not_known() -> None:
    archive = replace(ARCHIVE, trials=(tried(ARM, None, "refused"),), others={"2": (tried(ARM),)})
    assert check(ARM, archive, ()) == parse(ARM)
    assert refused(ARM, archive, (ARM,)).kind == "known"


@pytest.mark.parametrize(
    ("arm", "cap", "over"),
    [
        ("vote(n=16, model=A, temperature=0.6)", 99, True),  # more draws than measured cost no less
        ("vote(n=16, model=A, temperature=0.6)", 100, False),
        ("vote(n=4, model=A, temperature=0.6)", 49, True),  # half of the draws cost half at least
        ("vote(n=4, model=A, temperature=0.6)", 50, False),
        ("weighted_vote(n=8, by=prm, model=A, temperature=0.6)", 99, True),  # scores come on top
        ("adaptive(most=16, threshold=0.95, model=A, temperature=0.6)", 49, True),  # four of one mind, at the least
        ("adaptive(most=16, threshold=0.85, model=A, temperature=0.6)", 49, False),
        ("first_finish(n=16, k=1, model=A, temperature=0.6)", 1, False),  # the shortest draw may be very short
        ("beam(n=16, m=4, model=A, temperature=0.6)", 1, False),
        ("vote(n=16, model=A, temperature=1)", 1, False),  # another family: nothing is known
        ("vote(n=16, model=B, temperature=0.6)", 1, False),
    ],
)
def test_over_the_cap_is_what_surely_costs_more(arm: str, cap: float, over: bool) -> None:
    archive = replace(ARCHIVE, cap=cap, trials=(tried(ARM, 100.0),))
    found = check(arm, archive, ())
    if over:
        assert isinstance(found, Refusal) and found.kind == "over the cap"
        assert f"at most {cap} flops a prompt (--cap), found" in found.why
    else:
        assert found == parse(arm)


def test_scored_draws_bound_no_others_and_stopped_trials_bound_nothing() -> None:
    scored = "weighted_vote(n=8, by=prm, model=A, temperature=0.6)"
    floor = Floor.of([tried(scored, 100.0), tried("not an arm", 5.0), tried(ARM, 900.0, "pruned")])
    assert floor.least(parse("best_of_n(n=8, by=prm, model=A, temperature=0.6)")) == 100.0
    assert floor.least(parse(ARM)) == 0.0
    assert Floor.of([tried(ARM, float("nan"))]).least(parse(ARM)) == 0.0


def test_an_adaptive_arm_surely_makes_whole_batches_up_to_its_most() -> None:
    assert certain(parse("adaptive(most=16, threshold=0.95, batch=3, model=A)")) == 6
    assert certain(parse("adaptive(most=16, threshold=1, model=A)")) == 16
    assert certain(parse("adaptive(most=4, threshold=0.95, batch=8, model=A)")) == 4
