"""`autotts pool`: recorded answers, imported, checked, described and exported."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autotts.errors import InputError

if TYPE_CHECKING:
    from autotts.pools.formats.source import Placed, Source
    from autotts.pools.importing import Imported

pool_app = typer.Typer(
    help="Recorded answers: import, check, describe and export them.", no_args_is_help=True, rich_markup_mode=None
)

Logs = Annotated[
    list[Path],
    typer.Argument(help="Logs: of pools, lm-evaluation-harness, Inspect or OpenAI's form; or a study's folder."),
]
Files = Annotated[list[Path], typer.Argument(help="Files of recorded answers (.jsonl, .jsonl.gz, .parquet).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object; all else goes to stderr.")]


def _say(shown: Any, as_json: bool, data: Any) -> None:
    from autotts.report.terminal import say

    if as_json:
        print(json.dumps(data))
    else:
        say(shown)


@pool_app.command("import")
def import_(
    files: Logs,
    output: Annotated[Path, typer.Option(help="The pool to write (.jsonl, .jsonl.gz or .parquet).")],
    layout: Annotated[
        str | None,
        typer.Option(help="Of the files: pool, lm-eval, inspect, openai or study.  [default: seen from each file]"),
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model's name, where the files have none.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="What says whether a sample is right, where there are several (NAME[,FILTER]).")
    ] = None,
    params: Annotated[
        list[str] | None, typer.Option(help="A model's parameters, such as Qwen3-4B=4.02e9; may be repeated.")
    ] = None,
    reader: Annotated[
        str | None, typer.Option(help="Reads and grades outputs without an answer: math, choice, exact, arithmetic.")
    ] = None,
    answers: Annotated[
        Path | None, typer.Option(help="Gold answers: a .jsonl, .csv or .parquet file with prompt and answer.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Bring logs of answers into one pool.

    Reads files line by line, so that they may be of any size, and writes the pool only if all of it could be read.
    """
    from autotts.pools.formats import LAYOUTS
    from autotts.pools.importing import STUDY, Wanted, import_pool
    from autotts.pools.sizes import parse_sizes

    wanted = Wanted(layout, model, metric, parse_sizes(params or ()), reader, answers)
    with _counting("importing") as watch:
        done = import_pool(files, output, wanted, watch=watch, readers={**LAYOUTS, STUDY: _grown})
    _show_imported(done, as_json)


def _grown(source: Source) -> Placed:
    """The samples of a study; what reads them is loaded only where there is one."""
    from autotts.search.grown import read

    yield from read(source)


@pool_app.command()
def export(
    files: Files,
    output: Annotated[Path, typer.Option(help="The file to write (.parquet, .jsonl or .jsonl.gz).")],
    as_json: JsonOption = False,
) -> None:
    """Write pools into one file of another form; every key of every line is kept.

    Parquet needs an extra: pip install 'autotts-optimizer[parquet]'
    """
    from autotts.pools.export import export_pool

    with _counting("exporting") as watch:
        done = export_pool(files, output, watch=watch)
    data = {"output": str(done.output), "lines": done.lines, "seconds": round(done.seconds, 3)}
    _say(f"Wrote {done.lines:,} lines to {done.output} in {done.seconds:.1f} s", as_json, data)


@pool_app.command()
def check(files: Files, as_json: JsonOption = False) -> None:
    """Look for what would make figures of a pool false, and what figures it cannot give.

    Samples at the wrong prompts, copies, labels that contradict answers, mixed settings, limits, missing fields.
    Findings are no failure: the exit status is 0.
    """
    from autotts.pools.check import check as check_pool
    from autotts.report.pools import findings_table
    from autotts.report.terminal import busy

    with busy("checking"):
        found = check_pool(files).json()
    _say(findings_table(found), as_json, found)


@pool_app.command()
def stats(
    files: Files,
    models: Annotated[str, typer.Option(help="Models to describe, such as S,M.  [default: all]")] = "",
    as_json: JsonOption = False,
) -> None:
    """Describe a pool: accuracy, pass@k, majority@k, lengths and what is missing, of each model."""
    from dataclasses import asdict

    from autotts.estimate.describe import budget, describe
    from autotts.pools.load import load
    from autotts.report.pools import stats_table
    from autotts.report.terminal import busy, say

    chosen = [name.strip() for name in models.split(",") if name.strip()]
    with busy("reading"):
        pool = load(files, models=chosen)
        described = describe(pool)
    named = " ".join(f"--pool {shlex.quote(str(path))}" for path in files)
    following = [f"autotts optimize {named} --budget {budget(described, pool)}"]
    found = {
        "pool": pool.dataset,
        "files": [str(path) for path in files],
        "problems": len(pool.problems),
        "families": [asdict(one) for one in described],
        "notes": list(pool.notes),
        "next": following,
    }
    _say(stats_table(found), as_json, found)
    if not as_json:
        say("\n".join(["Next:", *(f"  {command}" for command in following)]))


