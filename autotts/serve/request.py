"""A request in OpenAI's form, read: the prompt that decides its arm, what its draws are to honour, its own budget.

Nothing of a request is ignored: a field is obeyed, goes into the body of every draw, makes the request one plain draw
that is passed through as it is, or is refused by its name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from autotts.serve.refused import Refused
from autotts.worlds.context import Context

CHAT, TEXT = "chat", "text"  # endpoints: /v1/chat/completions and /v1/completions

# Fields that this module reads itself; all others go into the bodies of draws as they are.
_OWN: Final = frozenset(
    (
        *("model", "messages", "prompt", "stream", "stream_options", "temperature", "top_p", "seed", "n", "autotts"),
        *("max_tokens", "max_completion_tokens"),
    )
)
# What only a backend can honour, in its own form: the answer is one plain draw, passed through as it is.
_PLAINLY: Final = (
    *("tools", "functions", "function_call", "tool_choice", "parallel_tool_calls", "audio", "prediction", "suffix"),
    *("best_of", "echo", "logprobs", "top_logprobs", "prompt_logprobs", "use_beam_search", "web_search_options"),
    *("return_token_ids", "return_tokens_as_token_ids", "continue_final_message", "add_generation_prompt"),
    *("guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs"),
)
_MOST_CHOICES: Final = 128
_LONGEST: Final = 86_400.0  # seconds of a deadline
_HEADER: Final = "x-autotts-"
_WISHES: Final = ("budget", "effort", "deadline", "token", "progress")


@dataclass(frozen=True, slots=True)
class Own:
    """What a request says of its own budget: an amount such as "2e14flops", effort in [0, 1], seconds."""

    budget: str | None = None
    effort: float | None = None
    deadline: float | None = None
    token: str | None = None
    progress: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    `prompt` is the text of the user's last message, by which it is routed; empty where there is none (token ids,
    several prompts at once). `plainly` names what only one plain draw can honour, or is empty; `media` names the first
    part of a message that is no text, or is empty. `name` is the model as it was asked for, before any "@".
    """

    endpoint: str
    body: Mapping[str, Any]
    name: str
    prompt: str
    context: Context
    stream: bool = False
    tell_usage: bool = False
    plainly: str = ""
    media: str = ""
    seed: int | None = None
    sampling: Mapping[str, float] = field(default_factory=dict)
    own: Own = field(default_factory=Own)


