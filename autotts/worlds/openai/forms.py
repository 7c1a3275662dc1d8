"""What is sent for a draw: pure functions of the entry, the path so far, the ask, and what the server can."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any, Final

from autotts.core.plan import Spec
from autotts.errors import InputError, PlanError
from autotts.worlds.context import NONE, SYSTEM
from autotts.worlds.models.entry import Entry
from autotts.worlds.openai.texts import CLOSING, THINK, Partial, messages, plain, said_of

FORMAT: Final = 1  # of forms and of how replies are read; part of every binding
PROBE_TOKENS: Final = 48
CHAT, TEXT = "/chat/completions", "/completions"
WAYS: Final = ("ids", "text", "message", "none")  # how a partial answer goes on
_USAGE: Final = {"include_usage": True, "continuous_usage_stats": True}
_CHAT_ONLY: Final = ("chat_template_kwargs", "reasoning_effort", "top_logprobs", "messages", "response_format")


@dataclass(frozen=True, slots=True)
class Form:
    """One request: where it goes, what is sent, and what it says after the path so far (`lead`)."""

    path: str
    body: dict[str, Any]
    lead: str
    ids: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a model: a draw from a path.

    `way` is how the path goes on (of `WAYS`), "fresh" where there is nothing to go on from. `ids` are the token ids
    of all that is sent, for the way "ids". `room` bounds what may be generated.
    """

    entry: Entry
    partial: Partial
    spec: Spec
    instruction: str
    seed: int
    room: int
    way: str = "fresh"
    ids: tuple[int, ...] | None = None
    keep_ids: bool = False


def check(entry: Entry, spec: Spec) -> None:
    """A `PlanError` for what no server in this form can do."""
    if spec.move not in ("extend", "probe"):
        raise PlanError(
            f"model {entry.name!r} cannot {spec.move!r}: models behind servers extend texts and probe for answers"
        )
    if isinstance(spec.stop, str) and spec.stop not in ("end", "step"):
        raise PlanError(f"a draw stops at 'end', 'step' or a number of tokens, found {spec.stop!r}")
    if spec.stop == "step" and not entry.template.step:
        raise PlanError(f"model {entry.name!r} has no step delimiter (template.step), so it cannot draw steps")


def check_asked(entry: Entry, path: Partial) -> None:
    """An `InputError` for what a request says that this model's form cannot hold; it names the field."""
    context = path.context
    options = context.fields.get("chat_template_kwargs", {})
    if not isinstance(options, dict):
        raise InputError(f"chat_template_kwargs: expected an object, found {options!r:.40}")
    if entry.template.form == "chat":
        return
    if any(message["role"] not in SYSTEM for message in context.before):
        raise InputError(
            f"messages: model {entry.name!r} goes on with a text (template.form), which has no earlier turns; send one "
            "message of the user, and one of the system before it if you like"
        )
    for name in _CHAT_ONLY:
        if name in context.fields:
            raise InputError(
                f"{name}: model {entry.name!r} goes on with a text (template.form), not a chat; leave it out"
            )


def goes_on(partial: Partial, spec: Spec) -> bool:
    """Whether a draw needs a server that goes on with a partial answer, now or for what comes after it."""
    return not partial.fresh or spec.move == "probe" or bool(spec.nudge) or spec.stop != "end"


def stuck(entry: Entry, why: str = "") -> PlanError:
    """What to say where a partial answer cannot be gone on with."""
    return PlanError(
        f"the server of model {entry.name!r} cannot go on with a partial answer (prefix continuation)"
        f"{': ' + why if why else ''}, so steps, chunks, probes and nudges are switched off: use a strategy of whole "
        "draws, or a server that takes token ids, text completions or continue_final_message"
    )


def lead_of(entry: Entry, partial: Partial, spec: Spec) -> str:
    """What is written after the path so far: a nudge, the question for the answer; thinking is closed before it."""
    if spec.move != "probe":
        return spec.nudge
    if partial.thinking(entry):
        return spec.nudge + CLOSING + entry.template.probe.lstrip("\n")
    return spec.nudge + entry.template.probe


def ends_of(entry: Entry, path: Partial) -> tuple[str, ...]:
    """The stop strings that end an answer: the template's and the request's own."""
    return tuple(dict.fromkeys((*entry.template.stop, *path.context.fields.get("stop", ()))))


def stops_of(entry: Entry, path: Partial, spec: Spec) -> list[str]:
    """The stop strings of a draw."""
    template, ends = entry.template, ends_of(entry, path)
    if spec.move == "probe":
        braces = ("}$", "}.") if template.probe.endswith("{") else ()
        own = ("\n", *braces)
    else:
        own = (template.step,) if spec.stop == "step" else ()
    return list(dict.fromkeys((*own, *ends)))


def form(wish: Wish) -> Form:
    """The request of a draw.

    Raises
    ------
    PlanError
        When the server cannot go on in the way that this draw needs.
    """
    entry, partial, spec = wish.entry, wish.partial, wish.spec
    lead = lead_of(entry, partial, spec)
    put: dict[str, Any]
    if wish.way == "ids" and wish.ids is not None:
        path, put = TEXT, {"prompt": list(wish.ids)}
    elif wish.way == "message":
        path, put = CHAT, _message(wish, lead)
    elif wish.way in ("text", "fresh") and entry.template.form == "text":
        path, put = TEXT, {"prompt": plain(entry, partial, wish.instruction) + said_of(partial) + lead}
    elif wish.way == "fresh" and not lead and partial.fresh:
        path, put = CHAT, {"messages": messages(entry, partial, wish.instruction)}
    else:
        raise stuck(entry)
    return Form(path, _fields(wish, path) | put, lead, wish.ids)


