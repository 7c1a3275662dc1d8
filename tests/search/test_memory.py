"""Memory across studies, on studies of a made-up response surface: five tasks, three models, three levels."""

from __future__ import annotations

import itertools
import json
import math
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from autotts.core.cost import ModelCard
from autotts.core.task import Problem, Task
from autotts.errors import InputError
from autotts.predict.arm_learning import fit_arms
from autotts.predict.arms import WIDE
from autotts.predict.descriptors import Descriptors, Machine, describe_model, describe_task, distance
from autotts.search import distil as distilling
from autotts.search.distil import Finished, Found, learn
from autotts.search.distilled import BYTES, Distilled
from autotts.search.memory import FAR, Recalled, Remembered, foretell, nearest, seen_from, shelves, start
from autotts.search.recommend import Asked, recommend, space_of
from autotts.search.space import Space
from autotts.strategies import STRATEGIES
from autotts.strategies.arms import parse, show
from autotts.tasks import find
from autotts.tasks.arithmetic import LEVELS as LEVELS_OF_MATH
from autotts.tasks.arithmetic import problems
from autotts.worlds.tiny import cards

STUDIES = Path(__file__).parents[2] / "studies"
CARDS = {n: ModelCard(n, f"{n}@1", parameters=p) for n, p in (("a", 10**6), ("b", 4 * 10**6), ("c", 16 * 10**6))}
WORK = {name: float(card.parameters or 0) for name, card in CARDS.items()}
LEVELS = ("1", "2", "3")
HARDNESS = {"h0": 0.0, "h1": 1.0, "h2": 2.0, "h3": 3.0, "h4": 4.0}
SPACE = Space({name: STRATEGIES[name] for name in ("one", "vote", "adaptive")}, tuple(CARDS), ())
ARMS = [show(arm) for arm in SPACE.arms]
HERE = Machine(system="Linux", cores=2)
PROMPTS = 64


def truth(hardness: float, level: str, arm: str) -> tuple[float, float]:
    """What an arm gets right, and what it costs: more draws help where one is better than a guess."""
    made: Any = parse(arm)
    size = math.log2(WORK[made.model] / WORK["a"]) / 2
    odds = 3.0 + 1.2 * size - 0.7 * hardness - 1.3 * (int(level) - 1) - 0.5 * abs(made.temperature - 0.6)
    draws = getattr(made, "n", getattr(made, "most", 1))
    odds += 0.35 * math.log2(draws) * math.tanh(odds)
    used = draws if not hasattr(made, "most") else 1 + (draws - 1) * 0.3
    return 1 / (1 + math.exp(-odds)), 2 * WORK[made.model] * used * (20 + 5 * hardness + 5 * int(level))


def task(name: str) -> Task:
    """Sums that are longer where they are harder."""
    hard = HARDNESS[name]

    def source(stream: str, level: int | None, count: int, seed: int) -> Sequence[Problem]:
        rng = Random(f"{name}/{stream}/{level}/{seed}")
        counts = [rng.randrange(2, 6) + round(hard) + int(level or 1) for _ in range(count)]
        sums = ["+".join(str(rng.randrange(1, 10 ** rng.randrange(1, 5))) for _ in range(n)) for n in counts]
        return [Problem(f"{i}", f"solve: {text}", "0", level) for i, text in enumerate(sums)]

    return Task(name, "", "arithmetic", "arithmetic", {1: 0.5, 2: 0.3, 3: 0.2}, source, str, str.__eq__)


def described(name: str) -> Descriptors:
    return Descriptors(
        task=describe_task(task(name)), models={n: describe_model(c) for n, c in CARDS.items()}, machine=HERE
    )


