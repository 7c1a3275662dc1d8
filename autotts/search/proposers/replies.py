"""What the agent is asked to answer, and what is read of its replies: texts of arms, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from autotts.strategies.arms import LONGEST

SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "proposals": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"arm": {"type": "string"}, "why": {"type": "string"}},
                "required": ["arm", "why"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["proposals"],
    "additionalProperties": False,
}

ASK: Final = """\
Propose {k} new arms, the best first. Answer with JSON only, of this shape:
{{"proposals": [{{"arm": "vote(n=8, model=NAME, temperature=0.6)", "why": "one short reason"}}]}}"""
REPAIR: Final = "That could not be read: {why}. Answer again, with nothing but the JSON that was asked for."

_OPENING = re.compile(r"[{\[]")
_READ: Final = 100_000  # characters of a reply that are looked at
_STARTS: Final = 200  # places in a reply where JSON may begin


class Unreadable(Exception):
    """A reply that holds no proposals; the message says why."""


def proposals(reply: str) -> tuple[list[str], int]:
    """The texts of arms in a reply, and how many proposals could not be read.

    The JSON may stand in prose, after thoughts or between fences; the first that has the asked shape counts.
    """
    why = "it holds no JSON"
    for found in _objects(plain(reply)):
        listed = found.get("proposals") if isinstance(found, dict) else None
        if not isinstance(listed, list):
            why = 'it holds no object with the list "proposals"'
            continue
        texts = [_arm(item) for item in listed]
        arms = [text for text in texts if text]
        if arms or not listed:
            return arms, len(texts) - len(arms)
        why = 'none of its proposals is an object with the text "arm"'
    raise Unreadable(why)


def _objects(text: str) -> Iterator[Any]:
    """What can be read as JSON in a text, in order; what stands inside of it is not read again."""
    decoder, at = json.JSONDecoder(), 0
    for _ in range(_STARTS):
        start = _OPENING.search(text, at)
        if start is None:
            return
        try:
            found, at = decoder.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            at = start.end()
        else:
            yield found


def _arm(item: Any) -> str:
    """The arm of one proposal on one line; empty where there is none."""
    arm = item.get("arm") if isinstance(item, dict) else None
    if not isinstance(arm, str) or len(arm) > LONGEST:
        return ""
    return " ".join(arm.encode("utf-8", "replace").decode().split())


def plain(text: str) -> str:
    """A reply without the thoughts before it, and not as long as one likes."""
    return text.rpartition("</think>")[2].partition("<think>")[0].strip()[:_READ]
