"""A fake server of a fixed pace in a process of its own, and `autotts serve` before it, for benchmarks of serving.

`python -m tests.benchmarks.backend PORT FIRST RATE CHUNK RUNNING FIXED` serves the models of `tests.serve.served` until
it is ended. FIXED is the number of words that the drawing models always say; 0 lets them solve sums, as they do.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from autotts.worlds.fake_server import FakeModel, FakeServer, Pace, echo
from autotts.worlds.fake_server.ready import ready
from tests.benchmarks.loading import Load, finely, request
from tests.serve.served import ARMS, NAMES, policy_data

_FIGURE: Final = re.compile(rb"^([a-z_:]+)(?:\{([^}]*)\})? ([0-9.eE+-]+)$", re.M)
_TICKS: Final = os.sysconf("SC_CLK_TCK")
ROOT: Final = Path(__file__).parents[2]
QUIET: Final = {"NO_PROXY": "*", "no_proxy": "*"}


@dataclass(frozen=True, slots=True)
class Paced:
    """The pace of a backend: seconds to the first token, tokens a second, tokens of a chunk, requests at once."""

    first: float = 0.02
    rate: float = 400.0
    chunk: int = 8
    running: int = 100_000
    fixed: int = 0

    @property
    def seconds(self) -> float:
        """How long a fixed answer takes."""
        return self.first + self.fixed / self.rate

    @property
    def capacity(self) -> float:
        """Fixed answers a second."""
        return self.running / self.seconds


# ------------------------------------------------------------------ processes


@dataclass
class Part:
    """One process of a benchmark, and what it used."""

    name: str
    pid: int
    url: str = ""
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    def cpu(self) -> float:
        """Seconds of a core that it used so far, its children's included."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / _TICKS

    def memory(self) -> int:
        """Bytes that it holds in memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024


@dataclass(frozen=True, slots=True)
class Stack:
    """A backend and our server before it; the addresses of both go up to the version."""

    backend: Part
    ours: Part


def oneself() -> Part:
    """This process."""
    return Part("load", os.getpid())


@contextmanager
def started(
    name: str, argv: Sequence[str], url: str, log: Path | None = None, environ: Mapping[str, str] | None = None
) -> Iterator[Part]:
    """A process of this interpreter that answers at `url` (a GET of it gives any status), ended with the scope."""
    out = subprocess.DEVNULL if log is None else log.open("w")
    process = subprocess.Popen([sys.executable, *argv], cwd=ROOT, stdout=out, stderr=out, text=True, env=environ)
    try:
        answering(url, process, log)
        yield Part(name, process.pid, url, process)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        if process.poll() is None:
            process.kill()
            process.wait()
        if not isinstance(out, int):
            out.close()


def answering(url: str, process: subprocess.Popen[str], log: Path | None = None, within: float = 60.0) -> None:
    """Wait until a server answers; an error where its process ends before."""
    parts, until = urlsplit(url), time.monotonic() + within
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"it ended with {process.returncode} before it answered at {url}{_said(log)}")
        asking = HTTPConnection(parts.hostname or "", parts.port, timeout=5)
        try:
            asking.request("GET", parts.path)
            asking.getresponse()
            return
        except (OSError, HTTPException):
            time.sleep(0.02)
        finally:
            asking.close()
    raise RuntimeError(f"nobody answers at {url}{_said(log)}")


def _said(log: Path | None) -> str:
    return "" if log is None else f": {log.read_text()[-500:]}"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def backend(pace: Paced, port: int) -> Iterator[Part]:
    """A backend that answers as long as the scope is open."""
    argv = [str(n) for n in (port, pace.first, pace.rate, pace.chunk, pace.running, pace.fixed)]
    health = f"http://127.0.0.1:{port}/health"
    with started("backend", ["-m", "tests.benchmarks.backend", *argv], health) as part:
        part.url = f"http://127.0.0.1:{port}/v1"
        yield part


@contextmanager
def ours(folder: Path, upstream: str, *options: str, arms: Mapping[str, str] = ARMS) -> Iterator[Part]:
    """`autotts serve` of a policy with these arms, before a backend."""
    policy, port = folder / "policy.json", free_port()
    policy.write_text(json.dumps(policy_data(folder, arms)))
    argv = ["-m", "autotts", "serve", str(policy), "--upstream", upstream, "--port", str(port), *options]
    health = f"http://127.0.0.1:{port}/health"
    with started("ours", argv, health, folder / "serve.log", {**os.environ, **QUIET}) as part:
        part.url = f"http://127.0.0.1:{port}/v1"
        yield part


@contextmanager
def stack(folder: Path, pace: Paced, *options: str, arms: Mapping[str, str] = ARMS) -> Iterator[Stack]:
    """Both."""
    with backend(pace, free_port()) as behind, ours(folder, behind.url, *options, arms=arms) as part:
        yield Stack(behind, part)


async def figures(part: Part) -> dict[str, float]:
    """What /metrics says: the sums of each figure over its labels, and of tokens by their kind."""
    async with Load(part.url) as load:
        seen = await load.ask(request(f"{part.url.removesuffix('/v1')}/metrics", None))
    found: dict[str, float] = {}
    for name, labels, value in _FIGURE.findall(seen.body):
        kind = re.search(rb'kind="(\w+)"', labels)
        for key in {name.decode(), name.decode() + (f" {kind[1].decode()}" if kind else "")}:
            found[key] = found.get(key, 0.0) + float(value)
    return found


async def working(part: Part) -> int:
    """Requests that a backend works on or keeps waiting, by its own count."""
    found = await figures(part)
    return int(found["vllm:num_requests_running"] + found["vllm:num_requests_waiting"])


async def _serve(port: int, pace: Paced) -> None:
    models = [FakeModel("embedder", embeds=16), *ready((*NAMES, "thinker"))]
    if pace.fixed:
        drawing = ("small", "large", "thinker")
        script = echo(" ".join(["word"] * pace.fixed))
        models = [FakeModel(one.name, script) if one.name in drawing else one for one in models]
    served = Pace(rate=pace.rate, first=pace.first, chunk=pace.chunk, running=pace.running)
    async with FakeServer(models, pace=served, port=port, cache_block=16, keep=1000):
        await asyncio.Event().wait()


def main() -> None:
    port, first, rate, chunk, running, fixed = sys.argv[1:]
    pace = Paced(float(first), float(rate), int(chunk), int(running), int(fixed))
    finely(_serve(int(port), pace)) if pace.running <= 512 else asyncio.run(_serve(int(port), pace))


if __name__ == "__main__":
    main()
