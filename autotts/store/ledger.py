"""What a study has spent, in its database, and what each running process holds of its limit.

A process holds a lease: the parts that it has set aside, written down before anything is sent. One transaction charges
what it has settled since, and takes or gives back parts, so that spent + held never passes the limit whoever runs. A
lease whose process has died is charged in full: what was in flight is not known, so this is the most that it was.
A process on the same machine is looked up by its number and its start; one elsewhere counts as dead when its beat has
stood still for a minute of our own clock, and finds its lease again if it was not.
"""

from __future__ import annotations

import os
import platform
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from autotts.errors import StoreError
from autotts.store.database import reading, writing
from autotts.store.schema import CHARGE, LEASE, LEDGER, insert_new

SILENCE: Final = 60.0  # seconds without a beat after which a process elsewhere counts as dead
LOST: Final = "lost"  # the kind of what was in flight when a process died

By = dict[tuple[str, str], int]  # parts by (binding id, kind)


@dataclass(frozen=True, slots=True)
class Entry:
    """One charge of a lease; `total` is what the lease has charged with it and all before it."""

    total: int
    binding: str
    kind: str
    parts: int


@dataclass(frozen=True, slots=True)
class Wish:
    """What a process wants of a turn.

    `charged` are its charges since some earlier turn, `held` is what it still has set aside or in hand. It takes
    `most` more, at least `least`, or nothing.
    """

    charged: Sequence[Entry] = ()
    held: int = 0
    least: int = 0
    most: int = 0


@dataclass(frozen=True, slots=True)
class Stand:
    """After a turn: what was taken, how far charges are written down, what others have spent and hold."""

    taken: int
    written: int
    spent: int
    held: int


