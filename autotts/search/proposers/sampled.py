"""Optuna's samplers as proposers: random, TPE, NSGA-II and GP.

Each call makes a study in memory from the archive and asks it, so a proposer keeps nothing between calls, and the
same archive gives the same proposals. What is loaded: every trial that was paid for, and of those that came free with
stored draws the latest `FREE`, or fewer for a sampler whose work grows with the cube of their number (GP).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from autotts.core.strategy import Strategy
from autotts.errors import InputError
from autotts.search.archive import Archive, Trial
from autotts.search.proposers.factors import Factors
from autotts.search.proposers.left import Left
from autotts.search.space import Space
from autotts.strategies.arms import parse, show

FREE: Final = 100  # trials that were had for nothing, of those that a sampler is shown
STARTUP: Final = 8  # trials before a model is made of them
ASKS: Final = 8  # for each arm that is wanted: what was tried, and what was asked already, is asked again
ELITE: Final = 12  # parents of NSGA-II, at most; a quarter of the measured trials, and four at least


def number(seed: int, *where: object) -> int:
    """32 bits that depend on nothing but a seed and a place in the study."""
    text = ":".join(map(str, (seed, *where)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


@dataclass(frozen=True)
class Shown:
    """What a sampler can know beside its study: the space, how many trials were measured, and what is left to try."""

    factors: Factors
    measured: int
    left: Left


@dataclass(frozen=True)
class Sampled:
    """A sampler of Optuna as a proposer.

    Parameters
    ----------
    name
        As users write it.
    make
        The sampler, from a seed and what it is shown.
    flat
        Whether it is shown `Factors`, which every trial has all of, instead of the space's own conditional parameters.
    free, trials
        How many free trials it is shown at most, and how many in all (the latest).
    """

    name: str
    make: Callable[[int, Shown], BaseSampler]
    flat: bool = False
    free: int = FREE
    trials: int = 1000

    def propose(self, archive: Archive, k: int) -> Sequence[str]:
        """Up to k arms that are left to try; fewer where the sampler asks for no other in `ASKS` times k asks."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # as studies do: not a line for each study in memory
        factors = Factors(archive.space)
        reading = _Flat(factors) if self.flat else _Conditional(archive.space)
        study, measured = self._study(archive, reading)
        left = Left.of(archive)
        out: list[str] = []
        for index in range(ASKS * k):
            if len(out) == k:
                break
            seed = number(archive.seed, archive.level, archive.round, index)
            study.sampler = self.make(seed, Shown(factors, measured, left))
            try:
                strategy = reading.ask(study)
            except InputError:
                continue  # knobs that contradict each other in every way
            if left.has(strategy):
                left = left.after(strategy)
                out.append(show(strategy))
        return tuple(out)

    def _study(self, archive: Archive, reading: _Conditional | _Flat) -> tuple[optuna.Study, int]:
        """The archive as a study (accuracy up, log10 of cost down), and how many of its trials were measured."""
        study = optuna.create_study(storage=InMemoryStorage(), directions=["maximize", "minimize"])
        found = [frozen for trial in self._shown(archive.trials) if (frozen := reading.load(trial)) is not None]
        study.add_trials(found)
        return study, sum(trial.state == TrialState.COMPLETE for trial in found)

    def _shown(self, trials: Sequence[Trial]) -> list[Trial]:
        usable = [t for t in trials if _values(t) is not None or t.state == "pruned"]
        free = [i for i, t in enumerate(usable) if t.kind == "free"]
        dropped = set(free[: max(0, len(free) - self.free)])
        return [t for i, t in enumerate(usable) if i not in dropped][-self.trials :]


def _values(trial: Trial) -> list[float] | None:
    """Accuracy and log10 of cost of a trial that was measured; a cost below one part counts as one."""
    if trial.state != "complete" or trial.value is None or trial.cost is None:
        return None
    if not (math.isfinite(trial.value) and math.isfinite(trial.cost)):
        return None
    return [trial.value, math.log10(max(trial.cost, 1.0))]


def _frozen(trial: Trial, params: dict[str, Any], distributions: dict[str, Any], **notes: Any) -> FrozenTrial:
    values = _values(trial)
    return optuna.trial.create_trial(
        state=TrialState.PRUNED if values is None else TrialState.COMPLETE,
        params=params,
        distributions=distributions,
        values=values,
        system_attrs=notes,
    )


@dataclass(frozen=True)
class _Conditional:
    """Arms as the space's own parameters: a strategy, and the knobs of that strategy."""

    space: Space

    def load(self, trial: Trial) -> FrozenTrial | None:
        strategy = _known(trial, self.space)
        params = None if strategy is None else self.space.params(strategy)
        return None if params is None else _frozen(trial, params, self.space.distributions(params["strategy"]))

    def ask(self, study: optuna.Study) -> Strategy:
        return self.space.suggest(study.ask())


@dataclass(frozen=True)
class _Flat:
    """Arms as factors; measured trials are the first generation of NSGA-II, so that what it asks for descends from
    the best of all of them, and not of the few that it asked for itself."""

    factors: Factors

    def load(self, trial: Trial) -> FrozenTrial | None:
        strategy = _known(trial, self.factors.space)
        if strategy is None:
            return None
        born = {NSGAIISampler._get_generation_key(): 0}
        return _frozen(trial, self.factors.params(strategy), dict(self.factors.distributions), **born)

    def ask(self, study: optuna.Study) -> Strategy:
        trial = study.ask(dict(self.factors.distributions))
        return self.factors.arm(trial.params)


def _known(trial: Trial, space: Space) -> Strategy | None:
    """The arm of a trial, if it stands in the space."""
    try:
        strategy = parse(trial.arm)
    except InputError:
        return None
    return None if space.params(strategy) is None else strategy


# ------------------------------------------------------------ the samplers


def random() -> Sampled:
    """Every strategy as often as any other, and every value of its knobs."""
    return Sampled("random", lambda seed, shown: RandomSampler(seed=seed))


def tpe() -> Sampled:
    """Tree-structured Parzen estimators; what is asked and not yet told counts as bad, so that asks spread."""
    return Sampled("tpe", lambda seed, shown: TPESampler(seed=seed, n_startup_trials=STARTUP, constant_liar=True))


def nsga2() -> Sampled:
    """NSGA-II: crossings and mutations of the best trials of all (by rank of domination, then by crowding)."""
    return Sampled("nsga2", _nsga2, flat=True)


def _nsga2(seed: int, shown: Shown) -> BaseSampler:
    if shown.measured < STARTUP:
        return RandomSampler(seed=seed)
    return NSGAIISampler(seed=seed, population_size=min(ELITE, max(4, shown.measured // 4)))
