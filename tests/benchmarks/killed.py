"""Studies that are killed at random moments, and what becomes of them: `python -m tests.benchmarks.killed [--kills N]`.

A study of two models and a scorer runs against the fake server, which is a process of its own and counts for itself. It
is killed (-9) at a random moment and run again until it ends; then the next one begins, until there were so many
kills. What it left behind is looked at after each kill, and its end is held against a study that nothing killed. At
last one whose search budget is too small is killed a few times: it may end early, and never spends more.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from autotts.errors import BudgetError
from tests.benchmarks.killing import Kill, Place, Watch, Watched, finish, place, probed, tokens, unkept, watched


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
    same: bool | None  # samples, policy and result are those of the other; None where the limit ended it


def tell(watch: Watch, whole: Place | None) -> Told:
    """What became of a study that has ended, beside one that nothing killed, where it should end alike."""
    records, place = watch.server.settled(), watch.place
    asked = [record for record in records if record.asked not in watch.probes]
    times = Counter(record.asked for record in asked)
    finished = {record.asked: record for record in asked if record.outcome == "finished"}
    spent, held = place.ledger()
    assert held == 0 and spent == sum(place.by_kind().values())
    return Told(
        kills=tuple(watch.kills),
        finished=len(finished),
        kept=len(finished) - len(unkept(place, asked)),
        repeated=sum(times.values()) - len(times),
        explained=sum(kill.in_flight + kill.late for kill in watch.kills),
        kinds=place.by_kind(),
        once=sum(map(tokens, finished.values())),
        finishing=sum(tokens(record) for record in asked if record.outcome == "finished"),
        server=sum(map(tokens, records)),
        limit=place.limit,
        same=None if whole is None else (place.answers(), place.written()) == (whole.answers(), whole.written()),
    )


def wrongs(told: Told) -> list[str]:
    """What is wrong with a study that was killed; nothing, where it is as it should be."""
    kinds, spent = told.kinds, sum(told.kinds.values())
    wrong = {
        "a finished draw is lost": told.same is not None and told.kept != told.finished,
        "requests came again that no kill explains": told.repeated > told.explained,
        "finished work is not charged to the token": told.same is not None
        and not told.once <= kinds["drawn"] + kinds["scored"] <= told.finishing,
        "the ledger is below the server's count": spent < told.server,
        "the ledger was below the server's count at a kill": any(k.spent + k.held < k.server for k in told.kills),
        "more is lost than was held": kinds["lost"] > sum(kill.held for kill in told.kills),
        "the search budget was exceeded": spent > told.limit
        or any(kill.spent + kill.held > told.limit for kill in told.kills),
        "the result is another one": told.same is False,
    }
    return [words for words, holds in wrong.items() if holds]


# ------------------------------------------------------------------ the command


def main() -> None:
    """Kill studies until there were so many kills, and say what became of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget", type=int, default=10_000_000, help="search budget in tokens")
    options = parser.parse_args()
    rng, left, told = Random(options.seed), options.kills, list[Told]()
    with tempfile.TemporaryDirectory() as home:
        with watched() as server:
            whole = place(Path(home) / "whole", server.url, options.budget)
            begun = time.monotonic()
            finish(whole.start())
            seconds, probes, total = time.monotonic() - begun, probed(whole, server), server.count()
            print(
                f"uninterrupted: {seconds:.1f} s, {server.count()} requests, {whole.ledger()[0]:,} tokens", flush=True
            )
        while left:
            folder = Path(home) / "killed"
            with watched() as server:
                watch = Watch(place(folder, server.url, options.budget), server, probes)
                while left and watch.live(_moment(rng, server, seconds, total)):
                    left -= 1
                if not left:
                    finish(watch.place.start())
                told.append(tell(watch, whole))
                _show(told[-1])
            shutil.rmtree(folder)
        _sum_up(told)
        with watched() as server:
            watch = Watch(place(Path(home) / "small", server.url, whole.ledger()[0]), server, probes)
            while len(watch.kills) < 3 and watch.live(at(server.count() + rng.randint(1, 40))):
                pass
            finish(watch.place.start(), BudgetError.exit_code)
            told.append(tell(watch, None))
            print(
                f"{'a study with too small a budget':40}{watch.place.ledger()[0] / watch.place.limit:.1%} of it spent"
            )
            _show(told[-1])
    if any(map(wrongs, told)):
        sys.exit(1)


def _moment(rng: Random, server: Watched, seconds: float, total: int) -> Callable[[Watched], bool]:
    """A third of the kills come at any time, from the start on; the others while the server is at work."""
    if rng.random() < 1 / 3:
        return after(rng.uniform(0.0, seconds))
    return at(server.count() + rng.randint(1, total // 10))


def after(seconds: float) -> Callable[[Watched], bool]:
    """The moment at which so many seconds have passed from now on."""
    end = time.monotonic() + seconds
    return lambda server: time.monotonic() >= end


def at(count: int) -> Callable[[Watched], bool]:
    """The moment at which the server has seen so many requests."""
    return lambda server: server.count() >= count


def _show(told: Told) -> None:
    print(f"study of {len(told.kills)} kills: {'; '.join(wrongs(told)) or 'as it should be'}", flush=True)


def _sum_up(told: Sequence[Told]) -> None:
    kills = [kill for one in told for kill in one.kills]
    kinds = sum((one.kinds for one in told), Counter[str]())
    hit = [kill for kill in kills if kill.held]
    work = max(1, len(hit))
    lines = {
        "kills, of studies": f"{len(kills)} ({len(hit)} at work), {len(told)}",
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
        "lost at a kill at work": f"{sum(k.held for k in hit) // work:,} on average, "
        f"{max((k.held for k in hit), default=0):,} at most",
        "  of them really made": f"{sum(k.made for k in hit) // work:,} on average",
        "  requests in flight": f"{sum(k.in_flight for k in hit) // work:,} on average",
        "most that was spent and held": f"{max((k.spent + k.held) / one.limit for one in told for k in one.kills):.1%}"
        " of the limit",
        "same samples, policy and result": f"{sum(one.same is True for one in told)} of {len(told)} studies",
    }
    for name, value in lines.items():
        print(f"{name:40}{value}")


if __name__ == "__main__":
    main()
