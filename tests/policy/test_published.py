"""The published form of the policy file: its JSON Schema, its order of keys, and room for keys of later versions."""

import json
import random
import re

import pytest

from autotts.errors import InputError
from autotts.policy.files import parse_json
from autotts.policy.schema import Policy
from autotts.policy.validate import validate
from tests import policy_schema
from tests.policy.mutating import mutants
from tests.policy.policies import alike_data, each_data, policy_data

DATA = {"levels": policy_data, "alike": alike_data, "each": each_data}


def objects(data):
    """All objects in plain data."""
    if isinstance(data, dict):
        yield data
    for value in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        yield from objects(value)


# ---------------------------------------------------------------- the JSON Schema


@pytest.fixture(scope="module")
def validator():
    jsonschema = pytest.importorskip("jsonschema")
    shape = json.loads(policy_schema.schema())
    jsonschema.Draft202012Validator.check_schema(shape)
    return jsonschema.Draft202012Validator(shape)


def test_the_schema_is_fresh():
    assert policy_schema.PAGE.read_text(encoding="utf-8") == policy_schema.schema(), "run `python -m tests.docs`"


def test_every_entry_and_every_key_is_described_and_others_are_let_in():
    whole = json.loads(policy_schema.schema())
    assert whole["$schema"].startswith("https://json-schema.org/") and whole["$id"]
    for name, shape in {"Policy": whole, **whole["$defs"]}.items():
        assert shape["description"].endswith(".") and shape["additionalProperties"] is True, name
        for key, value in shape["properties"].items():
            assert value["description"].endswith("."), f"{name}.{key}"


@pytest.mark.parametrize("made", DATA.values(), ids=DATA)
def test_policies_that_are_read_are_of_the_schema(validator, made):
    data = made()
    assert list(validator.iter_errors(data)) == []
    assert list(validator.iter_errors(json.loads(Policy.loads(json.dumps(data)).dumps()))) == []
    for here in objects(data):
        here["of_a_later_version"] = {"a": [1]}
        break
    assert list(validator.iter_errors(data)) == []


def test_what_the_schema_refuses_is_refused_when_read(validator):
    refused = 0
    for mutant in mutants(11, 250):
        try:
            data = parse_json(mutant.text, "policy.json")
        except InputError:
            continue
        if not validator.is_valid(data):
            refused += 1
            with pytest.raises(InputError):
                Policy.loads(mutant.text, "policy.json")
    assert refused > 60


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "autotts.policy/2"),
        ("requires", ["later/1"]),
        ("unit", "parsecs"),
        ("arms", {}),
        ("frontier", []),
        ("default", -1),
        ("cap", 0),
        ("task", {"name": "math"}),
    ],
)
def test_the_schema_refuses_what_is_wrong(validator, key, value):
    assert not validator.is_valid(policy_data() | {key: value})


# ---------------------------------------------------------------- order and unknown keys


@pytest.mark.parametrize("made", DATA.values(), ids=DATA)
def test_a_file_that_we_wrote_is_written_again_as_it_was(made, tmp_path):
    path = tmp_path / "policy.json"
    Policy.loads(json.dumps(made())).save(path)
    first = path.read_bytes()
    Policy.load(path).save(path)
    assert path.read_bytes() == first


@pytest.mark.parametrize("made", DATA.values(), ids=DATA)
@pytest.mark.parametrize("seed", range(3))
def test_unknown_keys_are_kept_in_their_place_at_every_depth(made, seed):
    rng = random.Random(seed)
    data = json.loads(Policy.loads(json.dumps(made())).dumps())
    free = [data["arms"], data["models"], data["scorers"], *(setting["route"] for setting in data["frontier"])]
    free += [arm["expected"] for arm in data["arms"].values()]
    known = data["difficulty"].get("performance")
    free += [] if known is None else [known["members"][0]["ngrams"]]
    free += list(objects(data["evidence"]))
    for here in list(objects(data)):
        if any(here is one for one in free):
            continue
        items = [*here.items()]
        items.insert(rng.randint(0, len(items)), ("of_a_later_version", rng.choice([None, {"b": 1, "a": [{}]}, [1.5]])))
        here.clear()
        here.update(items)
    text = Policy.loads(json.dumps(data)).dumps()
    assert json.dumps(json.loads(text)) == json.dumps(data)
    assert Policy.loads(text).dumps() == text


def test_the_order_of_keys_makes_no_other_policy():
    data = policy_data()
    turned = dict(reversed(data.items()))
    one, other = Policy.loads(json.dumps(data)), Policy.loads(json.dumps(turned))
    assert one == other and one.digest == other.digest
    assert list(json.loads(other.dumps())) == list(turned)
    assert json.loads(other.model_copy(update={"cap": 5e9}).dumps())["cap"] == 5e9


@pytest.mark.parametrize("entry", ["later/1", "performance/2", "", None, 1, {"a": 1}, ["performance/1"]])
def test_what_must_be_known_and_is_not_is_refused(entry):
    with pytest.raises(InputError, match=r"requires.*upgrade with pip install"):
        Policy.loads(json.dumps(policy_data() | {"requires": [entry]}))
    with pytest.raises(InputError, match="requires"):
        Policy.loads(json.dumps(policy_data() | {"requires": ["performance/1", entry]}))


@pytest.mark.parametrize("value", [None, "performance/1", {}, 1])
def test_requires_is_a_list(value):
    with pytest.raises(InputError, match="requires"):
        Policy.loads(json.dumps(policy_data() | {"requires": value}))


# ---------------------------------------------------------------- the page


def test_the_examples_of_the_page_make_one_whole_policy(validator):
    page = policy_schema.PAGE.with_name("policy.md").read_text(encoding="utf-8")
    data = {}
    for block in re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        part = json.loads(block)
        assert not part.keys() & data.keys()
        data |= part
    assert set(data) == set(Policy.model_fields)
    assert list(validator.iter_errors(data)) == []
    policy = Policy.loads(json.dumps(data))
    assert policy.route("1 + 1").cost in (400, 3000)
    assert not validate(data).problems + validate(data).warnings
