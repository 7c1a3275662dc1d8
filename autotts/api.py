"""What `from autotts import ...` offers: each function does what the command of its name does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from autotts.core.progress import Watcher
from autotts.core.strategy import Strategy
from autotts.policy import opening, running
from autotts.policy.opening import HERE, Where
from autotts.policy.schema import Policy
from autotts.policy.serving import Answered
from autotts.search import command
from autotts.search.agents import AgentOptions
from autotts.search.command import Job, Limits
from autotts.search.measuring import Tell
from autotts.search.optimize import Found
from autotts.search.pool_job import PoolJob
from autotts.search.pool_recipe import PoolRecipe
from autotts.search.recipe import Recipe

T = TypeVar("T")


def optimize(
    recipe: Recipe,
    *,
    out: str | Path | None = None,
    name: str = "",
    storage: str | None = None,
    watch: Watcher | None = None,
    agent: AgentOptions | None = None,
    environ: Mapping[str, str] | None = None,
    allow_unsafe_code: bool = False,
) -> Found:
    """Search for the best way to spend a budget, confirm it on held-out prompts, write a policy file.

    The same call on the same folder goes on with what is there; no finished draw is made again.

    Parameters
    ----------
    recipe
        The task, the models, the budget and how thoroughly to search.
    out
        Folder for `policy.json`, `result.json`, `report.html` and `autotts.db`; `runs/<name>` by default.
    name
        Of the study; the task's by default.
    storage
        SQLAlchemy URL of the database; a file in `out` by default.
    watch
        Called with a `Snapshot` as the study goes on.
    agent
        The language model that proposes arms, where the recipe's `proposer` names "agent".
    environ
        Where the keys are that a models.toml among the recipe's models names by `key_env`, such as `os.environ`.
    allow_unsafe_code
        Run programs that models write without a sandbox, where there is none.

    Returns
    -------
    Found
        `result` (as in result.json), `policy`, and `out`.

    Raises
    ------
    InputError
        Something given is wrong; told before anything is drawn.
    BudgetError
        The budget is below the cheapest arm, or the target above the best; what was drawn is kept.
    StoreError
        The database cannot be used; what was committed is kept.

    Examples
    --------
    >>> from autotts import Recipe, optimize
    >>> found = optimize(Recipe(task="math", budget="200Mflops"))  # doctest: +SKIP
    >>> found.result["accuracy"]  # doctest: +SKIP
    {'value': 0.93, 'low': 0.91, 'high': 0.95}
    """
    job = command.prepared(recipe, out=out, name=name, storage=storage, environ=environ or {}, unsafe=allow_unsafe_code)
    job = replace(job, agent=agent)
    return study(job, watch)


def study(job: Job, watch: Watcher | None = None) -> Found:
    """Run a study that is ready to run, or go on with it, and write its report."""
    found = _apart(lambda: job.run(watch))
    from autotts.report.page import write_page

    write_page(found.result, found.out / "report.html")
    return found


def optimize_pool(recipe: PoolRecipe, *, out: str | Path | None = None, storage: str | None = None) -> Found:
    """Choose a policy from recorded answers; nothing is drawn, and its figures are cross-fitted.

    Parameters
    ----------
    recipe
        The pools, the models and the budget.
    out
        Folder for `policy.json`, `result.json`, `report.html` and `autotts.db`; `runs/<pool>` by default.
    storage
        SQLAlchemy URL of the database that holds Optuna's study; a file in `out` by default.

    Raises
    ------
    InputError, BudgetError, StoreError
        As `optimize`.

    Examples
    --------
    >>> from autotts import PoolRecipe, optimize_pool
    >>> found = optimize_pool(PoolRecipe(("old-samples.jsonl.gz",), budget="1e15flops"))  # doctest: +SKIP
    >>> found.result["verdict"]  # doctest: +SKIP
    'Adapting to the prompt does not pay here ...'
    """
    name = Path(recipe.pools[0]).name.split(".")[0]
    job = PoolJob(recipe, name, Path(out) if out else Path("runs") / name, storage, "")
    return pool_study(job, lambda what, done, total: None)


def pool_study(job: PoolJob, tell: Tell) -> Found:
    """Run a study on recorded answers, and write its report; nothing is drawn."""
    found = job.run(tell)
    from autotts.report.page import write_page

    write_page(found.result, found.out / "report.html")
    return found


def load_policy(path: str | Path) -> Policy:
    """Read and validate a policy file.

    Raises
    ------
    InputError
        It names the file, the place in it, what was expected and what was found.
    """
    return Policy.load(path)


def parse_arm(text: str) -> Strategy:
    """One arm from its text: a strategy with its knobs, read by a small grammar and never executed.

    Examples
    --------
    >>> from autotts import parse_arm
    >>> parse_arm("vote(n=8, model=S)").n
    8
    """
    return command.subject_of(text, ())


def run(
    policy: Policy, prompt: str, *, where: Where = HERE, budget: str | None = None, cap: str | None = None
) -> Answered:
    """Answer one prompt by a policy, with fresh draws.

    Parameters
    ----------
    prompt
        The bare text, without any template.
    where
        Where the policy's models answer: `models_at(...)`; the embedded ones are here.
    budget, cap
        Mean budget a prompt and the most that this one may cost, such as `1e9flops`, in the policy's unit; the
        policy's own by default.

    Returns
    -------
    Answered
        The answer, the arm that gave it, and what it cost in parts of the policy's unit.

    Raises
    ------
    InputError
        The models of the policy cannot read the prompt.
    BudgetError
        The budget is below the cheapest arm; the message names it and its cost.

    Examples
    --------
    >>> from autotts import load_policy, run
    >>> run(load_policy("runs/math/policy.json"), "solve: 12+3*4").answer  # doctest: +SKIP
    '24'
    """
    return _apart(lambda: running.run(policy, prompt, where=where, budget=budget, cap=cap))


def models_at(
    models: str | Path | None = None,
    *,
    upstream: str | None = None,
    key: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Where:
    """Where a policy's models answer: those of a models.toml, or one address that serves them all.

    Parameters
    ----------
    models
        A models.toml.
    upstream, key
        An address such as http://localhost:8000/v1, and the key that it wants.
    environ
        Where the keys are that a models.toml names by `key_env`, such as `os.environ`.

    Examples
    --------
    >>> from autotts import load_policy, models_at, run
    >>> policy = load_policy("runs/mine/policy.json")  # doctest: +SKIP
    >>> run(policy, "What is 3 + 4?", where=models_at("models.toml")).text  # doctest: +SKIP
    '3 + 4 = 7 ...'
    """
    return opening.where(() if models is None else (str(models),), upstream, key, environ or {})


def run_file(
    policy: Policy,
    source: str | Path,
    target: str | Path,
    *,
    where: Where = HERE,
    budget: str | None = None,
    cap: str | None = None,
    at_once: int = running.AT_ONCE,
) -> dict[str, Any]:
    """Answer every prompt of a file, in order, into JSON lines; a second run goes on where the first ended.

    Parameters
    ----------
    source
        JSON lines with the key `prompt` (`.jsonl`), or a prompt a line.
    target
        Where the answers are written.
    where
        Where the policy's models answer: `models_at(...)`.
    at_once
        Prompts that are answered at the same time.

    Returns
    -------
    dict
        `prompts`, `answered`, `cost` in parts of `unit`.
    """
    paths = Path(source), Path(target)
    return _apart(lambda: running.run_file(policy, *paths, where=where, budget=budget, cap=cap, at_once=at_once))


def evaluate(
    subject: Policy | Strategy,
    *,
    task: str = "math",
    models: Sequence[str] = (),
    prompts: int = 50,
    budget: str | None = None,
    cap: str | None = None,
    seed: int = 0,
    environ: Mapping[str, str] | None = None,
    allow_unsafe_code: bool = False,
) -> dict[str, Any]:
    """Measure a policy, or one arm, on a task's test prompts, with fresh draws.

    Parameters
    ----------
    subject
        What `load_policy` or `parse_arm` gives.
    task
        Name of a task, or a file of prompts and answers.
    models
        Models that may be used, or a models.toml; all embedded ones by default.
    environ
        Where the keys are that a models.toml names by `key_env`.
    allow_unsafe_code
        Run programs that models write without a sandbox, where there is none.
    prompts
        Test prompts a level, or in all for a task without levels.
    budget, cap
        Mean budget a prompt (of a policy) and the most that one prompt may cost.

    Returns
    -------
    dict
        `accuracy` and `cost` with 95 % intervals over prompts, and the same by level.
    """
    return _apart(
        lambda: command.evaluated(
            subject,
            task=task,
            models=tuple(models),
            prompts=prompts,
            limits=Limits(budget, cap),
            seed=seed,
            environ=environ or {},
            unsafe=allow_unsafe_code,
        )
    )


def evaluate_pool(
    subject: Policy | str,
    pools: Sequence[str | Path],
    *,
    models: Sequence[str] = (),
    params: Sequence[str] = (),
    unit: str | None = None,
    budget: str | None = None,
    cap: str | None = None,
    controller: str | None = None,
    probe_tokens: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure a policy, or arms, on recorded answers; nothing is drawn.

    Parameters
    ----------
    subject
        What `load_policy` gives, or the text of an arm; one without a model stands for an arm of each model, and a
        temperature that is not written is that of the pool.
    pools
        Files of recorded answers; several are one pool.
    models, params
        Models to use (all by default), and parameters that the files do not say, such as `Qwen3-4B=4.02e9`.
    unit
        What an arm's costs are counted in: flops if that is known, else tokens, else calls.
    budget, cap
        Mean budget a prompt (of a policy) and the most that one prompt may cost.
    controller
        "on" (a policy holds its mean budget over the stream of prompts, the default) or "off".
    probe_tokens
        What a probe generates, which pools do not record.

    Returns
    -------
    dict
        `accuracy`, `cost`, `tokens`, `sequential_tokens` and `notes`; of several arms, a list of these as `arms`.
    """
    options = command.OnPool(
        tuple(Path(path) for path in pools), tuple(models), tuple(params), unit, probe_tokens, controller
    )
    return command.evaluated_on_pool(subject, options, limits=Limits(budget, cap), seed=seed)


def _apart(work: Callable[[], T]) -> T:
    """Run where no event loop is running: in a thread of its own, if the caller (a notebook) is inside one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()
