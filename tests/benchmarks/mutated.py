"""Hostile requests and hostile policy files by the thousand: `python -m tests.benchmarks.mutated [--requests N] ...`.

Requests of clients, broken at random, are sent to a server in this process that has a fake backend; policy files,
broken at random, are loaded and obeyed. Counts by status are printed, and each fault with the numbers by which the one
file or request can be made again. Any 5xx, hang, exception or lost place is a fault, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.policy.mutating import mutants, outcome
from tests.serve.firing import counted, target, volley


def requests(seed: int, count: int) -> int:
    """Send the requests; how many were faults."""
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, target(Path(folder)) as server:
        outcomes = asyncio.run(volley(server, seed, count))
    taken = time.perf_counter() - begun
    told = ", ".join(f"{number} of {status or 'hung up'}" for status, number in sorted(counted(outcomes).items()))
    slowest = max(one.seconds for one in outcomes)
    print(f"{count} requests in {taken:.0f} s: {told}; the slowest took {1e3 * slowest:.0f} ms")
    faulty = [one for one in outcomes if one.faults]
    for one in faulty[:20]:
        print(f"  seed {seed}, {one.shot.name}: {'; '.join(one.faults)}")
    return len(faulty)


def policies(seed: int, count: int) -> int:
    """Load the policy files and obey them; how many were faults."""
    begun, ends, faults, slowest = time.perf_counter(), Counter[str](), 0, 0.0
    for mutant in mutants(seed, count):
        at = time.perf_counter()
        try:
            ends[outcome(mutant)] += 1
        except Exception as error:  # told; a server would have met it
            faults += 1
            if faults <= 20:
                print(f"  seed {seed}, {mutant.name}: {type(error).__name__}: {str(error)[:200]}")
        slowest = max(slowest, time.perf_counter() - at)
    told = ", ".join(f"{number} {end}" for end, number in sorted(ends.items()))
    taken = time.perf_counter() - begun
    print(f"{count} policy files in {taken:.0f} s: {told}, {faults} faults; the slowest took {1e3 * slowest:.0f} ms")
    return faults


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--policies", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    faults = (requests(given.seed, given.requests) if given.requests else 0) + policies(given.seed, given.policies)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
