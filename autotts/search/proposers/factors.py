"""A space as a few factors that all strategies share, so that what one strategy showed speaks of the others too.

Optuna's own parameters of a space are conditional (`vote.n` says nothing of `beam.n`), and samplers that need every
parameter in every trial see none but the strategy. Here draws are one factor, whatever a strategy calls them, and so
is each other knob by its name; an arm has only some of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from autotts.core.strategy import Strategy, knobs
from autotts.search.space import Space, repaired

DRAWS: Final = {"n": "draws", "most": "draws"}  # knobs that count whole draws


@dataclass(frozen=True)
class Factors:
    """The factors of a space and their values: names in order, numbers from the smallest."""

    space: Space

    @cached_property
    def values(self) -> Mapping[str, tuple[Any, ...]]:
        """Every value that some strategy tries for a factor."""
        out: dict[str, list[Any]] = {"strategy": list(self.space.strategies)}
        for kind in self.space.strategies.values():
            for knob in knobs(kind).values():
                seen = out.setdefault(DRAWS.get(knob.name, knob.name), [])
                seen += [v for v in self.space.values(knob) if v not in seen]
        return {name: tuple(x if _names(x) else sorted(x)) for name, x in out.items()}

    @cached_property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's distributions: names as categories, numbers as their place on the grid, which has an order."""
        return {
            name: CategoricalDistribution(x) if _names(x) else IntDistribution(0, len(x) - 1)
            for name, x in self.values.items()
        }

    def of(self, strategy: Strategy) -> dict[str, Any]:
        """The factors that an arm of this space has."""
        name = next(n for n, kind in self.space.strategies.items() if kind is type(strategy))
        out = {DRAWS.get(n, n): getattr(strategy, n) for n in knobs(type(strategy))}
        return {"strategy": name, **out}

    def params(self, strategy: Strategy) -> dict[str, Any]:
        """An arm as Optuna's parameters; a factor that it does not have stands at its first value."""
        has = self.of(strategy)
        found = {name: has.get(name, x[0]) for name, x in self.values.items()}
        return {n: v if _names(self.values[n]) else self.values[n].index(v) for n, v in found.items()}

    def arm(self, params: Mapping[str, Any]) -> Strategy:
        """The arm nearest to Optuna's parameters; an `InputError` where there is none."""
        asked = {n: v if _names(self.values[n]) else self.values[n][v] for n, v in params.items()}
        kind = self.space.strategies[asked["strategy"]]
        declared = knobs(kind)
        found = {n: _nearest(asked[DRAWS.get(n, n)], self.space.values(knob)) for n, knob in declared.items()}
        return repaired(kind, declared, self.space.fitting(declared, found))


def _nearest(value: Any, grid: Sequence[Any]) -> Any:
    """The value itself where it is a name or on the grid, else the nearest on it."""
    return value if value in grid or not grid else min(grid, key=lambda v: abs(v - value))


def _names(values: Sequence[Any]) -> bool:
    return any(isinstance(v, str) for v in values)
