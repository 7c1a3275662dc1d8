"""Inspect: a tiny task by its OpenAI-compatible provider, and one that uses a tool."""

from __future__ import annotations

import tempfile
from typing import Any

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig, ResponseSchema, get_model
from inspect_ai.scorer import includes, match
from inspect_ai.solver import generate, use_tools
from inspect_ai.tool import Tool, tool
from inspect_ai.util import json_schema
from pydantic import BaseModel
from running import KEY, SUM, URL, Seen, run

LOGS = tempfile.mkdtemp()


class Worked(BaseModel):
    """What a structured answer holds."""

    answer: int


@tool
def add() -> Tool:
    """A tool for sums."""

    async def execute(a: int, b: int) -> int:
        """Adds two numbers.

        Args:
            a: The first.
            b: The second.
        """
        return a + b

    return execute


def evaluated(seen: Seen, task: Task, name: str, **config: Any) -> Any:
    """The log of a task, which must come to its end."""
    model = get_model(
        f"openai-api/local/{name}",
        base_url=URL,
        api_key=KEY,
        config=GenerateConfig(max_retries=0, **config),
        memoize=False,
    )
    log = eval(task, model=model, log_dir=LOGS, display="none")[0]
    assert log.status == "success", log.error
    for told in log.stats.model_usage.values():
        seen.prompt += told.input_tokens + (told.input_tokens_cache_read or 0)
        seen.completion += told.output_tokens
        seen.requests += 1
    return log


def check_a_task(seen: Seen) -> None:
    samples = [Sample(input=SUM, target="boxed{"), Sample(input="What is 4 + 5?", target="boxed{")]
    for name in ("auto-fast", "auto", "auto-best", "plain:large"):
        log = evaluated(
            seen, Task(dataset=samples, solver=generate(), scorer=includes()), name, temperature=0.5, seed=3
        )
        assert log.results.scores[0].metrics["accuracy"].value == 1.0, name


def check_a_tool(seen: Seen) -> None:
    sample = Sample(input="Use the tool add: what is 12 + 30?", target="42")
    for name in ("auto", "plain:small"):
        log = evaluated(seen, Task(dataset=[sample], solver=[use_tools(add()), generate()], scorer=match()), name)
        roles = [message.role for message in log.samples[0].messages]
        assert roles == ["user", "assistant", "tool", "assistant"], (name, roles)
        assert log.samples[0].messages[2].content == "42"


def check_a_schema(seen: Seen) -> None:
    schema = ResponseSchema(name="worked", json_schema=json_schema(Worked))
    task = Task(dataset=[Sample(input=SUM, target="answer")], solver=generate(), scorer=includes())
    log = evaluated(seen, task, "auto", response_schema=schema)
    Worked.model_validate_json(log.samples[0].output.completion)


run([value for name, value in list(globals().items()) if name.startswith("check_")])
