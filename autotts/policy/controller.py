"""The live controller: it holds the running mean budget of a policy, also on prompts dearer than it was made from.

Two loops share one account, to which every request adds one budget and from which every cost is taken.

*Effort* (soft). The frontier is entered at a nominal budget, the effort. It is what a request may cost now, divided by
how much dearer prompts have turned out than the policy expects; what a request may cost now is the budget, times how
full the account is to a power. So the mean settles at the budget on harder and on easier prompts alike, between the
cheapest and the dearest setting. The account is meant to fill slowly, with the square root of the requests, as the
noise of a sum grows: early requests cost a few per cent less, and in the long run the mean is just below the budget.

*Cap* (hard). The account may be overdrawn by `allowance` budgets and never by more: a request gets a hard limit that
is set aside until its cost is told. If no cost exceeds its cap, then at every moment, with any number running,

    spent + set aside <= budget * requests + allowance * budget.

With the default allowance of 6 that is at most 2 % over after 300 requests, whatever the prompts cost. An arm that
would probably not fit under the cap is not begun: a cheaper setting is taken. Where even the cheapest does not fit,
answers come from last offers: such a request gets half a budget, so that others can run to their end.

A request may wish for another effort and for a cap of its own. More effort is granted as long as a quarter of what the
account should hold is left to others, so the mean settles at the budget though all wish for the best. What a wish has
capped teaches nothing about costs.

Parts can be given to and taken from an account that several controllers share (`give`, `take`); what is said above
then holds for all of them together, with one allowance. Another policy may be adopted, without a second allowance.

Nothing here asks a clock or a random source: the same requests, told in the same order, are routed in the same way.
"""

from __future__ import annotations

import math
from typing import Final

from autotts.errors import InputError
from autotts.policy import routing
from autotts.policy.control import (
    ALONE,
    DEFAULT,
    NOTHING,
    Asked,
    Elsewhere,
    State,
    Uncontrolled,
    Wish,
    check_told,
    checked,
    known,
    lower,
    made_for,
)
from autotts.policy.routing import Look
from autotts.policy.schema import Policy

__all__ = [
    "ALONE",
    "DEFAULT",
    "NOTHING",
    "Asked",
    "Controller",
    "Elsewhere",
    "State",
    "Uncontrolled",
    "Wish",
    "made_for",
]

EMPTIEST: Final = 0.01  # of a full account: below it effort is at its lowest anyway
DEAREST: Final = 1.5  # budgets that a request may cost, however full the account is
FULL: Final = 4.0  # what is saved beyond so many full accounts is given up
CALM: Final = 0.98  # a request: how fast the most that ran at once is forgotten
PUT_BY: Final = 0.03  # budgets a request that may be saved for requests that run at once
KEPT: Final = 0.25  # of what the account should hold: so much is left to others by requests that wish for more effort