def read(endpoint: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Request:
    """Read a request; names of headers are in lower case.

    Raises
    ------
    Refused
        400, with the field that is meant: what was expected and what was found.
    """
    given = {name: value for name, value in body.items() if value is not None}
    own = _own(given, headers)
    name, own = _name(given, own)
    stream = _flag(given, "stream")
    options = given.get("stream_options", {})
    if not isinstance(options, dict):
        raise _wrong("stream_options", "an object", options)
    if options and not stream:
        raise Refused(
            400, "stream_options: expected it with stream=true only, found it without", param="stream_options"
        )
    chat = endpoint == CHAT
    prompt, before, plainly, media = _conversation(given) if chat else (*_prompts(given), "")
    by_field = _plain_field(given)  # even where the prompt says so already: it checks them
    plainly = plainly or by_field
    seed = given.get("seed")
    if seed is not None and (type(seed) is not int or not -(1 << 63) <= seed < 1 << 63):
        raise _wrong("seed", "a whole number of 64 bits", seed)
    fields = {name: value for name, value in given.items() if name not in _OWN and name not in _PLAINLY}
    if "stop" in fields:
        fields["stop"] = _stops(fields["stop"])
    if fields.get("response_format") == {"type": "text"}:
        del fields["response_format"]
    return Request(
        endpoint=endpoint,
        body={key: value for key, value in body.items() if key != "autotts"},
        name=name,
        prompt=prompt,
        context=Context(before=before, fields=fields, most=_most(given)),
        stream=stream,
        tell_usage=bool(options.get("include_usage")),
        plainly=plainly,
        media=media,
        seed=seed,
        sampling=_sampling(given),
        own=own,
    )


# ---------------------------------------------------------------- what is asked


def _conversation(given: Mapping[str, Any]) -> tuple[str, tuple[Mapping[str, Any], ...], str, str]:
    """The last message's text, those before it, why it can only be passed through, and where there is no text."""
    messages = given.get("messages")
    if not isinstance(messages, list) or not messages:
        raise _wrong("messages", "a list of at least one message", messages)
    media, plainly, text = "", "", ""
    for index, message in enumerate(messages):
        place = f"messages[{index}]"
        if not isinstance(message, dict):
            raise _wrong(place, "an object with role and content", message)
        role = message.get("role")
        if not isinstance(role, str) or not role:
            raise _wrong(f"{place}.role", "a role such as user", role)
        text, other = _content(message, place)
        media = media or other
        if role in ("tool", "function") or message.get("tool_calls") or message.get("function_call"):
            plainly = plainly or f"{place}: a call of a tool"
    if messages[-1]["role"] != "user":
        asked = [i for i, message in enumerate(messages) if message["role"] == "user"]
        plainly = plainly or "messages: the last is not the user's"
        text = _content(messages[asked[-1]], "messages")[0] if asked else ""
    elif not text.strip() and not media:
        raise Refused(400, "messages: expected a question in the user's last message, found nothing", param="messages")
    return text, tuple(messages[:-1]), plainly, media


def _content(message: Mapping[str, Any], place: str) -> tuple[str, str]:
    """The text of a message, and the place of its first part that is none."""
    content = message.get("content")
    if isinstance(content, str):
        return content, ""
    if content is None and message["role"] != "user":
        return "", ""
    if not isinstance(content, list) or not content:
        raise _wrong(f"{place}.content", "a text or a list of parts", content)
    texts, other = [], ""
    for index, part in enumerate(content):
        where = f"{place}.content[{index}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(kind, str):
            raise _wrong(where, "an object with a type", part)
        if kind == "text" or kind == "refusal":
            words = part.get(kind)
            if not isinstance(words, str):
                raise _wrong(f"{where}.{kind}", "a text", words)
            texts.append(words)
        else:
            other = other or f"{where} ({kind})"
    return "\n".join(texts), other


def _prompts(given: Mapping[str, Any]) -> tuple[str, tuple[Mapping[str, Any], ...], str]:
    """The prompt of a text completion; where it is no single text, why it can only be passed through."""
    prompt = given.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        prompt = prompt[0]
    if isinstance(prompt, str):
        if not prompt.strip():
            raise Refused(400, "prompt: expected a question, found nothing", param="prompt")
        return prompt, (), ""
    if isinstance(prompt, list) and prompt:
        if all(isinstance(one, str) for one in prompt):
            return "", (), "prompt: several prompts at once"
        rows = prompt if all(isinstance(one, list) for one in prompt) else [prompt]
        if all(type(token) is int and token >= 0 for row in rows for token in row) and all(rows):
            return "", (), "prompt: token ids"
    raise _wrong("prompt", "a text, texts, or token ids", prompt)


def _plain_field(given: Mapping[str, Any]) -> str:
    """The first field that only one plain draw can honour; one that asks for nothing is none."""
    count = given.get("n", 1)
    if type(count) is not int or not 1 <= count <= _MOST_CHOICES:
        raise _wrong("n", f"a whole number from 1 to {_MOST_CHOICES}", count)
    if count > 1:
        return "n"
    form = given.get("response_format", {"type": "text"})
    if not isinstance(form, dict) or not isinstance(form.get("type"), str):
        raise _wrong("response_format", "an object with a type", form)
    if form["type"] != "text":
        return "response_format"
    modalities = given.get("modalities", ["text"])
    if modalities != ["text"]:
        return "modalities"
    if given.get("best_of") == 1:
        given = {name: value for name, value in given.items() if name != "best_of"}
    tools = bool(given.get("tools") or given.get("functions"))
    for name in _PLAINLY:
        asked = name in given and given[name] is not False and given[name] not in ([], {}, "")
        if asked and (tools or name not in ("tool_choice", "function_call", "parallel_tool_calls")):
            return name
        if asked and name != "parallel_tool_calls" and given[name] not in ("none", "auto"):
            raise Refused(400, f"{name}: expected it with tools only, found it without", param=name)
    return ""


def _stops(value: Any) -> list[str]:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(one, str) and one for one in stops) or len(stops) > 64:
        raise _wrong("stop", "a text or up to 64 texts, none of them empty", value)
    return stops


def _most(given: Mapping[str, Any]) -> int | None:
    found = {name: given[name] for name in ("max_tokens", "max_completion_tokens") if name in given}
    for name, value in found.items():
        if type(value) is not int or value < 0 or (value < 1 and "prompt" not in given):
            raise _wrong(name, "a whole number above 0", value)
    if len(set(found.values())) > 1:
        raise Refused(
            400,
            f"max_tokens: expected it or max_completion_tokens, found both: {found['max_tokens']} and "
            f"{found['max_completion_tokens']}",
            param="max_tokens",
        )
    return next(iter(found.values()), None)


