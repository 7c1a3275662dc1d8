"""`autotts policy`: look at a policy file, check it, compare it, ask it why, and bind it to other models."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from autotts.cli_options import BudgetOption, JsonOption
from autotts.errors import InputError

if TYPE_CHECKING:
    from autotts.policy.rebind import Onto
    from autotts.policy.schema import Policy

policy_app = typer.Typer(
    help="Show, check, compare, explain and rebind policy files.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

SAMPLE: Final = 200  # prompts of a task that two policies are compared on

PolicyArgument = Annotated[Path, typer.Argument(help="A policy file.", metavar="POLICY")]


@policy_app.command("show")
def show_policy(file: PolicyArgument, as_json: JsonOption = False) -> None:
    """Show who gets what at which budget, and what was measured."""
    from autotts.policy import showing

    policy = _load(file)
    if as_json:
        told = {"roles": showing.roles(policy), "frontier": showing.points(policy)}
        kept = policy.model_dump(mode="json", include={"task", "unit", "default", "cap", "made", "evidence"})
        _print({**kept, "told_apart": showing.told_apart(policy), "effort": _dial(policy), **told})
        return
    from autotts.report.policies import policy_table

    _say(policy_table(policy))
    name = shlex.quote(str(file))
    _next([f"autotts policy explain {name} {shlex.quote(_example(policy))}", _serving(policy, name)])


@policy_app.command()
def validate(file: PolicyArgument, as_json: JsonOption = False) -> None:
    """Say all that is wrong with a policy file, or that nothing is.

    The exit code is 2 if anything is.
    """
    from autotts.policy.files import read_json
    from autotts.policy.validate import validate as look

    found = look(read_json(file))
    if as_json:
        _print({"ok": not found.problems, "problems": found.problems, "warnings": found.warnings})
    else:
        from autotts.report.policies import validated_table

        _say(validated_table(found, str(file)))
    if found.problems:
        raise typer.Exit(InputError.exit_code)


@policy_app.command()
def diff(
    before: Annotated[Path, typer.Argument(help="A policy file.", metavar="BEFORE")],
    after: Annotated[Path, typer.Argument(help="Another one.", metavar="AFTER")],
    prompts: Annotated[
        Path | None, typer.Option(help="Prompts to route by both: a line each, or JSON lines with `prompt` (.jsonl).")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Or prompts of this task (a name or a file).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what changes from one policy to another.

    With prompts: for which of them, and what it costs.
    """
    from autotts.policy.diff import diff as compare

    if prompts is not None and task is not None:
        raise InputError("diff: expected --prompts FILE or --task NAME, found both")
    old, new = _load(before), _load(after)
    with _prompts(prompts, task) as texts:
        found = compare(old, new, texts)
    if as_json:
        _print(found)
        return
    from autotts.report.policy_changes import diff_table

    _say(diff_table(found))
    if texts is None and not found.routes and task is None:
        _next([f"autotts policy diff {shlex.quote(str(before))} {shlex.quote(str(after))} --prompts FILE"])


