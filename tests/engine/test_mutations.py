"""The laws can fail: a scheduler that is broken on purpose is found out by the naive engine, or by live = replay."""

import asyncio
from random import Random

import pytest

from autotts.core.cost import Prices
from autotts.core.node import root_node
from autotts.core.world import Binding
from autotts.engine.live import Searching
from autotts.engine.memo import Memo, Memory
from autotts.engine.orders import Echo
from autotts.engine.scheduler import Scheduler
from autotts.worlds.toy import Skill, Toy
from tests.engine.chaos import Chaos
from tests.engine.count import disagreements
from tests.engine.worlds import PROMPT, Jitter, run, same

NAMES = ("S@1", "L@1", "prm@1", "judge@1")
BIND = {name: Binding(name, "", 2, Prices(2, 1, 3, 1, 1, 1), 1000) for name in NAMES}
TOY = Toy(
    {"S": BIND["S@1"], "twin": BIND["S@1"], "L": BIND["L@1"], "prm": BIND["prm@1"], "judge": BIND["judge@1"]},
    {name: Skill(length=(0, 40), verdict=5, texts=2) for name in NAMES},
)


class CancelsForFree(Scheduler):
    def _drop(self, order):
        before = self.total
        super()._drop(order)
        self.total = before


class ChargesPrefixesAgain(Scheduler):
    def _issue(self, frame, pos, ask):
        for book in self._books.values():
            book.seen.clear()
        return super()._issue(frame, pos, ask)


class ScoresATextTwice(Scheduler):
    def _issue(self, frame, pos, ask):
        self._scored.clear()
        return super()._issue(frame, pos, ask)

    def _drop(self, order):
        self._scored[order.key] = order
        super()._drop(order)


class ForgetsWhoWaitsForTheSameScore(Scheduler):
    def _hand_on(self, order):
        return False

    def _cancel(self, item):
        if type(item) is not Echo and getattr(item, "echoes", None):
            item.echoes.clear()
        super()._cancel(item)


class ChecksNoPrompt(Scheduler):
    def _affordable(self, price):
        return True


class EndsAfterTheCap(Scheduler):
    def _afford_until(self, moment):
        if self.cost_at(moment) > self.cap:
            self.now = moment
            self.stop("cap")


class WakesOnlyForAll(Scheduler):
    def _open(self, frame, join):
        super()._open(frame, join)
        frame.enough = None


MUTANTS = [
    CancelsForFree,
    ChargesPrefixesAgain,
    ScoresATextTwice,
    ForgetsWhoWaitsForTheSameScore,
    ChecksNoPrompt,
    EndsAfterTheCap,
    WakesOnlyForAll,
]


def found_out(kind, seed):
    cap = None if seed % 2 else int(run(Chaos(), TOY, seed).cost * Random(seed).random())
    try:
        return bool(disagreements(Chaos(), TOY, seed, cap=cap, scheduler=kind))
    except Exception:  # a plan that hangs on what never comes
        return True


def test_the_scheduler_agrees_on_these_examples():
    assert not any(found_out(Scheduler, seed) for seed in range(200))


@pytest.mark.parametrize("kind", MUTANTS)
def test_a_broken_scheduler_is_found_out(kind):
    assert any(found_out(kind, seed) for seed in range(200))


class Hasty(Scheduler):
    """Decides the next arrival while a draw that could precede it still runs."""

    def ready(self):
        return super().ready() or any(item.live for _, _, item in self._heap)


async def hastily(seed):
    root = root_node(f"problem {seed}", PROMPT)
    async with Memo(Jitter(TOY, seed), Memory()) as memo:
        memo.root(root, None)
        return await Searching(Hasty(Chaos().plan(root, Random(seed)), root, memo.bindings), memo).run()


def test_an_engine_that_does_not_wait_is_found_out():
    assert any(same(asyncio.run(hastily(seed))) != same(run(Chaos(), TOY, seed)) for seed in range(100))
