"""The fast ways to look at a text see what the plain patterns see, for any text."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotts.predict import ngrams
from autotts.predict.features import FEATURES, features
from autotts.predict.questions import QUESTION, question

CODE = re.compile(r"```|;$|\b(?:def|return|import|class|function|int|void|print)\b|[=!]=|=>|->", re.MULTILINE)
OPTION = re.compile(r"\([A-J]\)|^\s{0,8}[A-J][.):]\s", re.MULTILINE)
ITEM = re.compile(r"^(?:[-*•]|\d{1,3}[.)]) ", re.MULTILINE)
WRITTEN = (
    "def return import class function int void print xdef defx _int ``` ; == != => -> === - (A) (A B. C: D) 1 23 4.5 "
    "6. .5 7.8.9 ² ٣ é É K İ \ud800 \x0b \x0c \x1c \x85 3* ' don't end. * • 12. 123) 1234. at most than times as"
)
TEXTS = st.one_of(
    st.text(max_size=80),
    st.lists(st.sampled_from([*WRITTEN.split(" "), " ", "\n", "\n  ", "\t"]), max_size=40).map("".join),
)


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_counts_and_words_are_those_of_the_plain_patterns(prompt):
    found = dict(zip(FEATURES, features(prompt), strict=True))
    assert found["code"] == len(CODE.findall(prompt))
    assert found["options"] == len(OPTION.findall(prompt))
    assert found["numbers"] == len(re.findall(r"\d+(?:\.\d+)?", prompt))
    letters = re.findall(r"[A-Za-z]", prompt)
    assert found["capitals"] == sum(letter.isupper() for letter in letters) / max(len(letters), 1)
    asked = dict(zip(QUESTION, question(prompt), strict=True))
    assert asked["items"] == len(ITEM.findall(prompt))
    low = prompt.lower()
    assert asked["bounds"] == sum(
        low.count(f"{b} ") for b in ("at least", "at most", "more than", "less than", "fewer than")
    )
    text = prompt.encode("utf-8", "surrogatepass").translate(ngrams._PLAIN)
    assert ngrams._words(text) == ngrams._WORD.findall(text)


@pytest.mark.parametrize("text", [b"", b"a\x0bb", b"3rd", b"end. 0.0,x", b"...", b"it's\xc3\xa90"])
def test_words_of_known_texts(text):
    found = ngrams._words(text.translate(ngrams._PLAIN))
    assert b"".join(found) == text.translate(ngrams._PLAIN).replace(b" ", b"")
