"""Reading a request's body safely: how long, how slowly, how deep, and only what is JSON to every reader alike."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from autotts.serve.refused import Refused
from autotts.serve.sending import Gone, Message, Receive, within

# Bytes of a body that is to be read in a thread: it takes up to half a second, in which nobody else would be answered.
LARGE: Final = 1 << 18

_DIGITS: Final = 20  # of a whole number: those of the largest of 64 bits
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)  # the last one may have no end
_ESCAPED: Final = re.compile(rb"\\u[dD][89a-fA-F]")  # half of a surrogate pair, perhaps
_CLOSE: Final = {"connection": "close"}  # what is left of the body is not read


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a request's body may be.

    Parameters
    ----------
    bytes
        Its length at most.
    seconds
        How long it may take to come.
    depth
        How deep its arrays and objects may be nested.
    values
        How many arrays, objects and members it may have in all: reading 8 MB of them would take seconds.
    patience
        How many bytes of one that is too long are read and thrown away, in multiples of `bytes`, so that a client that
        sends first and reads then sees why it is refused. What is longer is cut off.
    """

    bytes: int = 8 << 20
    seconds: float = 60.0
    depth: int = 64
    values: int = 400_000
    patience: int = 4


async def read_body(receive: Receive, headers: Mapping[str, str], bounds: Bounds) -> bytes:
    """The whole body of a request.

    Parameters
    ----------
    headers
        Those of the request, by names in lower case.

    Raises
    ------
    Refused
        408, 413 and 415: too slow, too long, packed or not JSON by its own word; 400 if its length is not as announced.
    Gone
        The client hung up.
    """
    _check_kind(headers)
    announced = _announced(headers)
    if announced > bounds.bytes and (announced > bounds.bytes * bounds.patience or "expect" in headers):
        raise _too_long(bounds, announced)
    try:
        body = await within(_gather(receive, bounds), bounds.seconds)
    except TimeoutError:
        raise Refused(
            408, f"body: expected it within {bounds.seconds:g} s, it was not at its end then", headers=_CLOSE
        ) from None
    if announced >= 0 and announced != len(body):
        raise Refused(400, f"body: expected the {announced} bytes of content-length, found {len(body)}", headers=_CLOSE)
    return body


async def _gather(receive: Receive, bounds: Bounds) -> bytes:
    first = await _piece(receive)
    body: bytes = first.get("body", b"")
    if not first.get("more_body", False) and len(body) <= bounds.bytes:
        return body
    pieces = [body]
    length, more = len(body), bool(first.get("more_body", False))
    while more:
        message = await _piece(receive)
        piece = message.get("body", b"")
        more = message.get("more_body", False)
        length += len(piece)
        if length <= bounds.bytes:
            pieces.append(piece)
        elif length > bounds.bytes * bounds.patience:
            raise _too_long(bounds, -1)
        else:
            pieces.clear()
    if length > bounds.bytes:
        raise _too_long(bounds, length)
    return b"".join(pieces)


async def _piece(receive: Receive) -> Message:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Gone("the client hung up before its request was whole")
    return message


def _check_kind(headers: Mapping[str, str]) -> None:
    packed = headers.get("content-encoding", "identity").strip().lower()
    if packed not in ("", "identity"):
        raise Refused(415, f"content-encoding: expected a plain body, found {packed[:40]!r}", headers=_CLOSE)
    # A web page of anybody can send other types to a server on the reader's own machine without asking it first.
    kind, _, options = headers.get("content-type", "").partition(";")
    if kind.strip().lower() != "application/json":
        raise Refused(
            415,
            f"content-type: expected application/json, found {kind.strip()[:80]!r}; send the header "
            "`Content-Type: application/json`",
            headers=_CLOSE,
        )
    charset = options.strip().lower()
    if charset.startswith("charset") and charset.partition("=")[2].strip(' "') not in ("utf-8", "utf8"):
        raise Refused(415, f"content-type: expected UTF-8, found {charset[:40]!r}", headers=_CLOSE)


def _announced(headers: Mapping[str, str]) -> int:
    """The length by the client's own word; -1 where it says none."""
    said = headers.get("content-length")
    if said is None:
        return -1
    if not (said.isascii() and said.isdecimal() and len(said) <= _DIGITS):
        raise Refused(400, f"content-length: expected a whole number, found {said[:40]!r}", headers=_CLOSE)
    return int(said)


