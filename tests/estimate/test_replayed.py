"""Estimates from a pool against the strategy objects themselves, replayed by the engine on the same draws."""

from dataclasses import fields, replace
from random import Random

import numpy as np
import pytest

from autotts.core.cost import Prices, Usage
from autotts.core.node import Node
from autotts.core.plan import Draw
from autotts.core.strategy import Strategy
from autotts.core.world import Binding, Reply
from autotts.engine.orders import Order
from autotts.engine.replay import replay
from autotts.errors import InputError
from autotts.estimate.replayed import Pool, estimate, orderings
from autotts.strategies import POOLED, STRATEGIES
from autotts.strategies.arms import parse

DRAWING = Prices(prompt=3, cached=1, generated=5, generated_context=2, call=7)
SCORING = Prices(prompt=2, cached=1, prompt_context=1, call=4)
BINDINGS = {"policy": Binding("S@1", prices=DRAWING), "prm": Binding("prm@1", prices=SCORING)}
PROMPT = 7


def recorded(problems: int, draws: int, seed: int) -> Pool:
    """A pool with few distinct texts, answers that cannot be read, ties of length and scores that failed."""
    rng = np.random.default_rng(seed)
    text = rng.integers(0, draws, (problems, draws))
    pick = lambda table: np.take_along_axis(table, text, 1)  # noqa: E731
    answers = pick(rng.choice([-1, 0, 0, 1, 1, 2, 3], (problems, draws)))
    tokens = pick(rng.integers(2, 9, (problems, draws)))
    score = pick(np.where(rng.random((problems, draws)) < 0.15, np.nan, rng.integers(0, 4, (problems, draws)) / 4))
    costs = np.vectorize(DRAWING.of_generated)(PROMPT, tokens).astype(float)
    marks = np.vectorize(SCORING.of_prompt)(PROMPT + tokens, tokens).astype(float)
    first = float(SCORING.of_prompt(PROMPT, PROMPT) - SCORING.of_prompt(PROMPT, 0))
    return Pool(
        answers=answers,
        correct=answers == 0,
        prompt_cost=np.full(problems, float(DRAWING.of_prompt(PROMPT, PROMPT))),
        cost=costs,
        tokens=tokens,
        text=text,
        score=score,
        score_prompt_cost=np.full(problems, first),
        score_cost=marks,
        next_cost=np.full(problems, float(DRAWING.of_prompt(PROMPT, 0))),
    )


def played(pool: Pool, problem: int, strategy: Strategy, order: list[int]) -> tuple[float, int, int]:
    """Run the strategy itself, whose i-th draw is draw order[i] of the pool: right or not, its cost and its wait."""
    root = Node(b"root", 0, False, None, b"", PROMPT)
    scores: dict[bytes, float] = {}
    left = iter(order)

    def script(asked: Order) -> Reply:
        if not isinstance(asked.ask, Draw):
            return Reply(scores[asked.ask.node.digest], Usage(prompt=asked.prefix))
        i = next(left)
        digest = b"%d" % pool.text[problem, i]
        assert pool.score is not None
        scores[digest] = float(pool.score[problem, i])
        made = int(pool.tokens[problem, i])
        answer = None if pool.answers[problem, i] < 0 else str(pool.answers[problem, i])
        return Reply(Node(asked.key, 1, True, answer, digest, made), Usage(prompt=asked.prefix, generated=made))

    out = replay(strategy.plan(root, Random(0)), root, script, BINDINGS)
    assert out.choice is not None
    return float(out.choice.node.answer == "0"), out.cost, out.ticks


ARMS = [
    "one(temperature=0.8)",
    "vote(n=1)",
    "vote(n=5)",
    "vote(n=20)",
    "weighted_vote(n=1)",
    "weighted_vote(n=6)",
    "best_of_n(n=1)",
    "best_of_n(n=6)",
    "first_finish(n=1)",
    "first_finish(n=5)",
    "first_finish(n=6, k=3)",
    "first_finish(n=20, k=2)",
    "adaptive(most=12, threshold=0.8)",
    "adaptive(most=11, threshold=0.9, batch=3)",
    "adaptive(most=8, threshold=0.3)",
    "esc(most=12, window=2)",
    "esc(most=11, window=3)",
    "esc(most=20, window=3)",
    "esc(most=4, window=1)",
]


