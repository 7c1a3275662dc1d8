"""Arms on recorded answers: what replay and the estimates say is the same, and what cannot be said is an error."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autotts.errors import InputError
from autotts.pools.recorded import Recorded
from autotts.search.evaluate_pool import Asked, arms_of, best_unit, evaluate_arms
from autotts.search.gauge import Gauge
from autotts.search.played import play
from autotts.search.suited import Pricing, narrowed, needs, suited
from autotts.strategies.arms import parse, show
from autotts.worlds.recorded import Recording
from tests.pools.make import LARGE, SMALL, make

TOKENS = Pricing("tokens")


@pytest.mark.parametrize(
    "text",
    [
        "vote(n=5, model=S, temperature=0.7)",
        "first_finish(n=5, k=2, model=L, temperature=0.7)",
        "adaptive(most=7, batch=2, model=S, temperature=0.7)",
        "esc(most=7, window=3, model=S, temperature=0.7)",
        "best_of_n(n=5, by=score, model=S, temperature=0.7)",
        "weighted_vote(n=5, by=score, model=S, temperature=0.7)",
        "cascade(small=S, large=L, n=3, m=2, sure=1, temperature=0.7)",
        "staged(small=S, large=L, n=3, m=2, chunk=5, limit=30, patience=2, temperature=0.7)",
        "cut(n=5, limit=20, model=S, temperature=0.7)",
        "cut(n=5, limit=40, model=S, temperature=0.7)",
    ],
)
@pytest.mark.parametrize("unit", ["flops", "tokens"])
def test_replay_and_estimate_agree_ordering_by_ordering(text: str, unit: str) -> None:
    pool = make(problems=6, counts=12, every=5, scored=True, prompt_tokens=3)
    arm = parse(text)
    once = play(pool, arm, Pricing(unit, probe_tokens=2), orders=64, seed=4)
    part = suited(pool, [arm])[0]
    same = Gauge(part, unit, 2)(arm, 64, 4)
    assert same.costs == pytest.approx(once.costs)
    whole = play(pool, arm, Pricing(unit, probe_tokens=2), seed=4)
    assert (once.by, whole.by) == ("replay", "estimate")
    assert once.tokens is not None and whole.tokens is not None
    assert once.sequential is not None and whole.sequential is not None
    for ours, theirs in ((whole.cost, once.cost), (whole.tokens, once.tokens), (whole.sequential, once.sequential)):
        assert ours == pytest.approx(theirs, rel=0.25)
    assert whole.value == pytest.approx(once.value, abs=0.2)  # three standard errors of 64 orderings
    assert abs(whole.value.mean() - once.value.mean()) < 0.07


def test_one_draw_is_the_mean_of_the_draws() -> None:
    pool = make(problems=3, counts=5)
    found = play(pool, parse("one(model=L, temperature=0.7)"), Pricing("flops"))
    drawn = pool.drawn[1]
    assert found.value == pytest.approx(drawn.correct.reshape(3, 5).mean(1))
    assert found.cost == pytest.approx(8000 * drawn.tokens.reshape(3, 5).mean(1))
    assert found.tokens == pytest.approx(drawn.tokens.reshape(3, 5).mean(1))
    assert [d.family.role for d in found.pool.drawn] == ["L"]


def test_a_cap_ends_runs_and_is_never_exceeded() -> None:
    pool = make(problems=5, counts=8)
    arm = parse("vote(n=4, model=S, temperature=0.7)")
    free = play(pool, arm, TOKENS, orders=40)
    tight = play(pool, arm, TOKENS, cap=30, orders=40)
    none = play(pool, arm, TOKENS, cap=1)
    assert free.cut == 0 < tight.cut <= 1 == none.cut
    assert tight.costs.max() <= 30 < free.costs.max() and tight.by == "replay"
    assert tight.value.mean() <= free.value.mean() and none.value.mean() <= tight.value.mean()


def test_progress_is_told() -> None:
    seen: list[tuple[int, int]] = []
    play(make(), parse("vote(n=2, model=S, temperature=0.7)"), TOKENS, orders=2, tell=lambda *at: seen.append(at))
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4)]


# ---------------------------------------------------------------- which problems


def test_problems_with_too_few_draws_or_no_labels_are_left_out_in_words() -> None:
    pool = make(problems=4, counts={0: 8, 1: 3, 2: 8, 3: 8}, every=5)
    pool.drawn[0].correct[-1] = math.nan
    arm = parse("vote(n=4, model=S, temperature=0.7)")
    part, notes = suited(pool, [arm])
    assert [p.id for p in part.problems] == ["p0", "p2"]
    assert notes == (
        "1 of 4 prompts have fewer than 4 draws of S (the most is 8), and are left out",
        "1 of 4 prompts have draws of S whose label is not known, and are left out",
    )
    found = play(pool, arm, TOKENS)
    assert len(found.value) == 2 and found.notes == notes
    with pytest.raises(
        InputError, match=r"4 of 4 prompts have fewer than 9 draws of S \(the most is 8\).* ask for fewer"
    ):
        play(pool, parse("vote(n=9, model=S, temperature=0.7)"), TOKENS)


def test_a_part_of_a_pool_holds_the_same_samples() -> None:
    pool = make(problems=4, counts={0: 8, 1: 3, 2: 5, 3: 8}, every=5)
    part = narrowed(pool, np.array([1, 3]), [1])
    assert (part.dataset, part.digest, len(part.drawn)) == (pool.dataset, pool.digest, 1)
    whole, some = Recording(pool), Recording(part)
    for new, old in enumerate((1, 3)):
        a, b = whole.shelf(1, old), some.shelf(0, new)
        assert a.tokens == b.tokens
        for sample, tokens in enumerate(a.tokens):
            assert a.reply(sample).value.answer == b.reply(sample).value.answer
            assert [a.probe(sample, t) for t in range(5, tokens, 5)] == [
                b.probe(sample, t) for t in range(5, tokens, 5)
            ]
    assert narrowed(pool, np.arange(4), [0]).drawn[0] is pool.drawn[0]


def test_what_arms_need() -> None:
    assert needs(parse("one(model=S)")) == {"S": 1}
    assert needs(parse("adaptive(most=9, model=S)")) == {"S": 9}
    assert needs(parse("staged(small=S, large=L, n=2, m=5)")) == {"S": 2, "L": 5}
    assert needs(parse("cascade(small=S, large=S, n=2, m=5)")) == {"S": 7}


# ---------------------------------------------------------------- what a pool cannot say


def broken(**changes: Any) -> Recorded:
    pool = make([replace(SMALL, **changes.pop("family", {}))], every=5)
    return replace(pool, drawn=(replace(pool.drawn[0], **changes),))


LOST = np.full(32, -1)
BEAM = "beam(n=4, m=2, by=score, model=S, temperature=0.7)"
VOTE, STAGED = "vote(n=3, model=S, temperature=0.7)", "staged(small=S, large=S, n=1, m=1, chunk=5, temperature=0.7)"
CUT = "cut(n=3, limit=20, model=S, temperature=0.7)"


@pytest.mark.parametrize(
    ("pool", "text", "unit", "words"),
    [
        (broken(tokens=LOST), VOTE, "flops", "its flops are not known: only calls can be counted (--unit calls)"),
        (broken(tokens=LOST), STAGED, "calls", "which of its draws ends first is not known"),
        (broken(tokens=LOST), "first_finish(n=2, model=S, temperature=0.7)", "calls", "which of its draws ends first"),
        (broken(family={"parameters": None}), VOTE, "flops", "--params S=4.02e9, or use --unit tokens"),
        (broken(answer=LOST), VOTE, "tokens", "none of S was recorded (extracted); one, best_of_n and"),
        (broken(), "best_of_n(n=3, by=score, model=S, temperature=0.7)", "tokens", "needs scores"),
        (broken(score=np.ones(32)), "best_of_n(n=3, model=S, temperature=0.7)", "tokens", "own score is by=score"),
        (broken(), "beam(n=4, m=2, by=score, model=S, temperature=0.7)", "tokens", "needs scores"),
        (
            broken(score=np.ones(32)),
            "beam(n=4, m=2, by=score, model=S, temperature=0.7)",
            "tokens",
            "where a step ends",
        ),
        (broken(family={"strategy": "greedy"}), VOTE, "tokens", "independent"),
        (broken(probe_every=0), STAGED, "calls", "recorded without probes"),
        (broken(probe_every=0), STAGED, "tokens", "reads answers off running draws, and this pool has no probes"),
        (broken(probe_every=0), CUT, "tokens", "reads answers off running draws, and this pool has no probes"),
        (broken(probe_every=0), CUT, "calls", "recorded without probes"),
        (broken(answer=LOST), CUT, "tokens", "counts equal answers, and none of S was recorded"),
        (broken(), CUT.replace("limit=20", "limit=22"), "tokens", "limit expects a multiple of 5 tokens"),
        (broken(), STAGED.replace("chunk=5", "chunk=7"), "calls", "probed every 5 tokens"),
        (broken(), "vote(n=3, model=M, temperature=0.7)", "tokens", "'M' is not in the pool made; it has S"),
        (broken(), "vote(n=3, model=S, temperature=0.2)", "tokens", "it has S at temperature=0.7, top_p=1"),
    ],
)
def test_what_cannot_be_said_is_an_error_that_tells_why(pool: Recorded, text: str, unit: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        play(pool, parse(text), Pricing(unit))
    assert words in str(error.value)


def test_a_limit_that_no_draw_reaches_needs_no_probes_and_probes_are_calls() -> None:
    free = parse(CUT.replace("limit=20", "limit=9999"))
    bare, whole = play(broken(probe_every=0), free, TOKENS), play(broken(), parse(VOTE), TOKENS)
    assert bare.by == "estimate" and bare.value.tolist() == whole.value.tolist()
    assert bare.costs.tolist() == whole.costs.tolist()
    counted = play(broken(), parse(CUT), Pricing("calls"))
    assert counted.by == "replay" and 3 < counted.cost.mean() <= counted.costs.max() <= 6


def test_without_tokens_calls_are_counted_and_without_answers_draws_can_be_chosen() -> None:
    found = play(broken(tokens=LOST), parse(VOTE), Pricing("calls"))
    assert found.cost.tolist() == [3.0] * 4 and found.tokens is None and found.sequential is None
    pool = broken(answer=LOST, score=np.linspace(0, 1, 32), correct=np.tile([0.0, 0, 0, 0, 0, 0, 0, 1], 4))
    best = parse("best_of_n(n=8, by=score, model=S, temperature=0.7)")
    assert play(pool, best, TOKENS).value.tolist() == [1.0] * 4 == play(pool, best, TOKENS, orders=5).value.tolist()


# ---------------------------------------------------------------- texts and figures


def test_what_a_text_leaves_open_is_filled_from_the_pool() -> None:
    pool = make([SMALL, LARGE, replace(SMALL, temperature=0.2, top_p=0.9)])
    assert [show(arm) for arm in arms_of(pool, "vote(n=4)")] == [
        "vote(n=4, model=S, temperature=0.7)",
        "vote(n=4, model=L, temperature=0.7)",
        "vote(n=4, model=S, temperature=0.2, top_p=0.9)",
    ]
    assert [show(arm) for arm in arms_of(pool, "vote(n=4, model=S)")] == [
        "vote(n=4, model=S, temperature=0.7)",
        "vote(n=4, model=S, temperature=0.2, top_p=0.9)",
    ]
    assert [show(arm) for arm in arms_of(pool, "vote(n=4, model=S, temperature=0.7)")] == [
        "vote(n=4, model=S, temperature=0.7)",
        "vote(n=4, model=S, temperature=0.7, top_p=0.9)",
    ]
    two = arms_of(pool, "cascade(small=S, large=L)")
    assert [show(arm) for arm in two] == ["cascade(small=S, large=L, n=3, m=4, temperature=0.7)"]
    assert show(arms_of(pool, "best_of_n(model=L)")[0]).startswith("best_of_n(n=8, by=score")
    unknown = make([replace(SMALL, temperature=None, top_p=None)])
    assert show(arms_of(unknown, "vote()")[0]) == "vote(n=8, model=S, temperature=0.8)"


def test_the_best_unit_that_can_be_counted() -> None:
    sizeless = replace(LARGE, parameters=None)
    pool = make([SMALL, sizeless])
    assert best_unit(pool, arms_of(pool, "one(model=S)")) == "flops"
    assert best_unit(pool, arms_of(pool, "one()")) == "tokens"
    pool.drawn[1].tokens[3] = -1
    assert best_unit(pool, arms_of(pool, "one(model=S)")) == "flops"
    assert best_unit(pool, arms_of(pool, "one()")) == "calls"
    assert best_unit(make([replace(SMALL, parameters=None, active_parameters=5)]), [parse("one(model=S)")]) == "flops"


def test_figures_of_one_arm_and_of_several() -> None:
    pool = replace(make(problems=8), notes=("prompt tokens are not there",))
    found = evaluate_arms(pool, "vote(n=4, model=S)", Asked())
    assert found["format"] == "autotts.evaluation/1" and found["arm"] == "vote(n=4, model=S, temperature=0.7)"
    assert found["accuracy"]["low"] <= found["accuracy"]["value"] <= found["accuracy"]["high"]
    cost = found["cost"]
    assert (
        cost["unit"] == found["unit"] == "flops" and cost["low"] <= cost["mean"] <= cost["high"] and cost["cap"] is None
    )
    assert cost["mean"] == pytest.approx(2000 * found["tokens"]["mean"]) and cost["p95"] > cost["mean"]
    assert found["sequential_tokens"]["mean"] < found["tokens"]["mean"] and found["prompts"] == 8
    assert found["notes"][0] == "prompt tokens are not there" and len(found["notes"]) == 2

    several = evaluate_arms(make([SMALL, LARGE], problems=8), "vote(n=4)", Asked(unit="tokens"))
    assert several["format"] == "autotts.evaluations/1" and several["unit"] == "tokens"
    assert [row["arm"] for row in several["arms"]] == [f"vote(n=4, model={m}, temperature=0.7)" for m in "SL"]

    pool = make([SMALL, LARGE])
    short = replace(pool, drawn=(pool.drawn[0], make([LARGE], counts=2).drawn[0]))
    left = evaluate_arms(short, "vote(n=4)", Asked())
    assert len(left["arms"]) == 1 and "vote(n=4, model=L, temperature=0.7) is left out: " in left["notes"][0]
    with pytest.raises(InputError, match="fewer than 9 draws"):
        evaluate_arms(short, "vote(n=9)", Asked())

    sizeless = make([SMALL, replace(LARGE, parameters=None)])
    sized = evaluate_arms(sizeless, "one()", Asked(unit="flops"))
    assert [row["unit"] for row in sized["arms"]] == ["flops"] and "--params L=4.02e9" in sized["notes"][0]
