"""Surface features: finite for any text, what they say on known texts, and no model asked."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotts.predict.features import FEATURES, features

KNOWN = [
    (
        "solve: 80+5*9-63",
        {"numbers": 4, "numbers_1": 2, "numbers_2": 2, "plus": 1, "minus": 1, "times": 1, "products": 1},
    ),
    ("solve: 80+5*9-63", {"largest": math.log10(81), "second": math.log10(64), "smallest": math.log10(6)}),
    ("solve: 80+5*9-63", {"largest_product": math.log10(46), "digits": 6 / 16}),
    ("2*3*40", {"products": 2, "largest_product": math.log10(121), "numbers_1": 2}),
    ("2 × 30 is", {"products": 1, "times": 1, "largest_product": math.log10(61), "foreign": 1 / 9}),
    ("Let $x = \\frac{1}{2}$. What is ((x))^2?", {"latex": 1, "nesting": 2, "equals": 1, "power": 1, "questions": 1}),
    ("Which?\n(A) one\n(B) two", {"options": 2, "lines": 3, "questions": 1}),
    ("Which?\nA. one\nB. two", {"options": 2}),
    ("```\ndef f(x):\n    return x;\n```", {"code": 5, "nesting": 1}),
    ("12.5 < 3.25", {"numbers": 2, "numbers_1": 1, "numbers_2": 1, "compared": 1, "largest": math.log10(13.5)}),
    ("1" + 400 * "0", {"largest": 300 - 1, "numbers_3": 1}),
    ("", {"log_chars": 0, "numbers": 0, "digits": 0, "lines": 1}),
]


@pytest.mark.parametrize("prompt, expected", KNOWN)
def test_known_texts(prompt, expected):
    found = dict(zip(FEATURES, features(prompt), strict=True))
    assert {name: found[name] for name in expected} == pytest.approx(expected)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=200), st.text("0123456789.*×+-^()[]{}\\`\n ²٣", max_size=300)))
def test_finite_for_any_text(prompt):
    found = features(prompt)
    assert len(found) == len(FEATURES) == len(set(FEATURES))
    assert all(math.isfinite(v) for v in found)


@pytest.mark.parametrize("piece", ["9", "9*", "(", "\\a", "A. ", "\n ", "1.", "é"])
def test_a_very_long_prompt_is_cut_but_for_its_length(piece):
    short, long = features(piece * 30_000), features(piece * 300_000)
    assert long[1:] == short[1:]
    assert long[0] == pytest.approx(math.log1p(300_000 * len(piece)))
