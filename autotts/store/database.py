"""Opens the one database of a study: checks whose it is, brings it to the newest schema, turns faults into words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc

from autotts.errors import AutottsError, StoreError
from autotts.store.migrations import NEWEST, migrate, version_of
from autotts.store.schema import META

TIMEOUT = 30.0  # seconds to wait for another writer

_OPTUNA = {"studies", "trials", "version_info", "alembic_version"}
_OPTUNA_PREFIXES = ("study_", "trial_")
_BEGIN = "autotts_begin"  # the option that says how a connection begins its transactions


def open(url: str, timeout: float = TIMEOUT) -> sa.Engine:
    """Open the database of a study, or make it: samples, outcomes and Optuna's studies share it.

    Parameters
    ----------
    url
        SQLAlchemy URL, such as `sqlite:///runs/math/autotts.db`.
    timeout
        Seconds to wait for another writer before the database counts as locked; `?timeout=` in the URL of an SQLite
        database wins.

    Raises
    ------
    StoreError
        When it is not ours, of a newer version, locked, full, not writable, or no database at all.
    """
    engine = _engine(url)
    timeout = _patience(engine, timeout)
    _tune(engine, timeout, own_transactions=True)
    try:
        with faults(engine):
            _claim(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def ours(url: str) -> bool:
    """Whether a database that is there holds our tables; nothing is written into it."""
    engine = _engine(url)
    try:
        with faults(engine):
            return sa.inspect(engine).has_table(META.name)
    finally:
        engine.dispose()


def tune(engine: sa.Engine, timeout: float = TIMEOUT) -> None:
    """Make another engine on the same file (Optuna's) a good neighbour: it waits for writers, and syncs as we do."""
    _tune(engine, _patience(engine, timeout), own_transactions=False)
    engine.dispose()  # connections that are open already have not heard it


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Give a connection in a transaction that holds the write lock from its start; commit at the end."""
    with faults(engine), engine.connect() as connection:
        connection = connection.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        with connection.begin():
            yield connection


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Give a connection in a transaction that only reads."""
    with faults(engine), engine.connect() as connection:
        yield connection


@contextmanager
def faults(engine: sa.Engine) -> Iterator[None]:
    """Turn errors of the database, Optuna's about it too, into `StoreError`s that say what to do."""
    try:
        yield
    except AutottsError:
        raise
    except Exception as error:
        fault = _fault(error)
        if fault is None:
            raise
        raise StoreError(_explain(engine, fault)) from error


def _fault(error: BaseException | None) -> exc.DBAPIError | None:
    """The driver's error that an error stands for."""
    while error is not None and not isinstance(error, exc.DBAPIError):
        error = error.__cause__
    return error


def _engine(url: str) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
        engine = sa.create_engine(parsed)
    except exc.ArgumentError as error:
        shown, why = _hidden(url), str(error).replace(url, _hidden(url))
        raise StoreError(
            f"storage: expected a database URL such as sqlite:///autotts.db, found {shown!r} ({why})"
        ) from None
    except ModuleNotFoundError as error:
        raise StoreError(
            f"storage: {_place(parsed)} needs the driver {error.name!r}, which is not installed: pip install it"
        ) from error
    if engine.dialect.name not in ("sqlite", "postgresql"):
        raise StoreError(f"storage: expected an SQLite or PostgreSQL database, found {_place(parsed)}")
    if engine.dialect.name == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise StoreError(
            f"storage: {url!r} is a database in memory, which nothing else can read: give a file, "
            "such as sqlite:///autotts.db"
        )
    return engine


def _hidden(url: str) -> str:
    """A URL that could not be taken apart, without its name and password."""
    before, at, place = url.rpartition("@")
    scheme, colon, _ = before.partition("://")
    return f"{scheme + colon if colon else ''}***@{place}" if at else url


def _patience(engine: sa.Engine, timeout: float) -> float:
    """The seconds that an URL asks to wait, where it does."""
    asked = engine.url.query.get("timeout")
    try:
        return timeout if asked is None else float(str(asked))
    except ValueError:
        raise StoreError(f"storage: timeout: expected seconds, such as ?timeout=60, found {asked!r}") from None


def _tune(engine: sa.Engine, timeout: float, *, own_transactions: bool) -> None:
    if engine.dialect.name != "sqlite":
        return

    @event.listens_for(engine, "connect")
    def connected(raw: Any, _: Any) -> None:
        raw.execute(f"PRAGMA busy_timeout={round(timeout * 1000)}")
        raw.execute("PRAGMA synchronous=NORMAL")

    if own_transactions:

        @event.listens_for(engine, "begin")
        def begun(connection: sa.Connection) -> None:
            # Python would begin at the first INSERT. A transaction that reads first and writes later fails at once
            # when another has written in between, so one that writes says so at its start.
            how = connection.get_execution_options().get(_BEGIN, "BEGIN")
            if how:
                connection.exec_driver_sql(how)


def _claim(engine: sa.Engine) -> None:
    """Check whose database it is, and bring it to the newest schema."""
    with engine.connect() as connection:
        version = _checked_version(engine, connection)
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:  # outside of a transaction, where alone it can be set
            connection.execution_options(**{_BEGIN: ""}).exec_driver_sql("PRAGMA journal_mode=WAL")
    if version < NEWEST:
        with writing(engine) as connection:
            _checked_version(engine, connection)  # another process may have been quicker
            migrate(connection)


def _checked_version(engine: sa.Engine, connection: sa.Connection) -> int:
    names = set(sa.inspect(connection).get_table_names())
    if META.name not in names:
        others = sorted(n for n in names if n not in _OPTUNA and not n.startswith(_OPTUNA_PREFIXES))
        if others:
            raise StoreError(
                f"storage: {_place(engine.url)} is not ours: expected a study of autotts, a study of Optuna or an "
                f"empty database, found tables {', '.join(others[:5])}{' ...' if len(others) > 5 else ''}; "
                "give another one with --storage or --out"
            )
        return 0
    version = version_of(connection)
    if version > NEWEST:
        raise StoreError(
            f"storage: {_place(engine.url)} was written by a newer autotts: its schema is version {version}, this "
            f"program knows versions up to {NEWEST}; upgrade autotts, or give another one with --storage or --out"
        )
    return version


def _code(error: BaseException | None) -> str:
    """SQLite's primary result code, such as SQLITE_BUSY; empty for other drivers."""
    name = str(getattr(error, "sqlite_errorname", ""))
    return "_".join(name.split("_")[:2])


_WORDS = {
    "SQLITE_BUSY": "is locked by another program; end that program, or wait, and run the command again",
    "SQLITE_LOCKED": "is locked by another program; end that program, or wait, and run the command again",
    "SQLITE_FULL": "is full (no space left on its disk); make room and run the same command again to go on",
    "SQLITE_CANTOPEN": "cannot be opened; expected a file in a folder that exists and can be written",
    "SQLITE_PERM": "cannot be written; expected a file and a folder with write permission",
    "SQLITE_READONLY": "cannot be written; expected a file and a folder with write permission",
    "SQLITE_NOTADB": "is not a database; give another file with --storage or --out",
    "SQLITE_CORRUPT": "is damaged; restore it from a copy, or give another file with --storage or --out",
}


def _explain(engine: sa.Engine, error: exc.DBAPIError) -> str:
    words = _WORDS.get(_code(error.orig), "cannot be used; see the message of its driver")
    return f"storage: {_place(engine.url)} {words} ({error.orig})"


def _place(url: sa.URL) -> str:
    """The database for people: a file's path, or a URL without its password."""
    return str(url.database) if url.drivername.startswith("sqlite") else url.render_as_string(hide_password=True)
