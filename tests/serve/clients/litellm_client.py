"""LiteLLM, with our server as an OpenAI-compatible provider."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import litellm
from pydantic import BaseModel
from running import ASKED, CALLING, KEY, SUM, TOOL, URL, Seen, refused, run

litellm.telemetry = False
WHERE: dict[str, Any] = {"api_base": URL, "api_key": KEY, "num_retries": 0}
MODELS = ("openai/auto-fast", "openai/auto", "openai/auto-best", "openai/plain:small")


class Worked(BaseModel):
    """What a structured answer holds."""

    answer: int


def check_chats(seen: Seen) -> None:
    for model in MODELS:
        answer = litellm.completion(model=model, messages=ASKED, temperature=0.7, stop=["###"], seed=4, **WHERE)
        assert "boxed" in answer.choices[0].message.content and answer.choices[0].finish_reason == "stop"
        seen.take(answer.usage)


def check_async(seen: Seen) -> None:
    async def work() -> None:
        asked = [litellm.acompletion(model=model, messages=ASKED, **WHERE) for model in MODELS]
        for answer in await asyncio.gather(*asked):
            seen.take(answer.usage)

    asyncio.run(work())


def check_streams(seen: Seen) -> None:
    for model in MODELS:
        stream = litellm.completion(
            model=model, messages=ASKED, stream=True, stream_options={"include_usage": True}, **WHERE
        )
        chunks = list(stream)
        said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert "boxed" in said, model
        told = [chunk.usage for chunk in chunks if getattr(chunk, "usage", None) is not None]
        assert len(told) == 1, model
        seen.take(told[0])


def check_tools(seen: Seen) -> None:
    for model in MODELS:
        answer = litellm.completion(model=model, messages=CALLING, tools=[TOOL], tool_choice="auto", **WHERE)
        call = answer.choices[0].message.tool_calls[0]
        assert json.loads(call.function.arguments) == {"a": 12, "b": 30} and call.function.name == "add"
        seen.take(answer.usage)


def check_structured_outputs(seen: Seen) -> None:
    for model in MODELS:
        answer = litellm.completion(model=model, messages=ASKED, response_format=Worked, **WHERE)
        Worked.model_validate_json(answer.choices[0].message.content)
        seen.take(answer.usage)


def check_budgets(seen: Seen) -> None:
    answer = litellm.completion(model="openai/auto", messages=ASKED, extra_body={"autotts": {"effort": 0.0}}, **WHERE)
    assert answer.autotts["arm"].startswith("one")
    seen.take(answer.usage)
    answer = litellm.completion(model="openai/auto", messages=ASKED, extra_headers={"X-Autotts-Effort": "1"}, **WHERE)
    assert answer.autotts["arm"].startswith("best_of_n")
    seen.take(answer.usage)


def check_text_completions(seen: Seen) -> None:
    answer = litellm.text_completion(model="text-completion-openai/auto", prompt=SUM + "\n", max_tokens=200, **WHERE)
    assert "boxed" in answer.choices[0].text
    seen.take(answer.usage)


def check_embeddings(seen: Seen) -> None:
    found = litellm.embedding(model="openai/embedder", input=[SUM, "x"], encoding_format="float", **WHERE)
    assert len(found.data) == 2 and len(found.data[0]["embedding"]) == 16
    seen.take(found.usage)


def check_errors(seen: Seen) -> None:
    refused(litellm.NotFoundError, lambda: litellm.completion(model="openai/none", messages=ASKED, **WHERE))
    refused(litellm.BadRequestError, lambda: litellm.completion(model="openai/auto@none", messages=ASKED, **WHERE))


run([value for name, value in list(globals().items()) if name.startswith("check_")])
