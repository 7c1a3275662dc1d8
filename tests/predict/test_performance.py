"""A learned performance as plain numbers: the same as scikit-learn's, the same for one prompt as for many, refused if
broken."""

import json
import math
import timeit

import numpy as np
import pytest

from autotts.errors import InputError
from autotts.predict import candidates as learners
from autotts.predict.examples import prepare
from autotts.predict.learning import fit
from autotts.predict.logistic import ridge
from autotts.predict.lowrank import TOGETHER
from autotts.predict.performance import KINDS, Performance
from autotts.predict.trees import boosting, doubled

SUBJECTS = ("apples", "pears", "coins", "trains", "frogs", "books")
VERBS = ("buys", "sells", "counts", "paints", "loses")


def made(count, seed=0):
    """Prompts whose numbers and words tell how hard they are; shares of eight draws of three arms, some missing."""
    rng = np.random.default_rng(seed)
    size, subject = rng.integers(1, 6, count), rng.integers(0, 6, count)
    prompts = [
        f"Question {i}: Ann {rng.choice(VERBS)} {10**s + i % 9} {SUBJECTS[k]} and {3 * s} more. How many?"
        for i, (s, k) in enumerate(zip(size, subject))
    ]
    logits = np.array([2.0, 0.5, -1.0]) - np.outer(size - 3, [0.5, 1.0, 0.8]) + np.outer(subject == 3, [-2, 0, 1])
    value = rng.binomial(8, 1 / (1 + np.exp(-logits))) / 8
    value[rng.random(value.shape) < 0.1] = np.nan
    return prompts, ["a", "b", "c"], value, np.exp(size)[:, None] * np.array([10.0, 100.0, np.nan])


@pytest.fixture(scope="module")
def data():
    return made(160)


@pytest.fixture(scope="module")
def learned(data):
    return fit(*data, seed=0)


@pytest.fixture(scope="module")
def examples(data):
    prompts, arms, value, _ = data
    return prepare(prompts, arms, (value, None), None, 0)


def member_of(kind, examples):
    rows = np.arange(len(examples.value))
    learn = {
        "length": learners.length,
        "logistic": lambda *a: learners.logistic(*a, strength=0.1),
        "ngrams": lambda *a: learners.ngrams(*a, strength=0.1),
        "lowrank": lambda *a: learners.lowrank(*a, rank=2, strength=0.1),
        "boosting": learners.boosting,
    }[kind]
    return learn(examples, rows, 0)


def artefact(learned, members, **change):
    """The performance with other members, uncalibrated and read from JSON."""
    data = {**learned.to_json(), "members": [m.model_dump(mode="json") for m in members], "slope": 1.0, "shift": []}
    data["groups"] = ["surface/1", "question/1", "ngrams/1"]
    return Performance.from_json(json.loads(json.dumps({**data, **change})))


def theirs(kind, examples):
    """scikit-learn's own predict_proba, arm by arm, on the same columns."""
    from sklearn.linear_model import LogisticRegression

    columns = {
        "length": examples.standard[:, [examples.columns.index("log_chars")]],
        "logistic": examples.standard,
        "ngrams": np.hstack([examples.standard, examples.topics.values]),
        "boosting": examples.raw,
    }[kind]
    strength = 1.0 if kind == "length" else 0.1
    found = []
    for arm in range(examples.value.shape[1]):
        x, y, weight = doubled(columns, examples.value[:, arm], examples.weight[:, arm])
        if kind == "boosting":
            estimator = boosting(0)
        else:
            estimator = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-12, max_iter=200)
        found.append(estimator.fit(x, y, sample_weight=weight).predict_proba(columns)[:, 1])
    return np.stack(found, axis=1)


@pytest.mark.parametrize("kind", ["length", "logistic", "ngrams", "boosting"])
def test_inference_equals_scikit_learn(kind, data, learned, examples):
    ours = artefact(learned, [member_of(kind, examples)])
    assert np.abs(ours.table(data[0]).value - theirs(kind, examples)).max() < 1e-9