@policy_app.command()
def explain(
    file: PolicyArgument,
    prompt: Annotated[str, typer.Argument(help="The prompt, such as 'solve: 12+3*4'.", metavar="PROMPT")],
    budget: BudgetOption = None,
    effort: Annotated[
        float | None, typer.Option(help="Or a place on the dial: 0 is the cheapest setting, 1 the best.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say why a prompt gets its arm, and what it will cost."""
    from autotts.policy.explain import explain as reasons
    from autotts.policy.running import amounts

    policy = _load(file)
    if budget is not None and effort is not None:
        raise InputError("explain: expected --budget or --effort, found both")
    mean = amounts(policy.unit, budget, None)[0] if effort is None else policy.effort(effort)
    found = reasons(policy, prompt, mean)
    if as_json:
        _print(found)
        return
    from autotts.report.policy_changes import explained_table

    _say(explained_table(found, prompt))


@policy_app.command()
def rebind(
    file: PolicyArgument,
    names: Annotated[
        list[str] | None,
        typer.Argument(help="A role and its new model, such as small=Qwen/Qwen3-4B.", metavar="OLD=NEW"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the new policy is written.")] = None,
    models: Annotated[
        str, typer.Option("--models", help="A models.toml: roles become its models, by their own names or by OLD=NEW.")
    ] = "",
    upstream: Annotated[
        str | None, typer.Option(help="Or a server, such as http://localhost:8000/v1: it is asked which models it has.")
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option("--upstream-key-file", help="The key of --upstream, on one line.")
    ] = None,
    reader: Annotated[
        str | None, typer.Option(help="How answers are read, for a policy of recorded answers, such as math.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the same policy for other models.

    What was measured is kept, and marked as measured on the old ones.
    """
    from autotts.policy import rebind as binding

    policy, words = _load(file), binding.pairs(names or [])
    if out is None:
        raise InputError("rebind: expected --out FILE, the policy to write")
    if models and upstream is not None:
        raise InputError("rebind: expected --models FILE or --upstream URL, found both")
    onto = _onto(policy, words, models, _served(upstream, key_file))
    found = binding.rebind(policy, onto, when=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", reader=reader)
    found.policy.save(out)
    if as_json:
        _print({"out": str(out), "moved": found.moved, "notes": found.notes})
        return
    from autotts.report.policy_changes import rebound_table

    _say(rebound_table(found))
    name = shlex.quote(str(out))
    place = f"--models {shlex.quote(models)}" if models else f"--upstream {upstream or 'URL'}"
    _say(f"\nWrote {out}.")
    _next([f"autotts policy validate {name}", f"autotts serve {name} {place}"])


# ---------------------------------------------------------------- inside


def _onto(policy: Policy, words: Mapping[str, str], models: str, served: Sequence[str] | None) -> Onto:
    """What the policy is bound to."""
    from autotts.policy import rebind as binding
    from autotts.worlds.catalogue import catalogue

    if models:
        if not models.endswith(".toml"):
            raise InputError(f"--models: expected a file of models, such as models.toml, found {models!r}")
        return binding.onto_file(policy, catalogue([models], os.environ)[0], words)
    if served is not None:
        words = _placed(policy, words, served)
    if not words:
        roles = ", ".join((*policy.models, *policy.scorers))
        raise InputError(f"rebind: expected OLD=NEW, --models FILE or --upstream URL; the roles here are {roles}")
    return binding.onto_names(policy, words)


def _placed(policy: Policy, words: Mapping[str, str], served: Sequence[str]) -> Mapping[str, str]:
    """Names for the roles, all of which a server has."""
    there = ", ".join(served[:20])
    for role, name in words.items():
        if name not in served:
            raise InputError(f"rebind: {role}={name}: expected a model that --upstream has, found none of it: {there}")
    left = [role for role in policy.models if role not in words]
    if not words and len(left) == 1 and len(served) == 1:
        return {left[0]: served[0]}
    known = {role: str(policy.models[role].binding.get("served")) for role in left}
    lost = [role for role, name in known.items() if name not in served]
    if lost:
        raise InputError(
            f"rebind: --upstream has {there}: say which of them is which, such as {lost[0]}={served[0]}"
            + (f" (and {', '.join(lost[1:])})" if lost[1:] else "")
        )
    return words or known


def _served(upstream: str | None, key_file: Path | None) -> Sequence[str] | None:
    """The models that a server has; None where there is none."""
    if upstream is None:
        return None
    from autotts.worlds.catalogue import proxies_of
    from autotts.worlds.chat import read_key
    from autotts.worlds.models.entry import Server
    from autotts.worlds.openai.listing import served_names

    key = None if key_file is None else read_key(key_file)
    return served_names(Server(upstream, key), proxies_of(os.environ))


@contextmanager
def _prompts(file: Path | None, task: str | None) -> Iterator[Iterable[str] | None]:
    if file is not None:
        from autotts.policy.prompts import open_prompts

        with open_prompts(file, "--prompts") as texts:
            yield texts
        return
    if task is None:
        yield None
        return
    from autotts.tasks import find

    found = find(task)
    levels: list[tuple[int | None, float]] = [*found.mix.items()] or [(None, 1.0)]
    drawn = [found.source("search", level, max(1, round(share * SAMPLE)), 0) for level, share in levels]
    yield [problem.prompt for problems in drawn for problem in problems]


def _example(policy: Policy) -> str:
    return "solve: 12+3*4" if policy.task.name == "math" else "your prompt"


def _serving(policy: Policy, name: str) -> str:
    """The command that serves it, or that binds it to models that can answer."""
    from autotts.policy.validate import recorded

    bounds = policy.models | policy.scorers
    if recorded(policy):
        return f"autotts policy rebind {name} --models models.toml --reader math --out served.json"
    if all(bound.binding.get("engine") == "tiny" for bound in bounds.values()):
        return f"autotts serve {name}"
    return f"autotts serve {name} --upstream http://localhost:8000/v1"


def _dial(policy: Policy) -> dict[str, float]:
    return {f"{dial:g}": policy.effort(dial) for dial in (0.0, 0.25, 0.5, 0.75, 1.0)}


def _load(file: Path) -> Policy:
    from autotts.policy.schema import Policy

    return Policy.load(file)


def _print(data: Any) -> None:
    print(json.dumps(data, default=_plain))


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def _say(shown: Any) -> None:
    from autotts.report.terminal import say

    say(shown)


def _next(commands: Sequence[str]) -> None:
    _say("\n".join(["", "Next:", *(f"  {command}" for command in commands)]))
