"""Routing prompt by prompt: the arm that is worth most at a multiplier, in search as in service."""

import json
import math
import timeit

import numpy as np
import pytest

from autotts.errors import BudgetError, InputError
from autotts.policy import routing
from autotts.policy.controller import Controller
from autotts.policy.perprompt import BLIND, best
from autotts.policy.schema import Policy
from autotts.predict.learning import fit

ARMS = ("cheap", "mid", "dear")
MULTIPLIERS = (1.0, 0.004, 0.0015, 0.0007, 0.0)


def asked(count, seed):
    """Prompts whose numbers tell how much longer thought helps, with the value and cost of each arm."""
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 8, count)
    prompts = [f"Add {'9' * s} and {rng.integers(1, 99)}, and say {'so ' * rng.integers(1, 9)}" for s in size]
    chance = 1 / (1 + np.exp(np.outer(size, [1.2, 0.8, 0.3]) - 3.5))
    return prompts, rng.binomial(8, chance) / 8, np.outer(np.exp(0.1 * size), [10.0, 40.0, 160.0])


def learned(embeddings=None):
    prompts, value, cost = asked(300, 0)
    return fit(prompts, ARMS, value, cost, seed=0, embeddings=embeddings, kinds=("logistic",))


LEARNED = learned()
PROMPTS = asked(400, 1)[0]


def data(performance=LEARNED, **changes):
    """The plain data of a policy that routes by a predictor; `expected` is as it predicts."""
    embeddings = np.zeros((len(PROMPTS), len(performance.basis))) if performance.basis else None
    table = performance.table(PROMPTS, embeddings)
    frontier = []
    for multiplier in MULTIPLIERS:
        arm = best(table.value, table.cost, multiplier)
        rows = np.arange(len(arm))
        cost = float(table.cost[rows, arm].mean())
        shares = [[a, float((arm == i).mean())] for i, a in enumerate(ARMS) if (arm == i).any()]
        expected = {"value": float(table.value[rows, arm].mean()), "cost": cost}
        frontier.append({"budget": cost, "multiplier": multiplier, "route": {"all": shares}, "expected": expected})
    return json.loads(
        json.dumps(
            {
                "format": "autotts.policy/1",
                "requires": ["performance/1"],
                "task": {"name": "made", "reader": "exact", "grader": "exact"},
                "models": {"S": {}},
                "unit": "tokens",
                "arms": {
                    "cheap": {"arm": "one(model=S, temperature=0.7)"},
                    "mid": {"arm": "vote(n=4, model=S, temperature=0.7)"},
                    "dear": {"arm": "vote(n=16, model=S, temperature=0.7)"},
                },
                "difficulty": {
                    "kind": "performance",
                    "features": performance.groups,
                    "performance": performance.to_json(),
                    "bins": ["all"],
                },
                "frontier": frontier,
                "default": 2,
                **changes,
            }
        )
    )


def made(**changes):
    return Policy.loads(json.dumps(data(**changes)))


@pytest.fixture(scope="module")
def policy():
    return made()


# ---------------------------------------------------------------- routes


def test_a_prompt_gets_the_arm_with_the_most_value_less_the_price_of_its_cost(policy):
    table = LEARNED.table(PROMPTS)
    for setting in policy.frontier:
        score = table.value - setting.multiplier * table.cost
        wanted = [ARMS[i] for i in score.argmax(1)]
        assert [policy.route(p, setting.expected.cost).id for p in PROMPTS] == wanted
    assert len({policy.route(p).id for p in PROMPTS}) == 3
    found = policy.route(PROMPTS[0])
    at = ARMS.index(found.id)
    assert (found.bin, found.fallback, found.shares) == ("all", "", ((found.id, 1.0),))
    assert (found.value, found.cost) == pytest.approx((table.value[0, at], table.cost[0, at]))
    assert found.costs == (found.cost,)


def test_routing_is_told_the_same_values_and_costs_without_intervals():
    known = LEARNED
    for prompt in [*PROMPTS[:40], "", "half \ud800"]:
        whole, short = known.expect(prompt), known.means(prompt)
        assert {arm: (cell.value, cell.cost) for arm, cell in whole.items()} == {a: tuple(m) for a, m in short.items()}


