"""What the API tests of optillm ask of a server, but for the names of its own approaches; by the `openai` package."""

from __future__ import annotations

from typing import Any

import openai
from running import KEY, URL, Seen, run

client = openai.OpenAI(base_url=URL, api_key=KEY)
create: Any = client.chat.completions.create


def check_a_chat_of_few_tokens(seen: Seen) -> None:
    asked = [{"role": "system", "content": "You are helpful."}, {"role": "user", "content": "Say hello"}]
    answer = create(model="auto", messages=asked, max_tokens=10)
    assert isinstance(answer.choices[0].message.content, str)
    seen.take(answer.usage)


def check_several_choices_that_differ(seen: Seen) -> None:
    asked = [{"role": "user", "content": "Write a line on 12 + 30 * 2 - 17 * 3"}]
    for n in (1, 2, 3):
        answer = create(model="auto", messages=asked, n=n, temperature=0.8, max_tokens=100)
        assert len(answer.choices) == n
        seen.take(answer.usage)
    assert len({choice.message.content for choice in answer.choices}) > 1


def check_a_field_of_its_own_does_no_harm(seen: Seen) -> None:
    asked = [{"role": "user", "content": "What is 2 + 2?"}]
    answer = create(model="auto", messages=asked, extra_body={"optillm_approach": "re2"}, max_tokens=50)
    assert answer.choices
    seen.take(answer.usage)


def check_a_stream(seen: Seen) -> None:
    asked = [{"role": "user", "content": "Count from 1 to 5"}]
    chunks = list(create(model="auto", messages=asked, stream=True, max_tokens=50, seed=1))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk for chunk in chunks if chunk.choices[0].delta.content]  # so each chunk has a choice
    again = create(model="auto", messages=asked, max_tokens=50, seed=1)  # the same draws, whose usage is told
    seen.take(again.usage)
    seen.take(again.usage)


def check_reasoning_tokens(seen: Seen) -> None:
    for asked in ("What is 15 * 23? Please think.", "Say hello"):
        answer = create(model="auto", messages=[{"role": "user", "content": asked}], max_tokens=100)
        seen.take(answer.usage)
        assert answer.usage.completion_tokens_details.reasoning_tokens >= 0, asked


run([value for name, value in list(globals().items()) if name.startswith("check_")])
