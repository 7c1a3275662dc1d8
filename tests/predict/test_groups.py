"""Groups of features: what is known, what is refused and why, and the columns that belong to the numbers."""

import itertools
import math
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotts.errors import InputError
from autotts.predict.features import FEATURES, features
from autotts.predict.groups import GROUPS, OTHERS, columns, dense, known
from autotts.predict.ngrams import BUCKETS, NGRAMS_VERSION, matrix, ngrams
from autotts.predict.questions import _LISTS, QUESTION, QUESTION_VERSION, question

WHERE = "policy.json: predictor.groups"


@pytest.mark.parametrize("name", [*GROUPS, *OTHERS])
def test_every_group_is_known(name):
    assert known(name, WHERE) == name


@pytest.mark.parametrize(
    "name, told",
    [
        ("surface/2", "newer than this autotts; upgrade"),
        ("drawn/10", "newer than this autotts; upgrade"),
        ("embedding/" + "9" * 5000, "newer than this autotts; upgrade"),
        ("ngrams/0", "no longer makes; fit the predictor again"),
        ("surface/00", "no longer makes; fit the predictor again"),
        ("surface/01", "no longer makes; fit the predictor again"),
        ("surface", "correct the name"),
        ("surface/", "correct the name"),
        ("surface/-1", "correct the name"),
        ("surface/²", "correct the name"),
        ("moonphase/1", "upgrade autotts"),
        ("", "correct the name"),
        ("x" * 100_000, "correct the name"),
    ],
)
def test_an_unknown_group_is_refused_with_what_to_do(name, told):
    with pytest.raises(InputError) as error:
        known(name, WHERE)
    message = str(error.value)
    assert told in message and message.startswith(WHERE) and "surface/1, question/1, ngrams/1" in message
    assert (name[:40] in message) and len(message) < 400


def test_dense_groups_stand_in_the_order_named():
    prompt = "A dozen eggs cost $3. How much is one egg?"
    assert dense(["surface/1"], prompt) == features(prompt)
    assert columns(["surface/1"]) == list(FEATURES)
    both = dict(zip(columns(["question/1", "surface/1"]), dense(["question/1", "surface/1"], prompt), strict=True))
    swapped = dict(zip(columns(["surface/1", "question/1"]), dense(["surface/1", "question/1"], prompt), strict=True))
    assert both == swapped and list(both) != list(swapped)


def test_no_two_columns_share_a_name():
    every = columns(list(GROUPS))
    assert len(every) == len(set(every))


@pytest.mark.parametrize("name", list(OTHERS))
def test_a_group_that_needs_more_than_the_prompt_is_not_dense(name):
    for ask in (lambda: dense([name], "x"), lambda: columns([name])):
        with pytest.raises(InputError, match="expected dense groups among"):
            ask()


def test_a_group_is_named_once():
    with pytest.raises(InputError, match="expected each once"):
        columns(["surface/1", "surface/1"])


# Lone surrogates are in: a prompt may come out of broken JSON.
ANY = st.one_of(
    st.text(st.characters(), max_size=300),
    st.text("aA .?!\n$%/0123456789,\\{}'’()…", max_size=300),
)


@settings(max_examples=200, deadline=None)
@given(ANY)
def test_finite_for_any_text(prompt):
    for group in GROUPS.values():
        found = group.of(prompt)
        assert len(found) == len(group.columns)
        assert all(type(v) is float and math.isfinite(v) for v in found)


EGGS = (
    "Each carton holds a dozen eggs. Marta and Jonas buy 3 cartons for $4.50, twice as cheap as on Monday. "
    "How many eggs remain after breakfast if 1/2 of them are gone?"
)
LATEX = "Find $\\sqrt{x}$ given that $\\frac{3}{4}x = \\sum_{k=1}^{3} k$.\nProve it for all triangles."
CODE = "def area(width):\n    return width\n\n- uses no import\n1. assert area(2) == 2"
PUZZLE = "Anna says that Bert lies. Bert says: at most one of us is a knight. Who tells the truth?"

