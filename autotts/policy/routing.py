"""Which arm a prompt gets: its bin, the frontier's settings for a budget, and a repeatable draw among arms.

Nothing here asks a model, a clock or a random source, so what is served is what was evaluated.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autotts.core.cost import show
from autotts.core.strategy import Strategy
from autotts.errors import BudgetError, InputError

if TYPE_CHECKING:
    from autotts.policy.schema import Policy


@dataclass(frozen=True, slots=True)
class Routed:
    """The arm that a prompt gets, and why.

    `id` is the arm's key in the policy, `arm` its text; `shares` are the arms (by id) that were drawn among.
    `value` and `cost` are what this arm gave on search prompts of the bin, where the policy tells.
    """

    id: str
    arm: str
    strategy: Strategy
    bin: str
    probabilities: Mapping[str, float]
    shares: tuple[tuple[str, float], ...]
    value: float | None
    cost: float | None


def route(policy: Policy, prompt: str, budget: float | None, token: str) -> Routed:
    """See `Policy.route`."""
    name, probabilities = bin_of(policy, prompt)
    among = shares(policy, name, budget)
    chosen = _pick(among, _uniform(policy.digest, prompt, token))
    arm = policy.arms[chosen]
    expected = arm.expected.get(name)
    return Routed(
        id=chosen,
        arm=arm.arm,
        strategy=policy.strategies[chosen],
        bin=name,
        probabilities=probabilities,
        shares=among,
        value=None if expected is None else expected.value,
        cost=None if expected is None else expected.cost,
    )


def bin_of(policy: Policy, prompt: str) -> tuple[str, dict[str, float]]:
    """The most probable bin (the first of equals), and the probability of each."""
    bins, model = policy.difficulty.bins, policy.difficulty.model
    if model is None:
        return bins[0], {bins[0]: 1.0}
    row = model.table([prompt])[0].tolist()
    return bins[row.index(max(row))], dict(zip(bins, row, strict=True))


def shares(policy: Policy, name: str, budget: float | None) -> tuple[tuple[str, float], ...]:
    """See `Policy.shares`."""
    if name not in policy.difficulty.bins:
        raise InputError(f"unknown bin {name!r}; expected one of {', '.join(policy.difficulty.bins)}")
    settings = policy.frontier
    if budget is None:
        return tuple(settings[policy.default].route[name])
    costs = [setting.expected.cost for setting in settings]
    at = bisect_right(costs, budget) - 1
    if at < 0 or math.isnan(budget):
        least = settings[0]
        arms = sorted({policy.arms[arm].arm for mixed in least.route.values() for arm, _ in mixed})
        raise BudgetError(
            f"budget {show(budget, policy.unit)} a prompt is below the cheapest arm of this policy: {', '.join(arms)} "
            f"costs {show(least.expected.cost, policy.unit)} a prompt on average; give at least that"
        )
    low = settings[at].route[name]
    if at + 1 == len(settings) or budget == costs[at]:
        return tuple(low)
    # Two neighbours of the frontier, so mixed that the mean cost is the budget.
    part = (budget - costs[at]) / (costs[at + 1] - costs[at])
    mixed: dict[str, float] = {}
    for side, weight in ((low, 1.0 - part), (settings[at + 1].route[name], part)):
        for arm, share in side:
            mixed[arm] = mixed.get(arm, 0.0) + weight * share
    return tuple(mixed.items())


def _pick(among: tuple[tuple[str, float], ...], u: float) -> str:
    """The arm in whose interval u falls, with arms laid side by side on [0, 1)."""
    reached = 0.0
    for arm, share in among:
        reached += share
        if u < reached:
            return arm
    return among[-1][0]


def _uniform(digest: str, prompt: str, token: str) -> float:
    """A number in [0, 1) that depends on all three and on nothing else."""
    # A prompt may hold a lone surrogate; its length keeps prompt and token apart.
    body = prompt.encode("utf-8", "surrogatepass")
    text = b"%s/%d/%s%s" % (digest.encode(), len(body), body, token.encode("utf-8", "surrogatepass"))
    return (int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 11) / 2**53
