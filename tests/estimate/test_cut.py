"""The estimate of votes of cut-off draws against the plan itself, in the world of the recorded pool."""

from itertools import permutations
from random import Random

import numpy as np
import pytest

from autotts.engine.replay import replay
from autotts.errors import InputError
from autotts.estimate.cut import cut
from autotts.estimate.replayed import orderings
from autotts.estimate.staged import Probed
from autotts.strategies.cut import Cut
from autotts.worlds.recorded import Recording
from tests.pools.make import SMALL, make

DRAWS, EVERY = 5, 5


def probed(pool, probe_tokens: int) -> Probed:
    of = pool.drawn[0]
    width = int(np.diff(of.probe_start).max())
    probe = np.full((len(of.answer), width), -1)
    for i, (a, b) in enumerate(zip(of.probe_start, of.probe_start[1:])):
        probe[i, : b - a] = of.probe[a:b]
    shape = (len(pool.problems), DRAWS)
    price, prompts = 2.0 * SMALL.parameters, of.prompt_tokens.reshape(shape)[:, 0]
    return Probed(
        of.answer.reshape(shape),
        of.tokens.reshape(shape),
        probe.reshape(*shape, width),
        EVERY,
        price,
        price * prompts,
        probe_tokens,
    )


def played(world: Recording, problem: int, strategy: Cut, order) -> tuple[float, int, int]:
    run = world.run(problem, lambda number: list(order))
    out = replay(strategy.plan(run.root, Random(0)), run.root, run.script, world.bindings)
    return float(out.choice is not None and out.choice.node.answer == "gold"), out.cost, out.ticks


@pytest.mark.parametrize("probe_tokens", [0, 3])
@pytest.mark.parametrize(("n", "limit"), [(1, 10), (2, 5), (3, 20), (4, 40), (3, 1000), (5, 15)])
def test_it_is_the_plan_over_all_orderings(n, limit, probe_tokens) -> None:
    pool = make((SMALL,), problems=2, counts=DRAWS, seed=n, every=EVERY, wrong=2, prompt_tokens=7)
    world = Recording(pool, unit="flops", probe_tokens=probe_tokens)
    strategy = Cut(n=n, limit=limit, model="S", temperature=0.7)
    right = np.tile([True, False, False], (2, 1))
    got = cut(probed(pool, probe_tokens), right, strategy, seed=1, orders=6)
    for p in range(2):
        every = [played(world, p, strategy, order) for order in permutations(range(DRAWS))]
        value, cost, wait = np.mean(every, axis=0)
        assert got.value[p] == pytest.approx(value) and got.cost[p] == pytest.approx(cost)
        assert got.sequential[p] == pytest.approx(wait)
        some = [played(world, p, strategy, order.tolist())[1] for order in orderings(DRAWS, 6, 1)]
        assert got.costs[p].tolist() == pytest.approx(some[: got.costs.shape[1]])


def test_a_limit_where_nothing_was_read_off_is_an_input_error() -> None:
    pool = make((SMALL,), problems=2, counts=DRAWS, every=EVERY)
    right = np.tile([True, False, False, False], (2, 1))
    with pytest.raises(InputError, match="limit expects a multiple of 5 tokens"):
        cut(probed(pool, 0), right, Cut(n=2, limit=12))
    with pytest.raises(InputError, match="the pool has 5"):
        cut(probed(pool, 0), right, Cut(n=6, limit=10))
    assert cut(probed(pool, 0), right, Cut(n=2, limit=9999)).value.shape == (2,)
