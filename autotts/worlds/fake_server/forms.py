"""What a request asks for: OpenAI's forms as vLLM reads them, and the refusals in vLLM's or OpenAI's words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from autotts.errors import InputError
from autotts.worlds.fake_server.models import FakeModel
from autotts.worlds.fake_server.refused import Refused
from autotts.worlds.fake_server.structured import Call, called, wanted
from autotts.worlds.fake_server.text import Vocabulary, pieces

ASSISTANT: Final = "<|assistant|>\n"
_NO_THOUGHT: Final = "<think>\n\n</think>\n\n"

_SHARED: Final = """model n seed stop stream stream_options max_tokens temperature top_p logprobs presence_penalty
frequency_penalty logit_bias user metadata store service_tier response_format"""
_CHAT: Final = """messages max_completion_tokens top_logprobs reasoning_effort tools tool_choice parallel_tool_calls
verbosity prompt_cache_key"""
_FIELDS: Final = {
    True: frozenset(f"{_SHARED} {_CHAT}".split()),
    False: frozenset(f"{_SHARED} prompt echo suffix best_of".split()),
}


# What a server may be without, and the fields that it then passes over, as vLLM does with those that it does not know.
LACKING: Final[Mapping[str, tuple[str, ...]]] = {
    "logprobs": ("logprobs", "top_logprobs", "prompt_logprobs"),
    "n": ("n",),
    "seed": ("seed",),
    "temperature": ("temperature", "top_p"),
    "continues": ("continue_final_message", "add_generation_prompt", "return_token_ids"),  # and prompts of token ids
    "cancel": (),  # what was hung up on is generated to its end
    "usage": (),
    "running_usage": (),
    "stop_reason": (),
    "tokenize": (),
    "tools": ("tools", "tool_choice"),
    "schemas": ("response_format",),
    "pooling": (),
    "thinking": ("chat_template_kwargs", "reasoning_effort", "thinking_token_budget"),
}


_MOST_LIKELY = 20  # alternatives of a token, as in vLLM


@dataclass(frozen=True, slots=True)
class Path:
    """A prompt and the answer so far, as text and as the tokens of both."""

    prompt: str
    partial: str
    tokens: Sequence[str]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for completions; `least` is the fewest tokens of each, `most` the most.

    `logprobs` is the number of alternatives, None for no log-probabilities at all. `effort` and `thoughts` scale and
    bound the thinking; `call` is the tool that is called, `schema` the form of an answer in JSON.
    """

    model: FakeModel
    chat: bool
    paths: tuple[Path, ...]
    n: int
    seed: int | None
    temperature: float
    top_p: float
    stop: tuple[str, ...]
    keep_stop: bool
    least: int
    most: int
    stream: bool
    usage: bool
    continuous: bool
    logprobs: int | None
    prompt_logprobs: int | None
    echo: bool
    ids: bool
    effort: str
    thoughts: int | None
    call: Call | None
    schema: Mapping[str, Any] | None


