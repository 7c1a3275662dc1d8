"""Hostile policy files are obeyed or refused, and nothing else; what is refused is refused in a few words."""

import json

import pytest

from autotts.errors import InputError
from autotts.policy import limits
from autotts.policy.schema import Policy
from tests.policy.mutating import heavy, mutants, outcome
from tests.policy.policies import alike_data, each_data, policy_data

SHARE = 300  # of the files that the benchmark tries
LARGE = 3_000  # repeats in the large ones


@pytest.mark.parametrize("seed", range(6))
def test_a_mutated_file_is_obeyed_or_refused(seed):
    found = [outcome(mutant) for mutant in mutants(seed, SHARE // 6)]
    assert set(found) == {"obeyed", "refused"}


@pytest.mark.parametrize("mutant", list(heavy(LARGE)), ids=lambda mutant: mutant.name[:60])
def test_a_large_file_is_obeyed_or_refused(mutant):
    assert outcome(mutant) in ("obeyed", "refused")


def test_the_same_seed_gives_the_same_files():
    assert list(mutants(7, 20)) == list(mutants(7, 20)) != list(mutants(8, 20))


def test_whole_files_are_obeyed():
    for data in (policy_data(), alike_data(), each_data()):
        policy = Policy.loads(json.dumps(data))
        assert policy.route("solve: 12+3*4").arm in {arm.arm for arm in policy.arms.values()}


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("requires",), ["performance/1"] * 101, "requires: expected at most 100 entries, found 101"),
        (("requires",), [{"a": 1}], "needs {'a': 1}"),
        (("requires",), [["x" * 500]], "does not know"),
        (("arms",), {f"a{i}": {"arm": "one(model=S)"} for i in range(10_001)}, "arms: expected at most 10,000"),
        (("difficulty", "bins"), [str(i) for i in range(1_001)], "difficulty.bins: expected at most 1,000"),
        (("frontier", 0, "route", "L1"), [["cheap", 1e-5]] * 100_000, "frontier: expected at most 100,000"),
        (("difficulty", "model", "levels"), list(range(5_000)), "prior: expected 5000 shares"),
        (("difficulty", "model", "scale", 0), 5e-324, "scale"),
        (("difficulty", "model", "mean", 0), 1e300, "mean, scale: expected numbers up to 1e"),
    ],
)
def test_what_is_too_much_is_refused_in_a_few_words(place, value, words):
    data = policy_data()
    here = data
    for key in place[:-1]:
        here = here[key]
    here[place[-1]] = value
    with pytest.raises(InputError) as error:
        Policy.loads(json.dumps(data), "policy.json")
    assert words in str(error.value)
    assert len(str(error.value)) < 700


def tree(**changes):
    """Of arm 0 of the policy that routes prompt by prompt."""
    data = each_data()
    data["difficulty"]["performance"]["members"][1]["ensembles"][0] |= changes
    return json.dumps(data)


def test_trees_take_a_bounded_number_of_steps():
    count = 3_000
    deep = {"feature": [0] * (count - 1) + [-1], "left": [*range(1, count), 0], "right": [*range(1, count), 0]}
    flat = {"threshold": [0.0] * count, "value": [0.0] * count}
    assert Policy.loads(tree(**deep, **flat, roots=[0] * 6))
    with pytest.raises(InputError, match="at most 20000 steps in all for a prompt, found 21000"):
        Policy.loads(tree(**deep, **flat, roots=[0] * 7))


def test_tables_of_ngrams_are_bounded():
    data = each_data()
    member = data["difficulty"]["performance"]["members"][0]
    member |= {"uses": [], "directions": [[]] * 4_000, "loadings": [[0.0] * 4_000] * 3, "ngrams": {"1": [0.0] * 4_000}}
    with pytest.raises(InputError, match="at most 4000 directions and arms"):
        Policy.loads(json.dumps(data))


def test_depth_and_number_of_values_are_bounded(monkeypatch):
    def nested(times):
        return {"a": json.loads("[" * times + "]" * times)}

    assert list(limits.problems(nested(limits.DEEPEST - 1))) == []
    assert "nested too deeply" in next(limits.problems(nested(limits.DEEPEST)))
    monkeypatch.setattr(limits, "MOST", 10)
    assert list(limits.problems({"a": [0] * 9})) == []
    assert list(limits.problems({"a": [0] * 10})) == ["expected at most 10 values in the file, found more"]
