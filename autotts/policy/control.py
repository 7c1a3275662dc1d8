"""What routes requests under a budget: a request's own wish, how it is to be answered, and control without an account.

`autotts.policy.controller` holds a running mean budget; `Uncontrolled` obeys the policy as it stands. Both are asked
and told in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from autotts.errors import InputError
from autotts.policy import routing
from autotts.policy.routing import Look, Routed
from autotts.policy.schema import Control, Policy

DEFAULT: Final = Control()


@dataclass(frozen=True, slots=True)
class Wish:
    """What one request says of its own budget, in parts of the policy's unit.

    `effort` is the mean budget at which the frontier is entered; one above the dearest setting is that setting.
    `cap` is the most that the request may cost, hard. None is no wish.
    """

    effort: float | None = None
    cap: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("effort", self.effort), ("cap", self.cap)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} of a request: expected a finite number of parts above 0, found {value:g}")


NOTHING: Final = Wish()


@dataclass(frozen=True, slots=True)
class Asked:
    """How one request is to be answered, until it is told what it cost.

    `cap` is the most that it may cost, in parts (None: no limit), and `reserved` what is set aside for it; `effort` is
    the mean budget at which the frontier was entered, `forecast` what the request is expected to cost; `scarce`: the
    account could not grant as much. `tight`: its own wish is what caps it. `paid` is the budget that it brought.
    """

    number: int
    routed: Routed
    cap: int | None
    reserved: int
    effort: float
    forecast: float
    scarce: bool
    tight: bool = False
    paid: float = 0.0


@dataclass(frozen=True, slots=True)
class State:
    """Where a control stands, for people; amounts in parts of the policy's unit.

    `mean` is spent a told request; `effort` the mean budget at which the frontier is entered now; `ratio` how much
    dearer prompts are than the policy expects; `room` what the account holds, allowance included, after what is set
    aside, or None where there is no account; `shortfall` by how much the cheapest setting exceeds the budget on these
    prompts: above 0, caps bind.
    """

    requests: int
    running: int
    spent: float
    mean: float
    effort: float
    ratio: float
    room: float | None
    shortfall: float


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """How others stand that hold parts of the same running budget.

    `held` is what they and their common account hold, in parts; `requests` what they were asked; `others` their number.
    """

    held: float = 0.0
    requests: int = 0
    others: int = 0


ALONE: Final = Elsewhere()


class Ruling(Protocol):
    """What routes requests, and is told what each cost: `Controller` or `Uncontrolled`."""

    @property
    def budget(self) -> float:
        """Mean parts a prompt."""
        ...

    @property
    def state(self) -> State:
        """Where it stands now."""
        ...

    def ask(self, prompt: str, token: str = "", wish: Wish = NOTHING, seen: Look | None = None) -> Asked:
        """Route a request; every ask is to be told, also one that failed."""
        ...

    def tell(self, asked: Asked, cost: float, *, typical: bool = True) -> None:
        """What the request cost, in parts, and whether that shows what its arm costs."""
        ...

    def withdraw(self, asked: Asked) -> None:
        """Take a request back that was refused before anything was spent."""
        ...

    def adopt(self, policy: Policy, budget: float | None = None) -> None:
        """Obey another policy from now on."""
        ...


def made_for(policy: Policy) -> float:
    """The mean budget that a policy was made for."""
    stated = None if policy.controller is None else policy.controller.budget
    return policy.frontier[policy.default].expected.cost if stated is None else stated


def checked(policy: Policy, wish: Wish) -> None:
    """Refuse a wish that not even the cheapest setting meets.

    Raises
    ------
    BudgetError
        It names the cheapest arms and what they cost.
    """
    least = policy.frontier[0].expected.cost
    for value in (wish.effort, wish.cap):
        if value is not None and value < least:
            routing.settings_at(policy, value)


def known(cost: float | None, effort: float) -> float:
    """What an arm costs as the policy expects it; where it does not tell, what the setting costs."""
    return effort if cost is None else cost


def lower(policy: Policy, seen: Look, effort: float, fits: Callable[[float], bool]) -> float:
    """The dearest setting below an effort of which every arm that the prompt may get fits, by its expected cost.

    Where there is none, the cheapest.
    """
    for setting in reversed(policy.frontier):
        cost = setting.expected.cost
        if cost < effort:
            arms = routing.among(policy, seen, cost)
            if fits(max(known(routing.expected(policy, seen, arm)[1], cost) for arm, _ in arms)):
                return cost
    return policy.frontier[0].expected.cost


class Uncontrolled:
    """A policy as it stands, whatever its requests cost: there is no account, only the caps of policy and wish.

    Parameters
    ----------
    budget
        Mean parts at which the frontier is entered where a request does not wish otherwise; None is the policy's
        default setting.

    Raises
    ------
    BudgetError
        Where the budget is below the cheapest setting.
    """

    def __init__(self, policy: Policy, budget: float | None = None) -> None:
        self.adopt(policy, budget)
        self._open: set[int] = set()
        self._asked = 0
        self._number = 0
        self._spent = 0.0

    def adopt(self, policy: Policy, budget: float | None = None) -> None:
        """Obey another policy from now on; as `Controller.adopt`."""
        routing.shares(policy, policy.difficulty.bins[0], budget)
        self._policy = policy
        self._stated = budget
        self.budget = policy.frontier[policy.default].expected.cost if budget is None else float(budget)
        self._margin = (policy.controller or DEFAULT).margin

    @property
    def reached(self) -> list[str]:
        """The arms that requests without a wish can be routed to."""
        return routing.reached(self._policy, self._stated)

    def ask(self, prompt: str, token: str = "", wish: Wish = NOTHING, seen: Look | None = None) -> Asked:
        """As `Controller.ask`, with nothing set aside."""
        checked(self._policy, wish)
        seen = routing.look(self._policy, prompt) if seen is None else seen
        wished = self._stated if wish.effort is None else wish.effort
        effort = self.budget if wished is None else wished
        routed = routing.route(self._policy, seen, wished, token)
        if wish.cap is not None and known(routed.cost, effort) * self._margin > wish.cap:
            most = wish.cap / self._margin
            effort = lower(self._policy, seen, effort, lambda cost: cost <= most)
            routed = routing.route(self._policy, seen, effort, token)
        caps = [cap for cap in (self._policy.cap, wish.cap) if cap is not None]
        self._asked += 1
        self._number += 1
        self._open.add(self._number)
        return Asked(
            number=self._number,
            routed=routed,
            cap=math.floor(min(caps)) if caps else None,
            reserved=0,
            effort=effort,
            forecast=known(routed.cost, effort),
            scarce=False,
            tight=wish.cap is not None and wish.cap == min(caps),
        )

    def withdraw(self, asked: Asked) -> None:
        """Take a request back; as `Controller.withdraw`."""
        check_told(asked, 0.0, asked.number in self._open)
        self._open.remove(asked.number)
        self._asked -= 1

    def tell(self, asked: Asked, cost: float, *, typical: bool = True) -> None:
        """What a request cost, in parts; as `Controller.tell`."""
        check_told(asked, cost, asked.number in self._open)
        self._open.remove(asked.number)
        self._spent += cost

    @property
    def state(self) -> State:
        """Where it stands now."""
        told = self._asked - len(self._open)
        return State(
            requests=self._asked,
            running=len(self._open),
            spent=self._spent,
            mean=self._spent / told if told else 0.0,
            effort=self.budget,
            ratio=1.0,
            room=None,
            shortfall=0.0,
        )


def check_told(asked: Asked, cost: float, running: bool) -> None:
    """Refuse a cost that is no finite number >= 0, or of a request that does not run."""
    if not (math.isfinite(cost) and cost >= 0):
        raise InputError(f"controller: expected a finite cost >= 0 of request {asked.number}, found {cost}")
    if not running:
        raise InputError(f"controller: expected the cost of a running request, each once, found that of {asked.number}")
