"""Numbered steps from one schema to the next, forward only. A step that was released is never edited."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from autotts.errors import StoreError
from autotts.store.schema import META, Exact, upsert


def _first(connection: sa.Connection) -> None:
    """Samples by key, outcomes by arm and prompt, and a table of keys and values."""
    tables = sa.MetaData()
    sa.Table(
        "autotts_meta",
        tables,
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    sa.Table(
        "autotts_sample",
        tables,
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("binding", sa.Text, nullable=False),
        sa.Column("parents", sa.LargeBinary, nullable=False),
        sa.Column("depth", sa.Integer),
        sa.Column("done", sa.Boolean),
        sa.Column("answer", sa.Text),
        sa.Column("digest", sa.LargeBinary),
        sa.Column("tokens", sa.Integer),
        sa.Column("failed", sa.Boolean),
        sa.Column("signals", sa.Text),
        sa.Column("score", sa.Double),
        sa.Column("form", sa.Text),
        sa.Column("text", sa.Text),
        sa.Column("data", sa.LargeBinary),
        sa.Column("prompt", sa.Integer, nullable=False),
        sa.Column("cached", sa.Integer, nullable=False),
        sa.Column("generated", sa.Integer, nullable=False),
        sa.Column("cancelled", sa.Integer, nullable=False),
        sa.Column("calls", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
    )
    sa.Table(
        "autotts_outcome",
        tables,
        sa.Column("study", sa.Text, primary_key=True),
        sa.Column("arm", sa.Text, primary_key=True),
        sa.Column("prompt", sa.Text, primary_key=True),
        sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("answer", sa.Text),
        sa.Column("correct", sa.Double, nullable=False),
        sa.Column("cost", Exact, nullable=False),
        sa.Column("ended", sa.Text, nullable=False),
        sa.Column("trial", sa.Integer),
        sqlite_with_rowid=False,
    )
    tables.create_all(connection)


def _ledgers(connection: sa.Connection) -> None:
    """What each study has spent, by binding and kind, and what running processes hold of its limit.

    Amounts are whole numbers written as text: floating-point operations of a long study pass 2**63.
    """
    tables = sa.MetaData()
    sa.Table(
        "autotts_ledger",
        tables,
        sa.Column("study", sa.Text, primary_key=True),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("spent", sa.Text, nullable=False),
        sa.Column("held", sa.Text, nullable=False),
    )
    sa.Table(
        "autotts_charge",
        tables,
        sa.Column("study", sa.Text, primary_key=True),
        sa.Column("lease", sa.Text, primary_key=True),
        sa.Column("binding", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("parts", sa.Text, nullable=False),
    )
    sa.Table(
        "autotts_lease",
        tables,
        sa.Column("lease", sa.Text, primary_key=True),
        sa.Column("study", sa.Text, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("started", sa.Text, nullable=False),
        sa.Column("beat", sa.Integer, nullable=False),
        sa.Column("held", sa.Text, nullable=False),
        sa.Column("spent", sa.Text, nullable=False),
        sa.Column("lost", sa.Boolean, nullable=False),
    )
    tables.create_all(connection)


def _accounts(connection: sa.Connection) -> None:
    """What servers share: the account of a running mean budget, who holds parts of it, and what clients have used.

    Amounts are whole numbers written as text, as in the ledgers.
    """
    tables = sa.MetaData()
    sa.Table(
        "autotts_account",
        tables,
        sa.Column("account", sa.Text, primary_key=True),
        sa.Column("balance", sa.Text, nullable=False),
        sa.Column("requests", sa.Integer, nullable=False),
        sa.Column("spent", sa.Text, nullable=False),
    )
    sa.Table(
        "autotts_holder",
        tables,
        sa.Column("holder", sa.Text, primary_key=True),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("beat", sa.Integer, nullable=False),
        sa.Column("net", sa.Text, nullable=False),
        sa.Column("held", sa.Text, nullable=False),
        sa.Column("requests", sa.Integer, nullable=False),
        sa.Column("spent", sa.Text, nullable=False),
    )
    sa.Table(
        "autotts_purse",
        tables,
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("period", sa.Text, primary_key=True),
        sa.Column("taken", sa.Text, nullable=False),
    )
    tables.create_all(connection)


MIGRATIONS: tuple[Callable[[sa.Connection], None], ...] = (_first, _ledgers, _accounts)
NEWEST = len(MIGRATIONS)
VERSION_KEY = "schema"


def version_of(connection: sa.Connection) -> int:
    """Version of the schema that is there: 0 where there is none.

    Raises
    ------
    StoreError
        When our tables are there without a version.
    """
    if not sa.inspect(connection).has_table(META.name):
        return 0
    value = connection.scalar(sa.select(META.c.value).where(META.c.key == VERSION_KEY))
    if value is None or not value.isdecimal():
        raise StoreError(
            f"storage: {connection.engine.url.database} is damaged: expected the version of its schema in the table "
            f"{META.name}, found {value!r}; restore it from a copy, or give another file with --storage or --out"
        )
    return int(value)


def migrate(connection: sa.Connection) -> None:
    """Run the steps that are missing, inside the caller's transaction."""
    version = version_of(connection)
    for step in MIGRATIONS[version:]:
        step(connection)
    if version < NEWEST:
        row = {"key": VERSION_KEY, "value": str(NEWEST)}
        connection.execute(upsert(connection.dialect.name, META, ["key"]), row)
