"""The recipe of a study on recorded answers: everything that its result depends on, checked once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from autotts.core.cost import PARTS, Amount, parse_amount
from autotts.errors import InputError
from autotts.strategies import STRATEGIES


@dataclass(frozen=True, slots=True)
class PoolRecipe:
    """What a study on recorded answers is asked to do.

    `candidates` are the staged, probing arms that are drawn at random and screened (none where the pool has no
    probes); `budgets` are those that the report shows beside the chosen one. `unit` "" is the finest that the pool
    knows.
    """

    pools: tuple[str, ...]
    models: tuple[str, ...] = ()
    strategies: tuple[str, ...] = ()
    params: Mapping[str, float] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    budget: str | None = None
    target: float | None = None
    cap: str | None = None
    unit: str = ""
    candidates: int = 2000
    probe_tokens: int = 0
    seed: int = 0
    budgets: int = 8

    def __post_init__(self) -> None:
        if not self.pools:
            raise InputError("optimize: expected at least one --pool FILE, found none")
        if self.budget is not None and self.target is not None:
            raise InputError("expected --budget or --target, found both: give one of them")
        if self.target is not None and not 0 < self.target <= 1:
            raise InputError(f"target: expected an accuracy above 0 and up to 1, such as 0.9, found {self.target!r}")
        if self.unit and self.unit not in PARTS:
            raise InputError(f"--unit: expected one of {', '.join(PARTS)}, found {self.unit!r}")
        for name, words in (("seed", "--seed"), ("candidates", "--trials"), ("probe_tokens", "--probe-tokens")):
            if getattr(self, name) < 0:
                raise InputError(f"{words}: expected a whole number of at least 0, found {getattr(self, name)}")
        for name in self.strategies:
            if name not in STRATEGIES:
                raise InputError(f"unknown strategy {name!r}; expected some of {', '.join(STRATEGIES)}")
        given = [amount for amount in (self.amount, self.cap_amount) if amount is not None]
        if given and not self.unit:
            object.__setattr__(self, "unit", given[0].unit)
        for amount in given:
            if amount.unit != self.unit:
                raise InputError(f"expected budget, cap and unit alike, found {amount.unit} and {self.unit}")

    @property
    def amount(self) -> Amount | None:
        """The mean budget a prompt."""
        return None if self.budget is None else parse_amount(self.budget, "--budget")

    @property
    def cap_amount(self) -> Amount | None:
        """The most that one prompt may cost."""
        return None if self.cap is None else parse_amount(self.cap, "--cap")

    def identity(self) -> dict[str, Any]:
        """What makes it this study and no other, beside the pool itself; the rest may change when it is run again."""
        free = {"pools", "budget", "target", "cap", "budgets"}
        return {key: value for key, value in asdict(self).items() if key not in free}

    def digest(self) -> str:
        """A short hash of the whole recipe."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
