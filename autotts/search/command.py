"""What the commands `optimize`, `evaluate` and `dashboard` do, between arguments and files."""

from __future__ import annotations

import asyncio
import sys
import tomllib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from autotts.core.cost import PARTS, parse_amount
from autotts.core.progress import Watcher
from autotts.core.strategy import Role, Strategy, knobs
from autotts.core.task import Task
from autotts.engine.memo import Memory
from autotts.errors import InputError
from autotts.policy.opening import Where, opened
from autotts.policy.running import amounts
from autotts.policy.schema import Policy
from autotts.pools.load import load
from autotts.pools.sizes import parse_sizes
from autotts.search.agents import AgentOptions
from autotts.search.evaluate import evaluate, table_of
from autotts.search.evaluate_pool import Asked, evaluate_arms
from autotts.search.optimize import Found, optimize, storage
from autotts.search.played import Tell
from autotts.search.recipe import Recipe, recipe_from
from autotts.search.space import models_of
from autotts.search.streams import evaluate_policy
from autotts.strategies import STRATEGIES
from autotts.strategies.arms import parse
from autotts.tasks import find
from autotts.worlds.catalogue import EMBEDDED, Asking, Bench, Catalogue, catalogue, session

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True, slots=True)
class Job:
    """A study that is ready to run."""

    recipe: Recipe
    task: Task
    name: str
    out: Path
    url: str | None
    command: str
    agent: AgentOptions | None = None
    models: Catalogue = EMBEDDED

    def expected(self) -> dict[str, Any]:
        """About what it will take, before anything is spent; in parts of the study's unit."""
        from autotts.search.forecast import forecast

        return forecast(self.recipe, self.task, self.models)

    def run(self, watch: Watcher | None) -> Found:
        """Run it, or go on with it."""
        return optimize(
            self.recipe,
            task=self.task,
            out=self.out,
            name=self.name,
            url=self.url,
            command=self.command,
            watch=watch,
            agent=self.agent,
            memories=(Path("predictors"),),
            models=self.models,
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """Mean budget and cap of a run as they were given, such as `1e9flops`."""

    budget: str | None = None
    cap: str | None = None


@dataclass(frozen=True, slots=True)
class OnPool:
    """How recorded answers are to be used, as it was given; `models` and `params` as `pools.load` takes them.

    `controller` is "on", "off" or None, which is on for a policy; `probe_tokens` None are those that a policy was made
    with, or 0.
    """

    paths: tuple[Path, ...]
    models: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    unit: str | None = None
    probe_tokens: int | None = None
    controller: str | None = None


def job(
    given: Mapping[str, Any],
    study: Path | None,
    out: Path | None,
    url: str | None,
    *,
    command: str,
    environ: Mapping[str, str],
    unsafe: bool = False,
) -> Job:
    """A job from options and, below them, a study file; `environ` holds the keys that a file of models names."""
    values: dict[str, Any] = {}
    name = ""
    if study is not None:
        values, name = read_study(study)
    for one, other in (("budget", "target"), ("target", "budget")):
        if one in given:
            values.pop(other, None)
    if "task" not in values and "task" not in given:
        raise InputError("optimize: expected --task NAME or FILE (or --study FILE), found neither; try --task math")
    recipe = replace(recipe_from(values, str(study)), **given) if values else Recipe(**given)
    return prepared(recipe, out=out, name=name, storage=url, command=command, environ=environ, unsafe=unsafe)


def with_agent(job: Job, agent: AgentOptions) -> Job:
    """The same study with a language model among its proposers; alone where the recipe says nothing else."""
    if not agent.model:
        raise InputError("--agent: expected --agent-model NAME with it, found none: which model should the server run?")
    names = job.recipe.proposers
    if "agent" not in names:
        names = ("agent",) if job.recipe.proposer == Recipe().proposer else ("agent", *names)
    return replace(job, recipe=replace(job.recipe, proposer=",".join(names)), agent=agent)


def prepared(
    recipe: Recipe,
    *,
    out: str | Path | None = None,
    name: str = "",
    storage: str | None = None,
    command: str = "",
    environ: Mapping[str, str] = MappingProxyType({}),
    unsafe: bool = False,
) -> Job:
    """A job from a recipe; the task is found, and the models and strategies are known.

    `unsafe` lets programs that models write run without a sandbox.
    """
    models, names = catalogue(recipe.models, environ)
    models.drawing(names)
    task = _task(recipe.task, models, unsafe)
    for strategy in recipe.strategies:
        if strategy not in STRATEGIES:
            raise InputError(f"unknown strategy {strategy!r}; expected some of {', '.join(STRATEGIES)}")
    name = name or task.name
    return Job(recipe, task, name, Path(out) if out else Path("runs") / name, storage, command, models=models)


def _task(name: str, models: Catalogue, unsafe: bool) -> Task:
    """The task of a name; the embedded models' own problems are none for others, who get the same kind in words."""
    task = find(name if models.embedded or name != "math" else "reasoning_gym:math")
    if task.grader != "code":
        return task
    from autotts.tasks.code import unit_tests

    return replace(task, grade=unit_tests(unsafe=unsafe))


def read_study(path: Path) -> tuple[dict[str, Any], str]:
    """The recipe of a study file, and the study's name (its folder's, if the file is called study.toml)."""
    try:
        with path.open("rb") as file:
            data = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"--study {path}: expected a TOML file with a recipe: {error}") from None
    name = data.pop("name", path.resolve().parent.name if path.stem == "study" else path.stem)
    if not isinstance(name, str) or not name or "/" in name:
        raise InputError(f"--study {path}: name: expected a text without '/', found {name!r}")
    return data, name


