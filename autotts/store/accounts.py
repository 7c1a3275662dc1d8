"""The account of a running mean budget that several servers hold together, in their database.

Money is conserved. The account opens with one allowance and never gets another; every server holds parts of it, and
every turn gives back and takes out in one transaction that leaves nothing below 0. What a server holds is written down
as its `net`: all that it ever took less all that it gave. So a turn whose end was not heard of (the connection broke)
is made up for by the next, which compares `net` with what the server knows of. A server that dies takes with it what
it held, so total spend can only be lower than the bound.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from autotts.store.database import reading, writing
from autotts.store.schema import ACCOUNT, HOLDER, PURSE, insert_new

SILENCE: Final = 10.0  # seconds without a beat after which a server counts as gone


@dataclass(frozen=True, slots=True)
class Holding:
    """How a server stands when it takes a turn, in parts.

    `net` is what it took from the account less what it gave back, as far as it knows, after what it gives back now;
    `held` is what it has then. `requests` and `spent` are all that it was asked and all that this came to.
    """

    net: int
    held: int
    requests: int = 0
    spent: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """After a turn: what was taken, and how the others stand, the account itself included; `others` is their number."""

    taken: int
    held: int
    requests: int
    spent: int
    others: int


class Holder:
    """One server's part in an account.

    Parameters
    ----------
    engine
        As `database.open` gives it.
    account
        Its name; servers with the same name share it.
    opening
        Parts that it opens with, where there is none of this name.
    clock
        Seconds that never jump.
    """

    def __init__(
        self, engine: sa.Engine, account: str, opening: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.account = account
        self.id = uuid.uuid4().hex
        self._engine = engine
        self._opening = opening
        self._clock = clock
        self._told = (0, 0)  # requests and spend that are written down
        self._heard: dict[str, tuple[int, float]] = {}  # a holder's beat, and since when it stands there

    def turn(self, holding: Holding, *, most: int, servers: int = 1) -> Share:
        """Give back what is missing in the holding, and take what it lacks to an equal share of all that there is.

        Parameters
        ----------
        most
            Parts beyond which the account is not filled: what exceeds them is given up.
        servers
            How many are expected to share it, where fewer have been heard of.

        Raises
        ------
        StoreError
            When the database cannot be used; the next turn with what is then left of the holding makes up for it.
        """
        with writing(self._engine) as connection:
            balance, requests, spent = self._look(connection)
            mine, others = self._holders(connection)
            due = 0 if mine is None else int(mine.net) - holding.net
            told = self._told if mine is None else (mine.requests, int(mine.spent))
            balance = max(0, min(balance + due, most))  # due is below 0 where the database has lost a turn
            elsewhere = sum(int(row.held) for row in others)
            count = max(servers, len(others) + 1)
            lacking = max(0, balance + elsewhere + holding.held) // count - holding.held
            taken = max(0, min(lacking, balance))
            requests, spent = requests + holding.requests - told[0], spent + holding.spent - told[1]
            self._write(connection, balance - taken, requests, spent)
            self._hold(connection, mine, holding, taken)
        self._told = (holding.requests, holding.spent)
        return Share(taken, balance - taken + elsewhere, requests - holding.requests, spent, len(others))

    def close(self, holding: Holding, *, most: int) -> None:
        """Give back what is missing in the holding, and hold no more: what it still has is lost."""
        with writing(self._engine) as connection:
            balance, requests, spent = self._look(connection)
            mine, _ = self._holders(connection)
            if mine is not None:
                balance = min(balance + max(0, int(mine.net) - holding.net), most)
                requests, spent = requests + holding.requests - mine.requests, spent + holding.spent - int(mine.spent)
                self._write(connection, balance, requests, spent)
                connection.execute(sa.delete(HOLDER).where(HOLDER.c.holder == self.id))

    # ------------------------------------------------------------ inside a transaction

    def _look(self, connection: sa.Connection) -> tuple[int, int, int]:
        """Balance, requests and spend; nobody else takes a turn from here on."""
        query = sa.select(ACCOUNT).where(ACCOUNT.c.account == self.account).with_for_update()
        row = connection.execute(query).one_or_none()
        if row is None:
            fresh = {"account": self.account, "balance": str(self._opening), "requests": 0, "spent": "0"}
            connection.execute(insert_new(connection.dialect.name, ACCOUNT), fresh)
            row = connection.execute(query).one()
        return int(row.balance), row.requests, int(row.spent)

    def _holders(self, connection: sa.Connection) -> tuple[Any, list[Any]]:
        """This one's row, if it is there, and those of the others that live; the dead are removed."""
        rows = connection.execute(sa.select(HOLDER).where(HOLDER.c.account == self.account)).all()
        mine = next((row for row in rows if row.holder == self.id), None)
        living, now = [], self._clock()
        for row in rows:
            if row.holder != self.id:
                beat, since = self._heard.get(row.holder, (None, now))
                if beat != row.beat:
                    since = now
                self._heard[row.holder] = (row.beat, since)
                if now - since < SILENCE:
                    living.append(row)
                else:
                    connection.execute(sa.delete(HOLDER).where(HOLDER.c.holder == row.holder))
        self._heard = {row.holder: self._heard[row.holder] for row in living}
        return mine, living

    def _write(self, connection: sa.Connection, balance: int, requests: int, spent: int) -> None:
        values = {"balance": str(balance), "requests": requests, "spent": str(spent)}
        connection.execute(sa.update(ACCOUNT).where(ACCOUNT.c.account == self.account).values(**values))

    def _hold(self, connection: sa.Connection, mine: Any, holding: Holding, taken: int) -> None:
        values = {
            "net": str(holding.net + taken),
            "held": str(holding.held + taken),
            "requests": holding.requests,
            "spent": str(holding.spent),
        }
        if mine is None:
            fresh = {"holder": self.id, "account": self.account, "beat": 1, **values}
            connection.execute(sa.insert(HOLDER).values(**fresh))
        else:
            row = sa.update(HOLDER).where(HOLDER.c.holder == self.id)
            connection.execute(row.values(beat=HOLDER.c.beat + 1, **values))


