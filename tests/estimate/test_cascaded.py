"""The vectorised cascade against the strategy itself, replayed by the engine on the same draws."""

from dataclasses import replace
from itertools import cycle, pairwise
from random import Random

import numpy as np
import pytest

from autotts.core.cost import Prices, Usage
from autotts.core.node import Node
from autotts.core.world import Binding, Reply
from autotts.engine.orders import Order
from autotts.engine.replay import replay
from autotts.errors import InputError
from autotts.estimate.cascaded import cascade
from autotts.estimate.replayed import Pool, estimate, orderings
from autotts.strategies.arms import parse
from autotts.strategies.cascade import Cascade

PRICES = (Prices(prompt=3, cached=1, generated=5, call=7), Prices(prompt=30, cached=2, generated=50, call=11))
PROMPT = 7


def recorded(problems: int, draws: int, seed: int, prices: Prices, right: float) -> Pool:
    rng = np.random.default_rng(seed)
    answers = np.where(rng.random((problems, draws)) < right, 0, rng.integers(-1, 4, (problems, draws)))
    tokens = rng.integers(2, 9, (problems, draws))
    return Pool(
        answers=answers,
        correct=answers == 0,
        prompt_cost=np.full(problems, float(prices.of_prompt(PROMPT, PROMPT))),
        cost=tokens * float(prices.generated),
        tokens=tokens,
        text=np.tile(np.arange(draws), (problems, 1)),
        next_cost=np.full(problems, float(prices.of_prompt(PROMPT, 0))),
    )


SMALL = recorded(4, 14, 1, PRICES[0], 0.3)
LARGE = recorded(4, 9, 2, PRICES[1], 0.6)


def played(pools: dict[str, tuple[Pool, list[int]]], problem: int, strategy: Cascade) -> tuple[float, int, int]:
    """Run the strategy: right or not, its cost and its wait. Draws of a binding come in its own order."""
    root = Node(b"root", 0, False, None, b"", PROMPT)
    left = {name: iter(order) for name, (_, order) in pools.items()}

    def script(asked: Order) -> Reply:
        pool, i = pools[asked.binding.id][0], next(left[asked.binding.id])
        made, answer = int(pool.tokens[problem, i]), int(pool.answers[problem, i])
        node = Node(asked.key, 1, True, None if answer < 0 else str(answer), asked.key, made)
        return Reply(node, Usage(prompt=asked.prefix, generated=made))

    names = cycle(pools)  # small and large: the same where there is one
    bindings = {role: Binding(name, prices=PRICES[name == "L@1"]) for role, name in zip(("small", "large"), names)}
    out = replay(strategy.plan(root, Random(0)), root, script, bindings)
    assert out.choice is not None
    return float(out.choice.node.answer == "0"), out.cost, out.ticks


ARMS = [
    "n=3, m=4",
    "n=1, m=2",
    "n=4, m=5, sure=0.8, weight=1",
    "n=6, m=2, sure=1.0, weight=2.5",
    "n=2, m=3, sure=0.6, weight=0.1",
    "n=5, m=3, sure=0.0",
]


@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("knobs", ARMS)
def test_each_ordering_is_what_the_strategy_does(knobs, alike) -> None:
    strategy = parse(f"cascade(small=small, large=large, {knobs})")
    assert isinstance(strategy, Cascade)
    got = cascade(SMALL, SMALL if alike else LARGE, strategy, seed=3, orders=50)
    for p in range(4):
        runs = []
        for early, late in zip(orderings(14, 50, 3), orderings(9, 50, 3)):
            pools = {"S@1": (SMALL, early.tolist())} | ({} if alike else {"L@1": (LARGE, late.tolist())})
            runs.append(played(pools, p, strategy))
        right, cost, wait = np.array(runs, float).T
        assert got.costs[p].tolist() == cost.tolist() and got.worst[p] == cost.max()
        assert got.value[p] == pytest.approx(right.mean()) and got.cost[p] == pytest.approx(cost.mean())
        assert got.sequential[p] == pytest.approx(wait.mean())


def test_one_that_is_always_sure_is_the_vote_of_the_small_model() -> None:
    strategy = Cascade(n=14, m=1, sure=0.0)
    got, vote = cascade(SMALL, LARGE, strategy), estimate(SMALL, parse("vote(n=14)"))
    assert np.allclose(got.cost, vote.cost) and np.allclose(got.value, vote.value, atol=0.02)


def test_asking_the_large_model_more_often_never_costs_less() -> None:
    costs = [cascade(SMALL, LARGE, Cascade(n=5, m=3, sure=sure)).costs for sure in (0.0, 0.3, 0.5, 0.7, 0.9, 1.0)]
    assert all((a <= b).all() for a, b in pairwise(costs))
    assert costs[0].mean() < costs[-1].mean()


def test_classes_may_have_any_numbers() -> None:
    strategy = Cascade(n=3, m=3)
    odd = [replace(x, answers=np.where(x.answers < 0, -1, 5000 - 7 * x.answers)) for x in (SMALL, LARGE)]
    assert cascade(odd[0], odd[1], strategy).value.tolist() == cascade(SMALL, LARGE, strategy).value.tolist()


def test_the_wait_is_not_known_where_tokens_are_not() -> None:
    bare = replace(LARGE, tokens=np.where(np.arange(4)[:, None] == 1, -1, LARGE.tokens))
    assert np.isnan(cascade(SMALL, bare, Cascade()).sequential).tolist() == [False, True, False, False]


def test_more_draws_than_recorded_are_an_input_error() -> None:
    for small, large, strategy in [
        (SMALL, LARGE, Cascade(n=15)),
        (SMALL, LARGE, Cascade(m=10)),
        (SMALL, SMALL, Cascade(n=8, m=7)),
    ]:
        with pytest.raises(InputError, match="draws of each problem, and the pools have 14 and"):
            cascade(small, large, strategy)
    with pytest.raises(ValueError, match="the same problems, found 4 and 3"):
        cascade(SMALL, recorded(3, 9, 0, PRICES[1], 0.5), Cascade())
