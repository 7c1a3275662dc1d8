"""What arms give on recorded answers, problem by problem: exact where there is a formula, else on shared orderings."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotts.core.cost import Prices
from autotts.core.strategy import Strategy
from autotts.core.task import Problem
from autotts.errors import InputError
from autotts.estimate.cascaded import cascade
from autotts.estimate.cut import cut
from autotts.estimate.replayed import Estimate, Pool, estimate
from autotts.estimate.staged import Probed, staged
from autotts.pools.recorded import Drawn, Recorded
from autotts.strategies import POOLED
from autotts.strategies.arms import name_of, show
from autotts.strategies.cascade import Cascade
from autotts.strategies.cut import Cut
from autotts.strategies.staged import Staged
from autotts.strategies.vote import Vote

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

VOTES = frozenset({"vote", "weighted_vote", "adaptive", "esc", "cascade", "cut", "staged"})  # count equal answers
TIMED = frozenset({"first_finish"})  # need to know which draw ends first
UNPROBED = "{} reads answers off running draws, and this pool has no probes"
_EACH = ("answer", "correct", "tokens", "prompt_tokens", "score", "cut")  # one of each for a draw


@dataclass(frozen=True, slots=True, eq=False)
class Lot:
    """The draws of one family on the problems that have equally many, as arrays; `rows` says which problems."""

    rows: Ints
    pool: Pool
    probed: Probed | None


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One family that arms can draw from."""

    drawn: Drawn
    lots: tuple[Lot, ...]
    least: int  # draws that every problem has
    votes: bool  # whether its answers can be counted

    @property
    def role(self) -> str:
        return self.drawn.family.role

    @property
    def temperature(self) -> float | None:
        return self.drawn.family.temperature

    @property
    def top_p(self) -> float | None:
        return self.drawn.family.top_p

    @property
    def scored(self) -> bool:
        """Whether its draws have scores; those without one rank last."""
        return all(lot.pool.score is not None for lot in self.lots)

    @property
    def timed(self) -> bool:
        """Whether the tokens of every draw are known."""
        return all(bool((lot.pool.tokens >= 0).all()) for lot in self.lots)

    @property
    def probed(self) -> bool:
        """Whether answers were read off the running draws."""
        return all(lot.probed is not None for lot in self.lots)