def measured(name: str, seed: int = 0) -> dict[str, Any]:
    """The result of a study that tried 30 arms on 64 prompts a level."""
    rng = np.random.default_rng([seed, sum(map(ord, name))])
    levels = []
    for level in LEVELS:
        tried = [ARMS[i] for i in sorted(rng.choice(len(ARMS), 30, replace=False))]
        arms = []
        for arm in dict.fromkeys([*(show(parse(f"one(model={m}, temperature=0)")) for m in CARDS), *tried]):
            p, cost = truth(HARDNESS[name], level, arm)
            arms.append({"arm": arm, "value": rng.binomial(PROMPTS, p) / PROMPTS, "cost": cost, "frontier": False})
        for arm in arms:
            arm["frontier"] = not any(
                o["cost"] <= arm["cost"] and o["value"] >= arm["value"] and o is not arm for o in arms
            )
        levels.append({"bin": level, "share": 1 / 3, "prompts": {"search": PROMPTS, "confirm": 8}, "arms": arms})
    made = {"version": "0", "seed": seed, "command": "autotts optimize", "recipe": "0", "models": {n: n for n in CARDS}}
    return {
        "format": "autotts.result/1",
        "study": name,
        "task": name,
        "unit": "flops",
        "prompts": {"search": PROMPTS * len(LEVELS), "confirm": 24},
        "levels": levels,
        "provenance": made,
    }


def study(name: str, seed: int = 0) -> Distilled:
    return learn(Finished(Path(name), Found.model_validate(measured(name, seed)), task(name), CARDS))


@pytest.fixture(scope="module")
def past() -> dict[str, Distilled]:
    return {name: study(name) for name in HARDNESS}


def shelf_of(past: dict[str, Distilled], folder: Path) -> Path:
    for name, distilled in past.items():
        distilled.save(folder / name / "model.json")
    return folder


# ------------------------------------------------------------ how far


def test_the_same_task_and_models_are_no_distance_apart_and_words_say_why() -> None:
    of = described("h1")
    same = distance(of, described("h1"))
    assert same.value == 0 and same.words == ("the same task, h1", "the same models a, b, c")
    steps = [distance(of, described(name)) for name in ("h2", "h3", "h4")]
    assert 0.25 <= steps[0].value < steps[1].value < steps[2].value
    assert "another task, h2: its prompts look" in steps[0].words[0]


def test_a_model_is_told_by_its_size_and_a_machine_matters_to_seconds_only() -> None:
    of = described("h1")
    twice = replace(CARDS["c"], name="d", revision="d@1", parameters=32 * 10**6)
    other = of.model_copy(update={"models": {"a": of.models["a"], "d": describe_model(twice)}})
    found = distance(other, of)
    assert found.value == pytest.approx((0.25 + 0.5) / 2)
    assert "model d is not known there; the nearest, c, is 1 doublings away" in found.words
    unsized = of.model_copy(update={"models": {"e": describe_model(ModelCard("e", "e@1"))}})
    assert distance(unsized, of).value == 2.0
    gpu = of.model_copy(update={"machine": Machine(system="Linux", cores=16, gpu="H200")})
    assert distance(gpu, of).value == 0
    assert distance(gpu, of, "s").value == 1 and "H200 here" in distance(gpu, of, "s").words[-1]


# ------------------------------------------------------------ files


def test_a_distilled_study_survives_a_round_trip(past: dict[str, Distilled], tmp_path: Path) -> None:
    path = tmp_path / "h1" / "model.json"
    past["h1"].save(path)
    again = Distilled.load(path)
    assert again.model_dump() == past["h1"].model_dump()
    assert again.arms.forecast(ARMS, "2").value.tolist() == past["h1"].arms.forecast(ARMS, "2").value.tolist()
    assert again.descriptors.models["a"].accuracy.keys() == set(LEVELS)
    assert not path.with_suffix(".pkl").exists() and path.stat().st_size < BYTES


def _prior(data: Any) -> None:
    data["arms"]["prior"] = data["arms"] | {"prior": None}


