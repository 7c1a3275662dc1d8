"""Handles to what a world made. A plan sees handles and never text, latents or environment state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

Key: TypeAlias = bytes

NO_SIGNALS: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One piece of a path from the root (the prompt) to an answer; compared by identity.

    `tokens` are its own new tokens, not those of the path (for the root: the prompt's).
    `done` says that it cannot be extended; `answer` is the canonical answer, None where nothing can be read.
    `digest` identifies the whole text from the root: two draws of the same text share it, and never a key.
    `failed` marks a draw that broke (data, not an exception). `signals` are numbers that came with it,
    such as `mean_logprob`.
    """

    key: Key
    depth: int
    done: bool
    answer: str | None
    digest: bytes
    tokens: int
    failed: bool = False
    # A factory, since Python 3.11 takes a mapping proxy for a mutable default.
    signals: Mapping[str, float] = field(default_factory=lambda: NO_SIGNALS)


@dataclass(frozen=True, slots=True)
class Choice:
    """What a plan answers: the node that has the answer (perhaps a probe) and a confidence in [0, 1] or a score."""

    node: Node
    confidence: float
