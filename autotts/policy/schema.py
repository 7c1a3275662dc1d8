"""The policy file: what a study exports and a server obeys, as data that loading never executes.

`format` is a file format: changing what a key means needs a decision record and a new version. Keys that this version
does not know are kept; what a reader must know to obey the policy stands in `requires`, and is refused if unknown.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from autotts.core.strategy import Strategy
from autotts.errors import InputError
from autotts.policy import check, routing
from autotts.policy.files import dumps, parse_json, read_json, write_atomic
from autotts.policy.perprompt import REQUIRES, Floats
from autotts.predict.levels import LevelModel
from autotts.predict.performance import Performance
from autotts.strategies.arms import parse

VERSION: Final = 1
FORMAT: Final = f"autotts.policy/{VERSION}"
KNOWN: Final = frozenset({REQUIRES})  # entries of `requires` that this version obeys

_FORMAT: Final = re.compile(r"autotts\.policy/([0-9]{1,9})")


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
    """What the policy was made for: the task, how its answers are read and graded, the hash of its prompts.

    `instruction` tells chat models in what form the reader expects the answer.
    """

    name: str
    reader: str
    grader: str
    prompts: str = ""
    instruction: str | None = None


class Bound(Entry):
    """What a role was bound to, and the card that its costs were computed from."""

    binding: dict[str, Any] = {}
    card: dict[str, Any] = {}


class Expected(Entry):
    """Mean value and mean cost a prompt, in parts of the policy's unit, as the search prompts showed them."""

    value: float
    cost: float = Field(ge=0)


class Arm(Entry):
    """A strategy with its knobs, such as `vote(n=8, model=S, temperature=0.8)`, and what it gave in each bin."""

    arm: str
    expected: dict[str, Expected] = {}


class Difficulty(Sparing):
    """How prompts are told apart: bin i is level `model.levels[i]`; kind "none" puts all in the one bin.

    Kind "performance" has the one bin "all" too, and takes the arm that `performance` expects most of, prompt by
    prompt; its `arms` are keys of the policy's.
    """

    kind: Literal["levels", "none", "performance"]
    features: list[str] = []
    model: LevelModel | None = None
    performance: Performance | None = None
    bins: list[str]


class Setting(Sparing):
    """One point of the frontier: the arms of each bin, with shares that sum to one, for a mean budget.

    With kind "performance" a prompt gets its arm with the most value - multiplier * cost, cost in parts, and `route`
    says how often an arm is expected to be that one.
    """

    budget: float = Field(gt=0)
    multiplier: float | None = Field(default=None, ge=0)
    route: dict[str, list[tuple[str, float]]]
    expected: Expected


