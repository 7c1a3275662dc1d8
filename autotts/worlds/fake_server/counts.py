"""What a fake server really did: its own count of requests and tokens, which a client's is held against."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Final

FINISHED: Final = "finished"
CANCELLED: Final = "cancelled"  # the client hung up
BROKEN: Final = "broken"  # a fault cut or spoilt the answer
REFUSED: Final = "refused"  # an error was answered, nothing was generated
RUNNING: Final = "running"


@dataclass(slots=True)
class Record:
    """One request; it is written on while the request runs.

    Attributes
    ----------
    number
        Counted from 0 over the requests that ask a model for something, in the order in which they came.
    prompt, cached
        Tokens of the prompts that were read, and how many of them were cached.
    generated
        Tokens that were generated so far, over all choices.
    fault
        The fault that was injected; None for none.
    asked
        A digest of the request's body: equal requests have equal ones.
    ended
        When it ended, in seconds of the server's clock.
    """

    number: int
    path: str
    model: str = ""
    id: str = ""
    seed: int | None = None
    prompt: int = 0
    cached: int = 0
    generated: int = 0
    outcome: str = RUNNING
    fault: str | None = None
    asked: str = ""
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over requests; `prompt` holds the cached tokens too."""

    requests: int = 0
    prompt: int = 0
    cached: int = 0
    generated: int = 0
    finished: int = 0
    cancelled: int = 0
    broken: int = 0
    refused: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Tally)))


@dataclass(frozen=True, slots=True)
class Counts(Tally):
    """The sums over all requests, by model and by outcome; those that still run are in them."""

    by_model: Mapping[str, Tally] = field(default_factory=dict)
    by_outcome: Mapping[str, Tally] = field(default_factory=dict)


class Book:
    """Keeps the records of the last `keep` requests, and the sums over all of them."""

    def __init__(self, keep: int) -> None:
        self.records: deque[Record] = deque(maxlen=keep)
        self._running: dict[int, Record] = {}
        self._sums: dict[tuple[str, str], Tally] = {}
        self._next = 0

    def open(self, path: str) -> Record:
        """Begin the record of the next request."""
        record = Record(self._next, path)
        self._next += 1
        self.records.append(record)
        self._running[record.number] = record
        return record

    def close(self, record: Record, outcome: str) -> None:
        """End a record."""
        record.outcome = outcome
        del self._running[record.number]
        key = record.model, outcome
        self._sums[key] = self._sums.get(key, Tally()) + _tally(record)

    def counts(self) -> Counts:
        """The sums by now."""
        sums = dict(self._sums)
        for record in list(self._running.values()):
            key = record.model, RUNNING
            sums[key] = sums.get(key, Tally()) + _tally(record)
        models: dict[str, Tally] = {}
        outcomes: dict[str, Tally] = {}
        total = Tally()
        for (model, outcome), tally in sums.items():
            models[model] = models.get(model, Tally()) + tally
            outcomes[outcome] = outcomes.get(outcome, Tally()) + tally
            total += tally
        return Counts(**asdict(total), by_model=models, by_outcome=outcomes)


def _tally(record: Record) -> Tally:
    return Tally(
        requests=1,
        prompt=record.prompt,
        cached=record.cached,
        generated=record.generated,
        finished=int(record.outcome == FINISHED),
        cancelled=int(record.outcome == CANCELLED),
        broken=int(record.outcome == BROKEN),
        refused=int(record.outcome == REFUSED),
    )
