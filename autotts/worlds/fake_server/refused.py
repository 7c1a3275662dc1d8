"""What a fake server answers where it cannot: an error in the form of OpenAI's, with a status and a wait."""

from __future__ import annotations

import math
from typing import Any


class Refused(Exception):
    """A request that is answered with an error; nothing was generated for it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "BadRequestError",
        param: str | None = None,
        code: str | None = None,
        wait: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.param = param
        self.code: int | str = status if code is None else code
        self.headers = {} if wait is None else {"Retry-After": f"{math.ceil(wait * 1000) / 1000:g}"}

    @property
    def form(self) -> dict[str, Any]:
        """The answer's JSON."""
        return {"error": {"message": str(self), "type": self.kind, "param": self.param, "code": self.code}}
