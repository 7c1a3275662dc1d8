"""`autotts models`: which models there are, whether they answer and what they can, and how fast they are."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from autotts.cli_options import JsonOption, split
from autotts.errors import AutottsError, InputError

if TYPE_CHECKING:
    from autotts.search.abilities import Checked
    from autotts.search.speeds import Measured
    from autotts.worlds.models.entry import Entry

models_app = typer.Typer(
    help="List models, check that they answer, measure their speed.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

LONG: Final = 600.0  # seconds of a measurement from which it is asked whether to go on

FileArgument = Annotated[Path, typer.Argument(help="A file of models, such as models.toml.")]
NamesOption = Annotated[str, typer.Option("--models", help="Some of its models, such as small,prm.  [default: all]")]


@models_app.command("list")
def list_models(
    models: Annotated[
        Path | None, typer.Option("--models", help="A file of models.  [default: the embedded models]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the embedded models, with what one draw of each gets right by level, or the models of a file."""
    from autotts.report.terminal import say

    if models is None:
        from autotts.report.lists import Card, models_table
        from autotts.worlds.tiny import shelf

        print(json.dumps({"models": shelf()})) if as_json else say(models_table([Card(**entry) for entry in shelf()]))
        return
    rows = [_declared(entry) for entry in _entries(models, "").values()]
    if as_json:
        print(json.dumps({"models": rows}))
        return
    from autotts.report.models import declared_table

    say(declared_table(rows))
    _next([f"autotts models check {shlex.quote(str(models))}"])


