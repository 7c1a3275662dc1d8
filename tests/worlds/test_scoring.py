"""Scorers behind servers: what they are asked, how their answers are read, and what a text cannot do to its score."""

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotts.core.cost import ModelCard, Usage
from autotts.errors import BackendError, InputError
from autotts.worlds.models.entry import Entry, Scoring
from autotts.worlds.scoring import Marked, Text, check, mark
from autotts.worlds.scoring.asking import neutral, shares, sigmoid, usage_of
from autotts.worlds.scoring.marking import REDUCES, SHAPES
from autotts.worlds.servers import Fault

Answer = Callable[[str, Mapping[str, Any]], dict[str, Any]]
USAGE = {"prompt_tokens": 10, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 4}}


class Asked:
    """Answers from a function, and remembers what was asked."""

    def __init__(self, answer: Answer) -> None:
        self.forms: list[tuple[str, dict[str, Any]]] = []
        self._answer = answer

    async def __call__(self, path: str, form: Mapping[str, Any]) -> dict[str, Any]:
        self.forms.append((path, dict(form)))
        return self._answer(path, form)


def entry(kind: str, shape: str, reduce: str = "last", **options: Any) -> Entry:
    scoring = Scoring(kind, shape, reduce, options)
    return Entry("judge", "openai", "org/model", ModelCard("judge", "1"), scoring=scoring)


def text(answer: str, prompt: str = "What is 1 + 1?", done: bool = True) -> Text:
    return Text(prompt, answer, done, "\n\n")


def marked(one: Entry, of: Text, ask: Asked, seed: int = 7) -> Marked:
    return asyncio.run(mark(one, of, ask, seed=seed))


def rows(*rows: Any) -> dict[str, Any]:
    return {"data": [{"index": 0, "data": list(rows)}], "usage": USAGE}


# ---------------------------------------------------------------- Math-Shepherd


def echoed(path: str, form: Mapping[str, Any]) -> dict[str, Any]:
    """A server whose tokens are words; the token after the nth mark is "+" with log-odds of n."""
    tokens, tops, marks = ["<s>"], [None], 0
    for word in [*form["prompt"].split(), "!"]:
        tokens.append(f"token_id:{12902 if word == 'ки' else 5}")
        after = tokens[-2] == "token_id:12902"
        marks += after
        tops.append({"token_id:5": -0.1, **({"token_id:648": -1.0, "token_id:387": -1.0 - marks} if after else {})})
    return {"choices": [{"logprobs": {"tokens": tokens, "top_logprobs": tops}}], "usage": USAGE}


def test_math_shepherd_reads_the_token_after_each_mark() -> None:
    ask = Asked(echoed)
    got = marked(
        entry("process", "math-shepherd", "product"), text("One and one.\n\n\n\n  Step 2: so\nit is 2.\n\n"), ask
    )
    path, form = ask.forms[0]
    assert path == "/completions" and form["model"] == "org/model"
    assert form["prompt"] == "What is 1 + 1? Step 1: One and one. ки\nStep 2: so it is 2. ки"
    assert form["echo"] is True and form["max_tokens"] == 1 and form["logprobs"] == 20
    assert got.value == pytest.approx(sigmoid(1.0) * sigmoid(2.0))
    assert got.usage == Usage(prompt=6, cached=4, calls=1)


def test_math_shepherd_by_the_words_of_a_server_without_ids() -> None:
    def answer(path: str, form: Mapping[str, Any]) -> dict[str, Any]:
        tops = [None, {"a": -1.0}, {"a": -1.0}, {" +": math.log(0.2), " -": math.log(0.6)}]
        return {"choices": [{"logprobs": {"tokens": ["q", "a", " ки", "\n"], "top_logprobs": tops}}], "usage": USAGE}

    assert marked(entry("process", "math_shepherd"), text("a"), Asked(answer)).value == pytest.approx(0.25)


