"""Handles to what a world made. A plan sees handles and never text, latents or environment state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
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


def root_node(prompt: str, tokens: int) -> Node:
    """The root of a plan; its key hashes the task's own prompt, whatever template a binding puts around it.

    Parameters
    ----------
    prompt
        The task's own prompt.
    tokens
        How many tokens the prompt takes, as the world counts it.
    """
    text = prompt.encode()
    key = blake2b(text, digest_size=16, person=b"autotts.root").digest()
    return Node(key, 0, False, None, blake2b(text, digest_size=16).digest(), tokens)
