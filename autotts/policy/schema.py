"""The policy file: what a study exports and a server obeys, as data that loading never executes.

`format` is a file format: changing what a key means needs a decision record and a new version. Keys that this version
does not know are kept; what a reader must know to obey the policy stands in `requires`, and is refused if unknown.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr, ValidationError

from autotts.core.strategy import Strategy
from autotts.errors import InputError
from autotts.policy import check, routing
from autotts.policy.entries import Arm, Bound, Control, Difficulty, Entry, Made, Setting, TaskName
from autotts.policy.files import dumps, parse_json, read_json, write_atomic
from autotts.policy.order import Order
from autotts.policy.perprompt import Floats
from autotts.policy.reading import FORMAT, explained, refusals
from autotts.policy.seen import Seen
from autotts.strategies.arms import parse

__all__ = ["Arm", "Bound", "Control", "Difficulty", "Entry", "Made", "Policy", "Setting", "TaskName"]


class Policy(Entry):
    """A whole policy.

    Parameters
    ----------
    format
        Names this format and its version.
    requires
        What a reader must know to obey the policy; a reader refuses what it does not know.
    task
        What the policy was made for.
    models
        The roles that draw, by the names that arms use.
    scorers
        The roles that score, likewise.
    unit
        What costs are counted in. Amounts are in its smallest parts: a FLOP, a token, a call, 1e-12 s, 1e-12 dollars.
    arms
        The arms by id, which routes name.
    difficulty
        How prompts are told apart.
    frontier
        The settings, from the cheapest to the dearest.
    default
        The index of the setting that serves where no budget is given.
    cap
        The most that one prompt may cost, in parts.
    controller
        How the running mean budget is held while serving.
    seen
        What the prompts of the study looked like: what served ones are compared with.
    evidence
        What was measured on prompts that the search did not see: accuracy, cost, baselines, all with 95 % intervals.
    made
        Where the policy comes from.
    """

    format: str = FORMAT
    requires: list[str] = Field(default=[])
    task: TaskName
    models: dict[str, Bound]
    scorers: dict[str, Bound] = Field(default={})
    unit: str
    arms: dict[str, Arm]
    difficulty: Difficulty
    frontier: list[Setting]
    default: int = 0
    cap: float | None = Field(default=None, gt=0)
    controller: Control | None = None
    seen: Seen | None = None
    evidence: dict[str, Any] = Field(default={})
    made: Made = Made()

    _order: Order = PrivateAttr(default_factory=Order)

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
        for problem in refusals(data):
            raise InputError(f"{where}: {problem}")
        try:
            # JSON mode lets arrays stand for pairs while all else is strict.
            policy = cls.model_validate_json(json.dumps(data))
        except ValidationError as error:
            raise InputError(f"{where}: {explained(error)}") from None
        check.check(policy, where)
        policy._order = Order(data)
        return policy

    def save(self, path: str | Path) -> None:
        """Validate and write the policy file; at every moment the old or the new one is there whole."""
        check.check(self, str(path))
        write_atomic(Path(path), self.dumps())

    def dumps(self) -> str:
        """The text of the policy file; keys stand as in the file that it was read from."""
        try:
            # Not in JSON mode, which would write null for NaN. A policy without a controller stays without the key.
            absent = {key for key in ("controller", "seen") if getattr(self, key) is None}
            return dumps(self._order.of(self.model_dump(exclude=absent))) + "\n"
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
