"""How each fault spoils an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from autotts.worlds.fake_server.faults import Faults
from autotts.worlds.fake_server.wire import Connection, compact

BREAKS: Final = ("reset_midway", "half", "hang_midway")  # the answer does not come to its end
_HTML: Final = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><h1>502 Bad Gateway</h1></body>\r\n</html>\r\n"
)
_GARBAGE: Final = bytes((i * 73 + 41) % 256 for i in range(200))


def break_before(conn: Connection, fault: str, faults: Faults) -> bool:
    """Do what a fault does before any work, and say whether it does."""
    match fault:
        case "reset":
            conn.reset()
        case "429":
            conn.answer(429, _error(429, "Rate limit reached"), {"Retry-After": f"{faults.retry_after:g}"})
        case "429_bare":
            conn.answer(429, _error(429, "Rate limit reached"))
        case "500":
            conn.answer(500, _error(500, "The engine has stopped working"))
        case "502":
            conn.whole(502, _HTML, "text/html")
        case "503":
            conn.answer(503, _error(503, "The server is overloaded"))
        case "garbage":
            conn.raw(_GARBAGE)
            conn.close()
        case _:
            return False
    return True


def frames(fault: str | None, forms: Sequence[dict[str, Any]], hit: bool) -> list[bytes]:
    """The events of some chunks; `hit` says that these are the ones that a fault of a single place meets."""
    if fault is None:
        return [b"data: " + compact(form).encode("utf-8", "replace") + b"\n\n" for form in forms]
    events = [b"data: " + _spoilt(fault, form, "choices", hit) + b"\n\n" for form in forms]
    return events * 2 if fault == "duplicate" and hit else events


def spoilt(fault: str | None, form: dict[str, Any], key: str) -> bytes:
    """A whole answer in JSON, with the fault; `key` names its list of choices."""
    return compact(form).encode("utf-8", "replace") if fault is None else _spoilt(fault, form, key, True)


def half(conn: Connection, body: bytes) -> None:
    """Answer with the first half of a body and hang up."""
    conn.raw(conn.head(200, "application/json", {"Content-Length": str(len(body))}) + body[: len(body) // 2])
    conn.close()


def _spoilt(fault: str, form: dict[str, Any], key: str, hit: bool) -> bytes:
    if fault == "no_usage":
        form.pop("usage", None)
    elif fault == "no_choices":
        form[key] = []
    elif fault == "two_choices" and form[key]:
        form[key] = [*form[key], {**form[key][-1], "index": len(form[key])}]
    data = compact(form).encode("utf-8", "replace")
    if fault == "bad_json" and hit:
        return data[: len(data) // 2]
    if fault == "bad_utf8" and hit:
        return data.replace(b'"model":"', b'"model":"\xe2\x82', 1)
    return data


def _error(status: int, words: str) -> dict[str, Any]:
    return {"error": {"message": words, "type": "InternalServerError", "param": None, "code": status}}
