"""How arms will do: right and calibrated on a made-up world, equal to scikit-learn, warm from a prior, safe to read."""

import json
import math

import numpy as np
import pytest

from autotts.errors import InputError
from autotts.predict.arm_learning import (
    COMPONENTS,
    MOST,
    checked,
    fit_arms,
    log_odds,
    regressor,
    thinned,
)
from autotts.predict.arms import ArmModel, Process, Seen, describe, effort, mixed, setting
from autotts.predict.held_out import left_out
from tests.predict.surface import ARMS, LEVELS, WORK, seen, some, truth


def fit(found, prior=None, work=WORK, levels=LEVELS):
    return fit_arms(found, levels=levels, work=work, seed=0, prior=prior)


def errors(model, arms=ARMS[::7], levels=LEVELS):
    """Errors of accuracy and of log cost, in units, and in standard deviations."""
    out = []
    for level in levels:
        found = model.forecast(arms, level)
        value, cost = np.array([truth(arm, level) for arm in arms]).T
        gap, dear = value - found.value, np.log(cost / found.cost)
        out.append(np.stack([gap, gap / found.sd, dear, dear / found.cost_sd]))
    return np.concatenate(out, axis=1)


@pytest.fixture(scope="module")
def learned():
    return fit(some(120, np.random.default_rng(0)))


def test_arms_that_were_not_seen_are_foretold_with_honest_intervals(learned):
    gap, z, dear, dear_z = errors(learned)
    assert learned.kind == "gp" and not learned.fallback
    assert np.sqrt((gap**2).mean()) < 0.06
    assert (np.abs(z) < 1.96).mean() > 0.85
    assert (np.abs(z) < 0.2).mean() < 0.5  # and not far too wide
    assert np.sqrt((dear**2).mean()) < 0.2
    assert (np.abs(dear_z) < 1.96).mean() > 0.85


def test_more_examples_make_it_better_and_surer(learned):
    few = fit(some(16, np.random.default_rng(0)))
    assert (errors(few)[0] ** 2).mean() > (errors(learned)[0] ** 2).mean()
    assert few.forecast(ARMS[::7], "2").sd.mean() > learned.forecast(ARMS[::7], "2").sd.mean()


def test_a_level_learns_from_the_others():
    rng = np.random.default_rng(1)
    beside = some(120, rng, levels=("1", "2", "4"))
    gap, z, *_ = errors(fit(beside), levels=["3"])
    flat = np.std([truth(arm, "3")[0] for arm in ARMS[::7]])
    assert np.sqrt((gap**2).mean()) < 0.7 * flat
    assert (np.abs(z) < 1.96).mean() > 0.85


@pytest.mark.parametrize("of", ["value", "cost"])
def test_inference_equals_scikit_learn(learned, of):
    process = getattr(learned, of)
    x, weights = np.array(learned.inputs), np.array(learned.weights)
    theirs = regressor(weights, np.array(process.noise), process.own, process.amplitudes, None)
    theirs.fit(x, np.array(process.targets))
    arms = ARMS[::5]
    fresh = describe(arms, [2.0] * len(arms), learned.strategies, learned.work, learned.work)
    mean, sd = theirs.predict(fresh, return_std=True)
    ours = learned.latent(arms, "3", 0.0, learned.work)
    first = 0 if of == "value" else 2
    assert np.abs(ours[first] - (mean + process.offset)).max() < 1e-9
    assert np.abs(np.sqrt(ours[first + 1]) / process.inflation - sd).max() < 1e-9


def test_accuracy_is_the_mean_over_the_log_odds(learned):
    mean, variance, unit, _ = learned.latent(ARMS[:5], "2", 0.0, WORK)
    draws = mean + np.sqrt(variance) * np.random.default_rng(0).normal(size=(200_000, 5))
    accuracy = 1 / (1 + np.exp(-draws))
    found = learned.forecast(ARMS[:5], "2")
    assert np.allclose(found.value, accuracy.mean(0), atol=2e-3)
    assert np.allclose(found.sd, accuracy.std(0), atol=2e-3)
    assert np.allclose(np.log(found.cost), unit + effort(ARMS[:5], WORK))


def test_held_out_groups_are_foretold_as_if_they_had_never_been_there():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(12, 3)), rng.normal(size=12)
    groups = np.array([0, 0, 1, 1, 1, 2, 3, 3, 4, 4, 4, 4])
    process = Process(targets=y.tolist(), noise=[0.3] * 12, amplitudes=[1.5], own=0.2)
    kernel = mixed(np.ones((1, 3)), x, x, [process.amplitudes])[0]
    mean, variance = left_out(process, kernel, groups)
    for group in range(5):
        ins, outs = groups != group, groups == group
        k = kernel[np.ix_(ins, ins)] + 0.5 * np.eye(ins.sum())
        across = kernel[np.ix_(outs, ins)]
        assert np.allclose(mean[outs], across @ np.linalg.solve(k, y[ins]))
        assert np.allclose(variance[outs], 2.0 - np.diag(across @ np.linalg.solve(k, across.T)))