@pytest.mark.parametrize("arm", ARMS)
def test_the_estimate_is_what_the_strategy_does(arm) -> None:
    pool, strategy, runs = recorded(3, 20, seed=5), parse(arm), 300
    got = estimate(pool, strategy, seed=1, orders=2000)
    rng = Random(3)
    for p in range(3):
        runs_ = [played(pool, p, strategy, rng.sample(range(20), 20)) for _ in range(runs)]
        right, cost, wait = np.array(runs_).T
        share = (1 / runs + 1 / 2000) ** 0.5
        value = got.value[p]
        assert abs(right.mean() - value) <= 4 * max(right.std(), (value * (1 - value)) ** 0.5) * share + 1e-9
        assert abs(cost.mean() - got.cost[p]) <= 4 * cost.std() * share + 1e-9 * got.cost[p]
        assert abs(wait.mean() - got.sequential[p]) <= 4 * wait.std() * share + 1e-9
        assert got.cost[p] <= got.worst[p] and (cost > got.worst[p]).mean() <= 0.01


@pytest.mark.parametrize("arm", [arm for arm in ARMS if not arm.startswith("one")])
def test_each_ordering_costs_what_the_strategy_pays_on_it(arm) -> None:
    pool, strategy = recorded(3, 20, seed=7), parse(arm)
    got = estimate(pool, strategy, seed=2, orders=40)
    for p in range(3):
        told = [played(pool, p, strategy, order.tolist()) for order in orderings(20, 40, 2)]
        right, cost, wait = np.array(told, float).T
        assert got.costs[p].tolist() == pytest.approx(cost[: got.costs.shape[1]].tolist(), rel=1e-12)
        assert got.worst[p] == got.costs[p].max()
        if arm.startswith("esc"):  # what is not exact is the mean over these very orderings
            assert got.value[p] == pytest.approx(right.mean()) and got.cost[p] == pytest.approx(cost.mean())
        if arm.startswith(("esc", "adaptive")) or "k=" in arm:
            assert got.sequential[p] == pytest.approx(wait.mean())


@pytest.mark.parametrize("arm", ["vote(n=20)", "weighted_vote(n=20)", "best_of_n(n=20)", "first_finish(n=20)"])
def test_with_all_draws_nothing_is_left_to_chance(arm) -> None:
    """Cost is exact to the last part: prompts once, distinct texts once, cancelled draws up to the cancel."""
    pool = recorded(8, 20, seed=6)
    got = estimate(pool, parse(arm), seed=0, orders=2)
    for p in range(8):
        _, cost, wait = played(pool, p, parse(arm), list(range(20)))
        assert got.sequential[p] == pytest.approx(wait, rel=1e-12)
        assert got.cost[p] == pytest.approx(cost, rel=1e-12) and got.worst[p] == pytest.approx(cost, rel=1e-12)


def test_every_pooled_strategy_is_estimated_here() -> None:
    assert {arm.split("(")[0] for arm in ARMS} == POOLED


def test_a_problem_does_not_depend_on_its_neighbours() -> None:
    pool = recorded(6, 16, seed=2)
    part = Pool(**{f.name: getattr(pool, f.name)[2:4] for f in fields(Pool)})
    for arm in (
        "vote(n=4)",
        "weighted_vote(n=4)",
        "best_of_n(n=4)",
        "first_finish(n=4, k=2)",
        "adaptive(most=9)",
        "esc(most=9)",
    ):
        whole, some = estimate(pool, parse(arm), seed=3), estimate(part, parse(arm), seed=3)
        assert np.allclose(whole.value[2:4], some.value) and np.allclose(whole.cost[2:4], some.cost)


