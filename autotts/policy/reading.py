"""What keeps a file from being read as a policy: another format, something that this version must know and does not,
too much of anything, or a value of another form; each told with its place in the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from pydantic import ValidationError

from autotts.policy import limits
from autotts.policy.perprompt import REQUIRES
from autotts.policy.words import WIDEST, clipped, short

VERSION: Final = 1
FORMAT: Final = f"autotts.policy/{VERSION}"
KNOWN: Final = frozenset({REQUIRES})  # entries of `requires` that this version obeys
UPGRADE: Final = "upgrade with pip install --upgrade autotts-optimizer"
TOLD: Final = 3  # faults of form that one message tells

_FORMAT: Final = re.compile(r"autotts\.policy/([0-9]{1,9})")


def refusals(data: Any) -> Iterator[str]:
    """Why plain data is not looked at any further: it is no policy, needs a newer version, or is too large."""
    if not isinstance(data, dict):
        yield f"expected a policy (a JSON object), found {type(data).__name__}"
        return
    found = data.get("format")
    version = _FORMAT.fullmatch(found) if isinstance(found, str) else None
    if version is None:
        yield f"format: expected {FORMAT!r}, found {short(found)}; is this a policy file?"
        return
    if int(version.group(1)) > VERSION:
        yield (
            f"format: this policy was written by a newer autotts ({found}; this one reads up to {FORMAT}): {UPGRADE}"
        )
        return
    if int(version.group(1)) < VERSION:
        yield f"format: expected {FORMAT!r}, found {found!r}"
        return
    requires = data.get("requires", [])
    unknown = [e for e in requires if not isinstance(e, str) or e not in KNOWN] if isinstance(requires, list) else []
    for entry in unknown[:TOLD]:
        yield (f"requires: this policy needs {short(entry)}, which this version of autotts does not know: {UPGRADE}")
    yield from limits.problems(data)


def misfits(error: ValidationError) -> list[str]:
    """What pydantic found, each as a place in the file and words: `frontier[2].budget: ...`."""
    found = []
    for item in error.errors(include_url=False, include_context=False):
        place = "".join(f"[{x}]" if isinstance(x, int) else f".{x}" for x in item["loc"]).removeprefix(".")
        shown = repr(item.get("input"))
        told = "" if len(shown) > WIDEST else f", found {shown}"
        words = "expected it, found nothing" if item["type"] == "missing" else f"{item['msg']}{told}"
        found.append(clipped(f"{place or 'policy'}: {words}"))
    return found


def explained(error: ValidationError) -> str:
    """The first few misfits as one message."""
    found = misfits(error)
    more = len(found) - TOLD
    return "; ".join(found[:TOLD]) + (f"; and {more} more" if more > 0 else "")
