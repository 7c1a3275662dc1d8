"""Outcome reward models: one number for a whole answer, by `/classify` or `/pooling` of a pooling server.

A model with one output (Skywork-Reward, Llama-3.1 reward models: a sequence classifier with one label) is read through
a sigmoid unless told otherwise, which keeps the order and makes shares of a vote; of a model with several labels, the
share of `label` counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from autotts.worlds.scoring.asking import CLASSIFY, POOLING, Job, Unread, neutral, numbers, only, shares, sigmoid
from autotts.worlds.scoring.shapes import SENT, Option, Shape, anything, flag, one_of, place


def _fields(job: Job) -> dict[str, Any]:
    """The answer as a message to the prompt, or both in one text."""
    prompt, answer = neutral(job.text.prompt), neutral(job.text.text)
    if job.options["form"] == "text":
        whole: str = job.options["input"]
        before, _, after = whole.partition("{text}")
        return {"input": before.replace("{prompt}", prompt) + answer + after.replace("{prompt}", prompt)}
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    if job.options["system"]:
        messages.insert(0, {"role": "system", "content": job.options["system"]})
    return {"messages": messages, "add_generation_prompt": False}


def _value(job: Job, row: list[float]) -> list[float]:
    if len(row) > 1:
        return shares([row], job.options["label"], job.options["sent"])
    if not row:
        raise Unread("expected a number, found none")
    return [sigmoid(row[0])] if job.options["sigmoid"] else row


async def _classify(job: Job) -> list[float]:
    answer = await job.ask(CLASSIFY, job.form(**_fields(job), use_activation=False))
    return _value(job, numbers(only(answer, "data").get("probs")))


async def _pooling(job: Job) -> list[float]:
    """A server that pools the whole says one row; one that pools each token says a row for each: the last counts."""
    answer = await job.ask(POOLING, job.form(**_fields(job), use_activation=False))
    found = only(answer, "data").get("data")
    return _value(
        job, numbers(found[-1] if isinstance(found, list) and found and isinstance(found[-1], list) else found)
    )


def _has_both(found: Any) -> bool:
    return isinstance(found, str) and "{prompt}" in found and found.count("{text}") == 1


_OPTIONS: Final[Mapping[str, Option]] = {
    "form": one_of("chat", "text"),
    "input": Option("{prompt}\n\n{text}", _has_both, "a text with {prompt} and one {text}"),
    "system": anything(""),
    "sigmoid": flag(True),
    "label": place(1),
    "sent": SENT,
}

CLASSES: Final = Shape("outcome", "classify", "sequence", _OPTIONS, _classify)
POOLED: Final = Shape("outcome", "pooling", "sequence", _OPTIONS, _pooling)
