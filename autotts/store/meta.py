"""Small facts about a study by name: the recipe that it was made with, and where it stands."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from autotts.errors import StoreError
from autotts.store.database import reading, writing
from autotts.store.schema import META, insert_new, upsert

_RECIPE = "recipe/"


class Meta:
    """Keys and JSON values of one database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def get(self, key: str) -> Any:
        """Give the value of a key, None where there is none."""
        with reading(self._engine) as connection:
            return _value(connection, key)

    def set(self, key: str, value: Any) -> None:
        """Keep a value that JSON can write, in place of what was there."""
        row = {"key": key, "value": json.dumps(value, sort_keys=True)}
        with writing(self._engine) as connection:
            connection.execute(upsert(connection.dialect.name, META, ["key"]), row)

    def studies(self) -> list[str]:
        """Names of the studies that this database holds."""
        query = sa.select(META.c.key).where(META.c.key.startswith(_RECIPE, autoescape=True)).order_by(META.c.key)
        with reading(self._engine) as connection:
            return [key.removeprefix(_RECIPE) for key in connection.scalars(query)]

    def recipe(self, study: str) -> Any:
        """Give the recipe that a study was made with, None where there is no such study."""
        return self.get(_RECIPE + study)

    def check(self, study: str, recipe: Mapping[str, Any]) -> None:
        """See that a study of this name has this recipe, or is not there; nothing is written.

        Raises
        ------
        StoreError
            When a study of this name is there with another recipe. The message names what differs.
        """
        there, here = self.recipe(study), json.loads(json.dumps(dict(recipe)))
        differing = [] if there is None else list(_differences(there, here))
        if differing:
            shown = "; ".join(differing[:6]) + (" ..." if len(differing) > 6 else "")
            raise StoreError(
                f"storage: {self._engine.url.database} holds another study named {study!r}: {shown}; "
                "run it with the same settings to go on with it, or give another folder with --out"
            )

    def claim(self, study: str, recipe: Mapping[str, Any]) -> bool:
        """Say that a study of this name has this recipe; True where it was new.

        Raises
        ------
        StoreError
            As `check`.
        """
        key, text = _RECIPE + study, json.dumps(dict(recipe), sort_keys=True)
        with writing(self._engine) as connection:
            if _value(connection, key) is None:
                connection.execute(insert_new(connection.dialect.name, META), {"key": key, "value": text})
                return True
        self.check(study, recipe)
        return False


def _value(connection: sa.Connection, key: str) -> Any:
    text = connection.scalar(sa.select(META.c.value).where(META.c.key == key))
    return None if text is None else json.loads(text)


def _differences(there: Any, here: Any, path: str = "") -> Iterator[str]:
    """Name the keys, with dots, at which two recipes differ."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in sorted(there.keys() | here.keys()):
            yield from _differences(there.get(key), here.get(key), f"{path}.{key}" if path else key)
    elif there != here:
        yield f"{path} is {_short(there)} there and {_short(here)} here"


def _short(value: Any) -> str:
    text = "not given" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