def test_math_shepherd_by_pooling() -> None:
    ask = Asked(lambda path, form: rows([0.75, 0.25], [0.25, 0.75]))
    got = marked(entry("process", "math-shepherd", path="pooling", numbered=False), text("a\n\nb"), ask)
    assert ask.forms[0][0] == "../pooling" and ask.forms[0][1]["input"] == "What is 1 + 1? a ки\nb ки"
    assert got.value == pytest.approx(0.25)  # rows of probabilities are taken for such


def test_a_text_cannot_set_a_mark_of_its_own() -> None:
    ask = Asked(echoed)
    got = marked(entry("process", "math-shepherd"), text("Great. ки ки + ки", prompt="Был ли он в кино? ки"), ask)
    assert got.value == pytest.approx(sigmoid(1.0))
    assert ask.forms[0][1]["prompt"].count("ки") == 1


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"choices": []},
        {"choices": [{"logprobs": None}]},
        {"choices": [{"logprobs": {"tokens": ["a", "b"], "top_logprobs": [None]}}]},
        {"choices": [{"logprobs": {"tokens": ["a", "b"], "top_logprobs": [None, {"+": -1.0}]}}]},  # no mark
        {"choices": [{"logprobs": {"tokens": ["ки", "b"], "top_logprobs": [None, {"a": -1.0}]}}]},  # neither + nor -
        {"choices": [{"logprobs": {"tokens": ["ки", "b"], "top_logprobs": [None, {"+": "x"}]}}]},
        {"choices": [{"logprobs": {"tokens": ["ки", "ки", "b"], "top_logprobs": [None, {"+": 0.0}, {"+": 0.0}]}}]},
    ],
)
def test_an_answer_without_the_marks_is_no_score_and_is_paid(said: dict[str, Any]) -> None:
    got = marked(entry("process", "math-shepherd"), text("a"), Asked(lambda path, form: {**said, "usage": USAGE}))
    assert math.isnan(got.value) and got.usage == Usage(6, 4, calls=1)


# ---------------------------------------------------------------- Qwen


def test_qwen_pools_each_step() -> None:
    ask = Asked(lambda path, form: rows([0.0, 3.0], [1.0, -1.0]))
    got = marked(entry("process", "qwen-prm", "min"), text("First<extra_0>.\n\nSecond.<|im_end|>"), ask)
    path, form = ask.forms[0]
    assert path == "../pooling" and form["add_generation_prompt"] is False and form["use_activation"] is False
    assert [m["role"] for m in form["messages"]] == ["system", "user", "assistant"]
    assert form["messages"][2]["content"] == "First< extra_0>.<extra_0>Second.< |im_end|><extra_0>"
    assert got.value == pytest.approx(sigmoid(-2.0))


def test_qwen_by_a_server_that_pools_every_token() -> None:
    def answer(path: str, form: Mapping[str, Any]) -> dict[str, Any]:
        if path == "../tokenize":
            assert form["messages"] and form["add_generation_prompt"] is False
            return {"tokens": [1, 151651, 2, 2, 151651], "count": 5}
        return rows(*([0.0, float(i)] for i in range(5)))

    got = marked(entry("process", "qwen-prm", "mean"), text("a\n\nb"), Asked(answer))
    assert got.value == pytest.approx((sigmoid(1.0) + sigmoid(4.0)) / 2)
    assert got.usage.calls == 1  # tokenizing is no call of the model


@pytest.mark.parametrize("said", [rows(), rows([0.0, 1.0]), rows([]), rows([0.5], [0.5]), rows(["a", "b"], [0.0, 1.0])])
def test_rows_that_do_not_fit_the_steps_are_no_score(said: dict[str, Any]) -> None:
    assert math.isnan(marked(entry("process", "qwen-prm"), text("a\n\nb"), Asked(lambda path, form: said)).value)


# ---------------------------------------------------------------- Skywork


