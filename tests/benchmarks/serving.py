"""Tokens a second that arrive through our client, beside those that vLLM's own benchmark tool gets.

`python -m tests.benchmarks.serving fake` asks the fake server at fixed rates, so that the most there is to get is
known; `python -m tests.benchmarks.serving vllm` asks vLLM on this machine's CPU with a tiny model. 64 requests run at
once, each of 64 tokens. Ours are whole plans of one draw, served as a policy serves them; its CPU time is that of this
process, in which nothing else runs. Servers and tool have processes of their own; ours and the tool take turns, and
medians count. Each command writes its part of `serving.md`. vLLM and its tool are those of the interpreter that
`AUTOTTS_VLLM_PYTHON` names, as in the tests; `fake` goes without them.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any, Final

from autotts.core.cost import ModelCard
from autotts.core.world import Binding, Meter, Reply, Request
from autotts.engine.live import serve
from autotts.strategies.one import One
from autotts.worlds.fake_server import FakeModel, FakeServer, Pace, echo
from autotts.worlds.models.entry import Entry, Server, Template
from autotts.worlds.openai import OpenAI, open_openai
from tests.worlds.tiny_llama import CHARACTERS
from tests.worlds.vllm_process import OPTIONS, QUIET

CONCURRENT: Final = 64
TOKENS: Final = 64  # of a prompt, and of an answer
TURNS: Final = 3
TEMPERATURE: Final = 0.8
PACES: Final = (Pace(rate=50, chunk=1), Pace(rate=50, chunk=8), Pace(rate=200, chunk=8))
COLUMNS: Final = " first token, ms: median | 99 % | our CPU, ms a request |"
ALIGNED: Final = "---:|---:|---:|"
HERE: Final = Path(__file__).with_suffix(".md")
TOOL: Final = (  # what `vllm bench serve` does; the command itself wants a distribution of the name vllm
    "from vllm.benchmarks.serve import FlexibleArgumentParser, add_cli_args, main\n"
    "parser = FlexibleArgumentParser()\nadd_cli_args(parser)\nmain(parser.parse_args())"
)


@dataclass(frozen=True)
class Rate:
    """What one turn came to: tokens a second, milliseconds to the first token (median, 99 %), our own per request."""

    tokens: float
    first: float
    slow: float
    cpu: float = 0.0


def median(rates: list[Rate]) -> Rate:
    """Of each figure."""
    return Rate(*(statistics.median(getattr(rate, name) for rate in rates) for name in Rate.__dataclass_fields__))


class Watched:
    """A world, and when the first tokens of its draws came."""

    def __init__(self, world: OpenAI) -> None:
        self.firsts: list[float] = []
        self._world = world

    @property
    def bindings(self) -> Mapping[str, Binding]:
        return self._world.bindings

    async def answer(self, order: Request, states: tuple[Any, ...], meter: Meter) -> Reply:
        begun, moved = time.perf_counter(), meter.moved
        assert moved is not None

        def first(count: int) -> bool:
            self.firsts.append(time.perf_counter() - begun)
            meter.moved = moved
            return moved(count)

        meter.moved = first
        return await self._world.answer(order, states, meter)


def ours(url: str, requests: int) -> Rate:
    """One turn of our client, in a session of its own."""
    entry = Entry(
        "T",
        "openai",
        "tiny",
        ModelCard("T", "1"),
        (Server(url, most=CONCURRENT),),
        template=Template(form="text", user="{prompt}"),
        max_tokens=TOKENS,
        extra={"ignore_eos": True},
    )
    rng = Random(requests)
    prompts = iter(["".join(rng.choices(CHARACTERS.strip(), k=TOKENS)) for _ in range(requests)])
    policy = One(model="T", temperature=TEMPERATURE)
    with open_openai({"T": entry}, read=str, unit="tokens") as world:
        watched = Watched(world)

        async def work() -> int:
            made = 0
            for prompt in prompts:
                root, state = world.root(prompt)
                outcome = await serve(policy.plan(root, rng), root, state, watched)
                made += sum(usage.generated for usage in outcome.usage.values())
            return made

        async def all_work() -> tuple[int, float, float]:
            async with world.session():
                begun, cpu = time.perf_counter(), time.process_time()
                made = sum(await asyncio.gather(*(work() for _ in range(CONCURRENT))))
                return made, time.perf_counter() - begun, time.process_time() - cpu

        made, seconds, cpu = asyncio.run(all_work())
    if made != requests * TOKENS:
        raise SystemExit(f"expected {requests * TOKENS} tokens, found {made}")
    cuts = statistics.quantiles(watched.firsts, n=100)
    return Rate(made / seconds, 1e3 * cuts[49], 1e3 * cuts[98], 1e3 * cpu / requests)


def tool(python: str, model: Path, url: str, requests: int, sampling: Mapping[str, Any]) -> Rate:
    """One turn of `vllm bench serve`; `sampling` are further fields of its requests."""
    with tempfile.TemporaryDirectory() as home:
        argv = [python, "-c", TOOL, "--backend", "vllm", "--base-url", url.removesuffix("/v1")]
        argv += ["--model", str(model), "--served-model-name", "tiny", "--max-concurrency", str(CONCURRENT)]
        argv += ["--num-prompts", str(requests), "--dataset-name", "random"]
        argv += ["--random-input-len", str(TOKENS), "--random-output-len", str(TOKENS)]
        argv += ["--ignore-eos", "--disable-tqdm", "--save-result", "--result-dir", home, "--result-filename", "found"]
        if sampling:
            argv += ["--extra-body", json.dumps(sampling)]
        done = subprocess.run(argv, env={**os.environ, **QUIET}, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"vllm bench serve: {done.stderr[-2000:]}")
        found = json.loads((Path(home) / "found").read_text())
    if found["completed"] != requests or found["total_output_tokens"] != requests * TOKENS:
        raise SystemExit(
            f"vllm bench serve: expected {requests} requests of {TOKENS} tokens, found {found['completed']}"
        )
    return Rate(found["output_throughput"], found["median_ttft_ms"], found["p99_ttft_ms"])


# ---------------------------------------------------------------------- servers


def _live(end: Connection, pace: Pace) -> None:
    """Let a fake server answer until the other end of a pipe says so."""

    async def live() -> None:
        async with FakeServer([FakeModel("tiny", echo("word" + " word" * (TOKENS - 1)))], pace=pace) as server:
            end.send(server.url)
            await asyncio.to_thread(end.recv)

    asyncio.run(live())


@contextmanager
def fake(pace: Pace) -> Iterator[str]:
    """A fake server in a process of its own: its address."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_live, args=(there, pace), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        here.send("end")
        process.join()


