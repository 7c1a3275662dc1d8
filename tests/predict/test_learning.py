"""Learning: what can be learned is, what cannot be is left at the constant, and bad input says why."""

import numpy as np
import pytest

from autotts.errors import InputError
from autotts.predict.calibration import platt
from autotts.predict.examples import prepare
from autotts.predict.learning import _cuts, fit
from autotts.predict.performance import expit
from tests.predict.test_performance import made


def noise(count, arms=2, seed=0):
    rng = np.random.default_rng(seed)
    prompts = [" ".join(rng.choice(["a", "7", "+", "left", "how many"], rng.integers(4, 20))) for _ in range(count)]
    return prompts, [f"arm {i}" for i in range(arms)], (rng.random((count, arms)) < 0.6) * 1.0, np.ones((count, arms))


def error(model, prompts, truth):
    return float(np.sqrt(np.nanmean((model.table(prompts).value - truth) ** 2)))


def test_what_prompts_tell_is_learned():
    model = fit(*made(200), seed=0)
    fresh, _, value, _ = made(240, seed=9)
    by = {score.name: score for score in model.scores}
    assert {"constant", "length", "logistic", "lowrank", "ngrams", "average"} == set(by)
    assert model.kind not in ("constant", "length") and "over the constant" in model.why
    assert by[model.kind].gain_low > 0 and by["constant"].gain == 0
    assert by[model.kind].calibration_error < 0.03
    assert error(model, fresh, value) < 0.75 * float(np.nanstd(value))
    found = model.table(fresh).value[~np.isnan(value)]
    assert found.mean() == pytest.approx(np.nanmean(value), abs=0.03)


def test_noise_is_left_at_the_constant():
    kinds = [fit(*noise(100, seed=seed), seed=seed).kind for seed in range(3)]
    assert kinds == ["constant"] * 3


def test_trees_are_learned_where_prompts_are_many():
    rng = np.random.default_rng(3)
    size = rng.integers(1, 30, 450)
    prompts = [f"Say {'so ' * n}and {i}." for i, n in enumerate(size)]
    # Neither a line nor the words, which are the same in all, tell this.
    right = ((size > 10) & (size < 20) ^ (rng.random(450) < 0.05)) * 1.0
    model = fit(prompts, ["a"], right[:, None], np.ones((450, 1)), seed=0)
    assert model.kind == "boosting"
    assert error(model, prompts, right[:, None]) < 0.35


def test_arms_lend_each_other_strength():
    """Twenty arms with nine prompts each have the same difficulty in common."""
    rng = np.random.default_rng(4)
    size = rng.integers(1, 7, 90)
    prompts = [f"Add {'9' * s} to {rng.integers(1, 9)} and say {'so ' * rng.integers(1, 9)}" for s in size]
    chance = expit(np.linspace(-1, 3, 20) - 1.5 * (size[:, None] - 3))
    value = (rng.random(chance.shape) < chance) * 1.0
    value[rng.random(value.shape) > 0.1] = np.nan
    model = fit(prompts, [str(i) for i in range(20)], value, np.ones(value.shape), seed=0)
    by = {score.name: score for score in model.scores}
    assert by["lowrank"].log_loss < by["logistic"].log_loss
    assert model.kind == "lowrank"
    assert error(model, prompts, chance) < 0.22 < 0.6 * float(np.std(chance))


def test_the_same_arguments_give_the_same_predictor():
    data = made(100, seed=2)
    assert fit(*data, seed=3) == fit(*data, seed=3)


def test_equal_prompts_stay_in_one_fold():
    prompts = [f"Say {i // 3}" for i in range(90)]
    value = np.random.default_rng(0).random((90, 1)).round()
    examples = prepare(prompts, ["a"], (value, None), None, 0)
    for parts in _cuts(examples, 0):
        assert sorted(np.concatenate(parts).tolist()) == list(range(90))
        for part in parts:
            assert len({prompts[i] for i in part}) * 3 == len(part)
    # Each text has its own chance; only a fold that holds its twins could know it.
    twins = np.repeat(np.random.default_rng(1).random(30).round(), 3)[:, None]
    assert fit(prompts, ["a"], twins, np.ones((90, 1)), seed=0).scores[-1].gain < 0.05


