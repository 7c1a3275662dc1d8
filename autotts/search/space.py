"""The search space: the strategies' declared knobs as one conditional Optuna space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution

from autotts.core.cost import ModelCard
from autotts.core.strategy import Knob, Options, Range, Role, Strategy, knobs
from autotts.errors import InputError

MOST: Final = 20_000  # arms of a strategy that are listed


@dataclass(frozen=True)
class Space:
    """Which strategies, models and scorers a study tries; every knob on its declared grid."""

    strategies: Mapping[str, type]
    models: tuple[str, ...]
    scorers: tuple[str, ...]
    most: Mapping[str, int] = field(default_factory=dict)  # draws of a model that an arm may ask for

    def __post_init__(self) -> None:
        if not self.strategies:
            raise InputError("expected at least one strategy that these models can run, found none")

    def values(self, knob: Knob) -> tuple[Any, ...]:
        """What a search tries for a knob; draws are shared because the grids are coarse."""
        domain = knob.domain
        if isinstance(domain, Role):
            return self.models if domain.kind == "policy" else self.scorers
        if isinstance(domain, Options):
            return domain.words
        return tuple(knob.type(v) for v in (domain.grid or (knob.default,)))

    def distributions(self, name: str) -> dict[str, BaseDistribution]:
        """Optuna's distributions of one strategy's knobs and of the choice of strategy itself."""
        out: dict[str, BaseDistribution] = {"strategy": CategoricalDistribution(tuple(self.strategies))}
        for knob in knobs(self.strategies[name]).values():
            out[f"{name}.{knob.name}"] = CategoricalDistribution(self.values(knob))
        return out

    def suggest(self, trial: optuna.Trial) -> Strategy:
        """The strategy that a trial asks for, moved to the nearest valid one where knobs contradict each other."""
        name = str(trial.suggest_categorical("strategy", tuple(self.strategies)))
        declared = knobs(self.strategies[name])
        asked = {
            knob.name: trial.suggest_categorical(f"{name}.{knob.name}", self.values(knob)) for knob in declared.values()
        }
        return repaired(self.strategies[name], declared, self.fitting(declared, asked))

    def fitting(self, declared: Mapping[str, Knob], asked: Mapping[str, Any]) -> dict[str, Any]:
        """The same knobs with no more draws than the model (of two: the first to draw) may make."""
        out = dict(asked)
        for name in ("n", "most"):
            if name in declared:
                room = self.most.get(str(asked.get("model", asked.get("small"))), out[name])
                allowed = [v for v in self.values(declared[name]) if v <= room]
                out[name] = min(out[name], max(allowed, default=out[name]))
        return out

    @cached_property
    def arms(self) -> tuple[Strategy, ...]:
        """Every valid arm on the grids, within what each model may draw; at most `MOST`, evenly taken, beyond that."""
        out: list[Strategy] = []
        for kind in self.strategies.values():
            declared = knobs(kind)
            found: list[Strategy] = []
            grids = [self.values(knob) for knob in declared.values()]
            count = math.prod(map(len, grids))
            for number in range(0, count, max(1, count // MOST)):
                asked = {}
                for name, grid in zip(declared, grids):
                    number, at = divmod(number, len(grid))
                    asked[name] = grid[at]
                try:
                    made = kind(**asked)
                except InputError:
                    continue  # knobs that contradict each other
                if self.fitting(declared, asked) == asked:
                    found.append(made)
            out += found
        return tuple(out)

    def params(self, strategy: Strategy) -> dict[str, Any] | None:
        """Optuna's parameters of an arm, or None where one of its knobs is off the grid."""
        name = next((n for n, kind in self.strategies.items() if kind is type(strategy)), None)
        if name is None:
            return None
        out: dict[str, Any] = {"strategy": name}
        for knob in knobs(type(strategy)).values():
            value = getattr(strategy, knob.name)
            if value not in self.values(knob):
                return None
            out[f"{name}.{knob.name}"] = value
        return out


def repaired(kind: type, declared: Mapping[str, Knob], asked: Mapping[str, Any]) -> Strategy:
    """Lower the later number knobs, on their grids, until the strategy accepts them together (k <= n, m divides n)."""
    try:
        made: Strategy = kind(**asked)
        return made
    except InputError as error:
        for name, knob in reversed(list(declared.items())):
            if not isinstance(knob.domain, Range):
                continue
            for value in sorted(knob.domain.grid, reverse=True):
                if value >= asked[name]:
                    continue
                try:
                    made = kind(**{**asked, name: knob.type(value)})
                    return made
                except InputError:
                    continue
        raise error


def models_of(strategy: Strategy) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The roles that an arm draws from, and those that it scores by."""
    declared = knobs(type(strategy))
    drawn: list[str] = []
    scored: list[str] = []
    for knob in fields(strategy):  # type: ignore[arg-type]
        domain = declared[knob.name].domain
        if isinstance(domain, Role):
            (drawn if domain.kind == "policy" else scored).append(getattr(strategy, knob.name))
    return tuple(drawn), tuple(scored)


def usable(strategies: Mapping[str, type], scorers: Sequence[str]) -> dict[str, type]:
    """The strategies that can run: those that need a scorer only where there is one."""
    out = {}
    for name, kind in strategies.items():
        needs = any(isinstance(k.domain, Role) and k.domain.kind == "scorer" for k in knobs(kind).values())
        if scorers or not needs:
            out[name] = kind
    return out


def work(cards: Mapping[str, ModelCard]) -> dict[str, float]:
    """What a token of each model takes, in relation to the others: by its parameters, else by its price."""
    sizes = {name: card.active_parameters or card.parameters for name, card in cards.items()}
    if None in sizes.values():
        sizes = {name: card.usd_generated for name, card in cards.items()}  # type: ignore[misc]
    return {name: 1.0 if None in sizes.values() else float(size or 1) for name, size in sizes.items()}
