"""The learned level: accurate on the embedded problems, equal to scikit-learn, calibrated, and safe to read."""

import json
import math

import numpy as np
import pytest

from autotts.errors import InputError
from autotts.predict.features import FEATURES, features
from autotts.predict.levels import LevelModel, calibration_error, design, fit
from autotts.tasks.arithmetic import MIX, problems


def examples(stream, count, levels=tuple(MIX)):
    drawn = [p for level in levels for p in problems(level, stream, 0, count)]
    return [p.prompt for p in drawn], [p.level for p in drawn]


@pytest.fixture(scope="module")
def learned():
    return fit(*examples("search", 60), 0, mix=MIX)


def test_levels_of_the_embedded_problems_are_seen(learned):
    prompts, levels = examples("confirm", 60)
    right = np.array([learned.level(p) == level for p, level in zip(prompts, levels, strict=True)])
    assert learned.kind == "logistic"
    assert learned.accuracy > 0.9
    assert right.mean() > 0.87
    assert learned.calibration_error < 0.06
    # Errors are between neighbours.
    assert sum(n for i, row in enumerate(learned.confusion) for j, n in enumerate(row) if abs(i - j) > 1) <= 3
    assert np.sum(learned.confusion) == learned.n == 300


def test_fresh_probabilities_are_calibrated(learned):
    prompts, levels = examples("confirm", 100)
    weight = np.array([MIX[level] for level in levels])
    error = calibration_error(learned.table(prompts), np.array(levels) - 1, weight / weight.sum())
    assert error < 0.08


def test_inference_equals_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    for kinds in ((1, 2, 3, 4, 5), (2, 4)):
        prompts, levels = examples("search", 30, kinds)
        ours = fit(prompts, levels, 0)
        place = [FEATURES.index(name) for name in ours.features]
        raw = np.array([features(p) for p in prompts])[:, place]
        x = design(raw, np.array(ours.mean), np.array(ours.scale), ours.squares)
        theirs = LogisticRegression(C=ours.strength, solver="newton-cg", max_iter=200).fit(x, levels)
        at_one = ours.model_copy(update={"temperature": 1.0})
        assert np.abs(at_one.table(prompts) - theirs.predict_proba(x)).max() < 1e-9
        one_by_one = [list(at_one.probabilities(p).values()) for p in prompts]
        assert np.abs(np.array(one_by_one) - theirs.predict_proba(x)).max() < 1e-9


def test_the_same_examples_and_seed_give_the_same_model():
    prompts, levels = examples("search", 12)
    assert fit(prompts, levels, 3) == fit(prompts, levels, 3)


def test_the_prior_follows_the_mix():
    prompts, levels = examples("search", 30)
    even = fit(prompts, levels, 0)
    mixed = fit(prompts, levels, 0, mix={1: 0.01, 2: 0.01, 3: 0.96, 4: 0.01, 5: 0.01})
    unlike = "solve: 20+30-15+9"
    assert mixed.probabilities(unlike)[3] > even.probabilities(unlike)[3]
    assert mixed.prior == pytest.approx([0.01, 0.01, 0.96, 0.01, 0.01])
    alike = fit(["same text"] * 40, [1, 2] * 20, 0, mix={1: 0.9, 2: 0.1})
    assert alike.probabilities("same text") == pytest.approx({1: 0.9, 2: 0.1}, abs=1e-3)
    with pytest.raises(InputError, match="positive share"):
        fit(prompts, levels, 0, mix={1: 1.0})


def test_a_round_trip_through_json_changes_nothing(learned):
    again = LevelModel.from_json(json.loads(json.dumps(learned.to_json())))
    assert again == learned
    assert again.probabilities("solve: 1+2+3+4") == learned.probabilities("solve: 1+2+3+4")


def test_any_prompt_gets_probabilities(learned):
    for prompt in ("", "What is love?", "9" * 5000, "solve: " + "99*" * 2000, "é" * 100, "\\frac" * 1000):
        found = learned.probabilities(prompt)
        assert math.fsum(found.values()) == pytest.approx(1)
        assert min(found.values()) >= 0


@pytest.mark.parametrize("count, levels, why", [(4, (1, 2), "only 4 prompts"), (20, (3,), "all prompts have level 3")])
def test_too_little_to_learn_from_gives_a_constant_that_says_so(count, levels, why):
    model = fit(*examples("search", count, levels), 0)
    assert model.kind == "constant"
    assert why in model.why
    assert model.level("solve: 1+1") == levels[0]
    assert list(model.probabilities("x").values()) == pytest.approx([1 / len(levels)] * len(levels))


def test_constant_features_and_levels_that_look_alike_are_survived():
    model = fit(["same text"] * 40, [1, 2] * 20, 0)
    assert model.probabilities("same text") == pytest.approx({1: 0.5, 2: 0.5})
    with pytest.raises(InputError, match="one level for each prompt"):
        fit(["a"], [], 0)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"coefficients": [[1.0]]}, "coefficients: expected 5 rows"),
        ({"mean": [0.0]}, "mean, scale"),
        ({"intercepts": [float("nan")] * 5}, "finite"),
        ({"intercepts": [1e300] * 5}, "up to 1e"),
        ({"temperature": 0.0}, "temperature"),
        ({"features": ["shoe_size"]}, "unknown feature 'shoe_size'"),
        ({"version": 99}, "features of version"),
        ({"prior": [0.5] * 5}, "sum to 1"),
        ({"levels": [5, 4, 3, 2, 1]}, "ascending"),
        ({"levels": []}, "levels"),
        ({"kind": "forest"}, "kind"),
        ({"n": "many"}, "n: "),
        ({"scale": None}, "scale"),
    ],
)
def test_a_broken_model_is_refused_with_the_place(learned, change, words):
    with pytest.raises(InputError, match=words) as error:
        LevelModel.from_json({**learned.to_json(), **change}, "policy.json")
    assert str(error.value).startswith("policy.json: ")
