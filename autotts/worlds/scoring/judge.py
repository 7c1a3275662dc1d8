"""A chat model as a judge: a score from 1 to 10, a preference between two answers, or constraints that are kept.

What is judged is fenced by a tag that its writer cannot know, control tokens in it are broken, and nothing of the
judge's answer is read but the verdict in the expected form. Scores follow "Judging LLM-as-a-judge" (2306.05685), with
its answer to a judge's liking for the first place: both orders are asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

from autotts.worlds.scoring import templates
from autotts.worlds.scoring.asking import CHAT, Job, Unread, neutral, only, together
from autotts.worlds.scoring.shapes import Option, Shape, anything, count, flag, text
from autotts.worlds.scoring.verdict import truths, verdict, whole
from autotts.worlds.servers.fault import REQUEST, Fault

_TRUTHS: Final = {"type": "array", "items": {"type": "boolean"}}
_SECOND_SEED: Final = 1 << 20  # of the other order


async def _score(job: Job) -> list[float]:
    words = templates.task(templates.SCORE, rubric=job.options["rubric"], done=job.text.done)
    kind = {"type": "integer", "minimum": 1, "maximum": 10}
    said = await _ask(job, words, {"Answer": job.text.text}, key="score", kind=kind, example='"score": <1 to 10>')
    return [(whole(said, 1, 10) - 1) / 9]


async def _compare(job: Job) -> list[float]:
    other = job.options["against"].replace("{prompt}", job.text.prompt)
    # Each order has half of the tokens, so that both together keep to the entry's bound.
    first, second = await together(
        [_prefer(job, job.text.text, other, job.seed), _prefer(job, other, job.text.text, job.seed + _SECOND_SEED)]
    )
    return [(first + 1.0 - second) / 2]


async def _prefer(job: Job, first: str, second: str, seed: int) -> float:
    """1 if the first is preferred, 0 if the second, a half for a tie."""
    words = templates.task(templates.COMPARE, rubric=job.options["rubric"], done=job.text.done)
    kind = {"type": "string", "enum": ["A", "B", "tie"]}
    texts = {"Answer A": first, "Answer B": second}
    said = await _ask(
        job, words, texts, key="better", kind=kind, example='"better": "A", "B" or "tie"', seed=seed, orders=2
    )
    worth = {"a": 1.0, "b": 0.0, "tie": 0.5}
    if not isinstance(said, str) or said.strip().lower() not in worth:
        raise Unread(f"expected A, B or tie, found {said!r:.40}")
    return worth[said.strip().lower()]


async def _constraints(job: Job) -> list[float]:
    listed = list(job.options["constraints"])
    words = templates.task(
        templates.CONSTRAINTS, rubric=job.options["rubric"], done=job.text.done, listed=[str(one) for one in listed]
    )
    kind = {**_TRUTHS, "minItems": len(listed), "maxItems": len(listed)}
    example = f'"kept": [<true or false, {len(listed)} in all>]'
    said = await _ask(job, words, {"Answer": job.text.text}, key="kept", kind=kind, example=example)
    return [sum(truths(said, len(listed))) / len(listed)]


async def _ask(
    job: Job,
    words: str,
    texts: Mapping[str, str],
    *,
    key: str,
    kind: Mapping[str, Any],
    example: str,
    seed: int | None = None,
    orders: int = 1,
) -> Any:
    """Put a question to the judge; its verdict on `key`, of whatever type it came in."""
    seed = job.seed if seed is None else seed
    reason = job.options["reason"]
    judged = {"Question": neutral(job.text.prompt)} | {name: neutral(one) for name, one in texts.items()}
    tag = blake2b("\0".join([str(seed), *judged.values()]).encode("utf-8", "replace"), digest_size=6).hexdigest()
    parts = [words, *(templates.fenced(name, one, tag) for name, one in judged.items())]
    parts.append(templates.asked_for(tag, example, reason=reason))
    messages = [
        {"role": "system", "content": templates.system(tag)},
        {"role": "user", "content": "\n\n".join(parts)},
    ]
    most = max(1, min(job.options["max_tokens"], job.entry.max_tokens // orders))
    fields = {"messages": messages, "temperature": job.options["temperature"], "max_tokens": most}
    form = job.form(**fields, **_thinking(job), seed=seed % 2**31)
    answer = await _with_schema(job, form, templates.form(tag, key, kind, reason=reason))
    message = only(answer, "choices").get("message")
    said = message.get("content") if isinstance(message, dict) else None
    if not isinstance(said, str):
        raise Unread("expected a message with text")
    return verdict(said, key, tag, list(judged.values()))


async def _with_schema(job: Job, form: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Ask for an answer under a schema; a server that refuses the request is asked without."""
    if job.options["schema"]:
        named = {"name": "verdict", "strict": True, "schema": schema}
        try:
            return await job.ask(CHAT, {**form, "response_format": {"type": "json_schema", "json_schema": named}})
        except Fault as fault:
            if fault.kind != REQUEST:
                raise
    return await job.ask(CHAT, form)


def _thinking(job: Job) -> dict[str, Any]:
    thinking = job.entry.thinking
    fields: dict[str, Any] = {}
    if thinking.enabled is not None:
        fields["chat_template_kwargs"] = {"enable_thinking": thinking.enabled}
    if thinking.effort is not None:
        fields["reasoning_effort"] = thinking.effort
    return fields


def _texts(found: Any) -> bool:
    return isinstance(found, list | tuple) and len(found) > 0 and all(isinstance(x, str) and x.strip() for x in found)


def _temperature(found: Any) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found <= 2


_OPTIONS: Final[Mapping[str, Option]] = {
    "rubric": anything(""),
    "reason": flag(True),
    "schema": flag(True),
    "temperature": Option(0.0, _temperature, "a number from 0 to 2"),
    "max_tokens": count(1024, 1),
}

SCORE: Final = Shape("judge", "score", "words", _OPTIONS, _score)
COMPARE: Final = Shape("judge", "compare", "words", {**_OPTIONS, "against": text("")}, _compare)
CONSTRAINTS: Final = Shape(
    "judge",
    "constraints",
    "words",
    {**_OPTIONS, "constraints": Option((), _texts, "a list of one or more texts")},
    _constraints,
)
