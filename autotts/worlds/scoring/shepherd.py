"""Math-Shepherd: each step ends in the mark "ки"; where it stands, the next token is "+" or "-".

The form is that of the model card of peiyi9979/math-shepherd-mistral-7b-prm (Wang et al., 2312.08935): question and
answer are joined by a space, the lines `Step 1: ... ки` follow each other, and the score of a step is the softmax of
the logits of "+" (648) and "-" (387) at its mark (12902). A text completion with `echo` and log-probabilities says
these for all marks at once: the difference of two log-probabilities is that of their logits. `path = "pooling"` is for
servers that were set to pool those two logits at the marks (vLLM: `step_tag_id`, `returned_token_ids`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from autotts.worlds.scoring.asking import COMPLETIONS, Job, Unread, neutral, one_line, only, shares, steps_of
from autotts.worlds.scoring.pairs import preference
from autotts.worlds.scoring.rows import rows_at_marks
from autotts.worlds.scoring.shapes import SENT, TOP, Shape, count, flag, one_of, text

_NUMBERED: Final = re.compile(r"\s*step\s*\d", re.IGNORECASE)


def _input(job: Job) -> tuple[str, int]:
    """What the model reads, and how many marks are in it."""
    mark = job.options["mark"]
    steps = [one_line(step) for step in steps_of(job.text, mark)]
    if job.options["numbered"]:
        steps = [step if _NUMBERED.match(step) else f"Step {i}: {step}" for i, step in enumerate(steps, 1)]
    lines = "\n".join(f"{step} {mark}" for step in steps)
    return f"{neutral(job.text.prompt, mark)} {lines}", len(steps)


async def _score(job: Job) -> list[float]:
    whole, marks = _input(job)
    if job.options["path"] == "pooling":
        rows = await rows_at_marks(job, {"input": whole}, job.options["mark_id"], marks)
        return shares(rows, 0, job.options["sent"])
    top = job.options["top"]
    answer = await job.ask(
        COMPLETIONS,
        job.form(
            prompt=whole,
            max_tokens=1,
            temperature=0.0,
            echo=True,
            logprobs=top,
            return_tokens_as_token_ids=True,
        ),
    )
    return _read(job.options, only(answer, "choices").get("logprobs"), marks)


def _read(options: Mapping[str, Any], found: Any, marks: int) -> list[float]:
    """The score at each mark: what was said of the token after it."""
    tokens, tops = (found.get("tokens"), found.get("top_logprobs")) if isinstance(found, dict) else (None, None)
    if not isinstance(tokens, list) or not isinstance(tops, list) or len(tokens) != len(tops):
        raise Unread("expected tokens and top_logprobs of the whole prompt: the server may not know `echo`")
    names = {name: _names(options, name) for name in ("mark", "plus", "minus")}
    at = [i for i, token in enumerate(tokens[:-1]) if _same(token, names["mark"])]
    if len(at) != marks:
        raise Unread(f"expected {marks} marks in what was read, found {len(at)}")
    return [preference(tops[i + 1], names["plus"], names["minus"]) for i in at]


def _names(options: Mapping[str, Any], name: str) -> Sequence[str]:
    """What a token is called: by its id where the server does that, else by its text."""
    return f"token_id:{options[name + '_id']}", options[name]


def _same(token: Any, names: Sequence[str]) -> bool:
    return isinstance(token, str) and token.strip() in names


SHEPHERD: Final = Shape(
    "process",
    "math-shepherd",
    "words",
    {
        "path": one_of("completions", "pooling"),
        "mark": text("ки"),
        "plus": text("+"),
        "minus": text("-"),
        "mark_id": count(12902),
        "plus_id": count(648),
        "minus_id": count(387),
        "numbered": flag(True),
        "sent": SENT,
        "top": TOP,
    },
    _score,
)
