"""Studies that are killed at random moments, and what becomes of them: `python -m tests.benchmarks.killed [--kills N]`.

A study of two models and a scorer runs against the fake server, which is a process of its own and counts for itself. It
is killed (-9) after a random time and run again until it ends; then the next one begins, until there were so many
kills. What it left behind is looked at after each kill, and its end is held against a study that nothing killed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any, Final

from autotts.worlds.fake_server import FakeServer, Pace, Record, serving
from autotts.worlds.fake_server.ready import models_toml, ready

MODELS: Final = ("small", "large", "orm")
PACE: Final = Pace(rate=400.0, first=0.02, running=32)
STUDY: Final = """
name = "killed"
task = "sums.jsonl"
models = ["models.toml"]
budget = "2ktokens"
search = {search}
confirm = {search}
trials = {trials}
block = 4
slots = 2
"""
_CONTEXT: Final = multiprocessing.get_context("spawn")


# ------------------------------------------------------------------ the server


@dataclass(frozen=True)
class Watched:
    """A fake server in a process of its own."""

    url: str
    told: Connection

    def records(self) -> list[Record]:
        """All its requests by now."""
        self.told.send("records")
        found: list[Record] = self.told.recv()
        return found

    def count(self) -> int:
        """How many requests came by now."""
        self.told.send("count")
        found: int = self.told.recv()
        return found

    def settled(self) -> list[Record]:
        """All its requests, once none runs any more: it has seen that its client is gone."""
        while True:
            found = self.records()
            if all(record.outcome != "running" for record in found):
                return found
            time.sleep(0.01)


@contextmanager
def watched(pace: Pace = PACE) -> Iterator[Watched]:
    """A fake server of `MODELS` that answers as long as the scope is open."""
    ours, its = _CONTEXT.Pipe()
    process = _CONTEXT.Process(target=_serve, args=(its, pace), daemon=True)
    process.start()
    its.close()
    try:
        yield Watched(ours.recv(), ours)
    finally:
        ours.close()
        process.join(30)
        process.close()


def _serve(told: Connection, pace: Pace) -> None:
    """In the server's process: answer until nobody listens any more."""
    with serving(FakeServer(ready(MODELS), pace=pace)) as server:
        told.send(server.url)
        while True:
            try:
                what = told.recv()
            except EOFError:
                return
            told.send(len(server.records) if what == "count" else list(server.records))


# ------------------------------------------------------------------ a study


