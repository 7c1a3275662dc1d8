"""The fake server answers in OpenAI's form as vLLM speaks it; what it says is a function of what it is asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import httpx
import pytest

from autotts.errors import InputError
from autotts.worlds.fake_server import FakeModel, FakeServer, Pace, Scorer, Solver, echo
from autotts.worlds.fake_server.text import pieces

T = TypeVar("T")

TEXT = "First, 1 + 2 = 3.\n\nThen 3 + 4 = 7.\n\nThe answer is \\boxed{7}."
ASKED = [{"role": "user", "content": "What is 1 + 2 + 4?"}]
USAGE = {"include_usage": True, "continuous_usage_stats": True}


def on(server: FakeServer, work: Callable[[httpx.AsyncClient], Awaitable[T]]) -> T:
    """Run a client's work against a server."""

    async def run() -> T:
        async with server, httpx.AsyncClient(base_url=server.url, timeout=20.0, verify=False) as client:
            return await work(client)

    return asyncio.run(run())


def post(server: FakeServer, path: str, **form: Any) -> httpx.Response:
    async def work(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post(path, json=form)

    return on(server, work)


def get(server: FakeServer, path: str, **headers: str) -> httpx.Response:
    async def work(client: httpx.AsyncClient) -> httpx.Response:
        return await client.get(path, headers=headers)

    return on(server, work)


def events(text: str) -> Iterator[dict[str, Any]]:
    """The chunks of a stream, which must end as it should."""
    lines = [line for line in text.split("\n\n") if line]
    assert lines.pop() == "data: [DONE]"
    for line in lines:
        assert line.startswith("data: ")
        yield json.loads(line[6:])


def fake(text: str = TEXT, **options: Any) -> FakeServer:
    return FakeServer([FakeModel("small", echo(text))], **options)


def solving(**options: Any) -> FakeServer:
    return FakeServer([FakeModel("small", Solver(0.7))], **options)


# ---------------------------------------------------------------- answers


def test_a_chat_is_answered_with_its_usage() -> None:
    server = fake()
    answer = post(server, "/chat/completions", model="small", messages=ASKED).json()
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": TEXT}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == len(pieces(TEXT)) == len(TEXT.split())
    assert answer["usage"]["prompt_tokens"] == 1 + 7 + 1
    assert (server.counts.requests, server.counts.prompt, server.counts.generated) == (1, 9, len(pieces(TEXT)))
    assert server.counts.by_model["small"].finished == 1


def test_a_stream_says_the_same_as_the_whole_answer() -> None:
    form: dict[str, Any] = {"model": "small", "messages": ASKED, "seed": 5, "return_token_ids": True, "logprobs": True}
    whole = post(solving(), "/chat/completions", **form).json()
    for chunk in (1, 3, 100):
        server = solving(pace=Pace(chunk=chunk))
        text = post(server, "/chat/completions", **form, stream=True, stream_options=USAGE).text
        first, *rest, last = events(text)
        assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert first["usage"]["prompt_tokens"] == whole["usage"]["prompt_tokens"]
        said = "".join(one["choices"][0]["delta"]["content"] for one in rest)
        assert said == whole["choices"][0]["message"]["content"]
        ids = [each for one in rest for each in one["choices"][0]["token_ids"]]
        assert ids == whole["choices"][0]["token_ids"]
        told = [each for one in rest for each in one["choices"][0]["logprobs"]["content"]]
        assert told == whole["choices"][0]["logprobs"]["content"]
        counted = [one["usage"]["completion_tokens"] for one in rest]
        assert counted == [min(chunk * i, len(ids)) for i in range(1, len(rest) + 1)]
        assert last["choices"] == [] and last["usage"] == whole["usage"]


def test_usage_of_a_stream_is_told_only_if_asked_for() -> None:
    chunks = list(events(post(fake(), "/chat/completions", model="small", messages=ASKED, stream=True).text))
    assert not any("usage" in one for one in chunks)
    text = post(
        fake(), "/chat/completions", model="small", messages=ASKED, stream=True, stream_options={"include_usage": True}
    ).text
    assert ["usage" in one for one in events(text)].count(True) == 1


def test_a_text_completion_echoes_and_scores_a_prompt() -> None:
    form = {"model": "small", "prompt": "one two three", "echo": True, "max_tokens": 0, "logprobs": 2}
    choice = post(fake(), "/completions", **form).json()["choices"][0]
    assert choice["text"] == "one two three"
    assert choice["logprobs"]["tokens"] == ["one", " two", " three"]
    assert choice["logprobs"]["text_offset"] == [0, 3, 7]
    assert choice["logprobs"]["token_logprobs"][0] is None
    assert all(value < 0 for value in choice["logprobs"]["token_logprobs"][1:])
    assert [len(top) for top in choice["logprobs"]["top_logprobs"][1:]] == [2, 2]


def test_log_probabilities_of_a_drawn_text_are_those_of_scoring_it() -> None:
    form = {"model": "small", "prompt": "What is 3 + 4?\n", "max_tokens": 50, "logprobs": 1}
    drawn = post(solving(), "/completions", **form).json()["choices"][0]
    form = {"model": "small", "prompt": form["prompt"] + drawn["text"], "max_tokens": 0, "logprobs": 1, "echo": True}
    scored = post(solving(), "/completions", **form).json()["choices"][0]
    count = len(drawn["logprobs"]["tokens"])
    assert scored["logprobs"]["token_logprobs"][-count:] == drawn["logprobs"]["token_logprobs"]


def test_choices_have_seeds_that_follow_each_other() -> None:
    answer = post(solving(), "/chat/completions", model="small", messages=ASKED, n=3, seed=7).json()
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    for i, text in enumerate(texts):
        alone = post(solving(), "/chat/completions", model="small", messages=ASKED, seed=7 + i).json()
        assert alone["choices"][0]["message"]["content"] == text
    assert answer["usage"]["completion_tokens"] == sum(len(pieces(text)) for text in texts)
    assert answer["usage"]["prompt_tokens"] == 9  # counted once


def test_a_stop_string_is_cut_off_and_its_tokens_count() -> None:
    form: dict[str, Any] = {"model": "small", "messages": ASKED, "stop": "\n\n", "return_token_ids": True}
    answer = post(fake(), "/chat/completions", **form).json()
    choice = answer["choices"][0]
    assert choice["message"]["content"] == "First, 1 + 2 = 3."
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", "\n\n")
    assert answer["usage"]["completion_tokens"] == len(choice["token_ids"]) == 6
    kept = post(fake(), "/chat/completions", **form, include_stop_str_in_output=True).json()["choices"][0]
    assert kept["message"]["content"] == "First, 1 + 2 = 3.\n\n"
    within = post(fake(), "/chat/completions", **form | {"stop": ["nothing", "2 = 3"]}).json()
    assert within["choices"][0]["message"]["content"] == "First, 1 + "
    assert within["choices"][0]["stop_reason"] == "2 = 3"
    streamed = post(fake(pace=Pace(chunk=1)), "/chat/completions", **form, stream=True).text
    assert "".join(one["choices"][0]["delta"]["content"] for one in events(streamed)) == "First, 1 + 2 = 3."


def test_an_answer_ends_at_its_most_tokens() -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        answer = post(fake(), "/chat/completions", model="small", messages=ASKED, **{name: 4}).json()
        assert answer["choices"][0]["message"]["content"] == "First, 1 + 2"
        assert answer["choices"][0]["finish_reason"] == "length"
    long = post(fake(), "/completions", model="small", prompt="x", max_tokens=40, ignore_eos=True).json()
    assert long["usage"]["completion_tokens"] == 40 and long["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_partial_answer_is_gone_on_with_by_message_text_and_ids(temperature: float) -> None:
    form: dict[str, Any] = {"model": "small", "seed": 3, "temperature": temperature}

    async def work(client: httpx.AsyncClient) -> None:
        whole = (
            await client.post("/chat/completions", json={**form, "messages": ASKED, "return_token_ids": True})
        ).json()
        text, ids = whole["choices"][0]["message"]["content"], whole["choices"][0]["token_ids"]
        asked = (await client.post("../tokenize", json={"model": "small", "messages": ASKED})).json()
        assert asked["tokens"] == whole["prompt_token_ids"] and asked["count"] == whole["usage"]["prompt_tokens"]
        prompt = (await client.post("../detokenize", json={"tokens": asked["tokens"]})).json()["prompt"]
        for cut in range(len(ids)):
            begun = "".join(pieces(text)[:cut])
            last = [*ASKED, {"role": "assistant", "content": begun}]
            told = {**form, "messages": last, "continue_final_message": True, "add_generation_prompt": False}
            by_message = (await client.post("/chat/completions", json=told)).json()
            assert begun + by_message["choices"][0]["message"]["content"] == text
            for given in (prompt + begun, asked["tokens"] + ids[:cut]):
                gone_on = (await client.post("/completions", json={**form, "prompt": given, "max_tokens": 999})).json()
                assert begun + gone_on["choices"][0]["text"] == text
                assert (
                    gone_on["usage"]["prompt_tokens"]
                    == by_message["usage"]["prompt_tokens"]
                    == len(asked["tokens"]) + cut
                )

    on(solving(), work)


def test_several_prompts_have_choices_in_their_order() -> None:
    asked = {"model": "small", "prompt": ["What is 1 + 2?", "What is 5 + 6?"], "n": 2, "max_tokens": 99, "seed": 1}
    answer = post(solving(), "/completions", **asked).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert ["1 + 2" in choice["text"] for choice in answer["choices"]] == [True, True, False, False]
    assert answer["usage"]["prompt_tokens"] == 10


# ---------------------------------------------------------------- thinking, caching


def test_a_thinking_model_thinks_apart_from_its_answer() -> None:
    server = FakeServer([FakeModel("deep", echo("Seven."), thinks=20)])
    form: dict[str, Any] = {"model": "deep", "messages": ASKED, "seed": 1}
    lengths = {}
    for effort in ("low", "medium", "high"):
        answer = post(server, "/chat/completions", **form, reasoning_effort=effort).json()
        assert answer["choices"][0]["message"]["content"] == "Seven."
        assert "<think>" not in answer["choices"][0]["message"]["reasoning_content"]
        lengths[effort] = answer["usage"]["completion_tokens_details"]["reasoning_tokens"]
        assert answer["usage"]["completion_tokens"] == lengths[effort] + 1
    assert lengths["low"] < lengths["medium"] < lengths["high"]
    mute = post(server, "/chat/completions", **form, chat_template_kwargs={"enable_thinking": False}).json()
    assert mute["usage"]["completion_tokens"] == 1
    bound = post(server, "/chat/completions", **form, thinking_token_budget=3).json()
    assert bound["usage"]["completion_tokens"] == 3 + 2 + 1
    chunks = list(events(post(server, "/chat/completions", **form, stream=True).text))
    deltas = [one["choices"][0]["delta"] for one in chunks]
    assert "".join(delta.get("content", "") for delta in deltas) == "Seven."
    assert sum("reasoning_content" in delta for delta in deltas) >= 2


def test_a_thought_is_gone_on_with_in_a_text_completion() -> None:
    server = FakeServer([FakeModel("deep", Solver(0.8), thinks=12)])
    form: dict[str, Any] = {"model": "deep", "max_tokens": 500, "seed": 4}
    prompt = "<|user|>\nWhat is 1 + 2 + 4?\n<|assistant|>\n"
    whole = post(server, "/completions", **form, prompt=prompt).json()["choices"][0]["text"]
    assert whole.startswith("<think>\n") and "</think>\n\nFirst," in whole
    for cut in (1, 5, 14, 17):
        begun = "".join(pieces(whole)[:cut])
        rest = post(server, "/completions", **form, prompt=prompt + begun).json()["choices"][0]["text"]
        assert begun + rest == whole


def test_whole_blocks_of_a_prompt_are_cached() -> None:
    async def work(client: httpx.AsyncClient) -> list[int]:
        found = []
        for prompt in ("a b c d e f g h i", "a b c d e f g h i", "a b c d x f g h i", "a b c d e f g h", "z b c d"):
            form = {"model": "small", "prompt": prompt, "max_tokens": 1}
            answer = (await client.post("/completions", json=form)).json()
            found.append(answer["usage"]["prompt_tokens_details"]["cached_tokens"])
        return found

    server = fake(cache_block=4)
    assert on(server, work) == [0, 8, 4, 4, 0]  # never the whole of a prompt: its last token is read
    assert server.counts.cached == 16


# ---------------------------------------------------------------- other endpoints


def test_models_health_version_and_metrics() -> None:
    server = fake()
    assert [one["id"] for one in get(server, "/models").json()["data"]] == ["small"]
    assert get(server, "../health").status_code == 200
    assert get(server, "../version").json()["version"]
    post(server, "/chat/completions", model="small", messages=ASKED)
    told = get(server, "../metrics").text
    assert f'vllm:generation_tokens_total{{model_name="small"}} {len(pieces(TEXT)):.1f}' in told
    assert 'vllm:prompt_tokens_total{model_name="small"} 9.0' in told


def test_tokens_are_told() -> None:
    answer = post(fake(), "../tokenize", model="small", prompt="a  b\n\nc", return_token_strs=True).json()
    assert answer["token_strs"] == ["a", "  b\n\n", "c"] and answer["count"] == 3
    assert answer["max_model_len"] == 8192


def test_scorers_answer_pooling_and_classify() -> None:
    steps = Scorer(auc=0.9, per="step", classes=2)
    server = FakeServer([FakeModel("prm", marks=steps), FakeModel("orm", marks=Scorer(auc=0.9))])
    text = "What is 1 + 2?<extra_0>First, 1 + 2 = 3. That leaves 3.<extra_0>"
    form: dict[str, Any] = {"model": "prm", "input": text}
    raw = post(server, "../pooling", **form, use_activation=False).json()["data"][0]["data"]
    sure = post(server, "../pooling", **form).json()["data"][0]["data"]
    assert len(raw) == len(sure) == 2 and all(len(row) == 2 for row in raw)
    assert all(sum(row) == pytest.approx(1.0) for row in sure)
    answer = post(server, "../classify", model="orm", input=["one", "two"]).json()
    assert [one["num_classes"] for one in answer["data"]] == [1, 1]
    assert answer["usage"]["prompt_tokens"] == 2 and answer["usage"]["completion_tokens"] == 0
    assert post(server, "/chat/completions", model="orm", messages=ASKED).status_code == 400


# ---------------------------------------------------------------- refusals


def test_what_cannot_be_answered_is_refused_in_known_words() -> None:
    short = FakeServer([FakeModel("small", echo(TEXT), context=20)])
    form: dict[str, Any] = {"model": "small", "messages": ASKED}
    absent = post(fake(), "/chat/completions", **form | {"model": "large"})
    assert (absent.status_code, absent.json()["error"]["type"]) == (404, "NotFoundError")
    assert absent.json()["error"]["message"] == "The model `large` does not exist."
    long = post(short, "/chat/completions", **form, max_tokens=13)
    assert long.status_code == 400
    assert "maximum context length is 20 tokens" in long.json()["error"]["message"]
    assert "13 output tokens" in long.json()["error"]["message"]
    assert post(short, "/completions", model="small", prompt="a " * 20).status_code == 400
    for wrong in ({"messages": []}, {"n": 0}, {"temperature": -1}, {"messages": [{"role": "user"}]}):
        assert post(fake(), "/chat/completions", **form | wrong).status_code == 400
    unseen = post(fake(), "/completions", model="small", prompt=[1, 2, 3])
    assert unseen.status_code == 400 and "out of vocabulary" in unseen.json()["error"]["message"]
    assert post(fake(), "/nothing").status_code == get(fake(), "/nothing").status_code == 404
    assert short.counts.refused == 2 and short.counts.generated == 0


def test_a_server_can_speak_as_openai_does() -> None:
    server = FakeServer([FakeModel("small", echo(TEXT), context=20)], openai=True)
    form: dict[str, Any] = {"model": "small", "messages": ASKED}
    long = post(server, "/chat/completions", **form, max_tokens=13)
    assert long.json()["error"]["code"] == "context_length_exceeded"
    assert post(server, "/chat/completions", **form | {"model": "x"}).json()["error"]["code"] == "model_not_found"
    assert post(server, "../tokenize", prompt="x").status_code == 404
    begun = [*ASKED, {"role": "assistant", "content": "First,"}]
    told = {"messages": begun, "continue_final_message": True, "add_generation_prompt": False}
    assert post(server, "/chat/completions", **form | told, max_tokens=1).json()["usage"]["prompt_tokens"] > 9 + 1


def test_unknown_fields_are_ignored_or_refused() -> None:
    form: dict[str, Any] = {"model": "small", "messages": ASKED, "zeal": 3}
    assert post(fake(), "/chat/completions", **form).status_code == 200
    refused = post(fake(strict=True), "/chat/completions", **form)
    assert refused.status_code == 400 and "zeal" in refused.json()["error"]["message"]


def test_the_key_is_checked() -> None:
    server = fake(key="secret-1")
    assert get(server, "/models").status_code == 401
    wrong = get(server, "/models", authorization="Bearer secret-2")
    assert wrong.status_code == 401 and "secret" not in wrong.text
    assert get(server, "/models", authorization="Bearer secret-1").status_code == 200
    assert get(server, "../health").status_code == 200


# ---------------------------------------------------------------- what a server may be without


def test_a_server_can_be_without_what_others_have() -> None:
    form: dict[str, Any] = {"model": "small", "messages": ASKED, "n": 2, "seed": 1, "logprobs": True, "stop": " +"}

    def said(*without: str, **more: Any) -> dict[str, Any]:
        return dict(post(solving(without=without), "/chat/completions", **form | more).json())

    assert len(said()["choices"]) == 2 and len(said("n")["choices"]) == 1
    assert said()["choices"][0]["logprobs"] and said("logprobs")["choices"][0]["logprobs"] is None
    assert "usage" in said() and "usage" not in said("usage")
    assert said()["choices"][0]["stop_reason"] == " +" and said("stop_reason")["choices"][0]["stop_reason"] is None
    running = [
        post(solving(without=w), "/chat/completions", **form, stream=True, stream_options=USAGE).text
        for w in ((), ("running_usage",))
    ]
    assert ["usage" in one for one in events(running[1])].count(True) == 1
    assert all("usage" in one for one in events(running[0]))
    begun = [*ASKED, {"role": "assistant", "content": "First,"}]
    told = {"messages": begun, "continue_final_message": True, "add_generation_prompt": False, "stop": None}
    assert not said(**told)["choices"][0]["message"]["content"].startswith("First,")
    assert said("continues", **told)["choices"][0]["message"]["content"].startswith("First,")
    assert post(fake(without=("tokenize",)), "../tokenize", prompt="x").status_code == 404
    assert post(fake(without=("continues",)), "/completions", model="small", prompt=[1, 2]).status_code == 400
    with pytest.raises(InputError, match="expected some of"):
        fake(without=("wings",))


def test_a_tool_that_must_be_called_is() -> None:
    tool = {"type": "function", "function": {"name": "note", "parameters": {"type": "object"}}}
    form: dict[str, Any] = {"model": "small", "messages": ASKED, "tools": [tool]}
    for choice in ("required", {"type": "function", "function": {"name": "note"}}):
        call = post(fake(), "/chat/completions", **form, tool_choice=choice).json()["choices"][0]["message"][
            "tool_calls"
        ]
        assert call[0]["function"] == {"name": "note", "arguments": "{}"}
    assert post(fake(), "/chat/completions", **form).json()["choices"][0]["message"]["content"] == TEXT


def test_a_field_of_a_wrong_kind_is_refused() -> None:
    form: dict[str, Any] = {"model": "small", "messages": ASKED}
    for wrong in (
        {"stop": 3},
        {"stop": [3]},
        {"stream_options": [1]},
        {"messages": ["hello"]},
        {"seed": "one"},
        {"logprobs": True, "top_logprobs": -1},
        {"tool_choice": {"function": 3}},
        {"thinking_token_budget": "much"},
        {"max_tokens": 1.5},
    ):
        assert post(fake(), "/chat/completions", **form | wrong).status_code == 400, wrong
