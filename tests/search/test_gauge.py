"""What arms give on recorded answers: the formulas, problem by problem, and what a pool cannot tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autotts.core.strategy import Strategy
from autotts.core.task import Problem
from autotts.errors import InputError
from autotts.estimate.replayed import Estimate, Pool, estimate
from autotts.pools.recorded import Drawn, Recorded
from autotts.search.gauge import Gauge
from autotts.search.suited import narrowed
from autotts.strategies.arms import parse
from tests.pools.make import LARGE, SMALL, make

WHOLE = (
    "one(model=S, temperature=0.7)",
    "vote(n=3, model=S, temperature=0.7)",
    "vote(n=5, model=S, temperature=0.7)",
    "weighted_vote(n=3, model=S, by=score, temperature=0.7)",
    "best_of_n(n=4, model=S, by=score, temperature=0.7)",
    "first_finish(n=4, k=1, model=S, temperature=0.7)",
    "first_finish(n=4, k=2, model=S, temperature=0.7)",
    "adaptive(most=5, threshold=0.9, batch=1, model=S, temperature=0.7)",
    "esc(most=4, window=2, model=S, temperature=0.7)",
)
CASCADE = "cascade(small=S, large=L, n=2, m=2, temperature=0.7)"
CUT = "cut(n=3, limit=15, model=S, temperature=0.7)"
STAGED = "staged(small=S, large=L, n=2, m=2, chunk=5, limit=20, temperature=0.7)"
FIGURES = ("value", "cost", "worst", "sequential")


def with_draws(pool: Recorded, change: Callable[[Drawn], dict[str, Any]], role: str = "S") -> Recorded:
    """The pool with other draws of a role."""
    drawn = tuple(replace(d, **change(d)) if d.family.role == role else d for d in pool.drawn)
    return replace(pool, drawn=drawn)


def same(one: Estimate, two: Estimate) -> None:
    for name in FIGURES:
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), err_msg=name)


# ---------------------------------------------------------------- what it gives


@pytest.mark.parametrize("arm", WHOLE)
def test_whole_draws_are_those_of_the_estimators(arm: str) -> None:
    made = make(problems=6, counts=6, seed=1, prompt_tokens=7, scored=True)
    drawn = made.drawn[0]
    shape = (6, 6)
    tokens = drawn.tokens.reshape(shape)
    pool = Pool(
        answers=drawn.answer.reshape(shape),
        correct=drawn.correct.reshape(shape) > 0,
        prompt_cost=np.full(6, 7.0),
        cost=tokens.astype(float),
        tokens=tokens,
        text=np.broadcast_to(np.arange(6), shape),
        score=drawn.score.reshape(shape),
        score_cost=np.zeros(shape),
        score_prompt_cost=np.zeros(6),
    )
    strategy = parse(arm)
    found = estimate(pool, strategy, seed=3, orders=10)
    same(Gauge(made, "tokens")(strategy, 10, 3), found)
    flops = Gauge(made, "flops")(strategy, 10, 3)  # two a token and parameter
    np.testing.assert_allclose(flops.cost, 2000 * found.cost)
    np.testing.assert_allclose(flops.value, found.value)


@pytest.mark.parametrize("arm", [*WHOLE, CUT, CASCADE, STAGED])
def test_problems_with_unequal_counts_are_each_what_they_are_alone(arm: str) -> None:
    made = make(problems=5, counts={0: 8, 1: 5, 2: 8, 3: 6, 4: 5}, seed=2, every=5, scored=True)
    other = make(problems=5, counts={0: 6, 1: 6, 2: 9, 3: 6, 4: 5}, seed=3, every=5)
    made = replace(made, drawn=(made.drawn[0], other.drawn[1]))
    gauge, strategy = Gauge(made, "flops"), parse(arm)
    found = gauge(strategy, 12)
    assert [len(lot.rows) for lot in gauge.sources[0].lots] == [2, 1, 2] and gauge.sources[0].least == 5
    for p in range(5):
        alone = Gauge(narrowed(made, np.array([p]), [0, 1]), "flops")(strategy, 12)
        for name in FIGURES:
            assert getattr(found, name)[p] == pytest.approx(getattr(alone, name)[0]), (name, p)
        assert set(found.costs[p].tolist()) == set(alone.costs[0].tolist())


def test_a_vote_of_draws_that_are_not_cut_off_is_a_vote() -> None:
    vote = parse(WHOLE[1])
    for every in (0, 5):  # also where there are no probes, which are not needed
        gauge = Gauge(make(counts=6, every=every, longest=40), "tokens")
        same(gauge(parse(CUT.replace("15", "40"))), gauge(vote))
    short = gauge(parse(CUT))
    assert (short.cost < gauge(vote).cost).all() and short.worst.max() <= 3 * 15


def test_problems_that_a_model_has_no_draws_of_are_left_out() -> None:
    full, partly = make(problems=4, counts=4), make(problems=4, counts={0: 4, 2: 4}, seed=5)
    gauge = Gauge(replace(full, drawn=(full.drawn[0], partly.drawn[1])), "tokens")
    assert gauge.rows.tolist() == [0, 2] and [p.id for p in gauge.problems] == ["p0", "p2"]
    found = gauge(parse(WHOLE[1]))
    np.testing.assert_allclose(found.value, Gauge(full, "tokens")(parse(WHOLE[1])).value[[0, 2]])
    rest = make(problems=4, counts={1: 4, 3: 4}, seed=5)
    with pytest.raises(InputError, match=r"every model has labelled draws of, found none.*--models \(there are S, L\)"):
        _ = Gauge(replace(full, drawn=(partly.drawn[0], rest.drawn[1])), "tokens").rows


def test_an_answer_is_right_as_it_was_labelled() -> None:
    made = make([SMALL], problems=2, counts=6, seed=1)
    problems = tuple(Problem(p.id, p.prompt, "w0") for p in made.problems)  # labels say "gold" is right all the same
    gauge = Gauge(replace(made, problems=problems), "tokens")
    seen = [set(made.drawn[0].answer[i * 6 : i * 6 + 6].tolist()) for i in range(2)]
    for p in range(2):
        assert gauge.right[p, 0] == (0 in seen[p]) and not gauge.right[p, list({1, 2, 3} & seen[p])].any()


# ---------------------------------------------------------------- labels


def test_draws_without_a_label_are_left_out_and_told() -> None:
    made = make(problems=4, counts=6, seed=4, every=5, prompt_tokens=3, scored=True)
    hidden = np.zeros(24, bool)
    hidden[[1, 2, 7, 18, 19, 20, 21, 22, 23]] = True  # all of the last problem
    bare = with_draws(made, lambda d: {"correct": np.where(hidden, np.nan, d.correct)})
    gauge = Gauge(bare, "tokens")
    assert gauge.notes == ["9 draws without a label (S) are left out"]
    assert gauge.rows.tolist() == [0, 1, 2]
    assert gauge.recorded.drawn[0].counts.tolist() == [4, 5, 6, 0]
    one = parse(WHOLE[0])
    kept = [made.drawn[0].correct[p * 6 : p * 6 + 6][~hidden[p * 6 : p * 6 + 6]] for p in range(3)]
    np.testing.assert_allclose(gauge(one).value, [x.mean() for x in kept])
    whole = Gauge(made, "tokens")
    for arm in (STAGED, CUT.replace("15", "10")):  # probes went with their draws
        found, same_draws = gauge(parse(arm), 4), whole(parse(arm), 4)
        assert found.value[2] == pytest.approx(same_draws.value[2])
        assert found.cost[2] == pytest.approx(same_draws.cost[2])
    assert Gauge(made, "tokens").notes == []


def test_a_pool_without_labels_is_an_error_that_names_the_model() -> None:
    bare = with_draws(make(), lambda d: {"correct": np.full(len(d.correct), np.nan)}, "L")
    with pytest.raises(InputError, match=r"expected labels .* found none for L: .*--answers.*--models"):
        Gauge(bare, "tokens")


# ---------------------------------------------------------------- scores


def test_scores_outside_0_to_1_are_logits_for_all_problems_alike() -> None:
    made = make([SMALL], problems=3, counts={0: 6, 1: 5, 2: 6}, seed=1, scored=True)
    plain = np.random.default_rng(0).normal(0, 1, 17)
    plain[6:11] = 0.4  # those of the second problem alone would pass for shares
    logits = with_draws(made, lambda d: {"score": plain})
    shares = with_draws(made, lambda d: {"score": 1 / (1 + np.exp(-plain))})
    for arm in WHOLE[3:5]:
        same(Gauge(logits, "tokens")(parse(arm)), Gauge(shares, "tokens")(parse(arm)))
    huge = with_draws(made, lambda d: {"score": np.where(d.score < 0.5, -1e6, 1e6)})
    assert np.isfinite(Gauge(huge, "tokens")(parse(WHOLE[3])).value).all()


def test_draws_without_a_score_are_picked_last() -> None:
    made = make([SMALL], problems=1, counts=4, seed=1, wrong=2)
    score = np.array([0.1, 0.9, np.nan, np.nan])
    pool = with_draws(
        made,
        lambda d: {"score": score, "correct": np.array([1.0, 0, 1, 1]), "answer": np.array([0, 1, 0, 0])},
    )
    gauge = Gauge(pool, "tokens")
    best = gauge(parse("best_of_n(n=4, model=S, by=score, temperature=0.7)"))
    assert gauge.sources[0].scored and best.value.tolist() == [0.0]
    two = gauge(parse("best_of_n(n=2, model=S, by=score, temperature=0.7)"))
    assert two.value[0] == pytest.approx(3 / 6)  # the pairs without the second draw


def test_without_scores_none_can_be_asked_for() -> None:
    made = make(problems=2, counts=4, scored=True)
    gone = with_draws(made, lambda d: {"score": np.full(8, np.nan)})
    gauge = Gauge(gone, "tokens")
    assert [s.scored for s in gauge.sources] == [False, True]
    with pytest.raises(InputError, match="needs scores"):
        gauge(parse(WHOLE[4]))


# ---------------------------------------------------------------- what is missing


def test_without_answers_one_draw_and_the_best_scored_remain() -> None:
    made = make(problems=3, counts=6, scored=True, every=5)
    bare = with_draws(made, lambda d: {"answer": np.full(18, -1)})
    gauge, whole = Gauge(bare, "tokens"), Gauge(made, "tokens")
    same(gauge(parse(WHOLE[0])), whole(parse(WHOLE[0])))
    assert gauge(parse(WHOLE[4])).value.shape == (3,)
    for arm in (WHOLE[1], WHOLE[3], WHOLE[7], WHOLE[8], CASCADE, STAGED):
        with pytest.raises(InputError, match="counts answers, and those of S were not recorded"):
            gauge(parse(arm))


def test_without_tokens_calls_are_counted() -> None:
    bare = with_draws(make(problems=3, counts=6), lambda d: {"tokens": np.full(18, -1)})
    gauge = Gauge(bare, "calls")
    for arm, calls in ((WHOLE[0], 1), (WHOLE[2], 5)):
        found = gauge(parse(arm))
        assert found.cost.tolist() == [calls] * 3 and np.isnan(found.sequential).all()
    assert set(gauge(parse(CASCADE)).costs.ravel().tolist()) <= {2.0, 4.0}
    with pytest.raises(InputError, match="tokens of S are not known"):
        gauge(parse(WHOLE[5]))
    with pytest.raises(InputError, match=r"tokens of S were not recorded \(completion_tokens.*--unit calls"):
        _ = Gauge(bare, "tokens").sources
    none = with_draws(make(problems=3, counts=6), lambda d: {"tokens": np.zeros(18, np.int64)})
    with pytest.raises(InputError, match=r"found 0 in every sample of S.*--unit calls"):
        _ = Gauge(none, "tokens").sources


def test_unknown_parameters_are_an_error_that_says_what_to_give() -> None:
    made = make([replace(SMALL, parameters=None, role="S@high"), LARGE])
    with pytest.raises(InputError, match=r"parameters of S@high are not known.*--params S=4\.02e9.*--unit tokens"):
        _ = Gauge(made, "flops").sources
    assert len(Gauge(made, "tokens").sources) == 2
    with pytest.raises(InputError, match="no price per million"):
        _ = Gauge(made, "usd").sources
    active = make([replace(SMALL, parameters=None, active_parameters=500)])
    assert Gauge(active, "flops")(parse(WHOLE[0])).cost == pytest.approx(
        1000 * Gauge(active, "tokens")(parse(WHOLE[0])).cost
    )


@pytest.mark.parametrize("arm", [WHOLE[1], WHOLE[5], CASCADE])
def test_a_vote_of_draws_that_are_no_samples_is_an_error(arm: str) -> None:
    made = make([replace(SMALL, strategy="greedy"), LARGE])
    gauge = Gauge(made, "tokens")
    assert gauge(parse(WHOLE[0])).value.shape == (4,)
    with pytest.raises(InputError, match="needs independent samples; those of S are of the strategy 'greedy'"):
        gauge(parse(arm))


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        ("beam(n=4, m=2, model=S, temperature=0.7)", "cannot know what other steps would give"),
        ("vote(n=9, model=S, temperature=0.7)", "takes 9 draws of each problem, and the pool has 8"),
        ("vote(n=2, model=M, temperature=0.7)", "no draws of 'M'; it has S, L"),
        ("vote(n=2, model=S, temperature=0.2)", "no draws of S at temperature=0.2, top_p=1; it has temperature=0.7"),
        (STAGED, "no probes"),
        ("cut(n=2, limit=5, model=S, temperature=0.7)", "no probes"),
    ],
)
def test_what_a_pool_cannot_tell_is_an_error(arm: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        Gauge(make(), "tokens")(parse(arm))
    assert words in str(error.value)


# ---------------------------------------------------------------- families


def test_temperatures_of_one_model_are_told_apart() -> None:
    warm, hot = SMALL, replace(SMALL, temperature=1.0)
    gauge = Gauge(make([warm, hot]), "tokens")
    assert gauge.roles == ["S"] and [s.temperature for s in gauge.sources] == [0.7, 1.0]
    assert gauge.source("S", 1.0) is gauge.sources[1] and gauge.source("S", 0.7) is gauge.sources[0]

    def arm(temperature: float) -> Strategy:
        return parse(f"vote(n=3, model=S, temperature={temperature})")

    assert gauge(arm(0.7)).value.tolist() != gauge(arm(1.0)).value.tolist()
    with pytest.raises(InputError, match=r"it has temperature=0\.7, temperature=1"):
        gauge(arm(0.9))


def test_what_was_not_recorded_stands_for_any_value() -> None:
    unstated = replace(SMALL, temperature=None, top_p=None)
    gauge = Gauge(make([unstated, replace(SMALL, top_p=0.9)]), "tokens")
    assert gauge.source("S", 0.2) is gauge.sources[0]
    assert gauge.source("S", 0.7, 0.9) is gauge.sources[1]  # what is known fits better
    alike = Gauge(make([replace(SMALL, strategy="beam"), SMALL]), "tokens")
    assert alike.source("S", 0.7) is alike.sources[1]  # samples can do more
