"""Rows of numbers for the marks of a text, from a server that pools: one row a mark, or one a token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from autotts.worlds.scoring.asking import POOLING, TOKENIZE, Job, Unread, numbers, only

_NOT_TOKENIZED: Final = ("input", "use_activation", "encoding_format")


async def rows_at_marks(job: Job, fields: Mapping[str, Any], mark: int, count: int) -> list[list[float]]:
    """Ask `/pooling` and give the rows at the tokens that are the mark's: there must be `count`.

    A server that is set to pool at steps (vLLM: `tok_pooling_type` STEP, as it does by itself for Qwen's reward
    models) sends just these. One that is not sends a row for each token, and is asked which tokens those are.
    """
    answer = await job.ask(POOLING, job.form(**fields, use_activation=False))
    rows = rows_of(answer)
    if len(rows) == count:
        return rows
    if len(rows) > count:
        asked = {name: value for name, value in fields.items() if name not in _NOT_TOKENIZED}
        if "input" in fields:
            asked["prompt"] = fields["input"]
        ids = ids_of(await job.ask(TOKENIZE, job.form(**asked)))
        at = [i for i, token in enumerate(ids) if token == mark]
        if len(ids) == len(rows) and len(at) == count:
            return [rows[i] for i in at]
    raise Unread(f"expected {count} rows, one for each step, found {len(rows)}")


def rows_of(answer: Mapping[str, Any]) -> list[list[float]]:
    """The rows of the first item of `/pooling` (`data`) or of `/embeddings` (`embedding`, a number a token)."""
    item = only(answer, "data")
    rows = item.get("data", item.get("embedding"))
    if not isinstance(rows, list):
        raise Unread("expected rows of numbers")
    read = [numbers(row) for row in rows]
    if not all(read):
        raise Unread("expected numbers in each row")
    return read


def ids_of(answer: Mapping[str, Any]) -> list[int]:
    """The tokens of `/tokenize`."""
    tokens = answer.get("tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
        raise Unread("expected the ids of tokens")
    return tokens