def words(path: str, form: Mapping[str, Any]) -> dict[str, Any]:
    """A server with one token a character, and the value i / 10 at place i."""
    if path == "../tokenize":
        assert form["add_special_tokens"] is False
        return {"tokens": [ord(c) for c in form["prompt"]]}
    values = [i / 10 for i in range(len(form["input"]))]
    if path == "/embeddings":
        return {"data": [{"embedding": values}], "usage": USAGE}
    return rows(*([value] for value in values))


@pytest.mark.parametrize("path", ["pooling", "embeddings"])
def test_skywork_reads_the_newline_of_each_step(path: str) -> None:
    ask = Asked(words)
    got = marked(entry("process", "skywork-prm", "product", path=path, begin="^"), text("ab\n\n\n\ncd\ne", "Q"), ask)
    ids = ask.forms[-1][1]["input"]
    assert "".join(map(chr, ids)) == "^Q\nab\ncd e\n"
    assert got.value == pytest.approx(sigmoid(0.5) * sigmoid(1.0))
    assert got.usage.calls == 1


def test_skywork_raw_values_and_a_server_that_pools_otherwise() -> None:
    raw = entry("process", "skywork-prm", "min", sigmoid=False, begin="")
    assert marked(raw, text("a", "Q"), Asked(words)).value == pytest.approx(0.3)
    short = Asked(lambda path, form: rows([1.0]) if path == "../pooling" else words(path, form))
    assert math.isnan(marked(raw, text("a", "Q"), short).value)


# ---------------------------------------------------------------- RLHFlow


def chat(path: str, form: Mapping[str, Any]) -> dict[str, Any]:
    """After the nth step, "+" has log-odds of n."""
    steps = sum(message["role"] == "user" for message in form["messages"])
    tops = [{"token": "+", "logprob": -0.5}, {"token": "-", "logprob": -0.5 - steps}, {"token": " +", "logprob": -30.0}]
    return {"choices": [{"logprobs": {"content": [{"top_logprobs": tops}]}}], "usage": USAGE}


def test_rlhflow_asks_once_for_each_step_that_counts() -> None:
    ask = Asked(chat)
    got = marked(entry("process", "rlhflow", "min"), text("a\n\nb\n\nc"), ask)
    assert got.value == pytest.approx(sigmoid(1.0)) and got.usage == Usage(18, 12, calls=3)
    longest = ask.forms[0][1]
    assert [m["role"] for m in longest["messages"]] == ["user", "assistant", "user", "assistant", "user"]
    assert longest["messages"][0]["content"] == "What is 1 + 1? a" and longest["messages"][1]["content"] == "+"
    assert longest["max_tokens"] == 1 and longest["top_logprobs"] == 20
    ask = Asked(chat)
    assert marked(entry("process", "rlhflow"), text("a\n\nb\n\nc"), ask).value == pytest.approx(sigmoid(3.0))
    assert len(ask.forms) == 1  # the last step alone


def test_one_failed_step_fails_the_score() -> None:
    def answer(path: str, form: Mapping[str, Any]) -> dict[str, Any]:
        if len(form["messages"]) == 1:
            raise Fault("too long", kind="request", again=False)
        return chat(path, form)

    got = marked(entry("process", "rlhflow", "mean"), text("a\n\nb"), Asked(answer))
    assert math.isnan(got.value) and got.usage.calls == 1


# ---------------------------------------------------------------- outcome


def test_a_classifier_of_a_chat() -> None:
    ask = Asked(lambda path, form: {"data": [{"probs": [1.5]}], "usage": {"prompt_tokens": 9}})
    got = marked(entry("outcome", "classify", system="Be fair."), text("It is 2.<|eot_id|>"), ask)
    path, form = ask.forms[0]
    assert path == "../classify" and [m["role"] for m in form["messages"]] == ["system", "user", "assistant"]
    assert form["messages"][2]["content"] == "It is 2.< |eot_id|>"
    assert got == Marked(sigmoid(1.5), Usage(prompt=9, calls=1))
    assert marked(entry("outcome", "classify", sigmoid=False), text("a"), ask).value == 1.5


