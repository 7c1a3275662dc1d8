"""What the commands `optimize`, `evaluate` and `dashboard` do, between arguments and files."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autotts.core.cost import parse_amount
from autotts.core.progress import Watcher
from autotts.core.strategy import Strategy
from autotts.core.task import Task
from autotts.engine.memo import Memory
from autotts.errors import InputError
from autotts.policy.schema import Policy
from autotts.search.evaluate import evaluate, table_of
from autotts.search.optimize import Found, optimize
from autotts.search.recipe import Recipe, recipe_from
from autotts.search.space import models_of
from autotts.strategies.arms import parse
from autotts.tasks import find
from autotts.worlds.tiny import open_tiny


@dataclass(frozen=True, slots=True)
class Job:
    """A study that is ready to run."""

    recipe: Recipe
    task: Task
    name: str
    out: Path
    url: str | None
    command: str

    def expected(self) -> dict[str, Any]:
        """About what it will take, before anything is spent; in parts of the study's unit."""
        from autotts.search.forecast import forecast

        return forecast(self.recipe, self.task)

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
        )


def job(given: Mapping[str, Any], study: Path | None, out: Path | None, url: str | None, command: str) -> Job:
    """A job from options and, below them, a study file."""
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
    task = find(recipe.task)
    name = name or task.name
    return Job(recipe, task, name, out or Path("runs") / name, url, command)


def read_study(path: Path) -> tuple[dict[str, Any], str]:
    """The recipe of a study file, and the study's name (its folder's, if the file is called study.toml)."""
    try:
        with path.open("rb") as file:
            data = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"--study {path}: expected a TOML file with a recipe: {error}") from None
    name = data.pop("name", path.parent.name if path.stem == "study" else path.stem)
    if not isinstance(name, str) or not name or "/" in name:
        raise InputError(f"--study {path}: name: expected a text without '/', found {name!r}")
    return data, name


def evaluated(
    *,
    policy: Path | None,
    strategy: str | None,
    task: str,
    models: tuple[str, ...],
    prompts: int,
    budget: str | None,
    cap: str | None,
    seed: int,
) -> dict[str, Any]:
    """The figures of a policy or an arm on a task's test prompts."""
    of = find(task)
    limit = None if cap is None else parse_amount(cap, "--cap")
    mean = None if budget is None else parse_amount(budget, "--budget")
    subject: Policy | Strategy
    if policy is not None:
        subject = Policy.load(policy)
        unit = subject.unit
        needed = tuple(subject.models)
        scorers = tuple(subject.scorers)
    else:
        subject = parse(str(strategy))
        unit = "flops" if limit is None else limit.unit
        needed, scorers = models_of(subject)
        if mean is not None:
            raise InputError("evaluate: --budget is for a policy; a strategy costs what it costs (see --cap)")
    for amount in (limit, mean):
        if amount is not None and amount.unit != unit:
            raise InputError(f"expected an amount in {unit}, as the policy counts, found {amount}")
    for name in needed:
        if models and name not in models:
            raise InputError(f"evaluate: {name!r} is used, and not among --models {', '.join(models)}")
    table = table_of(of, "test", prompts, seed)
    with open_tiny(needed, scorers, read=of.read, unit=unit) as world:
        return asyncio.run(
            evaluate(
                subject,
                of,
                table,
                world,
                Memory(),
                scorers=scorers,
                unit=unit,
                budget=None if mean is None else float(mean.parts),
                cap=None if limit is None else limit.parts,
                seed=seed,
            )
        )


def open_dashboard(folder: Path, host: str, port: int) -> None:
    """Start Optuna's dashboard on a study's database, until it is interrupted."""
    path = folder / "autotts.db"
    if not path.is_file():
        raise InputError(f"{path}: expected the database of a study, found nothing; run autotts optimize first")
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise InputError(
            "the dashboard is an extra: pip install 'autotts-optimizer[dashboard]', then run this command again"
        )
    print(f"http://{host}:{port}/dashboard  (Ctrl-C ends it)", file=sys.stderr)
    url = f"sqlite:///{path}"
    program = (
        "import sys; from optuna_dashboard import run_server; run_server(sys.argv[1], sys.argv[2], int(sys.argv[3]))"
    )
    subprocess.run([sys.executable, "-c", program, url, host, str(port)], check=False)
