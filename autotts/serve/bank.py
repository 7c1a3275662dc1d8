"""Several servers hold one running mean budget together, through the account in their database.

A server's controller begins without an allowance of its own and takes its share of the account's. Every beat, in a
thread, it gives back what it holds above an equal share of all that there is, or takes what it lacks, never below 0.
So over all servers, however often they are started or killed, total spend exceeds the budgets of the requests by at
most one allowance. No request waits for the database. While that is down, a server goes on with what it holds and with
the budgets of its own requests, and says so.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self

from autotts.errors import StoreError
from autotts.policy.controller import Controller, Elsewhere
from autotts.policy.schema import Policy
from autotts.store.accounts import Holding, Share

BEAT: Final = 0.5  # seconds


class Account(Protocol):
    """What `store.accounts.Holder` offers: one server's part in an account."""

    def turn(self, holding: Holding, *, most: int, servers: int) -> Share:
        """Give back what is missing in the holding, and take what it lacks to an equal share."""
        ...

    def close(self, holding: Holding, *, most: int) -> None:
        """Give back what is missing in the holding, and hold no more."""
        ...


def account_of(policy: Policy, budget: float) -> str:
    """The name of the account that all servers of a policy at a budget share."""
    return f"{policy.digest} {policy.unit} {budget!r}"


class Bank:
    """`async with Bank(control, holder) as bank`: shares a controller's budget; `beat` is to be called for ever.

    Parameters
    ----------
    control
        Fresh: its own allowance is given up, as the account has it.
    holder
        This server's part in the account, which opened with `math.floor(control.bound)`.
    servers
        How many are expected to share the account: at first it is split among so many.
    tell
        Called with words when the database fails, and with none when it answers again.

    Attributes
    ----------
    problem
        Why the database does not answer, or empty.
    requests, spent
        Of all servers, ever, as of the last beat.

    Raises
    ------
    StoreError
        On entering, where the database cannot be used.
    """

    def __init__(
        self,
        control: Controller,
        holder: Account,
        *,
        servers: int = 1,
        tell: Callable[[str], None] = lambda words: None,
    ) -> None:
        self._control = control
        self._account = holder
        self._turning = asyncio.Lock()
        self._servers = servers
        self._tell = tell
        self._net = 0  # taken from the account, less what was given back
        self._share: Share | None = None
        self._earlier = (0, 0)  # requests and spend that other accounts have
        self.problem = ""
        self.requests = 0
        self.spent = 0

    async def __aenter__(self) -> Self:
        self._control.give(self._control.spare)
        await self._turn()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give all back; what requests that still run have set aside is lost."""
        async with self._turning:
            await self._leave()

    async def beat(self) -> None:
        """Give back what is held above an equal share, or take what is lacking."""
        async with self._turning:
            share = self._share
            if share is not None and not self.problem:
                held = self._control.held
                equal = max(0.0, share.held + held) / max(self._servers, share.others + 1)
                self._net -= self._control.give(math.floor(held - equal))
            await self._try_turn()

    async def adopt(
        self,
        policy: Policy,
        budget: float | None,
        hold: Callable[[str, int], Account],
        obeyed: Callable[[Policy], None] = lambda policy: None,
    ) -> None:
        """Have the controller obey another policy, and go over to the account of that.

        Parameters
        ----------
        hold
            This server's part in the account of a name, which opens with so many parts: `partial(Holder, engine)`.
        obeyed
            Called with the policy in the same step in which the controller obeys it, before the database is asked: no
            request is looked at by one policy and ruled by another.

        Raises
        ------
        InputError, BudgetError
            As `Controller.adopt`; then nothing has changed.
        """
        async with self._turning:
            self._control.adopt(policy, budget)
            obeyed(policy)
            await self._leave()
            name = account_of(policy, self._control.budget)
            self._account = hold(name, math.floor(self._control.bound))
            self._net, self._share = 0, None
            self._earlier = (self._control.state.requests, math.floor(self._control.state.spent))
            await self._try_turn()

    async def _leave(self) -> None:
        self._net -= self._control.give(self._control.spare)
        try:
            await asyncio.to_thread(self._account.close, self._holding(), most=self._control.most)
        except StoreError as fault:
            self._say(str(fault))

    async def _try_turn(self) -> None:
        try:
            await self._turn()
        except StoreError as error:
            self._say(str(error))

    async def _turn(self) -> None:
        control, holding = self._control, self._holding()
        share = await asyncio.to_thread(self._account.turn, holding, most=control.most, servers=self._servers)
        self._net += share.taken
        control.take(share.taken)
        control.share(Elsewhere(share.held, share.requests, share.others))
        self._share = share
        self.requests, self.spent = share.requests + holding.requests, share.spent
        self._say("")

    def _holding(self) -> Holding:
        state, (requests, spent) = self._control.state, self._earlier
        held = math.floor(self._control.held)
        return Holding(self._net, held, state.requests - requests, math.floor(state.spent) - spent)

    def _say(self, words: str) -> None:
        if words != self.problem:
            self.problem = words
            self._tell(words)
