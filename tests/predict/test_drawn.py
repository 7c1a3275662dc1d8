"""Features of the first draws: what they say on known draws, and flags instead of NaN where something is missing."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotts.errors import InputError
from autotts.predict.drawn import DRAWN, Draws, drawn, hedging


def named(answers, tokens=None, logprobs=None, texts=None):
    none = [None] * len(answers)
    draws = Draws(answers, tokens or [-1] * len(answers), logprobs or none, texts or none)
    return dict(zip(DRAWN, drawn(draws), strict=True))


def test_known_draws():
    found = named(
        ["8", "8", "9", None],
        [9, 99, -1, 999],
        [-0.5, float("nan"), None, -1.5],
        ["The answer is 8.", None, "Hmm, wait: I think it is 9, not sure though", ""],
    )
    assert found == pytest.approx(
        {
            "draws": 4,
            "log_tokens": math.log(10) * 2,
            "shortest": math.log(10),
            "longest": math.log(10) * 3,
            "tokens_missing": 0.25,
            "readable": 0.75,
            "agreement": 0.5,
            "margin": 0.25,
            "answers": 2,
            "logprob": -1.0,
            "lowest_logprob": -1.5,
            "logprob_missing": 0.5,
            "hedges": 100 * 4 / 14,
            "text_missing": 0.25,
        }
    )


def test_what_is_missing_is_a_flag():
    found = named(["8", "8"])
    missing = {name for name in found if name.endswith("_missing")}
    assert missing == {"tokens_missing", "logprob_missing", "text_missing"}
    assert all(found[name] == 1.0 for name in missing)
    assert [found[n] for n in ("log_tokens", "shortest", "longest", "logprob", "lowest_logprob", "hedges")] == [0] * 6
    assert found["agreement"] == found["margin"] == 1.0


def test_no_draws_at_all():
    assert {name: value for name, value in named([]).items() if value} == dict.fromkeys(
        ("tokens_missing", "logprob_missing", "text_missing"), 1.0
    )


def test_draws_without_an_answer_agree_with_none():
    found = named([None, None, "x"])
    assert (found["agreement"], found["readable"], found["answers"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3), 1)
    assert named([None, None])["agreement"] == 0.0


def test_a_tie_has_no_margin():
    assert named(["a", "b", "b", "a"])["margin"] == 0.0


@pytest.mark.parametrize("value, told", [(-math.inf, -100.0), (math.inf, 0.0), (0.2, 0.0), (-1e300, -100.0)])
def test_log_probabilities_out_of_range_are_bounded(value, told):
    assert named(["a"], logprobs=[value])["logprob"] == told


@pytest.mark.parametrize(
    "text, count",
    [
        ("WAIT", 1),
        ("await the waiter", 0),
        ("Hmmm... let me check again; alternatively", 3),
        ("let me double-check, another approach could be", 3),
        ("plainly 4", 0),
    ],
)
def test_hedging_words(text, count):
    assert hedging([text]) == pytest.approx(100 * count / len(text.split()))


def test_a_text_of_one_repeated_word_is_cut_and_quick():
    # Three times what is looked at says the same as what is looked at: the rest is never read.
    assert hedging(["hm" * 300_000 + " wait"]) == 0.0
    assert hedging(["wait " * 40_000 + "no " * 400_000]) == 100.0


def test_uneven_draws_are_refused():
    with pytest.raises(InputError, match=r"found 2, 1, 2 and 2; give None"):
        Draws(["a", "b"], [1], [None, None], [None, None])


DRAW = st.tuples(
    st.one_of(st.none(), st.text(st.characters(), max_size=4)),
    st.integers(-5, 10**9),
    st.one_of(st.none(), st.floats()),
    st.one_of(st.none(), st.text(st.characters(), max_size=80)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(DRAW, max_size=8))
def test_finite_for_any_draws(rows):
    answers, tokens, logprobs, texts = ([row[i] for row in rows] for i in range(4))
    found = dict(zip(DRAWN, drawn(Draws(answers, tokens, logprobs, texts)), strict=True))
    assert all(type(v) is float and math.isfinite(v) for v in found.values())
    assert 0 <= found["margin"] <= found["agreement"] <= found["readable"] <= 1
    assert all(0 <= found[name] <= 1 for name in found if name.endswith("_missing"))
    assert found["shortest"] <= found["log_tokens"] + 1e-9 <= found["longest"] + 2e-9
    assert -100 <= found["lowest_logprob"] <= found["logprob"] + 1e-9 <= 1e-9
