"""A study's own draws as a pool: what all prompts have, and the same figures as the study's own."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autotts.cli import run_cli
from autotts.core.node import root_node
from autotts.core.task import Problem
from autotts.engine.memo import Memo
from autotts.errors import InputError
from autotts.pools.formats import LAYOUTS
from autotts.pools.importing import Imported, Wanted, import_pool
from autotts.pools.load import load
from autotts.search import grown
from autotts.search.gauge import Gauge
from autotts.search.measure import Table, measure
from autotts.search.optimize import Found, optimize
from autotts.search.recipe import Recipe
from autotts.search.runs import Family, Runner
from autotts.search.study import prompts_of
from autotts.store import database
from autotts.store.meta import Meta
from autotts.store.samples import Samples
from autotts.store.usage import used
from autotts.strategies.arms import parse
from autotts.worlds.epochs import Epoch
from tests.search.bench import TASK, Bench, source

VOTE = "vote(n=4, model=A, temperature=0.6)"
BEST = "best_of_n(n=4, model=B, temperature=0.6, by=prm)"
RECIPE = Recipe(
    task="toy",
    strategies=("one", "vote", "weighted_vote", "best_of_n"),
    budget="500tokens",
    search=8,
    confirm=8,
    trials=12,  # the designed arms alone: each measured once, from all that was drawn of its family
)
LEFT = "stored draws left out: steps of searches, and what only some prompts have"

Lines = list[dict[str, Any]]


def brought(study: Path, to: Path) -> tuple[Imported, Lines]:
    done = import_pool([study], to, Wanted(), readers={**LAYOUTS, "study": grown.read})
    return done, [json.loads(line) for line in to.read_text().splitlines()]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    out = tmp_path_factory.mktemp("study")
    return optimize(RECIPE, task=TASK, out=out, world=lambda: nullcontext(Bench("tokens")))


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of tasks are those that come with autotts; this one is the tests' own."""
    monkeypatch.setattr(grown, "find", lambda name: TASK)


@pytest.fixture
def copied(found: Found, tmp_path: Path) -> Path:
    """The study's folder, to be changed."""
    return Path(shutil.copytree(found.out, tmp_path / "study"))


@pytest.fixture
def lines(found: Found, tmp_path: Path) -> Lines:
    return brought(found.out, tmp_path / "pool.jsonl")[1]


def stored(out: Path) -> int:
    engine = database.open(f"sqlite:///{out / 'autotts.db'}")
    try:
        return sum(u.count for u in used(engine) if u.kind == "draw")
    finally:
        engine.dispose()


@asynccontextmanager
async def running(out: Path) -> AsyncIterator[Runner]:
    """Runs arms on a study's store, as the study's search does."""
    bench, engine = Bench("tokens"), database.open(f"sqlite:///{out / 'autotts.db'}")
    try:
        with Samples(engine) as samples:
            async with Memo(Epoch(bench, 0, bench.scorers), samples) as memo:
                yield Runner(memo, bench, TASK)
    finally:
        engine.dispose()


def drawn_more(out: Path, problems: list[Problem], of: Family, count: int) -> None:
    """Draw on in a study's store, as an arm would that was raced on these prompts only."""

    async def draw() -> None:
        async with running(out) as runner:
            await runner.pool(problems, of, count, None)

    asyncio.run(draw())


# ---------------------------------------------------------------- the same figures


def measured(out: Path, arms: list[str]) -> tuple[Table, int]:
    """Arms on the search prompts, measured as the study does and from its store; how many draws that took."""
    table = prompts_of(TASK, RECIPE).search

    async def work() -> int:
        async with running(out) as runner:
            await measure(runner, table, {arm: range(len(table.problems)) for arm in arms}, seed=0)
            return runner.memo.made

    return table, asyncio.run(work())


def test_arms_give_what_they_gave_in_the_study_prompt_by_prompt(found: Found, tmp_path: Path) -> None:
    # Arms that are measured together share their draws: these two have all that the pool holds.
    whole = ["vote(n=32, model=A, temperature=0.6)", "weighted_vote(n=8, model=B, temperature=0.6, by=prm)"]
    table, made = measured(found.out, [VOTE, BEST, *whole])
    assert made == 0
    brought(found.out, tmp_path / "pool.jsonl")
    gauge = Gauge(load([tmp_path / "pool.jsonl"]), "tokens")
    assert [p.id for p in gauge.problems] == [p.id for p in table.problems]
    for arm in (VOTE, whole[0]):
        ours, theirs = gauge(parse(arm)), table.arms[arm]
        np.testing.assert_allclose(ours.value, theirs.value, rtol=0, atol=1e-12)
        np.testing.assert_allclose(ours.cost, theirs.cost, rtol=1e-12)
    # A pool knows scores, and not what they cost.
    np.testing.assert_allclose(gauge(parse(BEST)).value, table.arms[BEST].value, rtol=0, atol=1e-12)


