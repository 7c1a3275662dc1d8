"""Which arm a prompt gets: how it looks, the settings of the frontier for a budget, and a repeatable draw among arms.

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
from autotts.policy.perprompt import BLIND, Floats, Outlook, outlook

if TYPE_CHECKING:
    from autotts.policy.schema import Policy, Setting


@dataclass(frozen=True, slots=True)
class Routed:
    """The arm that a prompt gets, and why.

    `id` is the arm's key in the policy, `arm` its text; `shares` are the arms (by id) that were drawn among, `costs`
    what each of them is expected to cost. `value` and `cost` are what is expected of this arm, where the policy tells:
    on this prompt if it routes prompt by prompt, else as on search prompts of the bin. `fallback` says why a prompt
    was routed without being looked at, or is empty.
    """

    id: str
    arm: str
    strategy: Strategy
    bin: str
    probabilities: Mapping[str, float]
    shares: tuple[tuple[str, float], ...]
    costs: tuple[float | None, ...]
    value: float | None
    cost: float | None
    fallback: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a policy makes of a prompt, before any budget: its bin, or what is expected of each arm."""

    prompt: str
    bin: str
    probabilities: Mapping[str, float]
    outlook: Outlook | None
    fallback: str


def look(policy: Policy, prompt: str, embedding: Floats | None = None) -> Look:
    """Look at a prompt; all that takes time is in here."""
    name, probabilities = bin_of(policy, prompt)
    known = policy.difficulty.performance
    found = None if known is None else outlook(known, prompt, embedding)
    return Look(prompt, name, probabilities, found, BLIND if known is not None and found is None else "")


def route(policy: Policy, seen: Look, budget: float | None, token: str) -> Routed:
    """See `Policy.route`."""
    drawn = among(policy, seen, budget)
    chosen = drawn[0][0] if len(drawn) == 1 else _pick(drawn, _uniform(policy.digest, seen.prompt, token))
    value, cost = expected(policy, seen, chosen)
    return Routed(
        id=chosen,
        arm=policy.arms[chosen].arm,
        strategy=policy.strategies[chosen],
        bin=seen.bin,
        probabilities=seen.probabilities,
        shares=drawn,
        costs=tuple(expected(policy, seen, arm)[1] for arm, _ in drawn),
        value=value,
        cost=cost,
        fallback=seen.fallback,
    )


def expected(policy: Policy, seen: Look, arm: str) -> tuple[float | None, float | None]:
    """Value and cost of an arm on a prompt, where the policy tells."""
    if seen.outlook is not None:
        forecast = seen.outlook.arms[arm]
        return forecast.value, forecast.cost
    found = policy.arms[arm].expected.get(seen.bin)
    return (None, None) if found is None else (found.value, found.cost)


def among(policy: Policy, seen: Look, budget: float | None) -> tuple[tuple[str, float], ...]:
    """The arms that a prompt's is drawn among at a mean budget, with their shares."""
    if seen.outlook is None:
        return shares(policy, seen.bin, budget)
    picked: dict[str, float] = {}
    for setting, weight in settings_at(policy, budget):
        arm = seen.outlook.pick(setting.multiplier or 0.0)
        picked[arm] = picked.get(arm, 0.0) + weight
    return tuple(picked.items())


def reached(policy: Policy, budget: float | None) -> list[str]:
    """The arms that some prompt may be routed to at a mean budget."""
    named = {arm for name in policy.difficulty.bins for arm, _ in shares(policy, name, budget)}
    known = policy.difficulty.performance
    return sorted(named if known is None else named.union(known.arms))


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
    mixed: dict[str, float] = {}
    for setting, weight in settings_at(policy, budget):
        for arm, share in setting.route[name]:
            mixed[arm] = mixed.get(arm, 0.0) + weight * share
    return tuple(mixed.items())


def settings_at(policy: Policy, budget: float | None) -> list[tuple[Setting, float]]:
    """The setting for a mean budget, or two neighbours of the frontier so mixed that the mean cost is the budget."""
    settings = policy.frontier
    if budget is None:
        return [(settings[policy.default], 1.0)]
    costs = [setting.expected.cost for setting in settings]
    at = bisect_right(costs, budget) - 1
    if at < 0 or math.isnan(budget):
        least = settings[0]
        arms = sorted({policy.arms[arm].arm for mixed in least.route.values() for arm, _ in mixed})
        raise BudgetError(
            f"budget {show(budget, policy.unit)} a prompt is below the cheapest arm of this policy: {', '.join(arms)} "
            f"costs {show(least.expected.cost, policy.unit)} a prompt on average; give at least that"
        )
    if at + 1 == len(settings) or budget == costs[at]:
        return [(settings[at], 1.0)]
    part = (budget - costs[at]) / (costs[at + 1] - costs[at])
    return [(settings[at], 1.0 - part), (settings[at + 1], part)]


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
