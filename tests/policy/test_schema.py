"""The policy file: round trips, atomic writing, and every way to break it."""

import json
import os
import random
import stat

import pytest

from autotts.errors import AutottsError, InputError
from autotts.policy.files import dumps, write_atomic
from autotts.policy.schema import Policy
from tests.policy.policies import MODEL, policy_data


def edited(*path, value):
    """The text of the policy with one place changed."""
    data = policy_data()
    here = data
    for key in path[:-1]:
        here = here[key]
    here[path[-1]] = value
    return json.dumps(data)


def test_a_round_trip_keeps_everything_and_unknown_keys_too(tmp_path):
    data = policy_data()
    data["colour"] = {"of": ["the", "bike shed"], "n": 3}
    data["arms"]["mid"]["note"] = "kept"
    data["frontier"][0]["expected"]["p95"] = 1.5
    data["difficulty"]["model"]["trained_on"] = "search"
    path = tmp_path / "policy.json"
    policy = Policy.loads(json.dumps(data))
    policy.save(path)
    first = path.read_text()
    again = Policy.load(path)
    assert again == policy
    assert json.loads(first) == data
    again.save(path)
    assert path.read_text() == first
    assert list(json.loads(first))[:4] == ["format", "requires", "task", "models"]
    assert os.listdir(tmp_path) == ["policy.json"]


def test_the_file_reads_well_and_is_as_open_as_other_files(tmp_path):
    Policy.loads(json.dumps(policy_data())).save(tmp_path / "policy.json")
    text = (tmp_path / "policy.json").read_text()
    assert '      "expected": {\n        "L1": {\n          "value": 0.5,' in text
    assert '"L5": [["mid", 0.5], ["dear", 0.5]]' in text
    assert text.endswith("}\n")
    (tmp_path / "other").write_text("")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("policy.json", "other")}
    assert len(modes) == 1


@pytest.mark.parametrize("seed", range(20))
def test_writing_for_people_changes_no_value(seed):
    rng = random.Random(seed)

    def value(depth):
        leaf = [None, True, 1, -2.5, 'a\n"ü', [], {}, 10**20]
        if depth == 0 or rng.random() < 0.3:
            return rng.choice(leaf)
        parts = [value(depth - 1) for _ in range(rng.randint(0, 4))]
        return parts if rng.random() < 0.5 else {f"k{i}": p for i, p in enumerate(parts)}

    data = value(5)
    assert json.loads(dumps(data)) == data


def test_a_policy_cut_off_anywhere_is_refused():
    text = Policy.loads(json.dumps(policy_data())).dumps().rstrip()
    for end in range(0, len(text), 97):
        with pytest.raises(InputError, match="line"):
            Policy.loads(text[:end], "policy.json")


def test_a_newer_version_is_refused_and_says_to_upgrade():
    with pytest.raises(InputError, match=r"newer autotts \(autotts.policy/2;.*upgrade"):
        Policy.loads(edited("format", value="autotts.policy/2"))
    with pytest.raises(InputError, match=r"needs 'telepathy'.*upgrade"):
        Policy.loads(edited("requires", value=["telepathy"]))
    # A newer one is not judged by the rules of this version.
    with pytest.raises(InputError, match="newer autotts"):
        Policy.loads('{"format": "autotts.policy/7"}')


