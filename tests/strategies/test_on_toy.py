"""Strategies through the engine, in a world whose probabilities are known."""

from random import Random

import pytest

from autotts.core.cost import Prices
from autotts.core.node import root_node
from autotts.core.strategy import Strategy
from autotts.core.world import Binding
from autotts.engine.orders import Outcome
from autotts.engine.replay import replay
from autotts.strategies.arms import parse
from autotts.worlds.toy import RIGHT, Skill, Toy

PROMPTS = 250
CLEAN = Skill(right=0.6, step=0.7, steps=4, length=(40, 40), fail=0.0, mute=0.0, noise=0.05)
WORLD = Toy({"policy": Binding("S@1", prices=Prices()), "prm": Binding("prm@1")}, {"S@1": CLEAN, "prm@1": CLEAN})


def run(strategy: Strategy, i: int, world: Toy = WORLD, cap: int | None = None) -> Outcome:
    root = root_node(f"problem {i}", tokens=5)
    return replay(strategy.plan(root, Random(0)), root, world.script({root.key: None}), world.bindings, cap=cap)


def accuracy(arm: str, world: Toy = WORLD) -> float:
    strategy = parse(arm)
    choices = [run(strategy, i, world).choice for i in range(PROMPTS)]
    return sum(choice is not None and choice.node.answer == RIGHT for choice in choices) / PROMPTS


def near(share: float) -> object:
    return pytest.approx(share, abs=4 * (share * (1 - share) / PROMPTS) ** 0.5)


def test_one_draw_and_a_vote_of_two_are_as_right_as_the_model() -> None:
    assert accuracy("one(temperature=1)") == near(0.6)
    assert accuracy("vote(n=2)") == near(0.6)


def test_the_vote_of_three_is_as_right_as_by_hand() -> None:
    tie = 3 * 0.6 * 0.4**2 * (2 / 3)  # one right and two different wrong ones (of three): the first seen wins
    assert accuracy("vote(n=3)") == near(0.6**3 + 3 * 0.6**2 * 0.4 + tie / 3)


def test_a_scorer_that_knows_finds_any_right_draw() -> None:
    for arm in ("best_of_n(n=3)", "weighted_vote(n=2)"):
        n = int(arm[-2])
        assert accuracy(arm) == near(1 - 0.4**n)


def test_search_by_step_is_as_right_as_by_hand() -> None:
    alone = 0.7**4
    assert accuracy("beam(n=2, m=1)") == near(1 - (1 - alone) ** 2)
    assert accuracy("dvts(n=2, m=1)") == near(1 - (1 - alone) ** 2)
    greedy = (1 - 0.3**3) ** 4  # in each step one of three goes on
    assert accuracy("dvts(n=3, m=3)") == near(greedy)
    assert accuracy("beam(n=3, m=3)") == near(greedy)


def test_with_a_scorer_that_knows_nothing_search_is_a_vote_of_what_ends() -> None:
    """Constant scores: a beam follows its first draws, so its answer is right as often as one path alone, or more."""
    blind = Toy({**WORLD.bindings}, {"S@1": CLEAN, "prm@1": Skill(fail=1.0)})
    assert accuracy("dvts(n=1, m=1)", blind) == near(0.7**4)
    assert accuracy("beam(n=1, m=1)", blind) == near(0.7**4)
    assert accuracy("best_of_n(n=3)", blind) == near(0.6)


@pytest.mark.parametrize(
    ("arm", "draws"), [("vote(n=4)", 4), ("first_finish(n=4)", 4), ("beam(n=4, m=2)", 16), ("dvts(n=4, m=2)", 16)]
)
def test_costs_are_prompts_once_and_tokens(arm, draws) -> None:
    """All paths have 40 tokens, in four steps of 10."""
    for i in range(20):
        out = run(parse(arm), i)
        tokens = 40 * draws if draws == 4 else 10 * draws
        assert out.usage["S@1"].generated + out.usage["S@1"].cancelled == tokens
        assert out.usage["S@1"].prompt == 5 and out.usage["S@1"].calls == draws


@pytest.mark.parametrize("arm", ["vote(n=4)", "weighted_vote(n=4)", "best_of_n(n=4)"])
def test_a_cap_gives_the_best_answer_so_far(arm) -> None:
    """A cap at the moment that the first of four draws ends leaves that draw; one token less leaves nothing."""
    varied = Toy(WORLD.bindings, {"S@1": Skill(length=(5, 60), fail=0.0, mute=0.0), "prm@1": CLEAN})
    strategy, quickest = parse(arm), parse("first_finish(n=4)")
    for i in range(30):
        first = run(quickest, i, varied)
        capped = run(strategy, i, varied, cap=first.cost)
        assert first.choice is not None and capped.choice is not None and capped.ended == "cap"
        assert capped.choice.node.answer == first.choice.node.answer and capped.cost <= first.cost
        assert run(strategy, i, varied, cap=first.cost - 1).choice is None
