"""A request handed on to one of a model's servers, and its answer handed back byte by byte."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from autotts.errors import BackendError, InputError
from autotts.worlds.models.entry import Entry
from autotts.worlds.openai.refusals import OPTIONAL, refused_field, without
from autotts.worlds.openai.sending import Sender, not_served
from autotts.worlds.relay import Sink
from autotts.worlds.servers import Fault, Line
from autotts.worlds.servers.fault import REQUEST

_TAIL: Final = 4096  # bytes at an answer's end, which hold its usage
_COUNTS: Final = re.compile(rb'"(prompt|completion)_tokens"\s*:\s*(\d{1,9})')
_RENAMED: Final = frozenset(name for name, other in OPTIONAL.items() if other)  # nothing of these is lost
_CHANGES: Final = 8  # of one request, by what its server refuses


class Relayed:
    """One request on its way; `own` are fields that may be left out where a server refuses them."""

    def __init__(self, sender: Sender, entry: Entry, path: str, body: Mapping[str, Any], own: Collection[str]) -> None:
        self._sender = sender
        self._entry = entry
        self._path = path
        self._body = body
        self._raw = _raw(body)
        self._own = _RENAMED.union(own)
        self._begun = False

    async def to(self, sink: Sink) -> None:
        """Send it, and hand on the answer; as `Relay.relay`."""
        entry = self._entry
        most = len(self._raw) + _whole(self._body.get("max_tokens", self._body.get("max_completion_tokens")))

        async def attempt(line: Line) -> None:
            try:
                await self._attempt(line, sink)
            except Fault as fault:
                if self._begun:
                    fault.again = False  # who waits has a part of it already
                raise

        try:
            await self._sender.fleet.call(entry.servers, attempt, tokens=most, what=f"model {entry.name!r}")
        except Fault as fault:
            if fault.status == 404 and not self._begun:
                words = str(await not_served(self._sender, entry, fault))
                raise Fault(words, kind=REQUEST, again=False, status=404, said=fault.said, body=fault.body) from None
            raise
        except InputError as error:
            raise BackendError(str(error)) from None  # of the server's key or address: no fault of who asks

    async def _attempt(self, line: Line, sink: Sink) -> None:
        key = line.server.url, self._entry.served
        known = self._sender.refused_by(key)
        left = [name for name in known if name in self._own]
        body = without(self._body, left) if left else self._body
        raw, refused = _raw(body) if left else self._raw, list[str]()
        for _ in range(_CHANGES):
            try:
                await self._pass(line, raw, sink)
                return
            except Fault as fault:
                field = None if self._begun or fault.kind != REQUEST else refused_field(fault.said, body)
                if field is None or field not in self._own:
                    raise
                refused.append(field)
                body = without(body, (field,))
                raw = _raw(body)
            finally:
                if self._begun:
                    self._sender.remember(key, refused)

    async def _pass(self, line: Line, raw: bytes, sink: Sink) -> None:
        """Hand on one answer; it begins with its first byte, before which another server may be asked."""
        async with line.raw(self._path, raw) as answer:
            read, tail, piece = answer.read, b"", await answer.read()
            self._begun = True
            await sink.begin(answer.headers.get("content-type", ""))
            counts = line.server.tokens_per_minute is not None
            while piece:
                await sink.piece(piece)
                if counts:
                    tail = (tail + piece)[-_TAIL:]
                piece = await read()
        if counts and (found := {name: int(count) for name, count in _COUNTS.findall(tail)}):
            line.settle(sum(found.values()))


def _raw(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _whole(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0
