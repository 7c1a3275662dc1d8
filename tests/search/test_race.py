"""Races of arms against a frontier, with and without a prediction of what they will be right on."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from autotts.errors import InputError
from autotts.search.controls import KINDS, guess
from autotts.search.measure import Table
from autotts.search.race import Raced, Rival, race, rival_at
from autotts.search.runs import Ran
from autotts.search.tally import Tally
from autotts.strategies.arms import parse

N, BLOCK = 32, 8
ARM = parse("vote(n=8, model=S, temperature=0.8)")


class Scripted:
    """A runner whose arm is right on prompts that were written down."""

    def __init__(self, right: np.ndarray) -> None:
        self.right, self.tally = right, Tally()

    async def run(self, strategy: object, problem: int) -> Ran:
        self.tally.tick()
        return Ran("x", bool(self.right[problem]), 100, "returned")


def run(right, rivals, error=0.01, guess=None) -> Raced:  # type: ignore[no-untyped-def]
    runner = Scripted(np.asarray(right))
    out = asyncio.run(race(runner, ARM, range(len(right)), rivals, block=BLOCK, error=error, guess=guess))  # type: ignore[arg-type]
    assert runner.tally.done == runner.tally.total == len(right)
    return out


def rival(value: np.ndarray, name: str = "known") -> Rival:
    return Rival(name, np.asarray(value, float), np.full(len(value), 100.0))


def test_what_is_hopeless_goes_after_one_block() -> None:
    out = run(np.zeros(N), [rival(np.ones(N))], error=0.05)
    assert len(out.ran) == BLOCK and out.bound is not None
    assert out.bound.startswith("after 8 prompts at most -") and "from known at the same cost" in out.bound
    assert "prediction" not in out.bound


def test_what_no_run_left_could_change_is_certain() -> None:
    """The rival is right on 20 of 32; the arm on none of the first 16: at best on 16."""
    right = np.r_[np.zeros(16), np.ones(16)]
    out = run(right, [rival(np.r_[np.ones(10), np.zeros(6), np.ones(10), np.zeros(6)])], error=1e-9)
    assert len(out.ran) == 16 and "at most -0.125 accuracy" in str(out.bound)


PREDICTIONS = {
    "none": lambda chance, right, rng: None,
    "good": lambda chance, right, rng: chance,
    "knowing": lambda chance, right, rng: right,
    "useless": lambda chance, right, rng: rng.permutation(chance),
    "inverted": lambda chance, right, rng: 1 - right,
}


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_an_arm_as_good_on_all_prompts_is_stopped_at_most_at_the_error_rate(kind: str) -> None:
    rng, error, runs, stopped = np.random.default_rng(1), 0.1, 150, 0
    for _ in range(runs):
        chance = rng.beta(0.5, 0.5, N)
        right = (rng.random(N) < chance).astype(float)
        other, swapped = right.copy(), rng.random(N) < rng.random()
        other[swapped] = rng.permutation(right[swapped])  # right as often, on other prompts
        stopped += run(right, [rival(other)], error, PREDICTIONS[kind](chance, right, rng)).bound is not None
    assert stopped <= error * runs + 3 * (error * (1 - error) * runs) ** 0.5


def worse(kind: str, prompts: int = 96, races: int = 40) -> tuple[float, list[str]]:
    """The mean number of prompts until an arm 25 points worse is stopped, and the bounds in words."""
    rng, took, words = np.random.default_rng(2), [], []
    for _ in range(races):
        easy = rng.random(prompts) < 0.5
        chance = np.where(easy, 0.9, 0.05)
        right = (rng.random(prompts) < chance).astype(float)
        other = (rng.random(prompts) < np.where(easy, 0.95, 0.5)).astype(float)
        out = run(right, [rival(other)], guess=PREDICTIONS[kind](chance, right, rng))
        took.append(len(out.ran))
        words.append(str(out.bound))
    return float(np.mean(took)), words


def test_a_good_prediction_stops_sooner_and_a_bad_one_only_somewhat_later() -> None:
    (plain, silent), (good, words), (bad, _) = worse("none"), worse("good"), worse("inverted")
    assert good < plain - 2 and bad < plain + BLOCK
    assert any("; the prediction tightened it, from " in w for w in words)
    assert not any("prediction" in w for w in silent)


def test_where_nothing_is_predicted_the_race_goes_on_without() -> None:
    right, other = np.r_[np.zeros(12), np.ones(20)], np.ones(N)
    plain = run(right, [rival(other)])
    assert plain.bound is not None and run(right, [rival(other)], guess=np.full(N, np.nan)) == plain
    half = np.r_[np.full(16, np.nan), np.ones(16)]
    assert run(right, [rival(other)], guess=half).bound is not None
    with pytest.raises(InputError, match="one number for each of 32 prompts, found \\(31,\\)"):
        run(right, [rival(other)], guess=np.ones(31))


def test_the_frontier_is_that_of_all_prompts_not_of_the_first() -> None:
    """What was luckier on the first prompts is no rival."""
    steady, lucky = np.full(N, 0.8), np.r_[np.ones(8), np.full(24, 0.5)]
    found = rival_at([rival(steady, name="steady"), rival(lucky, name="lucky")], 8, 100.0)
    assert found is not None and found[1] == "steady" and found[0].tolist() == steady.tolist()


def test_costs_of_the_first_prompts_are_compared_on_the_first_prompts() -> None:
    """The first prompts are short ones: the arm costs as much as the cheap rival there, and so everywhere."""
    short = np.r_[np.full(8, 10.0), np.full(24, 100.0)]
    rivals = [Rival("cheap", np.full(N, 0.5), short), Rival("dear", np.ones(N), 4 * short)]
    found = rival_at(rivals, 8, 10.0)
    assert found is not None and found[0] == pytest.approx(np.full(N, 0.5))
    found = rival_at(rivals, 8, 25.0)
    assert found is not None and found[0] == pytest.approx(np.full(N, 0.75))
    assert rival_at(rivals, 8, 9.0) is None and rival_at([], 8, 9.0) is None


# ---------------------------------------------------------------- the guess


def table() -> Table:
    return Table(range(4), np.full(4, 0.25))  # type: ignore[arg-type]


def put(out: Table, arm: str, value: list[float], rows: tuple[int, ...] = (0, 1, 2, 3)) -> None:
    figures = np.array(value)
    out.put(arm, np.array(rows), figures, figures, figures)


def test_nothing_known_nothing_guessed() -> None:
    out = table()
    put(out, "one(model=S, temperature=0.0)", [1.0, 0.0], (0, 1))  # on two of the rows only
    assert guess(out, np.arange(4), ARM) is None
    assert guess(out, np.array([0, 1]), ARM) == pytest.approx([1.0, 0.0])


def test_arms_that_are_alike_weigh_more() -> None:
    out = table()
    put(out, "vote(n=4, model=S, temperature=0.6)", [1, 0, 0, 0])
    put(out, "best_of_n(n=8, model=S, by=prm)", [0, 1, 0, 0])
    put(out, "cascade(small=S, large=L)", [0, 0, 1, 0])
    for n in (2, 4, 8, 16, 32):  # many, but of another model
        put(out, f"vote(n={n}, model=L)", [0, 0, 0, 1])
    assert guess(out, np.arange(4), ARM) == pytest.approx(np.array(KINDS) / sum(KINDS))


def test_of_the_same_kind_the_nearest_size_weighs_most() -> None:
    out = table()
    put(out, "vote(n=8, model=S, temperature=0.6)", [1, 0, 0, 1])
    put(out, "vote(n=64, model=S, temperature=0.6)", [0, 1, 0, 1])
    assert guess(out, np.arange(4), ARM) == pytest.approx([0.8, 0.2, 0.0, 1.0])
