"""What a JSON artefact holds, read into its model; one wrong place is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from autotts.errors import InputError

T = TypeVar("T", bound=BaseModel)


def validated(kind: type[T], data: Mapping[str, Any], where: str) -> T:
    """Read a plain JSON object; what does not fit is an `InputError` that names the first such place."""
    try:
        return kind.model_validate(dict(data))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(f"{where}: {place}{': ' if place else ''}{first['msg']}") from None
