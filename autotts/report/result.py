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


def _measured(value: object) -> object:
    return {"value": value} if isinstance(value, int | float) else value


Measured: TypeAlias = Annotated[Interval, BeforeValidator(_measured)]  # with its interval, or the number alone


class Cost(Part):
    """Cost of a prompt in smallest parts of a unit: mean with its 95 % interval, and the 95th percentile.

    `sequential` is the mean number of tokens on the critical path.
    """

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    p95: float | None = None
    sequential: float | None = None
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
    """Something simpler that our policy is compared with; `difference` is ours minus it.

    `over_uniform` is its accuracy minus that of the best uniform mixture at the same cost.
    """

    name: Words = ""
    kind: str = ""
    route: Route = {}
    accuracy: Interval = Interval()
    cost: Cost = Cost()
    difference: Interval = Interval()
    over_uniform: Interval = Interval()
    note: str = ""
    attainable: bool = True


class Uniform(Part):
    """The best mixture of arms that treats all prompts alike, at one budget."""

    route: Route = {}
    accuracy: Interval = Interval()
    cost: Cost = Cost()


class Oracle(Part):
    """What perfect knowledge of each prompt would give at a budget; nobody can have it."""

    accuracy: Measured = Interval()
    cost: Cost = Cost()


class Step(Part):
    """The policy at one mean budget, beside the uniform mixture at the same budget.

    `captured` is the policy's share of the way from the uniform mixture to the oracle.
    """

    budget: float | None = None
    binds: bool | None = None
    route: Route = {}
    accuracy: Interval = Interval()
    cost: Cost = Cost()
    uniform: Uniform = Uniform()
    difference: Interval = Interval()
    equal_accuracy_cost: float | None = None
    oracle: Oracle = Oracle()
    captured: Measured = Interval()

    @property
    def headroom(self) -> float | None:
        """What the oracle gets right more than the uniform mixture."""
        best, alike = self.oracle.accuracy.value, self.uniform.accuracy.value
        return None if best is None or alike is None else best - alike


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


class Scored(Part):
    """A candidate predictor's figures out of fold; `gain` is the log loss saved over the constant, in nats."""

    name: Words = ""
    log_loss: float | None = None
    calibration_error: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None


class Predictor(Part):
    """What predicts each arm's chance from the prompt: the kind taken and why, beside the candidates."""

    kind: str = ""
    why: str = ""
    prompts: int | None = None
    arms: int | None = None
    scores: list[Scored] = []


class Difficulty(Part):
    """How prompts are told apart, and why; `folds` are how many decided so each.

    The accuracies are those of a rule that predicts a prompt's level: out of fold, and on the held-out prompts.
    """

    kind: str = ""
    accuracy: float | None = None
    confirm_accuracy: float | None = None
    why: str = ""
    folds: dict[Words, int] = {}
    predictor: Predictor | None = None


class Spend(Part):
    """New work that the study did, in smallest parts of its unit."""

    total: float | None = None
    search: float | None = None
    confirm: float | None = None
    by_model: dict[Words, float | None] = {}
    by_kind: dict[Words, float | None] = {}
    draws: int | None = None
    reused: int | None = None
    scores: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    search_budget: float | None = None


class Trials(Part):
    """Trials by what became of them."""

    raced: int | None = None
    skipped: int | None = None  # before they were begun, for what was predicted
    pruned: int | None = None  # during their race
    left: int | None = None  # as the study went on with more prompts
    refused: int | None = None  # proposals that are no arm of this study
    free: int | None = None
    failed: int | None = None


class Foretold(Part):
    """What the predictor of arms was worth: on arms that it had not seen, beside the mean of their level.

    inside: the share within 1.96 of its standard deviations; r2_over_level_mean: how much nearer it came than the mean.
    """

    kind: str = ""
    why: str = ""
    n: int | None = None
    inside: float | None = None
    r2_over_level_mean: float | None = None
    inflation: float | None = None


class Agent(Part):
    """What the language model that proposed did, and what it took."""

    asked: int | None = None
    proposed: int | None = None
    invalid: int | None = None
    repeated: int | None = None
    failed: int | None = None
    tokens: int | None = None


class Proposed(Part):
    """Who proposed how many arms and what became of them, and what a user should know of it."""

    by: dict[str, dict[str, int]] = {}
    notes: list[Words] = []
    predictor: Foretold | None = None
    agent: Agent | None = None


class Round(Part):
    """One round of the search: hypervolume reached, draws made, what they cost."""

    round: int | None = None
    prompts: int | None = None  # of a level, that arms took
    area: float | None = None
    draws: int | None = None
    spend: float | None = None
    seconds: float | None = None


class Routed(Part):
    """RouteLLM's figures of one way to choose between two models (2406.18665).

    apgr: the mean share of the gap between them that is closed, over all shares of prompts for the strong one; cptX:
    the share of prompts that the strong model must get to close X % of the gap.
    """

    name: Words = ""
    apgr: Measured = Interval()
    cpt20: Measured = Interval()
    cpt50: Measured = Interval()
    cpt80: Measured = Interval()


class Routing(Part):
    """Two models and the ways to choose between them."""

    weak: Words = ""
    strong: Words = ""
    weak_accuracy: Measured = Interval()
    strong_accuracy: Measured = Interval()
    rows: list[Routed] = []


class Crossfit(Part):
    """Prompts that were each answered by a policy chosen on the others."""

    folds: int | None = None
    problems: int | None = None
    words: str = ""


class Source(Part):
    """The recorded answers that a study rests on."""

    files: list[Words] = []
    roles: list[Words] = []


class Result(Part):
    """All that a study found."""

    study: Words = "study"
    unit: str = "flops"
    stopped: Stopped = Stopped()
    budget: Budget = Budget()
    policy: Chosen = Chosen()
    accuracy: Interval = Interval()
    cost: Cost = Cost()
    over_uniform: Interval = Interval()
    baselines: list[Baseline] = []
    frontier: list[Step] = []
    levels: list[Level] = []
    difficulty: Difficulty = Difficulty()
    spend: Spend = Spend()
    prompts: Counts = Counts()
    trials: Trials = Trials()
    rounds: list[Round] = []
    proposed: Proposed = Proposed()
    verdict: str = ""
    routing: Routing = Routing()
    notes: list[Words] = []
    crossfit: Crossfit | None = None
    pool: Source = Source()
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
