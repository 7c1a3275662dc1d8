"""A policy seen by people: shown, checked as a whole, compared, explained, and bound to other models."""

import json

import pytest

from autotts.core.cost import ModelCard
from autotts.errors import BudgetError, InputError
from autotts.policy import rebind as binding
from autotts.policy import showing
from autotts.policy.diff import diff
from autotts.policy.explain import explain
from autotts.policy.schema import Policy
from autotts.policy.validate import recorded, validate
from autotts.worlds.catalogue import Catalogue, restated
from autotts.worlds.models.entry import Entry, Scoring, Server
from tests.policy.policies import alike_data, each_data, policy_data

WHEN = "2026-01-02T03:04:05Z"
PROMPT = "solve: 12+3*4"


def loaded(data):
    return Policy.loads(json.dumps(data))


LEVELS, ALIKE, EACH = (loaded(data) for data in (policy_data(), alike_data(), each_data()))


# ---------------------------------------------------------------- validate


def test_every_problem_is_told_and_each_once():
    data = policy_data()
    data["unit"] = "parsecs"
    data["default"] = 9
    data["arms"]["mid"]["arm"] = "vote(n=0, model=Q)"
    data["frontier"][1]["route"]["L3"] = [["best", 0.5]]
    found = validate(data)
    assert found.policy is None and not found.unread and not found.warnings
    for words in ("unit: expected", "default: expected", "arms.mid.arm", "unknown arm 'best'", "sum to 1, found 0.5"):
        assert [words in problem for problem in found.problems].count(True) == 1, words
    assert len(found.problems) == 5


def test_every_value_of_the_wrong_form_is_told():
    data = policy_data() | {"cap": "much", "default": 1.5, "seed": 3, "task": {}}
    data["frontier"][0]["budget"] = -1
    problems = validate(data).problems
    places = [problem.partition(":")[0] for problem in problems]
    assert places == ["task.name", "task.reader", "task.grader", "frontier[0].budget", "default", "cap"]


@pytest.mark.parametrize("data", [None, [], "x", {"format": "autotts.policy/9"}, {}])
def test_what_is_no_policy_is_told_and_nothing_raised(data):
    found = validate(data)
    assert len(found.problems) == 1 and found.policy is None and found.unread


def test_warnings_are_of_what_is_right_and_worth_knowing():
    data = policy_data() | {"colour": 1, "pool": {"probe_tokens": 20}}
    data["arms"]["mid"]["note"] = "kept"
    data["frontier"][0]["expected"]["p95"] = 1.5
    data["arms"]["spare"] = {"arm": "one(model=M, temperature=0)"}
    data["models"]["S"]["binding"]["engine"] = "recorded"
    data["models"]["M"]["binding"] = {}
    data["frontier"][2]["expected"]["value"] = 0.1
    data["evidence"] = {}
    found = validate(data)
    assert found.policy is not None
    for words in (
        "policy: keys that this version does not know are kept: colour",
        "arms.mid: keys that this version does not know are kept: note",
        "frontier[0].expected: keys",
        "no prompt is ever routed to spare",
        "S is bound to recorded answers",
        "M has no binding",
        "frontier[2]: expected to be right on 10.0% and no more",
        "controller: none",
        "evidence: none",
    ):
        assert any(words in warning for warning in found.warnings), words
    assert len(found.warnings) == 9 and not any("pool" in warning for warning in found.warnings)
    assert recorded(found.policy) == ["S"]
    assert not validate(json.loads(LEVELS.dumps()) | {"controller": {}}).warnings


# ---------------------------------------------------------------- show


def test_a_point_stands_where_the_dial_enters_it():
    points = showing.points(LEVELS)
    assert [point.effort for point in points][::2] == [0.0, 1.0]
    assert LEVELS.effort(points[1].effort) == pytest.approx(points[1].cost)
    assert [point.default for point in points] == [False, True, False]
    assert points[1].route["L5"] == (
        (policy_data()["arms"]["mid"]["arm"], 0.5),
        (policy_data()["arms"]["dear"]["arm"], 0.5),
    )


def test_between_two_settings_the_mixture_is_expected():
    low, high = (setting.expected for setting in LEVELS.frontier[:2])
    value, cost = showing.expected_at(LEVELS, (low.cost + high.cost) / 2)
    assert (value, cost) == pytest.approx(((low.value + high.value) / 2, (low.cost + high.cost) / 2))


# ---------------------------------------------------------------- diff


def test_equal_policies_are_equal():
    assert diff(LEVELS, loaded(policy_data())).equal
    told = diff(LEVELS, loaded(policy_data() | {"made": {"seed": 5}}))
    assert not told.equal and told.routes and not told.points and told.facts[0][0] == "made"


