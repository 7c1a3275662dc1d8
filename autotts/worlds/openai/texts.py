"""What has been said on one path so far, what of it is thinking, and how it reads as an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from autotts.worlds.models.entry import Entry

THINK, THOUGHT = "<think>", "</think>"
CLOSING: Final = "\n</think>\n\n"  # written where thinking is broken off
_FIELDS: Final = re.compile(r"\{(prompt|instruction)\}")
_NO_INSTRUCTION: Final = re.compile(r"\s*\{instruction\}")


@dataclass(frozen=True, slots=True)
class Partial:
    """A prompt and the answer so far.

    `text` is what came as the answer (think tags included, where the server leaves them in it), `thought` what came as
    thinking. `ids` are the token ids of the whole path, prompt included, of the model `by`. `made` counts the tokens
    that were generated on it, `whole` those of prompt and answer together (0: not known).
    """

    prompt: str
    text: str = ""
    thought: str = ""
    ids: tuple[int, ...] | None = None
    by: str = ""
    made: int = 0
    whole: int = 0
    fault: str = ""

    @staticmethod
    def of(state: Mapping[str, Any]) -> Partial:
        """From a node's state; a root's has a prompt only."""
        ids = state.get("ids")
        return Partial(
            prompt=state["prompt"],
            text=state.get("text", ""),
            thought=state.get("thought", ""),
            ids=None if ids is None else tuple(ids),
            by=state.get("by", ""),
            made=state.get("made", 0),
            whole=state.get("whole", 0),
        )

    def state(self) -> dict[str, Any]:
        """As stores keep it."""
        ids = None if self.ids is None else list(self.ids)
        state: dict[str, Any] = {"prompt": self.prompt, "text": self.text, "ids": ids, "by": self.by}
        state |= {"made": self.made, "whole": self.whole}
        if self.thought:
            state["thought"] = self.thought
        if self.fault:
            state["fault"] = self.fault
        return state

    @property
    def fresh(self) -> bool:
        """Whether nothing has been said yet."""
        return not (self.text or self.thought)

    def thinking(self, entry: Entry) -> bool:
        """Whether its thinking has not ended.

        A template may open the thinking itself; then only the closing tag tells, and the entry that it thinks.
        """
        if THOUGHT in self.text:
            return False
        if THINK in self.text or (self.thought and not self.text):
            return True
        return bool(self.text) and not self.thought and entry.thinking.enabled is True


def spoken(text: str) -> str:
    """The answer without its thinking; nothing where the thinking has not ended.

    Examples
    --------
    >>> spoken("<think>2+2</think> 4"), spoken("2+2</think>4"), spoken("4"), spoken("<think>2+")
    (' 4', '4', '4', '')
    """
    _, closed, answer = text.rpartition(THOUGHT)
    if closed:
        return answer
    return "" if THINK in text else text


def said_of(partial: Partial) -> str:
    """The answer so far, with its thinking in tags."""
    if not partial.thought:
        return partial.text
    closed = CLOSING if partial.text else ""
    return f"{THINK}\n{partial.thought}{closed}{partial.text}"


def instructed(entry: Entry, prompt: str, instruction: str) -> str:
    """The user's message; a template's field for an instruction goes where there is none."""
    user = entry.template.user
    if not instruction:
        user = _NO_INSTRUCTION.sub("", user)
    values = {"prompt": prompt, "instruction": instruction}
    return _FIELDS.sub(lambda found: values[found.group(1)], user)  # in one pass: a prompt may hold such a field


def messages(entry: Entry, prompt: str, instruction: str) -> list[dict[str, str]]:
    """The messages of a chat, before any answer."""
    system = [{"role": "system", "content": entry.template.system}] if entry.template.system else []
    return [*system, {"role": "user", "content": instructed(entry, prompt, instruction)}]


def plain(entry: Entry, prompt: str, instruction: str) -> str:
    """The prompt of a text completion, before any answer."""
    system = f"{entry.template.system}\n\n" if entry.template.system else ""
    return system + instructed(entry, prompt, instruction)


def most_tokens(entry: Entry, prompt: str, instruction: str) -> int:
    """The most tokens that a prompt can take: no tokenizer makes more tokens than bytes; templates add a few."""
    said = [m["content"] for m in messages(entry, prompt, instruction)]
    size = sum(len(text.encode("utf-8", "replace")) + 16 for text in said)
    return size + (64 if entry.template.form == "chat" else 0)  # a chat template may have a text of its own


def fewest_tokens(prompt: str) -> int:
    """The fewest tokens that a prompt can take: hardly a tokenizer joins words."""
    return len(prompt.split())


def balanced(text: str, opened: int) -> str | None:
    """The text up to the brace that closes the first `opened` ones, or None where they stay open.

    Examples
    --------
    >>> balanced("\\\\frac{1}{2}}$ is it", 1)
    '\\\\frac{1}{2}}'
    """
    depth = opened
    for at, char in enumerate(text):
        if char == "{":
            depth += 1
        elif char == "}":
            depth -= 1
            if depth == 0:
                return text[: at + 1]
    return None
