"""What our server costs a request that it passes through: `python -m tests.benchmarks.served latency|throughput`.

`latency` asks a backend of a fixed pace directly and through `autotts serve`, in turns of some seconds in one run, at
rates of 50, 100 and 200 requests a second, whole answers and streams: by `auto`, whose arm is one plain draw, and by a
model's own name. What is compared is the time from the moment at which a request was due. `throughput` has more clients
waiting for answers than the backend has places, so that its own rate is the most there is to get.

Backend, server and load are processes of this machine; for latencies, our server has one core and the others share
another, so that what is seen is its own work and not theirs in its way. Where the machine is busy otherwise,
`chrt -f 10 python -m ...` gives them the cores first, as on a machine of their own. Arguments: `--seconds` of a turn,
`--turns`, `--rates`, and `--note` to write the table into served.md.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from random import Random
from statistics import fmean, median
from typing import Final

from tests.benchmarks.backend import Paced, Part, Stack, oneself, stack
from tests.benchmarks.loading import Load, Seen, chat, crowd, finely, put, quantile, steady

PLAIN: Final = {"plain": "one(model=small, temperature=0.7)"}
NOTES: Final = Path(__file__).with_suffix(".md")
PACE: Final = Paced(first=0.02, rate=400.0, chunk=8, fixed=32)  # 100 ms an answer, in four pieces
WARM: Final = 40  # connections that are open before a turn
WAYS: Final[Mapping[str, tuple[str, str]]] = {
    "directly": ("backend", "small"),
    "auto": ("ours", "auto"),
    "by name": ("ours", "plain:small"),
}


@dataclass(slots=True)
class Way:
    """What was seen on one way to the backend."""

    seen: list[Seen] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # seconds a request, of our server

    def ms(self, share: float, what: str = "last") -> float:
        """A quantile of the time from when a request was due, in milliseconds."""
        return 1e3 * quantile([getattr(one, what) - one.due for one in self.seen], share)


@dataclass(frozen=True, slots=True)
class Turns:
    """How a comparison is run."""

    rate: float
    seconds: float = 2.0
    turns: int = 5
    stream: bool = False


def requests(url: str, model: str, stream: bool) -> list[bytes]:
    """Requests of some prompts."""
    fields = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    return [chat(url, model, f"What is {n} + {n % 7 + 2} * {n % 5 + 3}?", **fields) for n in range(100, 200)]


async def compare(on: Stack, turns: Turns, ways: Sequence[str] = tuple(WAYS)) -> dict[str, Way]:
    """Ask in turns, whose order is drawn anew each time; the first turn of each way is not counted."""
    found = {name: Way() for name in ways}
    count, rng = max(1, int(turns.rate * turns.seconds)), Random(0)
    parts: dict[str, Part] = {name: getattr(on, WAYS[name][0]) for name in ways}
    loads = {name: Load(part.url) for name, part in parts.items()}
    for turn in range(turns.turns + 1):
        for name in rng.sample(list(ways), len(ways)):
            await loads[name].warm(WARM)
            begun, asked = on.ours.cpu(), requests(parts[name].url, WAYS[name][1], turns.stream)
            seen = await steady(loads[name], asked, rate=turns.rate, count=count if turn else max(1, count // 4))
            wrong = [one for one in seen if not one.good]
            if wrong:
                raise RuntimeError(f"{name}: {len(wrong)} of {len(seen)} not answered: {wrong[0]}")
            if turn:
                found[name].seen += seen
                found[name].cpu.append((on.ours.cpu() - begun) / count)
    for load in loads.values():
        await load.close()
    return found


def latency(folder: Path, rates: Sequence[float], seconds: float, turns: int) -> list[str]:
    """The table of latencies; differences are those to the way directly."""
    lines = [
        "| requests/s | answers | way | p50, ms | p99, ms | first token p50 | p99 | our CPU, ms a request |",
        "|---:|---|---|---:|---:|---:|---:|---:|",
    ]
    with stack(folder, PACE, arms=PLAIN) as on:
        apart(on)
        for stream in (False, True):
            for rate in rates:
                found = finely(compare(on, Turns(rate, seconds, turns, stream)))
                lines += [row(name, rate, stream, found) for name in found]
                print(*lines[-len(found) :], sep="\n", flush=True)
    return lines


def apart(on: Stack) -> None:
    """Give our server a core, and the others another, where there are two."""
    cores = sorted(os.sched_getaffinity(0))
    for part in (oneself(), on.backend):
        os.sched_setaffinity(part.pid, cores[:1])
    os.sched_setaffinity(on.ours.pid, cores[-1:])


def row(name: str, rate: float, stream: bool, found: Mapping[str, Way]) -> str:
    """One way in figures, with the differences to the way directly."""
    way, base = found[name], found["directly"]

    def cell(share: float, what: str) -> str:
        value = way.ms(share, what)
        return f"{value:.2f}" if way is base else f"{value:.2f} ({value - base.ms(share, what):+.2f})"

    cells = [cell(share, what) for what in ("last", "token") for share in (0.5, 0.99)]
    cpu = "" if way is base else f"{1e3 * fmean(way.cpu):.2f}"
    return f"| {rate:g} | {'streams' if stream else 'whole'} | {name} | {' | '.join(cells)} | {cpu} |"


# ------------------------------------------------------------------ throughput

PLACES: Final = 16  # of the backend: 160 answers a second
CLIENTS: Final = 32


@dataclass(frozen=True, slots=True)
class Flow:
    """Answers a second, as a share of the backend's own rate, and the share of a core that each process used."""

    rate: float
    share: float
    cpu: Mapping[str, float]


