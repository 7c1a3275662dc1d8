"""Samples by key, in memory for the engine and in SQL for the next run: what an engine's memo asks first.

All samples are read when the store is opened, so that a get is a look-up in memory (a row becomes a reply when it is
first asked for). New ones go to one background thread, which commits whatever has come at most 100 ms after it came.
A sample is finished when it is committed.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Collection, Sequence
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, Self, cast

import sqlalchemy as sa

from autotts.core.cost import Usage
from autotts.core.node import NO_SIGNALS, Key, Node
from autotts.core.plan import Blend, Draw
from autotts.core.world import Binding, Reply
from autotts.errors import StoreError
from autotts.store.database import reading, writing
from autotts.store.schema import SAMPLE, insert_new

PAUSE = 0.03  # seconds in which rows gather for one transaction
ASKED = 5000  # keys that one query asks for

Row = tuple[Any, ...]


class Asked(Protocol):
    """What a store needs of an order: the ask, its sample key and its binding."""

    @property
    def ask(self) -> Any: ...
    @property
    def key(self) -> Key: ...
    @property
    def binding(self) -> Binding: ...


class Samples:
    """Samples of one database: `get` and `put` for a memo; a context manager that keeps all when it is left.

    Parameters
    ----------
    engine
        As `database.open` gives it.
    bindings
        Read only the samples of these binding ids (and the roots); all of them by default.
    beside
        Called in each transaction that keeps samples, to keep something with them: what they cost.
    """

    def __init__(
        self,
        engine: sa.Engine,
        bindings: Collection[str] | None = None,
        *,
        beside: Callable[[sa.Connection], None] | None = None,
    ) -> None:
        self._engine = engine
        self._beside = beside
        self._known: dict[Key, Reply | Row] = _load(engine, bindings)
        self._shared: dict[Any, Any] = {}  # equal answers and usages are one object: a third of the memory
        self._insert = _driver_sql(engine, insert_new(engine.dialect.name, SAMPLE))
        self._waiting: list[Row] = []
        self._put = 0
        self._kept = 0
        self._broken: StoreError | None = None
        self._hurry = False
        self._closing = False
        self._changed = threading.Condition()
        self._writer = threading.Thread(target=self._write, name="autotts-samples", daemon=True)
        self._writer.start()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: Key) -> Reply | None:
        """Give the reply that is stored under a sample key."""
        found = self._known.get(key)
        if type(found) is tuple:
            found = self._known[key] = _read_reply(found, self._shared)
        return cast("Reply | None", found)

    def put(self, order: Asked, reply: Reply) -> None:
        """Keep a reply; what is there already under its key stays.

        Raises
        ------
        StoreError
            When an earlier reply could not be written. All that was committed before is kept.
        """
        ask = order.ask
        if type(ask) is Draw:
            self._keep("draw", order.binding.id, ask.node.key, order.key, reply)
        elif type(ask) is Blend:
            self._keep("blend", order.binding.id, b"".join(n.key for n in ask.nodes), order.key, reply)
        else:
            self._keep("score", order.binding.id, ask.node.key, order.key, reply)

    def put_root(self, root: Node, state: Any) -> None:
        """Keep a prompt: the root of its paths and its state."""
        self._keep("root", "", b"", root.key, Reply(root, Usage(), 0.0, state))

    def flush(self) -> None:
        """Return when all that was put is committed; raise `StoreError` if that failed."""
        with self._changed:
            target = self._put
            self._hurry = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._kept >= target or self._broken is not None)
            if self._broken is not None:
                raise self._broken

    def close(self) -> None:
        """Commit what is left and end the background thread; raise `StoreError` if something could not be kept."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._writer.join()
        if self._broken is not None:
            raise self._broken

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except StoreError as own:
            if own is not error:
                raise

    def _keep(self, kind: str, binding: str, parents: bytes, key: Key, reply: Reply) -> None:
        if self._broken is not None:
            raise self._broken
        if self._closing:
            raise StoreError("storage: a sample came after the store was closed")
        if key in self._known:
            return
        row = (key, kind, binding, parents, *_write_reply(reply), time.time())
        self._known[key] = reply
        with self._changed:
            self._waiting.append(row)
            self._put += 1
            if len(self._waiting) == 1:
                self._changed.notify_all()

    def _write(self) -> None:
        """Commit what has come, again and again, until the store is closed or breaks."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                self._changed.wait_for(lambda: self._hurry or self._closing, PAUSE)
                rows, self._waiting = self._waiting, []
                self._hurry = False
            if not rows:
                return
            try:
                with writing(self._engine) as connection:
                    _execute_many(connection, self._insert, rows)
                    if self._beside is not None:
                        self._beside(connection)
            except Exception as error:  # the thread's boundary: whoever asks next is told
                self._break(error, len(rows))
                return
            with self._changed:
                self._kept += len(rows)
                self._changed.notify_all()

    def _break(self, error: Exception, failed: int) -> None:
        with self._changed:
            lost = failed + len(self._waiting)
            self._waiting = []
            self._broken = StoreError(
                f"{error}; {self._kept} samples of this run are kept, the last {lost} are not and will be drawn again"
            )
            self._broken.__cause__ = error
            self._changed.notify_all()


def stored(engine: sa.Engine, keys: Sequence[Key]) -> dict[Key, Reply]:
    """The replies that are kept under some keys, read from the database; keys without one are left out."""
    found: dict[Key, Reply] = {}
    shared: dict[Any, Any] = {}
    with reading(engine) as connection:
        for start in range(0, len(keys), ASKED):
            query = sa.select(*_columns()).select_from(SAMPLE).where(SAMPLE.c.key.in_(keys[start : start + ASKED]))
            found.update((row[0], _read_reply(tuple(row), shared)) for row in connection.execute(query))
    return found


_WRITTEN = tuple(c.name for c in SAMPLE.c)
_READ = tuple(n for n in _WRITTEN if n not in ("binding", "parents", "created"))


def _write_reply(reply: Reply) -> Row:
    """Columns of a reply, from `depth` to `seconds`."""
    value, usage, state = reply.value, reply.usage, reply.state
    form: tuple[Any, ...] = (None, None, None)
    if isinstance(state, str):
        form = ("text", state, None)
    elif isinstance(state, bytes):
        form = ("bytes", None, state)
    elif state is not None:
        form = ("json", _to_json(state), None)
    spent = (usage.prompt, usage.cached, usage.generated, usage.cancelled, usage.calls, reply.seconds)
    if isinstance(value, Node):
        signals = json.dumps(dict(value.signals)) if value.signals else None
        head: Row = (value.depth, value.done, value.answer, value.digest, value.tokens, value.failed, signals, None)
    else:
        head = (None, None, None, None, None, None, None, None if math.isnan(value) else float(value))
    return (*head, *form, *spent)


def _to_json(state: Any) -> str:
    try:
        return json.dumps(state)
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"storage: a state of type {type(state).__name__} cannot be kept: expected text, bytes, or numbers, "
            f"lists and dicts of them ({error})"
        ) from error


def _read_reply(row: Row, shared: dict[Any, Any]) -> Reply:
    key, kind, depth, done, answer, digest, tokens, failed, signals, score, form, text, data, *counts, seconds = row
    spent = tuple(counts)
    usage = shared.get(spent)
    if usage is None:
        usage = shared[spent] = Usage(*spent)
    state = _tuples(json.loads(text)) if form == "json" else data if form == "bytes" else text
    if kind == "score":
        return Reply(math.nan if score is None else score, usage, seconds, state)
    numbers = MappingProxyType(json.loads(signals)) if signals else NO_SIGNALS
    answer = shared.setdefault(answer, answer)
    return Reply(Node(key, depth, bool(done), answer, digest, tokens, bool(failed), numbers), usage, seconds, state)


def _tuples(value: Any) -> Any:
    """Lists become tuples again: a state is a value."""
    if isinstance(value, list):
        return tuple(_tuples(v) for v in value)
    return {k: _tuples(v) for k, v in value.items()} if isinstance(value, dict) else value


def _driver_sql(engine: sa.Engine, statement: Any) -> str:
    return str(statement.compile(dialect=engine.dialect))


def _execute_many(connection: sa.Connection, statement: str, rows: list[Row]) -> None:
    """Insert rows past SQLAlchemy's conversions, which would take longer than the database does."""
    if connection.dialect.positional:
        connection.exec_driver_sql(statement, rows)
    else:
        connection.exec_driver_sql(statement, [dict(zip(_WRITTEN, row, strict=True)) for row in rows])


def _columns() -> list[sa.ColumnElement[Any]]:
    # Only keys and bytes have a type: other columns are taken as the driver gives them, and converted when asked for.
    return [c if isinstance(c.type, sa.LargeBinary) else sa.column(c.name) for c in SAMPLE.c if c.name in _READ]


def _load(engine: sa.Engine, bindings: Collection[str] | None) -> dict[Key, Reply | Row]:
    query: sa.Select[Any] = sa.select(*_columns()).select_from(SAMPLE)
    if bindings is not None:
        query = query.where(SAMPLE.c.binding.in_(["", *bindings]))
    known: dict[Key, Reply | Row] = {}
    with reading(engine) as connection:
        rows = connection.execution_options(stream_results=True).execute(query)
        for part in rows.partitions(10_000):
            known.update((row[0], tuple(row)) for row in part)
    return known
