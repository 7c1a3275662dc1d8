"""Skywork-o1-Open-PRM: a step is a line; the value head at its newline, through a sigmoid, is its score.

The form is that of `prepare_input` and `derive_step_rewards` of github.com/SkyworkAI/skywork-o1-prm-inference: the
beginning of text, the question and a newline, then each step and the newline token, every piece tokenized by itself (so
that no newline melts into what stands before it). A server's `/pooling` says a value for each token; the plugin for
older servers says them as `/embeddings`. Both are raw. Blank lines are no steps here.
"""

from __future__ import annotations

from typing import Final

from autotts.worlds.scoring.asking import (
    EMBEDDINGS,
    POOLING,
    TOKENIZE,
    Job,
    Unread,
    neutral,
    one_line,
    sigmoid,
    steps_of,
    together,
)
from autotts.worlds.scoring.rows import ids_of, rows_of
from autotts.worlds.scoring.shapes import Shape, anything, flag, one_of


async def _score(job: Job) -> list[float]:
    steps = [one_line(step) for step in steps_of(job.text)]
    question = job.options["begin"] + neutral(job.text.prompt) + "\n"
    head, newline, *pieces = await together([_ids(job, piece) for piece in (question, "\n", *steps)])
    ids, at = list(head), []
    for piece in pieces:
        ids += [*piece, newline[-1]]
        at.append(len(ids) - 1)
    if job.options["path"] == "embeddings":
        rows = rows_of(await job.ask(EMBEDDINGS, job.form(input=ids)))
    else:
        rows = rows_of(await job.ask(POOLING, job.form(input=ids, use_activation=False)))
    if len(rows) != len(ids):
        raise Unread(f"expected a value for each of {len(ids)} tokens, found {len(rows)}")
    values = [rows[i][0] for i in at]
    return [sigmoid(value) for value in values] if job.options["sigmoid"] else values


async def _ids(job: Job, piece: str) -> list[int]:
    ids = ids_of(await job.ask(TOKENIZE, job.form(prompt=piece, add_special_tokens=False)))
    if not ids:
        raise Unread("a piece of the text has no tokens")
    return ids


SKYWORK: Final = Shape(
    "process",
    "skywork-prm",
    "tokens",
    {"path": one_of("pooling", "embeddings"), "begin": anything("<|endoftext|>"), "sigmoid": flag(True)},
    _score,
)
