"""Figures of several workers as those of one server.

Each worker writes its figures into a private folder that they share, again and again; the one that is asked adds the
others' to its own. So no request pays for it, nothing is set in the environment, and what a worker that died has
counted is kept. What others did since they last wrote is missing until they write again.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from prometheus_client import Metric

from autotts.serve import measures

EVERY: Final = 5.0  # seconds between two writings: one takes some milliseconds, in which no request goes on
STALE: Final = 15.0  # seconds after which a worker that wrote nothing is taken for dead: its gauges are left out

_RULES: Final = {m.name: m.joined for m in (*measures.RECORDED, *measures.READ)} | {
    "process_start_time_seconds": "min",
    "process_max_fds": "max",
}

Labels: TypeAlias = tuple[tuple[str, str], ...]


class Shared:
    """One worker's place in the folder.

    Parameters
    ----------
    folder
        Of this server alone, made by who starts the workers, and theirs only.
    worker
        A name that no other worker of this server has or had: one that replaces a dead worker is another.
    clock
        Seconds of a clock that all workers share.
    """

    def __init__(self, folder: Path, worker: str, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._own = folder / f"{worker}.json"
        self._clock = clock
        self._written = -math.inf

    @property
    def due(self) -> bool:
        """Whether it is time to write again."""
        return self._clock() - self._written >= EVERY

    def write(self, families: Iterable[Metric], *, last: bool = False) -> None:
        """Write this worker's figures; with `last` it says that it ends, so that its gauges no longer count."""
        data = {"at": self._clock(), "last": last, "families": [_plain(family) for family in families]}
        fresh = self._own.with_suffix(".tmp")
        fresh.write_text(json.dumps(data), encoding="utf-8")
        os.replace(fresh, self._own)
        self._written = self._clock()

    def others(self) -> Iterator[list[Metric]]:
        """The figures that the other workers wrote last."""
        for path in sorted(self._folder.glob("*.json")):
            if path != self._own:
                data = json.loads(path.read_text(encoding="utf-8"))
                gone = data["last"] or self._clock() - data["at"] > STALE
                families = [_family(one) for one in data["families"]]
                yield [family for family in families if not (gone and family.type == "gauge")]


def joined(workers: Sequence[Iterable[Metric]]) -> Iterator[Metric]:
    """The families of all workers, each once: counters and histograms added, gauges by the rule of their measure."""
    families: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, Labels], list[float]]] = {}
    for worker in workers:
        for family in worker:
            families.setdefault(family.name, family)
            found = values.setdefault(family.name, {})
            for sample in family.samples:
                found.setdefault((sample.name, tuple(sorted(sample.labels.items()))), []).append(sample.value)
    for name, family in families.items():
        whole = Metric(name, family.documentation, family.type)
        for (sample_name, labels), each in values[name].items():
            whole.add_sample(sample_name, dict(labels), _combined(_RULES.get(sample_name, "sum"), each))
        yield whole


def _combined(rule: str, values: list[float]) -> float:
    if rule == "mean":
        return sum(values) / len(values)
    return sum(values) if rule == "sum" else max(values) if rule == "max" else min(values)


def _plain(family: Metric) -> dict[str, Any]:
    samples = [[sample.name, sample.labels, sample.value] for sample in family.samples]
    return {"name": family.name, "type": family.type, "words": family.documentation, "samples": samples}


def _family(data: dict[str, Any]) -> Metric:
    family = Metric(data["name"], data["words"], data["type"])
    for name, labels, value in data["samples"]:
        family.add_sample(name, labels, value)
    return family
