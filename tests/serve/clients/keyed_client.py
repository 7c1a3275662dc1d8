"""The `openai` package against a server that asks for keys, and limits what each may send."""

from __future__ import annotations

import openai
from running import ASKED, KEY, URL, Seen, refused, run


def check_a_wrong_key(seen: Seen) -> None:
    there = openai.OpenAI(base_url=URL, api_key="sk-wrong-key", max_retries=0)
    for work in (
        lambda: there.chat.completions.create(model="auto", messages=ASKED),
        there.models.list,
        lambda: there.embeddings.create(model="embedder", input="x"),
    ):
        error = refused(openai.AuthenticationError, work)
        assert "sk-wrong-key" not in str(error)


def check_a_limit(seen: Seen) -> None:
    there = openai.OpenAI(base_url=URL, api_key=KEY, max_retries=0)
    seen.take(there.chat.completions.create(model="auto", messages=ASKED).usage)
    error = refused(openai.RateLimitError, lambda: there.chat.completions.create(model="auto", messages=ASKED))
    assert float(error.response.headers["retry-after"]) > 0


run([value for name, value in list(globals().items()) if name.startswith("check_")])
