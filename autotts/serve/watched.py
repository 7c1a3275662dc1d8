"""Figures that are read when somebody asks for them: budget, queue, servers behind this one, drift."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from prometheus_client import Metric

from autotts.core.cost import PARTS
from autotts.errors import AutottsError
from autotts.policy.control import State
from autotts.policy.drift import Drift
from autotts.policy.schema import Policy
from autotts.serve import measures
from autotts.serve.measures import Measure

Row: TypeAlias = tuple[Measure, tuple[str, ...], float]


class Steered(Protocol):
    """What holds the running budget; one that has a `bound` tells it."""

    @property
    def budget(self) -> float:
        """Mean parts a prompt."""
        ...

    @property
    def state(self) -> State:
        """Where it stands now."""
        ...


class Queue(Protocol):
    """What lets requests in: `Gate`."""

    @property
    def running(self) -> int:
        """Requests that run."""
        ...

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        ...


class Upstream(Protocol):
    """How a server behind this one stands: `worlds.servers.site.Standing`."""

    @property
    def url(self) -> str: ...
    @property
    def healthy(self) -> bool: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def window(self) -> int: ...
    @property
    def calls(self) -> int: ...
    @property
    def faults(self) -> Mapping[str, int]: ...


class Keeping(Protocol):
    """What keeps answers: `Kept`."""

    @property
    def written(self) -> int: ...
    @property
    def lost(self) -> int: ...
    @property
    def problem(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """Where the figures are read; each is asked anew, since a new policy replaces what stands behind it."""

    policy: Callable[[], Policy]
    ruling: Callable[[], Steered]
    queue: Callable[[], Queue | None] = lambda: None
    upstreams: Callable[[], Iterable[Upstream]] = tuple
    drift: Callable[[], Drift | None] = lambda: None
    kept: Callable[[], Keeping | None] = lambda: None


class Reader:
    """Prometheus's collector of what is watched; nothing until `watched` is set."""

    def __init__(self) -> None:
        self.watched: Watched | None = None

    def collect(self) -> Iterator[Metric]:
        """The families, as they stand now."""
        found: dict[str, Metric] = {}
        for measure, labels, value in () if self.watched is None else _rows(self.watched):
            name = measure.name.removesuffix("_total")
            family = found.setdefault(name, Metric(name, measure.words, measure.kind))
            family.add_sample(measure.name, dict(zip(measure.labels, labels, strict=True)), value)
        yield from found.values()


def _rows(watched: Watched) -> Iterator[Row]:
    policy = watched.policy()
    yield measures.POLICY, (policy.digest, policy.task.name, policy.unit), 1.0
    for part in (_budget, _queue, _upstreams, _drift, _kept):
        try:
            rows = list(part(watched))
        except AutottsError:
            continue  # a store that does not answer: the other figures are told
        yield from rows


_IN_UNITS: Final = (
    (measures.MEAN, "mean"),
    (measures.EFFORT, "effort"),
    (measures.ROOM, "room"),
    (measures.SHORTFALL, "shortfall"),
)


def _budget(watched: Watched) -> Iterator[Row]:
    ruling, unit = watched.ruling(), watched.policy().unit
    state, parts, bound = ruling.state, PARTS[unit], getattr(ruling, "bound", None)
    yield measures.BUDGET, (unit,), ruling.budget / parts
    for measure, field in _IN_UNITS:
        value = getattr(state, field)
        if value is not None:
            yield measure, (unit,), value / parts
    if bound is not None:
        yield measures.BOUND, (unit,), bound / parts
    yield measures.RATIO, (), state.ratio
    yield measures.HELD, (), float(state.requests)
    yield measures.SET_ASIDE, (), float(state.running)


def _queue(watched: Watched) -> Iterator[Row]:
    queue = watched.queue()
    if queue is not None:
        yield measures.RUNNING, (), float(queue.running)
        yield measures.WAITING, (), float(queue.waiting)


def _upstreams(watched: Watched) -> Iterator[Row]:
    for stands in watched.upstreams():
        yield measures.HEALTHY, (stands.url,), float(stands.healthy)
        yield measures.IN_FLIGHT, (stands.url,), float(stands.in_flight)
        yield measures.WINDOW, (stands.url,), float(stands.window)
        yield measures.UPSTREAM_CALLS, (stands.url,), float(stands.calls)
        for kind, count in stands.faults.items():
            yield measures.FAULTS, (stands.url, kind), float(count)


def _drift(watched: Watched) -> Iterator[Row]:
    drift = watched.drift()
    if drift is not None:
        yield measures.DRIFT_KNOWN, (), float(drift.known)
        yield measures.DRIFT_PARTED, (), float(drift.parted)
        for feature, score in drift.scores.items():
            yield measures.DRIFT_SCORE, (feature,), score


def _kept(watched: Watched) -> Iterator[Row]:
    kept = watched.kept()
    if kept is not None:
        yield measures.KEPT, ("written",), float(kept.written)
        yield measures.KEPT, ("lost",), float(kept.lost)