@dataclass
class Gauge:
    """A pool ready to be asked: the problems that all its families cover, and what arms give on each of them.

    Parameters
    ----------
    unit
        What costs are counted in.
    probe_tokens
        What a probe generates.
    """

    recorded: Recorded
    unit: str
    probe_tokens: int = 0
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Leave out the draws of which nobody knows whether they are right: they would count as wrong."""
        missing = {drawn.family.role: int(np.isnan(drawn.correct).sum()) for drawn in self.recorded.drawn}
        if not (count := sum(missing.values())):
            return
        bare = [d.family.role for d in self.recorded.drawn if np.isnan(d.correct).all()]
        if bare:
            raise InputError(
                f"pool: expected labels (`correct`) or gold answers (`answer`), found none for {', '.join(bare)}: add "
                "them with autotts pool import --answers GOLD.jsonl, or leave the model out with --models"
            )
        named = ", ".join(role for role, some in missing.items() if some)
        self.notes.append(f"{count:,} draws without a label ({named}) are left out")
        self.recorded = replace(self.recorded, drawn=tuple(map(_labelled, self.recorded.drawn)))

    @cached_property
    def rows(self) -> Ints:
        """The problems that every family has draws of."""
        covered = np.all([drawn.counts > 0 for drawn in self.recorded.drawn], axis=0)
        found = np.flatnonzero(covered)
        if not len(found):
            raise InputError(
                "pool: expected problems that every model has labelled draws of, found none: choose models that share "
                f"problems with --models (there are {', '.join(self.recorded.roles)})"
            )
        return found

    @property
    def problems(self) -> list[Problem]:
        """The problems, in the order of all arrays here."""
        return [self.recorded.problems[i] for i in self.rows]

    @cached_property
    def right(self) -> Bools:
        """Whether each answer of each problem is right, [P, A]: as labelled, else as it equals the gold answer."""
        out = np.zeros((len(self.rows), max(1, *(len(self.recorded.answers[i]) for i in self.rows))), bool)
        for p, i in enumerate(self.rows):
            gold = self.recorded.problems[i].answer.strip()
            for a, text in enumerate(self.recorded.answers[i]):
                out[p, a] = text == gold
        for drawn in self.recorded.drawn:
            owner, known = _owner(drawn), drawn.answer >= 0
            place = np.full(len(self.recorded.problems), -1)
            place[self.rows] = np.arange(len(self.rows))
            used = known & (place[owner] >= 0)
            out[place[owner[used]], drawn.answer[used]] = drawn.correct[used] > 0.5
        return out

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """The families that arms can draw from, priced in the unit."""
        return tuple(self._source(drawn) for drawn in self.recorded.drawn)

    @property
    def roles(self) -> list[str]:
        """The roles, in order of first sight."""
        return list(dict.fromkeys(source.role for source in self.sources))

    def source(self, role: str, temperature: float, top_p: float = 1.0) -> Source:
        """The family that a role with these settings draws from; what was not recorded stands for any value."""
        of = [s for s in self.sources if s.role == role]
        if not of:
            raise InputError(f"the pool has no draws of {role!r}; it has {', '.join(self.roles)}")
        fit = [s for s in of if s.temperature in (temperature, None) and s.top_p in (top_p, None)]
        if not fit:
            known = ", ".join(f"temperature={s.temperature:g}" for s in of if s.temperature is not None)
            raise InputError(
                f"the pool has no draws of {role} at temperature={temperature:g}, top_p={top_p:g}; it has {known}"
            )
        return min(fit, key=lambda s: (s.temperature is None, s.top_p is None, not s.drawn.family.exchangeable))

    def __call__(self, strategy: Strategy, orders: int = 64, seed: int = 0) -> Estimate:
        """What an arm gives on each problem, [P]; arms asked with one seed see the same orderings of the draws.

        Raises
        ------
        InputError
            When the pool cannot tell: too few draws, no scores, no probes, answers that were not recorded.
        """
        s: Any = strategy
        if isinstance(strategy, Staged | Cascade):
            return self._two(strategy, orders, seed)
        if not isinstance(strategy, Cut) and name_of(strategy) not in POOLED:
            raise InputError(f"{show(strategy)}: a pool of recorded answers cannot know what other steps would give")
        source = self.source(s.model, s.temperature, s.top_p)
        _refuse(strategy, source)
        return self._joined([(lot.rows, self._one(lot, strategy, orders, seed)) for lot in source.lots])

    def _one(self, lot: Lot, strategy: Strategy, orders: int, seed: int) -> Estimate:
        if not isinstance(strategy, Cut):
            return estimate(lot.pool, strategy, seed=seed, orders=orders)
        if lot.probed is not None:
            return cut(lot.probed, self.right[lot.rows], strategy, seed=seed, orders=orders)
        if (lot.pool.tokens < 0).any() or strategy.limit < lot.pool.tokens.max():
            raise InputError(UNPROBED.format(show(strategy)))
        return estimate(lot.pool, Vote(n=strategy.n), seed=seed, orders=orders)  # nothing is cut off

    def _two(self, strategy: Staged | Cascade, orders: int, seed: int) -> Estimate:
        small = self.source(strategy.small, strategy.temperature, strategy.top_p)
        large = self.source(strategy.large, strategy.temperature, strategy.top_p)
        for source in (small, large):
            _refuse(strategy, source)
        parts = []
        for one, two, rows in _pairs(small, large):
            if isinstance(strategy, Cascade):
                found = cascade(one.pool, two.pool, strategy, seed=seed, orders=orders)
            elif one.probed is None or two.probed is None:
                raise InputError(UNPROBED.format(show(strategy)))
            else:
                found = staged(one.probed, two.probed, self.right[rows], strategy, seed=seed, orders=orders)
            parts.append((rows, found))
        return self._joined(parts)

    def _joined(self, parts: Sequence[tuple[Ints, Estimate]]) -> Estimate:
        if len(parts) == 1:
            return parts[0][1]
        order = np.argsort(np.concatenate([rows for rows, _ in parts]))
        width = max(found.costs.shape[1] for _, found in parts)

        def whole(name: str) -> Floats:
            return np.concatenate([getattr(found, name) for _, found in parts])[order]

        costs = np.concatenate([np.resize(found.costs.T, (width, len(found.costs))).T for _, found in parts])[order]
        return Estimate(whole("value"), whole("cost"), whole("worst"), whole("sequential"), costs)

    # ------------------------------------------------------------ arrays

    def _source(self, drawn: Drawn) -> Source:
        counts = drawn.counts[self.rows]
        prices = self._prices(drawn)
        votes = bool((drawn.answer >= 0).any())
        lots = []
        for count in sorted(set(counts.tolist())):
            rows = np.flatnonzero(counts == count)
            lots.append(self._lot(drawn, rows, count, prices, votes))
        return Source(drawn, tuple(lots), int(counts.min()), votes)

    def _prices(self, drawn: Drawn) -> Prices:
        if self.unit != "calls" and (drawn.tokens < 0).any():
            raise InputError(
                f"pool: tokens of {drawn.family.role} were not recorded (completion_tokens is null), so its cost in "
                f"{self.unit} is not known: count in calls (--budget 4calls, --unit calls), or leave the model out"
            )
        if self.unit != "calls" and not drawn.tokens.any():
            raise InputError(
                f"pool: expected completion_tokens above 0, found 0 in every sample of {drawn.family.role}, so its "
                f"cost in {self.unit} is not known: count in calls (--unit calls), or leave the model out"
            )
        card = drawn.family.card
        if self.unit in ("flops", "eflops") and card.parameters is None and card.active_parameters is None:
            raise InputError(
                f"pool: the parameters of {card.name} are not known, so its {self.unit} are not: give them, such as "
                f"--params {shlex.quote(drawn.family.model)}=4.02e9, or count in tokens (--unit tokens)"
            )
        return card.prices(self.unit)

    def _lot(self, drawn: Drawn, rows: Ints, count: int, prices: Prices, votes: bool) -> Lot:
        at = drawn.start[self.rows[rows]][:, None] + np.arange(count)
        tokens = drawn.tokens[at]
        prompt = np.maximum(drawn.prompt_tokens[at], 0).max(1)
        answer = drawn.answer[at] if votes else np.broadcast_to(np.arange(count), at.shape).copy()
        cost = np.array([[prices.of_generated(int(w), max(0, int(t))) for t in row] for w, row in zip(prompt, tokens)])
        first = np.array([prices.of_prompt(int(w), int(w)) for w in prompt], np.float64)
        later = np.array([prices.of_prompt(int(w), 0) for w in prompt], np.float64)
        score = drawn.score[at]
        scored = bool((~np.isnan(drawn.score)).any())  # of the family: a draw without a score ranks last
        if logits(drawn):  # weights of a vote lie in [0, 1]
            score = 1.0 / (1.0 + np.exp(-np.maximum(score, -700.0)))
        pool = Pool(
            answers=answer,
            correct=drawn.correct[at] > 0.5,
            prompt_cost=first,
            cost=cost.astype(np.float64),
            tokens=tokens,
            text=np.broadcast_to(np.arange(count), at.shape),
            score=score if scored else None,
            score_cost=np.zeros(at.shape) if scored else None,
            score_prompt_cost=np.zeros(len(rows)) if scored else None,
            next_cost=later,
        )
        return Lot(rows, pool, self._probed(drawn, at, pool, prices))

    def _probed(self, drawn: Drawn, at: Ints, pool: Pool, prices: Prices) -> Probed | None:
        linear = not (prices.call or prices.cached or prices.generated_context)
        if not drawn.probe_every or not linear or (pool.tokens < 0).any():
            return None
        begin, end = drawn.probe_start[at], drawn.probe_start[at + 1]
        width = int((end - begin).max(initial=0))
        place = begin[..., None] + np.arange(width)
        inside = place < end[..., None]
        if not len(drawn.probe):
            return None
        probe = np.where(inside, drawn.probe[np.minimum(place, len(drawn.probe) - 1)], -1)
        return Probed(
            answer=pool.answers,
            tokens=pool.tokens,
            probe=probe,
            every=drawn.probe_every,
            price=float(prices.generated),
            prompt_cost=pool.prompt_cost,
            probe_tokens=self.probe_tokens,
        )


def _refuse(strategy: Strategy, source: Source) -> None:
    """An error where the draws of a family cannot tell of a strategy."""
    name, family = name_of(strategy), source.drawn.family
    if name in VOTES and not source.votes:
        raise InputError(f"{show(strategy)} counts answers, and those of {source.role} were not recorded")
    if name in TIMED and not source.timed:
        raise InputError(f"{show(strategy)} waits for the first to end, and tokens of {source.role} are not known")
    if name != "one" and not family.exchangeable:
        raise InputError(
            f"{show(strategy)} needs independent samples; those of {source.role} are of the strategy "
            f"{family.strategy!r}"
        )


def logits(drawn: Drawn) -> bool:
    """Whether a family's scores are to be read as logits: some of them lie outside [0, 1]."""
    known = drawn.score[~np.isnan(drawn.score)]
    return bool(len(known) and (known.min() < 0 or known.max() > 1))