def test_of_equally_good_arms_the_cheapest_is_taken():
    value, cost = np.array([[0.5, 0.5, 0.4], [0.2, 0.6, 0.6]]), np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 2.0]])
    assert best(value, cost, 0.0).tolist() == [1, 1]
    assert best(value, cost, 0.1).tolist() == [2, 1]
    assert best(value, cost, 1.0).tolist() == [2, 0]


def test_the_mean_budget_is_met(policy):
    for low, high in ((0, 1), (1, 2), (2, 3), (3, 4)):
        for part in (0.0, 0.3, 0.9):
            ends = [policy.frontier[i].expected.cost for i in (low, high)]
            budget = (1 - part) * ends[0] + part * ends[1]
            found = [policy.route(p, budget) for p in PROMPTS]
            mean = sum(s * c for r in found for (_, s), c in zip(r.shares, r.costs, strict=True)) / len(found)
            assert mean == pytest.approx(budget)
            assert np.mean([r.cost for r in found]) == pytest.approx(budget, rel=0.15)  # one draw for each prompt
    again = [policy.route(PROMPTS[0], budget, str(i)) for i in range(30)]
    assert again == [policy.route(PROMPTS[0], budget, str(i)) for i in range(30)]


def test_shares_are_those_over_prompts(policy):
    for setting in policy.frontier:
        ids = [policy.route(p, setting.expected.cost).id for p in PROMPTS]
        shares = dict(policy.shares("all", setting.expected.cost))
        assert shares == pytest.approx({arm: ids.count(arm) / len(ids) for arm in shares})
    assert policy.bin(PROMPTS[0]) == ("all", {"all": 1.0})
    assert routing.reached(policy, policy.frontier[0].expected.cost) == sorted(ARMS)


def test_a_budget_below_all_is_refused_and_one_above_takes_the_best(policy):
    with pytest.raises(BudgetError, match=r"below the cheapest arm.*one\(model=S"):
        policy.route(PROMPTS[0], 1.0)
    table = LEARNED.table(PROMPTS[:40])
    assert [policy.route(p, 1e30).id for p in PROMPTS[:40]] == [ARMS[i] for i in table.value.argmax(1)]


@pytest.mark.parametrize("prompt", ["", "\ud800", "x" * 100_000, "\x00", "9" * 5000])
def test_any_text_is_routed(policy, prompt):
    assert policy.route(prompt, token="\udfff").id in ARMS


def test_reading_it_back_keeps_the_routes(policy, tmp_path):
    path = tmp_path / "policy.json"
    policy.save(path)
    again = Policy.load(path)
    assert again == policy and again.dumps() == path.read_text() and again.digest == policy.digest
    budget = 0.5 * sum(policy.frontier[i].expected.cost for i in (1, 2))
    for prompt in PROMPTS[:60]:
        assert again.route(prompt, budget, "t") == policy.route(prompt, budget, "t")
    plain = data(difficulty={"kind": "none", "bins": ["all"]}, requires=[])
    for setting in plain["frontier"]:
        del setting["multiplier"]
    text = Policy.loads(json.dumps(plain)).dumps()
    assert "performance" not in text and "multiplier" not in text  # nor in the hash that routes prompts


def test_a_prompt_is_routed_in_less_than_200_microseconds(policy):
    prompt = (PROMPTS[0] + " ") * 20
    budget = 0.5 * sum(policy.frontier[i].expected.cost for i in (1, 2))
    policy.route(prompt[:300], budget)
    least = min(timeit.repeat(lambda: policy.route(prompt[:300], budget), number=50, repeat=7)) / 50
    assert least < 4 * 200e-6  # four times as slow where others share the cores


# ---------------------------------------------------------------- without an embedding


