"""RouteLLM's figures (2406.18665): what a router between two models gains as more prompts go to the stronger one.

A router gives each prompt a score; those with the highest scores go to the strong model. PGR is the share of the gap
between the two models that is recovered, over the share of prompts that the strong one answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Routed:
    """A router at every threshold: `share` of prompts for the strong model, from 0 to 1, and `pgr` there; both [T]."""

    share: Floats
    pgr: Floats

    @property
    def apgr(self) -> float:
        """The area under PGR by trapezoids; 0.5 for a random router."""
        return float(np.diff(self.share) @ (self.pgr[1:] + self.pgr[:-1]) / 2)

    def cpt(self, pgr: float) -> float:
        """The least share of prompts for the strong model at which `pgr`, above 0 and up to 1, is reached."""
        if not 0 < pgr <= 1:
            raise ValueError(f"expected a share of the gap above 0 and up to 1, found {pgr}")
        at = int(np.argmax(self.pgr >= pgr - 1e-12))
        low, high = self.pgr[at - 1], self.pgr[at]
        part = (pgr - low) / (high - low)
        return float(self.share[at - 1] + part * (self.share[at] - self.share[at - 1]))


def routed(weak: Floats, strong: Floats, score: Floats) -> Routed:
    """A router's figures on prompts, [P] each: the two models' chances of a right answer, and the router's scores.

    Every threshold is used, not only ten as by RouteLLM itself. Prompts with equal scores are sent in random order,
    which gives the straight line between the thresholds beside them.

    Raises
    ------
    ValueError
        The strong model is not better, so that there is no gap to recover.
    """
    gain = np.asarray(strong, np.float64) - np.asarray(weak, np.float64)
    gap = float(gain.sum())
    if gap <= 0:
        raise ValueError("expected a strong model that is right more often than the weak one, found none")
    order = np.argsort(-np.asarray(score, np.float64), kind="stable")
    ranked = np.asarray(score)[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    share = np.concatenate(([0.0], (ends + 1) / len(ranked)))
    pgr = np.concatenate(([0.0], np.cumsum(gain[order])[ends] / gap))
    pgr[-1] = 1.0  # whatever the order of the sum
    return Routed(share, pgr)
