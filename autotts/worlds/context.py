"""What a request says beside its prompt: earlier messages, further fields, a limit of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Final

from autotts.core.node import Node, root_node
from autotts.errors import InputError

NONE: Final[Mapping[str, Any]] = MappingProxyType({})
SYSTEM: Final = ("system", "developer")
ROLES: Final = (*SYSTEM, "user", "assistant", "tool", "function")

# What a draw has of its own: the prompt, how it is sampled, how it comes.
_DRAWS: Final = frozenset(
    (
        *("model", "messages", "prompt", "stream", "stream_options", "seed", "temperature", "top_p"),
        *("max_tokens", "max_completion_tokens"),
    )
)
# What changes the form of an answer or of its prompt, so that the answers of several draws could not be read.
_FORMS: Final = frozenset(
    (
        *("n", "best_of", "use_beam_search", "echo", "suffix", "logprobs", "top_logprobs", "prompt_logprobs"),
        *("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format"),
        *("structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar"),
        *("modalities", "audio", "prediction", "web_search_options", "documents", "chat_template"),
        *("add_generation_prompt", "continue_final_message", "add_special_tokens", "truncate_prompt_tokens"),
        *("return_token_ids", "return_tokens_as_token_ids", "include_stop_str_in_output", "prompt_embeds"),
    )
)
_HARMLESS: Final = frozenset(  # what changes no draw
    (
        *("user", "metadata", "store", "service_tier", "safety_identifier", "cache_salt", "priority", "request_id"),
        *("prompt_cache_key", "prompt_cache_retention"),
    )
)
_NEUTRAL: Final[Mapping[str, tuple[Any, ...]]] = {
    **dict.fromkeys(("presence_penalty", "frequency_penalty", "min_p", "min_tokens"), (0,)),
    "repetition_penalty": (1,),
    "length_penalty": (1,),
    "top_k": (-1, 0),
    "n": (1,),
    "best_of": (1,),
    **dict.fromkeys(("logprobs", "echo", "ignore_eos", "use_beam_search"), (False,)),
    "stop": ([], ""),
    "stop_token_ids": ([],),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none",),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "suffix": ("",),
}


@dataclass(frozen=True, slots=True)
class Context:
    """What a request says beside its prompt.

    Parameters
    ----------
    before
        The messages before the last one of the user, in order, the system's included.
    fields
        Fields of the request that go into every draw as they are, such as `stop` or `top_k`.
    most
        Tokens of an answer, at most.
    salt
        Draws of equal prompts with different salts differ; "" is what is drawn without a context.
    """

    before: tuple[Mapping[str, Any], ...] = ()
    fields: Mapping[str, Any] = field(default_factory=lambda: NONE)
    most: int | None = None
    salt: str = ""

    @property
    def said(self) -> bool:
        """Whether it says anything that is sent."""
        return bool(self.before or self.fields) or self.most is not None


NOTHING: Final = Context()


def checked(context: Context) -> Context:
    """The context in values that JSON can hold, without fields that say nothing.

    Raises
    ------
    InputError
        When it is none that draws can be made with; it names the field.
    """
    if not context.said:
        return context
    if context.most is not None and (type(context.most) is not int or context.most < 1):
        raise InputError(f"max_tokens: expected a whole number of 1 or more, found {context.most!r:.40}")
    for number, message in enumerate(context.before):
        _check_message(f"messages[{number}]", message)
    fields = {
        name: value for name, value in context.fields.items() if value is not None and not _says_nothing(name, value)
    }
    for name in fields:
        if name in _DRAWS:
            raise InputError(
                f"{name}: it is set by each draw, so a request cannot set it beside its prompt; leave it out"
            )
        if name in _FORMS:
            raise InputError(
                f"{name}: an answer that is chosen among several draws cannot have it; leave it out, or ask a model "
                "by its own name"
            )
    if "stop" in fields:
        fields["stop"] = list(_stops(fields["stop"]))
    try:
        text = json.dumps([context.before, fields], default=dict, ensure_ascii=False, allow_nan=False)
        text.encode()
        before, fields = json.loads(text)
    except UnicodeEncodeError:
        raise InputError(
            "messages: expected text, found half a character (a lone surrogate): is it in UTF-8?"
        ) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"messages or fields: expected values that JSON can hold ({error})") from None
    return replace(context, before=tuple(before), fields=fields)


def bare(context: Context, who: str, *, most: bool = False, stops: bool = False) -> Context:
    """The context, for models that are given a prompt and nothing else.

    Parameters
    ----------
    who
        Names the models, for messages.
    most, stops
        Whether they can be held to a number of tokens, and to stop strings.

    Raises
    ------
    InputError
        When it says what these models cannot heed; it names the field.
    """
    context = checked(context)
    if context.before:
        raise InputError(f"messages: {who} read one message of the user alone, found {len(context.before)} before it")
    for name in context.fields:
        if name not in _HARMLESS and not (stops and name == "stop"):
            raise InputError(f"{name}: {who} cannot heed it; leave it out")
    if context.most is not None and not most:
        raise InputError(f"max_tokens: {who} cannot be held to it; leave it out")
    return context


def root_of(prompt: str, tokens: int, context: Context) -> Node:
    """The root of a plan for a prompt and a context that was checked; without one it is the prompt's own.

    Parameters
    ----------
    tokens
        How many tokens the prompt and the messages before it take.

    Examples
    --------
    >>> alone = root_of("1+1", 4, NOTHING)
    >>> alone.key == root_node("1+1", 4).key, alone.key == root_of("1+1", 4, Context(salt="a")).key
    (True, False)
    """
    node = root_node(prompt, tokens)
    digest = digest_of(prompt, context) if context.before or context.fields else node.digest
    if digest == node.digest and context.most is None and not context.salt:
        return node
    rest = json.dumps([context.salt, context.most]).encode()
    key = blake2b(digest + rest, digest_size=16, person=b"autotts.asked").digest()
    return replace(node, key=key, digest=digest)


def digest_of(prompt: str, context: Context) -> bytes:
    """16 bytes that name what is sent but for its limits: the prompt, the messages before it, fields that matter."""
    digest = blake2b(prompt.encode("utf-8", "replace"), digest_size=16)
    fields = {name: value for name, value in context.fields.items() if name not in _HARMLESS}
    if context.before or fields:
        digest.update(b"\0" + json.dumps([context.before, fields], sort_keys=True, default=dict).encode())
    return digest.digest()


def _stops(value: Any) -> tuple[str, ...]:
    stops = (value,) if isinstance(value, str) else value
    if not isinstance(stops, list | tuple) or not all(isinstance(stop, str) and stop for stop in stops):
        raise InputError(f"stop: expected a text or a list of texts that are not empty, found {value!r:.60}")
    return tuple(dict.fromkeys(stops))


def _says_nothing(name: str, value: Any) -> bool:
    """Whether a field has the value that stands for leaving it out."""
    return any(type(value) in (type(none), float) and value == none for none in _NEUTRAL.get(name, ()))


def _check_message(where: str, message: Any) -> None:
    if not isinstance(message, Mapping) or message.get("role") not in ROLES:
        role = message.get("role") if isinstance(message, Mapping) else message
        raise InputError(f"{where}.role: expected one of {', '.join(ROLES)}, found {role!r:.40}")
    content = message.get("content")
    if (content is None and message["role"] == "assistant") or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise InputError(f"{where}.content: expected a text or a list of parts of text, found {content!r:.40}")
    for number, part in enumerate(content):
        kind = part.get("type") if isinstance(part, Mapping) else part
        if kind not in ("text", "refusal") or not isinstance(part.get(kind), str):
            raise InputError(
                f"{where}.content[{number}]: expected a part of text, found {kind!r:.40}; several draws are made of "
                "texts only: ask a model by its own name"
            )
