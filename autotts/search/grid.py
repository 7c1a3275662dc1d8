"""The arms that a pool of recorded answers can tell of: all settings on a grid, and staged votes drawn at random."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from autotts.core.strategy import Range, Strategy, knobs
from autotts.errors import InputError
from autotts.search.gauge import Gauge, Source
from autotts.strategies.adaptive import Adaptive
from autotts.strategies.arms import show
from autotts.strategies.best_of_n import BestOfN
from autotts.strategies.cascade import Cascade
from autotts.strategies.esc import Esc
from autotts.strategies.first_finish import FirstFinish
from autotts.strategies.one import One
from autotts.strategies.staged import Staged
from autotts.strategies.vote import Vote
from autotts.strategies.weighted_vote import WeightedVote

DRAWS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
RACES = (2, 3, 4, 6, 8, 12, 16)  # draws of first-finish: with more, the first are the careless ones
FINISHED = (1, 2, 3, 5)
THRESHOLDS = (0.8, 0.85, 0.9, 0.95, 0.99)
MOST = (4, 8, 16, 32, 64)
WINDOWS = (2, 3, 4, 5, 8)
PAIRED = 8  # models, above which arms of two models are not tried: there would be too many
LATER = 9  # most draws of the later stages of a staged vote: more are never worth their cost, and slow to replay
SCORER = "score"


@dataclass(frozen=True, slots=True)
class Setting:
    """How a family is written in an arm; what was not recorded has the strategy's default."""

    model: str
    temperature: float
    top_p: float

    def knobs(self) -> dict[str, Any]:
        return {"model": self.model, "temperature": self.temperature, "top_p": self.top_p}


def setting(source: Source) -> Setting:
    """The temperature and top-p that arms of a family are written with."""
    unknown = 0.8 if source.drawn.family.exchangeable else 0.0
    temperature = unknown if source.temperature is None else source.temperature
    return Setting(source.role, temperature, 1.0 if source.top_p is None else source.top_p)


def replayable(gauge: Gauge, names: Sequence[str] = ()) -> list[Strategy]:
    """Every arm on the grid that the pool answers; `names` are the strategies that are wanted, all by default."""
    out: list[Strategy] = []
    for source in named(gauge):
        out += _of_one(source)
    out += _cascades(gauge)
    return [s for s in out if not names or show(s).split("(")[0] in names]


def named(gauge: Gauge) -> list[Source]:
    """The families that the text of an arm can name; others are hidden behind one with the same settings."""
    own = [(source, setting(source)) for source in gauge.sources]
    return [source for source, at in own if gauge.source(at.model, at.temperature, at.top_p) is source]


def _of_one(source: Source) -> Iterator[Strategy]:
    """The arms that draw from one family."""
    at = setting(source).knobs()
    yield One(**at)
    if not source.drawn.family.exchangeable:
        return
    counts = [n for n in DRAWS if n <= source.least]
    if source.votes:
        yield from (Vote(n=n, **at) for n in counts)
        yield from (Adaptive(most=n, threshold=t, batch=1, **at) for n in MOST if n <= source.least for t in THRESHOLDS)
        yield from (
            Esc(most=n, window=w, **at) for n in MOST if n <= source.least for w in WINDOWS if w < n and n % w == 0
        )
    if source.timed and source.votes:
        yield from (FirstFinish(n=n, k=k, **at) for n in RACES if n <= source.least for k in FINISHED if k < n)
    if source.scored:
        yield from (BestOfN(n=n, by=SCORER, **at) for n in counts)
        if source.votes:
            yield from (WeightedVote(n=n, by=SCORER, **at) for n in counts)


def pairs(gauge: Gauge) -> list[tuple[Source, Source]]:
    """Families of a cheaper and a dearer model (or one model twice) that were sampled alike."""
    usable = [s for s in named(gauge) if s.drawn.family.exchangeable and s.votes]
    if len({s.role for s in usable}) > PAIRED:
        return []
    price = {id(s): float(s.drawn.family.card.prices(gauge.unit).generated or 1) for s in usable}
    return [
        (one, two)
        for one in usable
        for two in usable
        if price[id(one)] <= price[id(two)]
        and (one.role != two.role or one is two)
        and setting(one).temperature == setting(two).temperature
        and setting(one).top_p == setting(two).top_p
    ]


def _cascades(gauge: Gauge) -> Iterator[Strategy]:
    """A vote of one model, and one of a dearer model where the first has no clear lead."""
    for one, two in pairs(gauge):
        if one is two:
            continue
        at = setting(one)
        for n in (n for n in (2, 3, 4, 6) if n <= one.least):
            for m in (m for m in (1, 2, 4, 8) if m <= two.least):
                for sure in (0.6, 1.0):
                    for weight in (1.0, 2.0):
                        yield Cascade(
                            small=at.model,
                            large=setting(two).model,
                            n=n,
                            m=m,
                            sure=sure,
                            weight=weight,
                            temperature=at.temperature,
                            top_p=at.top_p,
                        )


def probed(gauge: Gauge) -> list[tuple[Source, Source]]:
    """The pairs whose running draws were probed."""
    return [(one, two) for one, two in pairs(gauge) if one.probed and two.probed]


def probing(able: Sequence[tuple[Source, Source]], count: int, seed: str) -> list[Strategy]:
    """Staged votes of some pairs, with knobs at random on their grids."""
    rng = Random(seed)
    declared = {k.name: k for k in knobs(Staged).values() if isinstance(k.domain, Range)}
    out: dict[str, Strategy] = {}
    for _ in range(20 * count if able else 0):
        if len(out) >= count:
            break
        one, two = able[len(out) % len(able)]
        every = math.lcm(one.drawn.probe_every, two.drawn.probe_every)
        values: dict[str, Any] = {
            k.name: k.type(rng.choice(k.domain.grid))
            for k in declared.values()
            if isinstance(k.domain, Range) and k.name not in ("temperature", "top_p", "chunk")
        }
        longest = max(int(s.drawn.tokens.max()) for s in (one, two))
        values["limit"] = round(rng.choice((0.45, 0.55, 0.65, 0.75)) * longest / every) * every
        at = setting(one)
        values |= {"small": at.model, "large": setting(two).model, "chunk": every}
        if not values["m"]:  # there are no later stages for these to act on
            values |= {k: declared[k].default for k in ("rounds", "unsure", "weight", "settled")} | {"large": at.model}
        values |= {"temperature": at.temperature, "top_p": at.top_p}
        try:
            strategy = Staged(**values)
        except InputError:
            continue
        later = values["m"] * values["rounds"]
        if later > LATER:
            continue
        if values["n"] + (later if one is two else 0) <= one.least and later <= two.least:
            out[show(strategy)] = strategy
    return list(out.values())
