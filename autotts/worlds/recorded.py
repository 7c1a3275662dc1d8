"""A recorded pool as a world: draws are the samples that were recorded, in a given ordering, and probes those read off.

Made for replay: `run = world.run(problem, ordering)`, then `replay(strategy.plan(run.root, rng), run.root, run.script,
world.bindings)`. What a pool cannot know (a branch from a partial draw, a step, another temperature) is an error that
says what it has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from autotts.core.cost import ModelCard, Prices
from autotts.core.node import Node, root_node
from autotts.core.world import Binding
from autotts.errors import InputError
from autotts.pools.recorded import Drawn, Floats, Ints, Recorded
from autotts.worlds.context import NOTHING, Context, bare
from autotts.worlds.takes import SCORER, Exhausted, Ordering, Run, Shelf, settings

__all__ = ["SCORER", "Exhausted", "Ordering", "Recording", "Run", "Shelf"]


class Recording:
    """The world.

    Parameters
    ----------
    pool
        The recorded answers.
    unit
        What prices are in.
    roles
        Models that are bound; all by default. Their sizes must be known where the unit needs them.
    probe_tokens
        What a probe generates: that was not recorded.

    Attributes
    ----------
    models, scorers
        Roles that draw, and roles that score: the recorded score is the role "score".
    cards, bindings
        Each role's card and binding.
    """

    def __init__(
        self, pool: Recorded, *, unit: str = "tokens", roles: Sequence[str] | None = None, probe_tokens: int = 0
    ) -> None:
        self.pool = pool
        self.unit = unit
        self.probe_tokens = probe_tokens
        wanted = list(pool.roles) if roles is None else roles
        self._drawn = {role: [i for i, d in enumerate(pool.drawn) if d.family.role == role] for role in wanted}
        for role, numbers in self._drawn.items():
            if not numbers:
                raise InputError(f"{role!r} is not in the pool {pool.dataset}; it has {', '.join(pool.roles)}")
        used = [pool.drawn[i] for numbers in self._drawn.values() for i in numbers]
        self.models = tuple(self._drawn)
        scored = any(bool(np.isfinite(d.score).any()) for d in used)
        self.scorers: tuple[str, ...] = (SCORER,) if scored and SCORER not in self._drawn else ()
        self.cards: dict[str, ModelCard] = {d.family.role: d.family.card for d in reversed(used)}
        prices = {role: card.prices(unit) for role, card in self.cards.items()}
        prices |= dict.fromkeys(self.scorers, Prices(0, 0, 0))  # what a score took was not recorded
        self.bindings: Mapping[str, Binding] = {
            role: Binding(f"pool:{pool.digest}:{role}", role, 1, price) for role, price in prices.items()
        }
        self._logits = frozenset(i for numbers in self._drawn.values() for i in numbers if _beyond(pool.drawn[i].score))
        self._prompt_tokens = _prompt_tokens(pool, used)
        self._numbers = {p.prompt: i for i, p in enumerate(pool.problems)}
        self._roots: dict[int, Node] = {}
        self._shelves: dict[tuple[int, int], Shelf] = {}

    def notes(self, scored: bool = False) -> tuple[str, ...]:
        """What the costs leave out, in words that people should see; `scored`: scores are asked for."""
        out = []
        unknown, prompts = int((self._prompt_tokens < 0).sum()), len(self._prompt_tokens)
        if self.unit != "calls" and unknown and not any("prompt tokens" in note for note in self.pool.notes):
            some = "" if unknown == prompts else f" of {unknown} of {prompts} prompts"
            out.append(f"prompt tokens{some} were not recorded, and are not counted")
        if scored and self.scorers:
            out.append("what a score took was not recorded, and is not counted")
        odd = ", ".join(self.pool.drawn[number].family.role for number in self._logits)
        if scored and odd:
            out.append(f"scores of {odd} lie outside 0 to 1 and are read as logits")
        if self.unit == "flops" and any(card.layers is None for card in self.cards.values()):
            out.append("FLOPs are 2 x active parameters x tokens; attention is not counted, since shapes are not known")
        return tuple(out)

    def root(self, prompt: str, context: Context = NOTHING) -> tuple[Node, int]:
        """The node of a prompt, and the number of its problem; nothing beside it can be heeded."""
        if bare(context, "recorded answers").salt:
            raise InputError("salt: recorded answers are what they are; leave it out")
        problem = self._numbers.get(prompt)
        if problem is None:
            raise InputError(f"the prompt {prompt[:60]!r} is not in the pool {self.pool.dataset}")
        return self.node(problem), problem

    def node(self, problem: int) -> Node:
        """The root of a problem's plans; it has no tokens where they were not recorded."""
        root = self._roots.get(problem)
        if root is None:
            count = max(0, int(self._prompt_tokens[problem]))
            root = self._roots[problem] = root_node(self.pool.problems[problem].prompt, count)
        return root

    def run(self, problem: int, ordering: Ordering | None = None) -> Run:
        """A run of a plan on one problem; samples are taken in the given ordering, or as they were recorded."""
        return Run(self, problem, ordering)

    def shelf(self, number: int, problem: int) -> Shelf:
        """The samples of a family (by its place in the pool) and a problem."""
        found = self._shelves.get((number, problem))
        if found is None:
            found = Shelf(self.pool, number, problem, self.node(problem).tokens)
            self._shelves[number, problem] = found
        return found

    def forget(self, problem: int) -> None:
        """Drop the replies that were made for a problem."""
        for numbers in self._drawn.values():
            for number in numbers:
                self._shelves.pop((number, problem), None)

    def score(self, shelf: Shelf, sample: int) -> float:
        """The recorded score of a sample, in [0, 1]; NaN where it has none."""
        value = float(shelf.drawn.score[shelf.first + sample])
        if shelf.number not in self._logits or math.isnan(value):
            return value
        return 1.0 / (1.0 + math.exp(-value)) if value > -700 else 0.0

    def family(self, role: str, temperature: float, top_p: float) -> int:
        """The place in the pool of the family that a spec draws from; what was not recorded fits any value."""
        if role not in self._drawn:
            raise InputError(f"{role!r} is not in the pool {self.pool.dataset}; it has {', '.join(self.models)}")
        have = [(i, self.pool.drawn[i].family) for i in self._drawn[role]]
        fits = [
            (f.temperature is not None, f.top_p is not None, f.exchangeable, -i)
            for i, f in have
            if _fits(f.temperature, temperature) and _fits(f.top_p, top_p)
        ]
        if not fits:
            recorded = "; ".join(settings(f.temperature, f.top_p) for _, f in have)
            raise InputError(
                f"{role} at temperature {temperature:g} and top_p {top_p:g} was not recorded, so the pool "
                f"{self.pool.dataset} cannot know it; it has {role} at {recorded}: write that in the arm"
            )
        return -max(fits)[3]


def _beyond(score: Floats) -> bool:
    """Whether some scores are none in [0, 1], as weights of a vote are."""
    known = score[np.isfinite(score)]
    return bool(len(known) and (known.min() < 0 or known.max() > 1))


def _prompt_tokens(pool: Recorded, used: Sequence[Drawn]) -> Ints:
    """Tokens of each prompt, [P]: the most that one of the models counted, -1 where none did."""
    out = np.full(len(pool.problems), -1, np.int64)
    for drawn in used:
        np.maximum.at(out, np.repeat(np.arange(len(out)), drawn.counts), drawn.prompt_tokens)
    return out


def _fits(recorded: float | None, asked: float) -> bool:
    return recorded is None or math.isclose(recorded, asked, abs_tol=1e-9)
