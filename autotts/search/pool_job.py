"""`optimize --pool`: recorded answers in, a cross-fitted policy out, between arguments and files."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution

from autotts.core.cost import parse_amount
from autotts.core.strategy import knobs
from autotts.errors import InputError
from autotts.policy.files import write_atomic
from autotts.pools.load import load
from autotts.pools.sizes import parse_sizes
from autotts.search.book import opened
from autotts.search.gauge import Gauge, finest
from autotts.search.measuring import Tell
from autotts.search.optimize import Found, alone, folder, storage
from autotts.search.pool_recipe import PoolRecipe
from autotts.search.pool_result import assemble, policy_of
from autotts.search.pooled import PoolStudy
from autotts.search.routing import routing
from autotts.store.meta import Meta
from autotts.strategies.arms import name_of, parse

SHOWN = 400  # arms that are written into Optuna's study: those of the frontier and, of the others, the nearest


@dataclass(frozen=True, slots=True)
class PoolJob:
    """A study on recorded answers that is ready to run."""

    recipe: PoolRecipe
    name: str
    out: Path
    url: str | None
    command: str

    def run(self, tell: Tell) -> Found:
        """Measure, choose, and write `policy.json` and `result.json` into the folder."""
        began = time.monotonic()
        folder(self.out)
        tell("reading the pool", 0, 0)
        recorded = load(
            self.recipe.pools, models=self.recipe.models, params=self.recipe.params, without=self.recipe.without
        )
        recipe = self.recipe if self.recipe.unit else replace(self.recipe, unit=finest(recorded))
        url = self.url or f"sqlite:///{self.out / 'autotts.db'}"
        identity = recipe.identity() | {"pool": recorded.digest}
        self._check(url, identity)
        gauge = Gauge(recorded, recipe.unit, recipe.probe_tokens)
        study = PoolStudy(recipe, gauge, tell)
        date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        result = assemble(
            study,
            name=self.name,
            command=self.command,
            date=date,
            seconds=time.monotonic() - began,
            routing=routing(gauge, recipe.seed),
        )
        policy = policy_of(study, result)
        tell("writing", 0, 0)
        self._keep(url, study, identity)
        policy.save(self.out / "policy.json")
        write_atomic(self.out / "result.json", json.dumps(result, indent=2, allow_nan=False) + "\n")
        return Found(result, policy, self.out)

    def _check(self, url: str, identity: dict[str, Any]) -> None:
        """See that the database is for this study, before anything is measured; a run that fails claims nothing."""
        with storage(url) as (engine, _):
            meta = Meta(engine)
            if self.url is None:
                alone(meta, self.name, self.out)
            meta.check(self.name, identity)

    def _keep(self, url: str, study: PoolStudy, identity: dict[str, Any]) -> None:
        """The measured arms as trials of one Optuna study, for its dashboard."""
        with storage(url) as (engine, optunas):
            Meta(engine).claim(self.name, identity)
            told = opened(f"{self.name}/all", optunas, study.recipe.unit)
            if not told.get_trials(deepcopy=False):
                told.add_trials(_trials(study))


def _trials(study: PoolStudy) -> list[optuna.trial.FrozenTrial]:
    """The arms nearest to the frontier, as finished trials; every knob keeps the values that were tried."""
    board = study.board
    value, cost = board.value.mean(1), board.cost.mean(1)
    order = np.argsort(-(value - np.interp(cost, study.settled.nominal, study.settled.value)), kind="stable")[:SHOWN]
    strategies = {i: parse(board.arms[i]) for i in order.tolist()}
    tried: dict[str, set[Any]] = {"strategy": {name_of(s) for s in strategies.values()}}
    params: dict[int, dict[str, Any]] = {}
    for i, strategy in strategies.items():
        name = name_of(strategy)
        params[i] = {"strategy": name} | {f"{name}.{k}": getattr(strategy, k) for k in knobs(type(strategy))}
        for key, chosen in params[i].items():
            tried.setdefault(key, set()).add(chosen)
    domains = {key: CategoricalDistribution(sorted(found)) for key, found in tried.items()}
    return [
        optuna.trial.create_trial(
            values=[float(value[i]), float(cost[i])],
            params=given,
            distributions={key: domains[key] for key in given},
            user_attrs={"arm": board.arms[i], "kind": "free", "free": True},
        )
        for i, given in params.items()
    ]


def prepared(
    given: dict[str, Any], *, sizes: Sequence[str], unit: str, out: Path | None, url: str | None, command: str
) -> PoolJob:
    """A job from options; the unit is that of the first amount, or the one that is asked for."""
    amounts = [parse_amount(given[key], f"--{key}") for key in ("budget", "cap") if given.get(key)]
    units = {amount.unit for amount in amounts} | ({unit} if unit else set())
    if len(units) > 1:
        raise InputError(f"expected budget, cap and --unit in one unit, found {' and '.join(sorted(units))}")
    for path in given["pools"]:
        if not Path(path).exists():
            raise InputError(f"--pool {path}: expected a file of recorded answers, found nothing there")
    if "trials" in given:
        given["candidates"] = given.pop("trials")
    recipe = PoolRecipe(**given, params=parse_sizes(sizes), unit=next(iter(units), ""))
    name = Path(recipe.pools[0]).name.split(".")[0]
    return PoolJob(recipe, name, out or Path("runs") / name, url, command)
