"""The JSON Schema of the policy file, made from the entries that read it and from what their docstrings say."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from autotts.core.cost import PARTS
from autotts.policy.entries import Arm, Bound, Control, Difficulty, Expected, Made, Setting, TaskName
from autotts.policy.reading import FORMAT, KNOWN
from autotts.policy.schema import Policy
from autotts.policy.seen import Seen
from autotts.predict.levels import LevelModel
from autotts.predict.members import Ensemble, Linear, Trees
from autotts.predict.performance import Performance, Score

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "policy.schema.json"

ENTRIES: tuple[type[BaseModel], ...] = (
    *(Policy, TaskName, Bound, Expected, Arm, Difficulty, Setting, Control, Made, Seen),
    *(LevelModel, Performance, Score, Linear, Trees, Ensemble),
)

_ENTRY = re.compile(r"^([a-z_]+(?:, [a-z_]+)*)\n((?:    .*\n?|\n)+)", re.MULTILINE)


def schema() -> str:
    """The JSON Schema of the policy file, from the entries that read it."""
    made = Policy.model_json_schema()
    defined = made.pop("$defs")
    for entry in ENTRIES:
        _describe(made if entry is Policy else defined[entry.__name__], entry)
    known = made["properties"]
    known["format"] = {"const": FORMAT, "description": known["format"]["description"]}
    known["requires"]["items"] = {"enum": sorted(KNOWN)}
    known["unit"]["enum"] = list(PARTS)
    known["arms"]["minProperties"] = 1
    known["frontier"]["minItems"] = 1
    known["default"]["minimum"] = 0
    defined["Difficulty"]["properties"]["bins"] |= {"minItems": 1, "uniqueItems": True}
    made["required"] = ["format", *made["required"]]
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{FORMAT.replace('/', ':')}",
        "title": "Policy",
        "description": made.pop("description"),
        "type": "object",
        **made,
        "$defs": defined,
    }
    return json.dumps(_plain(whole), indent=2) + "\n"


def _describe(shape: dict[str, Any], entry: type[BaseModel]) -> None:
    """Write what a docstring says of an entry and of its keys."""
    text = inspect.cleandoc(entry.__doc__ or "")
    about, _, keys = text.partition("\nParameters\n----------\n")
    shape["description"] = " ".join(about.split())
    told = {name: " ".join(words.split()) for names, words in _ENTRY.findall(keys + "\n") for name in names.split(", ")}
    for key, value in shape["properties"].items():
        if "$ref" in value:
            value["allOf"] = [{"$ref": value.pop("$ref")}]
        value["description"] = told[key]


def _plain(shape: Any) -> Any:
    """Without the titles that pydantic makes of the names of keys."""
    if isinstance(shape, list):
        return [_plain(each) for each in shape]
    if not isinstance(shape, dict):
        return shape
    named = shape.get("properties") is not None
    return {k: _plain(v) for k, v in shape.items() if k != "title" or named or not isinstance(v, str)}
