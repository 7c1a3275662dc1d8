"""Recorded answers as arrays: the problems, and for each family of draws what each draw was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from autotts.core.cost import ModelCard
from autotts.core.task import Problem

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

SAMPLE = "sample"  # the only recorded strategy whose draws are independent and exchangeable


@dataclass(frozen=True, slots=True)
class Family:
    """Draws that were made alike: one model, strategy, temperature, top-p, template and effort.

    `role` is the model's name in arms: the model itself, or `model@effort` and the like where one model name was
    recorded in several ways that no knob tells apart. What was not recorded is None.
    """

    role: str
    model: str
    strategy: str = SAMPLE
    temperature: float | None = None
    top_p: float | None = None
    template: str | None = None
    effort: str | None = None
    parameters: int | None = None
    active_parameters: int | None = None

    @property
    def exchangeable(self) -> bool:
        """Whether its draws are independent samples, so that votes and orderings of them mean something."""
        return self.strategy == SAMPLE

    @property
    def card(self) -> ModelCard:
        """What a token of it costs, as far as that is recorded."""
        return ModelCard(self.role, "recorded", self.parameters, self.active_parameters)


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """The draws of one family, flat: those of problem p are `start[p]:start[p + 1]`, by sample index.

    Attributes
    ----------
    start
        [P + 1]; a problem without draws of this family has start[p] == start[p + 1].
    answer
        [S]: index into `Recorded.answers[p]`; -1 where nothing can be read.
    correct
        [S]: 1 right, 0 wrong, NaN where no label was recorded.
    tokens, prompt_tokens
        [S]: generated and prompt tokens; -1 where they were not recorded.
    score
        [S]: of an outcome verifier; NaN where there is none.
    cut
        [S]: whether the draw was ended by a limit (finish "length").
    probe, probe_start, probe_every
        The answers read off each draw after every `probe_every` tokens, flat: those of draw i are
        `probe[probe_start[i]:probe_start[i + 1]]`, as `answer`; no probes at all: probe_every 0, empty arrays.
    """

    family: Family
    start: Ints
    answer: Ints
    correct: Floats
    tokens: Ints
    prompt_tokens: Ints
    score: Floats
    cut: Bools
    probe: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    probe_start: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    probe_every: int = 0

    @property
    def counts(self) -> Ints:
        """Draws of each problem, [P]."""
        return np.diff(self.start)


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """A whole pool.

    Attributes
    ----------
    problems
        In order of first sight. A problem's `answer` is "" where no gold answer was recorded.
    answers
        Of each problem, the different answers that were seen (samples and probes), as text.
    drawn
        The draws by family, in order of first sight.
    notes
        What was left out or is not known, in words that people should see.
    digest
        A hash of what was read, for identities of studies and policies.
    """

    dataset: str
    problems: tuple[Problem, ...]
    answers: tuple[tuple[str, ...], ...]
    drawn: tuple[Drawn, ...]
    notes: tuple[str, ...] = ()
    digest: str = ""

    @property
    def roles(self) -> Mapping[str, tuple[Drawn, ...]]:
        """The draws by role, in order of first sight."""
        out: dict[str, tuple[Drawn, ...]] = {}
        for drawn in self.drawn:
            out[drawn.family.role] = (*out.get(drawn.family.role, ()), drawn)
        return out
