"""`autotts run`: a prompt, or a file of prompts, answered by a policy on the embedded models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autotts.core.cost import parse_amount
from autotts.errors import InputError
from autotts.policy.files import write_atomic
from autotts.policy.schema import Policy
from autotts.policy.serving import Answered, Promptable, answer
from autotts.tasks import READERS
from autotts.worlds.tiny import Tiny, open_tiny

AT_ONCE = 64  # prompts of a file


def run(policy: Policy, prompt: str, *, budget: str | None = None, cap: str | None = None) -> Answered:
    """Answer one prompt by a policy, with fresh draws.

    Parameters
    ----------
    policy
        As `load_policy` gives it.
    prompt
        The bare text, without any template.
    budget, cap
        Mean budget a prompt and hard limit, such as `1e9flops`, in the policy's unit; the policy's own by default.

    Raises
    ------
    InputError, BudgetError
        Before anything is drawn: a prompt that the models cannot read, or a budget below the cheapest arm.
    """
    mean, limit = amounts(policy.unit, budget, cap)
    with opened(policy) as world:
        return asyncio.run(answer(policy, world, prompt, budget=mean, cap=limit))


def run_file(
    policy: Policy, source: Path, target: Path, *, budget: str | None = None, cap: str | None = None
) -> dict[str, Any]:
    """Answer every prompt of a file; answers are written in order as they come, and a second run goes on.

    Parameters
    ----------
    source
        JSON lines with the key `prompt` (`.jsonl`), or a prompt a line.
    target
        JSON lines, one for each prompt.

    Returns
    -------
    dict
        `prompts`, `answered` (with an answer), `cost` in parts of `unit`, of the whole output.
    """
    mean, limit = amounts(policy.unit, budget, cap)
    prompts = read_prompts(source)
    rows = _written(target, prompts, policy)
    with opened(policy) as world:
        for number, prompt in enumerate(prompts[len(rows) :], len(rows) + 1):
            try:
                world.root(prompt)  # all can be read, before anything is spent
            except InputError as error:
                raise InputError(f"--input {source}, prompt {number}: {error}") from None
            policy.route(prompt, mean)
        asyncio.run(_answer_all(policy, world, prompts, rows, target, mean, limit))
    return {
        "format": "autotts.answers/1",
        "prompts": len(rows),
        "answered": sum(row["answer"] is not None for row in rows),
        "cost": sum(row["cost"] for row in rows),
        "unit": policy.unit,
        "output": str(target),
    }


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
                    row = as_dict(await task) | {"policy": policy.digest}
                    file.write(json.dumps(row) + "\n")
                    file.flush()
                    rows.append(row)
    except OSError as error:
        raise _unwritable(target, error) from None
    except BaseExceptionGroup as errors:
        cause = _first(errors)
        raise (_unwritable(target, cause) if isinstance(cause, OSError) else cause) from None


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _unwritable(target: Path, error: OSError) -> InputError:
    return InputError(
        f"--output {target}: cannot be written: {error.strerror}; what is there is kept: make room or give another "
        "file, and run the same command again"
    )


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


def _written(target: Path, prompts: Sequence[str], policy: Policy) -> list[dict[str, Any]]:
    """What an earlier run wrote; a broken last line is dropped, and answers to other prompts are an error."""
    if not target.is_file():  # a device or a pipe has no earlier run in it
        return []
    try:
        lines = target.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--output {target}: expected answers of an earlier run, or no file: {error}") from None
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines):
        row: Any
        try:
            row = json.loads(line) if line.endswith("\n") else None
        except ValueError:
            row = None
        if row is None and number == len(lines) - 1:
            break
        fault = _foreign(row, prompts[number] if number < len(prompts) else None, policy)
        if fault:
            raise InputError(
                f"--output {target}, line {number + 1}: expected the answer of this policy to prompt {number + 1} of "
                f"--input, found {fault}: give a new --output, or delete this one"
            )
        rows.append(row)
    if len(rows) < len(lines):
        write_atomic(target, "".join(lines[: len(rows)]))
    return rows


def _foreign(row: Any, prompt: str | None, policy: Policy) -> str:
    """What is wrong with a line of an earlier run, if anything is."""
    if not isinstance(row, dict) or "answer" not in row or not isinstance(row.get("cost"), int):
        return "a line that is no answer"
    if row.get("prompt") != prompt:
        return "another prompt" if prompt is not None else "more lines than prompts"
    return "" if row.get("policy") == policy.digest else "the answer of another policy"


@contextmanager
def opened(policy: Policy, read: Callable[[str], str | None] | None = None) -> Iterator[Tiny]:
    """The embedded models that a policy uses; any other engine, or another revision, is an error."""
    bounds = {**policy.models, **policy.scorers}
    for name, bound in bounds.items():
        engine = bound.binding.get("engine")
        if engine != "tiny":
            raise InputError(
                f"policy: {name!r} is bound to engine {engine!r}; this version runs the embedded models ('tiny') only"
            )
    reader = read or READERS.get(policy.task.reader)
    if reader is None:
        raise InputError(f"policy: unknown reader {policy.task.reader!r}; expected one of {', '.join(READERS)}")
    with open_tiny(tuple(policy.models), tuple(policy.scorers), read=reader, unit=policy.unit) as world:
        for name, bound in bounds.items():
            here = world.bindings[name].id
            if bound.binding.get("id") != here:
                raise InputError(
                    f"policy: {name!r} is {bound.binding.get('id')!r} there and {here!r} in this version of autotts: "
                    "its figures do not hold here; run autotts optimize again"
                )
        yield world


def amounts(unit: str, budget: str | None, cap: str | None) -> tuple[float | None, int | None]:
    """Mean budget and cap in parts; another unit than the one that is counted in is an error."""
    parts: list[int | None] = []
    for text, what in ((budget, "--budget"), (cap, "--cap")):
        amount = None if text is None else parse_amount(text, what)
        if amount is not None and amount.unit != unit:
            raise InputError(f"{what}: expected an amount in {unit}, which is counted in here, found {amount}")
        parts.append(None if amount is None else amount.parts)
    mean, limit = parts
    return (None if mean is None else float(mean)), limit
