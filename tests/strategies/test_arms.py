import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autotts.core.strategy import Options, Range, build, knobs
from autotts.errors import InputError
from autotts.strategies import POOLED, STRATEGIES
from autotts.strategies.arms import LONGEST, parse, show
from autotts.strategies.vote import Vote

names = st.sampled_from(
    ["S", "true-7B", "Qwen/Qwen3-4B", "a@1.0", "1e5", "7B", "with space", 'q"uo\\te', "é", "nan", "-"]
) | st.text(min_size=1, max_size=20)


@st.composite
def arms(draw):
    """Any strategy with any allowed values of its declared knobs."""
    name = draw(st.sampled_from(sorted(STRATEGIES)))
    values = {}
    for key, knob in knobs(STRATEGIES[name]).items():
        domain = knob.domain
        if isinstance(domain, Range) and knob.type is int:
            values[key] = draw(st.integers(int(domain.low), int(domain.high)))
        elif isinstance(domain, Range):
            values[key] = draw(st.floats(domain.low, domain.high)) + 0.0
        elif isinstance(domain, Options):
            values[key] = draw(st.sampled_from(domain.words))
        else:
            values[key] = draw(names)
    try:
        return build(STRATEGIES[name], name, values)
    except InputError:  # knobs that exclude each other
        assume(False)


@given(arms())
def test_the_canonical_text_goes_round(arm) -> None:
    text = show(arm)
    assert parse(text) == arm
    assert show(parse(text)) == text


@given(st.text(alphabet="vote(n=8,mdl )\"'\\.e-+S@_\n", max_size=40) | st.text(max_size=40))
def test_any_text_is_an_arm_or_an_input_error(text) -> None:
    try:
        arm = parse(text)
    except InputError as error:
        assert len(str(error)) < 400
    else:
        assert parse(show(arm)) == arm


def test_what_is_written_is_read() -> None:
    assert parse("vote(n=8, model=S, temperature=0.8)") == Vote(8, "S", 0.8)
    assert parse(' vote ( model = "a b" ,\n n = 3 ) ') == Vote(3, "a b")
    assert parse("vote") == parse("vote()") == Vote()
    assert parse("vote(model='true-7B', n=8.0)") == parse("vote(model=true-7B, n=8)") == Vote(8, "true-7B")
    assert show(parse("vote(temperature=-0.0)")) == "vote(n=8, model=policy, temperature=0)"
    assert show(parse("weighted_vote(by=prm, top_p=0.9)")) == (
        "weighted_vote(n=8, model=policy, temperature=0.8, top_p=0.9)"
    )
    assert (
        show(parse("best_of_n(by='my scorer', n=2)")) == 'best_of_n(n=2, by="my scorer", model=policy, temperature=0.8)'
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the name of a strategy"),
        ("votes(n=8)", "did you mean 'vote'?"),
        ("Vote(n=8)", "did you mean 'vote'?"),
        ("magic(n=8)", "expected one of one, vote"),
        ("vote(samples=8)", "unknown knob 'samples'"),
        ("vote(temprature=1)", "did you mean 'temperature'?"),
        ("vote(n=0)", "a whole number from 1 to 64, found 0"),
        ("vote(n=-3)", "found -3"),
        ("vote(n=1e999)", "found inf"),
        ("vote(n=" + "9" * 400 + ")", "found inf"),
        ("vote(n=2.5)", "a whole number"),
        ("vote(temperature=nan)", "found 'nan'"),
        ("vote(temperature=inf)", "found 'inf'"),
        ("vote(temperature=3)", "from 0 to 2"),
        ("vote(n=True)", "found 'True'"),
        ("vote(model=3)", "expects a name, found 3"),
        ("vote(model='')", "expects a name"),
        ("vote(8)", "knob=value"),
        ("vote(n=8", "',' or ')', found the end"),
        ("vote(n=8))", "the end, found ')'"),
        ("vote(n=8,)", "knob=value"),
        ("vote(n=8 n=9)", "',' or ')'"),
        ("vote(n=8, n=9)", "given twice"),
        ("vote(n=)", "a number, a name or a quoted text for n"),
        ("vote(n=vote(n=3))", "',' or ')', found '(n=3))' at character 12"),
        ("vote(n=2**3)", "',' or ')'"),
        ("vote(n=[8])", "a number, a name"),
        ("__import__('os').system('true')", "knob=value"),
        ("vote(model=__import__('os'))", "',' or ')'"),
        ("vote(n=8); import os", "the end"),
        ('vote(model="\\ud800")', "not a text as JSON writes it"),
        ('vote(model="\\x41")', "not a text as JSON writes it"),
        ('vote(model="S', "a quoted text for model"),
        ("vote(model=" + "S" * LONGEST + ")", "at most 2000 characters"),
        ("first_finish(n=2, k=3)", "k expects a whole number from 1 to n = 2"),
        ("beam(n=8, m=3)", "m expects a divisor of n = 8"),
        ("dvts(n=8, m=3)", "m expects a divisor of n = 8"),
    ],
)
def test_bad_texts_say_what_was_expected_and_found(text, says) -> None:
    with pytest.raises(InputError) as caught:
        parse(text)
    assert says in str(caught.value)


def test_every_grid_value_is_allowed_and_every_grid_combination_is_a_strategy() -> None:
    for name, kind in STRATEGIES.items():
        chosen = [[]]
        for key, knob in knobs(kind).items():
            if isinstance(knob.domain, Range):
                assert knob.domain.grid and knob.domain.about, (name, key)
                chosen = [[*c, (key, v)] for c in chosen for v in knob.domain.grid]
        for values in chosen:
            build(kind, name, dict(values))


def test_strategies_that_a_pool_answers_are_registered() -> None:
    assert set(STRATEGIES) > POOLED
