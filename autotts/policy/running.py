"""`autotts run`: a prompt, or a file of any length with prompts, answered by a policy."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import islice
from pathlib import Path
from typing import Any, Final

from autotts.core.cost import parse_amount
from autotts.errors import BackendError, InputError
from autotts.policy.answers import Answers, Watcher, as_dict, open_answers, written
from autotts.policy.opening import HERE, Where, opened
from autotts.policy.prompts import Prompts, open_prompts
from autotts.policy.schema import Policy
from autotts.policy.serving import Answered, Promptable, answer
from autotts.worlds.catalogue import session

__all__ = ["amounts", "answer_file", "as_dict", "run", "run_file"]

AT_ONCE: Final = 64  # prompts of a file
AHEAD: Final = 1024  # prompts that are begun or done and not written: so far a slow one holds up no other


def run(
    policy: Policy, prompt: str, *, where: Where = HERE, budget: str | None = None, cap: str | None = None
) -> Answered:
    """Answer one prompt by a policy, with fresh draws.

    Parameters
    ----------
    policy
        As `load_policy` gives it.
    prompt
        The bare text, without any template.
    where
        Where the policy's models answer.
    budget, cap
        Mean budget a prompt and hard limit, such as `1e9flops`, in the policy's unit; the policy's own by default.

    Raises
    ------
    InputError, BudgetError
        Before anything is drawn: a prompt that the models cannot read, or a budget below the cheapest arm.
    """
    mean, limit = amounts(policy.unit, budget, cap)

    async def one(world: Promptable) -> Answered:
        async with session(world):
            return await answer(policy, world, prompt, budget=mean, cap=limit)

    with opened(policy, where) as world:
        return asyncio.run(one(world))


def run_file(
    policy: Policy,
    source: Path,
    target: Path,
    *,
    where: Where = HERE,
    budget: str | None = None,
    cap: str | None = None,
    at_once: int = AT_ONCE,
    watch: Watcher | None = None,
) -> dict[str, Any]:
    """Answer every prompt of a file; answers are written in order as they come, and a second run goes on.

    The files may be of any length: neither is ever held in memory.

    Parameters
    ----------
    source
        JSON lines with the key `prompt` (`.jsonl`), or a prompt a line.
    target
        JSON lines, one for each prompt.
    where
        Where the policy's models answer.
    at_once
        Prompts that are answered at the same time.
    watch
        Told what is written so far, after each answer.

    Returns
    -------
    dict
        `prompts`, `answered` (with an answer), `cost` in parts of `unit`, of the whole output.
    """
    mean, limit = amounts(policy.unit, budget, cap)
    with opened(policy, where) as world:
        return answer_file(policy, world, source, target, mean=mean, limit=limit, at_once=at_once, watch=watch)


def answer_file(
    policy: Policy,
    world: Promptable,
    source: Path,
    target: Path,
    *,
    mean: float | None = None,
    limit: int | None = None,
    at_once: int = AT_ONCE,
    watch: Watcher | None = None,
) -> dict[str, Any]:
    """As `run_file`, in a world that is open; amounts are in parts of the policy's unit.

    Parameters
    ----------
    world
        Its `session()`, if it has one, is entered while prompts are answered.
    at_once
        Prompts that are answered at the same time.
    """
    if target.exists() and source.exists() and target.samefile(source):
        raise InputError(f"--output {target}: expected another file than --input, found the same")
    with open_prompts(source) as prompts:
        left = iter(prompts)
        tally, whole = written(target, left, policy)
        for number, prompt in enumerate(left, tally.prompts + 1):
            try:
                world.root(prompt)  # all can be read, before anything is spent
            except InputError as error:
                raise InputError(f"--input {source}, prompt {number}: {error}") from None
            if number == tally.prompts + 1:
                policy.route(prompt, mean)  # a budget that cannot be met is so for every prompt

        async def one(index: int, prompt: str) -> Answered:
            return await answer(policy, world, prompt, budget=mean, cap=limit, token=str(index))

        with open_answers(target, policy, tally, whole, watch) as answers:
            try:
                asyncio.run(_answer_all(world, prompts, answers, one, at_once))
            except BackendError as error:
                raise BackendError(
                    f"{error}; the answers to the first {tally.prompts} prompts are in {target}: run the same command "
                    "again to go on"
                ) from error
    return {
        "format": "autotts.answers/1",
        "prompts": tally.prompts,
        "answered": tally.answered,
        "cost": tally.cost,
        "unit": policy.unit,
        "output": str(target),
    }


async def _answer_all(
    world: Promptable,
    prompts: Prompts,
    answers: Answers,
    one: Callable[[int, str], Awaitable[Answered]],
    at_once: int,
) -> None:
    """Some prompts run at once, few are ahead of the last that is written, and each is written when its turn comes."""
    slots = asyncio.Semaphore(at_once)
    ahead: deque[asyncio.Task[Answered]] = deque()

    async def begun(index: int, prompt: str) -> Answered:
        try:
            return await one(index, prompt)
        finally:
            slots.release()

    begin = answers.tally.prompts
    try:
        async with session(world), asyncio.TaskGroup() as group:
            for index, prompt in enumerate(islice(prompts, begin, None), begin):
                if len(ahead) >= AHEAD:
                    await asyncio.wait(list(islice(ahead, 1)))
                await slots.acquire()
                _write_done(ahead, answers)
                ahead.append(group.create_task(begun(index, prompt)))
            while ahead:
                await asyncio.wait(list(islice(ahead, 1)))
                _write_done(ahead, answers)
    except BaseException as error:
        cause = _first(error)
        if not isinstance(cause, OSError):  # else the output is broken, and what is there stays as it is
            _write_done(ahead, answers)
        raise cause from None


def _write_done(ahead: deque[asyncio.Task[Answered]], answers: Answers) -> None:
    """Write the answers that are there, up to the first that is not."""
    while ahead and ahead[0].done() and not ahead[0].cancelled() and ahead[0].exception() is None:
        answers.write(ahead.popleft().result())


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


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
