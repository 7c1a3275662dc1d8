"""A fake backend, a policy over its models, and `autotts serve` before it, for tests that speak to it over HTTP."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autotts.core.cost import Usage
from autotts.tasks import READERS
from autotts.worlds.catalogue import Asking, catalogue
from autotts.worlds.fake_server import FakeModel, FakeServer, serving
from autotts.worlds.fake_server.ready import models_toml, ready

NAMES = ("small", "large", "prm")
ARMS = {
    "plain": "one(model=small, temperature=0.7)",
    "vote": "vote(n=4, model=small, temperature=0.8)",
    "best": "best_of_n(n=4, by=prm, model=large, temperature=0.8)",
}


@dataclass(frozen=True)
class Served:
    """A server that answers: its address up to the version, and the backend that it asks."""

    url: str
    backend: FakeServer
    process: subprocess.Popen[bytes]


def backend(**options: Any) -> FakeServer:
    """A fake server with the models of `policy_data`, one that thinks and one that makes vectors."""
    return FakeServer([*ready((*NAMES, "thinker")), FakeModel("embedder", embeds=16)], **options)


def policy_data(folder: Path, arms: Mapping[str, str] = ARMS, unit: str = "flops", card: str = "") -> dict[str, Any]:
    """A policy over the fake server's models, as `policy_over` makes it.

    `card` are lines for the table of each model: by what a unit other than FLOPs and tokens is counted.
    """
    text = models_toml(NAMES, "http://127.0.0.1:9/v1", None).replace("\nparameters", f"\n{card}\nparameters")
    return policy_over(folder, text, arms, unit=unit, models=("large", "small"), scorers=("prm",))


def policy_over(
    folder: Path,
    toml: str,
    arms: Mapping[str, str],
    *,
    unit: str,
    models: Sequence[str],
    scorers: Sequence[str] = (),
    reader: str = "math",
) -> dict[str, Any]:
    """A policy by hand, as the plain data of its file: a bin, and an arm for each setting, the cheapest first.

    So `auto-fast` is the first arm, `auto` the second, `auto-best` the last.

    Parameters
    ----------
    toml
        Text of a `models.toml` that declares the models and scorers. Costs are those of the last model.
    """
    file = folder / "models.toml"
    file.write_text(toml)
    shelf = catalogue([str(file)], {})[0]
    with shelf.opened(tuple(models), tuple(scorers), Asking(READERS[reader], unit=unit)) as world:
        bound = {
            name: {"binding": shelf.described(name) | {"id": b.id}, "card": asdict(shelf.entries[name].card)}
            for name, b in world.bindings.items()
        }
        one = world.bindings[models[-1]].prices.of_prompt(40, 40) * 3.0
    costs = {name: one * 8.0**i for i, name in enumerate(arms)}
    expected = {name: {"value": 0.5 + 0.1 * i, "cost": costs[name]} for i, name in enumerate(arms)}
    return {
        "format": "autotts.policy/1",
        "requires": [],
        "task": {"name": "math", "reader": reader, "grader": reader, "prompts": "b2:00ff"},
        "models": {name: bound[name] for name in models},
        "scorers": {name: bound[name] for name in scorers},
        "unit": unit,
        "arms": {name: {"arm": arm, "expected": {"all": expected[name]}} for name, arm in arms.items()},
        "difficulty": {"kind": "none", "features": [], "model": None, "bins": ["all"]},
        "frontier": [
            {"budget": costs[name], "route": {"all": [[name, 1.0]]}, "expected": expected[name]} for name in arms
        ],
        "default": min(1, len(arms) - 1),
        "cap": None,
        "evidence": {},
        "made": {"version": "0.1.0", "date": "2026-01-01T00:00:00Z", "seed": 0, "command": "by hand"},
    }


@contextmanager
def served(folder: Path, *options: str, before: FakeServer | None = None) -> Iterator[Served]:
    """`autotts serve` on a policy, with a fake backend behind it, both ended with the scope.

    Parameters
    ----------
    options
        Of the command, besides the policy, the upstream and the port.
    before
        The backend; by default `backend()`.
    """
    file = folder / "policy.json"
    file.write_text(json.dumps(policy_data(folder)))
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    with serving(before or backend(cache_block=16)) as upstream, (folder / "log").open("wb") as log:
        argv = [sys.executable, "-m", "autotts", "serve", str(file), "--upstream", upstream.url, "--port", str(port)]
        process = subprocess.Popen([*argv, *options], stdout=log, stderr=log, env={**os.environ, "NO_PROXY": "*"})
        try:
            _wait(port, process, folder / "log")
            yield Served(f"http://127.0.0.1:{port}/v1", upstream, process)
        finally:
            process.terminate()
            process.wait(20)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once the port is listened on; how long a process takes to start is no matter of these tests."""
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.01)
    raise RuntimeError(f"autotts serve does not listen: {log.read_text()[-2000:]}")


def tokens(server: FakeServer) -> Usage:
    """What a backend has counted."""
    counts = server.counts
    return Usage(prompt=counts.prompt, generated=counts.generated)
