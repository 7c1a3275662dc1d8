"""What a client is told when its request is not answered: one exception, in the form of OpenAI's errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from autotts.errors import AutottsError

# The `type` of an error by its status, as OpenAI's API names them; clients choose what they raise by the status.
TYPES: Final = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class Refused(AutottsError):
    """A request that is not answered: its status, what to do, and the field that is meant where it is one.

    Parameters
    ----------
    status
        The HTTP status, 400 to 599.
    message
        What was expected, what was found, and what to do; it is shown to the client, so it holds no secrets.
    param
        The field of the request that is meant, such as `messages[0].content`.
    code
        A word for programs, such as `context_length_exceeded`.
    headers
        Headers of the answer besides its content type, such as `retry-after`.
    raw
        The answer's body where it is a backend's own.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        raw: bytes = b"",
    ) -> None:
        super().__init__(message)
        self.raw = raw
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers: Mapping[str, str] = dict(headers or {})

    @property
    def kind(self) -> str:
        """The error's `type`: whose fault it is."""
        return TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")

    def body(self) -> bytes:
        """The error as JSON.

        Examples
        --------
        >>> Refused(404, "no such model", param="model").body().decode()
        '{"error":{"message":"no such model","type":"invalid_request_error","param":"model","code":null}}'
        """
        if self.raw:
            return self.raw
        said = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        # ASCII, so that a lone surrogate that a message quotes is an escape and no error.
        return json.dumps({"error": said}, separators=(",", ":")).encode("ascii")


class Busy(Refused):
    """There is no room for this request now; nothing was spent. `retry_after` is in whole seconds, 1 at least."""

    def __init__(self, status: int, message: str, retry_after: int, *, code: str = "rate_limit_exceeded") -> None:
        super().__init__(status, message, code=code, headers={"retry-after": str(retry_after)})
        self.retry_after = retry_after