def test_arms_that_agree_are_estimated_alike() -> None:
    pool = recorded(20, 16, seed=4)
    clear = replace(pool, answers=np.abs(pool.answers))  # all can be read
    two, one = estimate(clear, parse("vote(n=2)")), estimate(clear, parse("one"))
    assert np.allclose(two.value, one.value)  # ties at random
    never, vote = estimate(pool, parse("adaptive(most=16, threshold=1)")), estimate(pool, parse("vote(n=16)"))
    assert np.allclose(never.value, vote.value) and np.allclose(never.cost, vote.cost)
    first, one = estimate(pool, parse("first_finish(n=1)")), estimate(pool, parse("one"))
    assert np.allclose(first.value, one.value) and np.allclose(first.cost, one.cost)


def test_a_vote_of_all_numbers_of_draws_is_exact() -> None:
    """No orderings are drawn: any seed gives the same, also beyond 16 draws."""
    pool = recorded(5, 40, seed=8)
    for n in (3, 17, 32, 39):
        some, other = (estimate(pool, parse(f"vote(n={n})"), seed=seed, orders=2) for seed in (0, 1))
        assert some.value.tolist() == other.value.tolist() and some.cost.tolist() == other.cost.tolist()
        replayed_ = estimate(pool, parse(f"adaptive(most={n}, threshold=1)"), orders=4000)
        assert np.allclose(replayed_.value, some.value, atol=0.04)


def test_early_stopping_takes_the_draws_of_the_formula() -> None:
    """Expected draws (the control scheme of 2401.10480): w (sum_i q (1-q)^i (i+1) + (1-q)^(L/w-1) L/w)."""
    rng, window, most = np.random.default_rng(0), 3, 12
    answers = rng.choice(3, (1, 600), p=[0.6, 0.3, 0.1])
    pool = Pool(answers, answers == 0, np.zeros(1), np.ones((1, 600)), np.ones((1, 600), int), answers)
    got = estimate(pool, parse(f"esc(most={most}, window={window})"), orders=8000)
    q, rounds = sum((answers == a).mean() ** window for a in range(3)), most // window
    inner = sum(q * (1 - q) ** i * (i + 1) for i in range(rounds - 1))
    assert got.cost[0] == pytest.approx(window * (inner + (1 - q) ** (rounds - 1) * rounds), rel=0.015)


def test_classes_may_have_any_numbers() -> None:
    pool = recorded(6, 16, seed=9)
    odd = replace(pool, answers=np.where(pool.answers < 0, -1, pool.answers * 1000 + 7))
    for arm in (
        "vote(n=5)",
        "weighted_vote(n=5)",
        "first_finish(n=6, k=3)",
        "adaptive(most=9)",
        "esc(most=9, window=3)",
    ):
        assert estimate(odd, parse(arm)).value.tolist() == estimate(pool, parse(arm)).value.tolist()


def test_where_tokens_are_not_known_the_wait_is_not_either() -> None:
    pool = recorded(2, 8, seed=1)
    bare = replace(pool, tokens=np.where([[True], [False]], -1, pool.tokens))
    for arm in ("one", "vote(n=4)", "best_of_n(n=4)", "adaptive(most=4)"):
        got = estimate(bare, parse(arm))
        assert np.isnan(got.sequential[0]) and got.sequential[1] == estimate(pool, parse(arm)).sequential[1]
        assert np.isfinite(got.value).all() and np.isfinite(got.costs).all()
    with pytest.raises(InputError, match="needs the tokens of each draw"):
        estimate(bare, parse("first_finish(n=4)"))


def test_what_a_pool_cannot_answer_is_an_input_error() -> None:
    pool = recorded(2, 4, seed=1)
    bare = Pool(pool.answers, pool.correct, pool.prompt_cost, pool.cost, pool.tokens, pool.text)
    assert estimate(bare, parse("vote(n=4)")).value.shape == (2,)
    for given_, arm, says in [
        (pool, "vote(n=8)", "takes 8 draws of each problem, and the pool has 4"),
        (pool, "adaptive(most=8)", "the pool has 4"),
        (bare, "best_of_n(n=2)", "needs scores"),
        (pool, "beam(n=4, m=2)", "does more than choose among whole draws"),
    ]:
        with pytest.raises(InputError, match=says):
            estimate(given_, parse(arm))
    assert {"beam", "dvts"} <= set(STRATEGIES) - POOLED
