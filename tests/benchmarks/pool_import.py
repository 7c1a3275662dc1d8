"""How fast logs become a pool: `python -m tests.benchmarks.pool_import [--lines N] [--gzip] [--load]`."""

from __future__ import annotations

import argparse
import gzip
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PROBLEMS = 1000
MODELS = {"small": 0.6, "medium": 4.0}


def samples(count: int) -> Iterator[str]:
    """Lines of the common layout: short outputs, as many of each model."""
    rng = random.Random(0)
    draws = -(-count // (PROBLEMS * len(MODELS)))
    for number in range(count):
        problem, draw = number // len(MODELS) % PROBLEMS, number // (PROBLEMS * len(MODELS))
        model = list(MODELS)[number % len(MODELS)]
        answer = problem * 7 % 1000
        right = rng.random() < 0.5
        row = {
            "dataset": "sums",
            "prompt_id": f"sums/{problem}",
            "prompt": f"What is {problem} times 7, modulo 1000?",
            "answer": str(answer),
            "model": model,
            "params_b": MODELS[model],
            "strategy": "sample",
            "temperature": 0.7,
            "sample_index": min(draw, draws),
            "output": f"It is {problem} * 7 = {problem * 7}, so the answer is {answer}.",
            "extracted": str(answer if right else rng.randrange(1000)),
            "correct": right,
            "score": None,
            "prompt_tokens": 14,
            "completion_tokens": rng.randrange(20, 400),
        }
        yield json.dumps(row) + "\n"


def measured(what: str, lines: int, program: str, *argv: str) -> None:
    """Print what a child process took: seconds, lines a second, processor time, and its largest resident memory."""
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program, *argv], check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"{what} {seconds:6.1f} s {lines / seconds:10,.0f} lines/s "
        f"({used:.1f} s of processor time, {after.ru_maxrss / 1024:,.0f} MB at most)"
    )


IMPORT = "import sys; from autotts.cli import run_cli; raise SystemExit(run_cli(['pool', 'import', *sys.argv[1:]]))"
LOAD = "import sys; from autotts.pools.load import load; load(sys.argv[1:])"


def main() -> None:
    """Make a log, import it in a process of its own, and load the pool in another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--gzip", action="store_true", help="read and write compressed files")
    parser.add_argument("--load", action="store_true", help="load the pool afterwards as well")
    given = parser.parse_args()
    ending = ".jsonl.gz" if given.gzip else ".jsonl"
    with tempfile.TemporaryDirectory() as folder:
        log, pool = Path(folder) / f"log{ending}", Path(folder) / f"pool{ending}"
        with gzip.open(log, "wt", 6) if given.gzip else log.open("w") as file:
            file.writelines(samples(given.lines))
        print(f"{given.lines:,} lines, {log.stat().st_size / 1e6:,.0f} MB")
        measured("import", given.lines, IMPORT, str(log), "--output", str(pool))
        if given.load:
            measured("load  ", given.lines, LOAD, str(pool))


if __name__ == "__main__":
    main()
