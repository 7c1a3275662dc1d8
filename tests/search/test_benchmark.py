"""The benchmark of searches counts and measures what it says: on a small world, against the engine itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autotts.engine.memo import Memo, Memory
from autotts.predict.arm_learning import fit_arms
from autotts.predict.arms import ArmModel
from autotts.search.archive import Archive
from autotts.search.level import Level
from autotts.search.measure import Table, measure
from autotts.search.runs import Runner, depth, family
from autotts.strategies.arms import parse, show
from autotts.worlds.epochs import Epoch
from tests.benchmarks.curves import Curve, rows, table
from tests.benchmarks.filled import Filled, fill, load
from tests.benchmarks.hypervolume import area
from tests.benchmarks.methods import play
from tests.benchmarks.replaying import Fresh, Replayer, Shelf, measured
from tests.benchmarks.searching import Draw, Ground, Method, Trial, known, study
from tests.search import bench

COUNT = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled")
    fill(path, bench.TASK, COUNT, bench.opened, largest=4, say=lambda text: None)
    return path


@pytest.fixture(scope="module")
def filled(folder: Path) -> Filled:
    return load(folder)


@pytest.fixture(scope="module")
def ground(filled: Filled) -> Ground:
    return Ground(filled)


def test_a_second_fill_makes_nothing(folder: Path) -> None:
    said: list[str] = []
    fill(folder, bench.TASK, COUNT, bench.opened, largest=4, say=said.append)
    assert said == []


def test_a_folder_filled_in_another_way_is_refused(folder: Path) -> None:
    with pytest.raises(SystemExit, match="another card"):
        fill(folder, bench.TASK, COUNT + 1, bench.opened, largest=4)


def test_replayed_runs_and_tokens_are_those_of_the_engine(filled: Filled) -> None:
    """Arms of all kinds, one after another on one memo: the same outcomes, and the same tokens newly drawn."""
    problems = filled.splits["search"].problems[::3]
    arms = [a for i, a in enumerate(filled.space.arms) if i % 7 == 0 or family(a) is None]

    async def live() -> list[tuple[list[bool], list[int], int]]:
        with bench.opened() as world:
            async with Memo(Epoch(world, 0, world.scorers), Memory()) as memo:
                runner, out = Runner(memo, world, bench.TASK), []
                for arm in arms:
                    ran = [await runner.run(arm, p) for p in problems]
                    made = sum(u.generated for u in memo.spend.values())
                    out.append(([r.correct for r in ran], [r.cost for r in ran], made))
        return out

    async def replayed() -> list[tuple[list[bool], list[int], int]]:
        runner, out = Replayer(Shelf(filled.splits["search"])), []
        for arm in arms:
            ran = [await runner.run(arm, p) for p in problems]
            out.append(([r.correct for r in ran], [r.cost for r in ran], runner.memo.tokens))
        return out

    assert {type(a).__name__ for a in arms} >= {"Vote", "Beam", "Dvts", "Adaptive", "FirstFinish"}
    assert asyncio.run(replayed()) == asyncio.run(live())


def test_remembered_estimates_are_those_of_measure(filled: Filled) -> None:
    shelf = Shelf(filled.splits["search"])
    problems = shelf.split.problems[::2]
    arms = [a for a in filled.space.arms if family(a) is not None and depth(a) in (1, 4)][::5]
    wanted = {show(a): list(range(len(problems))) for a in arms}

    def told(runner: Replayer) -> Table:
        table = Table(problems, np.full(len(problems), 1 / len(problems)))
        asyncio.run(measure(runner, table, wanted, seed=0))  # type: ignore[arg-type]
        return table

    one, two = Replayer(shelf), Replayer(shelf)
    plain = told(one)
    with measured(two):
        looked_up = told(two)
    assert one.memo.tokens == two.memo.tokens > 0
    for arm in wanted:
        a, b = plain.arms[arm], looked_up.arms[arm]
        np.testing.assert_allclose(a.value, b.value, rtol=1e-12)
        np.testing.assert_allclose(a.cost, b.cost, rtol=1e-12)


def test_area_is_the_mean_height_over_log_cost() -> None:
    got = area(np.array([10.0, 100.0]), np.array([0.4, 0.8]), 1.0, 1000.0, 0.1)
    # Nothing for a third, a straight line in cost (not in its log) for a third, .8 for a third.
    middle = 0.4 + 0.4 * ((90 / np.log(10) - 10) / 90)
    assert got.plain == pytest.approx((0 + middle + 0.8) / 3, abs=2e-3)
    assert got.gain == pytest.approx((0 + middle - 0.1 + 0.7) / 3, abs=2e-3)


def test_a_worse_dearer_allocation_does_not_lower_the_curve() -> None:
    one = area(np.array([1.0, 10.0]), np.array([0.4, 0.8]), 1.0, 1000.0, 0.0)
    two = area(np.array([1.0, 10.0, 100.0]), np.array([0.4, 0.8, 0.6]), 1.0, 1000.0, 0.0)
    assert one == two


@pytest.mark.parametrize(
    "method", ["ours", "nsga2", "successive halving", "tpe, fresh draws", "ours without shared draws"]
)
def test_a_study_is_played_and_played_again_the_same(ground: Ground, method: str) -> None:
    one, two = (play(Draw(ground, 3), method, rounds=2) for _ in range(2))
    assert one.gain == two.gain and one.tokens == two.tokens
    assert list(one.tokens) == sorted(one.tokens) and one.tokens[0] > 0
    assert max(one.plain) <= 1


def test_knowing_everything_is_the_final_value(ground: Ground) -> None:
    """Every arm measured on every prompt of the seed, by the engine's estimates from all draws and by live runs."""
    trial, method = Trial(Draw(ground, 1)), Method({})
    levels, runner = trial.levels(method), trial.runner(method)
    for level in levels:
        wanted = {arm: [int(row) for row in level.rows] for arm in ground.exam.arms}
        asyncio.run(measure(runner, level.table, wanted, seed=0))
    trial.note(runner.memo.tokens, known(levels))
    assert trial.heights[0].gain == pytest.approx(trial.draw.final.gain, rel=1e-9)
    assert trial.heights[0].gain > 0


