"""Tools, answers in JSON of a schema, and vectors of texts of the fake server."""

from __future__ import annotations

import base64
import json
import math
from array import array
from typing import Any

import pytest

from autotts.worlds.fake_server import FakeModel, FakeServer, Pace, Scorer, echo
from autotts.worlds.fake_server.structured import written
from autotts.worlds.fake_server.text import pieces
from tests.worlds.test_fake_server import ASKED, TEXT, events, fake, post

PARAMETERS = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}, "why": {"type": "string"}},
    "required": ["a", "b"],
}
ADD = {"type": "function", "function": {"name": "add", "parameters": PARAMETERS}}
TOLD = [{"role": "user", "content": "Use the tool add: what is 12 + 30?"}]
CALL = {"id": "call-1", "type": "function", "function": {"name": "add", "arguments": '{"a": 12, "b": 30}'}}


def chat(server: FakeServer | None = None, **form: Any) -> dict[str, Any]:
    return dict(post(server or fake(), "/chat/completions", **{"model": "small", "messages": ASKED, **form}).json())


def structured(schema: object, **form: Any) -> dict[str, Any]:
    return chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}, **form)


# ---------------------------------------------------------------- tools


def test_a_tool_is_called_with_arguments_of_its_schema_when_it_is_named_in_words() -> None:
    answer = chat(messages=TOLD, tools=[ADD])
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None
    assert choice["message"]["tool_calls"][0]["function"] == CALL["function"]
    assert answer["usage"]["completion_tokens"] == len(pieces(CALL["function"]["arguments"]))  # type: ignore[index]


def test_no_tool_is_called_without_a_reason() -> None:
    after = [*TOLD, {"role": "assistant", "content": None, "tool_calls": [CALL]}, {"role": "tool", "content": "42"}]
    unasked = [{"tools": [ADD]}, {"tools": [ADD], "tool_choice": "none", "messages": TOLD}]
    for form in (*unasked, {"tools": [ADD], "messages": after}):
        choice = chat(**form)["choices"][0]
        assert choice["message"]["content"] == TEXT and choice["finish_reason"] == "stop"


def test_the_pieces_of_a_streamed_call_make_the_whole_call() -> None:
    for chunk in (1, 3, 100):
        server = fake(pace=Pace(chunk=chunk))
        form = {"model": "small", "messages": TOLD, "tools": [ADD], "stream": True, "n": 2}
        chunks = list(events(post(server, "/chat/completions", **form).text))
        for index in (0, 1):
            mine = [one["choices"][0] for one in chunks[1:] if one["choices"][0]["index"] == index]
            calls = [call for choice in mine for call in choice["delta"].get("tool_calls", [])]
            assert (calls[0]["function"]["name"], calls[0]["type"], calls[0]["index"]) == ("add", "function", 0)
            assert not any("name" in call["function"] or "id" in call for call in calls[1:])
            assert "".join(call["function"]["arguments"] for call in calls) == '{"a": 12, "b": 30}'
            assert mine[-1]["finish_reason"] == "tool_calls"
            assert not any(choice["delta"].get("content") for choice in mine)


def test_a_tool_that_the_request_names_ends_as_vllm_says() -> None:
    named = {"type": "function", "function": {"name": "add"}}
    assert chat(tools=[ADD], tool_choice=named)["choices"][0]["finish_reason"] == "stop"
    assert chat(tools=[ADD], tool_choice="required")["choices"][0]["finish_reason"] == "tool_calls"
    assert chat(tools=[ADD], tool_choice="required", max_tokens=1)["choices"][0]["finish_reason"] == "length"


def test_a_thinking_model_thinks_before_it_calls() -> None:
    server = FakeServer([FakeModel("deep", echo(TEXT), thinks=9)], pace=Pace(chunk=2))
    form: dict[str, Any] = {"model": "deep", "messages": TOLD, "tools": [ADD], "stream": True}
    deltas = [one["choices"][0]["delta"] for one in events(post(server, "/chat/completions", **form).text)]
    calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
    assert "".join(call["function"]["arguments"] for call in calls) == '{"a": 12, "b": 30}'
    assert [("name" in call["function"]) for call in calls].count(True) == 1
    assert any(delta.get("reasoning_content") for delta in deltas)


# ---------------------------------------------------------------- schemas


