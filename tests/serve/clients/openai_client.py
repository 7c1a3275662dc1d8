"""The `openai` package, as its users call it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
from pydantic import BaseModel
from running import ASKED, CALLING, KEY, SUM, TOOL, URL, Seen, refused, run

client = openai.OpenAI(base_url=URL, api_key=KEY, max_retries=0)
chat: Any = client.chat.completions
MODELS = ("auto-fast", "auto", "auto-best", "small", "plain:small")


class Worked(BaseModel):
    """What a structured answer holds."""

    answer: int
    sure: bool


# ---------------------------------------------------------------- answers


def check_a_chat_of_each_model(seen: Seen) -> None:
    for model in MODELS:
        answer = chat.create(model=model, messages=[{"role": "system", "content": "Be right."}, *ASKED])
        choice = answer.choices[0]
        assert answer.model and answer.object == "chat.completion" and answer.id.startswith("chatcmpl-")
        assert choice.message.role == "assistant" and "boxed" in choice.message.content and choice.index == 0
        assert choice.finish_reason == "stop" and not choice.message.tool_calls
        assert answer.autotts["unit"] == "flops" and answer.autotts["cost"] > 0
        seen.take(answer.usage)


def check_arms_are_those_of_the_policy(seen: Seen) -> None:
    arms = {}
    for model in MODELS[:3]:
        answer = chat.create(model=model, messages=ASKED)
        arms[model] = answer.autotts["arm"].partition("(")[0]
        seen.take(answer.usage)
    assert arms == {"auto-fast": "one", "auto": "vote", "auto-best": "best_of_n"}


def check_async(seen: Seen) -> None:
    async def work() -> None:
        async with openai.AsyncOpenAI(base_url=URL, api_key=KEY, max_retries=0) as there:
            asked = [there.chat.completions.create(model=model, messages=ASKED) for model in MODELS * 2]
            for answer in await asyncio.gather(*asked):
                seen.take(answer.usage)
            stream = await there.chat.completions.create(
                model="auto", messages=ASKED, stream=True, stream_options={"include_usage": True}
            )
            chunks = [chunk async for chunk in stream]
            assert "boxed" in "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
            seen.take(chunks[-1].usage)

    asyncio.run(work())


def check_seed(seen: Seen) -> None:
    for model in ("auto", "plain:small"):
        texts = set()
        for _ in range(2):
            answer = chat.create(model=model, messages=ASKED, seed=5)
            texts.add(answer.choices[0].message.content)
            seen.take(answer.usage)
        assert len(texts) == 1, model


def check_stop_and_most_tokens(seen: Seen) -> None:
    for model in ("auto-fast", "auto", "plain:small"):
        answer = chat.create(model=model, messages=ASKED, stop=["That leaves", "\n\n\n"])
        assert "That leaves" not in answer.choices[0].message.content and "First" in answer.choices[0].message.content
        seen.take(answer.usage)
        for name in ("max_tokens", "max_completion_tokens"):
            answer = chat.create(model=model, messages=ASKED, **{name: 4})
            assert answer.choices[0].finish_reason == "length", (model, name)
            assert len(answer.choices[0].message.content.split()) == 4
            seen.take(answer.usage)


def check_several_choices(seen: Seen) -> None:
    for model in ("auto", "plain:small"):
        answer = chat.create(model=model, messages=ASKED, n=3, temperature=0.9)
        assert [choice.index for choice in answer.choices] == [0, 1, 2], model
        seen.take(answer.usage)
    answer = chat.create(model="auto", messages=ASKED, n=2)
    assert answer.autotts["fallback"].startswith("n") and answer.autotts["arm"].startswith("one(")
    seen.take(answer.usage)


def check_log_probabilities(seen: Seen) -> None:
    for model in ("auto-best", "plain:small"):
        answer = chat.create(model=model, messages=ASKED, logprobs=True, top_logprobs=2)
        told = answer.choices[0].logprobs.content
        assert "".join(each.token for each in told) == answer.choices[0].message.content
        assert all(len(each.top_logprobs) == 2 for each in told)
        seen.take(answer.usage)


# ---------------------------------------------------------------- streams


def check_streams(seen: Seen) -> None:
    for model in MODELS:
        stream = chat.create(model=model, messages=ASKED, stream=True, stream_options={"include_usage": True})
        chunks = list(stream)
        first, last = chunks[0], chunks[-1]
        assert first.choices[0].delta.role == "assistant", model
        assert not last.choices and last.usage.total_tokens > 0, model
        assert all(chunk.usage is None for chunk in chunks[:-1]), model
        assert len({chunk.id for chunk in chunks}) == len({chunk.model for chunk in chunks}) == 1, model
        said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
        ends = [chunk.choices[0].finish_reason for chunk in chunks[:-1]]
        assert "boxed" in said and ends[-1] == "stop" and not any(ends[:-1]), model
        assert last.autotts["cost"] > 0, model
        seen.take(last.usage)


def check_a_stream_without_usage_has_none(seen: Seen) -> None:
    for model in set(MODELS) - {"auto-best"}:  # scores of equal texts are asked for once
        chunks = list(chat.create(model=model, messages=ASKED, stream=True, seed=3))
        assert all(chunk.choices and chunk.usage is None for chunk in chunks), model
        again = chat.create(model=model, messages=ASKED, seed=3)  # the same draws: the tokens of the stream
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == again.choices[0].message.content
        seen.take(again.usage)
        seen.take(again.usage)  # for the stream


def check_the_stream_of_the_package_itself(seen: Seen) -> None:
    with client.chat.completions.stream(model="auto", messages=ASKED, stream_options={"include_usage": True}) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert "boxed" in (final.choices[0].message.content or "")
    seen.take(final.usage)


def check_progress(seen: Seen) -> None:
    stream = chat.create(
        model="auto-best",
        messages=ASKED,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"autotts": {"progress": True}},
    )
    chunks = list(stream)
    assert "boxed" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[0].choices[0].delta.role == "assistant"
    seen.take(chunks[-1].usage)


# ---------------------------------------------------------------- tools, structured outputs


def check_tools(seen: Seen) -> None:
    named = {"type": "function", "function": {"name": "add"}}
    for model in MODELS:
        for choice in ("auto", "required", named):
            answer = chat.create(model=model, messages=CALLING, tools=[TOOL], tool_choice=choice)
            seen.take(answer.usage)
            call = answer.choices[0].message.tool_calls[0]
            assert call.function.name == "add" and json.loads(call.function.arguments) == {"a": 12, "b": 30}
            if choice == "auto":
                assert answer.choices[0].finish_reason == "tool_calls", model
        after = [*CALLING, answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "42"}]
        answer = chat.create(model=model, messages=after, tools=[TOOL])
        assert answer.choices[0].message.content and answer.choices[0].finish_reason == "stop", model
        seen.take(answer.usage)


def check_tools_in_streams(seen: Seen) -> None:
    for model in MODELS:
        stream = chat.create(
            model=model, messages=CALLING, tools=[TOOL], stream=True, stream_options={"include_usage": True}
        )
        said, ends = "", []
        for chunk in stream:
            if chunk.usage is not None:
                seen.take(chunk.usage)
            for choice in chunk.choices:
                said += "".join(call.function.arguments or "" for call in choice.delta.tool_calls or [])
                ends.append(choice.finish_reason)
        assert json.loads(said) == {"a": 12, "b": 30} and ends[-1] == "tool_calls", model


def check_structured_outputs(seen: Seen) -> None:
    for model in MODELS:
        parsed = client.chat.completions.parse(model=model, messages=ASKED, response_format=Worked)
        assert parsed.choices[0].message.parsed == Worked(answer=parsed.choices[0].message.parsed.answer, sure=True)
        seen.take(parsed.usage)
        answer = chat.create(model=model, messages=ASKED, response_format={"type": "json_object"})
        assert isinstance(json.loads(answer.choices[0].message.content), dict), model
        assert answer.autotts.get("fallback") or model in ("auto-fast", "plain:small"), model
        seen.take(answer.usage)
    answer = chat.create(model="auto", messages=ASKED, response_format={"type": "text"})
    assert answer.autotts["arm"].startswith("vote")  # text asks for nothing
    seen.take(answer.usage)


# ---------------------------------------------------------------- budgets


def check_budgets(seen: Seen) -> None:
    plain = chat.create(model="auto-fast", messages=ASKED)
    seen.take(plain.usage)
    amount = f"{plain.autotts['effort'] * 1.1:.0f}flops"
    ways: list[dict[str, Any]] = [
        {"model": f"auto@{amount}"},
        {"model": "auto", "extra_body": {"autotts": {"budget": amount}}},
        {"model": "auto", "extra_headers": {"X-Autotts-Budget": amount}},
    ]
    for way in ways:
        answer = chat.create(messages=ASKED, **way)
        assert answer.autotts["cost"] <= answer.autotts["budget"] <= plain.autotts["effort"] * 1.1 + 1, way
        seen.take(answer.usage)
    for effort, arm in ((0.0, "one"), (1.0, "best_of_n")):
        answer = chat.create(model="auto", messages=ASKED, extra_body={"autotts": {"effort": effort}})
        assert answer.autotts["arm"].startswith(arm)
        seen.take(answer.usage)
    answer = chat.create(model="auto", messages=ASKED, extra_headers={"X-Autotts-Deadline": "30"})
    assert answer.autotts["ended"] == "returned"
    seen.take(answer.usage)


def check_sampling_is_said_to_be_the_policys(seen: Seen) -> None:
    answer = chat.create(model="auto", messages=ASKED, temperature=0.1, top_p=0.5)
    assert set(answer.autotts["overridden"]) == {"temperature", "top_p"}
    seen.take(answer.usage)


def check_headers(seen: Seen) -> None:
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=ASKED)
    answer: Any = raw.parse()
    assert raw.headers["x-autotts-arm"] == answer.autotts["arm"] and raw.headers["x-autotts-bin"] == "all"
    assert float(raw.headers["x-autotts-cost"]) == answer.autotts["cost"]
    assert int(raw.headers["x-autotts-draws"]) == answer.autotts["draws"] and raw.headers["x-autotts-ended"]
    seen.take(answer.usage)


# ---------------------------------------------------------------- other endpoints


def check_models(seen: Seen) -> None:
    named = [model.id for model in client.models.list()]
    assert {"auto", "auto-fast", "auto-best", "small", "large", "plain:small"} <= set(named), named
    assert client.models.retrieve("auto").id == "auto"


def check_text_completions(seen: Seen) -> None:
    for model in MODELS:
        answer: Any = client.completions.create(model=model, prompt=SUM + "\n", max_tokens=200)
        assert "boxed" in answer.choices[0].text and answer.object == "text_completion", model
        seen.take(answer.usage)
        chunks: Any = list(
            client.completions.create(
                model=model, prompt=SUM + "\n", max_tokens=200, stream=True, stream_options={"include_usage": True}
            )
        )
        assert "boxed" in "".join(chunk.choices[0].text for chunk in chunks if chunk.choices), model
        seen.take(chunks[-1].usage)
    several: Any = client.completions.create(model="auto", prompt=[SUM, "What is 1 + 1?"], max_tokens=50, echo=True)
    assert [choice.index for choice in several.choices] == [0, 1] and several.choices[0].text.startswith(SUM)
    seen.take(several.usage)


def check_embeddings(seen: Seen) -> None:
    found = client.embeddings.create(model="embedder", input=[SUM, "What is 12 + 30 * 3?"])
    assert len(found.data) == 2 and len(found.data[0].embedding) == 16 and found.data[1].index == 1
    seen.take(found.usage)


# ---------------------------------------------------------------- errors


def check_errors_have_their_kinds(seen: Seen) -> None:
    wrong: list[dict[str, Any]] = [
        {"model": "auto", "messages": []},
        {"model": "auto", "messages": ASKED, "n": 0},
        {"model": "auto", "messages": ASKED, "temperature": 9},
        {"model": "auto", "messages": ASKED, "max_tokens": -1},
        {"model": "auto", "messages": ASKED, "stream_options": {"include_usage": True}},
        {"model": "auto@2e14flops", "messages": ASKED, "extra_body": {"autotts": {"budget": "1e14flops"}}},
        {"model": "auto@none", "messages": ASKED},
        {"model": "auto", "messages": ASKED, "extra_body": {"autotts": {"budgets": 1}}},
        {"model": "auto", "messages": ASKED, "extra_headers": {"X-Autotts-Effort": "2"}},
        {"model": "auto", "messages": ASKED, "response_format": {"type": "json_schema"}},
    ]
    for form in wrong:
        error = refused(openai.BadRequestError, lambda form=form: chat.create(**form))
        assert error.body["message"] and error.type == "invalid_request_error", (form, error.body)
    assert refused(openai.BadRequestError, lambda: chat.create(**wrong[1])).param == "n"
    gone = refused(openai.NotFoundError, lambda: chat.create(model="gpt-none", messages=ASKED))
    assert gone.code == "model_not_found" and "auto" in str(gone)
    in_stream = refused(openai.BadRequestError, lambda: chat.create(model="auto", messages=[], stream=True))
    assert in_stream.status_code == 400


def check_a_prompt_that_is_too_long(seen: Seen) -> None:
    for model in ("auto", "plain:small"):
        error = refused(
            openai.BadRequestError,
            lambda model=model: chat.create(model=model, messages=[{"role": "user", "content": "1 + " * 9000}]),
        )
        assert "8192" in str(error), model


def check_images(seen: Seen) -> None:
    parts = [{"type": "text", "text": SUM}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
    error = refused(
        openai.BadRequestError,
        lambda: chat.create(model="auto", messages=[{"role": "user", "content": parts}]),
    )
    assert "content[1]" in error.param
    only_text = chat.create(model="auto", messages=[{"role": "user", "content": parts[:1]}])
    assert only_text.autotts["arm"].startswith("vote")
    seen.take(only_text.usage)


run([value for name, value in list(globals().items()) if name.startswith("check_")])