def _too_long(bounds: Bounds, found: int) -> Refused:
    length = f"{found} bytes" if found >= 0 else "more"
    return Refused(
        413,
        f"body: expected at most {bounds.bytes} bytes, found {length}; send less, or raise the server's limit",
        code="request_too_large",
        headers=_CLOSE,
    )


_MARKS: Final = (b",", b"[", b"{")  # one at least for each value but the first


class _Odd(ValueError):
    """Something that JSON readers do not read alike."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Odd(f"expected each key once in an object, found {twice[:80]!r} twice")
    return out


def _real(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Odd(f"expected numbers that a computer can hold, found {text[:40]}")
    return value


def _whole(text: str) -> int:
    if len(text) > _DIGITS:
        raise _Odd(f"expected whole numbers of 64 bits at most, found one of {len(text)} digits")
    return int(text)


def _constant(text: str) -> Any:
    raise _Odd(f"expected numbers, found {text}")


_READER: Final = json.JSONDecoder(
    object_pairs_hook=_once, parse_float=_real, parse_int=_whole, parse_constant=_constant
)


def read_object(raw: bytes, bounds: Bounds) -> dict[str, Any]:
    """The JSON object that a body is, read strictly: what two readers might read in two ways is refused.

    Raises
    ------
    Refused
        400: not UTF-8, not JSON, no object; keys twice, numbers that are none or too large, half characters, nested
        too deep, or too many values.
    """
    _check_values(raw, bounds.values)
    try:
        found = _READER.decode(raw.decode("utf-8").removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        found_byte = f"found the byte 0x{raw[error.start]:02x} at byte {error.start}"
        raise Refused(400, f"body: expected UTF-8, {found_byte}") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Refused(400, f"body: expected JSON, found something else at {place}: {error.msg}") from None
    except _Odd as error:
        raise Refused(400, f"body: {error}") from None
    except RecursionError:
        raise _too_deep(bounds.depth) from None
    if not isinstance(found, dict):
        raise Refused(400, f"body: expected a JSON object, found {_named(found)}")
    if raw.count(b"[") + raw.count(b"{") > bounds.depth:
        _check_depth(found, bounds.depth)
    if _ESCAPED.search(raw):
        _check_texts(found)
    return found


def _check_values(raw: bytes, most: int) -> None:
    """See that there are not too many values, before anything is made of them."""
    if len(raw) <= most or sum(map(raw.count, _MARKS)) <= most:
        return
    bare = _STRING.sub(b"", raw)
    if sum(map(bare.count, _MARKS)) > most:
        raise Refused(400, f"body: expected at most {most} values in all, found more")


def _too_deep(depth: int) -> Refused:
    return Refused(400, f"body: expected arrays and objects nested {depth} deep at most, found deeper ones")


def _check_depth(found: Any, depth: int) -> None:
    """See that nothing is nested too deep, level by level: recursion would end where Python's own does."""
    level: list[Any] = [found]
    for _ in range(depth):
        below: list[Any] = []
        for value in level:
            below += [x for x in (value.values() if isinstance(value, dict) else value) if isinstance(x, dict | list)]
        if not below:
            return
        level = below
    raise _too_deep(depth)


def _check_texts(found: Any) -> None:
    """See that every text can be written as UTF-8; JSON can escape halves of characters that no encoding has."""
    left: list[tuple[str, Any]] = [("", found)]
    while left:
        place, value = left.pop()
        if isinstance(value, dict):
            left += [(place, key) for key in value]
            left += [(f"{place}.{key}" if place else key, x) for key, x in value.items()]
        elif isinstance(value, list):
            left += [(f"{place}[{i}]", x) for i, x in enumerate(value)]
        elif isinstance(value, str) and not _sound(value):
            shown = place.encode("ascii", "backslashreplace").decode()[:200]
            raise Refused(400, f"{shown or 'body'}: expected text, found half of a surrogate pair", param=shown or None)


def _sound(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _named(value: Any) -> str:
    """What a JSON value is called."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return "an array" if isinstance(value, list) else "a string" if isinstance(value, str) else "a number"