def _many(data: Any) -> None:
    rows = 600
    data["arms"]["inputs"] = data["arms"]["inputs"][:1] * rows
    for of in ("value", "cost"):
        data["arms"][of] |= {"targets": [0.0] * rows, "noise": [1.0] * rows}


def _unsolvable(data: Any) -> None:
    """Numbers so large that their squares swallow the differences: covariances that nothing can have."""
    arms = data["arms"]
    arms["inputs"] = [[1e6 - 1e-8 * (i * 7 + j) for j in range(len(r))] for i, r in enumerate(arms["inputs"])]
    arms["weights"] = [[1e6 for _ in row] for row in arms["weights"]]


HOSTILE: dict[str, tuple[Callable[[Any], object], str]] = {
    "newer": (lambda d: d.update(format="autotts.predictor/2"), "newer autotts"),
    "no format": (lambda d: d.pop("format"), "format: expected 'autotts.predictor/1', found None"),
    "unit": (lambda d: d.update(unit="bananas"), "unit: expected one of flops"),
    "negative cost": (lambda d: d["frontier"]["1"][0].update(cost=-1.0), "frontier.1.0.cost"),
    "text for a number": (lambda d: d["frontier"]["1"][0].update(value="0.5"), "frontier.1.0.value"),
    "code for an arm": (lambda d: d["frontier"]["1"][0].update(arm="__import__('os').system('x')"), "frontier.1"),
    "other levels": (lambda d: d.update(levels=["1", "2"]), "levels: expected the same levels"),
    "other models": (lambda d: d["work"].update(z=1.0), "work: expected the same models"),
    "no models": (lambda d: d["descriptors"].update(models={}), "descriptors.models"),
    "other arms": (lambda d: d["arms"].update(version=99), "arms"),
    "newer descriptors": (lambda d: d["descriptors"].update(version=2), "descriptors of version 1, found 2"),
    "a prior": (_prior, "arms.prior: expected none"),
    "many examples": (_many, "up to 500 examples"),
    "huge targets": (lambda d: d["arms"]["value"].update(offset=1e300), "arms.value: expected numbers up to"),
    "no noise": (lambda d: d["arms"]["cost"]["noise"].__setitem__(0, 1e-300), "noises of at least"),
    "unsolvable": (_unsolvable, "arms: cannot be computed with"),
    "shares": (lambda d: d["descriptors"]["task"].update(shares=[2.0, -1.0, 0.0]), "shares that sum to 1"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_in_words(kind: str, past: dict[str, Distilled], tmp_path: Path) -> None:
    data = past["h1"].model_dump(mode="json")
    change, words = HOSTILE[kind]
    change(data)
    path = tmp_path / "h1" / "model.json"
    path.parent.mkdir()
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"model\.json") as caught:
        Distilled.load(path)
    assert words in str(caught.value)


def test_a_bad_file_on_a_shelf_stops_nothing(past: dict[str, Distilled], tmp_path: Path) -> None:
    shelf_of({"good": past["h1"]}, tmp_path)
    texts = {"nan": '{"format": "autotts.predictor/1", "n": NaN}', "cut": '{"format": "autotts.pre', "list": "[]"}
    texts |= {"large": " " * (BYTES + 1), "other": '{"kind": "logistic"}', "newer": '{"format": "autotts.predictor/7"}'}
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_text(text)
    (tmp_path / "folder" / "model.json").mkdir(parents=True)
    found = nearest(described("h1"), [tmp_path])
    assert [past.name for past in found.studies] == ["good"]
    assert len(found.notes) == 5 and all(note.startswith("left out: ") for note in found.notes)
    assert "newer autotts" in " ".join(found.notes) and "at most 4 MB" in " ".join(found.notes)


def test_a_study_in_another_unit_is_left_out_and_said(past: dict[str, Distilled], tmp_path: Path) -> None:
    found = nearest(described("h1"), [shelf_of({"h1": past["h1"]}, tmp_path)], unit="tokens")
    assert found.studies == () and found.notes == ("left out: h1 counts in flops, not in tokens",)


# ------------------------------------------------------------ what is made of it


def recalled(name: str, past: dict[str, Distilled], folder: Path) -> Recalled:
    return nearest(described(name), [shelf_of(past, folder)])


def test_an_identical_task_gives_its_own_best_arms(past: dict[str, Distilled], tmp_path: Path) -> None:
    found = recalled("h2", past, tmp_path)
    assert found.studies[0].name == "h2" and found.studies[0].identical
    begun = start(found, SPACE, WORK, LEVELS)
    for level in LEVELS:
        own = past["h2"].frontier[level]
        best = max(own, key=lambda m: (m.value, -m.cost)).arm
        assert best in begun.arms[level] and own[0].arm in begun.arms[level]
        assert len(begun.arms[level]) <= 4 + len(CARDS)
        assert {f"one(model={m}, temperature=0)" for m in CARDS} <= set(begun.arms[level])
    assert begun.prior is not None and begun.prior.levels == list(LEVELS) and set(begun.prior.work) == set(CARDS)
    assert "from h2, at a distance of 0" in begun.words
    assert begun.source == f"h2@{past['h2'].digest}" != f"h2@{past['h1'].digest}"


def _score(hardness: float, level: str, arm: str, price: float) -> float:
    value, cost = truth(hardness, level, arm)
    return value - price * cost


def _usual(name: str, price: float) -> str:
    """The global default: the arm that was best over all other tasks and levels, of those that were often tried."""
    scores: dict[str, list[float]] = {}
    for other in HARDNESS:
        for level in measured(other)["levels"] if other != name else []:
            for arm in level["arms"]:
                scores.setdefault(arm["arm"], []).append(arm["value"] - price * arm["cost"])
    return max((a for a in scores if len(scores[a]) >= 4), key=lambda a: float(np.mean(scores[a])))


@pytest.mark.slow
def test_the_nearest_of_the_other_tasks_beats_the_global_default(past: dict[str, Distilled], tmp_path: Path) -> None:
    """Regret of accuracy minus price times cost, at four prices, over all tasks left out in turn."""
    ours, default = [], []
    for name, hardness in HARDNESS.items():
        near = recalled(name, {n: d for n, d in past.items() if n != name}, tmp_path / name).studies[0]
        assert abs(HARDNESS[near.name] - hardness) == 1
        told = foretell(near, ARMS, LEVELS, WORK)
        for price in (2e-11, 5e-11, 2e-10, 5e-10):
            usual = _usual(name, price)
            for level in LEVELS:
                best = max(_score(hardness, level, arm, price) for arm in ARMS)
                chosen = ARMS[int(np.argmax(told[level].value - price * told[level].cost))]
                ours.append(best - _score(hardness, level, chosen, price))
                default.append(best - _score(hardness, level, usual, price))
    assert np.mean(ours) < 0.5 * np.mean(default)


def test_intervals_hold_the_truth_and_widen_with_the_distance(past: dict[str, Distilled], tmp_path: Path) -> None:
    inside, cost_inside, widths = [], [], []
    for name in ("h0", "h1", "h2"):
        hardness = HARDNESS[name]
        near = recalled(name, {"h2": past["h2"]}, tmp_path / name).studies[0]
        told = foretell(near, ARMS, LEVELS, WORK)
        widths.append(float(np.mean([(told[level].high - told[level].low).mean() for level in LEVELS])))
        for level in LEVELS:
            true = np.array([truth(hardness, level, arm) for arm in ARMS])
            inside.append(((told[level].low <= true[:, 0]) & (true[:, 0] <= told[level].high)).mean())
            cost_inside.append(((told[level].cost_low <= true[:, 1]) & (true[:, 1] <= told[level].cost_high)).mean())
    assert widths[0] > widths[1] > widths[2]
    assert np.mean(inside) > 0.85 and np.mean(cost_inside) > 0.9


def test_levels_of_math_taken_as_tasks_lie_as_far_apart_as_the_widening_says(tmp_path: Path) -> None:
    """How much the log odds of a greedy draw shift between levels, in the standard deviations that are added."""
    shipped = Distilled.load(shelves()[0] / "embedded-math" / "model.json")
    arms = [f"one(model={model}, temperature=0)" for model in shipped.work]
    of, tasks = described("h0"), {}
    for level in LEVELS_OF_MATH:
        path = tmp_path / f"level{level}.jsonl"
        rows = [{"prompt": p.prompt, "answer": p.answer} for p in problems(level, "search", 5, 120)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        tasks[str(level)] = of.model_copy(update={"task": describe_task(find(str(path)))})
    odds = {level: shipped.arms.latent(arms, level, 0, shipped.work)[0] for level in tasks}
    steps = []
    for a, b in itertools.combinations(tasks, 2):
        sd = WIDE * math.sqrt(min(distance(tasks[a], tasks[b]).value / FAR, 1))
        steps += ((odds[a] - odds[b]) / sd).tolist()
    assert 0.6 < float(np.sqrt(np.square(steps).mean())) < 1.6


def test_too_far_away_is_no_start_and_is_said(past: dict[str, Distilled]) -> None:
    far = Remembered("h1", past["h1"], FAR, ("another task, h1: its prompts look 3 standard deviations different",), {})
    for none, words in ((Recalled((far,)), "too far (another task, h1"), (Recalled(()), "No past study")):
        begun = start(none, SPACE, WORK, LEVELS)
        assert begun.prior is None and begun.arms == {}
        assert words in begun.words and "begins as designed" in begun.words


def test_levels_go_by_rank_and_unknown_models_by_their_size(past: dict[str, Distilled]) -> None:
    near = Remembered("h1", past["h1"], 0.3, ("words",), {})
    work = {"d": 4e6, "a": 1e6}
    assert set(seen_from(near, LEVELS).work) == {"a of h1", "b of h1", "c of h1"}  # this `a` is another model
    told = foretell(near, ["one(model=d, temperature=0)"], ["easy", "hard"], work)
    assert told["easy"].value[0] > told["hard"].value[0] + 0.2
    many = foretell(near, ["one(model=d, temperature=0)"], list("vwxyz"), work)
    values = [many[level].value[0] for level in "vwxyz"]
    assert values == sorted(values, reverse=True)
    assert seen_from(near, ["all"]).levels == ["all", "2 of h1", "3 of h1"]  # the first level is half of the traffic
    space = Space(SPACE.strategies, ("d", "a"), ())
    begun = start(Recalled((near,)), space, work, ["easy", "hard"])
    assert begun.arms.keys() == {"easy", "hard"} and "one(model=d, temperature=0)" in begun.arms["hard"]
    assert begun.prior is not None
    new = fit_arms([], levels=["easy", "hard"], work=work, seed=0, prior=begun.prior)
    assert new.kind == "prior"
    before = new.forecast(["one(model=d, temperature=0)"], "easy")
    assert before.value[0] == pytest.approx(told["easy"].value[0], abs=0.1)


def test_a_renamed_model_of_the_same_revision_is_the_same_model(past: dict[str, Distilled]) -> None:
    near = Remembered("h1", past["h1"], 0.0, ("the same",), {"small": "a", "b": "b"})
    model = seen_from(near, LEVELS)
    assert set(model.work) == {"small", "b", "c of h1"}
    told = model.forecast(["one(model=small, temperature=0)"], "2")
    assert told.value == past["h1"].arms.forecast(["one(model=a, temperature=0)"], "2").value
    assert not near.identical


# ------------------------------------------------------------ what is shipped

SHIPPED = sorted(path.parent for path in shelves()[0].glob("*/recipe.toml") if "again" in path.read_text())


@dataclass
class Caught(Exception):
    digest: str


@pytest.mark.parametrize("home", SHIPPED, ids=lambda home: home.name)
def test_a_shipped_predictor_is_that_of_its_recipe_and_of_the_shipped_models(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shlex

    from autotts import api
    from autotts.cli import run_cli

    def caught(job: Any, watch: Any) -> Any:
        raise Caught(job.recipe.digest())

    monkeypatch.setattr(api, "study", caught)
    recipe = tomllib.loads((home / "recipe.toml").read_text(encoding="utf-8"))
    again = f"run {recipe['again']}"
    with pytest.raises(Caught) as found:
        run_cli(shlex.split(recipe["command"])[1:])
    assert found.value.digest == recipe["recipe"], again
    learned = Distilled.load(home / "model.json")
    shipped = cards(tuple(learned.descriptors.models))
    assert {n: m.revision for n, m in learned.descriptors.models.items()} == {n: c.revision for n, c in shipped.items()}
    card = (home / "card.md").read_text(encoding="utf-8")
    assert recipe["again"] in card and all(f"`{m.arm}`" in card for arms in learned.frontier.values() for m in arms)


def test_there_is_a_shipped_predictor_for_math_and_it_is_near() -> None:
    assert "embedded-math" in [home.name for home in SHIPPED]
    shelf = cards(("S", "M", "L"))
    of = Descriptors(
        task=describe_task(find("math")), models={n: describe_model(c) for n, c in shelf.items()}, machine=HERE
    )
    found = nearest(of, shelves())
    assert found.notes == () and found.studies[0].identical
    space = space_of(shelf)
    begun = start(found, space, {n: float(c.parameters or 0) for n, c in shelf.items()}, list("12345"))
    assert all(3 <= len(begun.arms[level]) <= 7 for level in "12345")


@pytest.mark.slow
def test_the_shipped_predictor_foretells_what_the_evidence_study_measured() -> None:
    """Another seed's prompts, the test stream, fresh draws: the foretold intervals hold nearly all its accuracies."""
    evidence = json.loads((STUDIES / "does-adapting-pay" / "result.json").read_text(encoding="utf-8"))
    inside, widths = [], []
    for step in evidence["frontier"]:
        told = recommend(Asked(budget=f"{step['budget']:.6g}flops"), shelves())["accuracy"]
        inside.append(told["low"] <= step["accuracy"]["value"] <= told["high"])
        widths.append(told["high"] - told["low"])
    assert sum(inside) >= len(inside) - 1 and max(widths) < 0.2


def test_shelves_are_those_that_exist_each_once(tmp_path: Path) -> None:
    assert shelves() == shelves(shelves()[0], tmp_path / "none")
    assert shelves(tmp_path)[1:] == [tmp_path]


def test_names_and_folders_that_are_not_free_are_refused(past: dict[str, Distilled], tmp_path: Path) -> None:
    for name in ("", "Up", "../x", "a/b", "a" * 61, "-x"):
        with pytest.raises(InputError, match="--name: expected lower-case"):
            distilling.distil(tmp_path, name, tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "model.json").write_text("{}")
    with pytest.raises(InputError, match="holds something else"):
        distilling.distil(tmp_path, "taken", tmp_path)
    with pytest.raises(InputError, match="expected the folder of a finished study"):
        distilling.distil(tmp_path, "free", tmp_path)
    (tmp_path / "result.json").write_text(json.dumps(measured("h1") | {"levels": []}))
    with pytest.raises(InputError, match=r"result\.json: levels: "):
        distilling.distil(tmp_path, "free", tmp_path)
    (tmp_path / "result.json").write_text(json.dumps(measured("h1") | {"pool": {}}))
    with pytest.raises(InputError, match="expected a study that draws"):
        distilling.distil(tmp_path, "free", tmp_path)
    assert not (tmp_path / "free").exists()
