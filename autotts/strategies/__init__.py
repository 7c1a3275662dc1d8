"""Strategies: one algorithm in each file, pure, as plans over handles. This is the whole list."""

from __future__ import annotations

from autotts.core.strategy import Strategy
from autotts.strategies.adaptive import Adaptive
from autotts.strategies.beam import Beam
from autotts.strategies.best_of_n import BestOfN
from autotts.strategies.cascade import Cascade
from autotts.strategies.cut import Cut
from autotts.strategies.dvts import Dvts
from autotts.strategies.esc import Esc
from autotts.strategies.first_finish import FirstFinish
from autotts.strategies.one import One
from autotts.strategies.staged import Staged
from autotts.strategies.vote import Vote
from autotts.strategies.weighted_vote import WeightedVote

STRATEGIES: dict[str, type[Strategy]] = {
    "one": One,
    "vote": Vote,
    "weighted_vote": WeightedVote,
    "best_of_n": BestOfN,
    "first_finish": FirstFinish,
    "adaptive": Adaptive,
    "beam": Beam,
    "dvts": Dvts,
    "esc": Esc,
    "cascade": Cascade,
    "cut": Cut,
    "staged": Staged,
}

# What a study of live draws tries where its recipe names none; a change of this list changes what every recipe makes.
STUDIED: tuple[str, ...] = (
    "one",
    "vote",
    "weighted_vote",
    "best_of_n",
    "first_finish",
    "adaptive",
    "beam",
    "dvts",
)

# These only choose among whole, independent draws of the prompt, so a pool of draws answers all their settings.
POOLED: frozenset[str] = frozenset({"one", "vote", "weighted_vote", "best_of_n", "first_finish", "adaptive", "esc"})