def test_a_changed_route_names_its_bin_its_arms_and_its_cost():
    data = policy_data()
    data["frontier"][1]["route"]["L3"] = [["mid", 1.0]]
    data["frontier"][1]["expected"] = {"value": 0.7, "cost": 15_000_000.0}
    found = diff(LEVELS, loaded(data))
    default = found.points[0]
    assert not found.equal and not found.routes and found.comparable and (found.added, found.removed) == ((), ())
    assert [changed.bin for changed in default.bins] == ["L3"]
    changed = default.bins[0]
    assert (changed.before.value, changed.before.cost) == (0.5, 1e6)
    assert (changed.after.value, changed.after.cost) == (0.7, 8e6)
    assert default.after == pytest.approx((0.7, 15e6))
    assert [point.name for point in found.points] == ["default", "effort 0", "effort 0.5", "effort 1"]
    assert found.points[1].bins == () and found.points[1].before == found.points[1].after


def test_prompts_tell_how_many_change_and_what_it_costs():
    data = policy_data()
    for setting in data["frontier"]:
        setting["route"] = {name: [["dear", 1.0]] for name in setting["route"]}
    prompts = [PROMPT, "solve: 1+2", "solve: 3+4"]
    found = diff(LEVELS, loaded(data), prompts).tried
    assert (found.prompts, found.changed, found.cost_after) == (3, 3, 64e6)
    assert found.cost_before < found.cost_after
    assert all(example.before != example.after for example in found.examples)
    assert diff(LEVELS, LEVELS, prompts).tried.changed == 0


def test_other_units_and_bins_are_told():
    found = diff(LEVELS, EACH)
    assert not found.comparable and found.points[0].bins is None
    told = {what for what, _, _ in found.facts}
    assert {"unit", "told apart", "bins"} <= told


# ---------------------------------------------------------------- explain


@pytest.mark.parametrize("policy", [LEVELS, ALIKE, EACH], ids=["levels", "alike", "each"])
@pytest.mark.parametrize("prompt", [PROMPT, "", "x" * 50_000, "half \ud800"])
def test_what_is_explained_is_what_is_routed(policy, prompt):
    for dial in (0.0, 0.4, 1.0):
        found, routed = explain(policy, prompt, policy.effort(dial)), policy.route(prompt, policy.effort(dial))
        (chosen,) = [one for one in found.considered if one.chosen]
        assert (found.arm, found.cost, chosen.arm) == (routed.arm, routed.cost, routed.arm)
        assert found.effort == pytest.approx(dial, abs=1e-6)
        assert chosen.share > 0 and found.why


def test_of_arms_that_are_worth_less_the_price_is_shown():
    found = explain(EACH, PROMPT, EACH.effort(1.0))
    assert [one.worth for one in found.considered] == [one.value for one in found.considered]
    cheap = explain(EACH, PROMPT, EACH.effort(0.0))
    assert cheap.considered[0].chosen
    assert all(one.worth == pytest.approx(one.value - one.cost) for one in cheap.considered)


def test_a_prompt_unlike_those_of_the_study_is_told():
    assert "outside what the study saw" in explain(LEVELS, PROMPT + " = " + "9" * 900).unlike
    assert "outside what the study saw" in explain(EACH, "(A) 7 " * 300 + "?").unlike
    assert explain(EACH, "Hello there").unlike == explain(ALIKE, PROMPT).unlike == ""


def test_a_budget_below_the_cheapest_is_refused():
    with pytest.raises(BudgetError):
        explain(LEVELS, PROMPT, 1.0)


def test_a_cap_is_told():
    assert explain(LEVELS.model_copy(update={"cap": 2e6}), "solve: 1+2").cap.startswith("2 Mflops, of which")


# ---------------------------------------------------------------- rebind


def entry(name, served, **changes):
    card = ModelCard(served, "", parameters=changes.pop("parameters", 1000))
    return Entry(
        name=name, engine="openai", served=served, card=card, servers=(Server("http://localhost:1/v1"),), **changes
    )


def file_of(*entries):
    return Catalogue({one.name: one for one in entries}, "models.toml")


PRM = entry("prm", "org/prm", scoring=Scoring("judge", "score"))