class Controller:
    """Holds the mean budget of a policy over the requests that it is asked about.

    Parameters
    ----------
    policy
        Its `controller` entry sets the parameters; without one, `DEFAULT` does.
    budget
        Mean parts a prompt; None is what the policy was made for: its controller says so, or else its default setting.

    Attributes
    ----------
    budget
        Mean parts a prompt.
    bound
        The most that total spend can ever exceed budget * requests, in parts, if no cost exceeds its cap.

    Raises
    ------
    BudgetError
        Where the budget is below the cheapest setting, as the policy expects it.
    """

    def __init__(self, policy: Policy, budget: float | None = None) -> None:
        self._obey(policy, budget)
        self._open: dict[int, Asked] = {}
        self._asked = 0
        self._number = 0
        self._spent = 0.0
        self._account = 0.0  # budgets paid in, less costs, less what was given up; allowance not included
        self._reserved = 0.0
        self._forecasts = 0.0  # of what is running
        self._peak = 1.0  # the most that ran at once, lately
        self._elsewhere = ALONE
        self._before = 0  # requests that were asked under earlier policies

    def adopt(self, policy: Policy, budget: float | None = None) -> None:
        """Obey another policy from now on, as of the next request, with what the account holds.

        There is no new allowance, though `bound` is that of the new policy: total spend exceeds the budgets of all
        requests by at most the first bound. Requests that run are told as ever.

        Parameters
        ----------
        policy
            One that counts in the same unit.
        budget
            As of a new controller.

        Raises
        ------
        InputError, BudgetError
            As for a new controller; then nothing has changed.
        """
        if policy.unit != self._policy.unit:
            raise InputError(f"controller: expected a policy in {self._policy.unit}, found one in {policy.unit}")
        bound = self.bound
        self._obey(policy, budget)
        self._account += bound - self.bound
        self._before = self._number

    def _obey(self, policy: Policy, budget: float | None) -> None:
        held = made_for(policy) if budget is None else float(budget)
        if not (math.isfinite(held) and held > 0):
            raise InputError(f"controller: expected a mean budget above 0, found {held:g}")
        routing.shares(policy, policy.difficulty.bins[0], held)
        self.budget = held
        self._policy = policy
        self._set = policy.controller or DEFAULT
        self.bound = self._set.allowance * held
        self._costs = [setting.expected.cost for setting in policy.frontier]
        prior = self._set.prior * held
        self._arms = Ratio(prior * self._set.caution, prior, self._set.memory)  # cost against that of the arm drawn
        self._bins = Ratio(prior, prior, self._set.memory)  # that of the bin's arms against that of the setting

    def ask(self, prompt: str, token: str = "", wish: Wish = NOTHING, seen: Look | None = None) -> Asked:
        """Route a request and set aside what it may cost; every ask is to be told, also one that failed.

        Parameters
        ----------
        token
            Names the request, where a mixture of arms is decided.
        wish
            Its own budget: an effort, lowered to what the account can grant, and a cap, under which an arm is taken
            that probably fits, if any does.
        seen
            What the policy makes of the prompt, where it was looked at before.

        Raises
        ------
        BudgetError
            For a wish that not even the cheapest setting meets; the request does not count.
        """
        checked(self._policy, wish)
        effort = self._effort() if wish.effort is None else self._granted(wish.effort)
        seen = routing.look(self._policy, prompt) if seen is None else seen
        limit = math.inf if wish.cap is None else wish.cap
        self._asked += 1
        self._account += self.budget
        self._peak = max(len(self._open) + 1.0, 1.0 + CALM * (self._peak - 1.0))
        routed = routing.route(self._policy, seen, effort, token)
        forecast = self._forecast(routed.cost, effort)
        if not self._fits(forecast, limit):
            effort = lower(self._policy, seen, effort, lambda cost: self._fits(cost * self._arms.value, limit))
            routed = routing.route(self._policy, seen, effort, token)
            forecast = self._forecast(routed.cost, effort)
        cap = self._cap(forecast)
        scarce = cap < forecast
        if scarce:
            cap = min(cap, self._set.floor * self.budget)
        if self._policy.cap is not None:
            cap = min(cap, self._policy.cap)
        parts = max(0, math.floor(min(cap, limit)))
        self._number += 1
        asked = Asked(self._number, routed, parts, parts, effort, forecast, scarce, limit < cap, self.budget)
        self._open[asked.number] = asked
        self._reserved += parts
        self._forecasts += min(parts, forecast)
        return asked

    def withdraw(self, asked: Asked) -> None:
        """Take a request back that was refused before anything was spent: it has no budget that others could have."""
        check_told(asked, 0.0, self._open.get(asked.number) is asked)
        del self._open[asked.number]
        self._reserved -= asked.reserved
        self._forecasts -= min(asked.reserved, asked.forecast)
        self._asked -= 1
        self._account -= asked.paid

    def tell(self, asked: Asked, cost: float, *, typical: bool = True) -> None:
        """What a request cost, in parts; one that was given up is told with what it cost until then.

        Parameters
        ----------
        typical
            Whether it shows what its arm costs; not where another ran in its place, or it was ended from outside.

        Raises
        ------
        InputError
            For a cost that is no finite number >= 0, or a request that was told before.
        """
        check_told(asked, cost, self._open.get(asked.number) is asked)
        del self._open[asked.number]
        self._reserved -= asked.reserved
        self._forecasts -= min(asked.reserved, asked.forecast)
        self._spent += cost
        most = (FULL * self._goal() - self._set.allowance) * self.budget + self._forecasts
        # What is set aside for those that run is never given up: the next request has its budget whatever they cost.
        self._account = min(self._account - cost, max(most, self._reserved - self.bound))
        # What had to be cut, or failed at once, or came from another policy does not show what prompts cost.
        if typical and cost > 0 and not asked.scarce and not asked.tight and asked.number > self._before:
            routed, effort = asked.routed, asked.effort
            self._arms.add(cost, known(routed.cost, effort))
            costs = zip(routed.shares, routed.costs, strict=True)
            self._bins.add(math.fsum(share * known(each, effort) for (_, share), each in costs), effort)

    @property
    def state(self) -> State:
        """Where it stands now."""
        told, ratio = self._asked - len(self._open), self._arms.value * self._bins.value
        return State(
            requests=self._asked,
            running=len(self._open),
            spent=self._spent,
            mean=self._spent / told if told else 0.0,
            effort=self._effort(),
            ratio=ratio,
            room=self._account + self.bound - self._reserved,
            shortfall=max(0.0, self._costs[0] * ratio - self.budget),
        )

    # ---------------------------------------------------------------- one budget for several

    @property
    def held(self) -> float:
        """Parts that the account will hold when what is running has ended as expected, allowance included."""
        return self._account + self.bound - self._forecasts

    @property
    def spare(self) -> int:
        """Parts that could be given away now; the next request has its budget all the same."""
        return max(0, math.floor(self._account + self.bound - self._reserved))

    @property
    def most(self) -> int:
        """Parts beyond which it is given up what all have saved."""
        return math.floor(FULL * self._goal() * self.budget)

    def give(self, parts: int) -> int:
        """Take parts out of the account for another, at most what can be spared; how many that were."""
        given = min(max(0, parts), self.spare)
        self._account -= given
        return given

    def take(self, parts: int) -> None:
        """Add parts to the account that another gave: the bound is higher by them from now on."""
        if parts < 0:
            raise InputError(f"controller: expected parts >= 0 to take, found {parts}")
        self._account += parts

    def share(self, elsewhere: Elsewhere) -> None:
        """Say how others stand that hold parts of the same budget: effort follows what all of them have."""
        self._elsewhere = elsewhere

    # ---------------------------------------------------------------- inside

    def _goal(self) -> float:
        """Budgets that all accounts together should hold, allowance included."""
        aside = min(PUT_BY * self._asked, self._set.running * (self._peak - 1.0))
        asked = self._asked + self._elsewhere.requests
        return self._set.allowance + self._set.saving * math.sqrt(asked) + aside * (1 + self._elsewhere.others)

    def _held(self) -> float:
        """Budgets that all accounts together hold, as `held`."""
        return (self.held + self._elsewhere.held) / self.budget

    def _granted(self, wished: float) -> float:
        """An effort that is wished for, or as much of it as leaves the account a quarter of what it should hold.

        The controller's own effort is granted in any case.
        """
        beyond = (self._held() - KEPT * self._goal()) * self.budget / (self._arms.value * self._bins.value)
        return min(wished, max(self._effort(), beyond), self._costs[-1])

    def _effort(self) -> float:
        """The mean budget at which the frontier is entered now."""
        gain = self._set.gain + self._set.early * self._set.warmup / (self._set.warmup + self._asked)
        full: float = max(EMPTIEST, self._held() / self._goal()) ** gain
        wanted = self.budget * min(DEAREST, full)
        return min(max(wanted / (self._arms.value * self._bins.value), self._costs[0]), self._costs[-1])

    def _cap(self, forecast: float) -> float:
        """A budget and a part of what the account holds beyond it: half, or more where the arm is dear.

        Where more requests are usually running than now, what they will need is left to them.
        """
        room = self._account + self.bound - self._reserved
        weight = max(1.0, forecast / self.budget)
        others = max(1.0, self._peak - len(self._open))
        return min(room, self.budget + max(0.0, room - self.budget) * weight / (weight + others))

    def _fits(self, forecast: float, limit: float) -> bool:
        return forecast * self._set.margin <= min(self._cap(forecast), limit)

    def _forecast(self, cost: float | None, effort: float) -> float:
        return known(cost, effort) * self._arms.value


class Ratio:
    """A running ratio of two sums that forgets slowly, held near its prior while little is known."""

    def __init__(self, above: float, below: float, memory: float) -> None:
        self._prior = (above, below)
        self._keep = 1.0 - 1.0 / memory
        self._above = self._below = 0.0

    def add(self, above: float, below: float) -> None:
        """One more of each."""
        self._above = self._keep * self._above + above
        self._below = self._keep * self._below + below

    @property
    def value(self) -> float:
        """The ratio of the sums."""
        return (self._prior[0] + self._above) / (self._prior[1] + self._below)
