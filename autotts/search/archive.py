"""What a study has tried, as its proposers see it, and the one protocol that all of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from autotts.predict.arms import ArmModel
from autotts.search.runs import Family
from autotts.search.space import Space

State: TypeAlias = Literal["complete", "pruned", "skipped", "refused"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One arm as it was tried at one level.

    Parameters
    ----------
    arm
        As arms are written; of a refused proposal the text as it was proposed, clipped.
    kind
        Who brought it: "designed", "neighbour", "free" (from draws already made), "audit", "requeued", or the name of
        its proposer.
    state
        "complete" (measured on all prompts of its round), "pruned" (stopped in the race), "skipped" (not begun, for a
        prediction), "refused" (not a valid arm, or over the cap).
    value, cost
        Mean accuracy and mean cost a prompt (parts) over the prompts that it took; None where it took none. Zero
        scores are kept.
    prompts
        How many it took.
    believed
        The accuracy, shrunk to what arms like it gave; None where nothing was learned.
    trace
        What happened, in words: the bound that stopped it, why it was skipped or refused, what its answers were.
    """

    arm: str
    kind: str
    round: int
    state: State
    value: float | None = None
    cost: float | None = None
    prompts: int = 0
    trace: str = ""
    believed: float | None = None

    @property
    def height(self) -> float:
        """The accuracy to compare with: as believed, or as seen where nothing was learned."""
        return self.believed if self.believed is not None else self.value or 0.0


@dataclass(frozen=True, slots=True)
class Archive:
    """A level of a study at the beginning of a round.

    Parameters
    ----------
    level, levels
        The name of this level, and of all, from the easiest.
    space
        What may be proposed: strategies, models, scorers, each knob on its grid.
    work
        What one token of each model costs, relative to the others (its active parameters).
    trials
        All trials of this level in order, free ones and zero scores too.
    others
        Those of the other levels.
    seed, round
        The same archive gives the same proposals.
    unit, budget, cap
        Of the study; amounts in parts a prompt, None where none was given.
    prompts
        Prompts of the level that a trial takes now.
    drawn
        Whole draws a prompt that are there already, by family: arms that only choose among them cost nothing new.
    model
        What has been learned about arms from all levels so far; None at first, or where nothing is to be predicted.
    """

    level: str
    levels: tuple[str, ...]
    space: Space
    work: Mapping[str, float]
    trials: tuple[Trial, ...] = ()
    others: Mapping[str, tuple[Trial, ...]] = field(default_factory=dict)
    seed: int = 0
    round: int = 0
    unit: str = "flops"
    budget: float | None = None
    cap: float | None = None
    prompts: int = 0
    drawn: Mapping[Family, int] = field(default_factory=dict)
    model: ArmModel | None = None


class Proposer(Protocol):
    """Who decides what is tried next; anything that it needs beside the archive it was made with."""

    @property
    def name(self) -> str:
        """As users write it: tpe, random, agent, ..."""
        ...

    def propose(self, archive: Archive, k: int) -> Sequence[str]:
        """Up to k arms, as arms are written; what is wrong, known or over the cap is refused by the one validator.

        It is called in a thread of its own and may take its time; an error of a `ProposerError` kind lets the study
        go on with the other proposers.
        """
        ...
