"""Text to tokens and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotts.errors import InputError
from autotts.tiny.codec import END, NEWLINE, SYMBOLS, WRITABLE, decode, encode, path_text

pieces = st.lists(st.sampled_from([SYMBOLS[i] for i in WRITABLE if i != END]), max_size=40)


@given(pieces)
def test_a_text_survives_the_way_to_tokens_and_back(symbols: list[str]) -> None:
    text = "".join(symbols)
    assert decode(encode(text)) == text
    assert len(encode(text)) == len(symbols)


def test_an_example_of_the_training_data() -> None:
    ids = encode("80+45-63\n125-63\nanswer: 62")
    assert ids == (13, 5, 15, 9, 10, 16, 11, 8, 2, 6, 7, 10, 16, 11, 8, 2, 4, 11, 7)
    assert decode((*ids, END)) == "80+45-63\n125-63\nanswer: 62"


@pytest.mark.parametrize("prompt", ["80+5*9-63", "solve: 80+5*9-63", " 80+5*9-63 ", "solve: 80+5*9-63\n"])
def test_a_prompt_may_come_with_and_without_its_frame(prompt: str) -> None:
    assert path_text(prompt) == "solve: 80+5*9-63\n"


def test_a_path_stays_as_it_is() -> None:
    path = "solve: 80+5*9-63\n80+45-63\n12"
    assert path_text(path) == path
    assert encode(path).count(NEWLINE) == 2


@pytest.mark.parametrize(
    ("prompt", "symbol"),
    [("What is 2+2?", "'W'"), ("2/3", "'/'"), ("12 + 3", "' '"), ("solve: x+1", "'x'"), ("2+2\u00e9", "'\u00e9'")],
)
def test_the_first_symbol_that_cannot_be_read_is_named_with_its_prompt(prompt: str, symbol: str) -> None:
    with pytest.raises(InputError, match="cannot read the symbol") as caught:
        encode(path_text(prompt))
    assert symbol in str(caught.value)
    assert prompt.removeprefix("solve: ") in str(caught.value)


@pytest.mark.parametrize("prompt", ["", "   ", "solve: ", "1+2\n3+4", "1+answer: 2"])
def test_what_is_no_problem_is_refused(prompt: str) -> None:
    with pytest.raises(InputError):
        path_text(prompt)
