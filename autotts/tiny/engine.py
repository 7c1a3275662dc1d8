"""Continuous batching: requests of any of the models go in, events come out, two workers keep two cores busy.

Each worker is a thread with one batch for each model; it steps the batches that have rows in turn. ONNX Runtime
releases the interpreter while it computes. What is drawn does not depend on who shares a batch, so it does not
depend on the workers either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Condition, Thread
from types import TracebackType
from typing import Any

from autotts.errors import InputError
from autotts.tiny.batch import Batch, Line
from autotts.tiny.model import Model
from autotts.tiny.prefixes import Prefixes
from autotts.tiny.requests import Completion, Event, Request, Sink, Ticket, ticket

__all__ = ["Completion", "Engine", "EngineBroken", "Event", "Request", "Sink", "Ticket"]


class EngineBroken(RuntimeError):
    """A worker met an error that it could not have caused by a request; nothing is drawn any more."""


class Engine:
    """Draws from models, by name; a context manager whose threads end with its scope.

    Parameters
    ----------
    models
        The models by the names that requests use.
    workers
        Threads; one for each core.
    width
        Most rows of one batch.
    prefix_bytes
        Memory for each model's kept prefixes.

    Examples
    --------
    A sink is called from a worker's thread, once for each of its steps, with all that happened to the tickets that
    share it: `engine.submit("S", Request(prompt_ids=encode("solve: 1+2\\n")), sink=print)`.
    """

    def __init__(
        self, models: Mapping[str, Model], *, workers: int = 2, width: int = 128, prefix_bytes: int = 32 << 20
    ) -> None:
        self.models = dict(models)
        self._lock = Condition()
        self._lines = {name: Line(model, self._lock, Prefixes(prefix_bytes)) for name, model in self.models.items()}
        for line in self._lines.values():
            line.batches = [Batch(line, width) for _ in range(workers)]
        self._threads = [Thread(target=self._work, args=(i,), name=f"tiny-{i}", daemon=True) for i in range(workers)]
        self._closing = False
        self._broken: BaseException | None = None

    def __enter__(self) -> Engine:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def submit(self, model: str, request: Request, sink: Sink, *, watched: bool = False, tag: Any = None) -> Ticket:
        """Queue a request. `watched` asks for events while it runs; `tag` comes back on the ticket."""
        return self.submit_all(model, [request], sink, watched=watched, tags=[tag])[0]

    def submit_all(
        self,
        model: str,
        requests: Sequence[Request],
        sink: Sink,
        *,
        watched: bool = False,
        tags: Sequence[Any] = (),
    ) -> list[Ticket]:
        """Queue many requests at once, in order."""
        line = self._lines.get(model)
        if line is None:
            raise InputError(f"model: expected one of {', '.join(self._lines)}, found {model!r}")
        tickets = []
        for i, request in enumerate(requests):
            _check(request, line.model.shape.context)
            tickets.append(ticket(request, sink, watched=watched, tag=tags[i] if tags else None))
        with self._lock:
            if self._closing:
                raise RuntimeError("the engine is closed")
            if self._broken is not None:
                raise EngineBroken(f"the engine stopped: {self._broken!r}") from self._broken
            line.queue.extend(tickets)
            self._lock.notify_all()
        return tickets

    @property
    def written(self) -> int:
        """Tokens written so far, by all models, whatever became of them."""
        return sum(batch.written for line in self._lines.values() for batch in line.batches)

    def close(self) -> None:
        """Stop the workers after their current step; what is not finished is reported as cancelled."""
        with self._lock:
            self._closing = True
            self._lock.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        _deliver([Event(t, 0, Completion((), (), "cancelled")) for t in self._drain()])

    def _work(self, worker: int) -> None:
        batches = [line.batches[worker] for line in self._lines.values()]
        events: list[Event] = []
        try:
            while not self._closing and self._broken is None:
                busy = False
                for batch in batches:
                    batch.advance(events)
                    if events:
                        _deliver(events)
                        events.clear()
                    busy |= batch.run()
                if not busy:
                    self._rest(batches)
        except BaseException as error:
            with self._lock:
                self._broken = self._broken or error
                self._lock.notify_all()
            _deliver([*events, *(Event(t, 0, error=error) for t in self._drain())])

    def _rest(self, batches: list[Batch]) -> None:
        """Sleep until there may be work."""
        with self._lock:
            if not (self._closing or self._broken or any(batch.line.queue or batch.count for batch in batches)):
                self._lock.wait()

    def _drain(self) -> list[Ticket]:
        """Every ticket that is not finished; called when no worker steps any more, or one is broken."""
        left: list[Ticket] = []
        with self._lock:
            for line in self._lines.values():
                left += [*line.queue, *line.prefixes.waiting()]
                line.queue.clear()
                for batch in line.batches:
                    left += batch.outstanding()
                    batch.count = 0
        return left


def _check(request: Request, context: int) -> None:
    if not 0 < len(request.prompt_ids) < context:
        raise InputError(
            f"a text of {len(request.prompt_ids)} tokens: the embedded models read 1 to {context - 1} tokens"
        )
    if request.temperature < 0 or not 0 < request.top_p <= 1:
        raise InputError(
            f"expected a temperature of 0 or more and a top-p above 0 and up to 1, found {request.temperature} "
            f"and {request.top_p}"
        )


def _deliver(events: list[Event]) -> None:
    """Call each sink once with its events, in order."""
    by_sink: dict[Any, list[Event]] = {}
    for event in events:
        by_sink.setdefault(event.ticket.sink, []).append(event)
    for sink, own in by_sink.items():
        sink(own)