class Control(Entry):
    """How the running mean budget is held while serving (`autotts.policy.controller`); amounts in mean budgets.

    Parameters
    ----------
    budget
        The mean budget that was asked for, in parts; by default what the policy's default setting is expected to cost.
    allowance
        How far total spend may ever exceed what the requests so far were granted.
    saving
        What is kept back after n requests, as a multiple of sqrt(n).
    running
        What is kept back besides, for each request that usually runs at once.
    gain, early, warmup
        How strongly effort follows the account, on the log scale, and how much more at the start, and over how many
        requests that fades.
    prior, caution
        What the first requests are taken to cost in relation to what the policy expects, and for how many requests
        that counts.
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
    """Where the policy comes from."""

    version: str = ""
    date: str = ""
    seed: int = 0
    command: str = ""


class Policy(Entry):
    """A whole policy. `default` is the index of the setting that serves where no budget is given."""

    format: str = FORMAT
    requires: list[str] = []
    task: TaskName
    models: dict[str, Bound]
    scorers: dict[str, Bound] = {}
    unit: str
    arms: dict[str, Arm]
    difficulty: Difficulty
    frontier: list[Setting]
    default: int = 0
    cap: float | None = Field(default=None, gt=0)
    controller: Control | None = None
    evidence: dict[str, Any] = {}
    made: Made = Made()

    @classmethod
    def load(cls, path: str | Path) -> Policy:
        """Read and validate a policy file.

        Raises
        ------
        InputError
            It names the file, the place in it, what was expected and what was found.
        """
        return cls._of_json(read_json(Path(path)), str(path))

    @classmethod
    def loads(cls, text: str, where: str = "policy") -> Policy:
        """Read and validate the text of a policy file; `where` names it in messages."""
        return cls._of_json(parse_json(text, where), where)

    @classmethod
    def _of_json(cls, data: Any, where: str) -> Policy:
        _check_format(data, where)
        try:
            # JSON mode lets arrays stand for pairs while all else is strict.
            policy = cls.model_validate_json(json.dumps(data))
        except ValidationError as error:
            raise InputError(_explained(error, where)) from None
        check.check(policy, where)
        return policy

    def save(self, path: str | Path) -> None:
        """Validate and write the policy file; at every moment the old or the new one is there whole."""
        check.check(self, str(path))
        write_atomic(Path(path), self.dumps())

    def dumps(self) -> str:
        """The text of the policy file."""
        try:
            # Not in JSON mode, which would write null for NaN. A policy without a controller stays without the key.
            return dumps(self.model_dump(exclude={"controller"} if self.controller is None else None)) + "\n"
        except ValueError as error:
            raise InputError(f"policy: expected finite numbers only: {error}") from None

    @cached_property
    def strategies(self) -> Mapping[str, Strategy]:
        """The strategy of each arm."""
        return {name: parse(arm.arm) for name, arm in self.arms.items()}

    @cached_property
    def digest(self) -> str:
        """Hash of what decides about a prompt; evidence added later must not route prompts elsewhere."""
        data = self.model_dump(mode="json", include={"unit", "arms", "difficulty", "frontier", "default"})
        return hashlib.blake2b(json.dumps(data, sort_keys=True).encode(), digest_size=16).hexdigest()

    def effort(self, dial: float) -> float:
        """The mean budget, in parts, that a dial from 0 (cheapest setting) to 1 (dearest) stands for.

        Equal steps of the dial multiply the budget by equal factors.

        Raises
        ------
        InputError
            For a dial outside of 0 to 1.
        """
        if not 0 <= dial <= 1:
            raise InputError(f"effort: expected a number from 0 (cheapest) to 1 (best), found {dial:g}")
        low, high = self.frontier[0].expected.cost, self.frontier[-1].expected.cost
        if dial in (0, 1) or low <= 0:
            return low + dial * (high - low) if dial < 1 else high
        return min(max(low * math.exp(dial * (math.log(high) - math.log(low))), low), high)

    def bin(self, prompt: str) -> tuple[str, dict[str, float]]:
        """The bin of a prompt, and the probability of each bin."""
        return routing.bin_of(self, prompt)

    def shares(self, bin: str, budget: float | None = None) -> tuple[tuple[str, float], ...]:
        """Arms of a bin with their shares at a mean budget (parts of `unit`); None is the policy's default.

        With kind "performance" these are the shares expected over prompts.
        """
        return routing.shares(self, bin, budget)

    def route(
        self, prompt: str, budget: float | None = None, token: str = "", *, embedding: Floats | None = None
    ) -> routing.Routed:
        """The arm for a prompt.

        Parameters
        ----------
        prompt
            The bare text of the prompt, without any template.
        budget
            Mean budget a prompt, in parts of `unit`. Between two settings their mixture meets it exactly; above the
            dearest, that one is used. None is the policy's default.
        token
            Where several arms share a bin, the policy, the prompt and this token decide: the same three give the same
            arm, and another token draws again.
        embedding
            Of the prompt, [E], where the policy's `features` name one. Without it, or with NaN in it, such a policy
            takes the shares expected over prompts, and `Routed.fallback` says so.

        Raises
        ------
        BudgetError
            Below the cheapest setting; it names the cheapest arms and their cost.
        """
        return routing.route(self, routing.look(self, prompt, embedding), budget, token)


def _check_format(data: Any, where: str) -> None:
    """Refuse what is not a policy, or one that needs a newer version, before anything else is looked at."""
    if not isinstance(data, dict):
        raise InputError(f"{where}: expected a policy (a JSON object), found {type(data).__name__}")
    found = data.get("format")
    version = _FORMAT.fullmatch(found) if isinstance(found, str) else None
    if version is None:
        raise InputError(f"{where}: format: expected {FORMAT!r}, found {found!r}; is this a policy file?")
    if int(version.group(1)) > VERSION:
        raise InputError(
            f"{where}: format: this policy was written by a newer autotts ({found}; this one reads up to {FORMAT}): "
            "upgrade with pip install --upgrade autotts-optimizer"
        )
    if int(version.group(1)) < VERSION:
        raise InputError(f"{where}: format: expected {FORMAT!r}, found {found!r}")
    requires = data.get("requires", [])
    for entry in requires if isinstance(requires, list) else []:
        if entry not in KNOWN:
            raise InputError(
                f"{where}: requires: this policy needs {entry!r}, which this version of autotts does not know: "
                "upgrade with pip install --upgrade autotts-optimizer"
            )


def _explained(error: ValidationError, where: str) -> str:
    """What pydantic found, as places in the file: `policy.json: frontier[2].budget: ...`."""
    found = []
    for item in error.errors()[:3]:
        place = "".join(f"[{x}]" if isinstance(x, int) else f".{x}" for x in item["loc"]).removeprefix(".")
        value = repr(item.get("input"))
        shown = "" if item["type"] == "missing" or len(value) > 60 else f", found {value}"
        found.append(f"{place or 'policy'}: {item['msg']}{shown}")
    more = error.error_count() - len(found)
    return f"{where}: {'; '.join(found)}" + (f"; and {more} more" if more > 0 else "")