def test_without_sharing_every_run_costs_its_tokens_again(filled: Filled) -> None:
    shelf = Shelf(filled.splits["search"])
    problem = shelf.split.problems[0]

    async def spent(runner: Replayer | Fresh) -> list[int]:
        out = []
        for arm in ("vote(n=2, model=A, temperature=1)", "vote(n=4, model=A, temperature=1)") * 2:
            before = runner.memo.tokens
            await runner.run(parse(arm), problem)
            out.append(runner.memo.tokens - before)
        return out

    shared, alone = asyncio.run(spent(Replayer(shelf))), asyncio.run(spent(Fresh(shelf, 0)))
    assert alone == alone[:2] * 2 and 0 < alone[0] < alone[1]
    assert shared == [alone[0], alone[1] - alone[0], 0, 0]


def curve(method: str, seed: int, tokens: int, top: float = 1.0) -> Curve:
    return Curve(method, seed, (tokens // 2, tokens), (0.5, top), (0.6, top), 1.0, 1.0)


def test_ratios_are_paired_by_seed_and_censored_runs_are_marked() -> None:
    curves = [curve("a", s, 1000 * (s + 1)) for s in range(4)] + [curve("b", s, 3000 * (s + 1)) for s in range(4)]
    curves += [curve("c", s, 2000 * (s + 1), top=0.9) for s in range(4)]
    found = {row.method: row for row in rows(curves, "a")}
    assert found["b"].ratio == pytest.approx((3.0, 3.0, 3.0))
    assert found["b"].tokens.value == 7500 and found["b"].reached == 1
    assert found["c"].reached == 0 and found["c"].tokens.value == 5000
    assert found["c"].mean.value == float("inf")
    text = table(rows(curves, "a"), "a")
    assert "| c | never [never, never] |" in text and "| ≥ 5 k [" in text


def test_the_mean_curve_is_not_moved_by_one_lucky_moment() -> None:
    steady = [Curve("a", s, (10, 20, 30), (0.5, 0.9, 1.0), (0.5, 0.9, 1.0), 1.0, 1.0) for s in range(9)]
    lucky = Curve("a", 9, (10, 20, 30), (1.2, 0.9, 1.0), (0.5, 0.9, 1.0), 1.0, 1.0)
    assert rows([*steady, lucky], "a")[0].mean.value == 30


def test_methods_of_other_seeds_are_not_compared() -> None:
    with pytest.raises(SystemExit, match="the same seeds"):
        rows([curve("a", 0, 10), curve("a", 1, 10), curve("b", 0, 10)], "a")


def inverted(
    levels: Sequence[Level], like: Archive, prior: ArmModel | None, before: ArmModel | None
) -> ArmModel | None:
    """An adversary: it says of every arm the opposite of what was seen."""
    seen = [replace(s, value=1 - s.value) for level in levels for s in level.seen()]
    if not seen:
        return None
    return fit_arms(seen, levels=[level.name for level in levels], work=like.work, seed=like.seed)


def test_an_adversarial_predictor_costs_tokens_and_not_the_frontier(ground: Ground) -> None:
    """Not worse than without any prediction, beyond noise, for at most twice the tokens."""
    ended, spent = {}, {}
    for name, method in (
        ("plain", Method({"start": "designed", "pruning": ()})),
        ("adversary", Method({"start": "designed"}, fit=inverted)),
    ):
        ended[name], spent[name] = [], []
        for seed in range(4):
            trial = Trial(Draw(ground, seed), rounds=8)
            study(trial, method)
            ended[name].append(trial.heights[-1].gain)
            spent[name].append(trial.tokens[-1])
    gaps = np.array(ended["adversary"]) - np.array(ended["plain"])
    assert gaps.mean() + 2 * gaps.std(ddof=1) / np.sqrt(len(gaps)) >= 0
    assert sum(spent["adversary"]) <= 2 * sum(spent["plain"])