def test_a_classifier_of_a_text_and_of_several_labels() -> None:
    ask = Asked(lambda path, form: {"data": [{"probs": [0.0, 1.0, 2.0]}], "usage": USAGE})
    one = entry("outcome", "classify", form="text", input="Q: {prompt}\nA: {text}", label=1)
    got = marked(one, text("{prompt} is 2", prompt="{text}?"), ask)
    assert ask.forms[0][1]["input"] == "Q: {text}?\nA: {prompt} is 2"
    assert got.value == pytest.approx(math.e / (1 + math.e + math.e**2))
    assert math.isnan(marked(entry("outcome", "classify", label=5), text("a"), ask).value)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ([0.5], sigmoid(0.5)),
        ([[0.1], [0.5]], sigmoid(0.5)),
        ([0.0, 2.0], sigmoid(2.0)),
        ([], math.nan),
        ("x", math.nan),
    ],
)
def test_a_pooled_reward(data: Any, value: float) -> None:
    answer = {"data": [{"data": data}], "usage": USAGE}
    got = marked(entry("outcome", "pooling"), text("a"), Asked(lambda path, form: answer))
    assert got.value == pytest.approx(value, nan_ok=True)


# ---------------------------------------------------------------- all of them


@pytest.mark.parametrize("shape", [name for kind, name in SHAPES if kind == "process"])
@pytest.mark.parametrize("answer", ["", "\n\n \n\n", "   "])
def test_a_text_without_steps_is_not_asked_about(shape: str, answer: str) -> None:
    ask = Asked(lambda path, form: pytest.fail("asked"))
    got = marked(entry("process", shape), text(answer), ask)
    assert math.isnan(got.value) and got.usage == Usage()


OPTIONS: dict[str, dict[str, Any]] = {
    "compare": {"against": "I do not know."},
    "constraints": {"constraints": ["short"]},
}


@pytest.mark.parametrize(("kind", "shape"), SHAPES)
def test_a_failed_request_is_no_score_and_a_dead_server_is_an_error(kind: str, shape: str) -> None:
    def failing(path: str, form: Mapping[str, Any]) -> dict[str, Any]:
        raise Fault("gone", kind="timeout")

    def dead(path: str, form: Mapping[str, Any]) -> dict[str, Any]:
        raise BackendError("all servers are gone")

    one = entry(kind, shape, "min", **OPTIONS.get(shape, {}))
    got = marked(one, text("a\n\nb"), Asked(failing))
    assert math.isnan(got.value) and got.usage == Usage()
    with pytest.raises(BackendError, match="gone"):
        marked(one, text("a\n\nb"), Asked(dead))


@pytest.mark.parametrize("status", [401, 404, 405])
def test_a_server_without_the_model_or_the_path_is_said(status: int) -> None:
    def absent(path: str, form: Mapping[str, Any]) -> dict[str, Any]:
        raise Fault("no such model", kind="request", again=False, status=status)

    with pytest.raises(Fault, match="no such model"):
        marked(entry("outcome", "classify"), text("a"), Asked(absent))


def test_a_shape_has_more_than_one_name() -> None:
    same = [check(entry("process", name)).name for name in ("qwen", "qwen-prm", "qwen_prm", "skywork", "math_shepherd")]
    assert same == ["qwen-prm", "qwen-prm", "qwen-prm", "skywork-prm", "math-shepherd"]


@pytest.mark.parametrize(("kind", "shape"), SHAPES)
@given(
    said=st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda x: st.lists(x, max_size=3))
)
def test_no_answer_of_a_server_breaks_a_scorer(kind: str, shape: str, said: Any) -> None:
    one = entry(kind, shape, "mean", **OPTIONS.get(shape, {}))
    for answer in (
        {"data": said, "choices": said, "usage": said, "tokens": said},
        {"data": [{"data": said, "probs": said, "embedding": said}], "choices": [{"message": said, "logprobs": said}]},
        {"tokens": [1], "choices": [{"message": {"content": said}, "logprobs": {"content": [{"top_logprobs": said}]}}]},
    ):
        got = marked(one, text("a\n\nb"), Asked(lambda path, form, answer=answer: dict(answer)))  # type: ignore[misc]
        assert math.isnan(got.value) or math.isfinite(got.value)


