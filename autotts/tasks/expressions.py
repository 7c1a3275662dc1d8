"""Answers in mathematics: their canonical text, and whether two of them are equal.

Integers, decimals, fractions and percentages are read here. Everything else goes through math-verify, in a process
of its own: it is slow to load, its time limits need the main thread, and sympy can compute for ever or fill the
memory without ever looking up (Math-Verify issues 55, 59, 63, 65). A request that takes too long ends that process,
and the answer counts as plain text.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Final

from autotts.tasks.calculator import shared

LONGEST: Final = 2000  # characters of an answer; longer ones cannot be read
_LONGEST_PARSED: Final = 400
_LONGEST_NUMBER: Final = 60
_DEEPEST: Final = 25
_TOLERANCE_PLACES: Final = 6  # math-verify rounds to so many when it compares with a decimal

_WRAPPINGS: Final = (
    re.compile(r"\$\$(.*)\$\$|\$([^$]*)\$|\\\((.*)\\\)|\\\[(.*)\\\]", re.DOTALL),
    re.compile(r"\\(?:f?boxed|text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}"),
)
_NUMBER: Final = re.compile(r"([+-]?)(\d{1,3}(?:(?:,|\{,\}|\\,|\\!,)\d{3})+|\d*)(?:\.(\d*))?", re.ASCII)
_SLASHED: Final = re.compile(r"([+-]?\d+)/(\d+)", re.ASCII)
_STACKED: Final = re.compile(r"([+-]?)\\[dt]?frac\s*(?:\{\s*([+-]?\d+)\s*\}|(\d))\s*(?:\{\s*(\d+)\s*\}|(\d))", re.ASCII)
_PLAIN: Final = re.compile(r"-?\d+(?:/\d+)?", re.ASCII)
_TOWER: Final = re.compile(r"\^\s*[\w.]+\s*\^\s*[\w.]+\s*\^")
_WORDS: Final = re.compile(r"[A-Za-z]{3,}(?:[ -]+[A-Za-z]+)*")
_HUGE: Final = re.compile(r"\^\s*[{(]*\s*-?\s*\d{5,}|\d{5,}\s*!|!\s*!|\d{5,}\s*\)\s*!")


def canonical(text: str) -> str | None:
    """Bring an answer to one form for all ways of writing it; None where there is nothing, or far too much.

    Examples
    --------
    >>> [canonical(t) for t in ("$1{,}024$", "\\\\dfrac{6}{8}", "0.75", "-007", ".50%", "")]
    ['1024', '3/4', '3/4', '-7', '1/2\\\\%', None]
    """
    text = _unwrapped(text)
    if not text or len(text) > LONGEST:
        return None
    number = _number(text)
    if number is not None:
        return number
    plain = " ".join(text.split())
    if _WORDS.fullmatch(plain) or not _can_be_parsed(plain):
        return plain
    return _calculated(plain) or plain


def equal(gold: str, answer: str) -> bool:
    """Whether an answer is worth the gold one. Gold comes first: `x=5` accepts 5, and `2x+z=1` does not accept 1."""
    one, other = canonical(gold), canonical(answer)
    if one is None or other is None:
        return False
    if one == other:
        return True
    if _PLAIN.fullmatch(one) and _PLAIN.fullmatch(other):
        return False
    if _WORDS.fullmatch(one) or _WORDS.fullmatch(other):
        return False
    return _can_be_parsed(one) and _can_be_parsed(other) and _compared(one, other)


@lru_cache(maxsize=4096)
def _calculated(text: str) -> str | None:
    found = shared().ask("canonical", text)
    return found if isinstance(found, str) and 0 < len(found) <= LONGEST else None


@lru_cache(maxsize=4096)
def _compared(gold: str, answer: str) -> bool:
    return shared().ask("equal", gold, answer) is True


def _unwrapped(text: str) -> str:
    """Take off what stands around an answer: dollars, boxes, text, a full stop."""
    text = text.strip()
    for _ in range(4):
        before = text
        text = text.rstrip(".").strip() if not text.endswith("..") else text
        for wrapping in _WRAPPINGS:
            if (inner := wrapping.fullmatch(text)) is not None:
                text = next((g for g in inner.groups() if g is not None), "").strip()
        if text == before:
            break
    return text


def _number(text: str) -> str | None:
    """Read a plain number or percentage; None for everything else."""
    share = text.removesuffix("%")
    if share != text:
        number = _number(share.removesuffix("\\").strip())
        return None if number is None or number.endswith("%") else number + "\\%"
    text = text.removeprefix("\\$").removeprefix("$").replace("\u2212", "-")
    text = re.sub(r"^([+-])\s+", r"\1", text)
    return _ratio(text) or _decimal(text)


def _ratio(text: str) -> str | None:
    if (found := _STACKED.fullmatch(text)) is not None:
        sign, *parts = found.groups()
        above, below = (p for p in parts if p is not None)
        return _fraction(sign + above if not sign or above[0] not in "+-" else "", below)
    found = _SLASHED.fullmatch(text.replace(" ", ""))
    return None if found is None else _fraction(*found.groups())


def _decimal(text: str) -> str | None:
    found = _NUMBER.fullmatch(text)
    if found is None or not text.strip("+-."):
        return None
    sign, whole, places = found.groups()
    whole = re.sub(r"[^0-9]", "", whole).lstrip("0") or "0"
    places = (places or "").rstrip("0")
    minus = "-" if sign == "-" and (whole != "0" or places) else ""
    if not places:
        return minus + whole
    if len(places) < _TOLERANCE_PLACES and len(whole) < _LONGEST_NUMBER:
        return str(Fraction(f"{minus}{whole}.{places}"))
    return f"{minus}{whole}.{places}"  # may stand for 1/3 or the root of 2: left as it is


def _fraction(above: str, below: str) -> str | None:
    if not above or len(above) > _LONGEST_NUMBER or len(below) > _LONGEST_NUMBER or int(below) == 0:
        return None
    return str(Fraction(int(above), int(below)))


def _can_be_parsed(text: str) -> bool:
    """Whether it is worth the time: not long, not deeply nested, no towers of powers, no huge factorials."""
    if len(text) > _LONGEST_PARSED or _HUGE.search(text):
        return False
    text = text.replace("**", "^")
    open_brackets: list[bool] = []  # whether each is an exponent
    last = ""
    for sign in text:
        if sign in "{([":
            open_brackets.append(last == "^")
        elif sign in "})]" and open_brackets:
            open_brackets.pop()
        if len(open_brackets) > _DEEPEST or (sign == "^" and sum(open_brackets) >= 2):
            return False
        last = last if sign.isspace() else sign
    return not _TOWER.search(text)