def test_a_prompt_without_its_embedding_gets_the_shares_over_prompts():
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(300, 4)) + np.arange(300)[:, None] % 7
    knows = learned(embeddings)
    found = made(performance=knows)
    blind = found.route(PROMPTS[0], token="a")
    assert blind.fallback == BLIND and blind.shares == found.shares("all") and blind.costs == (None,) * len(ARMS)
    assert found.route(PROMPTS[0], token="a", embedding=np.full(4, math.nan)).fallback == BLIND
    seen = found.route(PROMPTS[0], embedding=embeddings[0])
    table = knows.table(PROMPTS[:1], embeddings[:1])
    assert seen.fallback == "" and seen.id == ARMS[int((table.value - 0.0015 * table.cost).argmax())]
    with pytest.raises(InputError, match="embeddings: expected 1 rows of 4 numbers"):
        found.route(PROMPTS[0], embedding=np.zeros(3))
    control = Controller(found)
    for i in range(20):
        control.tell(control.ask(PROMPTS[i]), 50.0)
    assert control.state.requests == 20


# ---------------------------------------------------------------- the controller


@pytest.mark.parametrize("times", [0.9, 1.0, 1.8])
def test_the_controller_holds_the_budget(policy, times):
    budget = policy.frontier[2].expected.cost
    control = Controller(policy, budget)
    fresh, _, costs = asked(1500, 2)
    spent = 0.0
    for prompt, row in zip(fresh, costs, strict=True):
        request = control.ask(prompt)
        cost = min(float(request.cap), times * row[ARMS.index(request.routed.id)])
        spent += cost
        control.tell(request, cost)
        assert spent <= budget * control.state.requests + control.bound
    assert spent / len(fresh) == pytest.approx(budget, rel=0.04)


def test_what_does_not_fit_under_the_cap_is_lowered_for_this_prompt_alone(policy):
    control = Controller(policy, 1.02 * policy.frontier[0].expected.cost)
    for prompt in PROMPTS[:50]:
        request = control.ask(prompt)
        assert request.routed.cost == pytest.approx(dict(zip(ARMS, LEARNED.table([prompt]).cost[0]))[request.routed.id])
        assert request.cap >= math.floor(request.forecast) or request.scarce
        control.tell(request, request.cap)


# ---------------------------------------------------------------- broken ones


def broken(*path, value):
    found = data()
    here = found
    for key in path[:-1]:
        here = here[key]
    here[path[-1]] = value
    return json.dumps(found)


P = ("difficulty", "performance")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("requires",), [], r"requires: expected 'performance/1'"),
        (("requires",), ["performance/2"], r"needs 'performance/2'.*upgrade"),
        (("difficulty", "bins"), ["easy"], r"the one bin 'all'"),
        (P, None, r"difficulty.performance: kind performance expects a predictor"),
        ((*P, "kind"), "constant", r"difficulty.performance.kind: expected one that tells prompts apart"),
        ((*P, "kind"), "magic", r"difficulty.performance: .*kind: expected one of"),
        ((*P, "format"), "autotts.performance/2", r"difficulty.performance.format"),
        ((*P, "arms"), ["cheap", "mid", "other"], r"difficulty.performance.arms: unknown arm 'other'"),
        ((*P, "arms"), ["cheap", "mid"], r"difficulty.performance: .*expected 2"),
        ((*P, "cost_intercepts", 1), None, r"cost_intercepts: expected the cost of each arm, found none of 'mid'"),
        ((*P, "mean", 0), math.nan, r"NaN"),
        ((*P, "slope"), 1e300, r"difficulty.performance: .*slope"),
        ((*P, "groups"), ["surface/9"], r"difficulty.performance: .*surface/9"),
        (("difficulty", "features"), ["other"], r"difficulty.features: expected the groups"),
        (("frontier", 1, "multiplier"), None, r"frontier\[1\].multiplier: kind performance expects one"),
        (("frontier", 1, "multiplier"), -1.0, r"frontier\[1\].multiplier"),
        (("frontier", 1, "multiplier"), math.inf, r"Infinity"),
        (("frontier", 1, "multiplier"), 7.0, r"frontier\[1\].multiplier: expected at most the 1"),
        (("arms",), {"a": {"arm": "one(model=S)"}}, r"unknown arm 'cheap'"),
        (("difficulty", "kind"), "none", r"difficulty.kind: expected 'performance'"),
    ],
)
def test_broken_ones_are_refused_in_words(path, value, words):
    with pytest.raises(InputError, match=words):
        Policy.loads(broken(*path, value=value))