@pytest.mark.parametrize(
    "text, words",
    [
        (edited("arms", "mid", "arm", value="vote(n=-8, model=S)"), r"arms\.mid\.arm: vote: n expects.*found -8"),
        (edited("arms", "mid", "arm", value="vote(n=NaN, model=S)"), r"arms\.mid\.arm"),
        (edited("arms", "mid", "arm", value="jury(n=8)"), r"arms\.mid\.arm: unknown strategy 'jury'"),
        (edited("arms", "mid", "arm", value="vote(m=8)"), "unknown knob 'm'"),
        (edited("arms", "mid", "arm", value="__import__('os').system('touch pwned')"), r"arms\.mid\.arm"),
        (edited("arms", "mid", "arm", value="vote(n=(lambda: 8)())"), r"arms\.mid\.arm"),
        (edited("arms", "mid", "arm", value="vote(n=8, model=XL)"), r"model=XL: expected one of models \(S, M\)"),
        (edited("arms", "dear", "arm", value="best_of_n(by=oracle, model=S)"), r"by=oracle: expected one of scorers"),
        (edited("arms", "mid", "expected", "L9", value={"value": 1, "cost": 1}), "unknown bin 'L9'"),
        (edited("arms", "mid", "expected", "L1", value={"value": 1, "cost": -1}), r"arms\.mid\.expected\.L1\.cost"),
        (edited("arms", value={}), "arms: expected at least one"),
        (edited("unit", value="parsecs"), "unit: expected one of flops"),
        (
            edited("frontier", 1, "route", "L3", value=[["best", 1.0]]),
            r"frontier\[1\].route.L3\[0\]: unknown arm 'best'",
        ),
        (edited("frontier", 1, "route", "L3", value=[["mid", 0.5]]), "shares that sum to 1, found 0.5"),
        (edited("frontier", 1, "route", "L3", value=[["mid", 2.0], ["dear", -1.0]]), "a share above 0"),
        (edited("frontier", 1, "route", "L3", value=[["mid"]]), r"frontier\[1\]\.route\.L3\[0\]"),
        (edited("frontier", 1, "route", value={"L1": [["mid", 1.0]]}), "bin 'L3' has no arm"),
        (edited("frontier", 1, "route", "L7", value=[["mid", 1.0]]), "unknown bin 'L7'"),
        (edited("frontier", 2, "budget", value=5.0), r"frontier\[2\]\.budget: expected more than"),
        (edited("frontier", 0, "budget", value=-1), r"frontier\[0\]\.budget"),
        (edited("frontier", 0, "budget", value="1e15flops"), r"frontier\[0\]\.budget.*found '1e15flops'"),
        (edited("frontier", 2, "expected", "cost", value=1.0), r"frontier\[2\]\.expected\.cost"),
        (edited("frontier", value=[]), "frontier: expected at least one"),
        (edited("default", value=3), "default: expected the index"),
        (edited("default", value=-1), "default: expected the index"),
        (edited("default", value=True), "default"),
        (edited("cap", value=0), "cap"),
        (edited("difficulty", "bins", value=["L1", "L3"]), r"difficulty\.bins: expected 3 names"),
        (edited("difficulty", "bins", value=["L1", "L1", "L5"]), r"difficulty\.bins"),
        (edited("difficulty", "model", value=None), r"difficulty\.model: kind levels expects"),
        (edited("difficulty", "model", "coefficients", value=[]), r"difficulty\.model: .*coefficients"),
        (edited("difficulty", "model", "features", 0, value="mood"), "unknown feature 'mood'"),
        (edited("difficulty", "features", value=["mood"]), r"difficulty\.features"),
        (edited("difficulty", "kind", value="none"), "kind none expects one bin"),
        (edited("difficulty", "kind", value="magic"), r"difficulty\.kind"),
        (edited("models", value=[]), "models"),
        (edited("task", value=None), "task"),
        (edited("evidence", value=float("nan")), "found NaN"),
        (edited("cap", value=1e300).replace("1e+300", "1e400"), "finite number, found 1e400"),
        (edited("format", value="openai.policy/1"), "format: expected 'autotts.policy/1'"),
        (edited("format", value=1), "format: expected"),
        ("[1, 2]", "expected a policy"),
        ("null", "expected a policy"),
        ("", "line 1"),
        ("{'format': 'autotts.policy/1'}", "line 1"),
        ('{"format": "autotts.policy/1"}', "task"),
        ('{"a": 1, "a": 2}', "the key 'a' is given twice"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "nested too deeply"),
        (edited("evidence", value={}).replace("{}", "[" * 300 + "]" * 300), "nested too deeply"),
        (edited("evidence", value="\ud800"), "half a character"),
        (edited("made", "seed", value=7.5), r"made\.seed"),
        (edited("made", "seed", value=0).replace('"seed": 0', '"seed": ' + "9" * 5000), "policy.json: "),
    ],
)
def test_nonsense_is_refused_with_file_and_place(text, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=words) as error:
        Policy.loads(text, "policy.json")
    assert str(error.value).startswith("policy.json: ")
    assert len(str(error.value)) < 700
    assert os.listdir(tmp_path) == []


def test_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        Policy.load(tmp_path / "missing.json")
    with pytest.raises(InputError, match="a folder"):
        Policy.load(tmp_path)
    huge = tmp_path / "huge.json"
    with open(huge, "wb") as file:
        file.truncate(17 * 1024 * 1024)
    with pytest.raises(InputError, match="at most 16 MB, found 17 MB"):
        Policy.load(huge)
    (tmp_path / "latin.json").write_bytes(b'{"a": "\xe9"}')
    with pytest.raises(InputError, match="UTF-8, found the byte 0xe9"):
        Policy.load(tmp_path / "latin.json")
    (tmp_path / "windows.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(policy_data()).encode())
    assert Policy.load(tmp_path / "windows.json").default == 1


def leaves(data, path=()):
    """All places in plain data."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield (*path, key)
        yield from leaves(value, (*path, key))


def test_any_place_may_hold_anything_and_only_our_errors_come():
    rng = random.Random(0)
    places = list(leaves(policy_data()))
    for _ in range(250):
        value = rng.choice([None, "", "x", -1, 0, 1e308, 10**30, True, [], {}, [[]], {"a": 1}, [None]])
        try:
            policy = Policy.loads(edited(*rng.choice(places), value=value))
            policy.route("solve: 12+3*4", token="t")
        except AutottsError:
            pass


def test_a_policy_that_would_be_refused_is_not_written(tmp_path):
    policy = Policy.loads(json.dumps(policy_data()))
    path = tmp_path / "policy.json"
    with pytest.raises(InputError, match="default"):
        policy.model_copy(update={"default": 9}).save(path)
    with pytest.raises(InputError, match="finite"):
        policy.model_copy(update={"evidence": {"accuracy": float("nan")}}).save(path)
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_the_old_file(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("old")
    with pytest.raises(InputError, match="cannot be written"):
        write_atomic(blocked / "policy.json", "new")
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_atomic(tmp_path / "taken", "new")
    assert blocked.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["file", "taken"]


def test_the_old_file_stays_whole_until_the_new_one_is(tmp_path):
    path = tmp_path / "policy.json"
    write_atomic(path, "old " * 1000)
    with open(path) as reader:
        write_atomic(path, "new")
        assert reader.read() == "old " * 1000
    assert path.read_text() == "new"
    with pytest.raises(InputError, match="cannot be written"):
        write_atomic(path, "x" * 100_000 + "\ud800")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["policy.json"]


def test_a_policy_without_levels():
    data = policy_data()
    data["difficulty"] = {"kind": "none", "bins": ["all"]}
    for name in data["arms"]:
        data["arms"][name]["expected"] = {}
    for setting in data["frontier"]:
        setting["route"] = {"all": [["mid", 1.0]]}
    policy = Policy.loads(json.dumps(data))
    routed = policy.route("anything at all")
    assert (routed.bin, routed.arm, routed.cost) == ("all", "vote(n=8, model=S, temperature=0.6)", None)


def test_the_model_of_the_tests_is_learned():
    assert MODEL.kind == "logistic"