KNOWN = [
    (EGGS, {"sentences": 3, "sentence_words": 32 / 3, "longest_sentence": 14, "last_sentence": 12}),
    (EGGS, {"most_numbers": 2, "last_numbers": 2, "decimals": 1, "fractions": 1, "prices": 1, "how_many": 1}),
    (EGGS, {"number_words": 1, "multiples": 1, "rates": 1, "money": 2, "time": 1, "conditions": 1, "steps": 1}),
    (EGGS, {"names": 2, "different_names": 2, "asked_last": 1, "remains": 1, "how_much": 0, "geometry": 0}),
    ("Is it 5%? It is 3 times as large, more than enough.", {"asked_at": 8 / 51, "asked_last": 0, "percents": 1}),
    ("Is it 5%? It is 3 times as large, more than enough.", {"times_as": 1, "bounds": 1, "comparisons": 2}),
    (LATEX, {"roots": 1, "large_operators": 1, "fractions": 1, "prices": 0, "tasks": 1, "proofs": 1, "sentences": 2}),
    (LATEX, {"variables": 4, "quantifiers": 1, "conditions": 1, "asked_at": 1}),
    (CODE, {"code_words": 4, "geometry": 4, "items": 2, "sentences": 4, "quantifiers": 1}),
    (PUZZLE, {"logic": 6, "asks": 1, "bounds": 1, "names": 1, "number_words": 1, "asked_last": 1}),
    ("the THE the end", {"distinct": 0.5, "word_chars": 3}),
    ("", dict.fromkeys(QUESTION, 0) | {"asked_at": 1}),
]


@pytest.mark.parametrize("prompt, expected", KNOWN)
def test_what_is_asked_is_seen(prompt, expected):
    found = dict(zip(QUESTION, question(prompt), strict=True))
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_a_word_stands_in_one_list():
    words = [word for words in _LISTS.values() for word in words.split()]
    assert len(words) == len(set(words))


@pytest.mark.parametrize("of", [question, ngrams])
@pytest.mark.parametrize("piece", ["9 ", "how many ", "A. b", "\\frac ", "\n- ", "1/", "?", "é", "\ud800"])
def test_a_very_long_prompt_is_cut(of, piece):
    assert of((piece * 20_000)[:20_000]) == of((piece * 300_000)[:300_000])


def test_the_numbers_of_version_1_hold_still():
    # Files name these versions: whoever changes a word list or the hash raises the version and this line.
    texts = (EGGS, LATEX, CODE, PUZZLE, "Ünï\ud800 ½ ٣")
    told = (
        [[round(v, 9) for v in question(text)] for text in texts],
        [ngrams(text) for text in texts],
        QUESTION,
        [*_LISTS.items()],
    )
    assert (QUESTION_VERSION, NGRAMS_VERSION, crc32(repr(told).encode())) == (1, 1, 1520455239)


def test_ngrams_are_words_and_pairs():
    one, two, both = ngrams("one"), ngrams("two"), ngrams("One two")
    assert len(one) == len(two) == 1 and len(both) == 3 and {*one, *two} < set(both)
    assert ngrams("two one") != both and ngrams("onetwo") != both
    assert set(ngrams("onetwo")).isdisjoint(both)  # a pair is not the word that is spelled like it
    assert ngrams("12+345") == ngrams("98 + 761") != ngrams("123+45")
    assert ngrams("one one one") == ngrams("one one") and ngrams("") == ngrams(" \n") == []


@settings(max_examples=200, deadline=None)
@given(st.lists(ANY, max_size=4))
def test_the_matrix_holds_the_ngrams(prompts):
    indices, indptr = matrix(prompts)
    rows = [indices[a:b].tolist() for a, b in itertools.pairwise(indptr)]
    assert rows == [ngrams(prompt) for prompt in prompts]
    assert all(row == sorted(set(row)) and all(0 <= bucket < BUCKETS for bucket in row) for row in rows)


def test_buckets_are_used_evenly():
    words = [f"{a}{b}{c}" for a in "abcdefghij" for b in "klmnopqrst" for c in "uvwxyzabcd"]
    used = {bucket for word in words for bucket in ngrams(word)}
    # 1,000 words in 16,384 buckets: 970 different ones are expected of a fair hash, and 5 of standard deviation.
    assert len(used) > 945
    pairs = {bucket for word in words for bucket in set(ngrams(f"x {word}")) - set(ngrams("x")) - set(ngrams(word))}
    assert len(pairs) > 935
