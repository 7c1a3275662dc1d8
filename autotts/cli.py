"""The command line: arguments in, messages and files out. Each command loads what it needs when it runs."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from autotts import __version__
from autotts.cli_evaluate import evaluate
from autotts.cli_fake import fake_server
from autotts.cli_models import models_app
from autotts.cli_options import (
    AgentKeyOption,
    AgentModelOption,
    AgentOption,
    AgentParamsOption,
    AgentPriceOption,
    AgentWithoutOption,
    BudgetOption,
    CapOption,
    JsonOption,
    ModelsOption,
    ParamsOption,
    PoolOption,
    ProbeOption,
    ProposerOption,
    PruningOption,
    StartOption,
    UnitOption,
    UnsafeOption,
    WithoutOption,
    split,
)
from autotts.cli_policy import policy_app
from autotts.cli_pool import optimize_on_pool, pool_app, show_pool_result
from autotts.cli_recommend import distil, recommend
from autotts.cli_run import run
from autotts.cli_serve import serve
from autotts.errors import AutottsError, BackendError, InputError

if TYPE_CHECKING:
    from autotts.search.command import Job
    from autotts.search.optimize import Found

app = typer.Typer(
    name="autotts",
    help="Finds, for your prompts and your models, the cheapest way to spend test-time compute, and serves it.",
    epilog="Begin with: autotts optimize --task math --budget 1e15flops",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

TaskOption = Annotated[
    str, typer.Option("--task", help="Name of a task (see `autotts tasks`), or a .jsonl, .csv or .parquet file.")
]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"autotts {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def optimize(
    context: typer.Context,
    task: TaskOption = "",
    models: ModelsOption = "",
    budget: BudgetOption = None,
    target: Annotated[float | None, typer.Option(help="Accuracy to reach, such as 0.9, in place of a budget.")] = None,
    cap: CapOption = None,
    search_budget: Annotated[
        str | None, typer.Option(help="The most that the whole study may spend, such as 1e12flops.")
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(help="Arms to race, over all levels; of a pool: staged votes to try.  [default: 120; 2000]"),
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which the search ends, at a round.")] = None,
    strategies: Annotated[
        str, typer.Option(help="Strategies to try, such as one,vote (see `autotts strategies`).  [default: all]")
    ] = "",
    proposer: ProposerOption = None,
    pruning: PruningOption = "",
    start: StartOption = None,
    agent: AgentOption = None,
    agent_model: AgentModelOption = "",
    agent_params: AgentParamsOption = None,
    agent_price: AgentPriceOption = None,
    agent_key_file: AgentKeyOption = None,
    agent_without: AgentWithoutOption = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything that is random.  [default: 0]")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for what is written.  [default: runs/<study>]")] = None,
    storage: Annotated[
        str | None, typer.Option(help="SQLAlchemy URL of the database.  [default: autotts.db in --out]")
    ] = None,
    study: Annotated[Path | None, typer.Option(help="A study.toml; options that are given here win.")] = None,
    pool: PoolOption = None,
    without: WithoutOption = None,
    params: ParamsOption = None,
    unit: UnitOption = None,
    probe_tokens: ProbeOption = None,
    unsafe: UnsafeOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a long study.")] = False,
    as_json: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No estimate, no progress and no table.")] = False,
) -> None:
    """Find the best way to spend a budget, and write a policy.

    Searches on some prompts, confirms on others, and writes policy.json, result.json and report.html. The same
    command again goes on with a study that was interrupted.

    With --pool nothing is drawn: every arm that recorded answers can tell of is measured on them, and the policy is
    judged on prompts that its choice did not see.
    """
    from autotts import api
    from autotts.search import command
    from autotts.search.agents import AgentOptions

    given = {
        "task": task or None,
        "models": split(models),
        "budget": budget,
        "target": target,
        "cap": cap,
        "search_budget": search_budget,
        "trials": trials,
        "timeout": timeout,
        "proposer": proposer,
        "pruning": () if pruning == "none" else split(pruning),
        "start": start,
        "strategies": split(strategies),
        "seed": seed,
    }
    chosen = {k: v for k, v in given.items() if v is not None}
    if pool:
        extra = {"pools": tuple(map(str, pool)), "without": tuple(without or ()), "probe_tokens": probe_tokens or 0}
        optimize_on_pool(
            _said(context.obj), chosen | extra, params or [], unit or "", out, storage, (study, quiet, as_json)
        )
        return
    said = _said(context.obj)
    job = command.job(chosen, study, out, storage, command=said, environ=os.environ, unsafe=unsafe)
    if agent:
        options = AgentOptions(
            agent, agent_model, agent_params, agent_price, agent_key_file, tuple(agent_without or ())
        )
        job = command.with_agent(job, options)
    if not quiet:
        _estimate(job, ask=not yes and sys.stdin.isatty())
    with _watching(quiet) as watch:
        found: Found = api.study(job, watch)
    if as_json:
        print(json.dumps(found.result))
    elif not quiet:
        _show_result(found.result, found.out, job.recipe.task, job.models.where)


def _estimate(job: Job, ask: bool) -> None:
    """Say what a study will take; ask before a long one."""
    from autotts.report.lists import Estimate, estimate_table

    expected = job.expected()
    _say(estimate_table(Estimate(**expected)), sys.stderr)
    if ask and (expected["seconds"] is None or expected["seconds"] > LONG):
        long = "This asks servers" if expected["seconds"] is None else "This takes more than ten minutes"
        typer.confirm(f"{long}. Go on?", abort=True, err=True)


@contextmanager
def _watching(quiet: bool) -> Iterator[Any]:
    """Something that shows the snapshots of a study, or nothing."""
    if quiet:
        yield None
        return
    from autotts.report.progress import Screen

    with Screen() as screen:
        yield screen


def _show_result(result: dict[str, Any], out: Path, task: str, models: str = "") -> None:
    from autotts.report.tables import result_table

    _say(result_table(result))
    example = "solve: 12+3*4" if task == "math" and not models else "your prompt"
    at = f" --models {shlex.quote(models)}" if models else ""
    lines = (
        "",
        f"Wrote {out / 'policy.json'}, result.json and report.html. Next:",
        f"  autotts run {shlex.quote(str(out / 'policy.json'))} {shlex.quote(example)}{at}",
        f"  autotts serve {shlex.quote(str(out / 'policy.json'))}{at}",
        f"  autotts evaluate {shlex.quote(str(out / 'policy.json'))} --task {shlex.quote(task)}{at}",
        f"  autotts dashboard {shlex.quote(str(out))}",
    )
    for line in lines:
        _say(line)


app.command()(run)
app.command()(serve)
app.command()(evaluate)
app.command()(recommend)
app.command()(distil)
app.command("fake-server")(fake_server)


@app.command("tasks")
def list_tasks(name: Annotated[str | None, typer.Argument(help="A task, for three examples of it.")] = None) -> None:
    """List the tasks, or show three examples of one."""
    from autotts.report.lists import task_examples, tasks_table
    from autotts.tasks import find, tasks

    if name is None:
        _say(tasks_table(list(tasks().values())))
        _say("Three examples of one: autotts tasks math")
        return
    task = find(name)
    wanted = sorted(task.mix)[:: max(1, len(task.mix) // 3)][:3] if task.mix else [None, None, None]
    _say(task_examples(task, [task.source("search", level, i + 1, 0)[-1] for i, level in enumerate(wanted)]))


@app.command("strategies")
def list_strategies() -> None:
    """List the strategies with their knobs, ranges and defaults."""
    from autotts.report.lists import strategies_table
    from autotts.strategies import STRATEGIES

    _say(strategies_table(STRATEGIES))


app.add_typer(models_app, name="models")
app.add_typer(policy_app, name="policy")
app.add_typer(pool_app, name="pool")


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="A study's folder.")], as_json: JsonOption = False) -> None:
    """Write a study's report.html again, and show its table."""
    from autotts.policy.files import read_json
    from autotts.report.page import write_page

    result = read_json(folder / "result.json", "result")
    if not isinstance(result, dict) or result.get("format") != "autotts.result/1":
        raise InputError(f"{folder / 'result.json'}: expected the result of a study, found something else")
    write_page(result, folder / "report.html")
    if as_json:
        print(json.dumps(result))
    elif "pool" in result:
        show_pool_result(result, folder)
    else:
        _show_result(result, folder, str(result.get("task", "math")))