def finest(recorded: Recorded) -> str:
    """The finest unit that all of a pool can be counted in."""
    if any(bool((drawn.tokens < 0).any()) for drawn in recorded.drawn):
        return "calls"
    known = all(drawn.family.active_parameters or drawn.family.parameters for drawn in recorded.drawn)
    return "flops" if known else "tokens"


def _owner(drawn: Drawn) -> Ints:
    """The problem of each draw, [S]."""
    return np.repeat(np.arange(len(drawn.start) - 1), drawn.counts)


def _labelled(drawn: Drawn) -> Drawn:
    """The draws that have a label."""
    kept = ~np.isnan(drawn.correct)
    if kept.all():
        return drawn
    counts = np.bincount(_owner(drawn)[kept], minlength=len(drawn.counts))
    arrays = {name: getattr(drawn, name)[kept] for name in _EACH}
    if drawn.probe_every:
        lengths = np.diff(drawn.probe_start)
        arrays["probe"] = drawn.probe[np.repeat(kept, lengths)]
        arrays["probe_start"] = np.concatenate([[0], np.cumsum(lengths[kept])])
    return replace(drawn, start=np.concatenate([[0], np.cumsum(counts)]), **arrays)


def _pairs(small: Source, large: Source) -> list[tuple[Lot, Lot, Ints]]:
    """The lots of two families, on the problems that they share."""
    out = []
    for one in small.lots:
        for two in large.lots:
            rows = np.intersect1d(one.rows, two.rows)
            if len(rows):
                first = _part(one, rows)
                out.append((first, first if small is large else _part(two, rows), rows))
    return out


def _part(lot: Lot, rows: Ints) -> Lot:
    if len(rows) == len(lot.rows):
        return lot
    at = np.searchsorted(lot.rows, rows)
    return Lot(rows, _taken(lot.pool, at), None if lot.probed is None else _taken(lot.probed, at))


def _taken(of: Any, at: Ints) -> Any:
    """The same arrays for some of the problems."""
    arrays = {f.name: getattr(of, f.name)[at] for f in fields(of) if isinstance(getattr(of, f.name), np.ndarray)}
    fresh: dict[str, Any] = {"_marches": {}} if isinstance(of, Probed) else {}
    return replace(of, **arrays, **fresh)
