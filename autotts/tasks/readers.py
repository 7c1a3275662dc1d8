"""Readers: what a model wrote -> its canonical answer, None where nothing can be read. They neither raise nor hang."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from autotts.tasks.arithmetic import read_answer
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

TAIL: Final = 20_000  # characters from the end in which an answer is looked for


def math(text: str) -> str | None:
    """Read the last boxed expression, else what follows the last `answer:`, else the last number.

    Examples
    --------
    >>> math("so it is \\\\boxed{\\\\frac{4}{8}}"), math("Answer: 1,024."), math("3 + 4 = 7"), math("hm")
    ('1/2', '1024', '7', None)
    """
    text = text[-TAIL:]
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
    text = text[-TAIL:].strip()
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
    line = text[-TAIL:].strip().rpartition("\n")[2]
    if (stated := _ANSWER.match(line)) is not None:
        line = stated.group(1)
    return line.strip() or None


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
}
