"""Where the compute went, for Prometheus: each request is told once, and what stands still is read when asked.

Costs add up: the sum over arms, over clients, and over models and kinds of tokens is the total each. Labels that come
from outside (clients, reasons) are bounded: past `MOST` different values the rest is "other".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector, generate_latest

from autotts import __version__
from autotts.core.cost import PARTS, Prices, Usage
from autotts.serve import measures
from autotts.serve.joined import Shared, joined
from autotts.serve.measures import Measure
from autotts.serve.watched import Reader, Watched

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
MOST: Final = 100  # different values of a label
LONGEST: Final = 120  # characters of a label's value
OTHER: Final = "other"
LINES: Final = 1000  # kinds of requests whose figures are held at hand
REFUSED: Final = "refused"  # how a request ends for which nothing was spent
NONE: Final = "none"  # where a request had no arm, or its client no name

_KINDS: Final = ("prompt", "cached", "generated", "cancelled")
_PLAIN: Final = Prices()
_MADE: Final = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One request that has ended, whatever became of it.

    Parameters
    ----------
    endpoint, status, client, id
        What was asked for ("chat", "completions", ...), the HTTP status, the client's name, the request's own id.
    arm, bin
        The arm's text and the bin of the prompt; empty where nothing was routed.
    usage, cost, unit
        Tokens by model, and the cost in parts of the unit.
    seconds, first_byte, waited, routing
        Of the whole, until the first byte, in the queue, for choosing the arm; None where it did not happen.
    draws, cancelled
        Draws that were begun, and those of them that were given up.
    ended
        "returned", "cap", "deadline", "hang-up", "failed", "refused", or "passed" for what was passed through.
    fallback
        Why the request did not get what the policy chose, in a word before a colon, if more follows; empty where it
        did.
    reason
        Why it was refused, in a word ("rate", "queue"); by default the status.
    """

    endpoint: str
    status: int
    seconds: float
    ended: str
    client: str = ""
    id: str = ""
    arm: str = ""
    bin: str = ""
    usage: Mapping[str, Usage] = field(default_factory=dict)
    cost: int = 0
    unit: str = ""
    first_byte: float | None = None
    waited: float | None = None
    routing: float | None = None
    draws: int = 0
    cancelled: int = 0
    fallback: str = ""
    reason: str = ""

    @property
    def why(self) -> str:
        """The fallback in a word: what follows may be a backend's words, or the place of a message."""
        return self.fallback.partition(":")[0].partition("[")[0]


@dataclass(frozen=True, slots=True)
class _Line:
    """The figures of requests that are alike, found once: a lookup of labels takes longer than a count."""

    each: tuple[Any, ...]
    draws: Any
    cancelled: Any
    costs: tuple[Any, ...]
    seconds: Any
    first_byte: Any