def test_a_file_of_models_renames_roles_and_keeps_the_routes():
    models = file_of(entry("tiny", "org/tiny"), entry("M", "org/large"), PRM)
    onto = binding.onto_file(LEVELS, models, {"S": "tiny"})
    found = binding.rebind(LEVELS, onto, when=WHEN)
    new = found.policy
    assert set(new.models) == {"tiny", "M"} and set(new.scorers) == {"prm"}
    assert new.arms["mid"].arm == "vote(n=8, model=tiny, temperature=0.6)"
    assert new.arms["dear"].arm == "weighted_vote(n=16, by=prm, model=M, temperature=1)"
    assert new.frontier == LEVELS.frontier and new.difficulty == LEVELS.difficulty
    assert new.models["tiny"].binding["served"] == "org/tiny" and new.models["tiny"].card["parameters"] == 1000
    assert new.evidence["accuracy"] == LEVELS.evidence["accuracy"]
    assert new.evidence["rebound"][0]["date"] == WHEN
    assert any("were measured on the old models" in note for note in found.notes)
    assert any("costs another amount of flops" in note for note in found.notes)
    assert loaded(policy_data()) == LEVELS


def test_what_was_rebound_opens_where_it_says():
    models = file_of(entry("S", "org/tiny"), entry("M", "org/large"), PRM)
    new = binding.rebind(LEVELS, binding.onto_file(LEVELS, models, {}), when=WHEN).policy
    bounds = new.models | new.scorers
    again = restated({n: (b.binding, b.card) for n, b in bounds.items()}, [Server("http://localhost:2/v1")], {})
    assert {name: one.served for name, one in again.entries.items()} == {
        "S": "org/tiny",
        "M": "org/large",
        "prm": "org/prm",
    }
    assert not binding.onto_names(new, {"M": "org/large"}).notes, "a model that stays keeps its card"
    assert binding.onto_names(new, {"M": "org/other"}).notes
    onto = binding.onto_names(new, {"S": "Qwen/Qwen3-4B"})
    twice = binding.rebind(new, onto, when=WHEN).policy
    assert [mark["roles"][0]["role"] for mark in twice.evidence["rebound"]] == ["S", "S"]
    assert twice.models["S"].card["parameters"] == 4_022_468_096
    assert twice.models["S"].binding["template"] == new.models["S"].binding["template"]
    assert twice.models["S"].binding["id"] != new.models["S"].binding["id"]
    assert twice.models["M"] == new.models["M"] and twice.arms == new.arms


def test_recorded_answers_are_bound_to_models_that_can_answer():
    data = alike_data()
    data["task"]["reader"] = "text"
    data["scorers"] = {}
    data["arms"]["dear"]["arm"] = "vote(n=16, model=M, temperature=1)"
    for role in data["models"].values():
        role["binding"] = {"engine": "recorded", "id": "pool:1", "model": "Qwen3-4B", "temperature": 0.7}
    policy = loaded(data)
    onto = binding.onto_names(policy, {"S": "Qwen/Qwen3-4B"})
    with pytest.raises(InputError, match="--reader"):
        binding.rebind(policy, onto, when=WHEN)
    found = binding.rebind(policy, onto, when=WHEN, reader="boxed")
    assert found.policy.task.reader == "boxed" and recorded(found.policy) == ["M"]
    assert any("M is still bound to recorded answers" in note for note in found.notes)


@pytest.mark.parametrize(
    ("entries", "names", "words"),
    [
        ([entry("S", "a"), PRM], {}, "'M' needs a model that draws; expected 'M' in models.toml, found none of that"),
        ([entry("S", "a"), entry("M", "b")], {}, "'prm' needs a model that scores"),
        ([entry("S", "a"), entry("M", "b"), PRM], {"S": "prm"}, "found one that scores"),
        ([entry("S", "a"), entry("M", "b"), PRM], {"prm": "S"}, "found one that draws"),
        ([entry("S", "a"), entry("M", "b"), PRM], {"Q": "S"}, "has no role 'Q'"),
    ],
)
def test_what_cannot_be_bound_is_refused(entries, names, words):
    with pytest.raises(InputError) as error:
        binding.rebind(LEVELS, binding.onto_file(LEVELS, file_of(*entries), names), when=WHEN)
    assert words in str(error.value)


def test_two_arms_that_would_be_one_are_refused():
    data = policy_data()
    data["arms"]["twin"] = {"arm": "vote(n=8, model=M, temperature=0.6)"}
    models = file_of(entry("one", "a"), PRM)
    onto = binding.onto_file(loaded(data), models, {"S": "one", "M": "one"})
    with pytest.raises(InputError, match="'mid' and 'twin' would both be vote"):
        binding.rebind(loaded(data), onto, when=WHEN)


def test_a_scorer_is_not_bound_by_a_name_alone():
    with pytest.raises(InputError, match=r"'prm' scores.*--models FILE"):
        binding.onto_names(LEVELS, {"prm": "org/prm"})


@pytest.mark.parametrize("word", ["S", "S=", "=x", "", "="])
def test_words_that_are_no_pair_are_refused(word):
    with pytest.raises(InputError, match="OLD=NEW"):
        binding.pairs([word])
    with pytest.raises(InputError, match="'S' twice"):
        binding.pairs(["S=a", "S=b"])
