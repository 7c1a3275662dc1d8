"""Clients of the `openai` package that hang up: streams that are closed early, and calls that time out."""

from __future__ import annotations

import openai
from running import ASKED, KEY, URL, Seen, refused, run

client = openai.OpenAI(base_url=URL, api_key=KEY, max_retries=0)


def check_a_stream_that_is_closed_early(seen: Seen) -> None:
    for model in ("auto", "plain:small"):
        stream = client.chat.completions.create(model=model, messages=ASKED, stream=True)
        next(iter(stream))
        stream.close()


def check_a_call_that_times_out(seen: Seen) -> None:
    for model in ("auto", "auto-best", "plain:small"):
        refused(
            openai.APITimeoutError,
            lambda model=model: client.chat.completions.create(model=model, messages=ASKED, timeout=0.3),
        )


def check_a_deadline(seen: Seen) -> None:
    answer = client.chat.completions.create(
        model="auto", messages=ASKED, extra_body={"autotts": {"deadline": 0.2}}, timeout=20
    )
    assert answer.autotts["ended"] == "deadline", answer  # type: ignore[attr-defined]


run([value for name, value in list(globals().items()) if name.startswith("check_")])
