"""RouteLLM's rows on made pools: who is strong, what can be learned from prompts, and when there is nothing to say."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autotts.core.task import Problem
from autotts.pools.recorded import Drawn, Family, Recorded
from autotts.search.gauge import Gauge
from autotts.search.routing import routing

WEAK, STRONG = Family("weak", "weak"), Family("strong", "strong")


def drawn(family: Family, correct: np.ndarray, count: int = 1) -> Drawn:
    """`correct` of each problem, [P], or of its draws, [P * count]; neither answers nor tokens were recorded."""
    size = len(correct)
    blank = np.full(size, -1)
    return Drawn(
        family,
        np.arange(0, size + 1, count),
        blank,
        correct.astype(float),
        blank,
        blank,
        np.full(size, np.nan),
        np.zeros(size, bool),
    )


def pool(prompts: Sequence[str], *families: Drawn) -> Recorded:
    problems = tuple(Problem(str(i), prompt, "") for i, prompt in enumerate(prompts))
    return Recorded("made", problems, ((),) * len(prompts), families)


def rows(found: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    assert found is not None
    return {row["name"]: row for row in found["rows"]}


@pytest.fixture(scope="module")
def telling() -> Recorded:
    """Long prompts and, more so, those with many digits need the strong model."""
    rng = np.random.default_rng(1)
    digits = rng.integers(1, 9, 200)
    words = rng.integers(1, 9, 200)
    prompts = [f"what is {'of ' * w}{'7' * d}?" for w, d in zip(words, digits)]
    hard = rng.random(200) < digits / 9
    return pool(prompts, drawn(STRONG, rng.random(200) < 0.9), drawn(WEAK, ~hard))


def test_rows_rank_as_their_knowledge_does(telling: Recorded) -> None:
    found = routing(Gauge(telling, "calls"), 0)
    assert found is not None and (found["weak"], found["strong"]) == ("weak", "strong")
    assert found["weak_accuracy"] == telling.drawn[1].correct.mean()
    assert found["strong_accuracy"] == telling.drawn[0].correct.mean()
    by = rows(found)
    assert list(by) == ["random", "prompt length", "learned", "oracle"]
    assert by["random"] == {"name": "random", "apgr": 0.5, "cpt20": 0.2, "cpt50": 0.5, "cpt80": 0.8}
    assert 0.5 < by["prompt length"]["apgr"] < by["learned"]["apgr"] < by["oracle"]["apgr"]
    assert by["learned"]["cpt80"] > by["oracle"]["cpt80"]


def test_what_is_learned_never_saw_the_problem() -> None:
    """Noise has many features; a rule that had seen the labels would reach 0.62 here."""
    pieces = ["a", "=", "b", "+", "*", "(", ")", "-", "/", "\\frac", ";", "?", "A.", "é", "{", "}", "^", "<"]
    pieces += ["3", "7", "12", "99", "1234"]
    areas = []
    for seed in (2, 3):
        rng = np.random.default_rng(seed)
        prompts = [" ".join(rng.choice(pieces, rng.integers(3, 30))) for _ in range(200)]
        made = pool(prompts, drawn(WEAK, rng.random(200) < 0.5), drawn(STRONG, rng.random(200) < 0.9))
        areas.append(rows(routing(Gauge(made, "calls"), seed))["learned"]["apgr"])
    assert np.mean(areas) == pytest.approx(0.5, abs=0.06)


def test_a_rule_without_examples_is_a_random_router() -> None:
    right = np.ones(40)
    right[:5] = 0  # too few to learn from, and not equally many in each fold
    made = pool([f"what is {'9' * (1 + i % 7)}?" for i in range(40)], drawn(WEAK, right), drawn(STRONG, np.ones(40)))
    assert rows(routing(Gauge(made, "calls"), 0))["learned"]["apgr"] == pytest.approx(0.5)


def test_without_prompts_nothing_is_said_of_them(telling: Recorded) -> None:
    bare = replace(telling, problems=tuple(replace(p, prompt="") for p in telling.problems))
    assert list(rows(routing(Gauge(bare, "calls"), 0))) == ["random", "oracle"]


def test_draws_count_as_chances_and_of_a_role_the_most_accurate_setting() -> None:
    half = drawn(replace(WEAK, temperature=0.5), np.array([1, 0, 0, 0, np.nan, 1]), 2)
    worse = drawn(replace(WEAK, temperature=1.0), np.array([0, 0, 1]))
    made = pool(("", "", ""), worse, half, drawn(STRONG, np.ones(3)))
    found = routing(Gauge(made, "calls"), 0)
    assert found is not None and found["weak_accuracy"] == pytest.approx(
        (0.5 + 0 + 1) / 3
    )  # a draw without a label is none


def test_what_was_chosen_among_many_draws_is_no_single_draw() -> None:
    chosen = drawn(replace(WEAK, strategy="best_of_100"), np.array([1, 1, 0]))
    plain = drawn(WEAK, np.array([1, 0, 0]))
    made = pool(("", "", ""), chosen, plain, drawn(replace(STRONG, strategy="greedy"), np.ones(3)))
    found = routing(Gauge(made, "calls"), 0)
    assert found is not None and found["weak_accuracy"] == pytest.approx(1 / 3) and found["strong_accuracy"] == 1


def test_nothing_is_said_unless_one_of_two_models_is_better() -> None:
    prompts = ("a", "b", "c", "d")
    some, other = np.array([1, 1, 0, 0]), np.array([0, 0, 1, 1])
    one, two = drawn(WEAK, some), drawn(STRONG, other)
    three = drawn(Family("third", "third"), np.ones(4))
    for families in ((one,), (one, two), (one, two, three)):
        assert routing(Gauge(pool(prompts, *families), "calls"), 0) is None
