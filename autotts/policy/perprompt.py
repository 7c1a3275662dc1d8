"""Routing prompt by prompt: what a policy's predictor expects of each arm, and the arm that is worth most.

A setting of such a policy has a multiplier m, the value of one part of cost: a prompt gets argmax value - m * cost.
Search asks the same of a whole table of prompts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from autotts.policy.words import listed
from autotts.predict.performance import EMBEDDING, Mean, Performance

if TYPE_CHECKING:
    from autotts.policy.schema import Policy

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

REQUIRES: Final = "performance/1"  # what the `requires` of such a policy names
BIN: Final = "all"  # the bin of every prompt
BLIND: Final = "no embedding"  # why a prompt was not looked at
UNLIKE: Final = 0.05  # share of prompts that look different: among those learned on it is 0.01 to 0.02


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is expected of each arm (by id) on one prompt."""

    arms: Mapping[str, Mean]

    def pick(self, multiplier: float) -> str:
        """The arm with the most value - multiplier * cost; of equals the cheapest."""
        best, least = "", (math.inf, math.inf)
        for arm, (value, cost) in self.arms.items():  # a third of the time of `min` with a key
            score = multiplier * cost - value
            if score < least[0] or (score == least[0] and cost < least[1]) or not best:
                best, least = arm, (score, cost)
        return best


def best(value: Floats, cost: Floats, multiplier: float) -> Ints:
    """The same for many prompts: the place of each one's arm, [N] from [N, A]."""
    score = multiplier * cost - value
    equal = score == score.min(axis=1, keepdims=True)
    return np.asarray(np.where(equal, cost, np.inf).argmin(axis=1))


def outlook(performance: Performance, prompt: str, embedding: Floats | None) -> Outlook | None:
    """What is expected on a prompt; None where the predictor needs an embedding and has none."""
    blind = embedding is None or not np.isfinite(embedding).all()
    if blind and EMBEDDING in performance.groups:
        return None
    return Outlook(performance.means(prompt, embedding))


def unlike(policy: Policy, prompts: Sequence[str]) -> Iterator[str]:
    """A note where prompts look different from those that the policy's predictor learned on; one odd prompt is none."""
    known = policy.difficulty.performance
    share = 0.0 if known is None else known.outside(prompts)
    if share > UNLIKE and round(share * len(prompts)) > 1:
        yield (
            f"{share:.0%} of these prompts look different from those that the policy learned on (about 1 % would): "
            "what it predicts of them does not hold, so its routes and its mean budget may be wrong here. Measure a "
            "single arm on the same prompts beside it, or make a policy from prompts like these"
        )


def problems(policy: Policy) -> Iterator[str]:
    """What keeps a policy from being routed prompt by prompt, in words."""
    difficulty, known = policy.difficulty, policy.difficulty.performance
    if REQUIRES not in policy.requires:
        yield f"requires: expected {REQUIRES!r}, which kind performance needs, found {policy.requires}"
    if difficulty.bins != [BIN] or difficulty.model is not None:
        yield f"difficulty: kind performance expects the one bin {BIN!r} and no model, found {listed(difficulty.bins)}"
    if known is None:
        yield "difficulty.performance: kind performance expects a predictor, found none"
        return
    place = "difficulty.performance"
    if known.kind == "constant":
        yield f"{place}.kind: expected one that tells prompts apart, found 'constant'; kind none is for that"
    if difficulty.features and difficulty.features != known.groups:
        yield "difficulty.features: expected the groups of the predictor, found others"
    for arm, cost in zip(known.arms, known.cost_intercepts):
        if arm not in policy.arms:
            yield f"{place}.arms: unknown arm {arm!r}; expected some of {listed(policy.arms)}"
        if cost is None:
            yield f"{place}.cost_intercepts: expected the cost of each arm, found none of {arm!r}"
    for index, setting in enumerate(policy.frontier):
        if setting.multiplier is None:
            yield f"frontier[{index}].multiplier: kind performance expects one, found none"
        for arm, _ in setting.route.get(BIN, []):
            if arm not in known.arms:
                known_arms = listed(known.arms)
                yield f"frontier[{index}].route.{BIN}: the predictor knows nothing of {arm!r}; expected {known_arms}"
    multipliers = [math.inf if s.multiplier is None else s.multiplier for s in policy.frontier]
    for index, (low, high) in enumerate(pairwise(multipliers), 1):
        if high > low:
            yield f"frontier[{index}].multiplier: expected at most the {low:g} before it, found {high:g}"