class Tills:
    """What clients have used of their budgets, by client and period, shared by all servers of a database.

    What a server draws counts as used until it is put back; so what is in the hands of one that dies is used.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def draw(self, name: str, period: str, limit: int, *, least: int, most: int) -> int:
        """Take up to `most` parts if at least `least` are left of the limit, else none; how many were taken."""
        with writing(self._engine) as connection:
            taken = self._taken(connection, name, period)
            drawn = min(most, limit - taken)
            if drawn < least or drawn <= 0:
                return 0
            self._write(connection, name, period, taken + drawn)
            return drawn

    def put(self, name: str, period: str, parts: int) -> None:
        """Put back what was drawn; more than was drawn is used, where it is negative."""
        with writing(self._engine) as connection:
            self._write(connection, name, period, max(0, self._taken(connection, name, period) - parts))

    def taken(self, name: str, period: str) -> int:
        """What is used or in the hands of servers."""
        with reading(self._engine) as connection:
            found = connection.scalar(self._query(name, period))
        return 0 if found is None else int(found)

    def forget(self, period: str) -> None:
        """Remove what was used in a period that is over."""
        with writing(self._engine) as connection:
            connection.execute(sa.delete(PURSE).where(PURSE.c.period == period))

    def _taken(self, connection: sa.Connection, name: str, period: str) -> int:
        connection.execute(insert_new(connection.dialect.name, PURSE), {"name": name, "period": period, "taken": "0"})
        return int(connection.execute(self._query(name, period).with_for_update()).scalar_one())

    def _query(self, name: str, period: str) -> sa.Select[Any]:
        return sa.select(PURSE.c.taken).where(PURSE.c.name == name, PURSE.c.period == period)

    def _write(self, connection: sa.Connection, name: str, period: str, taken: int) -> None:
        mine = sa.update(PURSE).where(PURSE.c.name == name, PURSE.c.period == period)
        connection.execute(mine.values(taken=str(taken)))
