"""The entries of a policy file, from what it was made for to how its budget is held; `schema` makes a policy of them.

What a docstring says of a key is what the published JSON Schema says of it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from autotts.predict.levels import LevelModel
from autotts.predict.performance import Performance


class Entry(BaseModel):
    """A JSON object of the file: typed, finite, and with room for keys of later versions."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True, strict=True)


class Sparing(Entry):
    """An entry that leaves out the keys of `_SPARED` that are None: only one kind of policy has them."""

    _SPARED: ClassVar[frozenset[str]] = frozenset({"performance", "multiplier", "instruction"})

    @model_serializer(mode="wrap")
    def _spare(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        return {key: value for key, value in data.items() if value is not None or key not in self._SPARED}


class TaskName(Sparing):
    """What the policy was made for.

    Parameters
    ----------
    name
        The task's name.
    reader, grader
        How an answer is read out of a text, and how it is compared with the right one.
    prompts
        A hash of the prompts of the study.
    instruction
        What chat models are told of the form in which the reader expects the answer.
    """

    name: str
    reader: str
    grader: str
    prompts: str = ""
    instruction: str | None = None


class Bound(Entry):
    """What a role was bound to, and what its costs were computed from.

    Parameters
    ----------
    binding
        How the model is asked: engine, name on the server, template, most tokens; its `id` names all of them.
    card
        Its parameters, shape and prices.
    """

    binding: dict[str, Any] = {}
    card: dict[str, Any] = {}


class Expected(Entry):
    """What is expected a prompt, as the search prompts showed it.

    Parameters
    ----------
    value
        Mean value: with graders of right and wrong, the share of right answers.
    cost
        Mean cost in parts of the policy's unit.
    """

    value: float
    cost: float = Field(ge=0)


class Arm(Entry):
    """A strategy with its knobs, and what it gave.

    Parameters
    ----------
    arm
        Its text, such as `vote(n=8, model=S, temperature=0.8)`; models and scorers by their roles.
    expected
        What it gave in each bin where it was measured.
    """

    arm: str
    expected: dict[str, Expected] = {}


class Difficulty(Sparing):
    """How prompts are told apart.

    Parameters
    ----------
    kind
        "none" (all prompts alike), "levels" (a bin for each predicted level) or "performance" (an arm for each prompt).
    features
        What a prompt is looked at by; those of the model, or the groups of the predictor.
    model
        Of kind "levels": predicts the level of a prompt.
    performance
        Of kind "performance": predicts value and cost of each arm; its `arms` are keys of the policy's.
    bins
        Their names: bin i is level `model.levels[i]`; the other kinds have one.
    """

    kind: Literal["levels", "none", "performance"]
    features: list[str] = []
    model: LevelModel | None = None
    performance: Performance | None = None
    bins: list[str]


class Setting(Sparing):
    """One point of the frontier: who gets what at a mean budget.

    Parameters
    ----------
    budget
        The mean budget a prompt that it was made for, in parts; settings rise in it.
    multiplier
        With kind "performance": the value of one part of cost. A prompt gets its arm with the most value - multiplier *
        cost, and `route` says how often an arm is expected to be that one.
    route
        For each bin its arms (keys of `arms`) with their shares, which sum to one.
    expected
        Mean value and cost over prompts; the cost of settings never falls.
    """

    budget: float = Field(gt=0)
    multiplier: float | None = Field(default=None, ge=0)
    route: dict[str, list[tuple[str, float]]]
    expected: Expected


class Control(Entry):
    """How the running mean budget is held while serving (`autotts.policy.controller`); amounts in mean budgets.

    Parameters
    ----------
    kind
        The one way that there is: every request adds a budget to an account, and its cost is taken from it.
    budget
        The mean budget that was asked for, in parts; by default what the policy's default setting is expected to cost.
    allowance
        How far total spend may ever exceed what the requests so far were granted.
    saving
        What is kept back after n requests, as a multiple of sqrt(n).
    running
        What is kept back besides, for each request that usually runs at once.
    gain
        How strongly effort follows the account, on the log scale.
    early, warmup
        How much more strongly at the start, and over how many requests that fades.
    prior, caution
        For how many requests it counts what requests are taken to cost at first, and how many times what the policy
        expects that is.
    memory
        Requests after which costs seen are forgotten.
    margin
        An arm is begun only if its cap is so many times its expected cost.
    floor
        What a request may cost that even the cheapest arm would not fit.
    """

    kind: Literal["credit"] = "credit"
    budget: float | None = Field(default=None, gt=0)
    allowance: float = Field(default=6.0, gt=0, le=1e6)
    saving: float = Field(default=0.25, ge=0, le=1e6)
    running: float = Field(default=5.0, ge=0, le=1e6)
    gain: float = Field(default=0.3, gt=0, le=10)
    early: float = Field(default=1.2, ge=0, le=10)
    warmup: float = Field(default=30.0, gt=0, le=1e9)
    prior: float = Field(default=5.0, gt=0, le=1e9)
    caution: float = Field(default=1.1, gt=0, le=100)
    memory: float = Field(default=200.0, gt=1, le=1e9)
    margin: float = Field(default=1.5, ge=1, le=100)
    floor: float = Field(default=0.5, gt=0, le=1)


class Made(Entry):
    """Where the policy comes from.

    Parameters
    ----------
    version
        Of autotts.
    date
        In UTC, as in 2026-01-31T12:00:00Z.
    seed
        Of everything that was random.
    command
        As it was typed.
    """

    version: str = ""
    date: str = ""
    seed: int = 0
    command: str = ""
