"""Cheap surface features of any prompt: what can be seen without asking a model. Standard library only."""

from __future__ import annotations

import math
import re
from typing import Final

# Raise this whenever a feature changes its meaning: a model learned on other features is refused on load.
FEATURES_VERSION: Final = 1

_SEEN: Final = 20_000  # characters that are looked at; the length is always that of the whole prompt
_DIGITS: Final = 300  # of one number that are looked at

FEATURES: Final[tuple[str, ...]] = (
    "log_chars",  # natural logarithm of 1 + characters
    "log_words",
    "lines",
    "digits",  # share of the characters
    "numbers",
    "numbers_1",  # numbers below 10
    "numbers_2",  # 10 to 99
    "numbers_3",  # 100 and more
    "largest",  # decimal logarithm of 1 + the number
    "second",  # of the second largest number
    "smallest",
    "magnitude",  # sum over all numbers
    "plus",
    "minus",
    "times",
    "divided",
    "power",
    "equals",
    "compared",  # < > and friends
    "products",  # factors that stand beside each other, as in 3*4*5 (two)
    "largest_product",  # decimal logarithm of 1 + the largest product of neighbours
    "nesting",  # deepest parentheses, brackets or braces
    "latex",  # commands such as \frac
    "code",  # marks such as ``` or ; at the end of a line
    "options",  # (A) or B. at the beginning of a line
    "questions",  # question marks
    "capitals",  # share of the letters
    "foreign",  # share of characters outside ASCII
)

# A pattern that begins with one set of characters is searched several times as fast: hence \d\d* and the look-behinds.
_NUMBER: Final = re.compile(r"\d\d*(?:\.\d+)?")
_ASCII_NUMBER: Final = re.compile(r"[0-9][0-9]*(?:\.[0-9]+)?")
_PRODUCT: Final = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)\s?[*×·]\s?(?=(\d+(?:\.\d+)?))")
_LATEX: Final = re.compile(r"\\[A-Za-z]+")
_CODE_MARK: Final = re.compile(r"```|[=!]=|=>|->")
# def, return, import, class, function, int, void or print
_CODE_WORD: Final = re.compile(
    r"[cdfiprv](?:ef|eturn|mport|lass|unction|nt|oid|rint)\b(?:(?<=\bdef)|(?<=\breturn)|(?<=\bimport)|(?<=\bclass)"
    r"|(?<=\bfunction)|(?<=\bint)|(?<=\bvoid)|(?<=\bprint))"
)
_OPTION: Final = re.compile(r"\([A-J]\)|^\s{0,8}[A-J][.):]\s", re.MULTILINE)
_OPTION_MARK: Final = re.compile(r"[A-J][.):]\s")
_BRACKET: Final = re.compile(r"[()\[\]{}]")
_CAPITALS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SMALL: Final = b"abcdefghijklmnopqrstuvwxyz"


def features(prompt: str) -> list[float]:
    """The features of a prompt, in the order of `FEATURES`; all finite, for any text.

    Examples
    --------
    >>> found = dict(zip(FEATURES, features("solve: 12+3*40"), strict=True))
    >>> found["numbers"], found["plus"], found["products"], round(10 ** found["largest_product"])
    (3.0, 1.0, 1.0, 121)
    """
    text = prompt[:_SEEN]
    count = text.count
    size = max(len(text), 1)
    ascii_only = text.isascii()
    return [
        math.log1p(len(prompt)),
        math.log1p(len(text.split())),
        float(count("\n") + 1),
        *_of_numbers((_ASCII_NUMBER if ascii_only else _NUMBER).findall(text), size),
        float(count("+")),
        float(count("-") + (0 if ascii_only else count("−"))),
        float(count("*") + (0 if ascii_only else count("×") + count("·"))),
        float(count("/") + (0 if ascii_only else count("÷"))),
        float(count("^")),
        float(count("=")),
        float(count("<") + count(">") + (0 if ascii_only else count("≤") + count("≥"))),
        *_of_products(text),
        float(_nesting(text)) if "(" in text or "[" in text or "{" in text else 0.0,
        float(len(_LATEX.findall(text))) if "\\" in text else 0.0,
        float(_code(text)),
        float(len(_OPTION.findall(text))) if "(" in text or _OPTION_MARK.search(text) else 0.0,
        float(count("?")),
        _capitals(text),
        0.0 if ascii_only else sum(c > "\x7f" for c in text) / size,
    ]


def _of_numbers(numbers: list[str], size: int) -> tuple[float, ...]:
    """From `digits` to `magnitude`."""
    if not numbers:
        return (0.0,) * 9
    logs = sorted(map(_log10, numbers), reverse=True)
    lengths = [n.find(".") if "." in n else len(n) for n in numbers]
    ones, twos = lengths.count(1), lengths.count(2)
    return (
        sum(map(len, numbers)) / size,
        float(len(numbers)),
        float(ones),
        float(twos),
        float(len(numbers) - ones - twos),
        logs[0],
        logs[1] if len(logs) > 1 else 0.0,
        logs[-1],
        sum(logs),
    )


def _of_products(text: str) -> tuple[float, float]:
    pairs = _PRODUCT.findall(text) if "*" in text or not text.isascii() else ()
    if not pairs:
        return 0.0, 0.0
    return float(len(pairs)), max(_log10(left, right) for left, right in pairs)


def _log10(*factors: str) -> float:
    """log10(1 + product), for numbers of any length."""
    if len(factors) == 1 and len(factors[0]) <= 15:
        return math.log10(1.0 + float(factors[0]))
    product, shift = 1.0, 0
    for digits in factors:
        whole = digits[:_DIGITS].partition(".")[0]
        if len(whole) > 15:
            shift += len(whole) - 15
            product *= float(whole[:15])
        else:
            product *= float(digits[:_DIGITS])
    return math.log10(product) + shift if shift and product else math.log10(1.0 + product)


def _nesting(text: str) -> int:
    depth = deepest = 0
    for mark in _BRACKET.findall(text):
        if mark in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif depth:
            depth -= 1
    return deepest


def _code(text: str) -> int:
    """Marks and words of code; no mark is a part of a word, so that they can be counted apart."""
    marks = len(_CODE_MARK.findall(text)) if "=" in text or "->" in text or "```" in text else 0
    ends = text.count(";\n") + text.endswith(";")
    return marks + ends + len(_CODE_WORD.findall(text))


def _capitals(text: str) -> float:
    """Share of capitals among the letters of ASCII."""
    found = text.encode("utf-8", "surrogatepass")
    others = found.translate(None, _CAPITALS)
    capitals = len(found) - len(others)
    return capitals / max(capitals + len(others) - len(others.translate(None, _SMALL)), 1)