def test_the_check_sees_that_it_is_good_and_widens_what_is_too_sure(learned):
    assert learned.check["r2_over_level_mean"] > 0.5
    assert learned.check["spearman"] > learned.check["spearman_level_mean"]
    rng = np.random.default_rng(2)
    # Each pool of draws has a luck of its own, which nothing foretells, and 10,000 prompts make every arm seem sure.
    luck = {}
    odd = []
    for s in some(120, rng, prompts=10_000):
        of = setting(s.arm)
        shift = luck.setdefault((of.strategy, of.models, of.numbers[1:3]), rng.normal())
        odds = math.log((s.value + 1e-4) / (1 - s.value + 1e-4)) + 1.5 * shift
        odd.append(Seen(s.arm, s.level, 1 / (1 + math.exp(-odds)), s.cost, s.prompts))
    check = checked(odd, levels=LEVELS, work=WORK, seed=0)
    assert check["inside_widened"] >= 0.94
    assert check["inside_widened"] >= check["inside"]
    assert check["r2_over_level_mean"] < learned.check["r2_over_level_mean"]


def test_forecasts_are_wider_by_the_inflation(learned):
    plain, wider = (
        learned.model_copy(update={"value": learned.value.model_copy(update={"inflation": f})}) for f in (1.0, 3.0)
    )
    ratio = wider.latent(ARMS[:9], "2", 0.0, WORK)[1] / plain.latent(ARMS[:9], "2", 0.0, WORK)[1]
    assert np.allclose(ratio, 9.0)


# ------------------------------------------------------------ an earlier study


NEW_WORK = {"P": 2e5, "Q": 1.6e6}


def renamed(found, names):
    """The same world under other names of models: A and C of the surface are P and Q here."""
    return [
        Seen(s.arm.replace("model=A", f"model={names[0]}").replace("model=C", f"model={names[1]}"), *rest)
        for s, rest in ((s, (s.level, s.value, s.cost, s.prompts)) for s in found)
    ]


def test_an_earlier_study_helps_with_few_examples_and_does_not_hurt_with_many(learned):
    rng = np.random.default_rng(5)
    arms = [a for a in ARMS if "model=B" not in a]
    names = [a.replace("model=A", "model=P").replace("model=C", "model=Q") for a in arms]
    work = {"P": WORK["A"], "Q": WORK["C"]}

    def rmse(model):
        gaps = [model.forecast(names[::9], level).value - [truth(a, level)[0] for a in arms[::9]] for level in LEVELS]
        return float(np.sqrt(np.mean(np.square(gaps))))

    few = renamed(some(8, rng, arms=arms), ("P", "Q"))
    many = renamed(some(160, rng, arms=arms), ("P", "Q"))
    none = fit([], learned, work)
    assert none.kind == "prior" and none.fallback and "0 arms" in none.why
    assert rmse(none) < 0.12
    warm, cold = fit(few, learned, work), fit(few, None, work)
    assert rmse(warm) < 0.75 * rmse(cold)
    assert rmse(fit(many, learned, work)) < 1.15 * rmse(fit(many, None, work)) < rmse(cold)


def test_an_earlier_study_that_says_the_opposite_is_overruled(learned):
    rng = np.random.default_rng(6)
    wrong = fit([Seen(s.arm, s.level, 1 - s.value, s.cost, s.prompts) for s in some(120, rng)])
    found = some(120, rng)
    assert fit(found, wrong).value.slope < 0.2 < fit(found, learned).value.slope
    assert (errors(fit(found, wrong))[0] ** 2).mean() < 1.5 * (errors(fit(found))[0] ** 2).mean()
    assert (errors(wrong)[0] ** 2).mean() > 10 * (errors(fit(found, wrong))[0] ** 2).mean()


def test_levels_of_other_names_are_matched_by_their_place(learned):
    other = fit([], learned, WORK, levels=("easy", "hard"))
    easy, hard = other.forecast(ARMS[:40], "easy").value, other.forecast(ARMS[:40], "hard").value
    ours = [learned.forecast(ARMS[:40], level).value for level in ("1", "4")]
    assert np.abs(easy - ours[0]).mean() < 0.05
    assert np.abs(hard - ours[1]).mean() < 0.05


# ------------------------------------------------------------ too little, and too much