@dataclass(frozen=True)
class Place:
    """The folder of one study; `limit` is its search budget in tokens."""

    folder: Path
    limit: int

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def start(self) -> subprocess.Popen[str]:
        """Begin the study, or go on with it."""
        argv = [sys.executable, "-m", "autotts", "optimize", "--study", "study.toml", "--out", "out", "--quiet"]
        argv += ["--search-budget", f"{self.limit}tokens"]
        return subprocess.Popen(argv, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What its database holds; nothing before it has its tables."""
        try:
            with closing(sqlite3.connect(self.out / "autotts.db", timeout=30)) as database:
                return database.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []

    def ledger(self) -> tuple[int, int]:
        """What is spent and what is held, as its database says; both are sums of what stands below them."""
        stand = self.rows("SELECT spent, held FROM autotts_ledger")
        spent, held = (int(parts) for parts in stand[0]) if stand else (0, 0)
        charged = sum(int(parts) for (parts,) in self.rows("SELECT parts FROM autotts_charge"))
        leases = sum(int(parts) for (parts,) in self.rows("SELECT held FROM autotts_lease WHERE NOT lost"))
        assert (spent, held) == (charged, leases), "the ledger is not the sum of its parts"
        return spent, held

    def by_kind(self) -> Counter[str]:
        """What is charged, by kind."""
        found = Counter[str]()
        for kind, parts in self.rows("SELECT kind, parts FROM autotts_charge"):
            found[kind] += int(parts)
        return found

    def answers(self) -> dict[bytes, tuple[Any, ...]]:
        """What is kept, by key: all but the times."""
        rows = self.rows("SELECT key, kind, answer, text, score, generated FROM autotts_sample WHERE kind != 'root'")
        return {row[0]: row[1:] for row in rows}

    def written(self) -> tuple[Any, Any]:
        """Its policy and its result, without what depends on when it was run and how often it was killed."""
        policy, result = (json.loads((self.out / name).read_text()) for name in ("policy.json", "result.json"))
        del policy["made"], result["spend"], result["provenance"]["date"], result["provenance"]["command"]
        for done in result["rounds"]:
            del done["draws"]
        return policy, result


def place(folder: Path, url: str, limit: int, *, search: int = 12, trials: int = 8) -> Place:
    """A study of sums of two levels, asked of a server."""
    folder.mkdir(parents=True)
    rows = [
        {"prompt": f"What is {n} + {n % 7 + 2} * {n % 5 + 3}?", "answer": n + (n % 7 + 2) * (n % 5 + 3), "level": 1}
        for n in range(10, 50)
    ]
    rows += [
        {"prompt": f"What is {n} * 7 + {n % 9 + 4} * {n} - 8?", "answer": n * 7 + (n % 9 + 4) * n - 8, "level": 2}
        for n in range(20, 60)
    ]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    declared = models_toml(MODELS, url, None).replace('model = "', 'max_tokens = 256\nmodel = "')
    (folder / "models.toml").write_text(declared)
    (folder / "study.toml").write_text(STUDY.format(search=search, trials=trials))
    return Place(folder, limit)


def finish(process: subprocess.Popen[str]) -> None:
    """Let a study end by itself."""
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said


# ------------------------------------------------------------------ kills


@dataclass(frozen=True)
class Kill:
    """What one kill left behind, in tokens where it is not a number of requests."""

    in_flight: int  # requests that the server saw break off
    late: int  # requests that the server had finished and that were not kept yet
    latest: float  # seconds before the kill at which the first of these had ended
    server: int  # what the server had counted by then
    spent: int
    held: int  # what the dead process held, which is charged as lost
    made: int  # of it, what the server had really counted for requests that broke off


@dataclass
class Watch:
    """A study under kills, beside its server."""

    place: Place
    server: Watched
    kills: list[Kill] = field(default_factory=list)
    seen: int = 0

    def live(self, until: Callable[[Watched], bool]) -> bool:
        """Run the study until a moment and kill it there; False where it ended before."""
        process = self.place.start()
        while process.poll() is None and not until(self.server):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        at = time.monotonic()
        _, said = process.communicate()
        if process.returncode == 0:
            return False
        assert process.returncode == -signal.SIGKILL, said
        self.kills.append(self._look(at))
        return True

    def _look(self, at: float) -> Kill:
        records = self.server.settled()
        new = [record for record in records[self.seen :] if record.outcome == "cancelled"]
        late = [record for record in unkept(self.place, records) if record.number >= self.seen]
        self.seen = len(records)
        spent, held = self.place.ledger()
        return Kill(
            in_flight=len(new),
            late=len(late),
            latest=max((at - (record.ended or at) for record in late), default=0.0),
            server=sum(map(tokens, records)),
            spent=spent,
            held=held,
            made=sum(map(tokens, new)),
        )


def tokens(record: Record) -> int:
    """What the server counted for a request."""
    return record.prompt + record.generated


def unkept(place: Place, records: Sequence[Record]) -> list[Record]:
    """Requests that the server finished and whose answers are not kept.

    A draw is known by its seed, which comes of its key; a score has none, so the last ones count as not kept.
    """
    kept = {int.from_bytes(key[:4], "little") & 0x7FFFFFFF for key, of in place.answers().items() if of[0] == "draw"}
    scores = sum(of[0] == "score" for of in place.answers().values())
    finished = {record.asked: record for record in records if record.outcome == "finished"}
    draws = [record for record in finished.values() if record.seed is not None and record.seed not in kept]
    scored = sorted((r for r in finished.values() if r.seed is None), key=lambda record: record.ended or 0.0)
    return draws + scored[scores:]


# ------------------------------------------------------------------ what is asked of a study that was killed


@dataclass(frozen=True)
class Told:
    """A study that was killed and has ended, beside one that nothing killed."""

    kills: tuple[Kill, ...]
    finished: int  # different requests that the server finished
    kept: int  # of which the answers are kept
    repeated: int  # requests that came again
    explained: int  # of them, those that a kill had broken off or that were finished and not kept at a kill
    kinds: Counter[str]
    once: int  # the server's count for finished requests, each once
    finishing: int  # its count for all that it finished: a charge may be kept before its sample
    server: int  # its count in all
    limit: int
    same: bool  # samples, policy and result are those of the other


def tell(watch: Watch, whole: Place) -> Told:
    """What became of a study that has ended."""
    records, place = watch.server.settled(), watch.place
    times = Counter(record.asked for record in records)
    finished = {record.asked: record for record in records if record.outcome == "finished"}
    spent, held = place.ledger()
    assert held == 0 and spent == sum(place.by_kind().values())
    return Told(
        kills=tuple(watch.kills),
        finished=len(finished),
        kept=len(finished) - len(unkept(place, records)),
        repeated=sum(times.values()) - len(times),
        explained=sum(kill.in_flight + kill.late for kill in watch.kills),
        kinds=place.by_kind(),
        once=sum(map(tokens, finished.values())),
        finishing=sum(tokens(record) for record in records if record.outcome == "finished"),
        server=sum(map(tokens, records)),
        limit=place.limit,
        same=place.answers() == whole.answers() and place.written() == whole.written(),
    )


def faults(told: Told) -> list[str]:
    """What is wrong with a study that was killed; nothing, where it is as it should be."""
    kinds, spent = told.kinds, sum(told.kinds.values())
    wrong = {
        "a finished draw is lost": told.kept != told.finished,
        "requests came again that no kill explains": told.repeated > told.explained,
        "finished work is not charged to the token": not told.once
        <= kinds["drawn"] + kinds["scored"]
        <= told.finishing,
        "the ledger is below the server's count": spent < told.server,
        "the ledger was below the server's count at a kill": any(k.spent + k.held < k.server for k in told.kills),
        "more is lost than was held": kinds["lost"] > sum(kill.held for kill in told.kills),
        "the search budget was exceeded": spent > told.limit
        or any(kill.spent + kill.held > told.limit for kill in told.kills),
        "the result is another one": not told.same,
    }
    return [words for words, holds in wrong.items() if holds]


# ------------------------------------------------------------------ the command


def main() -> None:
    """Kill studies until there were so many kills, and say what became of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget", type=int, default=3_000_000, help="search budget in tokens")
    options = parser.parse_args()
    rng, left, told = Random(options.seed), options.kills, list[Told]()
    with tempfile.TemporaryDirectory() as home:
        with watched() as server:
            whole = place(Path(home) / "whole", server.url, options.budget)
            begun = time.monotonic()
            finish(whole.start())
            seconds = time.monotonic() - begun
            print(
                f"uninterrupted: {seconds:.1f} s, {server.count()} requests, {whole.ledger()[0]:,} tokens", flush=True
            )
        while left:
            folder = Path(home) / "killed"
            with watched() as server:
                watch = Watch(place(folder, server.url, options.budget), server)
                while left and watch.live(_after(rng.uniform(0.0, 0.6 * seconds))):
                    left -= 1
                if not left:
                    finish(watch.place.start())
                told.append(tell(watch, whole))
                _show(told[-1])
            shutil.rmtree(folder)
    _sum_up(told)
    if any(map(faults, told)):
        sys.exit(1)


def _after(seconds: float) -> Callable[[Watched], bool]:
    end = time.monotonic() + seconds
    return lambda server: time.monotonic() >= end


def _show(told: Told) -> None:
    print(f"study of {len(told.kills)} kills: {'; '.join(faults(told)) or 'as it should be'}", flush=True)


def _sum_up(told: Sequence[Told]) -> None:
    kills = [kill for one in told for kill in one.kills]
    kinds = sum((one.kinds for one in told), Counter[str]())
    hit = [kill for kill in kills if kill.held]
    lines = {
        "kills, of studies": f"{len(kills)}, {len(told)}",
        "finished by the server's count": f"{sum(one.finished for one in told):,}",
        "  of them kept": f"{sum(one.kept for one in told):,}",
        "asked again": f"{sum(one.repeated for one in told):,}",
        "  broken off by a kill": f"{sum(kill.in_flight for kill in kills):,}",
        "  finished and not kept at a kill": f"{sum(kill.late for kill in kills):,}, at most "
        f"{1000 * max(kill.latest for kill in kills):.0f} ms before it",
        "server's tokens": f"{sum(one.server for one in told):,}",
        "  of finished requests": f"{sum(one.finishing for one in told):,}",
        "    each counted once": f"{sum(one.once for one in told):,}",
        "ledger's tokens": f"{sum(kinds.values()):,}",
        **{f"  {kind}": f"{parts:,}" for kind, parts in sorted(kinds.items())},
        "lost at a kill that found work": f"{sum(k.held for k in hit) // max(1, len(hit)):,} on average, "
        f"{max((k.held for k in hit), default=0):,} at most",
        "  of them really made": f"{sum(k.made for k in hit) // max(1, len(hit)):,} on average",
        "most that was spent and held": f"{max((k.spent + k.held) / one.limit for one in told for k in one.kills):.1%}"
        " of the limit",
        "same samples, policy and result": f"{sum(one.same for one in told)} of {len(told)} studies",
    }
    for name, value in lines.items():
        print(f"{name:40}{value}")


if __name__ == "__main__":
    main()
