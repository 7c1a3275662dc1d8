"""Requests and responses in OpenAI's form, one pair a line, and the output of its batches."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any

from autotts.errors import InputError
from autotts.pools.files import rows
from autotts.pools.formats.source import Placed, Source, question, sequence, table, text_of
from autotts.pools.lines import Row, shown


def read(source: Source) -> Placed:
    """A sample for each choice; sample indices count the choices to equal requests.

    Notes
    -----
    The usage of a response is that of all its choices together: where there are several, a choice's own tokens are
    known only from its log-probabilities. System messages tell templates apart.
    """
    drawn: Counter[tuple[Any, ...]] = Counter()
    for number, row in rows(source.path):
        where = f"line {number}"
        request, response = _body(row.get("request")), _body(row.get("response"))
        choices = sequence(response.get("choices"))
        if not choices:
            if row.get("error") or response.get("error") or row.get("response") is None:
                source.told["failed requests, without a sample"] += 1
                continue
            raise InputError(
                f"{source.path}, {where}: response: expected choices, found the keys {', '.join(response) or 'none'}"
            )
        shared = _shared(source, where, row, request, response)
        key = tuple(shared.get(name) for name in ("prompt_id", "model", "temperature", "top_p", "template", "effort"))
        for choice in map(table, choices):
            sample = _sample(source, choice, response, len(choices))
            yield where, {**shared, "sample_index": drawn[key], **sample}, None
            drawn[key] += 1


def _body(value: Any) -> dict[str, Any]:
    """A request or response, perhaps in the envelope of a batch, perhaps as text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    found = table(value)
    return table(found["body"]) if isinstance(found.get("body"), dict) else found


def _shared(source: Source, where: str, row: Row, request: Row, response: Row) -> Row:
    messages = sequence(request.get("messages"))
    prompt = question(messages) if messages else text_of(request.get("prompt"))
    name = prompt if prompt is not None else row.get("custom_id")
    model = source.model or request.get("model") or response.get("model")
    if name is None or not isinstance(model, str):
        missing = "model" if name is not None else "messages, prompt or custom_id"
        raise InputError(
            f"{source.path}, {where}: request: expected {missing}, found {shown(list(request))}: log requests and "
            "responses together" + (", or give --model NAME" if name is not None else "")
        )
    told = [text_of(table(m).get("content")) for m in messages if table(m).get("role") in ("system", "developer")]
    return {
        "dataset": source.path.name.split(".")[0],
        "prompt_id": str(name) if prompt is None else _hash(prompt),
        "prompt": prompt,
        "answer": None,
        "model": model,
        "strategy": "sample",
        "temperature": request.get("temperature"),
        "top_p": request.get("top_p"),
        "template": f"system-{_hash(json.dumps(told))}" if told else None,
        "effort": request.get("reasoning_effort"),
    }


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _sample(source: Source, choice: Row, response: Row, count: int) -> Row:
    usage = table(response.get("usage"))
    tokens = usage.get("completion_tokens")
    if count > 1 and tokens is not None:
        logged = table(choice.get("logprobs")).get("content")
        tokens = len(logged) if isinstance(logged, list) else None
        if tokens is None:
            source.told["samples without tokens: the usage is that of several choices together"] += 1
    message = table(choice.get("message"))
    return {
        "finish": choice.get("finish_reason"),
        "output": text_of(message.get("content")) if message else text_of(choice.get("text")),
        "extracted": None,
        "correct": None,
        "prompt_tokens": usage.get("prompt_tokens"),
        "completion_tokens": tokens,
    }