def test_levels_have_the_figures_of_the_result(found: Found, tmp_path: Path) -> None:
    brought(found.out, tmp_path / "pool.jsonl")
    gauge = Gauge(load([tmp_path / "pool.jsonl"]), "tokens")
    got = gauge(parse(VOTE))
    for level in found.result["levels"]:
        rows = [i for i, p in enumerate(gauge.problems) if str(p.level) == level["bin"]]
        (told,) = [arm for arm in level["arms"] if arm["arm"] == VOTE]
        assert told["value"] == pytest.approx(got.value[rows].mean())
        assert told["cost"] == pytest.approx(got.cost[rows].mean())


# ---------------------------------------------------------------- what is in it


def test_lines_say_all_that_is_known_of_a_draw(lines: Lines) -> None:
    first = lines[0]
    assert first["dataset"] == "toy" and first["prompt_id"] == "search-1-0" and first["answer"] == "gold"
    assert first["level"] == 1 and first["stream"] == "search" and first["prompt_tokens"] == 8
    assert {line["stream"] for line in lines} == {"search", "confirm"}
    for line in lines:
        assert line["strategy"] == ("sample" if line["temperature"] else "greedy")
        assert line["correct"] == (line["extracted"] == "gold")
        assert line["finish"] == "error" or line["completion_tokens"] > 0
        assert line["params_b"] is None and line["output"] is None  # models that are not here, traces that are no text
    assert all(line["score"] is None or 0 <= line["score"] <= 1 for line in lines)
    read = [line for line in lines if line["model"] == "B" and line["temperature"] and line["extracted"]]
    assert read and all(line["score"] is not None for line in read if line["stream"] == "search")


def test_samples_of_a_family_are_numbered_and_equally_many_of_a_level(lines: Lines) -> None:
    found: dict[tuple[Any, ...], list[int]] = {}
    for line in lines:
        key = tuple(line[k] for k in ("stream", "level", "model", "temperature", "top_p", "prompt_id"))
        found.setdefault(key, []).append(line["sample_index"])
    assert all(indices == list(range(len(indices))) for indices in found.values())
    counts: dict[tuple[Any, ...], set[int]] = {}
    for key, indices in found.items():
        counts.setdefault(key[:-1], set()).add(len(indices))
    assert all(len(sizes) == 1 for sizes in counts.values())
    assert ("search", 3, "A", 0.6, 1.0) in counts and ("search", 3, "B", 0.0, 1.0) in counts


def test_nothing_is_left_out_in_silence(found: Found, copied: Path, tmp_path: Path, lines: Lines) -> None:
    """What only some prompts have, and the steps of other strategies."""
    search = list(prompts_of(TASK, RECIPE).search.problems)
    drawn_more(copied, search[:8], Family("A", 1.0, 0.9), 4)  # one level
    drawn_more(copied, search[:1], Family("A", 0.6, 1.0), 40)  # more of a family that is taken
    done, again = brought(copied, tmp_path / "again.jsonl")
    assert again == lines
    (left,) = [note for note in done.notes if note.startswith(LEFT)]
    assert left == f"{LEFT}: {stored(copied) - len(lines)}" and stored(copied) >= stored(found.out) + 8 * 4 + 8


def test_a_family_that_is_drawn_on_all_prompts_is_taken_to_the_depth_of_each_level(
    copied: Path, tmp_path: Path, lines: Lines
) -> None:
    search = list(prompts_of(TASK, RECIPE).search.problems)
    drawn_more(copied, search, Family("B", 1.0, 1.0), 3)
    drawn_more(copied, search[8:16], Family("B", 1.0, 1.0), 5)
    drawn_more(copied, search[16:17], Family("B", 1.0, 1.0), 9)
    done, again = brought(copied, tmp_path / "again.jsonl")
    new = [line for line in again if line["model"] == "B" and line["temperature"] == 1.0]
    assert Counter(line["level"] for line in new) == {1: 8 * 3, 2: 8 * 5, 3: 8 * 3}
    assert [line for line in again if line not in new] == lines
    assert any(
        note.startswith("prompts (confirm) without draws of") and "B at temperature=1" in note for note in done.notes
    )


