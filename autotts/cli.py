"""The command line: arguments in, messages and files out. Each command loads what it needs when it runs."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from autotts.errors import AutottsError, InputError

app = typer.Typer(
    name="autotts",
    help="Finds, for your prompts and your models, the cheapest way to spend test-time compute.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
models_app = typer.Typer(help="Models that can be asked.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(models_app, name="models")

TaskOption = Annotated[str, typer.Option("--task", help="Name of a task (see `autotts tasks`), or a .jsonl/.csv file.")]
ModelsOption = Annotated[str, typer.Option("--models", help="Models to use, by name and comma; all by default.")]
BudgetOption = Annotated[str | None, typer.Option("--budget", help="Mean budget a prompt, such as 1e15flops.")]
CapOption = Annotated[str | None, typer.Option("--cap", help="Most that one prompt may cost; never exceeded.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of everything that is random.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object; all else goes to stderr.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="No progress and no tables.")]


@app.command()
def optimize(
    task: TaskOption = "",
    models: ModelsOption = "",
    budget: BudgetOption = None,
    target: Annotated[float | None, typer.Option(help="Accuracy to reach, in place of a budget.")] = None,
    cap: CapOption = None,
    search_budget: Annotated[str | None, typer.Option(help="Most that the whole study may spend.")] = None,
    trials: Annotated[int | None, typer.Option(help="Arms to race, over all levels.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which the search ends, at a round.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for what is written (default: runs/<study>).")] = None,
    storage: Annotated[str | None, typer.Option(help="SQLAlchemy URL (default: sqlite file in --out).")] = None,
    study: Annotated[Path | None, typer.Option(help="A study.toml; options given here win.")] = None,
    proposer: Annotated[str | None, typer.Option(help="tpe or random.")] = None,
    strategies: Annotated[str, typer.Option(help="Strategies to try, by comma; all by default.")] = "",
    seed: Annotated[int | None, typer.Option(help="Seed of everything that is random.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a long study.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Search for the best way to spend a budget, confirm it on held-out prompts, write a policy file."""
    from autotts.search import command

    given = {
        "task": task or None,
        "models": _split(models),
        "budget": budget,
        "target": target,
        "cap": cap,
        "search_budget": search_budget,
        "trials": trials,
        "timeout": timeout,
        "proposer": proposer,
        "strategies": _split(strategies),
        "seed": seed,
    }
    job = command.job({k: v for k, v in given.items() if v is not None}, study, out, storage, _command())
    say = _speaker(quiet)
    if not quiet:
        from autotts.report.lists import Estimate, estimate_table

        expected = job.expected()
        say(estimate_table(Estimate(**expected)))
        long = expected["seconds"] > 600 and sys.stdin.isatty() and not yes
        if long and not typer.confirm("This takes more than ten minutes. Go on?", err=True):
            raise SystemExit(130)
    found = _watched(job, quiet)
    from autotts.report.page import write_page

    write_page(found.result, found.out / "report.html")
    if as_json:
        print(json.dumps(found.result))
    elif not quiet:
        _show_result(found.result, found.out)


def _watched(job: Any, quiet: bool) -> Any:
    """Run a study under a live display."""
    if quiet:
        return job.run(None)
    from autotts.report.progress import Screen

    with Screen() as screen:
        return job.run(screen)


def _show_result(result: dict[str, Any], out: Path) -> None:
    from autotts.report.tables import result_table
    from autotts.report.words import words

    say = _speaker(False, sys.stdout)
    say(words(result))
    say(result_table(result))
    example = "solve: 12+3*4" if result["study"].startswith("math") else "your prompt"
    say(f"Wrote {out / 'policy.json'}, {out / 'result.json'} and {out / 'report.html'}. Next:")
    for line in (
        f"autotts run {out / 'policy.json'} {shlex.quote(example)}",
        f"autotts evaluate {out / 'policy.json'} --task {shlex.quote(_task_of(result))}",
        f"autotts dashboard {out}",
    ):
        say(f"  {line}")


def _task_of(result: dict[str, Any]) -> str:
    return str(result.get("task", result["study"]))


