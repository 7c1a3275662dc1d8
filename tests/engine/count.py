"""The scheduler beside the naive engine: what they disagree on."""

from random import Random

from autotts.core.node import root_node
from autotts.engine.scheduler import Scheduler
from tests.engine.tick_engine import TickEngine
from tests.engine.worlds import PROMPT, told


def drive(scheduler, script):
    """Replay with a given scheduler."""
    scheduler.start()
    while scheduler.outcome is None:
        for order in scheduler.take_wanted():
            scheduler.deliver(order, script(order))
        scheduler.step()
    return scheduler.outcome


def disagreements(arm, toy, seed, *, cap=None, scheduler=Scheduler):
    """Each count that differs from the world's own, token by token: (name, scheduler's, naive engine's)."""
    root = root_node(f"problem {seed}", PROMPT)
    script = toy.script({root.key: None})
    ours = drive(scheduler(arm.plan(root, Random(seed)), root, toy.bindings, cap=cap), script)
    naive = TickEngine(arm.plan(root, Random(seed)), root, toy, None, cap)
    why, choice = naive.run()

    def some(counts):
        return {name: count for name, count in counts.items() if count}

    pairs = [
        ("ended", ours.ended, why),
        ("choice", told(ours.choice), told(choice)),
        ("cost", ours.cost, naive.bill),
        ("time", ours.ticks, naive.time),
        ("made", some({i: u.generated + u.cancelled for i, u in ours.usage.items()}), some(naive.made)),
        ("prompts", some({i: u.prompt for i, u in ours.usage.items()}), some(naive.prompts)),
        ("calls", some({i: u.calls for i, u in ours.usage.items()}), some(naive.calls)),
    ]
    return [pair for pair in pairs if pair[1] != pair[2]]