@dataclass(frozen=True)
class Reading:
    """How a server reads requests.

    Parameters
    ----------
    openai
        Whether it speaks as OpenAI's own servers do: no continuing of a partial answer, no ids, other words.
    strict
        Whether fields that it does not know are refused; vLLM ignores them.
    without
        What it cannot, of `LACKING`.
    """

    models: Mapping[str, FakeModel]
    vocabulary: Vocabulary
    openai: bool = False
    strict: bool = False
    without: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if unknown := sorted(self.without - set(LACKING)):
            raise InputError(f"what a fake server is without: expected some of {', '.join(LACKING)}, found {unknown}")

    def model(self, form: Mapping[str, Any]) -> FakeModel:
        """The model that a request names, or the only one."""
        name = form.get("model")
        if name is None and not self.openai:
            return next(iter(self.models.values()))
        if isinstance(name, str) and name in self.models:
            return self.models[name]
        if self.openai:
            words = f"The model `{name}` does not exist or you do not have access to it."
            raise Refused(404, words, kind="invalid_request_error", code="model_not_found")
        raise Refused(404, f"The model `{name}` does not exist.", kind="NotFoundError", param="model")

    def asked(self, form: Mapping[str, Any], *, chat: bool) -> Asked:
        """A request for completions; `Refused` where it cannot be answered."""
        model = self.model(form)
        if model.script is None:
            raise Refused(400, f"The model `{model.name}` does not support {'Chat ' * chat}Completions API")
        known = _FIELDS[chat]
        if self.strict and (unknown := sorted(set(form) - known)):
            raise self._wrong(f"Unrecognized request argument supplied: {', '.join(unknown)}", unknown[0])
        if self.openai:
            form = {name: value for name, value in form.items() if name in known}
        if self.without:
            passed_over = {name for what in self.without for name in LACKING[what]}
            form = {name: value for name, value in form.items() if name not in passed_over}
        paths = (self.chat(form, model),) if chat else self._texts(form)
        options = self._table(form, "stream_options")
        stop = form.get("stop") or []
        if not isinstance(stop, (str, list)) or not all(isinstance(one, str) for one in stop):
            raise self._wrong("stop: expected a text or a list of texts", "stop")
        most = self._most(model, form, max(len(path.tokens) for path in paths), chat)
        logprobs = None if form.get("logprobs") in (None, False) else self._whole(form, "logprobs", 0, least=None)
        if chat and logprobs is not None:
            logprobs = self._whole(form, "top_logprobs", 0, least=0)
        if logprobs is not None and logprobs > _MOST_LIKELY:
            raise self._wrong(f"logprobs: expected at most {_MOST_LIKELY} of them", "logprobs")
        return Asked(
            model=model,
            chat=chat,
            paths=paths,
            n=self._whole(form, "n", 1, least=1),
            seed=None if form.get("seed") is None else self._whole(form, "seed", 0, least=None),
            temperature=self._real(form, "temperature", 1.0, 0.0, 2.0),
            top_p=self._real(form, "top_p", 1.0, 0.0, 1.0),
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            keep_stop=bool(form.get("include_stop_str_in_output")),
            least=most if form.get("ignore_eos") else self._whole(form, "min_tokens", 0, least=0),
            most=most,
            stream=bool(form.get("stream")),
            usage=bool(options.get("include_usage")) and "usage" not in self.without,
            continuous=bool(options.get("include_usage") and options.get("continuous_usage_stats"))
            and not (self.openai or self.without & {"usage", "running_usage"}),
            logprobs=logprobs,
            prompt_logprobs=form.get("prompt_logprobs"),
            echo=bool(form.get("echo")),
            ids=bool(form.get("return_token_ids")),
            effort=_effort(form),
            thoughts=None
            if form.get("thinking_token_budget") is None
            else self._whole(form, "thinking_token_budget", 0, least=0),
            call=called(form) if chat else None,
            schema=wanted(form),
        )

    # ------------------------------------------------------------------ prompts

    def chat(self, form: Mapping[str, Any], model: FakeModel) -> Path:
        """The messages of a chat as the template writes them; where none is wanted, it closes the thinking."""
        messages = form.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
            raise self._wrong("expected messages: a list of at least one object", "messages")
        goes_on, opens = bool(form.get("continue_final_message")), form.get("add_generation_prompt", True)
        if goes_on and opens:
            raise self._wrong(
                "Cannot set both `continue_final_message` and `add_generation_prompt` to True.", "add_generation_prompt"
            )
        partial = ""
        if goes_on:
            partial, messages = self._content(messages[-1]), messages[:-1]
        prompt = "".join(f"<|{message.get('role')}|>\n{self._content(message)}\n" for message in messages)
        if goes_on or opens:
            prompt += ASSISTANT + _NO_THOUGHT * bool(model.thinks and _effort(form) == "none")
        return Path(prompt, partial, pieces(prompt + partial))

    def _content(self, message: Mapping[str, Any]) -> str:
        content = message.get("content")
        if content is None and message.get("tool_calls"):
            content = json.dumps(message["tool_calls"])
        if isinstance(content, list):
            content = "".join(part.get("text", "") for part in content)
        if not isinstance(content, str):
            raise self._wrong("expected a message's content: text, or a list of parts of text", "messages")
        return content

    def _texts(self, form: Mapping[str, Any]) -> tuple[Path, ...]:
        """The prompts of a text completion: a text, a list of texts, ids, or a list of lists of ids."""
        prompt = form.get("prompt")
        several = isinstance(prompt, list) and bool(prompt) and not isinstance(prompt[0], int)
        return tuple(self.path(one) for one in (prompt if several else [prompt]))  # type: ignore[union-attr]

    def path(self, prompt: object) -> Path:
        """A text or a list of ids, cut where the last answer of an assistant begins."""
        if "continues" not in self.without and isinstance(prompt, list) and prompt and isinstance(prompt[0], int):
            try:
                tokens = self.vocabulary.tokens(prompt)
            except (KeyError, TypeError) as error:
                raise self._wrong(f"Token id {error.args[0]} is out of vocabulary", "prompt") from None
        elif isinstance(prompt, str):
            tokens = pieces(prompt)
        else:
            raise self._wrong("expected a prompt: a text or a list of token ids, or a list of these", "prompt")
        text = "".join(tokens)
        cut = text.rfind(ASSISTANT)
        cut = cut + len(ASSISTANT) if cut >= 0 else len(text)
        cut += len(_NO_THOUGHT) * text.startswith(_NO_THOUGHT, cut)
        return Path(text[:cut], text[cut:], tokens)

    # ------------------------------------------------------------------ values

    def _table(self, form: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        value = form.get(name) or {}
        if not isinstance(value, dict):
            raise self._wrong(f"{name}: expected an object", name)
        return value

    def _most(self, model: FakeModel, form: Mapping[str, Any], prompt: int, chat: bool) -> int:
        """The most tokens of an answer; `Refused` where the context is exceeded."""
        name = "max_completion_tokens" if form.get("max_completion_tokens") is not None else "max_tokens"
        room = model.context - prompt
        most = self._whole(form, name, room if chat else 16, least=0)
        if form.get(name) is None:
            most = max(0, min(most, room))
        if prompt < model.context and most <= room:
            return most
        if self.openai:
            words = (
                f"This model's maximum context length is {model.context} tokens. However, you requested "
                f"{prompt + most} tokens ({prompt} in the messages, {most} in the completion). Please reduce the "
                "length of the messages or completion."
            )
            raise Refused(400, words, kind="invalid_request_error", param="messages", code="context_length_exceeded")
        words = f"This model's maximum context length is {model.context} tokens. However, "
        if prompt >= model.context:
            words += f"your prompt contains {prompt} input tokens, which exceeds this limit even without any output "
            words += "tokens. Please reduce the length of the input prompt."
        else:
            words += f"you requested {most} output tokens and your prompt contains {prompt} input tokens, for a total "
            words += f"of {prompt + most} tokens. Please reduce the length of the input prompt or the number of "
            words += "requested output tokens."
        raise Refused(400, words, param="input_tokens")

    def _whole(self, form: Mapping[str, Any], name: str, otherwise: int, *, least: int | None) -> int:
        value = form.get(name)
        if value is None:
            return otherwise
        if (
            not isinstance(value, int)
            or (isinstance(value, bool) and name != "logprobs")
            or (least is not None and value < least)
        ):
            raise self._wrong(f"{name}: expected a whole number{f' >= {least}' * (least is not None)}", name)
        return value

    def _real(self, form: Mapping[str, Any], name: str, otherwise: float, low: float, high: float) -> float:
        value = form.get(name)
        if value is None:
            return otherwise
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
            raise self._wrong(f"{name}: expected a number of [{low}, {high}]", name)
        return float(value)

    def _wrong(self, words: str, param: str) -> Refused:
        return Refused(400, words, kind="invalid_request_error" if self.openai else "BadRequestError", param=param)


def _effort(form: Mapping[str, Any]) -> str:
    """How much a thinking model is to think."""
    effort, kwargs = form.get("reasoning_effort"), form.get("chat_template_kwargs")
    if not (kwargs if isinstance(kwargs, dict) else {}).get("enable_thinking", effort != "none"):
        return "none"
    return effort if effort in ("minimal", "low", "medium", "high") else "medium"
