"""What a request asks for: nothing of it is ignored."""

from __future__ import annotations

from typing import Any

import pytest

from autotts.serve.refused import Refused
from autotts.serve.request import CHAT, TEXT, Own, Request, read

QUESTION = [{"role": "user", "content": "What is 2 + 3?"}]


def chat(**more: Any) -> Request:
    return read(CHAT, {"model": "auto", "messages": QUESTION, **more}, {})


def refused(endpoint: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> Refused:
    with pytest.raises(Refused) as caught:
        read(endpoint, body, headers or {})
    return caught.value


def test_the_prompt_is_the_last_message_and_the_rest_is_what_was_said_before() -> None:
    before = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}, {"role": "assistant"}]
    found = chat(messages=[*before, *QUESTION])
    assert found.prompt == "What is 2 + 3?"
    assert list(found.context.before) == before
    assert not found.plainly and not found.media


def test_parts_of_text_are_one_text() -> None:
    parts = [{"type": "text", "text": "What is"}, {"type": "text", "text": "2 + 3?"}]
    assert chat(messages=[{"role": "user", "content": parts}]).prompt == "What is\n2 + 3?"


def test_an_image_is_named() -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    found = chat(messages=[{"role": "user", "content": parts}])
    assert found.media == "messages[0].content[1] (image_url)"
    assert found.prompt == "What is this?"


@pytest.mark.parametrize(
    "field",
    [
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"response_format": {"type": "json_object"}},
        {"logprobs": True},
        {"n": 2},
        {"guided_regex": "[0-9]+"},
        {"modalities": ["text", "audio"]},
        {"continue_final_message": True},
    ],
)
def test_what_only_a_backend_can_honour_makes_one_plain_draw(field: dict[str, Any]) -> None:
    assert chat(**field).plainly == next(iter(field))


@pytest.mark.parametrize(
    "field",
    [
        {"tools": []},
        {"tools": None},
        {"response_format": {"type": "text"}},
        {"logprobs": False},
        {"n": 1},
        {"tool_choice": "auto"},
        {"tool_choice": "none"},
        {"parallel_tool_calls": True},
        {"modalities": ["text"]},
    ],
)
def test_a_field_that_asks_for_nothing_changes_nothing(field: dict[str, Any]) -> None:
    found = chat(**field)
    assert not found.plainly
    assert "response_format" not in found.context.fields


def test_an_answer_to_a_tool_is_passed_through() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    answer = {"role": "tool", "tool_call_id": "1", "content": "5"}
    found = chat(messages=[*QUESTION, call, answer])
    assert found.plainly.startswith("messages[1]")
    assert found.prompt == "What is 2 + 3?"


def test_unknown_fields_go_into_every_draw() -> None:
    found = chat(top_k=5, stop="\n", user="u", temperature=0.3, max_tokens=7)
    assert found.context.fields == {"top_k": 5, "stop": ["\n"], "user": "u"}
    assert found.context.most == 7
    assert found.sampling == {"temperature": 0.3}


def test_a_text_completion_of_one_text() -> None:
    for prompt in ("What is 2 + 3?", ["What is 2 + 3?"]):
        found = read(TEXT, {"model": "auto", "prompt": prompt}, {})
        assert found.prompt == "What is 2 + 3?" and not found.plainly


@pytest.mark.parametrize("prompt", [["a", "b"], [1, 2, 3], [[1, 2], [3]]])
def test_other_prompts_of_text_completions_are_passed_through(prompt: Any) -> None:
    found = read(TEXT, {"model": "auto", "prompt": prompt}, {})
    assert found.plainly.startswith("prompt: ") and found.prompt == ""


def test_own_budget_in_the_body_in_headers_and_in_the_name() -> None:
    assert chat(autotts={"budget": "2e14flops"}).own == Own(budget="2e14flops")
    headers = {"x-autotts-effort": "0.5", "x-autotts-deadline": "3", "x-autotts-progress": "1"}
    found = read(CHAT, {"model": "auto", "messages": QUESTION, "autotts": {"effort": 0.5}}, headers)
    assert found.own == Own(effort=0.5, deadline=3.0, progress=True)
    named = chat(model="auto@2e14flops")
    assert (named.name, named.own.budget) == ("auto", "2e14flops")


@pytest.mark.parametrize(
    ("body", "headers", "param"),
    [
        ({"autotts": {"effort": 0.5}}, {"x-autotts-effort": "0.6"}, "autotts.effort"),
        ({"autotts": {"effort": 0.5, "budget": "1tokens"}}, {}, "autotts.budget"),
        ({"model": "auto@5tokens", "autotts": {"budget": "6tokens"}}, {}, "model"),
        ({"model": "auto@5tokens", "autotts": {"effort": 0.5}}, {}, "model"),
        ({"autotts": {"effort": 2}}, {}, "autotts.effort"),
        ({"autotts": {"effort": True}}, {}, "autotts.effort"),
        ({"autotts": {"deadline": 0}}, {}, "autotts.deadline"),
        ({"autotts": {"speed": 1}}, {}, "autotts.speed"),
        ({"autotts": 5}, {}, "autotts"),
        ({}, {"x-autotts-deadline": "soon"}, "X-Autotts-Deadline"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, {}, "max_tokens"),
        ({"max_tokens": 0}, {}, "max_tokens"),
        ({"n": 0}, {}, "n"),
        ({"n": 1.0}, {}, "n"),
        ({"seed": 1 << 64}, {}, "seed"),
        ({"stream": "yes"}, {}, "stream"),
        ({"stream_options": {"include_usage": True}}, {}, "stream_options"),
        ({"temperature": 3}, {}, "temperature"),
        ({"top_p": "high"}, {}, "top_p"),
        ({"stop": [""]}, {}, "stop"),
        ({"response_format": "json"}, {}, "response_format"),
        ({"tool_choice": "required"}, {}, "tool_choice"),
        ({"model": None}, {}, "model"),
        ({"messages": []}, {}, "messages"),
        ({"messages": "hi"}, {}, "messages"),
        ({"messages": [{"role": "user", "content": " "}]}, {}, "messages"),
        ({"messages": [{"role": 5, "content": "a"}]}, {}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, {}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [5]}]}, {}, "messages[0].content[0]"),
    ],
)
def test_what_contradicts_or_makes_no_sense_is_refused_by_its_name(
    body: dict[str, Any], headers: dict[str, str], param: str
) -> None:
    found = refused(CHAT, {"model": "auto", "messages": QUESTION} | body, headers)
    assert (found.status, found.param) == (400, param)
    assert "expected" in str(found)


def test_fields_are_checked_also_where_the_prompt_asks_for_a_plain_draw() -> None:
    for prompt in (["one", "two"], [1, 2, 3]):
        with pytest.raises(Refused) as caught:
            read(TEXT, {"model": "auto", "prompt": prompt, "n": "text"}, {})
        assert caught.value.param == "n"
