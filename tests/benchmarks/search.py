"""How many tokens a search needs: `python -m tests.benchmarks.search fill FOLDER`, then `... run FOLDER`.

`fill` draws once what any search of the embedded models on the task `math` could ask for, on search prompts and on
held-out ones. `run` plays studies on these draws (nothing is drawn any more) and prints how many newly generated
tokens each method needed until the allocations that it would make reach 95 % of the final hypervolume on the held-out
prompts: that of a search that knows every arm of the space on all of its prompts. Each seed has its own prompts, in
its own order, and the same prompts for all methods. `figure` draws the anytime curves.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any

from autotts.tasks import find
from autotts.worlds.tiny import open_tiny
from tests.benchmarks.curves import Curve, figure, rows, table
from tests.benchmarks.filled import fill, load
from tests.benchmarks.methods import METHODS, OURS, play
from tests.benchmarks.searching import TOKENS, Draw, Ground


@cache
def ground(folder: Path) -> Ground:
    return Ground(load(folder))


def seed_of(folder: Path, most: int, methods: Sequence[str], seed: int) -> list[Curve]:
    """All methods on the prompts of one seed."""
    draw = Draw(ground(folder), seed)
    return [play(draw, name, most=most) for name in methods]


def run(folder: Path, seeds: int, methods: Sequence[str], most: int, out: Path | None, processes: int) -> None:
    """Play, print the table, and keep the curves; curves of the file that are not played again stay."""
    began = time.monotonic()
    found: list[Curve] = []
    if out is not None and out.exists():
        found = [c for c in read(out) if c.method not in methods]
    work = partial(seed_of, folder, most, tuple(methods))
    ground(folder)  # once, for all processes
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        for curves in pool.imap_unordered(work, range(seeds)):
            found += curves
            line = ", ".join(f"{c.method} {c.reached(0.95)[0] / 1000:.0f} k ({c.seconds:.0f} s)" for c in curves)
            print(f"seed {curves[0].seed}: {line}", flush=True)
            if out is not None:
                out.write_text(json.dumps([asdict(c) for c in found]))
    print(f"\n{seeds} seeds, {time.monotonic() - began:.0f} s\n\n{table(rows(found, OURS), OURS)}")


def read(path: Path) -> list[Curve]:
    """Curves that a run has kept."""
    listed: list[dict[str, Any]] = json.loads(path.read_text())
    series = ("tokens", "gain", "plain")
    return [Curve(**curve | {key: tuple(curve[key]) for key in series}) for curve in listed]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = parser.add_subparsers(dest="command", required=True)
    filling = sub.add_parser("fill")
    filling.add_argument("folder", type=Path)
    filling.add_argument("--prompts", type=int, default=64, help="a level and split")
    playing = sub.add_parser("run")
    playing.add_argument("folder", type=Path)
    playing.add_argument("--seeds", type=int, default=20)
    playing.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS, metavar="METHOD")
    playing.add_argument("--tokens", type=int, default=TOKENS, help="at which a study is ended")
    playing.add_argument("--processes", type=int, default=2)
    playing.add_argument("--out", type=Path, help="where to keep the curves (JSON)")
    drawing = sub.add_parser("figure")
    drawing.add_argument("file", type=Path)
    drawing.add_argument("out", type=Path, help="an .html file")
    drawing.add_argument("--methods", nargs="+", help="those to draw")
    asked = parser.parse_args()
    if asked.command == "fill":
        task = find("math")
        opened = partial(open_tiny, ("S", "M", "L"), ("prm",), read=task.read)
        fill(asked.folder, task, asked.prompts, opened, say=partial(print, flush=True))
    elif asked.command == "run":
        run(asked.folder, asked.seeds, asked.methods, asked.tokens, asked.out, asked.processes)
    else:
        curves = [c for c in read(asked.file) if asked.methods is None or c.method in asked.methods]
        figure(curves).write_html(asked.out, include_plotlyjs=True)


if __name__ == "__main__":
    main()
