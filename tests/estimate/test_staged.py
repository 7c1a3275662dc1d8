"""The vectorised form of staged votes is the plan, ordering by ordering."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotts.engine.replay import replay
from autotts.errors import InputError
from autotts.estimate.replayed import orderings
from autotts.search.gauge import Gauge
from autotts.strategies.staged import Staged
from autotts.worlds.recorded import Recording
from tests.pools.make import make

ORDERS = 3

arms = st.builds(
    Staged,
    small=st.sampled_from(("S", "L")),
    large=st.sampled_from(("S", "L")),
    n=st.integers(1, 4),
    m=st.integers(0, 2),
    rounds=st.integers(1, 2),
    chunk=st.sampled_from((5, 10)),
    limit=st.sampled_from((5, 12, 20, 100)),
    patience=st.integers(1, 3),
    weak=st.sampled_from((0.0, 0.25, 0.3, 1.0)),
    need=st.integers(0, 2),
    sure=st.sampled_from((0.0, 0.5, 1.0, 2.0)),
    unsure=st.sampled_from((0.0, 0.5, 1.0, 9.0)),
    weight=st.sampled_from((0.0, 0.7, 1.0, 2.0)),
    settled=st.sampled_from((0.0, 0.5, 2.0)),
    temperature=st.just(0.7),
)


def played(pool, strategy, probe_tokens):
    """Value, cost and tokens in sequence of the plan itself, [P, R]."""
    world = Recording(pool, unit="flops", probe_tokens=probe_tokens)
    order = orderings(8, ORDERS, 0)
    out = np.zeros((3, len(pool.problems), ORDERS))
    for p, problem in enumerate(pool.problems):
        for r in range(ORDERS):
            run = world.run(p, lambda number, r=r: order[r].tolist())
            done = replay(strategy.plan(run.root, Random(0)), run.root, run.script, world.bindings)
            answer = None if done.choice is None else done.choice.node.answer
            out[:, p, r] = answer == problem.answer, done.cost, done.ticks
    return out


@settings(deadline=None, max_examples=150)
@given(arms, st.integers(0, 10**6), st.sampled_from((0, 3)))
def test_the_arrays_are_the_plan(strategy, seed, probe_tokens) -> None:
    pool = make(problems=3, counts=8, seed=seed, every=5, wrong=2, prompt_tokens=7)
    found = Gauge(pool, "flops", probe_tokens=probe_tokens)(strategy, ORDERS)
    value, cost, path = played(pool, strategy, probe_tokens)
    assert np.allclose(found.costs, cost)
    assert np.allclose(found.sequential, path.mean(1))
    assert np.allclose(found.value, value.mean(1))
    assert np.allclose(found.cost, cost.mean(1)) and np.allclose(found.worst, cost.max(1))


def test_it_says_what_the_pool_cannot_give() -> None:
    pool = make(counts=8, every=5)
    with pytest.raises(InputError, match="multiple of 5 tokens"):
        Gauge(pool, "flops")(Staged("S", "L", chunk=7, temperature=0.7))
    with pytest.raises(InputError, match="more than the pool has"):
        Gauge(pool, "flops")(Staged("S", "S", n=4, m=2, rounds=3, chunk=5, temperature=0.7))
    with pytest.raises(InputError, match="no probes"):
        Gauge(make(counts=8), "flops")(Staged("S", "L", chunk=5, temperature=0.7))


def test_a_second_stage_is_drawn_only_where_the_first_disagrees() -> None:
    pool = make(problems=6, counts=8, seed=3, every=5)
    gauge = Gauge(pool, "flops")
    calm = Staged("S", "L", n=2, m=3, chunk=5, unsure=0.0, temperature=0.7)
    assert np.allclose(gauge(calm).cost, gauge(Staged("S", "L", n=2, m=0, chunk=5, temperature=0.7)).cost)
    keen = Staged("S", "L", n=2, m=3, chunk=5, unsure=100.0, temperature=0.7)
    assert (gauge(keen).cost > gauge(calm).cost).all()
