"""A world that answers at once, and the run of a file in it: `python -m tests.policy.echoing IN OUT`."""

import asyncio
import json
import resource
import sys
from collections.abc import Callable
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

from autotts.core.cost import Prices, Usage
from autotts.core.node import Node, root_node
from autotts.core.world import Binding, Meter, Reply
from autotts.errors import InputError
from autotts.policy.running import answer_file
from autotts.policy.schema import Policy


class Echo:
    """Answers a prompt with its words turned round; `before` is awaited first, with the prompt's number among asks."""

    def __init__(self, before: Callable[[int, str], Any] | None = None) -> None:
        self.bindings = {"S": Binding("echo", prices=Prices(generated=3))}
        self.asked = 0
        self.running = self.most = 0
        self.sessions: list[str] = []
        self._before = before

    def root(self, prompt: str) -> tuple[Node, Any]:
        if "unreadable" in prompt:
            raise InputError("cannot be read")
        return root_node(prompt, len(prompt.split())), prompt

    @asynccontextmanager
    async def session(self):
        self.sessions.append("entered")
        try:
            yield
        finally:
            self.sessions.append("left")

    async def answer(self, order: Any, states: tuple[Any, ...], meter: Meter) -> Reply:
        self.running += 1
        self.most = max(self.most, self.running)
        self.asked += 1
        try:
            await (asyncio.sleep(0) if self._before is None else self._before(self.asked, states[0]))
        finally:
            self.running -= 1
        words = states[0].split()
        meter.add(len(words))
        digest = blake2b(states[0].encode(), digest_size=16).digest()
        node = Node(order.key, 1, True, None if "mute" in words else words[-1], digest, len(words))
        return Reply(node, Usage(prompt=order.prefix, generated=len(words), calls=1), 0.0, states[0])


def echo_policy() -> Policy:
    """One arm, one draw."""
    expected = {"value": 0.5, "cost": 10.0}
    data = {
        "format": "autotts.policy/1",
        "task": {"name": "echo", "reader": "exact", "grader": "exact"},
        "models": {"S": {"binding": {"id": "echo"}}},
        "unit": "flops",
        "arms": {"cheap": {"arm": "one(model=S, temperature=0)", "expected": {"all": expected}}},
        "difficulty": {"kind": "none", "bins": ["all"]},
        "frontier": [{"budget": 10.0, "route": {"all": [["cheap", 1.0]]}, "expected": expected}],
    }
    return Policy.loads(json.dumps(data))


def peak() -> int:
    """The most memory that this process had so far, in kB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    peaks = []

    async def watch(number: int, prompt: str) -> None:
        if number == 10_000:
            peaks.append(peak())
        await asyncio.sleep(0)

    done = answer_file(echo_policy(), Echo(watch), Path(sys.argv[1]), Path(sys.argv[2]))
    print(json.dumps(done | {"peaks": [*peaks, peak()]}))
