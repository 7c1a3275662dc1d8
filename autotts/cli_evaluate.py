"""`autotts evaluate`: a policy or a strategy, measured by fresh draws or on recorded answers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from autotts.cli_options import (
    BudgetOption,
    CapOption,
    JsonOption,
    ModelsOption,
    ParamsOption,
    PoolOption,
    ProbeOption,
    UnitOption,
    UnsafeOption,
    split,
)
from autotts.errors import InputError


def evaluate(
    policy: Annotated[Path | None, typer.Argument(help="A policy file.", metavar="POLICY")] = None,
    strategy: Annotated[
        str | None, typer.Option(help="One arm in place of a policy, such as 'vote(n=8, model=S)'.")
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="Name of a task, or a .jsonl, .csv or .parquet file.  [default: math]")
    ] = None,
    pool: PoolOption = None,
    models: ModelsOption = "",
    prompts: Annotated[
        int | None, typer.Option(help="Prompts a level, or in all where there are no levels.  [default: 50]", min=1)
    ] = None,
    budget: BudgetOption = None,
    cap: CapOption = None,
    controller: Annotated[
        str | None, typer.Option(help="on or off: whether a policy holds its mean budget on a pool.  [default: on]")
    ] = None,
    unit: UnitOption = None,
    params: ParamsOption = None,
    probe_tokens: ProbeOption = None,
    unsafe: UnsafeOption = False,
    seed: Annotated[int, typer.Option(help="Seed of the choice of prompts, and of orderings of a pool.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Measure a policy, or one strategy, on a task or a pool.

    On a task, the draws are fresh, and the prompts are none that a study searched or confirmed on. On a pool (--pool)
    nothing is drawn: an arm without a model is measured for every model of the pool, and a policy serves its prompts as
    a stream of requests.
    """
    from autotts.policy.schema import Policy
    from autotts.report.terminal import busy
    from autotts.search import command

    if (policy is None) == (strategy is None):
        raise InputError("evaluate: expected a policy file or --strategy, one of the two")
    allowed = split(models) or ()
    limits = command.Limits(budget, cap)
    if pool:
        for option, value in (("--task", task), ("--prompts", prompts)):
            if value is not None:
                raise InputError(f"evaluate: {option} is for a task; the prompts here are those of --pool")
        options = command.OnPool(tuple(pool), allowed, tuple(params or ()), unit, probe_tokens, controller)
        subject = (strategy or "") if policy is None else Policy.load(policy)
        with busy("measuring") as tell:
            found = command.evaluated_on_pool(subject, options, limits=limits, seed=seed, tell=tell)
        _show(found, as_json)
        return
    pool_only = {"--controller": controller, "--unit": unit, "--params": params, "--probe-tokens": probe_tokens}
    for option, given in pool_only.items():
        if given is not None and given != []:
            raise InputError(f"evaluate: {option} is for recorded answers; give them with --pool FILE")
    of = command.subject_of(strategy or "", allowed, os.environ) if policy is None else Policy.load(policy)
    with busy("measuring"):
        found = command.evaluated(
            of,
            task=task or "math",
            models=allowed,
            prompts=prompts or 50,
            limits=limits,
            seed=seed,
            environ=os.environ,
            unsafe=unsafe,
        )
    _show(found, as_json)


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(found))
        return
    from autotts.report.evaluations import pool_evaluation
    from autotts.report.lists import evaluation_table
    from autotts.report.terminal import say

    say(pool_evaluation(found) if "pool" in found else evaluation_table(found))
