"""Routing: bins, budgets between settings, and repeatable draws among arms."""

import json

import pytest

from autotts.errors import BudgetError, InputError
from autotts.policy.schema import Policy
from autotts.strategies.vote import Vote
from autotts.tasks.arithmetic import problems
from tests.policy.policies import LEVELS, policy_data

EASY, HARD = "solve: 1+2+3+4", "solve: 250-17*18+199-85+120"


@pytest.fixture(scope="module")
def policy():
    return Policy.loads(json.dumps(policy_data()))


def test_a_prompt_goes_to_the_bin_of_its_level(policy):
    fresh = [p for level in LEVELS for p in problems(level, "confirm", 0, 30)]
    right = [policy.bin(p.prompt)[0] == f"L{p.level}" for p in fresh]
    assert sum(right) / len(right) > 0.9
    name, probabilities = policy.bin(HARD)
    assert name == "L5"
    assert sum(probabilities.values()) == pytest.approx(1)
    assert max(probabilities, key=probabilities.get) == name


def test_the_arm_of_the_default_setting(policy):
    easy = policy.route(EASY)
    assert (easy.id, easy.bin, easy.shares) == ("cheap", "L1", (("cheap", 1.0),))
    assert (easy.value, easy.cost) == (0.5, 1_000_000)
    routed = [policy.route(HARD, token=str(i)) for i in range(40)]
    assert {r.id for r in routed} == {"mid", "dear"}
    assert {r.strategy for r in routed if r.id == "mid"} == {Vote(n=8, model="S", temperature=0.6)}


def test_the_same_prompt_and_token_get_the_same_arm(policy):
    again = Policy.loads(json.dumps({**policy_data(), "evidence": {"confirmed": True}, "made": {}}))
    for token in map(str, range(50)):
        assert policy.route(HARD, token=token) == again.route(HARD, token=token)
    other = Policy.loads(json.dumps({**policy_data(), "unit": "tokens"}))
    assert other.digest != policy.digest


def test_a_mixture_is_drawn_in_its_shares(policy):
    budget = 0.7 * policy.frontier[1].expected.cost + 0.3 * policy.frontier[2].expected.cost
    shares = dict(policy.shares("L5", budget))
    assert shares == pytest.approx({"mid": 0.35, "dear": 0.65})
    count = 4000
    drawn = [policy.route(HARD, budget, str(i)).id for i in range(count)]
    assert drawn.count("dear") / count == pytest.approx(0.65, abs=0.03)


@pytest.mark.parametrize("part", [0.0, 0.2, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("index", [0, 1])
def test_a_budget_between_two_settings_is_met_exactly(policy, index, part):
    low, high = (s.expected.cost for s in policy.frontier[index : index + 2])
    budget = (1 - part) * low + part * high
    mean = sum(
        share * policy.arms[arm].expected[b].cost
        for b in policy.difficulty.bins
        for arm, share in policy.shares(b, budget)
    ) / len(policy.difficulty.bins)
    assert mean == pytest.approx(budget)
    for b in policy.difficulty.bins:
        assert sum(s for _, s in policy.shares(b, budget)) == pytest.approx(1)


def test_a_budget_above_all_takes_the_dearest_and_one_below_all_is_refused(policy):
    assert policy.shares("L5", 1e30) == (("dear", 1.0),)
    assert policy.shares("L5", float("inf")) == (("dear", 1.0),)
    with pytest.raises(BudgetError, match=r"below the cheapest arm.*one\(model=S, temperature=0\) costs 1 Mflops"):
        policy.route(EASY, 999_999)
    with pytest.raises(BudgetError):
        policy.route(EASY, float("nan"))
    with pytest.raises(InputError, match="unknown bin"):
        policy.shares("L2")


@pytest.mark.parametrize("prompt", ["", "\ud800", "x" * 100_000, "\x00"])
def test_any_text_is_routed(policy, prompt):
    assert policy.route(prompt, token="\udfff").id in policy.arms
