"""`autotts run`: a prompt, or a file of prompts, answered by a policy."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from autotts.cli_options import BudgetOption, CapOption, JsonOption, split, upstream_key
from autotts.errors import InputError


def run(
    policy: Annotated[Path, typer.Argument(help="A policy file.", metavar="POLICY")],
    prompt: Annotated[str | None, typer.Argument(help="The prompt, such as 'solve: 12+3*4'.", metavar="PROMPT")] = None,
    source: Annotated[
        Path | None, typer.Option("--input", help="Prompts: a line each, or JSON lines with `prompt` (.jsonl).")
    ] = None,
    target: Annotated[
        Path | None, typer.Option("--output", help="Where the answers are written, as JSON lines.")
    ] = None,
    models: Annotated[
        str, typer.Option("--models", help="A models.toml that says where the policy's models answer.")
    ] = "",
    upstream: Annotated[
        str | None, typer.Option(help="Or one address that serves them all, such as http://localhost:8000/v1.")
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option("--upstream-key-file", "--api-key-file", help="The key of --upstream, on one line."),
    ] = None,
    budget: BudgetOption = None,
    cap: CapOption = None,
    at_once: Annotated[int, typer.Option(help="Prompts of a file that are answered at the same time.", min=1)] = 64,
    as_json: JsonOption = False,
) -> None:
    """Answer a prompt, or a file of prompts, by a policy.

    Says which arm was used and what it cost. With --input, the same command again goes on where it ended.
    """
    from autotts.policy import running
    from autotts.policy.opening import where
    from autotts.policy.schema import Policy
    from autotts.report.terminal import busy, say

    if (prompt is None) == (source is None):
        raise InputError("run: expected a prompt or --input FILE, one of the two")
    if (source is None) != (target is None):
        raise InputError("run: expected --input FILE and --output FILE together")
    chosen = Policy.load(policy)
    place = where(split(models) or (), upstream, upstream_key(key_file, upstream, os.environ), os.environ)
    if source is None or target is None:
        answer = running.run(chosen, str(prompt), where=place, budget=budget, cap=cap)
        if as_json:
            print(json.dumps(running.as_dict(answer)))
        else:
            from autotts.report.lists import Answer, answer_table

            shown = Answer(
                answer.answer,
                answer.arm,
                answer.draws,
                answer.cost,
                answer.unit,
                level=answer.bin,
                ended=None if answer.ended == "returned" else answer.ended,
                problem=answer.problem,
            )
            say(answer_table(shown))
        return
    with busy("answering") as tell:
        done = running.run_file(
            chosen,
            source,
            target,
            where=place,
            budget=budget,
            cap=cap,
            at_once=at_once,
            watch=lambda tally: tell(tally.prompts, 0),
        )
    if as_json:
        print(json.dumps(done))
    else:
        from autotts.report.lists import answers_table

        say(answers_table(done))