def subject_of(text: str, models: tuple[str, ...], environ: Mapping[str, str] = MappingProxyType({})) -> Strategy:
    """One arm from its text; a model that is not named in it is the first of `models`, or of all."""
    strategy = parse(text)
    found, names = catalogue(models, environ)
    for knob in knobs(type(strategy)).values():
        if isinstance(knob.domain, Role) and knob.domain.kind == "policy" and getattr(strategy, knob.name) == "policy":
            strategy = replace(strategy, **{knob.name: found.drawing(names)[0]})  # type: ignore[type-var]
    return strategy


def evaluated(
    subject: Policy | Strategy,
    *,
    task: str,
    models: tuple[str, ...],
    prompts: int,
    limits: Limits,
    seed: int,
    environ: Mapping[str, str] = MappingProxyType({}),
    unsafe: bool = False,
) -> dict[str, Any]:
    """The figures of a policy or an arm on a task's test prompts, with fresh draws."""
    shelf, names = catalogue(models, environ)
    of = _task(task, shelf, unsafe)
    if isinstance(subject, Policy):
        unit, scorers = subject.unit, tuple(subject.scorers)
        needed = tuple(subject.models)
        mean, limit = amounts(unit, limits.budget, limits.cap)
    else:
        if limits.budget is not None:
            raise InputError("evaluate: --budget is for a policy; a strategy costs what it costs (see --cap)")
        unit = "flops" if limits.cap is None else parse_amount(limits.cap, "--cap").unit
        needed, scorers = models_of(subject)
        mean, limit = amounts(unit, None, limits.cap)
    shelf.drawing(names)
    for name in needed:
        if names and name not in names:
            raise InputError(f"evaluate: {name!r} is used, and not among --models {', '.join(names)}")
    table = table_of(of, "test", prompts, seed)
    if isinstance(subject, Policy):
        opening = opened(subject, Where(None if shelf.embedded else shelf), read=of.read)
    else:
        shelf.drawing(needed)
        opening = shelf.opened(needed, scorers, Asking(of.read, of.instruction, unit))
    with opening as world:
        for problem in table.problems:
            world.root(problem.prompt)  # a prompt that cannot be read is told before anything is drawn
        work = partial(
            evaluate,
            *(subject, of, table, world, Memory()),
            scorers=scorers,
            unit=unit,
            budget=mean,
            cap=limit,
            seed=seed,
        )
        return asyncio.run(_in_session(world, work))


