"""Microseconds to route one prompt of 300 characters: `python -m tests.benchmarks.routing_speed [repeats]`.

Policies of every kind are made up: all prompts alike, three levels, and twelve arms with a predictor of words,
structure and numbers, once linear and once with boosted trees beside. Times are those of the thread's own work, so
that other programs on the machine are not counted. The last column is the ratio to a plain lookup (the prompt parsed
from JSON and its arm taken from a dictionary), which a slow or busy machine changes less than the microseconds. Each
part is timed alone, with all that it touches in the nearest cache: in turn, as for a prompt, parts take up to 1.7 times
as long, so that the whole is more than their sum.
"""

import json
import sys
import timeit
from time import thread_time

import numpy as np

from autotts.policy import routing
from autotts.policy.perprompt import best
from autotts.policy.schema import Policy
from autotts.predict import groups
from autotts.predict.features import features
from autotts.predict.learning import fit
from autotts.predict.ngrams import ngrams
from autotts.predict.questions import question
from tests.policy.policies import alike_data, each_data, policy_data

ARMS = [f"a{i}" for i in range(12)]
MULTIPLIERS = (1.0, 0.004, 0.0015, 0.0007, 0.0)
ASKED = (
    "Tom keeps 16 hens that lay eggs each day. He eats three for breakfast every morning and bakes a cake for his "
    "friends every week with four of them. He sells what is left at the market for $2.50 per egg. How much money in "
    "dollars does he make every day at the market? Answer with one number, explained."
)
ONCE = 500  # calls that are timed together
GOAL = 200.0  # microseconds, features included


def asked(count):
    """Prompts in which the word for what is counted tells how much longer thought helps; no two are alike."""
    rng = np.random.default_rng(0)
    things = ("beads", "boxes", "cakes", "drums", "forks", "lamps", "rings")
    size = rng.integers(1, 8, count)
    names = ["".join(rng.choice(list("aeioubdklmnrst"), 6)) for _ in range(count)]
    return size, [f"Here {n} has {rng.integers(9)} {things[s - 1]} to sell. Left?" for n, s in zip(names, size)]


def made():
    """A policy that routes prompt by prompt, by n-grams as well."""
    size, prompts = asked(400)
    rng, price = np.random.default_rng(1), 10.0 * 1.5 ** np.arange(12)
    chance = 1 / (1 + np.exp(np.outer(size, np.linspace(1.2, 0.3, 12)) - 3.5))
    cost = np.outer(np.exp(0.1 * size), price)
    learned = fit(prompts, ARMS, rng.binomial(8, chance) / 8, cost, seed=0, kinds=("lowrank",))
    table = learned.table(prompts)
    frontier = []
    for multiplier in MULTIPLIERS:
        arm, rows = best(table.value, table.cost, multiplier), np.arange(len(prompts))
        mean = float(table.cost[rows, arm].mean())
        shares = [[name, float((arm == i).mean())] for i, name in enumerate(ARMS) if (arm == i).any()]
        expected = {"value": float(table.value[rows, arm].mean()), "cost": mean}
        frontier.append({"budget": mean, "multiplier": multiplier, "route": {"all": shares}, "expected": expected})
    data = {
        "format": "autotts.policy/1",
        "requires": ["performance/1"],
        "task": {"name": "made", "reader": "exact", "grader": "exact"},
        "models": {"S": {}},
        "unit": "tokens",
        "arms": {name: {"arm": f"vote(n={i + 1}, model=S, temperature=0.7)"} for i, name in enumerate(ARMS)},
        "difficulty": {
            "kind": "performance",
            "features": learned.groups,
            "performance": learned.to_json(),
            "bins": ["all"],
        },
        "frontier": frontier,
        "default": 2,
    }
    return Policy.loads(json.dumps(data))


def kinds(policy):
    """A policy of every kind by its name."""
    plain = {"alike": alike_data(), "levels": policy_data(), "linear and trees": each_data()}
    return {name: Policy.loads(json.dumps(data)) for name, data in plain.items()} | {"linear": policy}


def least(part, repeats):
    """Microseconds of one call, the least of all repeats."""
    part()
    return 1e6 * min(timeit.repeat(part, timer=thread_time, number=ONCE, repeat=repeats)) / ONCE


def measured(policy, repeats):
    """Microseconds of each part of a prompt-by-prompt policy, and of the plain lookup."""
    known, request = policy.difficulty.performance, json.dumps({"prompt": ASKED})
    names, plain = known.groups, {ASKED: "a0"}
    dense = [name for name in names if name in groups.GROUPS]
    columns, buckets = groups.dense(dense, ASKED), ngrams(ASKED) if any("ngrams" in n for n in names) else []
    seen = routing.look(policy, ASKED)
    budget = (policy.frontier[1].expected.cost + policy.frontier[2].expected.cost) / 2
    parts = {
        "plain lookup": lambda: plain[json.loads(request)["prompt"]],
        "features: surface": lambda: features(ASKED),
        "features: question": lambda: question(ASKED),
        "features: n-grams": lambda: ngrams(ASKED),
        "forecast": lambda: known._quick.forecast(columns, buckets),
        "choice": lambda: routing.route(policy, seen, budget, "t"),
        "route, all": lambda: policy.route(ASKED, budget, "t"),
    }
    return known, {name: least(part, repeats) for name, part in parts.items()}


def main():
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    policy = made()
    known, found = measured(policy, repeats)
    print(f"{len(ASKED)} characters, {len(known.arms)} arms, predictor {known.kind} of {', '.join(known.groups)}\n")
    print(f"{'':20} microseconds   x plain lookup")
    for name, micro in found.items():
        print(f"{name:20} {micro:12.1f}   {micro / found['plain lookup']:14.1f}")
    print("\nroute, all, by kind of policy")
    slowest = 0.0
    for name, one in kinds(policy).items():
        micro = least(lambda one=one: one.route(ASKED, None, "t"), repeats)
        slowest = max(slowest, micro)
        print(f"{name:20} {micro:12.1f}   {micro / found['plain lookup']:14.1f}")
    print(f"\nslowest {slowest:.0f} microseconds, goal {GOAL:.0f}: {'met' if slowest < GOAL else 'NOT met'}")


if __name__ == "__main__":
    main()
