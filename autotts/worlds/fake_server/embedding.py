"""Vectors of texts: texts with words in common lie near each other."""

from __future__ import annotations

import base64
import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from autotts.worlds.fake_server.models import number
from autotts.worlds.fake_server.refused import Refused


def vector(tokens: Sequence[str], size: int) -> list[float]:
    """The vector of a text, of length 1: each word adds to two of its places, the same for every text."""
    found = [0.0] * size
    for word in (token.strip().lower() for token in tokens):
        hashed = number("vector", word)
        found[hashed % size] += 1.0
        found[(hashed >> 20) % size] += 0.5 if hashed >> 60 & 1 else -0.5
    length = math.hypot(*found)
    return [value / length for value in found] if length else [1.0, *found[1:]]


def vectors(texts: Sequence[Sequence[str]], most: int, form: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The `data` of an answer at /v1/embeddings; `Refused` for a form of numbers or a size that is not known."""
    size = most if form.get("dimensions") is None else form["dimensions"]
    coded = form.get("encoding_format") or "float"
    if coded not in ("float", "base64"):
        raise Refused(400, "encoding_format: expected float or base64", param="encoding_format")
    if type(size) is not int or not 1 <= size <= most:
        raise Refused(400, f"dimensions: expected a whole number from 1 to {most}", param="dimensions")
    rows = [vector(tokens, size) for tokens in texts]
    told: Sequence[object] = [_packed(row) for row in rows] if coded == "base64" else rows
    return [{"index": i, "object": "embedding", "embedding": one} for i, one in enumerate(told)]


def _packed(row: Sequence[float]) -> str:
    """Numbers of 32 bits, the lowest byte first, in base64."""
    packed = array("f", row)
    return base64.b64encode(packed.tobytes()).decode()
