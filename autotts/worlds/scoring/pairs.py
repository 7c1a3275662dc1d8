"""How much a model prefers one next token to another, from the log-probabilities that a server says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from autotts.worlds.scoring.asking import Unread, number


def preference(tops: Any, plus: Sequence[str], minus: Sequence[str]) -> float:
    """The share of `plus` in the probability of both; each is called by one of its names.

    A token that is not among those listed counts as of no probability. That is off by less than the smallest listed.

    Parameters
    ----------
    tops
        Log-probabilities by token.

    Examples
    --------
    >>> preference({"+": 0.0, "-": -30.0, "!": -9.0}, ["+"], ["-"]) > 0.999
    True
    """
    if not isinstance(tops, Mapping):
        raise Unread("expected log-probabilities by token")
    yes, no = (_mass(tops, names) for names in (plus, minus))
    if yes + no <= 0.0:
        raise Unread(f"expected {plus[-1]!r} or {minus[-1]!r} among the likely tokens, found neither")
    return yes / (yes + no)


def _mass(tops: Mapping[Any, Any], names: Sequence[str]) -> float:
    found = [number(value) for token, value in tops.items() if isinstance(token, str) and token.strip() in names]
    return math.exp(min(0.0, max(found))) if found else 0.0
