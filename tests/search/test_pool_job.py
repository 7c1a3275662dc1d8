"""`optimize --pool` between arguments and files: what is read, what is written, and what a folder is good for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import optuna
import pytest

from autotts.errors import InputError, StoreError
from autotts.policy.schema import Policy
from autotts.search import pool_job
from autotts.search.optimize import Found
from autotts.search.pool_job import PoolJob, prepared
from tests.search.test_measuring import silent

MODELS = (("S", 1e-6, 0.4), ("L", 4e-6, 0.7))


def lines(prompts: int = 8, draws: int = 4, **changes: Any) -> list[dict[str, Any]]:
    """Samples of two models; a change of None leaves a field out."""
    rng, out = Random(0), []
    for p in range(prompts):
        for model, size, chance in MODELS:
            for i in range(draws):
                answer = "gold" if rng.random() < chance else f"w{rng.randrange(3)}"
                sample = {
                    "dataset": "made",
                    "prompt_id": f"p{p}",
                    "prompt": f"what is {p}?",
                    "answer": "gold",
                    "model": model,
                    "params_b": size,
                    "strategy": "sample",
                    "temperature": 0.7,
                    "top_p": 1.0,
                    "sample_index": i,
                    "extracted": answer,
                    "correct": answer == "gold",
                    "prompt_tokens": 5,
                    "completion_tokens": rng.randint(1, 39),
                }
                out.append({k: v for k, v in {**sample, **changes}.items() if v is not None})
    return out


def write(path: Path, samples: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return path


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("pools") / "made.jsonl", lines())


def job(pool: Path, out: Path, *, sizes: Sequence[str] = (), unit: str = "", **given: Any) -> PoolJob:
    options = {"pools": (str(pool),), "without": (), "probe_tokens": 0, "strategies": ("one", "vote"), **given}
    return prepared(options, sizes=sizes, unit=unit, out=out, url=None, command="autotts optimize")


def run(pool: Path, out: Path, **given: Any) -> Found:
    return job(pool, out, **given).run(silent)


def trials(out: Path, name: str = "made") -> list[optuna.trial.FrozenTrial]:
    found = optuna.load_study(study_name=f"{name}/all", storage=f"sqlite:///{out / 'autotts.db'}")
    assert found.metric_names is not None and found.metric_names[0] == "accuracy"
    return found.get_trials(deepcopy=False)


def test_what_a_study_writes(pool: Path, tmp_path: Path) -> None:
    told: list[str] = []
    found = job(pool, tmp_path / "new" / "out", budget="300kflops").run(lambda what, done, of: told.append(what))
    assert found.out == tmp_path / "new" / "out"
    assert json.loads((found.out / "result.json").read_text()) == json.loads(json.dumps(found.result))
    assert Policy.load(found.out / "policy.json").digest == found.policy.digest
    words = ["reading the pool", "screening arms", "measuring the best ones again", "choosing, fold by fold", "writing"]
    assert list(dict.fromkeys(told)) == words

    done = trials(found.out)
    arms = {trial.user_attrs["arm"]: trial for trial in done}
    assert len(arms) == len(done) == len(found.result["levels"][0]["arms"])
    for arm in found.result["levels"][0]["arms"]:
        trial = arms[arm["arm"]]
        assert trial.values == pytest.approx([arm["value"], arm["cost"]])
        name = arm["arm"].partition("(")[0]
        assert trial.params["strategy"] == name and trial.params[f"{name}.model"] in ("S", "L")
    assert found.result["study"] == "made" and found.result["pool"]["samples"] == [4, 4]
    assert found.result["routing"]["weak"] == "S" and found.result["routing"]["strong"] == "L"


@pytest.mark.usefixtures("short")
def test_only_the_best_arms_are_kept_as_trials(pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_job, "SHOWN", 3)
    found = run(pool, tmp_path)
    kept = {trial.user_attrs["arm"] for trial in trials(tmp_path)}
    assert len(kept) == 3 < len(found.result["levels"][0]["arms"])
    assert kept & {arm["arm"] for arm in found.result["levels"][0]["arms"] if arm["frontier"]}


@pytest.mark.usefixtures("short")
def test_the_same_study_again_and_others_in_its_folder(pool: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first, again = (run(pool, out, budget="300kflops") for _ in range(2))
    for found in (first, again):
        found.result["spend"]["seconds"] = found.result["provenance"]["date"] = None
    assert first.result == again.result and first.policy.digest == again.policy.digest
    assert len(trials(out)) == 2
    more = run(pool, out, budget="400kflops")  # another budget is a question to the same study
    assert more.result["policy"]["budget"] == 400_000 and len(trials(out)) == 2

    before = (out / "policy.json").read_text()
    with pytest.raises(StoreError, match="another study named 'made': seed is 0 there and 1 here"):
        run(pool, out, budget="300kflops", seed=1)
    other = write(tmp_path / "other.jsonl", lines())
    with pytest.raises(StoreError, match="that of study 'other', found one that holds another study, 'made'"):
        run(other, out)
    changed = write(tmp_path / "made.jsonl", lines(prompts=7))
    with pytest.raises(StoreError, match="another study named 'made': pool is"):
        run(changed, out)
    assert (out / "policy.json").read_text() == before


@pytest.mark.usefixtures("short")
def test_a_database_of_its_own(pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"pools": (str(pool),), "strategies": ("vote",)}
    url = f"sqlite:///{tmp_path / 'mine.db'}"
    monkeypatch.chdir(tmp_path)
    done = prepared(given, sizes=(), unit="tokens", out=None, url=url, command="").run(silent)
    assert done.out == Path("runs/made") and (tmp_path / "runs/made/policy.json").exists()
    assert (tmp_path / "mine.db").exists() and not (tmp_path / "runs/made/autotts.db").exists()
    assert done.policy.unit == "tokens" and "--storage" not in done.result["provenance"]["command"]


# ---------------------------------------------------------------- what it counts in, and what it reads


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(("lacking", "unit"), [("params_b", "tokens"), ("completion_tokens", "calls")])
def test_without_an_amount_the_finest_unit_that_is_known(lacking: str, unit: str, tmp_path: Path) -> None:
    found = run(write(tmp_path / "p.jsonl", lines(**{lacking: None})), tmp_path)
    assert found.result["unit"] == found.policy.unit == unit
    assert (found.result["cost"]["sequential"] is None) == (unit == "calls")


@pytest.mark.usefixtures("short")
def test_sizes_that_are_given_and_prompts_that_are_marked(tmp_path: Path) -> None:
    marked = [{**x, "contaminated": x["prompt_id"] in ("p0", "p1")} for x in lines(params_b=None)]
    bare = write(tmp_path / "p.jsonl", marked)
    with pytest.raises(InputError, match=r"parameters of S are not known.*--params S=4\.02e9"):
        run(bare, tmp_path / "a", budget="1Mflops")
    found = run(bare, tmp_path / "b", budget="1Mflops", sizes=("S=1e3", "L=4e3"), without=("contaminated",))
    assert found.policy.models["S"].card["parameters"] == 1000
    assert found.result["prompts"]["confirm"] == 6
    assert any("contaminated" in note for note in found.result["notes"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"budget": "9tokens", "cap": "9flops"}, "in one unit, found flops and tokens"),
        ({"budget": "9tokens", "unit": "flops"}, "in one unit, found flops and tokens"),
        ({"unit": "metres"}, "--unit: expected one of flops, eflops, tokens"),
        ({"budget": "9tokens", "target": 0.5}, "found both"),
        ({"target": 1.5}, "target: expected an accuracy above 0 and up to 1"),
        ({"budget": "9 bananas"}, "--budget: expected a positive number and a unit"),
        ({"strategies": ("vot",)}, "unknown strategy 'vot'"),
        ({"seed": -1}, "--seed: expected a whole number of at least 0, found -1"),
        ({"trials": -1}, "--trials: expected a whole number of at least 0, found -1"),
        ({"sizes": ("S",)}, "--params: expected MODEL=COUNT"),
    ],
)
def test_wrong_options_are_told_before_anything_is_read(
    pool: Path, tmp_path: Path, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError) as error:
        job(pool, tmp_path / "out", **given)
    assert words in str(error.value) and not (tmp_path / "out").exists()