@contextmanager
def vllm(python: str, model: Path) -> Iterator[str]:
    """A server of vLLM: its address."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    argv = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), *OPTIONS.split()]
    argv += ["--host", "127.0.0.1", "--port", str(port)]
    log = model.parent / "log"
    with log.open("wb") as out:
        server = subprocess.Popen(argv, env={**os.environ, **QUIET}, stdout=out, stderr=out)
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                if server.poll() is not None:
                    raise SystemExit(f"vLLM did not start: {log.read_text()[-2000:]}") from None
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(60)


@contextmanager
def tiny(python: str) -> Iterator[Path]:
    """The folder of a tiny model, made by the interpreter that has vLLM, and with it torch."""
    with tempfile.TemporaryDirectory() as home:
        make = "import sys, pathlib, tests.worlds.tiny_llama as tiny; tiny.make_llama(pathlib.Path(sys.argv[1]))"
        subprocess.run([python, "-c", make, f"{home}/m"], check=True, capture_output=True)
        yield Path(home) / "m"


# ---------------------------------------------------------------------- the tables


def against_fake(python: str | None, requests: int) -> list[str]:
    """The table of the fake server."""
    lines = [
        "| tokens/s of a request, in chunks of | client | tokens/s | of the ideal |" + COLUMNS,
        "|---|---|---:|---:|" + ALIGNED,
    ]
    with tiny(python) if python else nullcontext() as model:
        for pace in PACES:
            took: dict[str, list[Rate]] = {}
            with fake(pace) as url:
                ours(url, CONCURRENT)
                for _ in range(TURNS):
                    took.setdefault("ours", []).append(ours(url, requests))
                    if python and model:
                        took.setdefault("vllm bench serve", []).append(tool(python, model, url, requests, {}))
            assert pace.rate is not None
            name = f"{pace.rate:g}, {pace.chunk}"
            lines += [row(name, who, rates, pace.rate * CONCURRENT) for who, rates in took.items()]
    return lines


def against_vllm(python: str, requests: int) -> list[str]:
    """The table of vLLM; the tool is asked to sample as our draws do, and as it does by itself."""
    took: dict[str, list[Rate]] = {}
    alike = {"temperature": TEMPERATURE, "top_p": 1.0, "seed": 1}
    with tiny(python) as model, vllm(python, model) as url:
        ours(url, CONCURRENT)
        for _ in range(TURNS):
            took.setdefault("ours", []).append(ours(url, requests))
            took.setdefault("vllm bench serve, with a seed", []).append(tool(python, model, url, requests, alike))
            took.setdefault("vllm bench serve", []).append(tool(python, model, url, requests, {}))
    goal = median(took["vllm bench serve, with a seed"]).tokens
    lines = ["| server | client | tokens/s | of the tool's with a seed |" + COLUMNS, "|---|---|---:|---:|" + ALIGNED]
    return lines + [row("vLLM, two cores", who, rates, goal) for who, rates in took.items()]


def row(server: str, client: str, rates: list[Rate], whole: float) -> str:
    """The medians of some turns, and their range of tokens a second."""
    mid, lowest, highest = median(rates), min(rate.tokens for rate in rates), max(rate.tokens for rate in rates)
    cpu = f"{mid.cpu:.2f}" if mid.cpu else ""
    tokens = f"{mid.tokens:,.0f} ({lowest:,.0f} to {highest:,.0f}) | {mid.tokens / whole:.3f}"
    return f"| {server} | {client} | {tokens} | {mid.first:.0f} | {mid.slow:.0f} | {cpu} |"


def put(which: str, lines: list[str]) -> None:
    """Write a table into its place in the notes."""
    text = HERE.read_text()
    before, begin, rest = text.partition(f"<!-- {which} -->\n")
    _, end, after = rest.partition("<!-- end -->\n")
    if not (begin and end):
        raise SystemExit(f"{HERE}: expected a place between <!-- {which} --> and <!-- end -->")
    HERE.write_text(before + begin + "\n".join(lines) + "\n" + end + after)


def main() -> None:
    which = sys.argv[1] if len(sys.argv) > 1 else ""
    requests = int(sys.argv[2]) if len(sys.argv) > 2 else 512
    python, load = os.environ.get("AUTOTTS_VLLM_PYTHON"), os.getloadavg()[0]
    if which == "fake":
        lines = against_fake(python, requests)
    elif which == "vllm" and python:
        lines = against_vllm(python, requests)
    else:
        raise SystemExit("expected `fake` or, with AUTOTTS_VLLM_PYTHON set, `vllm`; then how many requests a turn has")
    said = f"{requests} requests a turn, {TURNS} turns of each, {date.today()}; load before {load:.1f}, after"
    put(which, [*lines, "", f"{said} {os.getloadavg()[0]:.1f}."])
    print("\n".join(lines))


if __name__ == "__main__":
    main()