class Lease:
    """One process's part in the ledger of a study.

    Parameters
    ----------
    engine
        As `database.open` gives it.
    seed
        What was spent before there was a ledger; asked once, when the study's ledger is made.
    place, pid, started
        Which process it is; this one by default.
    clock
        Seconds that never jump.

    Raises
    ------
    StoreError
        When the ledger is in another unit.
    """

    def __init__(
        self,
        engine: sa.Engine,
        study: str,
        unit: str,
        *,
        seed: Callable[[], Mapping[tuple[str, str], int]] | None = None,
        process: tuple[str, int, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.study = study
        self.id = uuid.uuid4().hex
        self._engine = engine
        self._process = process or (place(), os.getpid(), started(os.getpid()))
        self._clock = clock
        self._heard: dict[str, tuple[int, float]] = {}  # a lease's beat, and since when it stands there
        with writing(engine) as connection:
            self._open(connection, unit, seed)

    def turn(self, wish: Callable[[int], Wish], limit: int | None) -> Stand:
        """One transaction of its own; `wish` is asked inside it, given how far charges are written down."""
        with writing(self._engine) as connection:
            return self.take_turn(connection, wish, limit)

    def take_turn(self, connection: sa.Connection, wish: Callable[[int], Wish], limit: int | None) -> Stand:
        """As `turn`, inside the caller's transaction, beside the samples that were paid for."""
        spent, held = self._lock(connection)
        own = self._own(connection)
        if own.lost:  # it was taken for dead, and is not
            self._charge(connection, {("", LOST): -own.held})
            spent -= own.held
        else:
            held -= own.held
        asked = wish(own.spent)
        new = [entry for entry in asked.charged if entry.total > own.spent]
        bill: By = {}
        for entry in new:
            bill[entry.binding, entry.kind] = bill.get((entry.binding, entry.kind), 0) + entry.parts
        self._charge(connection, bill)
        written = new[-1].total if new else own.spent
        spent += written - own.spent
        room = asked.most if limit is None else min(asked.most, limit - spent - held - asked.held)
        taken = room if asked.most and room >= asked.least else 0
        mine = asked.held + taken
        connection.execute(
            sa.update(LEASE)
            .where(LEASE.c.lease == self.id)
            .values(held=mine, spent=written, lost=False, beat=LEASE.c.beat + 1)
        )
        if asked.most and not taken:
            freed = self._bury(connection)
            spent, held = spent + freed, held - freed
        self._write(connection, spent, held + mine)
        return Stand(taken, written, spent - written, held)

    def look(self) -> None:
        """Say that this process lives, and charge what the dead held."""
        with writing(self._engine) as connection:
            spent, held = self._lock(connection)
            connection.execute(sa.update(LEASE).where(LEASE.c.lease == self.id).values(beat=LEASE.c.beat + 1))
            freed = self._bury(connection)
            if freed:
                self._write(connection, spent + freed, held - freed)

    def close(self, wish: Callable[[int], Wish]) -> Stand:
        """The last turn: the lease ends, and what it held is given back; the wish holds nothing."""
        with writing(self._engine) as connection:
            stand = self.take_turn(connection, wish, None)
            connection.execute(sa.delete(LEASE).where(LEASE.c.lease == self.id))
        return stand

    # ------------------------------------------------------------ inside a transaction

    def _open(
        self, connection: sa.Connection, unit: str, seed: Callable[[], Mapping[tuple[str, str], int]] | None
    ) -> None:
        row = {"study": self.study, "unit": unit, "spent": 0, "held": 0}
        new = connection.execute(insert_new(connection.dialect.name, LEDGER).values(row)).rowcount == 1
        spent, held = self._lock(connection)
        there = connection.scalar(sa.select(LEDGER.c.unit).where(LEDGER.c.study == self.study))
        if there != unit:
            raise StoreError(
                f"storage: the ledger of study {self.study!r} is in {there}: expected a search budget in {there}, "
                f"found one in {unit}; give it in {there}, or give the study another name"
            )
        if new and seed is not None:
            before = seed()
            self._charge(connection, before)
            spent += sum(before.values())
        where, pid, since = self._process
        connection.execute(
            sa.insert(LEASE).values(
                lease=self.id,
                study=self.study,
                place=where,
                pid=pid,
                started=since,
                beat=0,
                held=0,
                spent=0,
                lost=False,
            )
        )
        freed = self._bury(connection)
        self._write(connection, spent + freed, held - freed)

    def _lock(self, connection: sa.Connection) -> tuple[int, int]:
        """What the study has spent and what is held; nobody else changes them until the transaction ends."""
        query = sa.select(LEDGER.c.spent, LEDGER.c.held).where(LEDGER.c.study == self.study).with_for_update()
        row = connection.execute(query).one()
        return row.spent, row.held

    def _own(self, connection: sa.Connection) -> Any:
        query = sa.select(LEASE.c.held, LEASE.c.spent, LEASE.c.lost).where(LEASE.c.lease == self.id)
        return connection.execute(query).one()

    def _write(self, connection: sa.Connection, spent: int, held: int) -> None:
        where = LEDGER.c.study == self.study
        connection.execute(sa.update(LEDGER).where(where).values(spent=spent, held=held))

    def _charge(self, connection: sa.Connection, bill: Mapping[tuple[str, str], int]) -> None:
        for (binding, kind), parts in bill.items():
            where = (CHARGE.c.study == self.study) & (CHARGE.c.binding == binding) & (CHARGE.c.kind == kind)
            there = connection.scalar(sa.select(CHARGE.c.parts).where(where))
            if there is None:
                row = {"study": self.study, "binding": binding, "kind": kind, "parts": parts}
                connection.execute(sa.insert(CHARGE).values(row))
            else:
                connection.execute(sa.update(CHARGE).where(where).values(parts=there + parts))

    def _bury(self, connection: sa.Connection) -> int:
        """Charge what dead processes held; how much that was."""
        c = LEASE.c
        query = sa.select(LEASE).where(c.study == self.study, c.lease != self.id, sa.not_(c.lost))
        dead = [row for row in connection.execute(query).all() if not self._lives(row)]
        for row in dead:
            connection.execute(sa.update(LEASE).where(c.lease == row.lease).values(lost=True))
        freed = sum(int(row.held) for row in dead)
        if freed:
            self._charge(connection, {("", LOST): freed})
        return freed

    def _lives(self, row: Any) -> bool:
        here, _, _ = self._process
        if row.place == here:
            known = alive(row.pid, row.started)
            if known is not None:
                return known
        beat, since = self._heard.get(row.lease, (None, 0.0))
        now = self._clock()
        if beat != row.beat:
            self._heard[row.lease] = (row.beat, now)
            return True
        return now - since < SILENCE


def spent_by(engine: sa.Engine, study: str) -> By:
    """What a study has spent, by binding id and kind: of all processes and all earlier runs."""
    query = sa.select(CHARGE.c.binding, CHARGE.c.kind, CHARGE.c.parts).where(CHARGE.c.study == study)
    with reading(engine) as connection:
        return {(binding, kind): parts for binding, kind, parts in connection.execute(query)}


def place() -> str:
    """The machine as it was started, and the name space of its processes: where a process number means the same."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        return platform.node()
    return f"{platform.node()} {boot} {space}"


def started(pid: int) -> str:
    """When a process was started, in ticks of its machine; empty where that cannot be known."""
    facts = _facts(pid)
    return facts[19] if facts else ""


def alive(pid: int, since: str) -> bool | None:
    """Whether a process of this place still runs; None where that cannot be known."""
    if os.name != "posix":
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is there, and somebody else's
    facts = _facts(pid)
    if not since or not facts:
        return None
    return facts[19] == since and facts[0] not in "ZX"  # a number that was given again, or a process that has ended


def _facts(pid: int) -> list[str]:
    """The fields of a process's `stat` from its state on; none where there are none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
