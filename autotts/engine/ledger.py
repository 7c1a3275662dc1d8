"""What may be spent and what was: parts are set aside before work begins and charged when it ends.

Ledgers nest: a draw, a prompt, a trial and a study can each have a limit, and what is set aside must fit into all of
them at once. Who cannot be served yet stands in line. Each ledger has one line, in the order in which claims came;
the first of a line goes on to the line of the ledger above, and keeps its place until it is served. So a big claim is
never passed by small ones for ever, and one that waits for room in its own ledger keeps none of the others waiting.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from autotts.errors import SearchBudgetReached

Charge = tuple[str, str, int]  # binding id, kind, parts

_OPEN: ContextVar[Ledger | None] = ContextVar("autotts_ledger", default=None)


class Purse(Protocol):
    """Parts that a root has in hand, where several processes draw on one limit."""

    def holds(self, parts: int) -> bool:
        """Whether so much is in hand."""
        ...

    def set_aside(self, parts: int) -> None:
        """So much in hand is set aside, or comes back where it is negative."""
        ...

    def fetch(self, parts: int) -> bool:
        """Get so much into hand now, if it is there."""
        ...

    def lack(self) -> None:
        """The first in the root's line needs more than is in hand: get it, and then call `serve`."""
        ...

    def pay(self, reserved: int, bill: Iterable[Charge]) -> None:
        """What was set aside comes back into hand, and what was spent leaves it and is written down."""
        ...


class Ledger:
    """What may be spent and has been spent, in whole parts of one unit; `limit` None is no limit of its own.

    Parameters
    ----------
    parent
        The ledger that this one is part of: what is set aside or charged here is so there too.
    name
        What it is for, such as "trial 3"; said when its limit is reached.
    purse
        Of a root that shares its limit with other processes.

    Attributes
    ----------
    spent, reserved
        Charged so far, and the most that what is running may still come to: together never more than the limit,
        unless a backend takes more than it was asked for.
    by
        What was charged, by (binding id, kind).

    Examples
    --------
    >>> study = Ledger(100)
    >>> trial = study.child(80, "trial 1")
    >>> trial.reserve(70), trial.reserve(11), study.reserve(31)
    (True, False, False)
    >>> trial.settle("S@1", "drawn", reserved=70, parts=20)
    >>> study.spent, study.reserved, study.left, trial.left
    (20, 0, 80, 60)
    """

    def __init__(
        self,
        limit: int | None = None,
        *,
        parent: Ledger | None = None,
        name: str = "",
        purse: Purse | None = None,
    ) -> None:
        self.limit = limit
        self.name = name
        self.spent = 0
        self.reserved = 0
        self.by: dict[tuple[str, str], int] = {}
        self.path: tuple[Ledger, ...] = (self, *(() if parent is None else parent.path))
        self.line: deque[Claim] = deque()
        self.ahead = 0
        self._purse = purse

    @property
    def root(self) -> Ledger:
        """The ledger that everything here is part of."""
        return self.path[-1]

    @property
    def left(self) -> int | None:
        """What may still be set aside, here and in all ledgers above; None without any limit."""
        rooms = [ledger.limit - ledger.spent - ledger.reserved for ledger in self.path if ledger.limit is not None]
        return min(rooms, default=None)

    def child(self, limit: int | None = None, name: str = "") -> Ledger:
        """A part of this ledger with a limit of its own."""
        return Ledger(limit, parent=self, name=name)

    @contextmanager
    def open(self) -> Iterator[Ledger]:
        """Pay from this ledger for the draws that begin inside; one that is shared is paid by who began it."""
        token = _OPEN.set(self)
        try:
            yield self
        finally:
            _OPEN.reset(token)

    def opened(self) -> Ledger:
        """The innermost open ledger that is part of the same root, or this one."""
        found = _OPEN.get()
        return self if found is None or found.root is not self.root else found

    # ------------------------------------------------------------ set aside, and charge

    def reserve(self, parts: int) -> bool:
        """Set so much aside at once, if it is there: for work that runs already, so nobody in line is asked."""
        self._check(parts)
        purse = self.root._purse
        if not all(ledger.within(parts) for ledger in self.path):
            return False
        if purse is not None and not purse.holds(parts) and not purse.fetch(parts):
            return False
        self._set_aside(parts)
        return True

    def insist(self, parts: int) -> None:
        """Set so much aside as `reserve` does, or raise `SearchBudgetReached`."""
        if not self.reserve(parts):
            raise next((ledger for ledger in self.path if not ledger.fits(parts)), self.root).reached(parts)

    async def claim(self, parts: int, ahead: int | None = None) -> None:
        """Set so much aside, waiting in line while what is running may still give back enough.

        Parameters
        ----------
        ahead
            Of work that may have to wait for its backend: how many of these are served, at most, before they begin.
            Who gives it calls `began` as soon as the work has begun or is over.

        Raises
        ------
        SearchBudgetReached
            When a limit has no room for it, whatever the running work comes to.
        """
        self._check(parts)
        for ledger in self.path:
            if ledger.never(parts):
                raise ledger.reached(parts)
        claim = Claim(self, parts, ahead, asyncio.get_running_loop().create_future())
        if all(not ledger.line and ledger.serves(claim) for ledger in self.path):
            claim.grant()
            return
        self.line.append(claim)
        serve([self])
        try:
            await claim.turn
        except asyncio.CancelledError:
            if claim.turn.cancelled():
                claim.leave()
            elif claim.turn.exception() is None:  # it was served in the same moment
                self._set_aside(-parts)
                if ahead is not None:
                    self.root.ahead -= 1
            serve(self.path)
            raise

    def began(self) -> None:
        """Work that was served ahead of its backend has begun, or is over."""
        self.root.ahead -= 1
        serve([self.root])

    def settle(self, binding: str, kind: str, *, reserved: int, parts: int) -> None:
        """Give back what was set aside and charge what it came to."""
        self.pay(reserved, [(binding, kind, parts)])

    def pay(self, reserved: int, bill: Iterable[Charge]) -> None:
        """Give back what was set aside and charge all that it came to, at once."""
        bill = list(bill)
        parts = sum(charge[2] for charge in bill)
        for ledger in self.path:
            ledger.reserved -= reserved
            ledger.spent += parts
            for binding, kind, part in bill:
                ledger.by[binding, kind] = ledger.by.get((binding, kind), 0) + part
        purse = self.root._purse
        if purse is not None:
            purse.pay(reserved, bill)
        serve(self.path)

    def fits(self, parts: int) -> bool:
        """Whether so much is there in this ledger, and in hand where it is a purse's."""
        return self.within(parts) and (self._purse is None or self._purse.holds(parts))

    def serves(self, claim: Claim) -> bool:
        """Whether a claim can be served here: there is room for it, and its backend is not too far behind."""
        return self.fits(claim.parts) and claim.may_begin(self.ahead)

    def due(self) -> list[int]:
        """The parts of the claims in this line that would be served if there were room for them."""
        found: list[int] = []
        for claim in self.line:
            if not claim.may_begin(self.ahead + len(found)):
                break
            found.append(claim.parts)
        return found

    def never(self, parts: int) -> bool:
        """Whether so much can never be there again: what is spent does not come back."""
        return self.limit is not None and self.spent + parts > self.limit

    def reached(self, parts: int) -> SearchBudgetReached:
        """What is said to a claim that this ledger has no room for."""
        what = f"the limit of {self.name}," if self.name else "the search budget of"
        error = SearchBudgetReached(
            f"{what} {self.limit} is reached: {self.spent} are spent, and the next draw may need {parts}"
        )
        error.ledger = self
        return error

    def fetch(self, claim: Claim) -> None:
        """Have the purse fetch what the first in line lacks, where it is that and not the limit."""
        if self._purse is not None and self.within(claim.parts) and claim.may_begin(self.ahead):
            self._purse.lack()

    def within(self, parts: int) -> bool:
        """Whether so much is left of this ledger's own limit."""
        return self.limit is None or self.spent + self.reserved + parts <= self.limit

    def _set_aside(self, parts: int) -> None:
        for ledger in self.path:
            ledger.reserved += parts
        purse = self.root._purse
        if purse is not None:
            purse.set_aside(parts)

    def _check(self, parts: int) -> None:
        if parts < 0:
            raise ValueError(f"expected a number of parts that is not negative, found {parts}")


