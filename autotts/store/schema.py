"""The tables of the newest schema, as the queries see them; `migrations` says how they come to be.

One row of `SAMPLE` is one finished ask. `kind` is draw, blend, score or root; `parents` are the keys of the nodes it
was asked of, one after the other. A score of a `score` row is null where it failed (NaN). The state is in `text`
where it is text, in `data` where it is bytes, and as JSON in `text` for everything else (`form` says which).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import sqlalchemy as sa


class Exact(sa.types.UserDefinedType[Any]):
    """A number that stays whole if it is whole: costs in smallest parts pass 2**53, expected costs are fractions."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Name the column's type."""
        return "NUMERIC"

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:
        """PostgreSQL answers in decimals, SQLite in numbers."""

        def number(value: Any) -> Any:
            if not isinstance(value, Decimal):
                return value
            return int(value) if value == value.to_integral_value() else float(value)

        return number


def _columns(**types: Any) -> list[sa.ColumnClause[Any]]:
    return [sa.column(name, kind) for name, kind in types.items()]


META = sa.table("autotts_meta", *_columns(key=sa.Text(), value=sa.Text()))

SAMPLE = sa.table(
    "autotts_sample",
    *_columns(
        key=sa.LargeBinary(),
        kind=sa.Text(),
        binding=sa.Text(),
        parents=sa.LargeBinary(),
        depth=sa.Integer(),
        done=sa.Boolean(),
        answer=sa.Text(),
        digest=sa.LargeBinary(),
        tokens=sa.Integer(),
        failed=sa.Boolean(),
        signals=sa.Text(),
        score=sa.Double(),
        form=sa.Text(),
        text=sa.Text(),
        data=sa.LargeBinary(),
        prompt=sa.Integer(),
        cached=sa.Integer(),
        generated=sa.Integer(),
        cancelled=sa.Integer(),
        calls=sa.Integer(),
        seconds=sa.Double(),
        created=sa.Double(),
    ),
)

OUTCOME = sa.table(
    "autotts_outcome",
    *_columns(
        study=sa.Text(),
        arm=sa.Text(),
        prompt=sa.Text(),
        epoch=sa.Integer(),
        answer=sa.Text(),
        correct=sa.Double(),
        cost=Exact(),
        ended=sa.Text(),
        trial=sa.Integer(),
    ),
)


# What studies have spent; amounts are whole numbers of any size, written as text. A lease is one process's part:
# what it holds, and what it has charged. `lost` says that it died, and that what it held was charged as lost. `held`
# of a ledger is the sum over the leases that are not lost. The lease of what was spent before the ledger is "".
LEDGER = sa.table("autotts_ledger", *_columns(study=sa.Text(), unit=sa.Text(), spent=sa.Text(), held=sa.Text()))

CHARGE = sa.table(
    "autotts_charge",
    *_columns(study=sa.Text(), lease=sa.Text(), binding=sa.Text(), kind=sa.Text(), parts=sa.Text()),
)

LEASE = sa.table(
    "autotts_lease",
    *_columns(
        lease=sa.Text(),
        study=sa.Text(),
        place=sa.Text(),
        pid=sa.Integer(),
        started=sa.Text(),
        beat=sa.Integer(),
        held=sa.Text(),
        spent=sa.Text(),
        lost=sa.Boolean(),
    ),
)


# One running mean budget that several servers hold together. `balance` is what nobody holds; a holder's `net` is what
# it has taken from there less what it gave back, `held` what it has besides its own requests' budgets.
ACCOUNT = sa.table(
    "autotts_account", *_columns(account=sa.Text(), balance=sa.Text(), requests=sa.Integer(), spent=sa.Text())
)

HOLDER = sa.table(
    "autotts_holder",
    *_columns(
        holder=sa.Text(),
        account=sa.Text(),
        beat=sa.Integer(),
        net=sa.Text(),
        held=sa.Text(),
        requests=sa.Integer(),
        spent=sa.Text(),
    ),
)

# What a client has used of its own budget in a period, with what servers hold of it.
PURSE = sa.table("autotts_purse", *_columns(name=sa.Text(), period=sa.Text(), taken=sa.Text()))


def insert_new(dialect: str, table: sa.TableClause) -> Any:
    """INSERT that leaves rows alone whose key is there already."""
    return _insert(dialect, table).on_conflict_do_nothing()


def upsert(dialect: str, table: sa.TableClause, keys: list[str]) -> Any:
    """INSERT that replaces the row with the same keys."""
    insert = _insert(dialect, table)
    rest = {c.name: insert.excluded[c.name] for c in table.c if c.name not in keys}
    return insert.on_conflict_do_update(index_elements=keys, set_=rest)


def _insert(dialect: str, table: sa.TableClause) -> Any:
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as postgresql_insert

        return postgresql_insert(table)
    from sqlalchemy.dialects.sqlite import insert as sqlite_insert

    return sqlite_insert(table)