def test_an_answer_conforms_to_the_schema_that_was_asked_for() -> None:
    schema = {
        "type": "object",
        "properties": {
            "answer": {"type": "integer"},
            "kind": {"enum": ["easy", "hard"]},
            "steps": {"type": "array", "items": {"$ref": "#/$defs/Step"}, "minItems": 2},
            "note": {"anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}]},
            "share": {"type": "number", "maximum": 1},
            "sure": {"type": "boolean"},
        },
        "required": ["answer", "kind", "steps", "note", "share", "sure"],
        "$defs": {"Step": {"type": "object", "properties": {"said": {"type": "string"}}, "required": ["said"]}},
    }
    answer = structured(schema)
    said = json.loads(answer["choices"][0]["message"]["content"])
    assert said["answer"] == 7  # what the model's own answer says
    assert (said["kind"], said["sure"], said["share"], said["note"]) == ("easy", True, 1.0, "7")
    assert said["steps"] == [{"said": "7"}, {"said": "7"}]
    assert answer["usage"]["completion_tokens"] == len(pieces(answer["choices"][0]["message"]["content"]))


def test_a_streamed_answer_in_json_is_the_whole_one() -> None:
    form: dict[str, Any] = {"model": "small", "messages": ASKED, "stream": True}
    form["response_format"] = {"type": "json_object"}
    assert chat(response_format={"type": "text"})["choices"][0]["message"]["content"] == TEXT
    chunks = list(events(post(fake(), "/chat/completions", **form).text))
    assert "".join(one["choices"][0]["delta"].get("content", "") for one in chunks) == "{}"


def test_what_is_json_already_is_kept() -> None:
    assert written({"type": "object"}, '{"tag": 1}') == '{"tag": 1}'
    assert written({"type": "integer", "minimum": 3, "exclusiveMaximum": 5}, "It is 9.") == "4"
    assert written({"type": ["integer", "null"], "exclusiveMinimum": 3}, "nothing") == "4"


def test_a_schema_that_is_not_known_here_is_refused() -> None:
    endless = {"$ref": "#/$defs/X", "$defs": {"X": {"$ref": "#/$defs/X"}}}
    wrong: list[object] = [{"type": "string", "pattern": "a+"}, {"$ref": "#/$defs/no"}, {"type": "thing"}, 3, endless]
    for schema in wrong:
        assert structured(schema)["error"]["param"] == "response_format", schema
    for form in ({"type": "yaml"}, {"no": 1}, "json"):
        assert chat(response_format=form)["error"]["code"] == 400
    nested: dict[str, Any] = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}
    depth, found = 0, json.loads(structured(nested)["choices"][0]["message"]["content"])
    while found is not None:
        depth, found = depth + 1, found["next"]
    assert depth > 1


def test_a_server_can_be_without_schemas() -> None:
    schema = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}
    assert chat(fake(without=("schemas",)), response_format=schema)["choices"][0]["message"]["content"] == TEXT


# ---------------------------------------------------------------- vectors


def near(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_texts_with_words_in_common_have_near_vectors() -> None:
    server = FakeServer([FakeModel("embedder", embeds=64), FakeModel("orm", marks=Scorer())])
    texts = ["What is 12 + 30?", "What is 12 + 31?", "Tell me of the sea."]
    answer = post(server, "/embeddings", model="embedder", input=texts).json()
    assert [one["index"] for one in answer["data"]] == [0, 1, 2]
    rows = [one["embedding"] for one in answer["data"]]
    assert all(len(row) == 64 and math.hypot(*row) == pytest.approx(1.0) for row in rows)
    assert near(rows[0], rows[1]) > near(rows[0], rows[2])
    assert answer["usage"]["prompt_tokens"] == server.counts.prompt == 15 and server.counts.generated == 0
    packed = post(server, "/embeddings", model="embedder", input=texts[0], encoding_format="base64").json()
    assert array("f", base64.b64decode(packed["data"][0]["embedding"])).tolist() == pytest.approx(rows[0])
    short = post(server, "/embeddings", model="embedder", input="", dimensions=8).json()
    assert len(short["data"][0]["embedding"]) == 8
    for wrong in ({"model": "orm"}, {"encoding_format": "hex"}, {"dimensions": 0}, {"input": None}):
        form = {"model": "embedder", "input": "x", **wrong}
        assert post(server, "/embeddings", **form).status_code == 400, wrong
    assert post(server, "/chat/completions", model="embedder", messages=ASKED).status_code == 400
