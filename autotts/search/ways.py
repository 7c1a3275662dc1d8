"""How prompts are told apart before the first draw: not at all, by bins, or one by one, if it pays beyond noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from autotts.search import crossfit, perprompt
from autotts.search.board import CAUTION, Board, Line
from autotts.search.crossfit import Fold, Gain, alike, by_prompt, curve, gain, inner, together, worth
from autotts.search.perprompt import Router

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

BINS: Final = 3
SURE: Final = 1.96  # standard errors, beyond which no other way is tried

Kind: TypeAlias = Literal["none", "levels", "performance"]  # as in a policy's difficulty
NAMES: Final[Mapping[Kind, str]] = {"levels": "bins predicted from the prompt", "performance": "routing by prompt"}


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """What was decided on some problems: the kind, what each kind that was tried gains over none, and what was learned.

    `router` is there where enough problems were, also if it tells nothing.
    """

    kind: Kind
    gains: Mapping[Kind, Gain]
    router: Router | None

    def words(self) -> str:
        """Why, for people."""
        if self.router is None:
            return f"prompts are not told apart: fewer than {crossfit.SCANT * BINS} are too few to learn from"
        known = self.router.performance
        if not self.router.able:
            return f"prompts are not told apart: {known.why}"
        tried = "; ".join(f"{NAMES[kind]}: {_points(found)}" for kind, found in self.gains.items())
        taken = "prompts are not told apart" if self.kind == "none" else f"{NAMES[self.kind]} is taken"
        return f"{taken}; gains over treating all alike, on prompts not learned from: {tried}"

    def figures(self) -> dict[str, Any]:
        """The same as data: the gains, and the predictor's figures out of fold beside constant and length."""
        gains = {kind: {"value": found.value, "error": found.error} for kind, found in self.gains.items()}
        out: dict[str, Any] = {"why": self.words(), "gains": gains}
        if self.router is not None:
            known = self.router.performance
            out["predictor"] = {
                "kind": known.kind,
                "why": known.why,
                "prompts": known.n,
                "arms": len(known.arms),
                "scores": [score.model_dump() for score in known.scores],
            }
        return out


def decide(board: Board, arms: Bools, rows: Ints, seed: int) -> Way:
    """Choose the way on some problems: of those that gain over none beyond noise, the one that gains most."""
    if len(rows) < crossfit.SCANT * BINS:
        return Way("none", {}, None)
    router = perprompt.learn(board, arms, rows, seed)
    # Bins are predicted from the same prompts, and keep less of what these tell: they are a second attempt.
    if not router.able:
        return Way("none", {}, router)
    cuts = inner(len(rows), seed)
    found = gain(perprompt.rehearsed(board, router, cuts), alike(board.part(rows), arms, cuts))
    gains: dict[Kind, Gain] = {"performance": found}
    binned = None if found.value > SURE * found.error else worth(board, arms, rows, BINS, seed)
    if binned is not None:
        gains["levels"] = binned
    able = [kind for kind, found in gains.items() if found.beyond_noise]
    return Way(max(able, key=lambda kind: gains[kind].value, default="none"), gains, router)


def line(board: Board, arms: Bools, way: Way, fold: Fold, seed: int) -> Line:
    """Choose on some problems in the way that was decided on them, and use it on others."""
    if way.kind == "performance" and way.router is not None:
        return perprompt.line(board, way.router, fold[1])
    binning = by_prompt(BINS, seed) if way.kind == "levels" else together
    return curve(board, [arms], [fold], binning, caution=CAUTION).lines[0]


def _points(found: Gain) -> str:
    return f"{100 * found.value:+.1f} +- {100 * found.error:.1f} points"
