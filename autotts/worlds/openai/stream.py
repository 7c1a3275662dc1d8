"""A streamed completion, put together from its chunks: text, thinking, ids, and tokens counted as they come.

No I/O. A chunk that shows that the stream is not what was asked for is a `Fault` of the kind "nonsense". Tokens are
counted by the server's running usage where it gives one, else by ids or log-probabilities, else one for each chunk
with content; the usage at the end has the last word.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from autotts.core.world import Meter
from autotts.worlds.openai.alike import Alike
from autotts.worlds.servers.fault import NONSENSE, REQUEST, SERVER, Fault

MOST_TOKENS: Final = 10**9  # a server that reports more is not believed
_STOP: Final = frozenset(("stop", "eos", "eos_token", "stop_sequence", "end_turn"))
_LENGTH: Final = frozenset(("length", "max_tokens"))
_GIVEN_UP: Final = frozenset(("abort", "error", "cancelled"))
_decode: Final = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class Said:
    """A whole completion.

    `finish` is "stop", "length" or "filter". `stop` is the stop string that ended it (None: the model itself), if
    `knows_stop`. `prompt` and `cached` are None where the server did not say; `made` is estimated if `estimated`.
    `usages` counts the chunks that told how much was used.
    """

    text: str
    thought: str
    ids: tuple[int, ...] | None
    prompt_ids: tuple[int, ...] | None
    finish: str
    stop: str | None
    knows_stop: bool
    prompt: int | None
    cached: int
    made: int
    estimated: bool
    mean_logprob: float | None
    usages: int = 0


class Assembly:
    """A completion while it comes; `feed` takes the payloads of its chunks.

    `ahead` is what a first chunk may hold: a server whose stream is left before that has perhaps made it.

    Attributes
    ----------
    model
        The model's name in the chunks, once one has come.
    made, largest
        Tokens counted so far, which are in the meter too, and the most that one chunk had.
    finish
        None until the server has said why it ended.
    """

    __slots__ = (
        "_alike",
        "_cached",
        "_estimated",
        "_ids",
        "_into",
        "_last",
        "_logprob",
        "_logprobs",
        "_meter",
        "_prompt_ids",
        "_stop",
        "_texts",
        "_thoughts",
        "_told",
        "_twins",
        "_usages",
        "chunks",
        "finish",
        "largest",
        "made",
        "model",
        "prompt",
    )

    def __init__(self, meter: Meter, ahead: int = 1) -> None:
        self.model: str | None = None
        self.made = 0
        self.largest = 1
        self.chunks = 0
        self.finish: str | None = None
        self.prompt: int | None = None
        self._cached = 0
        self._meter = meter
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._ids: list[int] = []
        self._prompt_ids: list[int] | None = None
        self._logprob = 0.0
        self._logprobs = 0
        self._stop: Any = _UNSAID
        self._told: int | None = None  # by a usage
        self._estimated = False
        self._twins = 0  # chunks that equal the one before, where nothing tells whether they are the same
        self._usages = 0
        self._alike: Alike | None = None
        self._into: list[str] = self._texts
        self._last = b""
        meter.ahead = ahead

    def leave(self) -> None:
        """Nobody waits for it any more: what still comes is counted, and nobody is asked whether it is wanted."""
        self._meter.moved = None

    def feed(self, payload: bytes) -> None:
        """Take one chunk."""
        alike = self._alike
        if alike is not None:
            found = alike.read(payload)
            if found is not None and found[1] > self.made:
                text, told = found
                self._into.append(text)
                self._count(told - self.made)
                self._told = told
                self._last = payload
                return
        try:
            self._feed(payload)
        except Fault as fault:
            if fault.kind == NONSENSE:
                self.made += self._meter.ahead  # what it should have been was made all the same
            raise

    def _feed(self, payload: bytes) -> None:
        """Take a chunk that is not like the one before."""
        try:
            chunk, _ = _decode(payload.decode())
            usage = chunk.get("usage")
            choices = chunk.get("choices")
            model = chunk.get("model")
        except (ValueError, RecursionError, AttributeError):
            raise _nonsense("a chunk in JSON", payload) from None
        again = payload == self._last
        self._last = payload
        self.chunks += 1
        if model != self.model and model:
            self._named(model)
        if self.chunks == 1:
            self._prompt_ids = chunk.get("prompt_token_ids")
        new: int | None = None
        if usage:
            if again:
                return  # the same chunk twice: a running usage says so
            new = self._usage(usage, payload)
        if not choices:
            if not usage:
                self._odd(chunk, payload)
            else:
                self._count(new or 0)
                self._meter.ahead = 0  # nothing comes after the usage of the whole
            return
        if self.finish is not None:
            return
        self._choice(choices, new, again, payload)

    def _choice(self, choices: Any, new: int | None, again: bool, payload: bytes) -> None:
        """Take what was generated."""
        try:
            (choice,) = choices
            index = choice.get("index")
            delta = choice.get("delta")
            if delta is None:
                text, thought = choice.get("text"), None
                if self._prompt_ids is None:
                    self._prompt_ids = choice.get("prompt_token_ids")
            else:
                text = delta.get("content")
                thought = delta.get("reasoning") or delta.get("reasoning_content")
            ids = choice.get("token_ids")
            logprobs = choice.get("logprobs")
            finish = choice.get("finish_reason")
        except (ValueError, TypeError, AttributeError):
            raise _nonsense("a chunk with one choice", payload) from None
        if index:
            raise _nonsense("one choice, of index 0", payload)
        if text:
            if type(text) is not str:
                raise _nonsense("a text", payload)
            self._texts.append(text)
        if thought:
            if type(thought) is not str:
                raise _nonsense("a text", payload)
            self._thoughts.append(thought)
        if ids:
            if type(ids) is not list:
                raise _nonsense("a list of token ids", payload)
            self._ids += ids
        summed = self._sum(logprobs) if logprobs else 0
        if new is None:
            if ids or summed:
                new = len(ids) if ids else summed
            elif text or thought:
                new, self._estimated = 1, True
            self._twins += bool(again and new)
        if new:
            self._count(new)
        if finish:
            self._finished(str(finish), choice)
        elif new and not (ids or logprobs or (text and thought)):
            self._alike = Alike.of(payload, str(text or thought))
            self._into = self._texts if text else self._thoughts

    def _count(self, new: int) -> None:
        meter = self._meter
        self.made += new
        meter.add(new)
        if new > self.largest:
            self.largest = new
            meter.ahead = max(meter.ahead, new)

    def _named(self, model: Any) -> None:
        if self.model is not None:
            raise Fault(f"the answer of model {self.model!r} goes on as that of {model!r}", kind=NONSENSE)
        self.model = str(model)

    def _usage(self, usage: Any, payload: bytes) -> int | None:
        """New tokens by what the server says was used; None where it says what cannot be."""
        try:
            prompt, made = usage["prompt_tokens"], usage["completion_tokens"]
            details = usage.get("prompt_tokens_details")
        except (KeyError, TypeError, AttributeError):
            return None
        if not (_counts(prompt) and _counts(made)):
            return None
        if self._told is not None and made < self._told:
            raise _nonsense(f"{self._told} tokens or more", payload)
        self._told = made
        self._usages += 1
        if prompt and prompt != self.prompt:
            self.prompt = self._meter.prompt = prompt
        if details:
            cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
            self._cached = min(cached, prompt) if _counts(cached) else 0
        return max(0, int(made) - self.made)

    def _sum(self, logprobs: Any) -> int:
        """Add log-probabilities, of a chat's or a text's form; how many there were."""
        try:
            if "content" in logprobs:
                values = [one["logprob"] for one in logprobs["content"] or ()]
            else:
                values = [one for one in logprobs["token_logprobs"] if one is not None]
            self._logprob += sum(values)
        except (KeyError, TypeError):
            return 0
        self._logprobs += len(values)
        return len(values)

    def _finished(self, finish: str, choice: Mapping[str, Any]) -> None:
        if finish in _GIVEN_UP:
            raise Fault(f"the server gave the draw up (finish_reason {finish!r})", kind=SERVER)
        for name in ("stop_reason", "matched_stop"):
            if name in choice:
                self._stop = choice[name]
        if finish in ("stop_sequence", "eos_token") and self._stop is _UNSAID:
            self._stop = None if finish == "eos_token" else _UNSAID
        self.finish = "length" if finish in _LENGTH else "filter" if finish == "content_filter" else "stop"
        if finish in _STOP or self.finish != "stop":
            self._meter.ahead = 0

    def _odd(self, chunk: Mapping[str, Any], payload: bytes) -> None:
        """A chunk without a choice and without usage: an error in the midst of a stream, or nothing."""
        error = chunk.get("error")
        if not error:
            if chunk.get("choices") is None:
                raise _nonsense("a chunk with a choice", payload)
            return
        said = error.get("message") if isinstance(error, Mapping) else error
        code = error.get("code") if isinstance(error, Mapping) else None
        own = isinstance(code, int) and 400 <= code < 500 and code not in (408, 409, 425, 429)
        words = f"the stream ended with an error: {str(said)[:200]!r}"
        status = code if isinstance(code, int) else None
        raise Fault(words, kind=REQUEST if own else SERVER, again=not own, status=status, said=str(said)[:300])

    @property
    def complete(self) -> bool:
        """Whether all has come that is needed; what a server does after that does not matter."""
        return self.finish is not None and self._told is not None

    def said(self) -> Said:
        """The whole, after the last chunk.

        Raises
        ------
        Fault
            When it is half of a stream, or holds chunks twice.
        """
        if self.finish is None:
            raise Fault(f"the stream ended after {self.made} tokens without a finish_reason", kind=NONSENSE)
        text, told = "".join(self._texts), self._told
        if told is not None and (told or not text):
            if self._twins and self.made > told:
                raise Fault(f"{self.made} tokens came where {told} were made: some chunks came twice", kind=NONSENSE)
            self._meter.generated += told - self.made
            self.made, self._estimated = told, False
        self._meter.ahead = 0
        ids = tuple(self._ids) if self._ids and len(self._ids) == self.made else None
        return Said(
            text=text,
            thought="".join(self._thoughts),
            ids=ids,
            prompt_ids=tuple(self._prompt_ids) if ids and self._prompt_ids else None,
            finish=self.finish,
            stop=self._stop if isinstance(self._stop, str) else None,
            knows_stop=self._stop is not _UNSAID,
            prompt=self.prompt,
            cached=self._cached,
            made=self.made,
            estimated=self._estimated,
            mean_logprob=self._logprob / self._logprobs if self._logprobs else None,
            usages=self._usages,
        )


class _Unsaid:
    """Stands where a server says nothing."""


_UNSAID: Final = _Unsaid()


def _counts(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MOST_TOKENS


def _nonsense(expected: str, payload: bytes) -> Fault:
    found = payload[:120].decode("utf-8", "replace")
    return Fault(f"expected {expected}, found {found!r}", kind=NONSENSE, status=200)
