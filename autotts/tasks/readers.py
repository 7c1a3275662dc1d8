"""Readers: what a model wrote -> its canonical answer, None where nothing can be read. They neither raise nor hang."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from autotts.tasks.arithmetic import read_answer
from autotts.tasks.code import program
from autotts.tasks.expressions import LONGEST, canonical

_BRACES: Final = re.compile(r"(?P<box>\\f?boxed\s*\{)|\\[{}\\]|(?P<open>\{)|(?P<close>\})")
_ANSWER: Final = re.compile(r"\banswer\s*(?:is\s*:?|:|=)[ \t*]*([^\n]*)", re.IGNORECASE)
_NUMBER: Final = re.compile(
    r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?%?|(?<![\w.])-?\.\d+%?", re.ASCII
)
_DOLLARS: Final = re.compile(r"\$([^$]+)\$|\\\((.+?)\\\)")
_WORD: Final = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_LETTER: Final = re.compile(r"(?:\\text\s*\{)?\s*\**\(?([A-E])\)?\**\s*\}?\s*[.:]?")
_LETTER_FIRST: Final = re.compile(r"\(?([A-E])(?:\)|[.:,]|\*|\s|$)")
_BRACKETED: Final = re.compile(r"\(([A-E])\)")
_THOUGHT: Final = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_TAG: Final = re.compile(r"<(?P<end>/)?answer>", re.IGNORECASE)
_FENCE: Final = re.compile(r"```[^`\n]*\n(.*?)\n?```", re.DOTALL)
_OPEN: Final = re.compile(r"(?P<open>\{)")
_JSON: Final = re.compile(r'"(?:[^"\\\n]|\\.)*+"?|(?P<open>\{)|(?P<close>\})')

TAIL: Final = 20_000  # characters from the end in which an answer is looked for


def math(text: str) -> str | None:
    """Read the last boxed expression, else what follows the last `answer:`, else the last number.

    Examples
    --------
    >>> math("so it is \\\\boxed{\\\\frac{4}{8}}"), math("Answer: 1,024."), math("3 + 4 = 7"), math("hm")
    ('1/2', '1024', '7', None)
    """
    text = _said(text)
    boxed = _boxed(text)
    if boxed is not None and (answer := canonical(boxed)) is not None:
        return answer
    stated = _stated(text)
    if stated is not None and (answer := _read_stated(stated)) is not None:
        return answer
    number = _last(_NUMBER, text)
    return None if number is None else canonical(number.group())


def choice(text: str) -> str | None:
    """Read the letter A to E that was chosen.

    Examples
    --------
    >>> choice("The answer is (C)."), choice("\\\\boxed{B}"), choice("A good question.")
    ('C', 'B', None)
    """
    text = _said(text).strip()
    boxed, stated = _boxed(text), _stated(text)
    for found in (boxed, text.rpartition("\n")[2]):
        if found is not None and (letter := _LETTER.fullmatch(found.strip())):
            return letter.group(1)
    if stated is not None and (letter := _LETTER_FIRST.match(stated)):
        return letter.group(1)
    letters = _BRACKETED.findall(text)
    return letters[-1] if letters else None


def exact(text: str) -> str | None:
    """Read the last line, without space around it and without a leading `answer:`.

    Examples
    --------
    >>> exact("Let me see.\\nanswer: Paris \\n"), exact("  ")
    ('Paris', None)
    """
    line = _said(text).strip().rpartition("\n")[2]
    if (stated := _ANSWER.match(line)) is not None:
        line = stated.group(1)
    return line.strip() or None


def boxed(text: str) -> str | None:
    """Read the last boxed expression, and nothing else.

    Examples
    --------
    >>> boxed("I try 5, so \\\\boxed{007}."), boxed("the answer is 7")
    ('7', None)
    """
    content = _boxed(_said(text))
    return None if content is None else canonical(content)


def field(text: str) -> str | None:
    """Read `answer` in the last JSON object that has it; what is no text or number is read as JSON.

    Examples
    --------
    >>> field('So: {"why": "{2}", "answer": " 1,024 "}'), field('{"answer": [1, "a"]}'), field('{"answer": null}')
    ('1024', '[1,"a"]', None)
    """
    for begin, end in reversed(_objects(text := _said(text))):
        try:
            found = json.loads(text[begin:end], parse_constant=str)
        except (ValueError, RecursionError):
            continue
        named = [value for key, value in found.items() if key.strip().lower() == "answer"]
        if named:
            return _value(named[-1])
    return None


def tagged(text: str) -> str | None:
    """Read what stands in the last <answer>, else in the last box, else what follows the last `answer:`.

    It may have several lines. A fence or emphasis around it is left out.

    Examples
    --------
    >>> tagged("Hm. <answer> 1 2\\n3 4 </answer> Done."), tagged("\\\\boxed{east}"), tagged("Answer:\\n**no**")
    ('1 2\\n3 4', 'east', 'no')
    """
    text = _said(text)
    found = _in_tag(text)
    if found is None:
        found = _boxed(text)
    if found is None and (stated := _last(_ANSWER, text)) is not None:
        found = stated.group(1).strip() or text[stated.end() :]
    if found is None:
        return None
    found = found.strip()
    if (fenced := _FENCE.fullmatch(found)) is not None:
        found = fenced.group(1).strip()
    for mark in ("**", "`"):
        if len(found) > 2 * len(mark) and found.startswith(mark) and found.endswith(mark) and found.count(mark) == 2:
            found = found.removeprefix(mark).removesuffix(mark).strip()
    return found or None


def _said(text: str) -> str:
    """The end of a text, without what was only thought; where nothing is said after it, the thought itself."""
    text = text[-TAIL:]
    thought = _last(_THOUGHT, text)
    if thought is None:
        return text
    return text[thought.end() :] if text[thought.end() :].strip() else text[: thought.start()]


def _in_tag(text: str) -> str | None:
    """What the last <answer> holds, to its end or to the end of the text."""
    begin = found = None
    for tag in _TAG.finditer(text):
        if tag["end"] is None:
            begin = tag.end()
        elif begin is not None:
            found, begin = text[begin : tag.start()], None
    return found if begin is None else text[begin:]


def _objects(text: str) -> list[tuple[int, int]]:
    """Where the outermost pairs of braces stand; braces in quotes inside them do not count."""
    begun: list[int] = []
    spans: list[tuple[int, int]] = []
    at = 0
    while (found := (_JSON if begun else _OPEN).search(text, at)) is not None:
        at = found.end()
        if found.lastgroup == "open":
            begun.append(found.start())
        elif found.lastgroup == "close":
            start = begun.pop()
            while spans and spans[-1][0] > start:
                spans.pop()
            spans.append((start, at))
    return spans


def _value(value: Any) -> str | None:
    if value is None:
        return None
    plain = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        plain.encode()
    except UnicodeEncodeError:  # half a character
        return None
    if isinstance(value, (bool, list, dict)):
        return plain if len(plain) <= LONGEST else None
    return canonical(plain)


def _boxed(text: str) -> str | None:
    """The content of the last box that is closed."""
    content = None
    begun: list[int | None] = []  # where the content of each open brace starts, None where it is no box
    for brace in _BRACES.finditer(text):
        if brace["box"]:
            begun.append(brace.end())
        elif brace["open"]:
            begun.append(None)
        elif brace["close"] and begun and (start := begun.pop()) is not None:
            content = text[start : brace.start()]
    return content


def _stated(text: str) -> str | None:
    """What follows the last `answer:` on its line, without a full stop and emphasis."""
    found = _last(_ANSWER, text)
    if found is not None and len(found.group(1)) > LONGEST:
        return None
    return (found.group(1).strip().rstrip(".*").strip() or None) if found is not None else None


def _read_stated(stated: str) -> str | None:
    """Read an expression, or the formula or first number in a sentence."""
    if (formula := _DOLLARS.search(stated)) is not None:
        return canonical(formula.group(1) or formula.group(2))
    if _WORD.search(stated) is None:
        return canonical(stated.rpartition("=")[2])
    number = _NUMBER.search(stated)
    return None if number is None else canonical(number.group())


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = None
    for match in pattern.finditer(text):
        found = match
    return found


READERS: Final[Mapping[str, Callable[[str], str | None]]] = {
    "arithmetic": read_answer,
    "math": math,
    "choice": choice,
    "exact": exact,
    "code": program,
    "boxed": boxed,
    "json": field,
    "tagged": tagged,
}
