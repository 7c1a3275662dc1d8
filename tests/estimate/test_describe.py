"""Each figure of a description against a pool that is small enough to count by hand."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from autotts.cli import run_cli
from autotts.core.task import Problem
from autotts.estimate.describe import Description, budget, describe
from autotts.pools.recorded import Drawn, Family, Recorded

NAN = float("nan")


def drawn(
    answers: list[list[int]],
    correct: list[list[float]],
    tokens: list[list[int]] | None = None,
    scores: list[list[float]] | None = None,
    **family: object,
) -> Drawn:
    """Draws by problem, as lists."""

    def flat(values: list[list[float]] | list[list[int]] | None, blank: float, kind: type) -> np.ndarray:
        rows = [[blank] * len(row) for row in answers] if values is None else values
        return np.array([x for row in rows for x in row], kind)

    size = sum(map(len, answers))
    return Drawn(
        Family(**{"role": "S", "model": "S", "temperature": 0.7, "parameters": 10**9} | family),  # type: ignore[arg-type]
        np.concatenate([[0], np.cumsum([len(row) for row in answers])]),
        flat(answers, -1, np.int64),
        flat(correct, NAN, np.float64),
        flat(tokens, -1, np.int64),
        np.full(size, -1),
        flat(scores, NAN, np.float64),
        np.zeros(size, bool),
    )


def pool(*families: Drawn) -> Recorded:
    problems = tuple(Problem(f"p{i}", "", "0") for i in range(len(families[0].counts)))
    return Recorded("made", problems, tuple(("0", "1", "2") for _ in problems), families)


def one(*families: Drawn) -> Description:
    return describe(pool(*families))[0]


# Two problems of four draws; answer 0 is right.
ANSWERS = [[0, 0, 1, 2], [1, 1, -1, 0]]
CORRECT = [[1.0, 1, 0, 0], [0.0, 0, 0, 1]]


def test_accuracy_is_the_mean_over_problems_with_an_interval_over_problems() -> None:
    got = one(drawn([[0, 0, 1, 2], [0]], [[1.0, 1, 0, 0], [1.0]]))
    assert got.accuracy is not None
    assert got.accuracy.value == pytest.approx(0.75)
    # Two problems, 0.5 and 1: the mean's variance is 0.0625, which 3 independent draws at 0.75 would have.
    assert (got.accuracy.low, got.accuracy.high) == pytest.approx(wilson(0.75, 3), abs=1e-6)
    assert (got.problems, got.samples, got.fewest, got.median, got.most) == (2, 5, 1, 2.5, 4)


def wilson(p: float, n: float) -> tuple[float, float]:
    z = 1.959964
    roots = np.roots([1 + z * z / n, -(2 * p + z * z / n), p * p])
    return float(min(roots)), float(max(roots))


def test_single_draws_have_the_plain_wilson_interval_and_certainty_is_not_claimed() -> None:
    mixed = one(drawn([[0]] * 50, [[float(i < 20)] for i in range(50)])).accuracy
    assert mixed is not None
    assert (mixed.low, mixed.high) == pytest.approx(wilson(0.4, 49), abs=1e-6)  # the unbiased variance: n - 1
    perfect = one(drawn([[0]] * 50, [[1.0]] * 50)).accuracy
    assert perfect is not None
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert perfect.low == pytest.approx(wilson(1.0, 50)[0], abs=1e-6)


def test_the_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hit = 0
    for _ in range(1500):
        chance = rng.beta(1.0, 1.5, 40)
        right = rng.random((40, 8)) < chance[:, None]
        found = one(drawn([[0] * 8] * 40, right.astype(float).tolist(), strategy="runs")).accuracy
        assert found is not None
        hit += found.low <= 0.4 <= found.high
    assert 0.925 <= hit / 1500 <= 0.97


def test_pass_and_majority_at_k_equal_what_enumeration_gives() -> None:
    got = one(drawn(ANSWERS, CORRECT))
    assert [at.k for at in got.pass_at] == [2, 4]
    for at in got.pass_at:
        sets = [[any(row[i] for i in some) for some in combinations(range(4), at.k)] for row in CORRECT]
        assert at.value == pytest.approx(np.mean(sets))
    for at in got.majority_at:
        sets = [[share(row, some) for some in combinations(range(4), at.k)] for row in ANSWERS]
        assert at.value == pytest.approx(np.mean(sets))
        assert at.problems == 2


def share(answers: list[int], some: tuple[int, ...]) -> float:
    """The chance that the most frequent answer is answer 0, ties broken at random."""
    read = [answers[i] for i in some if answers[i] >= 0]
    votes = {a: read.count(a) for a in read}
    best = [a for a, n in votes.items() if n == max(votes.values())]
    return best.count(0) / len(best) if best else 0.0


def test_figures_at_k_are_of_the_problems_that_have_k_draws() -> None:
    got = one(drawn([[0] * 4, [0] * 4, [1] * 8, [1]], [[1.0] * 4, [1.0] * 4, [0.0] * 8, [1.0]]))
    assert [(at.k, at.problems) for at in got.pass_at] == [(2, 3), (4, 3)]  # eight draws of one problem say little
    assert got.pass_at[0].value == pytest.approx(2 / 3)


def flips(chance: np.ndarray, draws: int, seed: int = 0) -> Drawn:
    """Draws of problems whose chances are given."""
    right = np.random.default_rng(seed).random((len(chance), draws)) < chance[:, None]
    return drawn([[0] * draws] * len(chance), right.astype(float).tolist())


def test_pass_at_k_beyond_the_pool_is_that_of_more_draws_of_the_same_problems() -> None:
    chance = np.random.default_rng(1).beta(0.6, 1.2, 200)
    got = one(flips(chance, 16))
    assert [(at.k, at.problems, at.extrapolated) for at in got.beyond] == [(32, 200, True), (64, 200, True)]
    for at in got.beyond:
        truth = float((1 - (1 - chance) ** at.k).mean())
        assert at.value == pytest.approx(truth, abs=0.03)
        assert at.low < truth < at.high
        assert at.high - at.low < 0.15
    assert got.beyond_note is None
    assert got.pass_at[-1].value < got.beyond[0].value < got.beyond[1].value


@pytest.mark.parametrize(
    "of",
    [
        flips(np.full(9, 0.5), 16),  # too few problems
        flips(np.full(20, 0.5), 7),  # too few draws
        flips(np.ones(20), 16),
        flips(np.zeros(20), 16),
        flips(np.repeat([0.0, 1.0], 10), 16),  # always right or never: more draws change nothing that was seen
    ],
)
def test_nothing_is_said_beyond_the_pool_where_nothing_tells(of: Drawn) -> None:
    got = one(of)
    assert (got.beyond, got.beyond_note) == ((), None)


def test_a_fit_that_misses_what_was_seen_is_not_believed() -> None:
    # Two kinds of problems, of which no Beta has the shape: some always right, the others rarely and alike.
    got = one(flips(np.repeat([1.0, 0.06], [60, 60]), 64))
    assert got.beyond == ()
    assert got.beyond_note == "no extrapolation: the fit misses pass@k inside the pool"


def test_what_is_no_independent_sample_has_no_figures_of_several_draws() -> None:
    got = one(drawn(ANSWERS, CORRECT, strategy="beam(n=4)"))
    assert (got.pass_at, got.majority_at) == ((), ())
    assert got.accuracy is not None


def test_draws_without_labels_are_left_out_of_what_needs_labels() -> None:
    got = one(drawn(ANSWERS, [CORRECT[0], [NAN, 0, NAN, 1]]))
    assert got.accuracy is not None
    assert got.accuracy.value == pytest.approx(0.5)
    assert [(at.k, at.problems, at.value) for at in got.pass_at if at.k == 4] == [(4, 1, 1.0)]
    assert "some labels" in got.missing
    bare = one(drawn(ANSWERS, [[NAN] * 4] * 2))
    assert (bare.accuracy, bare.pass_at, bare.majority_at, bare.auc) == (None, (), (), None)
    assert "labels" in bare.missing


def test_lengths_within_and_between_problems_are_told_apart() -> None:
    # Within each problem the right draws are longer, and the problem with fewer right draws has longer ones.
    tokens = [[20, 22, 10, 12], [100, 102, 104, 120]]
    got = one(drawn(ANSWERS, CORRECT, tokens))
    within = np.corrcoef([4, 6, -6, -4, -6.5, -4.5, -2.5, 13.5], [0.5, 0.5, -0.5, -0.5, -0.25, -0.25, -0.25, 0.75])
    assert got.length_within == pytest.approx(within[0, 1])
    assert got.length_between == pytest.approx(-1.0)
    assert got.tokens == pytest.approx(61.25)
    assert got.tokens_p95 == 120.0


def test_a_constant_has_no_correlation() -> None:
    got = one(drawn(ANSWERS, CORRECT, [[7] * 4] * 2))
    assert (got.length_within, got.length_between) == (None, None)


def test_auc_counts_pairs_within_problems_and_ties_as_half() -> None:
    got = one(drawn(ANSWERS, CORRECT, scores=[[0.9, 0.2, 0.2, 0.1], [9.0, 8.0, NAN, 9.0]]))
    # First problem: 2 + 1.5 of 4 pairs; second: one tie and one win of 2.
    assert got.auc == pytest.approx((3.5 + 1.5) / 6)
    assert "some scores" in got.missing


def test_what_is_missing_is_listed() -> None:
    got = one(drawn([[-1], []], [[1.0], []], temperature=None, parameters=None))
    assert got.unread == 1.0
    assert got.missing == (
        "answers", "tokens", "prompt tokens", "scores", "parameters", "temperature", "probes", "1 of 2 problems",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("families", "expected"),
    [
        ([drawn(ANSWERS, CORRECT, [[1000] * 4] * 2)], "8e12flops"),
        ([drawn(ANSWERS, CORRECT, [[1000] * 4] * 2, parameters=None)], "4000tokens"),
        ([drawn(ANSWERS, CORRECT, [[1000] * 4] * 2), drawn(ANSWERS, CORRECT, role="L")], "4calls"),
        ([drawn([[0], [1]], [[1.0], [0.0]])], "2calls"),
    ],
)
def test_a_budget_to_begin_with_is_in_a_unit_that_the_pool_knows(families: list[Drawn], expected: str) -> None:
    recorded = pool(*families)
    assert budget(describe(recorded), recorded) == expected


def test_the_command_describes_the_models_that_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pool.jsonl"
    rows = [
        {"prompt_id": f"p{p}", "prompt": "?", "answer": "1", "model": model, "strategy": "sample", "sample_index": i,
         "extracted": str(i % 2), "correct": i % 2 == 1, "completion_tokens": 10}
        for model in ("S", "L") for p in range(3) for i in range(4)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run_cli(["pool", "stats", str(path), "--models", "L", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [family["role"] for family in found["families"]] == ["L"]
    assert found["families"][0]["accuracy"]["value"] == 0.5
    assert found["next"] == [f"autotts optimize --pool {path} --budget 40tokens"]
    assert run_cli(["pool", "stats", str(path)]) == 0
    out = capsys.readouterr().out
    assert "maj@" in out
    assert f"\n  autotts optimize --pool {path} --budget 40tokens\n" in out
    assert run_cli(["pool", "stats", str(path), "--models", "M"]) == 2
    assert "unknown model 'M'" in capsys.readouterr().err
