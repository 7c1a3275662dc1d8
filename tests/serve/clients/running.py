"""Runs the checks of one client's script, and tells as JSON which failed and which tokens the client was told of."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

URL = os.environ["CLIENT_URL"]  # up to the version
KEY = os.environ["CLIENT_KEY"]
SUM = "What is 12 + 30 * 2?"
ASKED = [{"role": "user", "content": SUM}]
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}
CALLING = [{"role": "user", "content": "Use the tool add: what is 12 + 30?"}]


@dataclass
class Seen:
    """The tokens that a client was told of."""

    prompt: int = 0
    completion: int = 0
    requests: int = 0

    def take(self, usage: Any) -> None:
        """Add a `usage`: an object or a mapping."""
        told = usage if isinstance(usage, dict) else usage.model_dump()
        self.prompt += told["prompt_tokens"]
        self.completion += told.get("completion_tokens") or 0
        self.requests += 1
        assert told["total_tokens"] == told["prompt_tokens"] + (told.get("completion_tokens") or 0), told


Check = Callable[[Seen], None]


def run(checks: Sequence[Check]) -> None:
    """Run each check; those that the command line names, if it names any."""
    seen, failed = Seen(), {}
    named = sys.argv[1:]
    for check in checks:
        if named and check.__name__ not in named:
            continue
        try:
            check(seen)
        except Exception:
            failed[check.__name__] = traceback.format_exc(limit=-4)
    print("\n" + json.dumps({"failed": failed, **asdict(seen)}))


def refused(kind: type[Exception], work: Callable[[], Any]) -> Any:
    """The error that a call must end with."""
    try:
        found = work()
    except kind as error:
        return error
    raise AssertionError(f"expected {kind.__name__}, got {found!r}")
