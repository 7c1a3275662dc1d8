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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from autotts.errors import StoreError
from autotts.store.database import reading, writing
from autotts.store.schema import CHARGE, LEASE, LEDGER, insert_new, upsert

SILENCE: Final = 60.0  # seconds without a beat after which a process elsewhere counts as dead
LOST: Final = "lost"  # the kind of what was in flight when a process died

_PLENTY: Final = 10**40  # more than any study spends

By = dict[tuple[str, str], int]  # parts by (binding id, kind)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a process wants of a turn.

    `total` is all that it has ever charged, `by` what it has charged of each (binding id, kind) that changed since what
    is written down; `held` is what it still has set aside or in hand, None for what it had less what it has charged
    since. It takes `most` more, at least `least`, or none;
    and `spare` besides, where there is plenty.
    """

    total: int
    by: Mapping[tuple[str, str], int]
    held: int | None = None
    least: int = 0
    most: int = 0
    spare: int = 0


@dataclass(frozen=True, slots=True)
class Stand:
    """After a turn: what was taken, what all others have spent, and an eighth of what nobody holds."""

    taken: int
    spent: int
    plenty: int


class Lease:
    """One process's part in the ledger of a study.

    Parameters
    ----------
    engine
        As `database.open` gives it.
    seed
        What was spent before there was a ledger, by (binding id, kind); asked once, when the study's ledger is made.
    process
        The place, the number and the start of the process that holds it; this one by default.
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
        self._look = _Prepared(engine, _LOOK)
        self._hold = _Prepared(engine, _HOLD)
        self._stand = _Prepared(engine, _STAND)
        self._charge = _Prepared(engine, upsert(engine.dialect.name, CHARGE, ["study", "lease", "binding", "kind"]))
        with writing(engine) as connection:
            self._open(connection, unit, seed)

    def turn(self, wish: Callable[[int], Wish], limit: int | None) -> Stand:
        """One transaction of its own; `wish` is asked inside it, given how much of its charges is written down."""
        with writing(self._engine) as connection:
            return self.take_turn(connection, wish, limit)

    def take_turn(self, connection: sa.Connection, wish: Callable[[int], Wish], limit: int | None) -> Stand:
        """As `turn`, inside the caller's transaction, beside the samples that were paid for."""
        row = self._look.run(connection, study=self.study, lease=self.id).one()
        spent, held, mine, written = int(row.spent), int(row.held), int(row.mine), int(row.written)
        if row.lost:  # it was taken for dead, and is not
            connection.execute(sa.delete(CHARGE).where(CHARGE.c.lease == self.id, CHARGE.c.binding == ""))
            spent -= mine
        else:
            held -= mine
        asked = wish(written)
        others = spent - written
        keeps = max(0, mine + written - asked.total) if asked.held is None else asked.held
        self._write_charges(connection, self.id, asked.by)
        room = _PLENTY if limit is None else limit - others - asked.total - held - keeps
        taken = 0
        if asked.most and room >= asked.least:
            taken = min(room, asked.most)
            taken += min(asked.spare, (room - taken) // 8)
        mine = keeps + taken
        self._hold.run(connection, lease=self.id, held=str(mine), spent=str(asked.total), lost=False)
        if asked.most and not taken:
            dead = self._bury(connection)
            others, held = others + dead, held - dead
        self._write(connection, others + asked.total, held + mine)
        return Stand(taken, others, max(0, room - taken) // 8)

    def look(self) -> None:
        """Say that this process lives, and charge what the dead held."""
        with writing(self._engine) as connection:
            row = self._look.run(connection, study=self.study, lease=self.id).one()  # nobody else takes a turn now
            connection.execute(sa.update(LEASE).where(LEASE.c.lease == self.id).values(beat=LEASE.c.beat + 1))
            dead = self._bury(connection)
            if dead:
                self._write(connection, int(row.spent) + dead, int(row.held) - dead)

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
        row = {"study": self.study, "unit": unit, "spent": "0", "held": "0"}
        new = connection.execute(insert_new(connection.dialect.name, LEDGER).values(row)).rowcount == 1
        there = connection.scalar(sa.select(LEDGER.c.unit).where(LEDGER.c.study == self.study).with_for_update())
        if there != unit:
            raise StoreError(
                f"storage: the ledger of study {self.study!r} is in {there}: expected a search budget in {there}, "
                f"found one in {unit}; give it in {there}, or give the study another name"
            )
        if new and seed is not None:
            before = seed()
            self._write_charges(connection, "", before)
            self._write(connection, sum(before.values()), 0)
        here, pid, since = self._process
        mine = {"lease": self.id, "study": self.study, "place": here, "pid": pid, "started": since}
        connection.execute(sa.insert(LEASE).values(mine | {"beat": 0, "held": "0", "spent": "0", "lost": False}))
        stand = self._look.run(connection, study=self.study, lease=self.id).one()
        dead = self._bury(connection)
        self._write(connection, int(stand.spent) + dead, int(stand.held) - dead)

    def _write(self, connection: sa.Connection, spent: int, held: int) -> None:
        self._stand.run(connection, study=self.study, spent=str(spent), held=str(held))

    def _write_charges(self, connection: sa.Connection, lease: str, by: Mapping[tuple[str, str], int]) -> None:
        for (binding, kind), parts in by.items():
            row = {"study": self.study, "lease": lease, "binding": binding, "kind": kind, "parts": str(parts)}
            self._charge.run(connection, **row)

    def _bury(self, connection: sa.Connection) -> int:
        """Charge what dead processes held; how much that was."""
        c = LEASE.c
        query = sa.select(LEASE).where(c.study == self.study, c.lease != self.id, sa.not_(c.lost))
        dead = [row for row in connection.execute(query).all() if not self._lives(row)]
        for row in dead:
            connection.execute(sa.update(LEASE).where(c.lease == row.lease).values(lost=True))
            self._write_charges(connection, row.lease, {("", LOST): int(row.held)})
        return sum(int(row.held) for row in dead)

    def _lives(self, row: Any) -> bool:
        if row.place == self._process[0]:
            known = alive(row.pid, row.started)
            if known is not None:
                return known
        beat, since = self._heard.get(row.lease, (None, 0.0))
        now = self._clock()
        if beat != row.beat:
            self._heard[row.lease] = (row.beat, now)
            return True
        return now - since < SILENCE


class _Prepared:
    """A statement that is compiled once: SQLAlchemy takes longer to write one than the database to run it."""

    def __init__(self, engine: sa.Engine, statement: Any) -> None:
        compiled = statement.compile(dialect=engine.dialect)
        self._sql = str(compiled)
        self._names = compiled.positiontup if engine.dialect.positional else None

    def run(self, connection: sa.Connection, **values: Any) -> sa.CursorResult[Any]:
        """Run it with these values, past SQLAlchemy's conversions."""
        return connection.exec_driver_sql(
            self._sql, values if self._names is None else tuple(values[name] for name in self._names)
        )


_LOOK = (
    sa.select(LEDGER.c.spent, LEDGER.c.held, LEASE.c.held.label("mine"), LEASE.c.spent.label("written"), LEASE.c.lost)
    .where(LEDGER.c.study == sa.bindparam("study"), LEASE.c.lease == sa.bindparam("lease"))
    .with_for_update(of=LEDGER)
)
_HOLD = (
    sa.update(LEASE)
    .where(LEASE.c.lease == sa.bindparam("lease"))
    .values(
        held=sa.bindparam("held"),
        spent=sa.bindparam("spent"),
        lost=sa.bindparam("lost"),
        beat=LEASE.c.beat + sa.text("1"),
    )
)
_STAND = (
    sa.update(LEDGER)
    .where(LEDGER.c.study == sa.bindparam("study"))
    .values(spent=sa.bindparam("spent"), held=sa.bindparam("held"))
)


def spent_by(engine: sa.Engine, study: str) -> By:
    """What a study has spent, by binding id and kind: of all processes and all earlier runs."""
    query = sa.select(CHARGE.c.binding, CHARGE.c.kind, CHARGE.c.parts).where(CHARGE.c.study == study)
    found: By = {}
    with reading(engine) as connection:
        for binding, kind, parts in connection.execute(query):
            found[binding, kind] = found.get((binding, kind), 0) + int(parts)
    return found


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