def _sampling(given: Mapping[str, Any]) -> dict[str, float]:
    found = {}
    for name, most in (("temperature", 2.0), ("top_p", 1.0)):
        if name in given:
            value = given[name]
            if not _number(value) or not 0 <= value <= most:
                raise _wrong(name, f"a number from 0 to {most:g}", value)
            found[name] = float(value)
    return found


# ---------------------------------------------------------------- its own budget


def _name(given: Mapping[str, Any], own: Own) -> tuple[str, Own]:
    """The model that was asked for; one such as auto@2e14flops has a budget in its name."""
    model = given.get("model")
    if not isinstance(model, str) or not model.strip():
        raise _wrong("model", "the name of a model, such as auto (GET /v1/models lists all)", model)
    head, at, amount = model.partition("@")
    if head != "auto" or not at:
        return model, own
    _checked("budget", amount, "model")
    if own.budget not in (None, amount):
        raise Refused(
            400, f"model: expected one budget, found {amount!r} in its name and {own.budget!r} beside it", param="model"
        )
    if own.effort is not None:
        raise Refused(400, "model: expected a budget or an effort, found both", param="model")
    return head, Own(amount, None, own.deadline, own.token, own.progress)


def _own(given: Mapping[str, Any], headers: Mapping[str, str]) -> Own:
    block = given.get("autotts", {})
    if not isinstance(block, dict):
        raise _wrong("autotts", "an object", block)
    for name in block:
        if name not in _WISHES:
            raise Refused(
                400, f"autotts.{name}: expected one of {', '.join(_WISHES)}, found this", param=f"autotts.{name}"
            )
    for name in headers:
        if name.startswith(_HEADER) and name.removeprefix(_HEADER) not in _WISHES:
            expected = ", ".join(f"X-Autotts-{wish.capitalize()}" for wish in _WISHES)
            raise Refused(400, f"{name[:80]}: expected one of {expected}, found this", param=name[:80])
    found: dict[str, Any] = {}
    for name in _WISHES:
        value, place = block.get(name), f"autotts.{name}"
        header = headers.get(_HEADER + name)
        if header is not None:
            read_header = _of_header(name, header)
            if value is not None and _compared(name, value) != read_header:
                raise Refused(
                    400,
                    f"{place}: expected one, found {_short(value)} in the body and {header[:80]!r} in a header",
                    param=place,
                )
            value, place = read_header, f"X-Autotts-{name.capitalize()}"
        if value is not None:
            found[name] = _checked(name, value, place)
    if "budget" in found and "effort" in found:
        raise Refused(400, "autotts.budget: expected it or autotts.effort, found both", param="autotts.budget")
    return Own(**found)


def _of_header(name: str, value: str) -> Any:
    if name == "progress":
        said = value.strip().lower()
        return said in ("1", "true", "yes") if said in ("0", "1", "false", "true", "no", "yes") else value
    if name in ("effort", "deadline"):
        try:
            return float(value)
        except ValueError:
            return value
    return value.strip()


def _compared(name: str, value: Any) -> Any:
    return float(value) if name in ("effort", "deadline") and _number(value) else value


def _checked(name: str, value: Any, place: str) -> Any:
    if name == "effort":
        if not _number(value) or not 0 <= value <= 1:
            raise _wrong(place, "a number from 0 (cheapest) to 1 (best)", value)
        return float(value)
    if name == "deadline":
        if not _number(value) or not 0 < value <= _LONGEST:
            raise _wrong(place, f"seconds above 0 and up to {_LONGEST:g}", value)
        return float(value)
    if name == "progress":
        if not isinstance(value, bool):
            raise _wrong(place, "true or false", value)
        return value
    if not isinstance(value, str) or not value or len(value) > 200:
        what = "an amount such as 2e14flops" if name == "budget" else "a text of up to 200 characters"
        raise _wrong(place, what, value)
    return value


def _flag(given: Mapping[str, Any], name: str) -> bool:
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise _wrong(name, "true or false", value)
    return value


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _wrong(place: str, expected: str, found: Any) -> Refused:
    kind = "nothing" if found is None else _short(found)
    return Refused(400, f"{place}: expected {expected}, found {kind}", param=place)


def _short(found: Any) -> str:
    if isinstance(found, str | int | float | bool):
        words = repr(found) if not isinstance(found, int) or abs(found) < 1 << 128 else "a huge number"
        return words if len(words) <= 80 else words[:77] + "..."
    if isinstance(found, Mapping):
        return "an object"
    return f"a list of {len(found)}" if isinstance(found, Sequence) else type(found).__name__
