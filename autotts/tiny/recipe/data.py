"""Training examples: problems of the train stream with solutions in random order, as padded token batches."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from autotts.core.task import Problem
from autotts.tasks.arithmetic import solution, stream_problems
from autotts.tiny.codec import END, encode

CHUNKS = 4


@dataclass(frozen=True, slots=True)
class Example:
    """One prompt and what follows it, as token ids; `prompt_length` tokens are given, the rest is learned.

    `last_valid` is False when the last token is the first error of a sampled solution.
    """

    tokens: bytes
    prompt_length: int
    last_valid: bool = True


@dataclass(frozen=True, slots=True)
class Chunk:
    """Padded token ids [rows, length] and, per token after the first, two masks [rows, length - 1]."""

    tokens: Tensor
    learned: Tensor
    valid: Tensor


def example(problem: Problem, rng: random.Random) -> Example:
    """Write one solution of a problem in random order."""
    prompt = encode(problem.prompt + "\n")
    return Example(bytes((*prompt, *encode("\n".join(solution(problem, rng))), END)), len(prompt))


def examples(mix: Mapping[int, float], rng: random.Random, tokens: int) -> list[Example]:
    """Draw training examples, levels by `mix`, until they hold about that many tokens."""
    sources = {level: stream_problems(level, "train", rng) for level in mix}
    drawn: list[Example] = []
    size = 0
    while size < tokens:
        (level,) = rng.choices(list(mix), list(mix.values()))
        drawn.append(example(next(sources[level]), rng))
        size += len(drawn[-1].tokens)
    return drawn


def chunked(drawn: Sequence[Example]) -> list[Chunk]:
    """Split a batch by length into four chunks of equal counts, so that little is padding."""
    ordered = sorted(drawn, key=lambda e: len(e.tokens))
    cuts = [len(ordered) * i // CHUNKS for i in range(CHUNKS + 1)]
    return [_padded(ordered[a:b]) for a, b in pairwise(cuts) if a < b]


def _padded(drawn: Sequence[Example]) -> Chunk:
    length = max(len(e.tokens) for e in drawn)
    tokens = np.zeros((len(drawn), length), dtype=np.int64)
    learned = np.zeros((len(drawn), length), dtype=bool)
    valid = np.ones((len(drawn), length), dtype=np.float32)
    for row, e in enumerate(drawn):
        size = len(e.tokens)
        tokens[row, :size] = np.frombuffer(e.tokens, dtype=np.uint8)
        learned[row, e.prompt_length : size] = True
        valid[row, size - 1] = e.last_valid
    return Chunk(torch.from_numpy(tokens), torch.from_numpy(learned[:, 1:]), torch.from_numpy(valid[:, 1:]))