@app.command()
def run(
    policy: Annotated[Path, typer.Argument(help="A policy file.")],
    prompt: Annotated[str | None, typer.Argument(help="The prompt.")] = None,
    source: Annotated[
        Path | None, typer.Option("--input", help="Prompts: a line each, or JSON lines with `prompt`.")
    ] = None,
    target: Annotated[Path | None, typer.Option("--output", help="JSON lines with an answer for each prompt.")] = None,
    budget: BudgetOption = None,
    cap: CapOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer a prompt, or a file of prompts, by a policy; say which arm was used and what it cost."""
    from autotts.policy import running

    if (prompt is None) == (source is None):
        raise InputError("run: expected a prompt or --input FILE, one of the two")
    if source is not None:
        if target is None:
            raise InputError("run: --input needs --output FILE, where the answers are written")
        done = running.run_file(policy, source, target, budget=budget, cap=cap)
        if as_json:
            print(json.dumps(done))
        else:
            _speaker(False)(
                f"{done['answered']} of {done['prompts']} prompts answered in {target}; cost {done['cost']}"
            )
        return
    answer = running.run_one(policy, str(prompt), budget=budget, cap=cap)
    if as_json:
        print(json.dumps(running.as_dict(answer)))
        return
    from autotts.report.lists import Answer, answer_table

    ended = None if answer.ended == "returned" else answer.ended
    shown = Answer(answer.answer, answer.arm, answer.draws, answer.cost, answer.unit, answer.bin, ended)
    _speaker(False, sys.stdout)(answer_table(shown))


@app.command()
def evaluate(
    policy: Annotated[Path | None, typer.Argument(help="A policy file.")] = None,
    strategy: Annotated[
        str | None, typer.Option(help="One arm in place of a policy, such as 'vote(n=8, model=S)'.")
    ] = None,
    task: TaskOption = "math",
    models: ModelsOption = "",
    prompts: Annotated[int, typer.Option(help="Prompts a level (or in all, without levels).", min=1)] = 50,
    budget: BudgetOption = None,
    cap: CapOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Measure a policy or one strategy on a task's test prompts, with fresh draws."""
    from autotts.search import command

    if (policy is None) == (strategy is None):
        raise InputError("evaluate: expected a policy file or --strategy, one of the two")
    found = command.evaluated(
        policy=policy,
        strategy=strategy,
        task=task,
        models=_split(models) or (),
        prompts=prompts,
        budget=budget,
        cap=cap,
        seed=seed,
    )
    if as_json:
        print(json.dumps(found))
        return
    from autotts.report.lists import evaluation_table

    _speaker(False, sys.stdout)(evaluation_table(found))


@app.command("tasks")
def list_tasks(name: Annotated[str | None, typer.Argument(help="A task, for three examples of it.")] = None) -> None:
    """List the tasks, or show three examples of one."""
    from autotts.report.lists import task_examples, tasks_table
    from autotts.tasks import find, tasks

    say = _speaker(False, sys.stdout)
    if name is None:
        say(tasks_table(list(tasks().values())))
        say("Three examples of one: autotts tasks math")
        return
    task = find(name)
    wanted = sorted(task.mix)[:: max(1, len(task.mix) // 3)][:3] if task.mix else [None, None, None]
    shown = [task.source("search", level, i + 1, 0)[-1] for i, level in enumerate(wanted)]
    say(task_examples(task, shown))


@app.command("strategies")
def list_strategies() -> None:
    """List the strategies with their knobs, ranges and defaults."""
    from autotts.report.lists import strategies_table
    from autotts.strategies import STRATEGIES

    _speaker(False, sys.stdout)(strategies_table(STRATEGIES))


@models_app.command("list")
def list_models() -> None:
    """List the embedded models, with what one draw of each gets right by level."""
    from autotts.report.lists import Card, models_table
    from autotts.worlds.tiny import shelf

    _speaker(False, sys.stdout)(models_table([Card(**entry) for entry in shelf()]))


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="A study's folder.")], as_json: JsonOption = False) -> None:
    """Write a study's report.html again and show its table."""
    from autotts.report.page import write_page

    path = folder / "result.json"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: expected the result of a finished study: {error}; run autotts optimize first"
        ) from None
    write_page(result, folder / "report.html")
    if as_json:
        print(json.dumps(result))
    else:
        _show_result(result, folder)


@app.command()
def dashboard(
    folder: Annotated[Path, typer.Argument(help="A study's folder.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8080,
) -> None:
    """Open the study in Optuna's dashboard (pip install 'autotts-optimizer[dashboard]')."""
    from autotts.search.command import open_dashboard

    open_dashboard(folder, host, port)


def _split(text: str) -> tuple[str, ...] | None:
    return tuple(part.strip() for part in text.split(",") if part.strip()) or None


def _command() -> str:
    return shlex.join(["autotts", *sys.argv[1:]])


def _speaker(quiet: bool, stream: Any = None) -> Callable[[Any], None]:
    """Something that prints to stderr (or to a stream), or does not."""
    if quiet:
        return lambda _: None
    from rich.console import Console

    console = Console(file=stream or sys.stderr, highlight=False, markup=False, soft_wrap=True)
    return console.print


def main() -> NoReturn:
    """Run the command line; errors are one message, and their exit code says of what kind."""
    from click.exceptions import Abort, ClickException

    try:
        code = app(standalone_mode=False)
    except AutottsError as error:
        print(f"autotts: {error}", file=sys.stderr)
        code = error.exit_code
    except ClickException as error:
        error.show()
        code = error.exit_code
    except (Abort, KeyboardInterrupt):
        print(f"\nautotts: interrupted; everything drawn is kept. Go on with:\n  {_command()}", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # the reader of a pipe went away
        sys.stderr.close()
        code = 141
    raise SystemExit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
