"""A ledger whose limit several processes draw on, and that outlives them: the ledger of a study, in its database.

Each process holds so much of the limit as what it runs may come to, and an eighth more while there is plenty, so that
the database is asked once for many draws. What it holds is written down before anything is sent; what it spends
is written down with the samples that were paid for (`beside`), or 50 ms later. If it is killed, what it held and had
not spent is charged as lost by whoever comes next. Where there is no limit nothing is held: nobody has to know the most
that was in flight.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from autotts.engine.ledger import Charge, Ledger, serve
from autotts.errors import StoreError
from autotts.store.ledger import LOST, By, Lease, Stand, Wish, spent_by

BEAT = 5.0  # seconds between two signs of life
TIDY = 0.05  # seconds until what is not needed is given back
SPARE = 8  # the share of what is set aside that is kept in hand besides, while there is plenty
PAUSE, LONGEST = 0.02, 0.5  # seconds between two looks whether others have given something back


class SharedLedger:
    """`with SharedLedger(engine, study, unit, limit) as shared`: the root of a study's ledgers is `shared.ledger`.

    Give `shared.beside` to `Samples`, so that samples and what they cost are kept together. The root's `spent` is what
    all processes and earlier runs have spent, others' as it was when the database was last asked; `limit` may be set
    again while nothing runs.

    Parameters
    ----------
    engine
        As `database.open` gives it.
    seed
        What was spent before the study had a ledger, by (binding id, kind); asked once, when its ledger is made.

    Raises
    ------
    StoreError
        When the study's ledger is in another unit, or the database cannot be used.
    """

    def __init__(
        self,
        engine: Any,
        study: str,
        unit: str,
        limit: int | None = None,
        *,
        seed: Callable[[], Mapping[tuple[str, str], int]] | None = None,
    ) -> None:
        self._engine = engine
        self._study = study
        self._unit = unit
        self._limit = limit
        self._seed = seed
        self.ledger: Ledger
        self._purse: _Purse
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._live, name="autotts-ledger", daemon=True)

    def __enter__(self) -> Self:
        self._purse = _Purse(Lease(self._engine, self._study, self._unit, seed=self._seed))
        self.ledger = Ledger(self._limit, purse=self._purse)
        self.ledger.by = spent_by(self._engine, self._study)
        self._purse.open(self.ledger)
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._purse.untidy.set()
        self._heart.join()
        try:
            self._purse.close()
        except StoreError:
            if error is None:
                raise

    def beside(self, connection: Any) -> None:
        """Write down what was spent, in the transaction that keeps samples."""
        self._purse.beside(connection)

    def settled(self) -> By:
        """What the study has spent, by (binding id, kind): of all processes and all earlier runs."""
        self._purse.turn()
        return spent_by(self._engine, self._study)

    def _live(self) -> None:
        due = 0.0
        while not self._over.is_set():
            try:
                if self._purse.untidy.wait(max(0.0, due - time.monotonic())) and not self._over.wait(TIDY):
                    self._purse.untidy.clear()
                    self._purse.tidy()
                if time.monotonic() >= due:
                    due = time.monotonic() + BEAT
                    self._purse.lease.look()
            except StoreError:
                continue  # whoever wants something of the database is told


class _Purse:
    """What this process holds of the limit.

    `free` is in hand, `reserved` is set aside; both and what is charged but not written down are what the database
    says that this process holds, or less. The lock is for the threads that write; `serve` runs in the event loop only.
    """

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.free = 0
        self.reserved = 0
        self._ledger: Ledger
        self._lock = threading.Lock()
        self._turning = threading.Lock()
        self._by: By = {}  # all that was charged here
        self._changed: dict[tuple[str, str], int] = {}  # what `_total` was when a charge last changed
        self._total = 0
        self._said = 0  # of the total, what some transaction has taken with it
        self._others = 0  # what all others have spent
        self._stand = Stand(0, 0, 0)  # after the last turn
        self.untidy = threading.Event()
        self._task: asyncio.Task[None] | None = None
        self._lacking = False
        self._broken: Exception | None = None

    def open(self, ledger: Ledger) -> None:
        """See where the study stands."""
        self._ledger = ledger
        self.turn()

    # ------------------------------------------------------------ asked by the ledger

    def holds(self, parts: int) -> bool:
        return self._ledger.limit is None or self.free >= parts

    def set_aside(self, parts: int) -> None:
        with self._lock:
            self.free -= parts
            self.reserved += parts

    def pay(self, reserved: int, bill: Iterable[Charge]) -> None:
        with self._lock:
            self.reserved -= reserved
            self.free += reserved
            for binding, kind, parts in bill:
                if parts:
                    self._total += parts
                    self.free -= parts
                    self._by[binding, kind] = self._by.get((binding, kind), 0) + parts
                    self._changed[binding, kind] = self._total
        self._know()
        if not self.untidy.is_set():
            self.untidy.set()

    def fetch(self, parts: int) -> bool:
        self.turn(parts, parts)
        return self.free >= parts

    def lack(self) -> None:
        self._lacking = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._fill())

    # ------------------------------------------------------------ the database

    def turn(self, least: int = 0, most: int = 0) -> None:
        """Write down what is charged and give back what is in hand; then take at least so much, if it is there."""
        self._turn(0, least, most, 0)
        self._know()

    def tidy(self) -> None:
        """In a thread: give back what is in hand beyond what is soon needed, and write down what is charged."""
        keep = min(self.reserved // SPARE, self._stand.plenty)
        if self._total > self._said or not 0 <= self.free <= keep:
            self._turn(keep, 0, 0, 0)

    def beside(self, connection: Any) -> None:
        """Write down what is charged, in another's transaction; if that one fails, the next turn does it again."""

        def wish(written: int) -> Wish:
            with self._lock:  # what a turn has just taken may not be known here yet
                return Wish(self._total, self._news(written))

        self.lease.take_turn(connection, wish, self._ledger.limit)

    def close(self) -> None:
        """Write down what is charged and end the lease; what nobody settled is lost."""
        if self.reserved:
            self.pay(self.reserved, [("", LOST, self.reserved)])

        def wish(written: int) -> Wish:
            with self._lock:
                self.free = 0
                return Wish(self._total, self._news(written), 0)

        self.lease.close(wish)

    def _turn(self, keep: int, least: int, most: int, spare: int) -> Stand:
        """One transaction, in any thread: all in hand but `keep` is given back before anything is taken."""
        given = 0

        def wish(written: int) -> Wish:
            nonlocal given
            with self._lock:
                given = self.free - min(keep, max(0, self.free))  # negative where more was charged than was held
                self.free -= given
                held = 0 if self._ledger.limit is None else max(0, self.reserved + self.free)
                return Wish(self._total, self._news(written), held, least, most, spare)

        with self._turning:
            try:
                stand = self.lease.turn(wish, self._ledger.limit)
            except BaseException:
                with self._lock:
                    self.free += given
                raise
            with self._lock:
                self.free += stand.taken
            self._stand = stand
            return stand

    def _news(self, written: int) -> By:
        """What was charged of each binding and kind that changed since so much was written down."""
        self._changed = {key: total for key, total in self._changed.items() if total > written}
        self._said = self._total
        return {key: self._by[key] for key in self._changed}

    def _know(self) -> None:
        """In the thread of the ledger: what others had spent when the database was last asked."""
        spent = self._stand.spent
        self._ledger.spent += spent - self._others
        self._others = spent

    # ------------------------------------------------------------ in the event loop

    async def _fill(self) -> None:
        """Get what the line needs, as long as there is one; what others hold may still be given back."""
        ledger, line, pause = self._ledger, self._ledger.line, PAUSE
        try:
            while (due := ledger.due()) and ledger.within(due[0]) and not self.holds(due[0]):
                if self._broken is not None:
                    raise self._broken
                spare = max(due[0], self.reserved // SPARE)
                stand = await asyncio.to_thread(self._turn, 0, due[0], sum(due), spare)
                self.untidy.set()
                self._know()
                serve([ledger])
                self._lacking = False
                if stand.taken:
                    pause = PAUSE
                elif line:
                    await asyncio.sleep(pause)
                    pause = PAUSE if self._lacking else min(2 * pause, LONGEST)
        except Exception as error:  # told to all who wait
            self._broken = error
            while line:
                claim = line[0]
                claim.leave()
                if not claim.turn.done():
                    claim.turn.set_exception(error)
                serve(claim.ledger.path)
