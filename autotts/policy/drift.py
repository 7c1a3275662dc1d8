"""Whether the prompts that are served still look like those that a policy was made from.

The measure is the two-sample Kolmogorov-Smirnov distance at the deciles of each feature: the largest difference of the
shares of prompts up to a value. What chance allows is, with n prompts of the study and m served ones,

    STRICT * sqrt((n + m) / (n m)),    and never less than LEAST:

by Smirnov's bound 2 exp(-2 STRICT^2), and with so many features and looks, 10,000 prompts like those of the study raise
an alarm in less than one of a hundred servers. A difference below LEAST is not worth an alarm, however sure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from autotts.policy import seen as spread
from autotts.policy.seen import Floats, Seen
from autotts.predict.features import FEATURES_VERSION, features

STRICT: Final = 2.5
LEAST: Final = 0.1
BLOCK: Final = 100  # prompts, after which it is looked whether they have parted
BLOCKS: Final = 10  # of the window
FIRST: Final = 2  # blocks, before which nothing is said
EVERY: Final = 4  # prompts, of which one is looked at once the window is full
AGAIN: Final = 0.8  # score below which what has parted agrees again
TOLD: Final = 3  # features that are named


@dataclass(frozen=True, slots=True)
class Drift:
    """How served prompts compare with those of the study.

    `scores` are distances by feature, in multiples of what chance allows: prompts have `parted` when one is above 1.
    `worst` names such features, the farthest first. `prompts` is how many were compared, and `known` whether any could
    be. `words` says it to people.
    """

    known: bool
    parted: bool
    prompts: int
    scores: Mapping[str, float]
    worst: tuple[str, ...]
    words: str


class Watch:
    """Compares the last prompts with those of a study: 1,000 of them, later every fourth.

    Parameters
    ----------
    known
        What the policy keeps of the study's prompts; None where it keeps nothing.
    """

    def __init__(self, known: Seen | None) -> None:
        self._names = [] if known is None else known.features
        why = _unknown(known)
        words = why or "too few prompts were served to compare them with those of the study"
        self.drift = Drift(False, False, 0, {}, (), words)
        self._usable = not why
        if known is None or why:
            return
        self._n = known.n
        self._bins = [name.removeprefix(spread.BIN) for name in self._names if name.startswith(spread.BIN)]
        width = max(map(len, known.edges))
        self._edges = np.array([[*row, *[np.inf] * (width - len(row))] for row in known.edges])
        self._upto = np.array([[0.0, *row, *[1.0] * (width - len(row))] for row in known.upto])
        self._rows: list[list[float]] = []
        self._counts: deque[Floats] = deque(maxlen=BLOCKS)
        self._skip = 0

    def add(self, prompt: str, probabilities: Mapping[str, float] | None = None) -> Drift | None:
        """One more prompt, with the chance of each bin if the policy has several.

        Returns
        -------
        Drift or None
            Where prompts have parted with it, or agree again; `drift` has it at any time.
        """
        if not self._usable:
            return None
        if len(self._counts) == BLOCKS:
            self._skip = (self._skip + 1) % EVERY
            if self._skip:
                return None
        chances = probabilities or {}
        self._rows.append([*features(prompt), *(chances.get(name, 0.0) for name in self._bins)])
        if len(self._rows) < BLOCK:
            return None
        self._counts.append(self._counted())
        return self._compared() if len(self._counts) >= FIRST else None

    # ---------------------------------------------------------------- inside

    def _counted(self) -> Floats:
        """Prompts of the block under the least value and up to each edge, [F, 1 + E]."""
        values = np.array(self._rows)
        self._rows = []
        low = spread.under(values, self._edges[:, 0]).sum(axis=0)
        upto = spread.below(values[:, :, None], self._edges[None]).sum(axis=0)
        return np.hstack([low[:, None], upto]).astype(float)

    def _compared(self) -> Drift | None:
        m = BLOCK * len(self._counts)
        shares = sum(self._counts, np.zeros_like(self._upto)) / m
        gaps = shares - self._upto
        distance = np.abs(gaps).max(axis=1)
        allowed = max(LEAST, STRICT * np.sqrt((self._n + m) / (self._n * m)))
        scores = distance / allowed
        before = self.drift.parted
        parted = bool(scores.max() > (AGAIN if before else 1.0))
        order = np.argsort(-scores, kind="stable")
        worst = [int(j) for j in order if scores[j] > (AGAIN if before else 1.0)][:TOLD]
        words = "served prompts look like those of the study"
        if parted:
            told = "; ".join(self._told(j, shares[j], gaps[j]) for j in worst)
            words = f"served prompts look different from those that the policy was made from: {told}"
        self.drift = Drift(
            known=True,
            parted=parted,
            prompts=m,
            scores=dict(zip(self._names, scores.tolist(), strict=True)),
            worst=tuple(self._names[j] for j in worst),
            words=words,
        )
        return self.drift if parted != before else None

    def _told(self, j: int, shares: Floats, gaps: Floats) -> str:
        """Where a feature differs most."""
        at = int(np.abs(gaps).argmax())
        edge, name, here, there = self._edges[j, max(at - 1, 0)], self._names[j], shares[at], self._upto[j, at]
        side = "below" if at == 0 else "up to"
        if gaps[at] < 0:  # more of them lie above
            side, here, there = "above", 1 - here, 1 - there
        return f"{name} is {side} {edge:.3g} in {here:.0%} of them, {there:.0%} in the study"


def _unknown(known: Seen | None) -> str:
    """Why served prompts cannot be compared with those of the study, if they cannot."""
    if known is None:
        return "this policy does not say what the prompts of its study looked like: make it again to have them compared"
    if known.n < spread.FEWEST or not known.features:
        return f"this policy was made from {known.prompts} prompts: too few to compare served ones with"
    bins = [name.removeprefix(spread.BIN) for name in known.features if name.startswith(spread.BIN)]
    if known.version != FEATURES_VERSION or known.features != spread.columns(bins):
        return f"this policy's prompts are described by features of version {known.version}, which are not made here"
    return ""