def test_the_low_rank_arms_equal_scikit_learn_on_the_shared_difficulties(data, learned, examples):
    """An arm's departure from the common sensitivities is a logistic regression with an offset, so its optimum is a
    stationary point: the gradient that scikit-learn would follow is zero."""
    member = member_of("lowrank", examples)
    value = artefact(learned, [member]).table(data[0]).value
    x = np.hstack([examples.standard, examples.topics.values])
    topics = np.array([[member.ngrams[str(b)][k] for b in examples.topics.known] for k in range(2)])
    spread = np.linalg.lstsq(examples.topics.basis, topics.T, rcond=None)[0].T
    latent = x @ np.hstack([np.array(member.directions), spread]).T
    error = examples.weight * (value - examples.value)
    loadings = np.array(member.loadings)
    slope = error.T @ latent + loadings / TOGETHER
    assert np.abs(error.sum(0)).max() < 1e-8
    # The common sensitivities are the same for all arms.
    assert np.abs(slope - slope[0]).max() < 1e-8
    assert np.abs(slope).max() > 1e-3


def test_an_average_is_the_mean_of_logits(data, learned, examples):
    parts = [member_of("ngrams", examples), member_of("boosting", examples)]
    both, one, other = (artefact(learned, m).table(data[0]).value for m in (parts, parts[:1], parts[1:]))
    assert np.log(both / (1 - both)) == pytest.approx(
        (np.log(one / (1 - one)) + np.log(other / (1 - other))) / 2, abs=1e-9
    )


def test_ridge_equals_scikit_learn(examples):
    from sklearn.linear_model import Ridge

    coefficients, intercepts = ridge(examples.standard, examples.value, examples.weight, 10.0)
    for arm in range(3):
        model = Ridge(alpha=10.0).fit(examples.standard, examples.value[:, arm], sample_weight=examples.weight[:, arm])
        assert np.abs(model.coef_ - coefficients[arm]).max() < 1e-9
        assert abs(model.intercept_ - intercepts[arm]) < 1e-9


@pytest.mark.parametrize("kinds", [("length",), ("ngrams",), ("lowrank",), ("boosting", "ngrams", "logistic")])
def test_one_prompt_gets_the_numbers_of_many(kinds, data, learned, examples):
    model = artefact(learned, [member_of(k, examples) for k in kinds], slope=0.8, shift=[0.1, -0.2, 0.3])
    prompts = [*data[0][:20], "", "What is love?", "9" * 5000, "é" * 100, "\ud800", "x\n" * 3000]
    table = model.table(prompts)
    for row, prompt in enumerate(prompts):
        for arm, found in enumerate(model.expect(prompt).values()):
            assert found.value == pytest.approx(table.value[row, arm], abs=1e-12)
            assert found.low == pytest.approx(table.low[row, arm], abs=1e-12)
            assert found.high == pytest.approx(table.high[row, arm], abs=1e-12)
            assert found.cost == pytest.approx(table.cost[row, arm], rel=1e-9, nan_ok=True)
            assert 0 <= found.low <= found.value <= found.high <= 1


def test_one_prompt_is_fast(data, learned, examples):
    """The limit is loose, since machines of tests are shared: an idle core needs about 170 microseconds."""
    model = artefact(learned, [member_of("ngrams", examples)])
    prompt = (data[0][0] * 9)[:300]
    model.expect(prompt)
    assert min(timeit.repeat(lambda: model.expect(prompt), number=5, repeat=40)) / 5 < 600e-6


def test_costs_are_learned_and_unknown_ones_say_so(data, learned):
    table = learned.table(data[0])
    cost = data[3]
    assert np.isnan(table.cost[:, 2]).all() and math.isnan(learned.expect("x")["c"].cost)
    assert np.nanmean(table.cost[:, :2], axis=0) == pytest.approx(np.nanmean(cost[:, :2], axis=0))
    assert np.abs(np.log(table.cost[:, :2] / cost[:, :2])).mean() < 0.3


