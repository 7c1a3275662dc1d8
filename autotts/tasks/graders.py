"""Graders: whether a canonical answer is right, given the gold one. They neither raise nor hang."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from autotts.tasks.code import unit_tests_in_sandbox
from autotts.tasks.expressions import equal

_INTEGER: Final = re.compile(r"\s*([+-]?)0*(\d+)\s*", re.ASCII)


def arithmetic(answer: str, gold: str) -> bool:
    """Equal whole numbers.

    Examples
    --------
    >>> arithmetic("-7", "-07"), arithmetic("7", "-7"), arithmetic("seven", "seven")
    (True, False, False)
    """
    one, other = _INTEGER.fullmatch(answer), _INTEGER.fullmatch(gold)
    return one is not None and other is not None and _signed(one) == _signed(other)


def math(answer: str, gold: str) -> bool:
    """Equal in value: numbers, and through math-verify expressions, equations, sets, intervals and matrices.

    Examples
    --------
    >>> math("1/2", "0.50"), math("3", "2")
    (True, False)
    """
    return equal(gold, answer)


def choice(answer: str, gold: str) -> bool:
    """Equal letters, whatever their case and brackets."""
    return answer.strip(" ().").upper() == gold.strip(" ().").upper() != ""


def exact(answer: str, gold: str) -> bool:
    """Equal texts, but for the space around them."""
    return answer.strip() == gold.strip()


def reasoning_gym(answer: str, gold: str) -> bool:
    """As the scorer of a dataset of reasoning-gym says; `gold` is JSON that names the problem."""
    from autotts.tasks.gym import grade

    return grade(answer, gold)


def _signed(number: re.Match[str]) -> tuple[bool, str]:
    sign, digits = number.groups()
    return sign == "-" and digits != "0", digits


GRADERS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "arithmetic": arithmetic,
    "math": math,
    "choice": choice,
    "exact": exact,
    "code": unit_tests_in_sandbox,
    "boxed": math,
    "json": math,
    "tagged": math,
    "reasoning_gym": reasoning_gym,
}
