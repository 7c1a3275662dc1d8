"""Sums and products of whole numbers as they stand in questions: found, valued, taken apart by operations."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_SUM: Final = re.compile(r"(?<![\w.])[-(\s]*\d+(?:[\s)]*[-+*×][-\s(]*\d+)+(?:\s*\))*")
_TOKEN: Final = re.compile(r"\d+|[-+*()]")


def find(text: str) -> str | None:
    """The longest sum of a text, by its operations; the last of equals.

    >>> find("What is (12 + 30) * 2?"), find("What is 3 + (-2)(5)?")
    ('(12 + 30) * 2', None)
    """
    found = [match.group().strip() for match in _SUM.finditer(text)]
    found = [one for one in found if _has_value(one)]
    return max(reversed(found), key=lambda one: len(re.findall(r"[-+*×]", one)), default=None)


@dataclass(frozen=True, slots=True)
class Operation:
    """The operation of a sum that comes next, and what stands around it."""

    left: int
    sign: str
    right: int
    before: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def value(self) -> int:
        """Its true result."""
        if self.sign == "*":
            return self.left * self.right
        return self.left + (self.right if self.sign == "+" else -self.right)

    def leaves(self, result: int) -> str:
        """The sum that is left when this operation has a result."""
        before, after = list(self.before), list(self.after)
        while before and after and before[-1] == "(" and after[0] == ")":
            before.pop()
            after.pop(0)
        return " ".join([*before, str(result), *after]).replace("( ", "(").replace(" )", ")")

    def __str__(self) -> str:
        return f"{self.left} {self.sign} {self.right}"


def following(text: str) -> Operation | None:
    """The operation that comes next: in the innermost brackets, products first, from the left. None in a number.

    >>> str(following("80 + 5 * 9 - 63")), following("80 + 5 * 9 - 63").leaves(45)
    ('5 * 9', '80 + 45 - 63')
    """
    parts = _signed(_TOKEN.findall(text.replace("×", "*")))
    start = max((i + 1 for i, part in enumerate(parts) if part == "("), default=0)
    end = parts.index(")", start) if ")" in parts[start:] else len(parts)
    signs = [i for i in range(start, end) if parts[i] in ("+", "-", "*")]
    if not signs:
        return None
    at = next((i for i in signs if parts[i] == "*"), signs[0])
    before, after = tuple(parts[: at - 1]), tuple(parts[at + 2 :])
    return Operation(int(parts[at - 1]), parts[at], int(parts[at + 1]), before, after)


def value(text: str) -> int:
    """What a sum comes to.

    >>> value("2 * (3 - -4) - 1"), value("-7")
    (13, -7)
    """
    while (step := following(text)) is not None:
        text = step.leaves(step.value)
    return int("".join(_TOKEN.findall(text)).strip("()"))


def _has_value(text: str) -> bool:
    try:
        value(text)
    except (ValueError, IndexError):  # brackets that are not closed, or that stand in each other's way
        return False
    return True


def _signed(parts: list[str]) -> list[str]:
    """The parts of a sum in which a minus that belongs to a number is joined to it."""
    out: list[str] = []
    for part in parts:
        if part.isdigit() and out and out[-1] == "-" and (len(out) == 1 or out[-2] in ("+", "-", "*", "(")):
            out[-1] = f"-{part}"
        else:
            out.append(part)
    return out
