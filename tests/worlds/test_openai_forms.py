"""What is sent for a draw, what servers say when they refuse it, and what a completion makes of a path."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from autotts.core.cost import ModelCard
from autotts.core.plan import Spec
from autotts.errors import PlanError
from autotts.worlds.models.entry import Entry, Server, Template, Thinking
from autotts.worlds.openai.forms import Wish, check, form, goes_on, name_of, rendering
from autotts.worlds.openai.nodes import node_of
from autotts.worlds.openai.refusals import Overflow, overflow, refused_field, same_model, without
from autotts.worlds.openai.stream import Said
from autotts.worlds.openai.texts import Partial, fewest_tokens, most_tokens, spoken

ENTRY = Entry(
    "small", "openai", "org/small", ModelCard("small", "1"), servers=(Server("http://localhost:8000/v1"),), revision="1"
)
TEXT = replace(ENTRY, template=Template(form="text", user="Q: {prompt}\nA:", stop=("Q:",)))
FRESH = Partial("How many?")
BEGUN = Partial("How many?", text="First, one.\n\n", ids=(1, 2, 3, 4), by="small", made=2, whole=4)
THOUGHT = Partial("How many?", thought="so one", ids=(1, 2, 3), by="small", made=2)


def wish(entry: Entry = ENTRY, partial: Partial = FRESH, **fields: Any) -> Wish:
    spec = fields.pop("spec", Spec())
    return Wish(entry, partial, spec, "Put it in a box.", seed=7, room=fields.pop("room", 100), **fields)


def said(text: str = "4", **fields: Any) -> Said:
    known: dict[str, Any] = {"thought": "", "ids": None, "prompt_ids": None, "finish": "stop", "stop": None}
    known |= {"knows_stop": True, "prompt": 9, "cached": 0, "made": 1, "estimated": False, "mean_logprob": None}
    return Said(text=text, **known | fields)


def read(text: str) -> str | None:
    found = re.findall(r"\\boxed\{(.*)\}|(\d+)$", text)
    return "".join(found[-1]) if found else None


def node(asked: Wish, got: Said) -> tuple[Any, dict[str, Any]]:
    return node_of(asked, form(asked), got, key=b"k", depth=1, read=read)


def test_a_whole_draw_of_a_chat() -> None:
    got = form(wish(spec=Spec(temperature=0.6, top_p=0.9)))
    assert got.path == "/chat/completions"
    assert got.body == {
        "model": "org/small",
        "messages": [{"role": "user", "content": "How many?\n\nPut it in a box."}],
        "max_tokens": 100,
        "temperature": 0.6,
        "top_p": 0.9,
        "seed": 7,
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    }


def test_a_whole_draw_of_a_text() -> None:
    got = form(wish(TEXT))
    assert (got.path, got.body["prompt"], got.body["stop"]) == ("/completions", "Q: How many?\nA:", ["Q:"])


def test_a_prompt_may_hold_what_a_template_would_fill_in() -> None:
    got = form(wish(partial=Partial("{instruction} {prompt} {x}")))
    assert got.body["messages"][0]["content"] == "{instruction} {prompt} {x}\n\nPut it in a box."


def test_no_instruction_leaves_no_gap() -> None:
    got = form(replace(wish(), instruction=""))
    assert got.body["messages"][0]["content"] == "How many?"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (Spec(stop=5), {"max_tokens": 5}),
        (Spec(stop=500), {"max_tokens": 100}),
        (Spec(stop="step"), {"stop": ["\n\n"], "include_stop_str_in_output": True}),
        (
            Spec(move="probe"),
            {"max_tokens": 48, "temperature": 0.0, "top_p": 1.0, "stop": ["\n", "}$", "}."], "prompt": [1, 2, 3, 4, 9]},
        ),
    ],
)
def test_what_a_move_asks_for(spec: Spec, expected: dict[str, Any]) -> None:
    body = form(wish(partial=BEGUN, spec=spec, way="ids", ids=(1, 2, 3, 4, 9), keep_ids=True)).body
    assert {name: body[name] for name in expected} == expected
    assert body["return_token_ids"] is True


def test_thinking_and_extras_go_where_they_belong() -> None:
    entry = replace(
        ENTRY,
        thinking=Thinking(enabled=True, effort="low", budget=64),
        extra={"top_k": 20, "logprobs": True, "top_logprobs": 2, "chat_template_kwargs": {"tools": False}},
    )
    chat = form(wish(entry)).body
    assert chat["chat_template_kwargs"] == {"tools": False, "enable_thinking": True}
    assert (chat["reasoning_effort"], chat["thinking_token_budget"], chat["top_k"]) == ("low", 64, 20)
    text = form(wish(entry, partial=BEGUN, way="ids", ids=(1, 2))).body
    assert (text["logprobs"], text["thinking_token_budget"], text["top_k"]) == (2, 64, 20)
    assert not {"chat_template_kwargs", "reasoning_effort", "top_logprobs"} & set(text)
    assert rendering(entry, Partial("x"), "")["chat_template_kwargs"] == {"tools": False, "enable_thinking": True}


def test_a_message_is_gone_on_with() -> None:
    body = form(wish(partial=BEGUN, spec=Spec(stop="step", nudge="Wait,"), way="message")).body
    assert body["messages"][-1] == {"role": "assistant", "content": "First, one.\n\nWait,"}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)


def test_a_text_is_gone_on_with() -> None:
    got = form(wish(TEXT, BEGUN, spec=Spec(move="probe"), way="text"))
    assert got.body["prompt"] == "Q: How many?\nA:First, one.\n\n\n\nFinal answer: \\boxed{"
    assert got.lead == "\n\nFinal answer: \\boxed{"


def test_a_probe_closes_the_thinking_first() -> None:
    body = form(wish(partial=THOUGHT, spec=Spec(move="probe"), way="message")).body
    assert body["messages"][-1]["content"] == "<think>\nso one\n</think>\n\nFinal answer: \\boxed{"


def test_a_message_cannot_be_gone_on_with_in_the_midst_of_thinking() -> None:
    with pytest.raises(PlanError, match="in the middle of its thinking"):
        form(wish(partial=THOUGHT, spec=Spec(stop=5), way="message"))


def test_a_chat_without_a_way_says_what_it_lacks() -> None:
    with pytest.raises(PlanError, match="cannot go on with a partial answer"):
        form(wish(partial=BEGUN, way="text"))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (Spec(move="vary"), "cannot 'vary'"),
        (Spec(stop="line"), "stops at 'end', 'step' or a number"),
    ],
)
def test_what_no_server_can_do_is_said(spec: Spec, words: str) -> None:
    with pytest.raises(PlanError, match=words):
        check(ENTRY, spec)


def test_steps_need_a_delimiter() -> None:
    with pytest.raises(PlanError, match="no step delimiter"):
        check(replace(ENTRY, template=Template(step="")), Spec(stop="step"))


def test_only_whole_draws_of_a_prompt_need_no_way_to_go_on() -> None:
    assert not goes_on(Partial("x"), Spec())
    assert all(goes_on(Partial("x"), spec) for spec in (Spec(stop=3), Spec(move="probe"), Spec(nudge="So")))
    assert goes_on(BEGUN, Spec())


def test_the_name_of_a_binding_changes_with_what_changes_draws() -> None:
    names = {
        name_of(entry, instruction)
        for entry in (
            ENTRY,
            TEXT,
            replace(ENTRY, revision="2"),
            replace(ENTRY, max_tokens=9),
            replace(ENTRY, extra={"top_k": 1}),
            replace(ENTRY, thinking=Thinking(enabled=False)),
        )
        for instruction in ("", "Box it.")
    }
    assert len(names) == 12
    other = replace(ENTRY, servers=(Server("http://elsewhere/v1", key="secret"),), name="other")
    assert name_of(other, "") == name_of(ENTRY, "")


def test_bounds_on_the_tokens_of_a_prompt() -> None:
    prompt = "Wie groß ist π? " * 9
    assert (fewest_tokens(Partial(prompt), 99), fewest_tokens(Partial(prompt), 9)) == (36, 9)
    assert most_tokens(TEXT, Partial(prompt), "") == len(f"Q: {prompt}\nA:".encode()) + 16
    assert most_tokens(ENTRY, Partial(prompt), "Box it.") > most_tokens(TEXT, Partial(prompt), "")


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("words", "context", "prompt"),
    [
        (
            "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (1000 in the "
            "messages, 8000 in the completion).",
            8192,
            1000,
        ),
        (
            "This model's maximum context length is 256 tokens. However, you requested 300 output tokens and your "
            "prompt contains 10 input tokens, for a total of 310 tokens.",
            256,
            10,
        ),
        (
            "'max_tokens' is too large: 500. This model's maximum context length is 256 tokens and your request has "
            "10 input tokens (500 > 256 - 10).",
            256,
            10,
        ),
        ("max_tokens=500 cannot be greater than max_model_len=max_total_tokens=256.", 256, None),
        ("the request (300 tokens) exceeds the available context size (256 tokens), try increasing it", 256, 300),
        (
            "Requested token count exceeds the model's maximum context length of 256 tokens. You requested a total of "
            "310 tokens: 10 tokens from the input messages and 300 tokens for the completion.",
            256,
            10,
        ),
    ],
)
def test_an_exceeded_context_is_understood(words: str, context: int, prompt: int | None) -> None:
    assert overflow(words) == Overflow(context, prompt)


def test_what_still_fits_is_asked_for() -> None:
    assert Overflow(256, 10).room(300) == 246
    assert Overflow(256, None).room(300) == 255
    assert Overflow(256, 300).room(300) < 0
    assert "exceed the model's context of 256 by 54" in Overflow(256, 10).words(300)


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ("Unknown parameter: 'stream_options.continuous_usage_stats'.", "continuous_usage_stats"),
        ("Unsupported parameter: 'max_tokens' is not supported; use 'max_completion_tokens' instead.", "max_tokens"),
        ("Unsupported value: 'temperature' does not support 0.8 with this model.", "temperature"),
        ("Unrecognized request argument supplied: seed", "seed"),
        ("Unrecognized request argument supplied: top_k", None),
        ("the max_tokens must be positive", None),
    ],
)
def test_a_refused_field_is_known_by_the_words(words: str, field: str | None) -> None:
    body = form(wish()).body
    assert refused_field(words, body) == field
    if field is not None:
        less = without(body, (field,))
        assert refused_field(words, less) is None
        assert less.get("max_completion_tokens") == (100 if field == "max_tokens" else None)


def test_another_model_is_told_from_another_name() -> None:
    listed = {"a": "weights", "b": "weights", "c": "others"}
    assert same_model("a", "b", listed) and not same_model("a", "c", listed)
    assert same_model("gpt-4o", "gpt-4o-2024-08-06", {}) and not same_model("gpt-4o", "gpt-4o-mini", {})


# ---------------------------------------------------------------- nodes


def test_an_answer_is_read_at_its_end_only() -> None:
    whole, state = node(wish(), said("It is \\boxed{4}"))
    assert (whole.done, whole.answer, dict(whole.signals)) == (True, "4", {})
    assert state == {
        "prompt": "How many?",
        "text": "It is \\boxed{4}",
        "ids": None,
        "by": "small",
        "made": 1,
        "whole": 10,
    }
    cut, _ = node(wish(), said("It is \\boxed{4}", finish="length", made=100))
    assert (cut.done, cut.answer, dict(cut.signals)) == (True, None, {"cut": 1.0})
    assert cut.digest != whole.digest
    kept, kept_state = node(wish(), said("It", finish="filter"))
    assert kept.failed and kept.done and "filter" in kept_state["fault"]


def test_thinking_is_not_read() -> None:
    got, state = node(wish(), said("8", thought="it is \\boxed{3}"))
    assert (got.answer, state["thought"]) == ("8", "it is \\boxed{3}")
    assert node(wish(), said("<think>\\boxed{3}</think> it is 8"))[0].answer == "8"
    assert node(wish(), said("<think>\\boxed{3}"))[0].answer is None
    assert spoken("\\boxed{3}</think>8") == "8"


def test_a_chunk_goes_on_and_the_end_of_a_path_is_cut() -> None:
    asked = wish(spec=Spec(stop=5), keep_ids=True)
    chunk, state = node(asked, said("a b", finish="length", made=5, ids=(7, 8, 9, 10, 11), prompt_ids=(1, 2)))
    assert not chunk.done and chunk.answer is None
    assert (state["ids"], state["made"], state["whole"]) == ([1, 2, 7, 8, 9, 10, 11], 5, 14)
    assert node(asked, said("a", finish="length", made=3))[0].signals["cut"] == 1.0  # the context was full
    assert node(replace(asked, room=5), said("a b", finish="length", made=5))[0].signals["cut"] == 1.0
    ended, state = node(asked, said("It is 4", made=3))
    assert ended.done and ended.answer == "4" and state["ids"] is None


@pytest.mark.parametrize(
    ("got", "text", "done"),
    [
        (said("Then two.\n\n", stop="\n\n"), "Then two.\n\n", False),
        (said("Then two.", stop="\n\n"), "Then two.\n\n", False),  # a server that cuts stop strings off
        (said("Then two.\n\n", knows_stop=False), "Then two.\n\n", False),
        (said("It is 2"), "It is 2", True),
    ],
)
def test_a_step_keeps_its_delimiter(got: Said, text: str, done: bool) -> None:
    drawn, state = node(wish(partial=BEGUN, spec=Spec(stop="step"), way="ids", ids=(1,)), got)
    assert (state["text"], drawn.done) == (BEGUN.text + text, done)


def test_a_step_cannot_be_told_from_the_end_where_the_server_is_silent() -> None:
    with pytest.raises(PlanError, match="stop_reason"):
        node(wish(spec=Spec(stop="step")), said("Then two.", knows_stop=False))


@pytest.mark.parametrize(
    ("completion", "finish", "answer"),
    [
        ("4}", "stop", "4"),
        ("4", "stop", "4"),  # the brace went with the stop string
        ("\\frac{1}{2}}$.", "stop", "\\frac{1}{2}"),
        ("4} and so on", "length", "4"),
        ("4 and so", "length", None),
    ],
)
def test_a_probe_reads_the_box(completion: str, finish: str, answer: str | None) -> None:
    asked = wish(partial=BEGUN, spec=Spec(move="probe"), way="ids", ids=(1,))
    probe, state = node(asked, said(completion, finish=finish))
    assert (probe.done, probe.answer) == (True, answer)
    assert state["text"].startswith(BEGUN.text + "\n\nFinal answer: \\boxed{4" if completion[0] == "4" else BEGUN.text)


def test_thinking_that_is_gone_on_with_stays_apart_until_it_ends() -> None:
    asked = wish(partial=THOUGHT, spec=Spec(stop=5), way="ids", ids=(1, 2, 3))
    _, state = node(asked, said(" and two", finish="length", made=5))
    assert (state["thought"], state["text"]) == ("so one and two", "")
    got, state = node(asked, said(" two</think>It is 3", made=3))
    assert (state["thought"], state["text"], got.answer) == ("so one two", "It is 3", "3")


def test_a_state_is_read_back() -> None:
    for partial in (BEGUN, THOUGHT, Partial("x")):
        assert Partial.of(partial.state()) == partial
    assert Partial.of({"prompt": "x"}) == Partial("x")