@pytest.mark.parametrize(
    "count, change, why",
    [
        (1, None, "only 1 different prompts"),
        (9, None, "only 9 different prompts"),
        (40, 1.0, "no arm does better"),
        (40, np.nan, "only 0 different prompts were measured"),
    ],
)
def test_too_little_to_learn_from_gives_a_constant_that_says_so(count, change, why):
    prompts, arms, value, cost = noise(count)
    if change is not None:
        value[:] = change
    model = fit(prompts, arms, value, cost, seed=0)
    assert model.kind == "constant" and why in model.why
    assert [score.name for score in model.scores] == ["constant", "length"]
    found = model.expect("anything")["arm 0"]
    assert 0 < found.value < 1 and found.low <= found.value <= found.high and found.cost == pytest.approx(1.0)


def test_an_arm_that_was_never_measured_is_unsure():
    prompts, arms, value, cost = made(120)
    value[:, 1], cost[:, 1] = np.nan, np.nan
    found = fit(prompts, arms, value, cost, seed=0).expect(prompts[0])
    assert found["b"].high - found["b"].low > 0.6
    assert np.isnan(found["b"].cost)


def test_more_features_than_prompts_and_odd_texts_are_survived():
    prompts = ["", " ", "\ud800", "é" * 99, "9" * 5000, "\\frac{1}{2}", "a\n" * 500, "(((", "?", "A. b", "x" * 10, "$5"]
    value = np.arange(12)[:, None] % 2 * np.ones((1, 2))
    model = fit(prompts, ["a", "b"], value, np.zeros((12, 2)), seed=0)
    assert np.isfinite(model.table(prompts).value).all()
    alike = fit(["same text"] * 40, ["a"], np.arange(40)[:, None] % 2 * 1.0, np.ones((40, 1)), seed=0)
    assert alike.kind == "constant" and alike.expect("same text")["a"].value == pytest.approx(0.5)


def test_weights_shift_the_mean():
    prompts, arms, value, cost = noise(60, 1)
    heavy = fit(prompts, arms, value, cost, seed=0, weight=np.where(value[:, 0] > 0, 3.0, 1.0))
    even = fit(prompts, arms, value, cost, seed=0, weight=np.full((60, 1), 7.0))
    plain = fit(prompts, arms, value, cost, seed=0)
    assert heavy.expect("x")["arm 0"].value > plain.expect("x")["arm 0"].value + 0.1
    assert even == plain


def test_embeddings_are_used_and_may_be_missing():
    rng = np.random.default_rng(5)
    prompts = [f"text {i % 10}{i // 10} word" for i in range(200)]
    embeddings = rng.standard_normal((200, 40))
    embeddings[:, 0] *= 4
    value = (rng.random((200, 1)) < expit(embeddings[:, :1])) * 1.0
    embeddings[3] = np.nan
    model = fit(prompts, ["a"], value, np.ones((200, 1)), seed=0, embeddings=embeddings)
    assert model.kind != "constant" and "embedding/1" in model.groups
    told = model.table(prompts, embeddings).value[:, 0]
    assert np.corrcoef(told, value[:, 0])[0, 1] > 0.6
    for row in (0, 3):
        one = model.expect(prompts[row], embeddings[row])["a"].value
        assert one == pytest.approx(told[row], abs=1e-12)
    down = model.expect(prompts[0])["a"].value
    assert down == pytest.approx(model.table(prompts[:1]).value[0, 0], abs=1e-12)
    assert abs(down - np.nanmean(value)) < 0.25
    with pytest.raises(InputError, match="expected 1 rows of 40 numbers"):
        model.expect(prompts[0], embeddings[0, :7])


def test_calibration_draws_over_confident_logits_back():
    rng = np.random.default_rng(6)
    true = rng.standard_normal((4000, 2)) + np.array([1.0, -1.0])
    value = (rng.random(true.shape) < expit(true)) * 1.0
    slope, shift = platt(3 * true + 0.5, value, np.ones(value.shape))
    assert slope == pytest.approx(1 / 3, abs=0.03)
    assert slope * 0.5 + shift == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"prompts": []}, "value: expected 0 prompts"),
        ({"arms": ["a"]}, "value: expected 20 prompts x 1 arms"),
        ({"value": np.full((20, 2), 1.5)}, "chances from 0 to 1"),
        ({"value": np.full((20, 2), np.inf)}, "chances from 0 to 1"),
        ({"cost": np.ones(20)}, "cost: expected"),
        ({"weight": np.full(20, -1.0)}, "weight: expected"),
        ({"weight": np.ones(3)}, "weight: expected"),
        ({"embeddings": np.ones((3, 4))}, "embeddings: expected 20 rows"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(change, words):
    prompts, arms, value, cost = noise(20)
    given = {"prompts": prompts, "arms": arms, "value": value, "cost": cost, **change}
    with pytest.raises(InputError, match=words):
        fit(**given, seed=0)
