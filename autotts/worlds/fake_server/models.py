"""The models of a fake server: a name, and a function that writes or one that scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, TypeAlias

from autotts.errors import InputError

Script: TypeAlias = Callable[[str, str, int, float, float], str]
"""(prompt, partial answer, seed, temperature, top_p) -> the whole answer, which begins with the partial one.

An answer that does not begin with `partial` is taken to follow it.
"""

Marks: TypeAlias = Callable[[Sequence[str]], Sequence[Sequence[float]]]
"""tokens of a text -> rows of logits: one for each step or token, or a single one."""

Prefers: TypeAlias = Callable[[Sequence[str], int], float | None]
"""(tokens, place) -> the logit of "+" against "-" as the token at that place; None where neither is likely."""

_EFFORTS: Final = {"none": 0.0, "minimal": 0.25, "low": 0.5, "medium": 1.0, "high": 2.0}
_THOUGHTS: Final = (" so", " then", " wait,", " hmm,", " that", " gives", " check", " again,", " yes,", " and", " next")


@dataclass(frozen=True)
class FakeModel:
    """A model of a fake server.

    Parameters
    ----------
    script
        Writes its answers; None for a model that only scores.
    marks
        Scores texts at /pooling and /classify; None for a model that only writes.
    prefers
        What its log-probabilities say of "+" and "-", for reward models that score in words.
    context
        Tokens of prompt and answer together.
    thinks
        The mean number of tokens that it thinks before it answers, at medium effort; 0 is a model that does not.
    embeds
        Numbers of the vector that it makes of a text; 0 is a model that makes none.
    """

    name: str
    script: Script | None = None
    marks: Marks | None = None
    prefers: Prefers | None = None
    context: int = 8192
    thinks: int = 0
    embeds: int = 0

    def __post_init__(self) -> None:
        if self.script is None and self.marks is None and not self.embeds:
            raise InputError(f"the fake model {self.name!r}: expected a script, marks or embeds")
        if self.context < 1 or min(self.thinks, self.embeds) < 0:
            raise InputError(f"the fake model {self.name!r}: expected a context of 1 or more, the rest of 0 or more")


def number(*parts: object) -> int:
    """A number of 64 bits that depends on all of the parts and on nothing else."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


def fraction(*parts: object) -> float:
    """A number of [0, 1) that depends on all of the parts and on nothing else."""
    return (number(*parts) >> 11) * 2.0**-53


def thought(model: FakeModel, prompt: str, seed: int, *, effort: str = "medium", most: int | None = None) -> str:
    """What a thinking model writes before its answer: its mark, words, its other mark; "" where it does not think.

    Parameters
    ----------
    seed
        0 for every draw at temperature 0.
    effort
        none, minimal, low, medium or high.
    most
        Tokens of thinking that are allowed; None is no limit.
    """
    mean = model.thinks * _EFFORTS[effort]
    if not mean:
        return ""
    start = number(model.name, prompt, seed)
    length = max(1, round(mean * (0.5 + fraction(start))))
    if most is not None:
        length = min(length, most)
    words = "".join(_THOUGHTS[(start >> (i % 48)) * (i + 1) % len(_THOUGHTS)] for i in range(length))
    return f"<think>\n{words}\n</think>\n\n"


def echo(text: str) -> Script:
    """A script that always writes the same text.

    >>> echo("4 apples.")("How many?", "4", 0, 1.0, 1.0)
    '4 apples.'
    """
    return lambda prompt, partial, seed, temperature, top_p: text
