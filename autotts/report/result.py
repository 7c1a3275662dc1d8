"""`result.json` as typed values; what is missing or null stays missing, so that a partial result can be shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from autotts.errors import InputError

FORMAT = "autotts.result/1"


def _text(value: object) -> object:
    return value if isinstance(value, str) else str(value)


Words: TypeAlias = Annotated[str, BeforeValidator(_text)]
Route: TypeAlias = dict[Words, list[tuple[Words, float]]]


class Part(BaseModel):
    """A part of a result: keys that are absent, null or not finite take their defaults, unknown keys are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _drop_missing(cls, data: object) -> object:
        if not isinstance(data, Mapping):
            return data
        return {
            key: value
            for key, value in data.items()
            if value is not None and not (isinstance(value, float) and not math.isfinite(value))
        }


class Interval(Part):
    """An estimate with its 95 % interval; shares and differences of shares, not percent."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


class Cost(Part):
    """Cost of a prompt in smallest parts of a unit: mean with its 95 % interval, and the 95th percentile."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    p95: float | None = None
    cap: float | None = None


class Stopped(Part):
    """Why the search ended."""

    why: str = ""
    words: str = ""


class Budget(Part):
    """The mean budget that was asked for, and whether it binds."""

    asked: float | None = None
    text: str = ""
    binds: bool | None = None
    words: str = ""


class Chosen(Part):
    """The exported policy: its mean budget and who gets which arm."""

    budget: float | None = None
    route: Route = {}


class Baseline(Part):
    """Something simpler that our policy is compared with; `difference` is ours minus it."""

    name: Words = ""
    kind: str = ""
    route: Route = {}
    accuracy: Interval = Interval()
    cost: Cost = Cost()
    difference: Interval = Interval()
    note: str = ""
    attainable: bool = True


class Uniform(Part):
    """The best mixture of arms that treats all prompts alike, at one budget."""

    route: Route = {}
    accuracy: Interval = Interval()
    cost: Cost = Cost()


class Step(Part):
    """The policy at one mean budget, beside the uniform mixture at the same budget."""

    budget: float | None = None
    binds: bool | None = None
    route: Route = {}
    accuracy: Interval = Interval()
    cost: Cost = Cost()
    uniform: Uniform = Uniform()
    difference: Interval = Interval()
    equal_accuracy_cost: float | None = None


class Arm(Part):
    """An arm on the search prompts of one level; `chosen` is its share in the policy."""

    arm: Words = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    cost: float | None = None
    free: bool = False
    frontier: bool = False
    chosen: float = 0.0


class Counts(Part):
    """Prompts that the search used and prompts that the result was confirmed on."""

    search: int | None = None
    confirm: int | None = None
    weights: str = ""


class Confirmed(Part):
    """What the policy reached on the held-out prompts of one level."""

    accuracy: Interval = Interval()
    cost: Cost = Cost()


class Level(Part):
    """One difficulty level, or all prompts."""

    bin: Words = "all"
    share: float | None = None
    prompts: Counts = Counts()
    arms: list[Arm] = []
    confirmed: Confirmed = Confirmed()


class Difficulty(Part):
    """The rule that predicts a prompt's level: its accuracy out of fold, and on the held-out prompts."""

    kind: str = ""
    accuracy: float | None = None
    confirm_accuracy: float | None = None


class Spend(Part):
    """New work that the study did, in smallest parts of its unit."""

    total: float | None = None
    search: float | None = None
    confirm: float | None = None
    by_model: dict[Words, float | None] = {}
    draws: int | None = None
    reused: int | None = None
    scores: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    search_budget: float | None = None


class Trials(Part):
    """Trials by what became of them."""

    raced: int | None = None
    pruned: int | None = None
    free: int | None = None
    failed: int | None = None


class Round(Part):
    """One round of the search: hypervolume reached, draws made, what they cost."""

    round: int | None = None
    area: float | None = None
    draws: int | None = None
    spend: float | None = None
    seconds: float | None = None


class Result(Part):
    """All that a study found."""

    study: Words = "study"
    unit: str = "flops"
    stopped: Stopped = Stopped()
    budget: Budget = Budget()
    policy: Chosen = Chosen()
    accuracy: Interval = Interval()
    cost: Cost = Cost()
    baselines: list[Baseline] = []
    frontier: list[Step] = []
    levels: list[Level] = []
    difficulty: Difficulty = Difficulty()
    spend: Spend = Spend()
    prompts: Counts = Counts()
    trials: Trials = Trials()
    rounds: list[Round] = []
    verdict: str = ""
    provenance: dict[str, object] = {}


def read(result: Mapping[str, object]) -> Result:
    """The typed form of a `result.json`.

    Raises
    ------
    InputError
        When the format is of another kind, or an entry is not what it should be; the message names the entry.
    """
    found = result.get("format", FORMAT)
    if found != FORMAT:
        raise InputError(f"result.json: expected format {FORMAT!r}, found {found!r}; make it again with this version")
    try:
        return Result.model_validate(dict(result))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the top"
        raise InputError(
            f"result.json at {where}: {first['msg']}, found {str(first['input'])[:80]!r}; "
            "run the study again with the same command to write it anew"
        ) from None
