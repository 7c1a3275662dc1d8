"""RLHFlow: a chat in which each step is a message of the user; the answer is "+" or "-".

The form is that of github.com/RLHFlow/RLHF-Reward-Modeling (math) for Llama3.1-8B-PRM-Deepseek-Data and -Mistral-Data:
the first message is the question, a space and the first step; messages "+" of the assistant stand between the steps;
the score of a step is the softmax of the logits of "+" and "-" as the next token. A request is made for each step that
`reduce` needs: the longest first, so that the others find their prompts in the server's cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from autotts.worlds.scoring.asking import CHAT, Job, Unread, neutral, only, steps_of, together
from autotts.worlds.scoring.pairs import preference
from autotts.worlds.scoring.shapes import TOP, Shape, text


async def _score(job: Job) -> list[float]:
    scoring = job.entry.scoring
    steps = steps_of(job.text)
    last = await _step(job, steps)
    if scoring is not None and scoring.reduce == "last":
        return [last]
    earlier = await together([_step(job, steps[:end]) for end in range(1, len(steps))])
    return [*earlier, last]


async def _step(job: Job, steps: list[str]) -> float:
    """The score of the last of these steps."""
    messages: list[dict[str, str]] = []
    for i, step in enumerate(steps):
        if i:
            messages.append({"role": "assistant", "content": job.options["plus"]})
        messages.append({"role": "user", "content": step if i else f"{neutral(job.text.prompt)} {step}"})
    fields = {"max_tokens": 1, "temperature": 0.0, "logprobs": True, "top_logprobs": job.options["top"]}
    answer = await job.ask(CHAT, job.form(messages=messages, **fields))
    return preference(_tops(only(answer, "choices")), [job.options["plus"]], [job.options["minus"]])


def _tops(choice: Mapping[str, Any]) -> dict[str, float]:
    """Log-probabilities of the first token by its text; of two with the same text, the likelier."""
    found = choice.get("logprobs")
    tops = only(found, "content").get("top_logprobs") if isinstance(found, dict) else None
    if not isinstance(tops, list):
        raise Unread("expected the log-probabilities of the next token")
    said: dict[str, float] = {}
    for top in tops:
        if isinstance(top, dict) and isinstance(top.get("token"), str) and isinstance(top.get("logprob"), int | float):
            said[top["token"]] = max(said.get(top["token"], -1e30), float(top["logprob"]))
    return said


RLHFLOW: Final = Shape("process", "rlhflow", "words", {"plus": text("+"), "minus": text("-"), "top": TOP}, _score)
