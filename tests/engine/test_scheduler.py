"""The scheduler against the naive engine, and the rules of `Join`, one by one."""

from hypothesis import given
from hypothesis import strategies as st

from tests.engine.chaos import Chaos
from tests.engine.count import disagreements
from tests.engine.worlds import run, toys

seeds = st.integers(0, 10**6)


@given(toys(), seeds, st.floats(0, 1.1))
def test_chaos_costs_what_the_naive_engine_counts(toy, seed, share):
    """Nested, handed on, cancelled, blended, scored twice; the cap somewhere inside the run."""
    free = run(Chaos(), toy, seed)
    assert disagreements(Chaos(), toy, seed) == []
    assert disagreements(Chaos(), toy, seed, cap=int(free.cost * share)) == []
