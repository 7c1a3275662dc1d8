"""What servers say when they refuse a request, and what can be asked of them instead."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_CONTEXT: Final = re.compile(
    r"(?:context length (?:is|of)|context size \(|max_model_len=(?:max_total_tokens=)?)\s*(\d+)", re.IGNORECASE
)
_PROMPT: Final = re.compile(
    r"\((\d+) in (?:the |your )?(?:messages|prompt)|(?:contains|has) (?:at least )?(\d+) input tokens"
    r"|(\d+) tokens from the input|(?:request|prompt) \((\d+) tokens\)",
    re.IGNORECASE,
)
_REFUSING: Final = ("support", "unknown", "unrecognized", "unexpected", "extra", "not permitted", "not allowed")
_DATE: Final = re.compile(r"[-@:.](?:\d{4}-?\d{2}-?\d{2}|latest|\d{3,4})")

# Fields that a draw can do without, and the name under which some servers want them.
OPTIONAL: Final[Mapping[str, str | None]] = {
    "continuous_usage_stats": None,
    "return_token_ids": None,
    "include_stop_str_in_output": None,
    "max_tokens": "max_completion_tokens",
    "stream_options": None,
    "seed": None,
    "temperature": None,
    "top_p": None,
}


@dataclass(frozen=True, slots=True)
class Overflow:
    """A request that does not fit: tokens of the context, and of its prompt (None where that was not said)."""

    context: int
    prompt: int | None

    def room(self, most: int) -> int:
        """How many tokens may be asked for, where `most` were too many; 0 where not one is left."""
        if self.prompt is None:
            return min(self.context - 1, most - 1)
        return min(self.context - self.prompt, most - 1)

    def words(self, most: int) -> str:
        """By how much it does not fit."""
        if self.prompt is None:
            return f"it does not fit into the model's context of {self.context} tokens"
        over = self.prompt + most - self.context
        return (
            f"its prompt of {self.prompt} tokens and {most} to be generated exceed the model's context of "
            f"{self.context} by {over}"
        )


def overflow(said: str) -> Overflow | None:
    """Whether a server says that its context is exceeded, and by what.

    Examples
    --------
    >>> overflow("This model's maximum context length is 256 tokens. However, your prompt contains 300 input tokens")
    Overflow(context=256, prompt=300)
    >>> overflow("temperature must be non-negative") is None
    True
    """
    context = _CONTEXT.search(said)
    if context is None:
        return None
    prompt = _PROMPT.search(said)
    found = next((group for group in prompt.groups() if group), None) if prompt else None
    if found is None and "characters" in said:
        return Overflow(int(context.group(1)), int(context.group(1)) + 1)  # it was not even tokenized
    return Overflow(int(context.group(1)), None if found is None else int(found))


def refused_field(said: str, body: Mapping[str, Any]) -> str | None:
    """The field that a server refuses, of those that a draw can do without; None where it is none of them.

    Examples
    --------
    >>> refused_field("Unrecognized request argument supplied: return_token_ids", {"return_token_ids": True})
    'return_token_ids'
    """
    low = said.lower()
    if not any(sign in low for sign in _REFUSING):
        return None
    for field in OPTIONAL:
        options = body.get("stream_options")
        there = field in body or (isinstance(options, Mapping) and field in options)
        if there and re.search(rf"(?<![a-z_]){field}(?!\.?[a-z_])", low):
            return field
    return None


def without(body: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """A request without what its server refuses."""
    out = dict(body)
    for field in fields:
        if field == "continuous_usage_stats":
            if "stream_options" in out:
                out["stream_options"] = {"include_usage": True}
            continue
        value, other = out.pop(field, None), OPTIONAL[field]
        if other is not None and value is not None:
            out[other] = value
    return out


def same_model(asked: str, told: str, listed: Mapping[str, str]) -> bool:
    """Whether an answer's model is the one that was asked for.

    Parameters
    ----------
    listed
        What the server lists: names, and what each stands for (its root).

    Examples
    --------
    >>> same_model("gpt-4o", "gpt-4o-2024-08-06", {}), same_model("Qwen/Qwen3-8B", "Qwen3-8B", {})
    (True, True)
    >>> same_model("S", "L", {"S": "weights", "L": "weights"}), same_model("S", "L", {"S": "s", "L": "l"})
    (True, False)
    """
    if told == asked or asked.endswith("/" + told) or told.endswith("/" + asked):
        return True
    if told.startswith(asked) and _DATE.fullmatch(told, len(asked)):
        return True
    return asked in listed and told in listed and listed[asked] == listed[told]