class Metrics:
    """The figures of one worker, in a registry of their own.

    Parameters
    ----------
    prices
        Of each model, by the name that `Told.usage` has; they only tell how a request's cost is shared among its
        tokens.
    shared
        Where there are several workers: `text` of each tells the figures of all, as `save` last wrote them.
    """

    def __init__(self, prices: Mapping[str, Prices] | None = None, shared: Shared | None = None) -> None:
        self.prices: Mapping[str, Prices] = prices or {}
        self._shared = shared
        self._registry = CollectorRegistry()
        self._reader = Reader()
        self._registry.register(cast(Any, self._reader))
        ProcessCollector(registry=self._registry)
        self._families = {m.name: _family(m, self._registry) for m in measures.RECORDED}
        self._values: dict[str, set[str]] = {}
        self._lines: dict[tuple[Any, ...], _Line] = {}
        self._models: dict[tuple[str, str], tuple[list[Any], list[Any]]] = {}
        self._open = self._child(measures.OPEN)
        self._waited = self._child(measures.QUEUE_WAIT)
        self._routing = self._child(measures.ROUTING)
        self._child(measures.BUILD, __version__).set(1)
        for result in ("ok", "failed"):
            self._child(measures.RELOADS, result)

    def watch(self, watched: Watched) -> None:
        """Say where the figures are read that stand still: budget, queue, servers behind this one, drift."""
        self._reader.watched = watched

    def begun(self) -> None:
        """A request has begun; `ended` is told of it once, whatever becomes of it."""
        self._open.inc()

    def ended(self, told: Told) -> None:
        """A request that has begun is over."""
        key = (
            told.endpoint,
            told.status,
            told.client,
            told.ended,
            told.arm,
            told.bin,
            told.fallback,
            told.reason,
            told.unit,
        )
        line = self._lines.get(key)
        if line is None:
            if len(self._lines) >= LINES:  # they come back, those that are needed
                self._lines.clear()
            line = self._lines[key] = self._line(told)
        self._open.dec()
        for counter in line.each:
            counter.inc()
        line.draws.inc(told.draws)
        line.cancelled.inc(told.cancelled)
        line.seconds.observe(told.seconds)
        if told.first_byte is not None:
            line.first_byte.observe(told.first_byte)
        if told.waited is not None:
            self._waited.observe(told.waited)
        if told.routing is not None:
            self._routing.observe(told.routing)
        cost = told.cost / PARTS.get(told.unit, 1) if told.unit else 0.0
        if cost:
            for counter in line.costs:
                counter.inc(cost)
        self._spent(told.usage, cost, told.unit)

    def reloaded(self, ok: bool) -> None:
        """The policy file was read again."""
        self._child(measures.RELOADS, "ok" if ok else "failed").inc()

    def text(self) -> bytes:
        """All figures, of all workers, in Prometheus's text format (`CONTENT_TYPE`)."""
        own = list(self._figures())
        found = own if self._shared is None else joined([own, *self._shared.others()])
        return generate_latest(cast(CollectorRegistry, _Found(found)))

    def save(self, *, last: bool = False) -> None:
        """Write this worker's figures for the others, if it is time to; to be called every second, and at last."""
        if self._shared is not None and (last or self._shared.due):
            with suppress(OSError):  # a full disk: the others tell what was written before
                self._shared.write(self._figures(), last=last)

    # ---------------------------------------------------------------- inside

    def _figures(self) -> Iterator[Metric]:
        """Of this worker; not when a counter was made, which would be a series more for each."""
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family

    def _line(self, told: Told) -> _Line:
        child, client, arm = self._child, told.client or NONE, told.arm or NONE
        each = [
            child(measures.REQUESTS, told.endpoint, str(told.status), client),
            child(measures.OUTCOMES, told.ended),
            child(measures.ARM_REQUESTS, arm),
        ]
        if told.bin:
            each.append(child(measures.BINS, told.bin))
        if told.fallback:
            each.append(child(measures.FALLBACKS, told.why))
        if told.ended == REFUSED:
            each.append(child(measures.REFUSED, told.reason or str(told.status)))
        costs = (
            (measures.COST, told.unit),
            (measures.ARM_COST, arm, told.unit),
            (measures.CLIENT_COST, client, told.unit),
        )
        return _Line(
            each=tuple(each),
            draws=child(measures.ARM_DRAWS, arm),
            cancelled=child(measures.ARM_CANCELLED, arm),
            costs=tuple(child(*cost) for cost in costs) if told.unit else (),
            seconds=child(measures.SECONDS, told.endpoint),
            first_byte=child(measures.FIRST_BYTE, told.endpoint),
        )

    def _spent(self, usage: Mapping[str, Usage], cost: float, unit: str) -> None:
        """Tokens, and the part of the cost that went into each kind of them, by tokens times price."""
        weights = []
        for model, used in usage.items():
            price = self.prices.get(model, _PLAIN)
            counts = (used.prompt, used.cached, used.generated, used.cancelled, used.calls)
            prices = (price.prompt, price.cached, price.generated, price.generated, price.call)
            tokens, costs = self._of_model(model, unit)
            for count, each, counter, spent in zip(counts, prices, tokens, costs, strict=True):
                if count:
                    counter.inc(count)
                    weights.append((count * each, spent))
        total = sum(weight for weight, _ in weights)
        if cost and not total:
            self._child(measures.MODEL_COST, NONE, NONE, unit).inc(cost)
        elif cost:
            for weight, spent in weights:
                spent.inc(cost * weight / total)

    def _of_model(self, model: str, unit: str) -> tuple[list[Any], list[Any]]:
        """Of the kinds of tokens, and of calls: how many, and what they cost."""
        found = self._models.get((model, unit))
        if found is None:
            tokens = [self._child(measures.TOKENS, model, kind) for kind in _KINDS]
            tokens.append(self._child(measures.CALLS, model))
            costs = [self._child(measures.MODEL_COST, model, kind, unit or NONE) for kind in (*_KINDS, "call")]
            found = tokens, costs
            if len(self._models) < LINES:
                self._models[model, unit] = found
        return found

    def _child(self, measure: Measure, *values: str) -> Any:
        """The figure of these labels."""
        family = self._families[measure.name]
        bounded = [self._bounded(label, value) for label, value in zip(measure.labels, values, strict=True)]
        return family.labels(*bounded) if bounded else family

    def _bounded(self, label: str, value: str) -> str:
        text = value[:LONGEST].encode("utf-8", "replace").decode()
        seen = self._values.setdefault(label, set())
        if text not in seen:
            if len(seen) >= MOST:
                return OTHER
            seen.add(text)
        return text


@dataclass(frozen=True, slots=True)
class _Found:
    """What was collected, in the place of a registry."""

    families: Iterable[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families


def _family(measure: Measure, registry: CollectorRegistry) -> Any:
    more: dict[str, Any] = {"buckets": measure.buckets} if measure.buckets else {}
    return _MADE[measure.kind](measure.name, measure.words, measure.labels, registry=registry, **more)
