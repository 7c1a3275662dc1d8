"""A study's recipe: everything that its result depends on, checked once, with what it may cost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

from autotts.core.cost import Amount, parse_amount
from autotts.errors import InputError

LEAST = {"trials": 1, "search": 8, "first": 4, "confirm": 8, "block": 4, "slots": 1, "patience": 1, "largest": 1}
PROPOSERS = ("guided", "tpe", "random", "nsga2", "gp", "covering", "insight", "agent")
PRUNING = ("before", "during", "allocation")  # where what is predicted of arms prunes them
STARTS = ("memory", "designed", "none")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a study is asked to do.

    `search` and `confirm` are prompts a level (or in all, for a task without levels); `trials` are raced arms over
    all levels; `slots` are arms a level and round; `patience` rounds of no gain end the study as converged. `largest`
    bounds what is tried: no arm draws more than that many times the work of one draw of the dearest model.
    """

    task: str = "math"
    models: tuple[str, ...] = ()
    strategies: tuple[str, ...] = ()
    budget: str | None = None
    target: float | None = None
    cap: str | None = None
    search_budget: str | None = None
    trials: int = 120
    timeout: float | None = None
    seed: int = 0
    proposer: str = "guided"
    pruning: tuple[str, ...] = PRUNING
    start: str = "memory"
    search: int = 32
    first: int = 8
    confirm: int = 32
    stream: str = "confirm"
    block: int = 8
    slots: int = 3
    patience: int = 2
    budgets: int = 5
    largest: int = 16

    def __post_init__(self) -> None:
        for name, words, right in _typed(self):
            if not right:
                raise InputError(f"{name}: expected {words}, found {getattr(self, name)!r}")
        for name, low in LEAST.items():
            if getattr(self, name) < low:
                raise InputError(f"{name}: expected a whole number of at least {low}, found {getattr(self, name)!r}")
        for what, given, expected in (
            ("proposer", self.proposers or ("",), PROPOSERS),
            ("pruning", self.pruning, PRUNING),
            ("start", (self.start,), STARTS),
        ):
            for name in given:
                if name not in expected:
                    raise InputError(f"{what}: expected some of {', '.join(expected)}, found {name!r}")
        if self.budget is not None and self.target is not None:
            raise InputError("expected --budget or --target, found both: give one of them")
        if self.target is not None and not 0 < self.target <= 1:
            raise InputError(f"target: expected an accuracy above 0 and up to 1, such as 0.9, found {self.target!r}")
        if self.timeout is not None and not self.timeout > 0:
            raise InputError(f"timeout: expected seconds above 0, found {self.timeout!r}")
        if self.stream not in ("confirm", "test"):
            raise InputError(f"stream: expected confirm or test, found {self.stream!r}")
        amounts = [a for a in (self.amount, self.cap_amount, self.search_amount) if a is not None]
        for amount in amounts[1:]:
            if amount.unit != amounts[0].unit:
                raise InputError(
                    f"expected budget, cap and search budget in one unit, found {amounts[0].unit} and {amount.unit}"
                )

    @property
    def proposers(self) -> tuple[str, ...]:
        """Who proposes, in turn."""
        return tuple(dict.fromkeys(name.strip() for name in self.proposer.split(",") if name.strip()))

    @property
    def amount(self) -> Amount | None:
        """The mean budget a prompt."""
        return None if self.budget is None else parse_amount(self.budget, "--budget")

    @property
    def cap_amount(self) -> Amount | None:
        """The most that one prompt may cost."""
        return None if self.cap is None else parse_amount(self.cap, "--cap")

    @property
    def search_amount(self) -> Amount | None:
        """The most that the whole study may spend."""
        return None if self.search_budget is None else parse_amount(self.search_budget, "--search-budget")

    @property
    def unit(self) -> str:
        """The unit that everything is counted in: that of the first amount given, or FLOPs."""
        for amount in (self.amount, self.cap_amount, self.search_amount):
            if amount is not None:
                return amount.unit
        return "flops"

    def identity(self) -> dict[str, Any]:
        """What makes it this study and no other; the rest may change when it is run again."""
        free = {"budget", "target", "search_budget", "trials", "timeout", "budgets", "patience"}
        return {key: value for key, value in asdict(self).items() if key not in free} | {"unit": self.unit}

    def digest(self) -> str:
        """A short hash of the whole recipe."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def recipe_from(values: dict[str, Any], where: str) -> Recipe:
    """A recipe from a TOML table; unknown keys and wrong types are errors that name the key."""
    known = [field.name for field in fields(Recipe)]
    for key in values:
        if key not in known:
            raise InputError(f"{where}: unknown key {key!r}; expected some of {', '.join(known)}")
    listed: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return Recipe(**listed)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _typed(recipe: Recipe) -> Iterator[tuple[str, str, bool]]:
    """Each field, what it should be, and whether it is: recipes come from files and from people's code."""
    for field in fields(Recipe):
        value = getattr(recipe, field.name)
        if field.name in ("models", "strategies", "pruning"):
            right = isinstance(value, tuple) and all(isinstance(x, str) for x in value)
            yield field.name, 'a list of names, such as ["S", "M"]', right
        elif field.name in ("target", "timeout"):
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            yield field.name, "a number", value is None or number
        elif isinstance(field.default, int):
            yield field.name, "a whole number", isinstance(value, int) and not isinstance(value, bool)
        else:
            yield field.name, "a text", isinstance(value, str) or (value is None and field.default is None)