async def _in_session(world: Bench, work: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    async with session(world):
        return await work()


def evaluated_on_pool(
    subject: Policy | str, options: OnPool, *, limits: Limits, seed: int, tell: Tell | None = None
) -> dict[str, Any]:
    """The figures of a policy, or of the arms that a text stands for, on recorded answers.

    Parameters
    ----------
    tell
        Called as it goes on, with how much is done and of how much.
    """
    if options.controller not in (None, "on", "off"):
        raise InputError(f"--controller: expected on or off, found {options.controller!r}")
    if options.unit is not None and options.unit not in PARTS:
        raise InputError(f"--unit: expected one of {', '.join(PARTS)}, found {options.unit!r}")
    if options.probe_tokens is not None and options.probe_tokens < 0:
        raise InputError(f"--probe-tokens: expected a whole number from 0 up, found {options.probe_tokens}")
    if isinstance(subject, Policy):
        if options.unit not in (None, subject.unit):
            raise InputError(f"--unit: this policy is counted in {subject.unit}, found {options.unit!r}")
        mean, cap = amounts(subject.unit, limits.budget, limits.cap)
    else:
        for option, value in (("--budget", limits.budget), ("--controller", options.controller)):
            if value is not None:
                raise InputError(f"evaluate: {option} is for a policy; a strategy costs what it costs (see --cap)")
        parse(subject)  # before a large file is read
        unit = options.unit or (None if limits.cap is None else parse_amount(limits.cap, "--cap").unit)
        cap = None if unit is None else amounts(unit, None, limits.cap)[1]
    pool = load(options.paths, models=options.models, params=parse_sizes(options.params))
    if isinstance(subject, str):
        return evaluate_arms(pool, subject, Asked(unit, options.probe_tokens or 0, cap, seed), tell)
    return evaluate_policy(
        pool,
        subject,
        budget=mean,
        controlled=options.controller != "off",
        cap=cap,
        probe_tokens=probed(subject) if options.probe_tokens is None else options.probe_tokens,
        seed=seed,
        tell=tell,
    )


def probed(policy: Policy) -> int:
    """The tokens of a probe that a policy was made with; 0 where it does not say.

    Raises
    ------
    InputError
        When its entry `pool` is of another form.
    """
    pool = (policy.model_extra or {}).get("pool", {})
    found = pool.get("probe_tokens", 0) if isinstance(pool, dict) else pool
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise InputError(f"policy: pool.probe_tokens: expected a whole number from 0 up, found {found!r}")
    return found


def open_dashboard(folder: Path, host: str, port: int) -> None:
    """Serve Optuna's dashboard on a study's database, until it is interrupted."""
    path = folder / "autotts.db"
    if not path.is_file():
        raise InputError(f"{path}: expected the database of a study, found nothing; run autotts optimize first")
    try:
        from optuna_dashboard import run_server, save_note
    except ImportError:
        raise InputError(
            "the dashboard is an extra: pip install 'autotts-optimizer[dashboard]', then run this command again"
        ) from None
    import optuna

    with storage(f"sqlite:///{path}") as (_, store):
        for summary in optuna.get_all_study_summaries(store):
            study = optuna.load_study(study_name=summary.study_name, storage=store)
            save_note(study, frontier_note(study))
        print(f"http://{host}:{port}/dashboard  (Ctrl-C ends it)", file=sys.stderr)
        try:
            run_server(store, host, port)
        except OSError as error:
            raise InputError(
                f"--host {host} --port {port}: cannot be listened on: {error.strerror}; give another with --port"
            ) from None


def frontier_note(study: optuna.Study) -> str:
    """A study's frontier for the dashboard's note: its trials are numbers there, and arms here."""
    rows = sorted(study.best_trials, key=lambda trial: trial.values[1])
    lines = [
        "A trial is one arm on the search prompts of this level; the attribute `arm` names it. The arms that no other "
        "beats in both accuracy and mean cost:",
        "",
        "| trial | arm | accuracy | mean cost |",
        "|---|---|---|---|",
    ]
    lines += [f"| {t.number} | `{t.user_attrs['arm']}` | {t.values[0]:.3f} | {t.values[1]:.4g} |" for t in rows]
    return "\n".join(lines)
