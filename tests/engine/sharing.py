"""A process that spends from a study's ledger, for tests of several of them."""

import asyncio
import os
import signal
from random import Random

from autotts.engine.shared import SharedLedger
from autotts.errors import SearchBudgetReached
from autotts.store import database

STUDY, UNIT = "s", "tokens"


async def spend(ledger, children, largest, seed, die_after=None):
    """Children that claim and settle until the limit is reached; what they settled."""
    random = Random(seed)
    done = [0, 0]

    async def child():
        own = ledger.child(None, "prompt")
        while True:
            most = random.randint(1, largest)
            try:
                await own.claim(most)
            except SearchBudgetReached:
                if most <= largest // 4:
                    return
                continue
            await asyncio.sleep(random.random() / 1000)
            used = random.randint(most // 3, most)
            own.settle("S@1", "drawn", reserved=most, parts=used)
            done[0] += used
            done[1] += 1
            if die_after is not None and done[1] >= die_after:
                os.kill(os.getpid(), signal.SIGKILL)

    await asyncio.gather(*[child() for _ in range(children)])
    assert ledger.reserved == 0
    return done[0]


def work(url, limit, largest, seed, die_after, out, gone):
    """Spend in a process of its own, half of the limit until those that die are gone; `out` is told what was spent."""
    engine = database.open(url)
    with SharedLedger(engine, STUDY, UNIT, limit if die_after else limit // 2) as shared:
        spent = asyncio.run(spend(shared.ledger, 16, largest, seed, die_after))
        gone.wait(60)
        shared.ledger.limit = limit
        spent += asyncio.run(spend(shared.ledger, 16, largest, seed + 10))
    engine.dispose()
    out.put((seed, spent))