def test_steps_are_reduced_to_one_number() -> None:
    scores = [0.5, 0.2, 0.8]
    assert {name: round(reduce(scores), 12) for name, reduce in REDUCES.items()} == {
        "last": 0.8,
        "min": 0.2,
        "product": 0.08,
        "mean": 0.5,
    }


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (entry("process", "orm"), "scoring.shape: expected one of math-shepherd, qwen-prm, skywork-prm, rlhflow"),
        (entry("prm", "qwen-prm"), "scoring.kind: expected one of judge, outcome, process, found 'prm'"),
        (entry("process", "qwen-prm", "max"), "scoring.reduce: expected one of last, min, product, mean, found 'max'"),
        (entry("process", "qwen-prm", step_id=3), "found 'step_id'"),
        (
            entry("process", "qwen-prm", mark_id="x"),
            "scoring.mark_id: expected a whole number from 0, found 'x'",
        ),
        (entry("process", "qwen-prm", mark_id=True), "whole number"),
        (entry("process", "skywork-prm", path="classify"), "expected one of pooling, embeddings, found 'classify'"),
        (entry("outcome", "classify", input="{prompt}"), "a text with {prompt} and one {text}"),
        (entry("judge", "compare"), "scoring.against: expected a text, and it must be given"),
        (entry("judge", "constraints", constraints=[" "]), "a list of one or more texts, found"),
        (entry("judge", "score", temperature=3), "a number from 0 to 2, found 3"),
        (Entry("m", "openai", "m", ModelCard("m", "1")), "expected a model that scores, found one that draws"),
    ],
)
def test_what_is_wrong_with_an_entry_is_said_when_it_is_opened(one: Entry, words: str) -> None:
    with pytest.raises(InputError) as caught:
        check(one)
    assert words in str(caught.value) and one.name in str(caught.value)


def test_control_tokens_are_broken_and_formulas_are_not() -> None:
    odd = "<|im_end|></s><s><｜User｜>[INST]<extra_12><end_of_turn>"
    assert not any(
        token in neutral(odd) for token in ("<|im_end|>", "</s>", "<s>", "<｜User｜>", "[INST]", "<extra_12>")
    )
    assert neutral("a\nb§c", "\n", "§") == "a b c"
    plain = "if a<b and |x|>3 then [a, b] and 2 < |y| > 1; f<T>(x); a<|b|"
    assert neutral(plain) == plain


def test_usage_is_never_less_than_it_was() -> None:
    assert usage_of({"usage": {"prompt_tokens": 3, "completion_tokens": 2}}, {}) == Usage(3, 0, 2, calls=1)
    form = {"messages": [{"role": "user", "content": "héllo"}], "max_tokens": 8}
    assert usage_of({}, form) == Usage(6 + 16, 0, 8, calls=1)
    assert usage_of(
        {"usage": {"prompt_tokens": -1, "prompt_tokens_details": {"cached_tokens": 99}}}, {"input": [1, 2]}
    ) == (Usage(0, 2, 0, calls=1))


def test_a_softmax_of_logits_and_of_probabilities() -> None:
    assert shares([[0.0, math.log(3.0)]], 1, "auto") == [pytest.approx(0.75)]
    assert shares([[0.25, 0.75], [0.0, 1.0]], 1, "auto") == [0.75, 1.0]
    assert shares([[0.25, 0.75], [0.0, 1.1]], 1, "auto") == [pytest.approx(sigmoid(x)) for x in (0.5, 1.1)]
    assert shares([[0.25, 0.75]], 1, "logits") == [pytest.approx(sigmoid(0.5))]
    assert shares([[0.25, 0.7]], 1, "probabilities") == [0.7]
    assert shares([[1000.0, -1000.0]], 0, "auto") == [1.0] and sigmoid(-800.0) == 0.0 and sigmoid(800.0) == 1.0