def payer() -> Ledger | None:
    """The innermost open ledger, of whatever root."""
    return _OPEN.get()


def concerns(error: BaseException, paying: Ledger | None) -> bool:
    """Whether an error is one for whoever pays from a ledger: not where only another's limit is reached."""
    full = error.ledger if isinstance(error, SearchBudgetReached) else None
    if not isinstance(full, Ledger) or full.root is full:
        return True
    return paying is not None and full in paying.path


class Claim:
    """One that waits: it stands in the lines of its ledger and of those above, up to number `height` of its path."""

    __slots__ = ("ahead", "height", "ledger", "parts", "turn")

    def __init__(self, ledger: Ledger, parts: int, ahead: int | None, turn: asyncio.Future[None]) -> None:
        self.ledger = ledger
        self.parts = parts
        self.ahead = ahead
        self.turn = turn
        self.height = 0

    @property
    def at(self) -> Ledger:
        """The highest ledger in whose line it stands."""
        return self.ledger.path[self.height]

    def may_begin(self, ahead: int) -> bool:
        """Whether it may be served when so many were that have not begun."""
        return self.ahead is None or ahead < self.ahead

    def grant(self) -> None:
        """Set aside what it asks for."""
        self.ledger._set_aside(self.parts)
        if self.ahead is not None:
            self.ledger.root.ahead += 1

    def leave(self) -> None:
        """Leave all lines."""
        self.step_back(-1)

    def step_back(self, height: int) -> tuple[Ledger, ...]:
        """Leave the lines above a height; those that were left."""
        left = self.ledger.path[height + 1 : self.height + 1]
        for ledger in left:
            ledger.line.remove(self)
        self.height = height
        return left


def serve(ledgers: Iterable[Ledger]) -> None:
    """There may be room in some ledgers: serve, send on or refuse the first in their lines, as long as that helps."""
    todo = [ledger for ledger in ledgers if ledger.line]
    while todo:
        ledger = todo.pop()
        if not ledger.line:
            continue
        claim, path = ledger.line[0], ledger.line[0].ledger.path
        if claim.turn.done():  # it has gone away
            claim.leave()
            todo += path
            continue
        lacking = next((i for i in range(claim.height + 1) if not path[i].serves(claim)), None)
        if lacking is None and claim.at is not ledger:
            continue  # it waits further up
        if lacking is None and claim.height + 1 < len(path):
            claim.height += 1
            claim.at.line.append(claim)
            todo.append(claim.at)
        elif lacking is None:
            claim.leave()
            claim.grant()
            claim.turn.set_result(None)
            todo += path
        elif path[lacking].never(claim.parts):
            claim.leave()
            claim.turn.set_exception(path[lacking].reached(claim.parts))
            todo += path
        else:  # what it had reached further up is for others until there is room here
            todo += claim.step_back(lacking)
            path[lacking].fetch(claim)
