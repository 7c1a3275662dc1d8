"""What has been said on one path so far, what of it is thinking, and how it reads as an answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from autotts.worlds.context import NOTHING, SYSTEM, Context, digest_of
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
    that were generated on it, `whole` those of prompt and answer together (0: not known). `context` is what the request
    said beside the prompt, and `named` names it and the prompt, where it says something.
    """

    prompt: str
    text: str = ""
    thought: str = ""
    ids: tuple[int, ...] | None = None
    by: str = ""
    made: int = 0
    whole: int = 0
    fault: str = ""
    context: Context = NOTHING
    named: str = ""

    @staticmethod
    def root(prompt: str, context: Context) -> Partial:
        """Of a prompt alone, and a context that was checked."""
        return Partial(prompt, context=context, named=digest_of(prompt, context).hex() if context.said else "")

    @staticmethod
    def of(state: Mapping[str, Any]) -> Partial:
        """From a node's state; a root's has a prompt only, and what was said beside it."""
        ids, context = state.get("ids"), NOTHING
        if "named" in state:
            context = Context(tuple(state.get("before", ())), state.get("fields", {}), state.get("most"))
        return Partial(
            prompt=state["prompt"],
            text=state.get("text", ""),
            thought=state.get("thought", ""),
            ids=None if ids is None else tuple(ids),
            by=state.get("by", ""),
            made=state.get("made", 0),
            whole=state.get("whole", 0),
            context=context,
            named=state.get("named", ""),
        )

    def asked(self) -> dict[str, Any]:
        """The state of a root: what was asked."""
        state: dict[str, Any] = {"prompt": self.prompt}
        if not self.named:
            return state
        context = self.context
        if context.before:
            state["before"] = list(context.before)
        if context.fields:
            state["fields"] = context.fields
        if context.most is not None:
            state["most"] = context.most
        return state | {"named": self.named}

    def state(self) -> dict[str, Any]:
        """As stores keep it."""
        ids = None if self.ids is None else list(self.ids)
        state: dict[str, Any] = self.asked() | {"text": self.text, "ids": ids, "by": self.by}
        state |= {"made": self.made, "whole": self.whole}
        if self.thought:
            state["thought"] = self.thought
        if self.fault:
            state["fault"] = self.fault
        return state

    @property
    def name(self) -> str:
        """What names all that was asked."""
        return self.named or digest_of(self.prompt, NOTHING).hex()

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
    """The user's message; a template's field for an instruction goes where there is none or the prompt has it."""
    user = entry.template.user
    if prompt.rstrip().endswith(instruction.strip()):
        user, instruction = _NO_INSTRUCTION.sub("", user), ""
    values = {"prompt": prompt, "instruction": instruction}
    return _FIELDS.sub(lambda found: values[found.group(1)], user)  # in one pass: a prompt may hold such a field


def messages(entry: Entry, path: Partial, instruction: str) -> list[dict[str, Any]]:
    """The messages of a chat, before any answer; the client's own words for the system follow the template's."""
    before, ours = [dict(message) for message in path.context.before], entry.template.system
    if ours and before and before[0]["role"] in SYSTEM:
        before[0] |= {"content": f"{ours}\n\n{words_of(before[0])}"}
    elif ours:
        before.insert(0, {"role": "system", "content": ours})
    return [*before, {"role": "user", "content": instructed(entry, path.prompt, instruction)}]


def plain(entry: Entry, path: Partial, instruction: str) -> str:
    """The prompt of a text completion, before any answer; what stands before it is a system's message, if any."""
    said = [entry.template.system, *map(words_of, path.context.before)]
    return "".join(f"{words}\n\n" for words in said if words) + instructed(entry, path.prompt, instruction)


def words_of(message: Mapping[str, Any]) -> str:
    """A message's text."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(part[part["type"]] for part in content)
    return content or ""


def question(path: Partial) -> str:
    """The prompt as scorers see it: after what was said before, but for the system's words."""
    said = [f"{m['role']}: {words_of(m)}\n\n" for m in path.context.before if m["role"] not in SYSTEM]
    return "".join(said) + path.prompt


def most_tokens(entry: Entry, path: Partial, instruction: str) -> int:
    """The most tokens that a prompt can take: no tokenizer makes more tokens than bytes; templates add a few."""
    size = sum(map(_most_of, messages(entry, path, instruction)))
    named = path.context.fields.get("chat_template_kwargs")
    size += len(json.dumps(named)) if named else 0
    return size + (64 if entry.template.form == "chat" else 0)  # a chat template may have a text of its own


def _most_of(message: Mapping[str, Any]) -> int:
    if len(message) == 2 and isinstance(message.get("content"), str):
        return len(message["content"].encode("utf-8", "replace")) + 16
    return (
        2 * len(json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")) + 16
    )  # calls of tools are written out


def fewest_tokens(path: Partial, most: int) -> int:
    """The fewest tokens that a prompt can take, counted up to `most`: hardly a tokenizer joins words."""
    count = 0
    for text in (path.prompt, *map(words_of, path.context.before)):
        count += min(most, len(text.split(None, most)))  # a prompt may have millions
        if count >= most:
            return most
    return count


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
