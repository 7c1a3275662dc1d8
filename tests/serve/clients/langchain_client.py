"""LangChain's ChatOpenAI."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel
from running import KEY, SUM, URL, Seen, run

MODELS = ("auto-fast", "auto", "auto-best", "plain:small")
WHERE: dict[str, Any] = {"base_url": URL, "api_key": KEY, "max_retries": 0}


class Worked(BaseModel):
    """What a structured answer holds."""

    answer: int


@tool
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def take(seen: Seen, message: Any) -> None:
    """Add what a message says of its tokens."""
    told = message.usage_metadata
    seen.take(
        {
            "prompt_tokens": told["input_tokens"],
            "completion_tokens": told["output_tokens"],
            "total_tokens": told["total_tokens"],
        }
    )


def check_invoke(seen: Seen) -> None:
    for model in MODELS:
        answer = ChatOpenAI(model=model, **WHERE).invoke([SystemMessage("Be right."), HumanMessage(SUM)])
        assert "boxed" in answer.content and answer.response_metadata["finish_reason"] == "stop"
        take(seen, answer)


def check_stream(seen: Seen) -> None:
    for model in MODELS:
        whole: Any = None
        for chunk in ChatOpenAI(model=model, stream_usage=True, **WHERE).stream(SUM):
            whole = chunk if whole is None else whole + chunk
        assert "boxed" in whole.content, model
        take(seen, whole)


def check_async_and_batch(seen: Seen) -> None:
    async def work() -> None:
        model = ChatOpenAI(model="auto", temperature=0.3, **WHERE)
        for answer in (await model.ainvoke(SUM), *await model.abatch([SUM, "What is 3 + 4?"])):
            take(seen, answer)

    asyncio.run(work())


def check_tools(seen: Seen) -> None:
    for model in MODELS:
        bound = ChatOpenAI(model=model, **WHERE).bind_tools([add])
        asked = HumanMessage("Use the tool add: what is 12 + 30?")
        answer = bound.invoke([asked])
        assert isinstance(answer, AIMessage) and answer.tool_calls[0]["args"] == {"a": 12, "b": 30}, model
        take(seen, answer)
        result = ToolMessage(str(add.invoke(answer.tool_calls[0]["args"])), tool_call_id=answer.tool_calls[0]["id"])
        after = bound.invoke([asked, answer, result])
        assert after.content and not after.tool_calls, model
        take(seen, after)
        whole: Any = None
        for chunk in ChatOpenAI(model=model, stream_usage=True, **WHERE).bind_tools([add]).stream([asked]):
            whole = chunk if whole is None else whole + chunk
        assert whole.tool_calls[0]["args"] == {"a": 12, "b": 30}, model
        take(seen, whole)


def check_structured_output(seen: Seen) -> None:
    for model in MODELS:
        for method in ("json_schema", "function_calling", "json_mode"):
            chain = ChatOpenAI(model=model, **WHERE).with_structured_output(Worked, method=method, include_raw=True)
            found: Any = chain.invoke(SUM)
            take(seen, found["raw"])
            if method != "json_mode":  # which asks for any JSON
                assert isinstance(found["parsed"], Worked), (model, method, found)


def check_budget(seen: Seen) -> None:
    model = ChatOpenAI(model="auto", extra_body={"autotts": {"effort": 0.0}}, include_response_headers=True, **WHERE)
    answer = model.invoke(SUM)
    assert answer.response_metadata["headers"]["x-autotts-arm"].startswith("one"), answer.response_metadata
    take(seen, answer)


def check_embeddings(seen: Seen) -> None:
    found = OpenAIEmbeddings(model="embedder", check_embedding_ctx_length=False, **WHERE).embed_documents([SUM, "x"])
    assert [len(row) for row in found] == [16, 16]
    tokens = len(SUM.split()) + 1  # as the fake backend counts, for LangChain does not tell the usage
    seen.take({"prompt_tokens": tokens, "total_tokens": tokens})


run([value for name, value in list(globals().items()) if name.startswith("check_")])
