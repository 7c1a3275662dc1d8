"""Requests in, completions out: the engine as a function, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event as Flag

from autotts.tiny.engine import Completion, Engine, Event, Request


def complete(engine: Engine, model: str, requests: Sequence[Request]) -> list[Completion]:
    """Answer requests, in order."""
    found: dict[int, Completion] = {}
    errors: list[BaseException] = []
    ready = Flag()

    def take(events: Sequence[Event]) -> None:
        for event in events:
            if event.error is not None:
                errors.append(event.error)
            elif event.done is not None:
                found[event.ticket.tag] = event.done
        if errors or len(found) == len(requests):
            ready.set()

    engine.submit_all(model, requests, take, tags=range(len(requests)))
    assert ready.wait(120), "the engine did not answer"
    if errors:
        raise errors[0]
    return [found[i] for i in range(len(requests))]
