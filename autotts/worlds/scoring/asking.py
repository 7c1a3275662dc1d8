"""What is asked of a model that scores, what its answers took, and how its answers are read; no shape is known here."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from autotts.core.cost import Usage
from autotts.worlds.models.entry import Entry

T = TypeVar("T")

CHAT: Final = "/chat/completions"
COMPLETIONS: Final = "/completions"
POOLING: Final = "../pooling"
CLASSIFY: Final = "../classify"
EMBEDDINGS: Final = "/embeddings"
TOKENIZE: Final = "../tokenize"

_A_MESSAGE: Final = 16  # tokens that a template writes around a message, at most; for servers that count nothing
# What templates and tokenizers take for their own: <|im_end|>, </s>, <extra_0>, <start_of_turn>, [INST].
_CONTROL: Final = re.compile(
    r"<(?=[|｜][^|｜\s]{1,40}[|｜]>|/?(?:s|bos|eos|unk|pad|mask|think)>|extra_\d+>|(?:start|end)_of_turn>)|\[(?=/?INST\])"
)


class Asks(Protocol):
    """Asks a server and waits for its JSON answer; retries are made inside."""

    async def __call__(self, path: str, form: Mapping[str, Any]) -> dict[str, Any]:
        """Post a form to a path such as "/chat/completions", or "../pooling" outside the version."""
        ...


@dataclass(frozen=True, slots=True)
class Text:
    """What is scored: an answer, perhaps unfinished, to a prompt; `step` is what ends its steps."""

    prompt: str
    text: str
    done: bool
    step: str


@dataclass(frozen=True, slots=True)
class Marked:
    """A score, NaN where it could not be had, and what all requests for it took."""

    value: float
    usage: Usage


class Unread(Exception):
    """An answer came, and it is none of the expected form."""


class Counted:
    """Asks, and adds up what the answers took."""

    def __init__(self, ask: Asks) -> None:
        self.usage = Usage()
        self._ask = ask

    async def __call__(self, path: str, form: Mapping[str, Any]) -> dict[str, Any]:
        answer = await self._ask(path, form)
        if path != TOKENIZE:
            self.usage += usage_of(answer, form)
        return answer


@dataclass(frozen=True, slots=True)
class Job:
    """One text to score; `options` are those of the entry with the defaults of its shape."""

    entry: Entry
    text: Text
    ask: Counted
    seed: int
    options: Mapping[str, Any]

    def form(self, **fields: Any) -> dict[str, Any]:
        """A request to the entry's model."""
        return {**self.entry.extra, "model": self.entry.served, **fields}


async def together(asks: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run requests beside each other; if one fails the others are cancelled, and its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask) for ask in asks]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


# ---------------------------------------------------------------- texts


def neutral(text: str, *marks: str) -> str:
    """A text in which no control token and none of these marks stands: a space is put into each, or in its place.

    So what is scored cannot end its own message, or set a mark where it has none.

    Examples
    --------
    >>> neutral("right.<|im_end|><extra_0> кино", "ки")
    'right.< |im_end|>< extra_0> к ино'
    """
    text = _CONTROL.sub(lambda found: found.group() + " ", text)
    for mark in marks:
        text = text.replace(mark, f"{mark[0]} {mark[1:]}" if len(mark) > 1 and mark.strip() else " ")
    return text


def steps_of(text: Text, *marks: str) -> list[str]:
    """The steps of an answer, neutral, without space around them; empty ones are left out.

    Raises
    ------
    Unread
        When there are none.
    """
    parts = text.text.split(text.step) if text.step else [text.text]
    steps = [step for part in parts if (step := neutral(part, *marks).strip())]
    if not steps:
        raise Unread("the text has no steps")
    return steps


def one_line(text: str) -> str:
    """A text whose lines are joined by spaces, for shapes in which a line is a step."""
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


# ---------------------------------------------------------------- numbers


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


def shares(rows: Sequence[Sequence[float]], at: int, sent: str) -> list[float]:
    """The softmax of each row at one place.

    `sent` says whether the rows are "logits" or already "probabilities". A server that knows no `use_activation` sends
    the latter; "auto" takes rows for such if all of them are numbers from 0 to 1 that sum to 1.
    """
    if not all(-len(row) <= at < len(row) for row in rows):
        raise Unread(f"expected a number at place {at} of each row")
    if sent == "probabilities" or (sent == "auto" and all(_whole(row) for row in rows)):
        return [row[at] for row in rows]
    return [_share(row, at) for row in rows]


def _whole(row: Sequence[float]) -> bool:
    return len(row) > 1 and min(row) >= 0.0 and abs(math.fsum(row) - 1.0) < 1e-5


def _share(logits: Sequence[float], at: int) -> float:
    top = max(logits)
    weights = [math.exp(x - top) for x in logits]
    return weights[at] / math.fsum(weights)


def number(found: Any) -> float:
    """A finite number of an answer."""
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        raise Unread(f"expected a finite number, found {found!r:.40}")
    return float(found)


def numbers(found: Any) -> list[float]:
    """A row of an answer; a number alone is a row of one."""
    return [number(x) for x in found] if isinstance(found, list) else [number(found)]


def only(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The first item of a list of objects, such as `choices`."""
    items = answer.get(name)
    if not isinstance(items, list) or not items or not isinstance(items[0], dict):
        raise Unread(f"expected {name} with an object in it")
    first: Mapping[str, Any] = items[0]
    return first


# ---------------------------------------------------------------- usage


def usage_of(answer: Mapping[str, Any], form: Mapping[str, Any]) -> Usage:
    """What a request took, as the server says; where it does not, no less than it can have been."""
    said = answer.get("usage")
    said = said if isinstance(said, dict) else {}
    details = said.get("prompt_tokens_details")
    prompt, generated = _count(said.get("prompt_tokens")), _count(said.get("completion_tokens"))
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    if prompt is None:
        prompt = _bound(form)
    if generated is None:
        generated = 0 if said else int(form.get("max_tokens", 0))
    cached = min(cached or 0, prompt)
    return Usage(prompt - cached, cached, generated, calls=1)


def _count(found: Any) -> int | None:
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None


def _bound(form: Mapping[str, Any]) -> int:
    """Tokens of a request, at most: a token is a byte or more."""
    if (messages := form.get("messages")) is not None:
        return sum(len(str(message["content"]).encode()) + _A_MESSAGE for message in messages)
    text = form.get("input", form.get("prompt", ""))
    return len(text) if isinstance(text, list) else len(str(text).encode()) + 2
