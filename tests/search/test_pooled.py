"""A study on recorded answers: what it chooses, what it reports of that, and the policy that it exports."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autotts.core.task import Problem
from autotts.errors import BudgetError, InputError
from autotts.policy.controller import Controller
from autotts.policy.schema import Policy
from autotts.pools.recorded import Drawn, Recorded
from autotts.search import perprompt, pooled, ways
from autotts.search.board import FIXED, spread
from autotts.search.crossfit import alike, folds
from autotts.search.gauge import Gauge
from autotts.search.pool_recipe import PoolRecipe
from autotts.search.pool_result import assemble, policy_of
from autotts.search.pooled import PoolStudy
from autotts.search.streams import evaluate_policy
from autotts.search.ways import Way
from autotts.strategies.arms import name_of, parse
from tests.pools.make import SMALL, make
from tests.search.test_board import every
from tests.search.test_gauge import with_draws
from tests.search.test_measuring import other_labels, silent

ONE, VOTES = ("one",), ("one", "vote")


def study(pool: Recorded, **recipe: Any) -> PoolStudy:
    given = {"pools": ("made.jsonl",), "unit": "tokens", "candidates": 0, "budgets": 4, **recipe}
    return PoolStudy(PoolRecipe(**given), Gauge(pool, given["unit"]), silent)


def told(found: PoolStudy) -> dict[str, Any]:
    """The result, as it is read from its file."""
    made = assemble(found, name="made", command="autotts", date="2026-01-01", seconds=1.0, routing=None)
    read: dict[str, Any] = json.loads(json.dumps(made, allow_nan=False))
    return read


@pytest.fixture(scope="module")
def pool() -> Recorded:
    return make(problems=40, counts=8, seed=1, prompt_tokens=3)


@pytest.fixture(scope="module")
def plain(pool: Recorded) -> PoolStudy:
    return study(pool, budget="60tokens")


@pytest.fixture(scope="module")
def votes(pool: Recorded) -> PoolStudy:
    return study(pool, strategies=VOTES)


@pytest.fixture(scope="module")
def result(plain: PoolStudy) -> dict[str, Any]:
    return told(plain)


@pytest.fixture(scope="module")
def policy(plain: PoolStudy, result: dict[str, Any]) -> Policy:
    return Policy.loads(policy_of(plain, result).dumps())


def easy_and_hard(problems: int, seed: int = 0) -> Recorded:
    """Short prompts are answered at once; long ones are worth a vote, and look it."""
    rng = np.random.default_rng(seed)
    hard = rng.random(problems) < 0.5
    made = make([SMALL], problems=problems, counts=16, seed=seed, right=np.where(hard, 0.6, 1.0), longest=10)
    text = ["a long and hard question, with many words" if h else "easy" for h in hard]
    asked = tuple(Problem(p.id, f"{t} {p.id}", p.answer) for p, t in zip(made.problems, text, strict=True))

    def answers(drawn: Drawn) -> dict[str, Any]:
        easy = np.repeat(~hard, 16)
        return {"answer": np.where(easy, 0, drawn.answer), "correct": np.where(easy, 1.0, drawn.correct)}

    return with_draws(replace(made, problems=asked), answers)


# ---------------------------------------------------------------- what is reported


def test_perfect_knowledge_is_never_worse_at_equal_cost(plain: PoolStudy) -> None:
    rows = plain.rows()
    assert {row.kind for row in rows} >= {
        "hull",
        "one",
        "majority",
        "adaptive",
        "length-rule",
        "oracle-level",
        "oracle",
    }
    for found in [plain.headline, *(row.spread for row in rows), *(step.ours for step in plain.steps)]:
        assert plain.oracle(float(found.cost.mean())).value.mean() >= found.value.mean() - 1e-9
    assert [row.kind for row in rows if not row.attainable] == ["oracle-level", "oracle"]
    assert plain.oracle(1e9).value == pytest.approx(plain.board.value.max(0))
    assert plain.oracle(0.0).cost == pytest.approx(plain.board.cost.min(0))


def test_rows_are_at_the_cost_of_ours_where_they_can_be(plain: PoolStudy) -> None:
    cost = plain.headline.cost.mean()
    for row in plain.rows():
        assert row.spread.value.shape == (40,)
        if row.kind in ("hull", "majority", "adaptive", "length-rule"):
            assert row.spread.cost.mean() == pytest.approx(cost, rel=1e-6)
        if row.kind == "hull":
            assert row.over.value == pytest.approx(0, abs=1e-9)


def test_the_hull_treats_all_prompts_alike(plain: PoolStudy) -> None:
    used = {arm for line in plain.fixed.lines for arm in np.unique(line.choice)}
    assert {plain.board.names[arm] for arm in used} <= FIXED
    for line in plain.fixed.lines:
        assert (line.choice == line.choice[:, :1]).all()


def test_the_share_of_the_headroom_is_sensible(plain: PoolStudy) -> None:
    assert len(plain.steps) == 4
    for step in plain.steps:
        assert step.oracle.value.mean() >= step.uniform.value.mean() - 1e-9
        if step.captured is not None:
            assert -1 <= step.captured.low <= step.captured.value <= step.captured.high <= 1
            room = step.oracle.value.mean() - step.uniform.value.mean()
            gain = step.ours.value.mean() - step.uniform.value.mean()
            assert step.captured.value == pytest.approx(gain / room)


def test_the_result_has_what_the_report_needs(plain: PoolStudy, result: dict[str, Any]) -> None:
    assert result["format"] == "autotts.result/1" and result["unit"] == "tokens"
    assert result["budget"]["asked"] == 60 and result["budget"]["binds"]
    assert result["cost"]["mean"] == pytest.approx(60, rel=0.1) and result["cost"]["p95"] > 60
    assert result["accuracy"]["value"] == pytest.approx(plain.headline.value.mean())
    assert len(result["frontier"]) == 4 and all(
        step["captured"] is None or step["oracle"] for step in result["frontier"]
    )
    assert result["crossfit"]["problems"] == 40 and "4 times" in result["crossfit"]["words"]
    assert result["difficulty"]["kind"] == "none"
    shares = [share for arms in result["policy"]["route"].values() for _, share in arms]
    assert sum(shares) == pytest.approx(1)


def test_what_95_percent_of_prompts_do_not_exceed(plain: PoolStudy) -> None:
    single = plain.board.index["one(model=S, temperature=0.7)"]
    found = spread(plain.board, [((single, 1.0),)] * 40)
    costs = np.sort(plain.gauge.recorded.drawn[0].tokens + 3)
    assert plain.p95(found) == costs[int(np.ceil(0.95 * len(costs))) - 1]


# ---------------------------------------------------------------- cross-fitting, as a whole


@pytest.fixture
def bins_only(monkeypatch: pytest.MonkeyPatch, plain_rules: None) -> None:
    """Nothing is gained prompt by prompt, so that bins are tried."""
    monkeypatch.setattr(
        perprompt, "rehearsed", lambda board, router, cuts: alike(board.part(router.rows), every(board), cuts)
    )


@pytest.mark.parametrize("way", ["bins_only", "plain_rules"])
def test_no_choice_for_a_fold_saw_its_problems(
    way: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    request.getfixturevalue(way)
    monkeypatch.setattr(pooled, "folds", lambda count, seed: folds(count, seed)[:1])
    made = easy_and_hard(120)
    train, test = folds(120, 0)[0]
    lines, asked = [], []

    def decide(*given: Any) -> Way:
        asked.append(given[2].tolist())
        return ways.decide(*given)

    monkeypatch.setattr(pooled, "decide", decide)
    for pool in (made, other_labels(made, test, 3), other_labels(made, train, 3)):
        found = study(pool, strategies=VOTES)
        lines.append((found.ours.lines[0], found.alike.lines[0], found.fixed.lines[0]))
    assert asked == [train.tolist()] * 3
    for one, two in zip(lines[0], lines[1], strict=True):
        assert one.nominal.tolist() == two.nominal.tolist() and one.choice.tolist() == two.choice.tolist()
    assert lines[0][0].nominal.tolist() != lines[2][0].nominal.tolist()
    ours = lines[0][0]
    assert (ours.choice != ours.choice[:, :1]).any()  # that prompts can be told apart was found without them


# ---------------------------------------------------------------- whether adapting pays


@pytest.mark.parametrize(("way", "kind"), [("bins_only", "levels"), ("plain_rules", "performance")])
def test_where_prompts_tell_which_need_a_vote_it_is_found_and_said(
    way: str, kind: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(way)
    made = easy_and_hard(120)
    found = study(made, strategies=VOTES, budget="12tokens", budgets=3)
    assert found.way.kind == kind
    result = told(found)
    assert result["verdict"].startswith("Adapting to the prompt pays here"), result["verdict"]
    assert result["over_uniform"]["low"] > 0.02 and result["difficulty"]["kind"] == kind
    assert any(row["kind"] == "alike" for row in result["baselines"])
    assert all(0.1 < step["captured"]["value"] <= 1 for step in result["frontier"][:2])

    exported = Policy.loads(policy_of(found, result).dumps())
    assert exported.difficulty.kind == kind and tuple(exported.difficulty.bins) == found.settled.bins
    assert (len(exported.difficulty.bins) > 1) == (kind == "levels")
    cheap = exported.route("easy p900")
    dear = exported.route("a long and hard question, with many words p901")
    assert getattr(cheap.strategy, "n", 1) < getattr(dear.strategy, "n", 1)
    for setting in exported.frontier:
        assert set(setting.route) == set(exported.difficulty.bins)
        assert setting.expected.cost == pytest.approx(setting.budget, rel=1e-6)
    assert exported.frontier[exported.default].budget == pytest.approx(12, rel=0.03)
    on = evaluate_policy(made, exported)
    assert on["worst_overshoot"] <= on["bound"] and on["overshoot"] < 0.02
    off = evaluate_policy(made, exported, controlled=False)
    assert off["cost"]["mean"] == pytest.approx(exported.frontier[exported.default].expected.cost, rel=0.1)
    for served in (on, off):
        assert served["accuracy"]["value"] == pytest.approx(result["accuracy"]["value"], abs=0.04)


def test_where_nothing_is_to_be_gained_it_is_said() -> None:
    made = make(problems=30, counts=6, seed=2)

    def certain(drawn: Drawn) -> dict[str, Any]:
        first = np.repeat(drawn.answer[::6], 6)  # all draws of a prompt agree
        first = np.maximum(first, 0)
        return {"answer": first, "correct": (first == 0).astype(float), "tokens": np.full(180, 20)}

    for role in ("S", "L"):
        made = with_draws(made, certain, role)
    result = told(study(made, unit="flops"))
    assert result["verdict"].startswith("Adapting to the prompt does not pay here"), result["verdict"]


@pytest.mark.parametrize(("right", "words"), [(0.0, "no draw is right"), (1.0, "every draw is right")])
def test_where_all_arms_are_alike_the_cheapest_is_taken(right: float, words: str) -> None:
    made = make(problems=8, counts=4, right=[right] * 8)

    def sure(drawn: Drawn) -> dict[str, Any]:
        return {"answer": np.where(right, 0, drawn.answer), "correct": np.full(32, right)}

    for role in ("S", "L"):
        made = with_draws(made, sure, role)
    found = study(made, unit="flops", budget="1Mflops")
    result = told(found)
    assert result["policy"]["route"] == {"all": [["one(model=S, temperature=0.7)", 1.0]]}
    assert result["accuracy"]["value"] == right and result["frontier"] == []
    assert any(note.startswith(words) for note in result["notes"]) and not result["budget"]["binds"]
    assert "does not pay" in result["verdict"]
    assert len(policy_of(found, result).frontier) == 1


# ---------------------------------------------------------------- budget, target, cap


def test_a_target_is_reached_on_problems_that_were_not_seen(pool: Recorded, votes: PoolStudy) -> None:
    best = max(votes.ours.means(float(b))[0] for b in np.geomspace(*votes.ours.span, 50))
    found = study(pool, target=round(best - 0.05, 3), strategies=VOTES)
    budget, binds, words = found.budget
    assert binds and "as cross-fitted" in words
    assert found.headline.value.mean() >= best - 0.051
    assert found.ours.means(budget * 0.9)[0] < best - 0.05 or budget == pytest.approx(found.settled.nominal[0])
    with pytest.raises(BudgetError, match=r"target 0\.999 is above what was reached .* ask for at most that"):
        _ = study(pool, target=0.999, strategies=ONE).budget


def test_a_cap_closes_every_arm_that_may_cost_more(pool: Recorded, votes: PoolStudy) -> None:
    found = study(pool, cap="120tokens", budget="60tokens", strategies=VOTES)
    routed = set(found.settled.arms)
    routed |= {found.board.arms[a] for line in (*found.ours.lines, *found.fixed.lines) for a in np.unique(line.choice)}
    assert max(float(found.board.worst[found.board.index[arm]].max()) for arm in routed) <= 120
    assert max(float(votes.board.worst[votes.board.index[arm]].max()) for arm in votes.settled.shares[-1]["all"]) > 120
    result = told(found)
    assert result["cost"]["cap"] == 120 and result["cost"]["p95"] <= 120
    exported = policy_of(found, result)
    assert exported.cap == 120
    with pytest.raises(
        BudgetError, match=r"--cap 5tokens is below what whole draws may cost: one\(model=.*up to 4. tok"
    ):
        study(pool, cap="5tokens", strategies=ONE)


def test_a_budget_below_the_cheapest_arm_names_it(pool: Recorded) -> None:
    with pytest.raises(BudgetError, match=r"budget 1tokens .* one\(model=., temperature=0\.7\) costs 2\d.*tokens") as e:
        _ = study(pool, budget="1tokens", strategies=ONE).budget
    assert e.value.exit_code == 3


def test_a_budget_that_binds_nothing_is_kept_for_serving(pool: Recorded, votes: PoolStudy) -> None:
    found = study(pool, budget="5ktokens", strategies=VOTES)
    result = told(found)
    assert not result["budget"]["binds"] and result["policy"]["budget"] == found.settled.nominal[-1]
    exported = policy_of(found, result)
    assert exported.default == len(exported.frontier) - 1
    assert exported.controller is not None and exported.controller.budget == 5000
    assert votes.budget[2].startswith("No budget was given") and votes.budget[0] in votes.settled.nominal


def test_only_the_strategies_that_are_wanted_are_used(pool: Recorded) -> None:
    found = study(pool, strategies=("adaptive",))
    assert {name_of(parse(arm)) for arm in found.settled.arms} == {"adaptive"}
    hull = {found.board.names[a] for line in found.fixed.lines for a in np.unique(line.choice)}
    assert "vote" in hull  # what it is compared with is as good as ever
    with pytest.raises(InputError, match="none of the strategies staged can be read off it"):
        study(pool, strategies=("staged",))


def test_one_problem_is_too_few() -> None:
    with pytest.raises(InputError, match=r"expected at least 2 prompts, .* found 1"):
        study(make(problems=1))
    assert told(study(make(problems=2), strategies=VOTES))["prompts"]["confirm"] == 2


# ---------------------------------------------------------------- the policy


def test_the_policy_is_the_frontier_that_was_chosen(plain: PoolStudy, policy: Policy) -> None:
    assert [s.budget for s in policy.frontier] == sorted({*plain.settled.nominal.tolist(), 60.0})
    assert policy.frontier[policy.default].budget == 60
    assert policy.controller is not None and policy.controller.budget == 60
    assert policy.unit == "tokens" and policy.task.name == "made" and set(policy.models) == {"S", "L"}
    means = {arm: (v, c) for arm, v, c in zip(plain.board.arms, plain.board.value.mean(1), plain.board.cost.mean(1))}
    for setting in policy.frontier:
        shares = [(policy.arms[arm].arm, share) for arm, share in setting.route["all"]]
        assert sum(share for _, share in shares) == pytest.approx(1) and len(shares) <= 2
        assert setting.expected.value == pytest.approx(sum(s * means[arm][0] for arm, s in shares))
        assert setting.expected.cost == pytest.approx(sum(s * means[arm][1] for arm, s in shares))
        assert setting.expected.cost == pytest.approx(setting.budget)
    for arm in policy.arms.values():
        assert arm.expected["all"].value == pytest.approx(means[arm.arm][0])


def test_served_on_its_own_pool_the_policy_costs_what_it_expects(pool: Recorded, policy: Policy) -> None:
    off = evaluate_policy(pool, policy, controlled=False)
    assert off["cost"]["mean"] == pytest.approx(60, rel=0.1)
    expected = policy.frontier[policy.default].expected
    assert off["accuracy"]["value"] == pytest.approx(expected.value, abs=0.05)
    on = evaluate_policy(pool, policy)
    assert on["budget"] == pytest.approx(60) and Controller(policy).budget == 60
    assert on["bound"] == pytest.approx(6) and on["worst_overshoot"] <= on["bound"] and on["overshoot"] < 0.02