def test_intervals_hold_what_prompts_like_these_do(data, learned):
    fresh, _, value, _ = made(240, seed=5)
    table = learned.table(fresh)
    for arm in range(3):
        order = np.argsort(table.value[:, arm])
        inside = [
            table.low[part, arm].mean() <= np.nanmean(value[part, arm]) <= table.high[part, arm].mean()
            for part in np.array_split(order, 10)
        ]
        assert sum(inside) >= 8
    assert (table.high - table.low).mean() < 0.5


def test_prompts_that_look_different_are_counted(data, learned):
    assert learned.outside(data[0]) < 0.03
    assert learned.outside(made(200, seed=7)[0]) < 0.05
    assert learned.outside(["def f(x):\n    return x;\n" * 30, "\\frac{1}{2} = (((3)))" * 9]) == 1.0
    assert learned.outside([]) == 0.0


def test_a_round_trip_through_json_changes_nothing(data, learned):
    again = Performance.from_json(json.loads(json.dumps(learned.to_json())))
    assert again == learned and learned.kind in KINDS
    assert again.expect(data[0][0])["a"] == learned.expect(data[0][0])["a"]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"kind": "forest"}, "kind: expected one of constant, length"),
        ({"groups": ["surface/9"]}, "newer than this autotts"),
        ({"groups": ["shoes/1"]}, "expected groups of features among"),
        ({"groups": ["surface/1"]}, "columns"),
        ({"groups": ["surface/1", "question/1", "embedding/1"]}, "columns, basis"),
        ({"format": "autotts.performance/2"}, "format"),
        ({"arms": ["a", "a", "b"]}, "arms: expected different names"),
        ({"arms": []}, "arms"),
        ({"columns": ["log_chars"]}, "columns"),
        ({"mean": [0.0]}, "mean: expected"),
        ({"scale": [0.0]}, "scale: expected"),
        ({"least": [math.nan]}, "finite"),
        ({"members": []}, "members: expected at least one"),
        ({"members": [{"type": "forest"}]}, "members.0"),
        ({"members": [{"intercepts": [1.0]}]}, "members.0"),
        ({"members": [{"type": "linear", "intercepts": [1.0]}]}, "members.0.intercepts: expected 3"),
        ({"members": [{"type": "linear", "intercepts": [1e9, 0.0, 0.0]}]}, "up to 1e"),
        ({"members": [{"type": "linear", "intercepts": [0.0] * 3, "uses": [900]}]}, "members.0.uses"),
        ({"members": [{"type": "linear", "intercepts": [0.0] * 3, "ngrams": {"16384": []}}]}, "buckets"),
        ({"members": [{"type": "linear", "intercepts": [0.0] * 3, "directions": [[1.0]]}]}, "directions"),
        ({"members": [{"type": "trees", "uses": [0], "ensembles": []}]}, "ensembles: expected 3"),
        ({"upto": [0.9, 0.1]}, "ascending"),
        ({"counts": [1]}, "counts"),
        ({"slope": -1.0}, "slope"),
        ({"shift": [1.0]}, "shift"),
        ({"cost_intercepts": [1e9, 0.0, 0.0]}, "cost_intercepts"),
        ({"cost_coefficients": [[1.0]]}, "cost_coefficients"),
        ({"n": "many"}, "n: "),
    ],
)
def test_a_broken_artefact_is_refused_with_the_place(learned, change, words):
    with pytest.raises(InputError, match=words) as error:
        Performance.from_json({**learned.to_json(), **change}, "policy.json")
    assert str(error.value).startswith("policy.json: ")


def test_trees_that_would_walk_for_ever_are_refused(learned):
    loop = {"base": 0.0, "roots": [0], "feature": [0], "threshold": [0.0], "left": [0], "right": [0], "value": [0.0]}
    for change, words in (
        ({}, "children after node 0"),
        ({"roots": [7]}, "roots"),
        ({"feature": [90]}, "feature: expected"),
        ({"value": []}, "trees: expected 1"),
    ):
        member = {"type": "trees", "uses": [0], "ensembles": [{**loop, **change}] * 3}
        with pytest.raises(InputError, match=words):
            Performance.from_json({**learned.to_json(), "members": [member]})


def test_the_artefact_is_read_without_scikit_learn():
    import subprocess
    import sys

    code = "import sys, autotts.predict.performance; print({'sklearn', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
