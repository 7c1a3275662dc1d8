"""One server, ready for one request: what is sent, and what its answer means."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from autotts.errors import InputError
from autotts.worlds.models.entry import Server
from autotts.worlds.servers.address import Address
from autotts.worlds.servers.events import Events
from autotts.worlds.servers.fault import BUSY, NONSENSE, REQUEST, SERVER, Fault
from autotts.worlds.servers.wire import Answer, Wire

MOST_BYTES: Final = 64 << 20  # of one JSON answer
_MOST_COMPLAINT: Final = 64 << 10  # bytes that are read of an answer that is an error
_LONGEST_PAUSE: Final = 3600.0  # seconds that a server may ask to be left alone
_OWN_FAULT: Final = range(400, 500)


class Line:
    """A server for one attempt; made by `Fleet.call`."""

    def __init__(
        self, server: Server, address: Address, wire: Wire, accepted: Callable[[], None], settle: Callable[[int], None]
    ) -> None:
        self.server: Final = server
        self._address = address
        self._wire = wire
        self._accepted = accepted
        self._settle = settle

    def __repr__(self) -> str:
        return f"Line({self._address.shown})"

    @asynccontextmanager
    async def stream(self, path: str, form: Mapping[str, Any]) -> AsyncIterator[Events]:
        """Ask for a stream of events; leaving the scope cuts it off, which cancels it on the server.

        Yields the payload of each event but "[DONE]", after which it ends; an end without it is a `Fault`. Who leaves
        before that may hang up by `leave` of the events, which gives what came and was not taken.
        """
        answer = await self._ask("POST", path, _body(form))
        try:
            kind = answer.headers.get("content-type", "")
            if "text/event-stream" not in kind:
                text = (await _whole(answer, _MOST_COMPLAINT, cut=True)).decode("utf-8", "replace")
                raise self._nonsense(path, f"a stream of events, found {kind or 'no content type'}", text)
            yield Events(answer, self._where(path))
        finally:
            await answer.close()

    @asynccontextmanager
    async def raw(self, path: str, body: bytes) -> AsyncIterator[Answer]:
        """Ask, and have the answer as it comes; leaving the scope before its end cuts it off."""
        answer = await self._ask("POST", path, body)
        try:
            answer.hurry()
            yield answer
        finally:
            await answer.close()

    async def post(self, path: str, form: Mapping[str, Any]) -> dict[str, Any]:
        """Ask for one JSON object."""
        return await self._object("POST", path, _body(form))

    async def get(self, path: str) -> dict[str, Any]:
        """Ask for one JSON object."""
        return await self._object("GET", path, b"")

    async def text(self, path: str) -> str:
        """Ask for a text, such as that of /metrics."""
        return (await self._raw("GET", path, b"")).decode("utf-8", "replace")

    def settle(self, tokens: int) -> None:
        """Say how many tokens it really was, for the server's limit of tokens per minute."""
        self._settle(tokens)

    async def _ask(self, method: str, path: str, body: bytes) -> Answer:
        """An answer that is one: 200 and plain; to be closed."""
        answer = await self._wire.ask(method, self._address.target(path), body)
        try:
            if answer.status != 200:
                raise await self._refusal(answer, path)
            packed = answer.headers.get("content-encoding", "identity")
            if packed != "identity":
                raise self._nonsense(path, f"a plain body, as asked for, found {packed}", "")
        except BaseException:
            await answer.close()
            raise
        self._accepted()
        return answer

    async def _object(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        raw = await self._raw(method, path, body)
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise self._nonsense(path, "a JSON object", raw[:_MOST_COMPLAINT].decode("utf-8", "replace"))
        return found

    async def _raw(self, method: str, path: str, body: bytes) -> bytes:
        answer = await self._ask(method, path, body)
        try:
            raw = await _whole(answer, MOST_BYTES)
        finally:
            await answer.close()
        if len(raw) > MOST_BYTES:
            raise self._nonsense(path, f"at most {MOST_BYTES} bytes, found more", "")
        return raw

    def _where(self, path: str) -> str:
        """The address of a path, to be shown."""
        shown = self._address.shown.rstrip("/")
        return shown.rpartition("/")[0] + path[2:] if path.startswith("../") else shown + path

    def _nonsense(self, path: str, expected: str, text: str) -> Fault:
        said = self._address.excerpt(_bare(text))
        words = f"{self._where(path)}: expected {expected}" + f", found {said!r}" * bool(text)
        return Fault(words, kind=NONSENSE, status=200, said=said)

    async def _refusal(self, answer: Answer, path: str) -> Exception:
        """What an answer that is not 200 means."""
        status, where = answer.status, self._where(path)
        if 300 <= status < 400:
            return self._redirect(answer, where)
        text = (await _whole(answer, _MOST_COMPLAINT, cut=True)).decode("utf-8", "replace")
        said, whole = self._address.excerpt(_complaint(text)), self._address.hide(text)
        words = f"{where}: HTTP {status}" + f": {said}" * bool(said)
        if status in (401, 403):
            key = "its key was refused" if self._address.login else "it wants a key, and none is given"
            return InputError(f"{words}; {key} (it is not shown here): check the key of this server")
        if status in (429, 503):
            return Fault(words, kind=BUSY, wait=pause(answer.headers), status=status, said=said, body=whole)
        if status in (408, 409, 425):
            return Fault(words, kind=SERVER, status=status, said=said, body=whole)
        if status in _OWN_FAULT:
            return Fault(words, kind=REQUEST, again=False, status=status, said=said, body=whole)
        if status >= 500:
            return Fault(words, kind=SERVER, wait=pause(answer.headers), status=status, said=said, body=whole)
        return Fault(words, kind=NONSENSE, status=status, said=said)

    def _redirect(self, answer: Answer, where: str) -> InputError:
        target = answer.headers.get("location", "")
        try:
            parts = urlsplit(target)
            place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else parts.path
        except ValueError:
            place = "what is no address"
        return InputError(
            f"{where}: HTTP {answer.status}, it sends us on to {self._address.excerpt(place)!r}; redirects are not "
            "followed, so that the key stays here: give the address that is meant"
        )


def pause(headers: Mapping[str, str]) -> float:
    """Seconds that a server asks to be left alone; a date is read against the server's own clock."""
    said = headers.get("retry-after", "").strip()
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(said) - parsedate_to_datetime(headers.get("date", ""))).total_seconds()
        except (ValueError, TypeError):
            return 0.0
    return min(max(0.0, seconds), _LONGEST_PAUSE) if seconds == seconds else 0.0


async def _whole(answer: Answer, most: int, cut: bool = False) -> bytes:
    """The body, up to a bit over `most` bytes; with `cut`, what there is of one that breaks off."""
    body = bytearray()
    try:
        while len(body) <= most and (piece := await answer.read()):
            body += piece
    except Fault:
        if not cut:
            raise
    return bytes(body)


def _body(form: Mapping[str, Any]) -> bytes:
    return json.dumps(form, separators=(",", ":")).encode()


def _bare(text: str) -> str:
    """A text without HTML."""
    if "<" not in text:
        return text
    text = re.sub(r"(?is)<(script|style|head)\b.*?</\1\s*>", " ", text)
    return re.sub(r"<[^<>]*>", " ", text)


def _complaint(text: str) -> str:
    """The server's message in what it sent with an error."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return _bare(text)
    for name in ("error", "message", "detail"):
        if isinstance(data, dict) and data.get(name):
            data = data[name]
    return data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