def test_too_few_or_equal_values_say_so_and_are_wide():
    rng = np.random.default_rng(0)
    two = fit(some(4, rng)[:2])
    assert two.kind == "constant" and two.fallback and "2 arms" in two.why
    same = fit([Seen(arm, "1", 0.5, 1e6, 64) for arm in ARMS[:20]])
    assert same.kind == "constant" and "value of 0.5" in same.why
    for model in (two, same, fit([])):
        found = model.forecast(ARMS, "4")
        assert found.sd.min() > 0.2
        assert found.cost_sd.min() > 1
        assert np.isfinite(found.value).all() and np.isfinite(found.cost).all()


def test_what_is_thinned_keeps_the_frontier_and_the_strange():
    rng = np.random.default_rng(4)
    close = [a for a in ARMS if "model=A" in a and "beam" not in a and "dvts" not in a]
    found = [seen(a, level, rng) for level in LEVELS for a in close]
    strange = next(a for a in ARMS if a.startswith("beam") and "model=C" in a)
    found += [seen(strange, "2", rng)]
    kept = thinned(found, LEVELS, WORK)
    assert len(kept) == MOST < len(found)
    assert found[-1] in kept
    for level in LEVELS:
        best = max((s for s in found if s.level == level), key=lambda s: (s.value, -s.cost))
        assert best in kept
    assert thinned(found, LEVELS, WORK) == kept
    assert fit(found).n == MOST


def test_perfect_and_hopeless_arms_stay_finite():
    found = [Seen(arm, level, float(level in "12"), 1e6, 8) for arm in ARMS[:12] for level in LEVELS]
    model = fit(found)
    for level in LEVELS:
        f = model.forecast(ARMS[::40], level)
        assert np.isfinite([f.value, f.sd, f.cost, f.cost_sd]).all()
        assert f.value.min() >= 0 and f.value.max() <= 1


def test_log_odds_of_all_and_of_none():
    odds, noise = log_odds([Seen(ARMS[0], "1", value, 1.0, 10) for value in (0.0, 0.5, 1.0)])
    assert odds[0] == pytest.approx(-odds[2]) and odds[1] == 0
    assert noise[1] == pytest.approx(4 / 10) and noise[0] > noise[1]


# ------------------------------------------------------------ the file


def test_it_goes_through_json_and_is_the_same_each_time(learned):
    again = ArmModel.from_json(json.loads(json.dumps(learned.to_json())))
    assert again == learned
    for a, b in zip(vars_of(again), vars_of(learned), strict=True):
        # The last bits depend on how many threads linear algebra had.
        assert a == pytest.approx(b, rel=1e-9)
    assert fit(some(120, np.random.default_rng(0))).to_json() == learned.to_json()


def vars_of(model):
    found = model.forecast(ARMS[:50], "3")
    return found.value, found.sd, found.cost, found.cost_sd


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "fit again"),
        ({"inputs": [[1.0, 2.0]]}, "rows of"),
        ({"levels": ["1", "1"]}, "different names"),
        ({"kind": "prior"}, "does not go with"),
        ({"work": {"A": 0.0}}, "above 0"),
        ({"n": math.nan}, "n:"),
    ],
)
def test_a_broken_file_is_refused(learned, change, words):
    with pytest.raises(InputError, match=words):
        ArmModel.from_json(learned.to_json() | change, "model.json")


def test_numbers_of_a_broken_process_are_refused(learned):
    data = learned.to_json()
    for name, value in (("noise", [-1.0] * learned.n), ("targets", [0.0]), ("own", 0.0)):
        with pytest.raises(InputError, match="value: expected"):
            ArmModel.from_json(data | {"value": data["value"] | {name: value}})


def test_bad_input_is_named(learned):
    with pytest.raises(InputError, match="level: expected one of 1, 2, 3, 4, found '9'"):
        learned.forecast(ARMS[:1], "9")
    with pytest.raises(InputError, match="model: expected one of A, B, C, found 'Z'"):
        learned.forecast(["one(model=Z)"], "1")
    good = Seen(ARMS[0], "1", 0.5, 1e6, 64)
    for bad in (
        Seen(ARMS[0], "1", math.nan, 1e6, 64),
        Seen(ARMS[0], "1", 1.5, 1e6, 64),
        Seen(ARMS[0], "1", 0.5, 0.0, 64),
        Seen(ARMS[0], "1", 0.5, 1e6, 0),
        Seen(ARMS[0], "7", 0.5, 1e6, 64),
    ):
        with pytest.raises(InputError, match="expected"):
            fit([good, bad])
    with pytest.raises(InputError, match="work"):
        fit([good], work={"A": 0.0})


def test_the_kernel_knows_the_columns():
    from autotts.predict.arms import columns

    known = set(columns(["vote"], {"A": 1.0}))
    assert {name for *_, of in COMPONENTS for name in of} <= known
    assert setting("vote(n=8, model=A)").numbers[3] == 3.0