async def flow(on: Stack, pace: Paced, name: str, *, stream: bool, count: int) -> Flow:
    """Ask as fast as the backend answers, after a beginning that is not counted."""
    part: Part = getattr(on, WAYS[name][0])
    parts = (on.backend, on.ours, oneself())
    async with Load(part.url) as load:
        asked = requests(part.url, WAYS[name][1], stream)
        await crowd(load, asked, clients=CLIENTS, count=count // 4)
        used, begun = [each.cpu() for each in parts], time.perf_counter()
        seen = await crowd(load, asked, clients=CLIENTS, count=count)
        took = time.perf_counter() - begun
        cpu = {each.name: (each.cpu() - before) / took for each, before in zip(parts, used, strict=True)}
    wrong = [one for one in seen if not one.good]
    if wrong:
        raise RuntimeError(f"{name}: {len(wrong)} of {len(seen)} not answered: {wrong[0]}")
    # Between the ends of answers, but for the first and the last ones, which leave places of the backend free.
    ends = sorted(one.last for one in seen)
    rate = (len(ends) * 9 // 10) / (ends[len(ends) * 95 // 100] - ends[len(ends) * 5 // 100])
    return Flow(rate, rate / pace.capacity, cpu)


def throughput(folder: Path, turns: int, count: int = 1000) -> list[str]:
    """The table of throughput; shares of `directly` are of the medians of the turns."""
    pace = Paced(PACE.first, PACE.rate, PACE.chunk, PLACES, PACE.fixed)
    lines = [
        "| answers | way | answers/s | of the backend's rate | of directly | cores: backend, ours, load |",
        "|---|---|---:|---:|---:|---|",
    ]
    with stack(folder, pace, arms=PLAIN) as on:
        for stream in (False, True):
            found: dict[str, list[Flow]] = {}
            for _ in range(turns):
                for name in WAYS:
                    found.setdefault(name, []).append(finely(flow(on, pace, name, stream=stream, count=count)))
            base = median(one.rate for one in found["directly"])
            for name, flows in found.items():
                rate, share = median(f.rate for f in flows), median(f.share for f in flows)
                cpu = ", ".join(f"{median(f.cpu[who] for f in flows):.2f}" for who in flows[0].cpu)
                kind = "streams" if stream else "whole"
                lines.append(f"| {kind} | {name} | {rate:.1f} | {share:.3f} | {rate / base:.3f} | {cpu} |")
                print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("latency", "throughput"))
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--rates", type=float, nargs="+", default=[50.0, 100.0, 200.0])
    parser.add_argument("--note", action="store_true")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        if given.what == "latency":
            lines = latency(Path(folder), given.rates, given.seconds, given.turns)
        else:
            lines = throughput(Path(folder), given.turns)
    if given.note:
        loads = f"load of the machine before {load:.1f}, after {os.getloadavg()[0]:.1f}"
        said = f"{given.turns} turns of each, {date.today()}; {loads}."
        put(NOTES, given.what, [*lines, "", said])


if __name__ == "__main__":
    main()
