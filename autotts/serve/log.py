"""The server's log: one line for each request, and a warning when something changes, not while it lasts.

Prompts, answers and keys are in no line. Nothing is set up on import: `set_up` does it, for who runs the server.
"""

from __future__ import annotations

import datetime
import json
import logging
import re
from collections.abc import Mapping
from typing import Any, Final, TextIO

from autotts.core.cost import PARTS, show
from autotts.serve.metrics import Told
from autotts.serve.watched import Watched

NAME: Final = "autotts.serve"
LONGEST: Final = 200  # characters of a value

log: Final = logging.getLogger(NAME)

_BARE: Final = re.compile(r"[\w.:/@+-]+", re.ASCII)
_FIELDS: Final = "autotts_fields"  # where a record carries them


def set_up(stream: TextIO, *, as_json: bool = False, level: int = logging.INFO) -> logging.Handler:
    """Write what the server logs to a stream, as text or as JSON lines; the handler, to be taken off again."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines() if as_json else TextLines())
    log.addHandler(handler)
    log.setLevel(level)
    log.propagate = False
    return handler


def request(told: Told) -> None:
    """One line for a request that has ended."""
    if log.isEnabledFor(logging.INFO):
        log.info("request", extra={_FIELDS: fields(told)})


def fields(told: Told) -> dict[str, Any]:
    """What a line says of a request: who, which arm, what it took and how it ended; nothing of what was said."""
    used = told.usage.values()
    found: dict[str, Any] = {
        "id": told.id,
        "endpoint": told.endpoint,
        "status": told.status,
        "ended": told.ended,
        "client": told.client,
        "arm": told.arm,
        "bin": told.bin,
        "cost": told.cost if PARTS.get(told.unit, 1) == 1 else told.cost / PARTS[told.unit],
        "unit": told.unit,
        "tokens_in": sum(u.prompt + u.cached for u in used),
        "tokens_out": sum(u.generated + u.cancelled for u in used),
        "draws": told.draws,
        "cancelled": told.cancelled,
        "seconds": round(told.seconds, 6),
        "waited": None if not told.waited else round(told.waited, 6),
        "fallback": told.why,  # the rest may quote a prompt
    }
    return {key: value for key, value in found.items() if value not in ("", None)}


class TextLines(logging.Formatter):
    """`2026-01-31T12:00:00.000Z INFO request endpoint=chat status=200 ...`"""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds; the trace of an exception follows it."""
        said = " ".join(f"{key}={_shown(value)}" for key, value in _carried(record).items())
        words = _one_line(record.getMessage())
        line = f"{_moment(record)} {record.levelname} {words}{' ' if said else ''}{said}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonLines(logging.Formatter):
    """One JSON object a line: `time`, `level`, `message`, and the fields of a request."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, also with an exception."""
        data = {"time": _moment(record), "level": record.levelname, "message": record.getMessage()}
        data |= {key: _cut(value) for key, value in _carried(record).items()}
        if record.exc_info:
            data["exception"] = self.formatException(record.exc_info)
        return json.dumps(data)


class Changes:
    """Warns when something becomes wrong or is right again, once each."""

    def __init__(self) -> None:
        self._wrong: dict[str, str] = {}

    def say(self, what: str, words: str) -> None:
        """`words` tell what is wrong with `what`, or are empty; the same trouble in other words is no news."""
        if words and what not in self._wrong:
            log.warning("%s: %s", what, words)
            self._wrong[what] = words
        elif not words and what in self._wrong:
            log.warning("%s: well again", what)
            del self._wrong[what]

    def look(self, watched: Watched) -> None:
        """See to the servers behind this one, to the budget, and to what is kept; to be called every second or so."""
        for stands in watched.upstreams():
            faults = ", ".join(f"{count} {kind}" for kind, count in stands.faults.items())
            self.say(f"server {stands.url}", "" if stands.healthy else f"it does not answer ({faults} so far)")
        unit, ruling = watched.policy().unit, watched.ruling()
        short = ruling.state.shortfall
        words = f"even the cheapest setting costs {show(short, unit)} more a request than the budget"
        self.say("budget", f"{words}: answers are cut short" if short > 0 else "")
        kept = watched.kept()
        if kept is not None:
            self.say("keep", kept.problem)


def _carried(record: logging.LogRecord) -> Mapping[str, Any]:
    found = getattr(record, _FIELDS, None)
    return found if isinstance(found, Mapping) else {}


def _moment(record: logging.LogRecord) -> str:
    at = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
    return at.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _cut(value: Any) -> Any:
    return value[:LONGEST] if isinstance(value, str) else value


def _shown(value: Any) -> str:
    text = str(_cut(value))
    return text if _BARE.fullmatch(text) else json.dumps(text)


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
