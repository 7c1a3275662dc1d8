"""`autotts run`: a prompt, or a file of prompts, answered by a policy on the embedded models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autotts.core.cost import Amount, parse_amount, show
from autotts.errors import InputError
from autotts.policy.schema import Policy
from autotts.policy.serving import Answered, Promptable, answer
from autotts.tasks import READERS
from autotts.worlds.tiny import open_tiny

AT_ONCE = 64  # prompts of a file


def run_one(path: Path, prompt: str, *, budget: str | None = None, cap: str | None = None) -> Answered:
    """Answer one prompt.

    Parameters
    ----------
    path
        The policy file.
    budget, cap
        Mean budget a prompt and hard limit, such as `1e9flops`; in the policy's unit.
    """
    policy = Policy.load(path)
    mean, limit = _amounts(policy, budget, cap)
    with opened(policy) as world:
        return asyncio.run(answer(policy, world, prompt, budget=mean, cap=limit))


def run_file(
    path: Path, source: Path, target: Path, *, budget: str | None = None, cap: str | None = None
) -> dict[str, Any]:
    """Answer every prompt of a file; answers are written in order as they come, and a second run goes on.

    Returns
    -------
    dict
        `prompts`, `answered` (with an answer) and `cost` (text), of the whole output.
    """
    policy = Policy.load(path)
    mean, limit = _amounts(policy, budget, cap)
    prompts = read_prompts(source)
    rows = _written(target, prompts)
    with opened(policy) as world:
        for prompt in prompts[len(rows) :]:
            world.root(prompt)  # all can be read, before anything is spent
        asyncio.run(_answer_all(policy, world, prompts, rows, target, mean, limit))
    cost = sum(row["cost"] for row in rows)
    answered = sum(row["answer"] is not None for row in rows)
    return {"prompts": len(rows), "answered": answered, "cost": show(cost, policy.unit)}


async def _answer_all(
    policy: Policy,
    world: Promptable,
    prompts: Sequence[str],
    rows: list[dict[str, Any]],
    target: Path,
    mean: float | None,
    limit: int | None,
) -> None:
    """A window of prompts runs at once; a line is written when it and all before it are done."""
    window = asyncio.Semaphore(AT_ONCE)

    async def one(index: int) -> Answered:
        async with window:
            return await answer(policy, world, prompts[index], budget=mean, cap=limit, token=str(index))

    try:
        with target.open("a", encoding="utf-8") as file:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(i)) for i in range(len(rows), len(prompts))]
                for task in tasks:
                    row = as_dict(await task)
                    file.write(json.dumps(row) + "\n")
                    file.flush()
                    rows.append(row)
    except OSError as error:
        raise InputError(f"--output {target}: cannot be written: {error.strerror}; give another file") from None


def as_dict(done: Answered) -> dict[str, Any]:
    """An answer as one JSON object."""
    return {
        "prompt": done.prompt,
        "answer": done.answer,
        "confidence": done.confidence,
        "arm": done.arm,
        "bin": done.bin,
        "draws": done.draws,
        "cost": done.cost,
        "unit": done.unit,
        "ended": done.ended,
        "tokens": {name: u.generated + u.cancelled for name, u in done.usage.items()},
    }


def read_prompts(source: Path) -> list[str]:
    """Prompts of a file: JSON lines with the key `prompt` (`.jsonl`), or a prompt a line."""
    try:
        lines = source.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"--input {source}: expected UTF-8, found a bad byte at {error.start}") from None
    except OSError as error:
        raise InputError(f"--input {source}: cannot be read: {error.strerror}") from None
    out: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        out.append(_prompt(line, f"--input {source}, line {number}") if source.suffix == ".jsonl" else line.strip())
    if not out:
        raise InputError(f"--input {source}: expected at least one prompt, found an empty file")
    return out


def _prompt(line: str, where: str) -> str:
    try:
        prompt = json.loads(line)["prompt"]
    except (ValueError, KeyError, TypeError):
        prompt = None
    if not isinstance(prompt, str) or not prompt.strip():
        raise InputError(f"{where}: expected a JSON object with a text `prompt`, found {line[:60]!r}")
    return prompt


def _written(target: Path, prompts: Sequence[str]) -> list[dict[str, Any]]:
    """What an earlier run wrote; a broken last line is dropped, and answers to other prompts are an error."""
    if not target.exists():
        return []
    rows: list[dict[str, Any]] = []
    lines = target.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate(lines):
        try:
            row = json.loads(line) if line.endswith("\n") else None
        except ValueError:
            row = None
        if row is None and number == len(lines) - 1:
            break
        if number >= len(prompts) or not isinstance(row, dict) or row.get("prompt") != prompts[number]:
            raise InputError(
                f"--output {target}, line {number + 1}: expected the answer to prompt {number + 1} of --input, found "
                "another file's line: give a new --output, or delete this one"
            )
        rows.append(row)
    if len(rows) < len(lines):
        target.write_text("".join(lines[: len(rows)]), encoding="utf-8")
    return rows


@contextmanager
def opened(policy: Policy) -> Iterator[Promptable]:
    """The embedded models that a policy uses; any other engine, or another revision, is an error."""
    for name, bound in {**policy.models, **policy.scorers}.items():
        engine = bound.binding.get("engine")
        if engine != "tiny":
            raise InputError(
                f"policy: {name!r} is bound to engine {engine!r}; this version runs the embedded models ('tiny') only"
            )
    reader = READERS.get(policy.task.reader)
    if reader is None:
        raise InputError(f"policy: unknown reader {policy.task.reader!r}; expected one of {', '.join(READERS)}")
    with open_tiny(tuple(policy.models), tuple(policy.scorers), read=reader, unit=policy.unit) as world:
        for name, bound in {**policy.models, **policy.scorers}.items():
            here = world.bindings[name].id
            if bound.binding.get("id") != here:
                raise InputError(
                    f"policy: {name!r} is {bound.binding.get('id')!r} there and {here!r} in this version of autotts: "
                    "its figures do not hold here; run autotts optimize again"
                )
        yield world


def _amounts(policy: Policy, budget: str | None, cap: str | None) -> tuple[float | None, int | None]:
    amounts: list[Amount | None] = [
        None if text is None else parse_amount(text, what) for text, what in ((budget, "--budget"), (cap, "--cap"))
    ]
    for amount, what in zip(amounts, ("--budget", "--cap")):
        if amount is not None and amount.unit != policy.unit:
            raise InputError(f"{what}: this policy counts in {policy.unit}, found {amount}")
    mean, limit = amounts
    return (None if mean is None else float(mean.parts)), (None if limit is None else limit.parts)