def _message(wish: Wish, lead: str) -> dict[str, Any]:
    """The path so far as the last message of a chat, to be gone on with."""
    entry, partial = wish.entry, wish.partial
    if partial.thinking(entry) and wish.spec.move != "probe":
        raise stuck(entry, "a message cannot be gone on with in the middle of its thinking, which needs token ids")
    if partial.thinking(entry) and not partial.text:
        said = f"{THINK}\n{partial.thought}"
    else:
        said = said_of(partial)
    asked = messages(entry, partial, wish.instruction)
    answer = {"role": "assistant", "content": said + lead}
    return {"messages": [*asked, answer], "continue_final_message": True, "add_generation_prompt": False}


def _fields(wish: Wish, path: str) -> dict[str, Any]:
    """All that is sent but the prompt."""
    entry, spec = wish.entry, wish.spec
    probing = spec.move == "probe"
    most = min(wish.room, PROBE_TOKENS) if probing else wish.room
    if isinstance(spec.stop, int) and not probing:
        most = min(most, spec.stop)
    body: dict[str, Any] = _extra(entry, path, wish.partial.context.fields)
    body |= {
        "model": entry.served,
        "max_tokens": most,
        "temperature": 0.0 if probing else spec.temperature,
        "top_p": 1.0 if probing else spec.top_p,
        "seed": wish.seed,
        "stream": True,
        "stream_options": _USAGE,
    }
    stops = stops_of(entry, wish.partial, spec)
    if stops:
        body["stop"] = stops
        if probing or spec.stop == "step":
            body["include_stop_str_in_output"] = True
    if wish.keep_ids:
        body["return_token_ids"] = True
    return body


def _extra(entry: Entry, path: str, fields: Mapping[str, Any] = NONE) -> dict[str, Any]:
    """The entry's own fields, those of its thinking, and a request's, which win, as the endpoint takes them."""
    body = _own(entry, path)
    if "chat_template_kwargs" in fields and "chat_template_kwargs" in body:
        fields = {**fields, "chat_template_kwargs": body["chat_template_kwargs"] | fields["chat_template_kwargs"]}
    dropped = ("stop", *_CHAT_ONLY) if path == TEXT else ("stop",)  # the text of a chat was made with them
    return body | {name: value for name, value in fields.items() if name not in dropped}


def _own(entry: Entry, path: str) -> dict[str, Any]:
    body = dict(entry.extra)
    thinking = entry.thinking
    if thinking.budget is not None:
        body["thinking_token_budget"] = thinking.budget
    if path == TEXT:
        wants = body.pop("logprobs", None)
        if wants is not None and wants is not False:
            body["logprobs"] = body.get("top_logprobs", 0) if wants is True else wants
        for name in _CHAT_ONLY:
            body.pop(name, None)
        return body
    if thinking.enabled is not None:
        given = body.get("chat_template_kwargs")
        body["chat_template_kwargs"] = {**(given if isinstance(given, Mapping) else {})} | {
            "enable_thinking": thinking.enabled
        }
    if thinking.effort is not None:
        body["reasoning_effort"] = thinking.effort
    if isinstance(body.get("logprobs"), int):
        body["logprobs"] = body["logprobs"] is not False
    return body


def rendering(entry: Entry, path: Partial, instruction: str) -> dict[str, Any]:
    """The question to a server's tokenizer for the token ids of a prompt, ready to be answered."""
    if entry.template.form == "text":
        return {"model": entry.served, "prompt": plain(entry, path, instruction)}
    body: dict[str, Any] = {"model": entry.served, "messages": messages(entry, path, instruction)}
    fields = path.context.fields
    options = _extra(entry, CHAT, fields).get("chat_template_kwargs", {})
    if "reasoning_effort" in fields:
        options = {**options, "reasoning_effort": fields["reasoning_effort"]}  # as servers hand it to the template
    if options:
        body["chat_template_kwargs"] = options
    return body | {"add_generation_prompt": True}


def pieces(entry: Entry, text: str) -> dict[str, Any]:
    """The question to a server's tokenizer for the token ids of a text that stands inside another."""
    return {"model": entry.served, "prompt": text, "add_special_tokens": False}


def name_of(entry: Entry, instruction: str) -> str:
    """What names everything that changes a draw of this model, or a score of this scorer."""
    template, thinking = asdict(entry.template), asdict(entry.thinking)
    parts: list[Any] = [FORMAT, instruction, template, thinking, _plain(entry.extra), entry.max_tokens, entry.context]
    if entry.scoring is not None:
        scoring = entry.scoring
        parts += [scoring.kind, scoring.shape, scoring.reduce, _plain(scoring.options)]
    digest = blake2b(json.dumps(parts, sort_keys=True, default=str).encode(), digest_size=6).hexdigest()
    return f"openai/{entry.served}@{entry.revision}/{digest}"


def _plain(value: Any) -> Any:
    """Mappings and sequences as JSON writes them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value