@contextmanager
def _counting(what: str) -> Iterator[Callable[[int], None] | None]:
    """Shows how many lines were read and how fast, on stderr, where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    begun = time.perf_counter()
    with Console(stderr=True).status(what) as status:

        def watch(lines: int) -> None:
            speed = lines / max(time.perf_counter() - begun, 1e-9)
            status.update(f"{what}: {lines:,} lines, {speed:,.0f} lines/s")

        yield watch


def _show_imported(done: Imported, as_json: bool) -> None:
    """What was written, what it lacks, and what to do with it."""
    names = [f"{name} {count:,}" for name, count in done.models.items()]
    shown = [
        f"Wrote {done.lines:,} lines to {done.output} in {done.seconds:.1f} s "
        f"({done.lines / max(done.seconds, 1e-9):,.0f} lines/s)",
        f"Models: {', '.join(names[:6])}" + (f" and {len(names) - 6} more" if len(names) > 6 else ""),
        *(f"Note: {note}" for note in done.notes),
    ]
    if done.lacks:
        shown.append("Not recorded:")
    for lack in done.lacks:
        where = "in no line" if lack.lines == done.lines else f"not in {lack.lines:,} of {done.lines:,} lines"
        shown.append(f"  {lack.field} ({where}): rules out {lack.off}; {lack.remain}")
    following = _following(done)
    shown += ["Next:", *(f"  {command}" for command in following)]
    data = {
        "output": str(done.output),
        "lines": done.lines,
        "seconds": round(done.seconds, 3),
        "layouts": dict(done.layouts),
        "models": dict(done.models),
        "lacks": [
            {"field": lack.field, "lines": lack.lines, "off": lack.off, "remain": lack.remain} for lack in done.lacks
        ],
        "notes": list(done.notes),
        "next": following,
    }
    _say("\n".join(shown), as_json, data)


def _following(done: Imported) -> list[str]:
    """The commands that come next."""
    path = shlex.quote(str(done.output))
    return [
        f"autotts pool check {path}",
        f"autotts pool stats {path}",
        f"autotts optimize --pool {path}",
    ]


def optimize_on_pool(
    command: str,
    given: dict[str, Any],
    params: Sequence[str],
    unit: str,
    out: Path | None,
    storage: str | None,
    shown: tuple[Path | None, bool, bool],
) -> None:
    """`optimize --pool`: everything is recorded, so there is nothing to resume and no search budget."""
    from autotts import api
    from autotts.report.terminal import stages
    from autotts.search import pool_job

    study, quiet, as_json = shown
    foreign = sorted({"search_budget", "timeout", "proposer", "pruning", "start", "task"} & set(given)) + (
        ["study"] if study else []
    )
    if foreign:
        named = ", ".join("--" + name.replace("_", "-") for name in foreign)
        raise InputError(f"optimize --pool: {named} is for studies that draw; recorded answers need none: leave it out")
    job = pool_job.prepared(given, sizes=params, unit=unit, out=out, url=storage, command=command)
    with stages(quiet) as tell:
        found = api.pool_study(job, tell)
    if as_json:
        print(json.dumps(found.result))
    elif not quiet:
        show_pool_result(found.result, found.out)


def show_pool_result(result: dict[str, Any], out: Path) -> None:
    """The table of a study of a pool, and the commands that come next: its policy draws nothing."""
    from autotts.report.tables import result_table
    from autotts.report.terminal import say

    say(result_table(result))
    policy = shlex.quote(str(out / "policy.json"))
    say("")
    say(f"Wrote {out / 'policy.json'}, result.json and report.html. Next:")
    say(f"  autotts evaluate {policy} --pool OTHER.jsonl    # how it does on prompts that it was not made from")
    say(f"  autotts policy show {policy}    # who gets what, and how to serve it with models that answer")
    say(f"  autotts report {shlex.quote(str(out))}")
    say(f"  autotts dashboard {shlex.quote(str(out))}")