@models_app.command()
def check(
    file: FileArgument,
    models: NamesOption = "",
    task: Annotated[
        str, typer.Option("--task", help="Judge the scorers too, by graded draws on this task (a name or a file).")
    ] = "",
    prompts: Annotated[int, typer.Option(help="Prompts of --task to judge scorers by, 4 draws on each.", min=1)] = 16,
    seed: Annotated[int, typer.Option(help="Seed of which prompts of --task are taken.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Ask each model once, and say what its servers can and what is switched off by what they cannot.

    Each server of a model is asked by itself: a short draw or a score, then about 15 small requests. Where one does not
    answer, the others are checked all the same. The exit code is 0 if all answer, 4 if a server is down, 2 if one
    refuses what the file says (its key, its model).
    """
    from autotts.report.models import checked_table, judged_table
    from autotts.report.terminal import busy, say
    from autotts.search.abilities import check_all, failed

    entries = _entries(file, models)
    if task:
        _check_task(task, entries)
    with busy("asking") as tell:
        rows = asyncio.run(check_all(list(entries.values()), tell))
    if not as_json:
        say(checked_table([row.as_dict() for row in rows]))
    code, judged = failed(rows), []
    if task:
        try:
            judged = _judged(rows, entries, task, prompts=prompts, seed=seed)
        except AutottsError as error:
            print(f"autotts: {error}", file=sys.stderr)
            code = code or error.exit_code
    following = _after_check(file, rows, entries, task)
    if as_json:
        print(json.dumps({"models": [row.as_dict() for row in rows], "scorers": judged, "next": following}))
    else:
        if judged:
            say(judged_table(judged))
        _next(following)
    raise typer.Exit(code)


@models_app.command()
def measure(
    file: FileArgument,
    models: NamesOption = "",
    batch: Annotated[
        int, typer.Option(help="Draws that usually run side by side: what prices in seconds are made for.", min=1)
    ] = 32,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a long measurement.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure how fast models are where they answer, and write it into the file, so that budgets in seconds hold.

    Times draws of several lengths, alone and side by side, on new prompts that no cache knows; says before what that
    will take. Let nothing else run on the servers meanwhile. Of a model with several servers the first is measured.
    """
    from autotts.report.models import measured_table
    from autotts.report.terminal import say
    from autotts.search.speeds import failed
    from autotts.search.timing import brief

    entries = _entries(file, models)
    found: list[Measured | AutottsError] = []
    shown: list[dict[str, Any]] = []
    for entry in entries.values():
        result = _measured(entry, file, batch=batch, ask=not yes and sys.stdin.isatty())
        found.append(result)
        if isinstance(result, AutottsError):
            print(f"autotts: {brief(result)}", file=sys.stderr)
            shown.append({"model": entry.name, "problem": brief(result)})
            continue
        shown.append(result.as_dict())
        if not as_json:
            say(measured_table(shown[-1]))
            say("")
    done = [result.model for result in found if not isinstance(result, AutottsError)]
    following = [_optimize(file, "TASK", "2s")] if done else [f"autotts models check {shlex.quote(str(file))}"]
    if as_json:
        print(json.dumps({"models": shown, "file": str(file), "written": done, "next": following}))
    else:
        if done:
            say(f"Wrote the speed of {', '.join(done)} into {file}.")
        _next(following)
    raise typer.Exit(failed(found))


def _measured(entry: Entry, file: Path, *, batch: int, ask: bool) -> Measured | AutottsError:
    """Measure one model and write its speed down; an error is given back, so that the others are measured."""
    from autotts.report.models import expected_words
    from autotts.report.terminal import busy, say
    from autotts.search.speeds import Expected, measure, sizes_of
    from autotts.worlds.models.write import write_latency

    with ExitStack() as stack:

        def tell(expected: Expected) -> Callable[[int, int], None]:
            say(expected_words(expected), sys.stderr)
            if ask and expected.seconds > LONG:
                typer.confirm("This takes more than ten minutes. Go on?", abort=True, err=True)
            return stack.enter_context(busy(f"measuring {entry.name}"))

        try:
            result = asyncio.run(measure(entry, sizes_of(entry, batch), seed=secrets.randbits(64), tell=tell))
        except AutottsError as error:
            return error
    try:
        write_latency(file, entry.name, result.latency)
    except AutottsError as error:
        return error
    return result


def _entries(file: Path, models: str) -> dict[str, Entry]:
    """The models of a file, or some of them."""
    from autotts.worlds.models.read import read_models

    entries = read_models(file, os.environ)
    names = split(models) or tuple(entries)
    for name in names:
        if name not in entries:
            raise InputError(f"--models: expected some of {', '.join(entries)} of {file}, found {name!r}")
    return {name: entries[name] for name in names}


def _declared(entry: Entry) -> dict[str, Any]:
    from autotts.search.abilities import where_of

    card = entry.card
    return {
        "name": entry.name,
        "engine": entry.engine,
        "role": "draws" if entry.draws else "scores",
        "served": entry.served,
        "parameters": card.parameters,
        "active_parameters": card.active_parameters,
        "context": entry.context,
        "max_tokens": entry.max_tokens,
        "usd_prompt": card.usd_prompt,
        "usd_cached": card.usd_cached,
        "usd_generated": card.usd_generated,
        "latency": None if card.latency is None else asdict(card.latency),
        "where": list(where_of(entry)),
    }


def _check_task(task: str, entries: Mapping[str, Entry]) -> None:
    """See that scorers can be judged, before anything is asked."""
    from autotts.search.suited_scorers import trial_of

    for what, there in (("model that draws", True), ("scorer", False)):
        if all(entry.draws is not there for entry in entries.values()):
            raise InputError(
                f"--task judges scorers by draws: expected a {what} among {', '.join(entries)}, found none"
            )
    trial_of(task, "", (), prompts=1, seed=0)


def _judged(
    rows: Sequence[Checked], entries: Mapping[str, Entry], task: str, *, prompts: int, seed: int
) -> list[dict[str, Any]]:
    """Judge the scorers that answer, by draws of the first model that does."""
    from autotts.report.terminal import busy, say
    from autotts.search.abilities import ANSWERS
    from autotts.search.suited_scorers import judge, trial_of

    bad = {row.model for row in rows if row.state != ANSWERS}
    able = [name for name in entries if name not in bad]
    drawing = [name for name in able if entries[name].draws]
    scoring = [name for name in able if not entries[name].draws]
    if not drawing or not scoring:
        raise InputError("--task: no scorer was judged, as this needs a model that draws and a scorer that answer")
    trial = trial_of(task, drawing[0], scoring, prompts=prompts, seed=seed)
    say(f"\n{trial.words}", sys.stderr)
    with busy("judging scorers") as tell:
        return [one.as_dict() for one in asyncio.run(judge(trial, entries, seed=seed, tell=tell))]


def _after_check(file: Path, rows: Sequence[Checked], entries: Mapping[str, Entry], task: str) -> list[str]:
    """The next useful commands."""
    from autotts.search.abilities import ANSWERS

    if any(row.state != ANSWERS for row in rows):
        return [f"autotts models check {shlex.quote(str(file))}"]
    drawing = [entry for entry in entries.values() if entry.draws]
    out = []
    if drawing:
        sized = all(entry.card.parameters for entry in entries.values())
        out.append(_optimize(file, task or "TASK", "1e14flops" if sized else "2ktokens"))
    if any(entry.card.latency is None for entry in drawing):
        out.append(f"autotts models measure {shlex.quote(str(file))}")
    return out


def _optimize(file: Path, task: str, budget: str) -> str:
    named = task if task == "TASK" else shlex.quote(task)
    return f"autotts optimize --task {named} --models {shlex.quote(str(file))} --budget {budget}"


def _next(commands: Sequence[str]) -> None:
    from autotts.report.terminal import say

    if commands:
        say("\n".join(["", "Next:", *(f"  {command}" for command in commands)]))
