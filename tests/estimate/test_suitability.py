"""Whether a scorer is trusted: AUC against enumeration, intervals that cover, and the words that are said."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotts.errors import InputError
from autotts.estimate.suitability import CHANCE, UNKNOWN, USEFUL, WORSE, suitability

DRAW = st.tuples(st.integers(0, 4), st.booleans(), st.sampled_from([0.0, 0.25, 0.5, 1.0, math.nan]))


def won(pairs: list[tuple[float, float]]) -> float:
    return sum((a > b) + 0.5 * (a == b) for a, b in pairs)


@given(st.lists(DRAW, min_size=1, max_size=30))
def test_the_figures_are_those_of_all_pairs(draws: list[tuple[int, bool, float]]) -> None:
    got = suitability(*zip(*draws, strict=True))
    both = [(a, b) for a, b in itertools.product(draws, draws) if a[1] and not b[1]]
    both = [(a, b) for a, b in both if not math.isnan(a[2]) and not math.isnan(b[2])]
    same = [(a[2], b[2]) for a, b in both if a[0] == b[0]]
    assert got.pairs == len(same) and got.draws == len(draws)
    assert got.unscored == sum(math.isnan(score) for _, _, score in draws)
    assert (got.within is None) is (not same)
    if got.within is not None:
        assert got.within.value == pytest.approx(won(same) / len(same))
        assert 0.0 <= got.within.low <= got.within.value <= got.within.high <= 1.0
    if got.across is not None:
        assert got.across.value == pytest.approx(won([(a[2], b[2]) for a, b in both]) / len(both))
    gains = []
    for prompt in {prompt for prompt, _, _ in draws}:
        own = [(right, score) for p, right, score in draws if p == prompt]
        known = [score for _, score in own if not math.isnan(score)]
        best = [right for right, score in own if not known or score == max(known)]
        gains.append(sum(best) / len(best) - sum(right for right, _ in own) / len(own))
    assert got.gain.value == pytest.approx(sum(gains) / len(gains), abs=1e-12)


def test_delong_by_hand() -> None:
    """Right 1, 3, 5; wrong 2, 0: placements 1/2, 1, 1 of the right and 2/3, 1 of the wrong."""
    got = suitability([1, 2, 3, 4, 5], [True, True, True, False, False], [1.0, 3.0, 5.0, 2.0, 0.0])
    assert got.within is None and got.across is not None
    half = 1.959964 * math.sqrt(np.var([0.5, 1, 1], ddof=1) / 3 + np.var([2 / 3, 1], ddof=1) / 2)
    assert got.across.value == pytest.approx(5 / 6)
    assert got.across.low == pytest.approx(5 / 6 - half) and got.across.high == 1.0


def drawn(
    rng: np.random.Generator, prompts: int, shift: float, *, level: float = 0.0, draws: int = 8
) -> tuple[list[int], list[bool], list[float]]:
    """Normal scores: those of right draws are higher by `shift`; those of easy prompts by `level` times their ease."""
    owner, correct, scores = [], [], []
    for i in range(prompts):
        ease = rng.uniform(0.1, 0.9)
        right = rng.random(draws) < ease
        offset = rng.normal(0.0, 1.0)  # of the prompt, which draws of it share
        owner += [i] * draws
        correct += right.tolist()
        scores += (rng.normal(0.0, 1.0, draws) + shift * right + level * ease + offset).tolist()
    return owner, correct, scores


@pytest.mark.parametrize(("prompts", "shift"), [(8, 0.0), (8, 1.0), (40, 0.0), (40, 1.0)])
def test_the_interval_covers_the_truth_as_often_as_it_says(prompts: int, shift: float) -> None:
    rng = np.random.default_rng(7)
    truth = 0.5 * (1 + math.erf(shift / 2))  # P(N(shift, 2) > 0)
    found = [suitability(*drawn(rng, prompts, shift), rounds=2).within for _ in range(200)]
    covered = [one.low <= truth <= one.high for one in found if one is not None]
    assert len(covered) == 200 and sum(covered) / 200 >= 0.92
    widths = [one.high - one.low for one in found if one is not None]
    assert float(np.mean(widths)) < (0.5 if prompts == 8 else 0.2)  # and is no wider than it must be


def test_a_scorer_that_knows_is_useful() -> None:
    got = suitability(*drawn(np.random.default_rng(1), 30, 1.5))
    assert got.verdict == USEFUL and got.warning("prm") is None and got.gain.low > 0.0


def test_a_scorer_that_knows_prompts_and_not_answers_is_not() -> None:
    got = suitability(*drawn(np.random.default_rng(1), 60, 0.0, level=12.0))
    assert got.verdict == CHANCE and got.across is not None and got.across.low > 0.5
    warning = got.warning("prm")
    assert warning is not None and warning.startswith(
        "scorer 'prm': no better than chance: votes will not gain (AUC 0."
    )
    assert warning.endswith("it knows prompts, not answers")


def test_a_scorer_of_noise_is_no_better_than_chance() -> None:
    got = suitability(*drawn(np.random.default_rng(3), 60, 0.0))
    assert got.verdict == CHANCE and f"in {got.prompts} prompts" in (got.warning("prm") or "") and 40 < got.prompts < 60


def test_a_scorer_that_is_read_the_wrong_way_round_is_worse() -> None:
    got = suitability(*drawn(np.random.default_rng(1), 30, -1.5))
    assert got.verdict == WORSE and got.gain.high < 0.0
    assert "labels are right" in (got.warning("prm") or "")


@pytest.mark.parametrize("prompts", [1, 2, 4])
def test_a_few_lucky_prompts_prove_nothing(prompts: int) -> None:
    owner = [i for i in range(prompts) for _ in range(2)]
    got = suitability(owner, [True, False] * prompts, [1.0, 0.0] * prompts)
    assert got.within is not None and got.within.value == 1.0 and got.within.low < 0.6
    assert got.verdict == UNKNOWN and "too few graded draws" in (got.warning("prm") or "")


def test_a_wide_interval_around_chance_is_not_known() -> None:
    owner = [i for i in range(6) for _ in range(2)]
    got = suitability(owner, [True, False] * 6, [1.0, 0.0] * 3 + [0.0, 1.0] * 3)
    assert got.within is not None and got.within.value == 0.5 and got.verdict == UNKNOWN


def test_draws_that_are_all_right_tell_nothing() -> None:
    got = suitability([1, 1, 2], [True, True, True], [0.1, 0.2, 0.3])
    assert got.within is None and got.across is None and got.verdict == UNKNOWN
    assert "no prompt has both right and wrong draws" in (got.warning("prm") or "")


def test_scores_that_are_missing_are_said() -> None:
    owner, correct, scores = drawn(np.random.default_rng(1), 30, 2.0)
    got = suitability(owner, correct, [math.nan if i % 10 == 0 else score for i, score in enumerate(scores)])
    assert got.verdict == USEFUL and got.warning("prm") == "scorer 'prm': 24 of 240 draws got no score"


def test_no_draws_are_an_error() -> None:
    with pytest.raises(InputError, match="expected some, found none"):
        suitability([], [], [])
    with pytest.raises(ValueError, match="found 1, 1 and 2"):
        suitability([1], [True], [0.5, 0.5])