# ---------------------------------------------------------------- embedded models, as a command


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A study of the smallest model on a file of sums."""
    monkeypatch.undo()
    path = tmp_path / "sums.jsonl"
    path.write_text(
        "".join(json.dumps({"prompt": f"solve: {n}+{n % 7}", "answer": n + n % 7}) + "\n" for n in range(10, 50))
    )
    study = tmp_path / "small.toml"
    study.write_text(
        f'task = "{path}"\nmodels = ["S"]\nstrategies = ["one", "vote"]\nsearch = 8\nconfirm = 8\nblock = 4\n'
        "trials = 2\nslots = 1\nlargest = 4\n"
    )
    assert run_cli(["optimize", "--study", str(study), "--out", str(tmp_path / "study"), "--quiet"]) == 0
    yield tmp_path


def test_the_command_brings_a_study_of_embedded_models(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool = real / "pool.jsonl"
    capsys.readouterr()
    assert run_cli(["pool", "import", str(real / "study"), "--output", str(pool), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    lines = [json.loads(line) for line in pool.read_text().splitlines()]
    assert told["lines"] == len(lines) and told["layouts"] == {str(real / "study"): "study"}
    assert {line["model"] for line in lines} == {"S"} and {line["dataset"] for line in lines} == {"sums"}
    assert all(0 < line["params_b"] < 0.001 for line in lines)
    for line in lines:
        assert "solve" not in line["output"]
        assert line["extracted"] is None or line["output"].endswith(f"answer: {line['extracted']}")
    # The database itself is as good as its folder.
    assert run_cli(["pool", "import", str(real / "study" / "autotts.db"), "--output", str(real / "same.jsonl")]) == 0
    assert (real / "same.jsonl").read_bytes() == pool.read_bytes()
    assert run_cli(["evaluate", "--strategy", "vote(n=2, model=S, temperature=0.6)", "--pool", str(pool)]) == 0


# ---------------------------------------------------------------- what is no study


def test_a_database_of_others_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "autotts.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE studies (name TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(InputError, match="expected the database of a study, found another"):
        brought(tmp_path, tmp_path / "pool.jsonl")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("recipes", "words"),
    [
        ({}, "database of one study, found none in it"),
        ({"a": {"task": "toy"}, "b": {"task": "toy"}}, "database of one study, found a, b in it"),
        ({"a": {"pool": "abc", "recipe": "def"}}, "found 'a', which was made on recorded answers"),
    ],
)
def test_a_database_without_one_study_of_draws_is_an_error(tmp_path: Path, recipes: dict[str, Any], words: str) -> None:
    engine = database.open(f"sqlite:///{tmp_path / 'autotts.db'}")
    for name, recipe in recipes.items():
        Meta(engine).claim(name, recipe)
    engine.dispose()
    with pytest.raises(InputError, match=words):
        brought(tmp_path, tmp_path / "pool.jsonl")


def test_a_study_that_has_not_drawn_on_all_prompts_is_an_error(copied: Path, tmp_path: Path) -> None:
    last = prompts_of(TASK, RECIPE).search.problems[-1]
    with sqlite3.connect(copied / "autotts.db") as connection:
        connection.execute("DELETE FROM autotts_sample WHERE parents = ?", (root_node(last.prompt, 8).key,))
    connection.close()
    with pytest.raises(InputError, match="on all of the study's search prompts, found none: the study was interrupted"):
        brought(copied, tmp_path / "pool.jsonl")


def test_a_task_that_gives_other_prompts_is_an_error(
    found: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(TASK, source=lambda stream, level, count, seed: source(stream, level, count, seed + 1))
    monkeypatch.setattr(grown, "find", lambda name: other)
    with pytest.raises(InputError, match="prompts that the study was made on, found others in the task 'toy'"):
        brought(found.out, tmp_path / "pool.jsonl")
    assert not (tmp_path / "pool.jsonl").exists()


def test_a_task_whose_file_is_gone_is_an_error(found: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(InputError, match="task is 'toy', which cannot be read: run this where the study was run"):
        brought(found.out, tmp_path / "pool.jsonl")
