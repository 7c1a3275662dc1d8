"""Answers in OpenAI's form, whole or as a stream of events; usage is the sum of all that was spent."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from autotts.core.cost import PARTS, Usage
from autotts.serve.request import CHAT

JSON: Final = b"application/json"
EVENTS: Final = b"text/event-stream; charset=utf-8"
ALIVE: Final = b": working\n\n"  # a comment, which clients of event streams pass over
DONE: Final = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Spent:
    """What one request took: tokens of each model by what they were, the cost in parts, how many draws."""

    usage: Mapping[str, Usage] = field(default_factory=dict)
    cost: int = 0
    draws: int = 0
    cancelled: int = 0

    def tokens(self, thought: bool) -> dict[str, Any]:
        """The sum in the form of `usage`: all that was read and generated, cancelled draws and retries too.

        How much of it was thinking nobody tells of draws that are put together here; where there was none, it is 0.
        """
        total = sum(self.usage.values(), Usage())
        prompt, made = total.prompt + total.cached, total.generated + total.cancelled
        told: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}
        told["prompt_tokens_details"] = {"cached_tokens": total.cached}
        return told if thought else told | {"completion_tokens_details": {"reasoning_tokens": 0}}


@dataclass(frozen=True, slots=True)
class Block:
    """What stands under `autotts` in an answer; amounts in the policy's unit.

    `budget` is the most that this request might cost, `effort` the mean budget at which the policy was entered, `left`
    what the running budget holds now. None and empty entries are left out.
    """

    arm: str
    bin: str
    unit: str
    policy: str
    difficulty: Mapping[str, float] = field(default_factory=dict)
    budget: float | None = None
    effort: float | None = None
    left: float | None = None
    ended: str = "returned"
    answer: str | None = None
    confidence: float | None = None
    fallback: str = ""
    overridden: Mapping[str, float] = field(default_factory=dict)

    def told(self, spent: Spent) -> dict[str, Any]:
        """As JSON holds it."""
        part = PARTS[self.unit]
        known: dict[str, Any] = {
            "arm": self.arm,
            "bin": self.bin,
            "difficulty": {name: round(value, 4) for name, value in self.difficulty.items()},
            "draws": spent.draws,
            "cancelled": spent.cancelled,
            "cost": spent.cost / part,
            "unit": self.unit,
            "budget": None if self.budget is None else self.budget / part,
            "effort": None if self.effort is None else self.effort / part,
            "left": None if self.left is None else self.left / part,
            "ended": self.ended,
            "answer": self.answer,
            "confidence": self.confidence,
            "fallback": self.fallback,
            "overridden": dict(self.overridden),
            "policy": self.policy,
        }
        return {name: value for name, value in known.items() if value is not None and value not in ("", {})}

    def headers(self, spent: Spent | None = None) -> list[tuple[bytes, bytes]]:
        """The same in the head of an answer; what was spent where it is known by then."""
        told = {"arm": self.arm, "bin": self.bin, "unit": self.unit, "fallback": self.fallback}
        if spent is not None:
            told |= {"cost": repr(spent.cost / PARTS[self.unit]), "draws": str(spent.draws), "ended": self.ended}
        return [(b"x-autotts-" + name.encode(), _plain(value)) for name, value in told.items() if value]


@dataclass(frozen=True, slots=True)
class Text:
    """What is answered: the text, the thinking before it, and whether it was cut off by a limit."""

    text: str
    thought: str = ""
    cut: bool = False

    @property
    def finish(self) -> str:
        """The `finish_reason`."""
        return "length" if self.cut else "stop"


class Form:
    """One answer in the form of its endpoint; `model` is the name that the client asked for."""

    def __init__(self, endpoint: str, model: str) -> None:
        self._chat = endpoint == CHAT
        self._same: dict[str, Any] = {
            "id": ("chatcmpl-" if self._chat else "cmpl-") + secrets.token_hex(12),
            "object": "chat.completion" if self._chat else "text_completion",
            "created": int(time.time()),
            "model": model,
        }

    @property
    def id(self) -> str:
        """Names this answer."""
        return str(self._same["id"])

    def whole(self, text: Text, block: Block, spent: Spent) -> bytes:
        """The answer as one JSON object."""
        choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": text.finish}
        if self._chat:
            message: dict[str, Any] = {"role": "assistant", "content": text.text, "refusal": None}
            if text.thought:
                message["reasoning_content"] = text.thought
            choice["message"] = message
        else:
            choice["text"] = text.text
        return _dumped(
            self._same | {"choices": [choice], "usage": spent.tokens(bool(text.thought)), "autotts": block.told(spent)}
        )

    def begin(self) -> bytes:
        """The first event: who speaks."""
        return self._event({"role": "assistant", "content": ""}, "") if self._chat else b""

    def progress(self, told: Mapping[str, Any]) -> bytes:
        """An event without text that says how far the work is."""
        return self._event({}, "", autotts={"progress": dict(told)})

    def end(self, text: Text, block: Block, spent: Spent, tell_usage: bool) -> bytes:
        """All events of the answer, up to the end of the stream."""
        told = {"autotts": block.told(spent)}
        out = b""
        if text.thought and self._chat:
            out += self._event({"reasoning_content": text.thought}, "")
        if text.text:
            out += self._event({"content": text.text}, text.text)
        out += self._event({}, "", text.finish, **({} if tell_usage else told))
        if tell_usage:
            out += _event(self._chunk([]) | {"usage": spent.tokens(bool(text.thought))} | told)
        return out + DONE

    def _event(self, delta: Mapping[str, Any], text: str, finish: str | None = None, **more: Any) -> bytes:
        choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": finish}
        choice |= {"delta": dict(delta)} if self._chat else {"text": text}
        return _event(self._chunk([choice]) | more)

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return self._same | ({"object": "chat.completion.chunk"} if self._chat else {}) | {"choices": choices}


def failure(body: bytes) -> bytes:
    """An error as the last event of a stream whose head was sent."""
    return b"data: " + body + b"\n\n"


def _event(data: Mapping[str, Any]) -> bytes:
    return b"data: " + _dumped(data) + b"\n\n"


def _dumped(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()


@lru_cache(1024)
def _plain(value: str) -> bytes:
    """A text as a header can hold it."""
    return "".join(c if " " <= c <= "~" else "?" for c in value)[:500].encode()
