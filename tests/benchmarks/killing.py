"""Studies asked of a fake server that is a process of its own, and what is seen of them when they are killed."""

from __future__ import annotations

import json
import multiprocessing
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from autotts.errors import BudgetError
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


def finish(process: subprocess.Popen[str], *codes: int) -> None:
    """Let a study end by itself, with 0 or some other code."""
    _, said = process.communicate(timeout=600)
    assert process.returncode in (0, *codes), said


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
    probes: frozenset[str]  # requests that are no draws and no scores, and are not kept
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
        if process.returncode in (0, BudgetError.exit_code):
            return False
        assert process.returncode == -signal.SIGKILL, said
        self.kills.append(self._look(at))
        return True

    def _look(self, at: float) -> Kill:
        records = self.server.settled()
        new = [record for record in records[self.seen :] if record.outcome == "cancelled"]
        late = [record for record in unkept(self.place, records, self.probes) if record.number >= self.seen]
        self.seen = len(records)
        spent, held = self.place.ledger()
        return Kill(
            in_flight=sum(record.asked not in self.probes for record in new),
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


def unkept(place: Place, records: Sequence[Record], probes: Collection[str] = ()) -> list[Record]:
    """Requests that the server finished and whose answers are not kept, but for probes.

    A draw is known by its seed, which comes of its key; a score has none, so the last ones count as not kept.
    """
    kept = {int.from_bytes(key[:4], "little") & 0x7FFFFFFF for key, of in place.answers().items() if of[0] == "draw"}
    scores = sum(of[0] == "score" for of in place.answers().values())
    finished = {r.asked: r for r in records if r.outcome == "finished" and r.asked not in probes}
    draws = [record for record in finished.values() if record.seed is not None and record.seed not in kept]
    scored = sorted((r for r in finished.values() if r.seed is None), key=lambda record: record.ended or 0.0)
    return draws + scored[scores:]


def probed(place: Place, server: Watched) -> frozenset[str]:
    """What a study that nothing killed asked of its server and did not keep: how it found out what the server can."""
    return frozenset(record.asked for record in unkept(place, server.settled()))
