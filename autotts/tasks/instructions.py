"""What a chat model is told of the form of its answer, for each reader: what the reader looks for, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_BOXED: Final = "Reason step by step, and put your final answer into \\boxed{}."

INSTRUCTIONS: Final[Mapping[str, str]] = {
    "arithmetic": "",
    "math": _BOXED,
    "boxed": _BOXED,
    "choice": "Reason step by step, and end with a line of the form: The answer is (X), where X is the letter.",
    "exact": "Reason step by step, and write the final answer, and nothing else, on the last line.",
    "json": 'Reason step by step, and end with a JSON object that holds the final answer: {"answer": ...}',
    "tagged": "Reason step by step, and write the final answer, and nothing else, between <answer> and </answer>.",
    "code": "Write the whole program in one fenced code block, which is the last one of your reply.",
}
"""Instructions by the name of a reader; the embedded models, which `arithmetic` is for, are told nothing."""
