"""Any setting of any registered strategy, within small ranges, from the knobs that it declares."""

from hypothesis import reject
from hypothesis import strategies as st

from autotts.core.strategy import Options, Range, build, knobs
from autotts.errors import InputError
from autotts.strategies import STRATEGIES

MODELS, SCORERS = ("S", "L", "twin"), ("prm", "judge")  # the roles of `worlds.toys`
MOST = 9  # of a number that counts something


def values(knob):
    """Small values of one knob, ends of its range included."""
    domain = knob.domain
    if isinstance(domain, Range):
        if knob.type is int:
            low, high = int(domain.low), int(min(domain.high, domain.low + MOST))
            return st.integers(low, high)
        return st.sampled_from(sorted({domain.low, domain.high, *domain.grid}))
    if isinstance(domain, Options):
        return st.sampled_from(domain.words)
    return st.sampled_from(MODELS if domain.kind == "policy" else SCORERS)


@st.composite
def arms(draw, names=tuple(STRATEGIES)):
    """A registered strategy with any knobs; settings that contradict each other are drawn again."""
    name = draw(st.sampled_from(names))
    declared = knobs(STRATEGIES[name])
    for _ in range(8):
        chosen = {key: draw(values(knob)) for key, knob in declared.items()}
        try:
            return build(STRATEGIES[name], name, chosen)
        except InputError:
            continue
    reject()


def most(arm):
    """The most whole draws that the knobs of an arm allow: its largest whole number, or those of both its stages."""
    counts = [getattr(arm, knob.name) for knob in knobs(type(arm)).values() if knob.type is int]
    return sum(counts) if hasattr(arm, "large") else max([1, *counts])
