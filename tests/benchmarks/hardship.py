"""Models behind a server in hardship, by the server's own count: `python -m tests.benchmarks.hardship`.

Three tables, each against the fake server in this process: the same answers and a true bill where a fifth of all
requests fails, limits that 64 draws at once never exceed and use, and what first-finish search saves by cancelling.
`--out tests/benchmarks/hardship.md` writes them.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from autotts.core.cost import ModelCard
from autotts.core.plan import Draw, Spec
from autotts.core.world import Meter
from autotts.engine.capped import CANCELLED, DRAWN, FAILED, JUDGED, LOST, SCORED, Capped
from autotts.engine.ledger import Ledger
from autotts.engine.live import search, serve
from autotts.engine.memo import Memo, Memory
from autotts.errors import SearchBudgetReached
from autotts.strategies.arms import parse
from autotts.worlds.fake_server import FakeModel, FakeServer, Faults, Pace, Scorer, Solver
from autotts.worlds.fake_server.models import fraction
from autotts.worlds.models.entry import Entry, Scoring, Server, Template
from autotts.worlds.openai import OpenAI, open_openai
from autotts.worlds.servers import Fleet, Retries, Timeouts

ARMS: Final = (
    "vote(n=12, model=S)",
    "beam(n=4, m=2, by=prm, model=S)",
    "first_finish(n=8, k=2, model=S)",
    "adaptive(most=16, model=S)",
)
PROMPTS: Final = ("What is 3 + 4 * 5?", "What is 21 - 9 + 30?", "What is 12 + 30 * 2 - 7?")
FINISHES: Final = ((2, 1), (4, 1), (8, 1), (8, 2), (16, 1), (16, 4))
RATE: Final = 200.0  # tokens a second of one request
STREAMS: Final = 8  # at once, if it is not more draws than that; where there are more they are read at beats


def boxed(text: str) -> str | None:
    """A reader of the last box."""
    found = text.rpartition("\\boxed{")
    return found[2].partition("}")[0] if found[1] else None


def fleet() -> Fleet:
    """It waits 20 times shorter than it would, and tries as often as it must."""
    return Fleet(
        retries=Retries(tries=20, first=0.02, longest=0.2, spare=1 << 30, patience=40.0),
        timeouts=Timeouts(connect=1.0, first=0.5, between=0.5),
        rng=Random(0),
        clock=lambda: 20 * time.monotonic(),
        sleep=lambda seconds: asyncio.sleep(seconds / 20),
    )


def entries(server: FakeServer, **fields: Any) -> dict[str, Entry]:
    """A model that draws and one that scores, both on this server."""
    here = (Server(server.url),)
    known: dict[str, Any] = {"max_tokens": 256, "template": Template(continues="ids")} | fields
    prm = Entry("prm", "openai", "prm", ModelCard("prm", "1"), here, scoring=Scoring("process", "qwen-prm"))
    return {"S": Entry("S", "openai", "S", ModelCard("S", "1"), here, **known), "prm": prm}


@contextmanager
def opened(server: FakeServer, **fields: Any) -> Iterator[OpenAI]:
    """A world of both."""
    with open_openai(entries(server, **fields), read=boxed, fleet=fleet) as world:
        yield world


# ---------------------------------------------------------------- faults


@dataclass(frozen=True, slots=True)
class Bill:
    """What an arm answered, and what it took: in tokens, by the ledger and by the server.

    `finished` and `served` are of draws and scores that came to their end; `wasted` and `served_wasted` of attempts
    that did not: the ledger charges each the whole prompt, which a request that broke off may not have come to read.
    """

    told: tuple[Any, ...]
    finished: int
    wasted: int
    served: int
    served_wasted: int
    faults: int
    requests: int


def bill(arm: str, faults: Faults) -> Bill:
    """Search with an arm on all prompts."""

    async def live() -> Bill:
        models = [FakeModel("S", Solver(0.6)), FakeModel("prm", marks=Scorer(auc=0.9, per="step", classes=2))]
        async with FakeServer(models, faults=faults, pace=Pace(rate=2000, chunk=1)) as server:
            ledger = Ledger()
            with opened(server) as world:
                async with world.session(), Memo(Capped(world, ledger), Memory()) as memo:
                    told = tuple([await _told(world, memo, arm, prompt) for prompt in PROMPTS])
            kinds: dict[str, int] = {}
            for (_, kind), parts in ledger.by.items():
                kinds[kind] = kinds.get(kind, 0) + parts
            done = server.counts.by_outcome.get("finished")
            whole = server.counts.prompt + server.counts.generated
            finished = 0 if done is None else done.prompt + done.generated
            return Bill(
                told,
                sum(kinds.get(kind, 0) for kind in (DRAWN, SCORED, JUDGED)),
                sum(kinds.get(kind, 0) for kind in (LOST, FAILED, CANCELLED)),
                finished,
                whole - finished,
                sum(record.fault is not None for record in server.records),
                server.counts.requests,
            )

    return asyncio.run(live())


async def _told(world: OpenAI, memo: Memo, arm: str, prompt: str) -> Any:
    root, state = world.root(prompt)
    memo.root(root, state)
    outcome = await search(parse(arm).plan(root, Random(0)), root, memo)
    choice = outcome.choice
    return choice and (choice.node.answer, choice.node.digest, choice.confidence), outcome.cost, outcome.ticks


# ---------------------------------------------------------------- limits


@dataclass(frozen=True, slots=True)
class Use:
    """How much of a limit 64 draws at once have used, by the ledger, and by the server."""

    limit: int
    spent: int
    served: int
    most: int
    finished: int


def use(limit: int, *, trials: int = 8, faults: Faults | None = None) -> Use:
    """Draw until the limit is reached: 64 prompts' draws at once, in trials with limits of their own."""

    async def live() -> Use:
        async with FakeServer([FakeModel("S", Solver(0.8)), PRM], faults=faults, pace=Pace(rate=2000)) as server:
            study = Ledger(limit)
            children = [study.child(limit // trials * 2, f"trial {i}") for i in range(trials)]
            most = 0
            with opened(server, max_tokens=64) as world:
                async with world.session():
                    capped = Capped(world, study)

                    async def child(number: int) -> int:
                        nonlocal most
                        done = 0
                        with children[number % trials].open():
                            for turn in range(10_000):
                                try:
                                    await _answer(capped, world, number * 10_000 + turn)
                                except SearchBudgetReached:
                                    return done
                                done += 1
                                most = max(most, study.spent + study.reserved, *(c.spent - limit for c in children))
                        return done

                    finished = await asyncio.gather(*(child(number) for number in range(64)))
            return Use(limit, study.spent, server.counts.prompt + server.counts.generated, most, sum(finished))

    return asyncio.run(live())


PRM: Final = FakeModel("prm", marks=Scorer())


@dataclass(slots=True)
class Order:
    """As much of an order as a world sees."""

    ask: Any
    key: bytes
    binding: Any
    prefix: int
    meter: Meter


async def _answer(capped: Capped, world: OpenAI, key: int) -> None:
    root, state = world.root("What is 12 + 30 * 2 - 7?")
    ask = Draw(root, Spec(model="S", temperature=1.0))
    order = Order(ask, key.to_bytes(16, "little"), world.bindings["S"], root.tokens, Meter())
    await capped.answer(order, (state,), order.meter)


# ---------------------------------------------------------------- first finish


@dataclass(frozen=True, slots=True)
class Saving:
    """Tokens that were generated for prompts, by the server; in theory, with cancelling and without; by our bill."""

    n: int
    k: int
    made: int
    theory: int
    whole: int
    billed: int

    @property
    def saved(self) -> float:
        """The saving by the server's count, over that of the theory."""
        return (self.whole - self.made) / (self.whole - self.theory)


def saving(n: int, k: int, prompts: int, rate: float = RATE) -> Saving:
    """Serve first-finish search on some prompts, and hold the server's count against the lengths of its draws.

    Where the k-th of n draws ends after t tokens, each has made min(its length, t).
    """
    drawn: dict[str, list[int]] = {}

    def script(prompt: str, partial: str, seed: int, temperature: float, top_p: float) -> str:
        count = 60 + int(240 * fraction("length", prompt, seed))
        drawn.setdefault(prompt, []).append(count)
        return " ".join(["word"] * (count - 1)) + " \\boxed{1}"

    async def live() -> Saving:
        models = [FakeModel("S", script), PRM]
        async with FakeServer(models, pace=Pace(rate=rate, first=0.01, chunk=1), keep=1 << 20) as server:
            billed = 0
            with opened(server, max_tokens=1024) as world:
                async with world.session():
                    gate = asyncio.Semaphore(max(1, STREAMS // n))

                    async def one(number: int) -> int:
                        async with gate:
                            return await _served(world, f"first_finish(n={n}, k={k}, model=S)", f"Prompt {number}")

                    billed = sum(await asyncio.gather(*(one(number) for number in range(prompts))))
            made = server.counts.generated
        theory = sum(min(one, sorted(lengths)[k - 1]) for lengths in drawn.values() for one in lengths)
        return Saving(n, k, made, theory, sum(map(sum, drawn.values())), billed)

    return asyncio.run(live())


async def _served(world: OpenAI, arm: str, prompt: str) -> int:
    root, state = world.root(prompt)
    outcome = await serve(parse(arm).plan(root, Random(0)), root, state, world)
    return sum(usage.generated + usage.cancelled for usage in outcome.usage.values())


# ---------------------------------------------------------------- tables


def tables(prompts: int, seeds: int) -> Iterator[str]:
    """The report, line by line."""
    yield "## A fifth of all requests fails\n"
    yield "| arm | requests | faults | same answers | finished: ledger | server | lost: ledger | server |"
    yield "|---|---:|---:|---|---:|---:|---:|---:|"
    for arm in ARMS:
        without = bill(arm, Faults())
        for seed in range(seeds):
            found = bill(arm, Faults.evenly(0.2, seed=seed, hangs=True))
            same = "yes" if found.told == without.told else "NO"
            yield (
                f"| `{arm}` | {found.requests} | {found.faults} | {same} | {found.finished:,} | {found.served:,} "
                f"| {found.wasted:,} | {found.served_wasted:,} |"
            )
    yield "\n## 64 draws at once against a limit\n"
    yield "| limit | faults | most ever set aside and spent | spent | of the limit | by the server | draws |"
    yield "|---:|---|---:|---:|---:|---:|---:|"
    for limit in (20_000, 100_000):
        for rate in (0.0, 0.2):
            used = use(limit, faults=Faults.evenly(rate))
            yield (
                f"| {limit:,} | {rate:.0%} | {used.most:,} | {used.spent:,} | {used.spent / limit:.1%} "
                f"| {used.served:,} | {used.finished} |"
            )
    yield "\n## What first-finish search saves\n"
    yield "| n | k | prompts | without cancelling | in theory with it | by the server | saved, of theory | our bill |"
    yield "|---:|---:|---:|---:|---:|---:|---:|---:|"
    for n, k in FINISHES:
        one = saving(n, k, prompts)
        yield (
            f"| {n} | {k} | {prompts} | {one.whole:,.0f} | {one.theory:,.0f} | {one.made:,} "
            f"| {one.saved:.1%} | {one.billed:,} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=200, help="of each first-finish search")
    parser.add_argument("--seeds", type=int, default=3, help="of the faults")
    parser.add_argument("--out", type=Path, help="a .md file")
    asked = parser.parse_args()
    lines = []
    for line in tables(asked.prompts, asked.seeds):
        print(line, flush=True)
        lines.append(line)
    if asked.out is not None:
        made = f"python -m tests.benchmarks.hardship {' '.join(sys.argv[1:])}"
        head = f"# Models behind servers in hardship\n\nMade by `{made}`."
        asked.out.write_text(f"{head}\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
