"""Answers in JSON that conform to a schema, and calls of tools; their values are taken from a text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from autotts.worlds.fake_server.refused import Refused

ANY: Final[Mapping[str, Any]] = {"type": "object"}
_NUMBER: Final = re.compile(r"(?<![\w.])-?\d+")
_BOXED: Final = re.compile(r"\\boxed\{([^{}]*)\}")
_MOST: Final = 1000  # items of a list, or characters, that a schema may ask for
_DEEPEST: Final = 8  # a schema that names itself is left where it may be left
_UNKNOWN: Final = ("pattern", "format", "multipleOf", "not", "if", "allOf", "prefixItems", "contains", "uniqueItems")


@dataclass(frozen=True, slots=True)
class Call:
    """A tool that is called: its name, the schema of its arguments, and whether the request named it."""

    name: str
    schema: Mapping[str, Any]
    named: bool


def called(form: Mapping[str, Any]) -> Call | None:
    """The tool that a request for a chat gets called, None for none.

    That is the one that `tool_choice` names, the first where one is required, and else the first whose name stands in
    the last message, if that is a user's: so scripted models call tools when they are asked to in words.
    """
    tools, choice = form.get("tools") or [], form.get("tool_choice")
    try:
        given = {str(tool["function"]["name"]): tool["function"].get("parameters") or ANY for tool in tools}
        if isinstance(choice, dict):
            name = str(choice["function"]["name"])
            return Call(name, given.get(name, ANY), True)
        if not given or choice == "none":
            return None
        if choice == "required":
            name = next(iter(given))
            return Call(name, given[name], False)
        last = form["messages"][-1]
        if last.get("role") != "user":
            return None
        words = set(re.findall(r"[\w.-]+", json.dumps(last.get("content"))))
        asked = next((name for name in given if name in words or f"{name}." in words), None)
        return None if asked is None else Call(asked, given[asked], False)
    except (KeyError, TypeError, AttributeError, IndexError):
        raise Refused(400, "expected tools with a function and its name", param="tools") from None


def wanted(form: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema that a request's `response_format` asks for, None for text."""
    found: Any = form.get("response_format") or {"type": "text"}
    try:
        kind = found["type"]
        if kind == "json_schema":
            return dict(found["json_schema"]["schema"])
    except (KeyError, TypeError, ValueError):
        raise Refused(400, "expected a response_format with a type and its schema", param="response_format") from None
    if kind not in ("text", "json_object"):
        raise Refused(400, f"response_format: the type {kind!r} is not known", param="response_format")
    return ANY if kind == "json_object" else None


def arguments(call: Call, prompt: str) -> str:
    """The JSON of a call's arguments, from the last message of the user in a prompt."""
    asked = prompt.rpartition("<|user|>\n")[2].partition("\n<|")[0]
    return _made(call.schema, asked)


def written(schema: Mapping[str, Any], said: str) -> str:
    """What is said, as JSON of a schema; what is a JSON object already stays as it is.

    >>> schema = {"type": "object", "properties": {"answer": {"type": "integer"}, "sure": {"type": "boolean"}}}
    >>> written(schema, "First, 2 + 3 = 5. The answer is \\\\boxed{5}.")
    '{"answer": 5, "sure": true}'
    """
    try:
        if isinstance(json.loads(said), dict):
            return said
    except ValueError:
        pass
    found = _BOXED.findall(said)
    return _made(schema, found[-1] if found else said)


def _made(schema: Mapping[str, Any], text: str) -> str:
    """JSON of a schema; `Refused` for what is no schema."""
    try:
        return json.dumps(_Writer(schema, text).value(schema))
    except (AttributeError, IndexError, KeyError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise _wrong(f"expected a schema, found something else: {error}") from None


class _Writer:
    """Makes a value of a schema; its numbers are those of the text, in their order, its texts the whole text."""

    def __init__(self, root: Mapping[str, Any], text: str) -> None:
        self._root = root
        self._text = text
        self._numbers: Iterator[int] = iter(map(int, _NUMBER.findall(text)))
        self._last = 0

    def value(self, schema: Any, depth: int = 0) -> Any:
        """A value; `Refused` for a schema that asks for more than is known here."""
        if schema is True:
            return self._text
        if not isinstance(schema, Mapping) or depth > 2 * _DEEPEST:
            raise _wrong("expected a schema: an object, not one that holds itself without an end")
        if unknown := [key for key in _UNKNOWN if key in schema]:
            raise _wrong(f"{unknown[0]!r} is not known to this server")
        if "$ref" in schema:
            return self.value(self._named(str(schema["$ref"])), depth + 1)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._chosen(schema["enum"])
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self.value(schema[key][-1 if depth > _DEEPEST else 0], depth + 1)
        return self._typed(schema, depth)

    def _named(self, ref: str) -> Any:
        found: Any = self._root
        for part in ref.removeprefix("#").split("/")[1:]:
            found = found.get(part) if isinstance(found, Mapping) else None
        if found is None or not ref.startswith("#"):
            raise _wrong(f"{ref!r} does not stand in it")
        return found

    def _chosen(self, values: Sequence[Any]) -> Any:
        """The first value that the text names, or the first of all."""
        words = set(re.findall(r"\w+", self._text))
        return next((one for one in values if str(one) in words), values[0] if values else None)

    def _typed(self, schema: Mapping[str, Any], depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        match kind if isinstance(kind, str) else next(iter(kind), None):
            case "object":
                properties = schema.get("properties", {})
                names = schema.get("required", properties)
                return {name: self.value(properties.get(name, True), depth + 1) for name in names}
            case "array":
                count = min(max(schema.get("minItems", 0), int(depth <= _DEEPEST)), _MOST)
                return [self.value(schema.get("items", True), depth + 1) for _ in range(count)]
            case "string":
                return self._text.ljust(min(schema.get("minLength", 0), _MOST))[: schema.get("maxLength")]
            case "integer":
                return self._number(schema)
            case "number":
                return float(self._number(schema))
            case "boolean":
                return True
            case "null":
                return None
        raise _wrong(f"the type {kind!r} is not known")

    def _number(self, schema: Mapping[str, Any]) -> int:
        """The next whole number of the text, or its last one again, within the bounds."""
        self._last = found = next(self._numbers, self._last)
        found = max(found, schema.get("minimum", found), schema.get("exclusiveMinimum", found - 1) + 1)
        return int(min(found, schema.get("maximum", found), schema.get("exclusiveMaximum", found + 1) - 1))


def _wrong(words: str) -> Refused:
    return Refused(400, f"the schema: {words}", param="response_format")
