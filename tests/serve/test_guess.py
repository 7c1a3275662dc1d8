"""What is billed for an answer that was cut off."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotts.core.cost import Usage
from autotts.serve.guess import Guess


def test_before_anything_is_known_it_is_bounded_by_what_was_asked_for() -> None:
    assert Guess().usage(whole=100, seconds=10.0, most=50) == Usage(prompt=100, cancelled=50, calls=1)


def test_it_follows_the_model() -> None:
    guess = Guess()
    guess.learn(Usage(prompt=30, generated=100), whole=100, seconds=2.0, events=50)
    assert guess.usage(whole=200, seconds=1.0, most=4096).prompt == 60
    assert guess.usage(whole=200, seconds=1.95, most=4096).cancelled == 100  # of a whole answer: by the seconds
    assert guess.usage(whole=200, seconds=9.0, most=4096, events=9).cancelled == 20  # of a stream: by what came


@given(
    st.lists(st.tuples(st.integers(1, 500), st.integers(1, 500), st.floats(0.01, 60), st.integers(1, 500)), max_size=9)
)
def test_what_was_seen_is_never_billed_below(seen: list[tuple[int, int, float, int]]) -> None:
    guess = Guess()
    for prompt, made, seconds, events in seen:
        guess.learn(Usage(prompt=prompt, generated=made), whole=500, seconds=seconds, events=events)
    for prompt, made, seconds, events in seen:
        for known in (0, events):
            found = guess.usage(whole=500, seconds=seconds, most=10**9, events=known)
            assert found.prompt >= prompt and found.cancelled >= made - 1e-6


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_never_more_than_was_asked_for(seconds: float) -> None:
    assert 0 <= Guess(rate=50.0).usage(whole=1, seconds=seconds, most=7).cancelled <= 7