@app.command()
def dashboard(
    folder: Annotated[Path, typer.Argument(help="A study's folder.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8080,
) -> None:
    """Open a study in Optuna's dashboard, live while it runs.

    Needs an extra: pip install 'autotts-optimizer[dashboard]'
    """
    from autotts.search.command import open_dashboard

    open_dashboard(folder, host, port)


# ---------------------------------------------------------------- what all commands share

LONG = 600  # seconds from which a study is asked about

_RESUMED = {
    "optimize": "everything drawn is kept",
    "run": "everything answered is kept",
}


def _said(argv: Sequence[str]) -> str:
    """The command as it was typed."""
    return shlex.join(["autotts", *argv])


def _say(shown: Any, stream: Any = None) -> None:
    from autotts.report.terminal import say

    say(shown, stream)


def run_cli(argv: Sequence[str]) -> int:
    """Run one command line; an error is one message on stderr, and the exit code says of what kind it is.

    Returns
    -------
    int
        0 done, 2 wrong input, 3 the budget cannot be met, 4 a backend failed for good, 130 interrupted.
    """
    try:
        app(list(argv), prog_name="autotts", obj=tuple(argv))
        code: object = 0
    except AutottsError as error:
        print(f"autotts: {error}", file=sys.stderr)
        if error.exit_code == BackendError.exit_code and argv and argv[0] in _RESUMED:
            print(f"{_RESUMED[argv[0]]}. Go on with:\n  {_said(argv)}", file=sys.stderr)
        return error.exit_code
    except SystemExit as ended:
        code = ended.code
    except KeyboardInterrupt:
        code = 130
    if code == 130:
        kept = _RESUMED.get(argv[0] if argv else "")
        more = f"; {kept}. Go on with:\n  {_said(argv)}" if kept else ""
        print(f"\nautotts: interrupted{more}", file=sys.stderr)
    return code if isinstance(code, int) else 0 if code is None else 1


def main() -> NoReturn:
    """Run the command line of this process."""
    try:
        code = run_cli(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe went away, and wants to hear no more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except OSError as error:
        print(f"autotts: standard output cannot be written: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 2
    raise SystemExit(code)


if __name__ == "__main__":
    main()
