"""What recorded pools say, measured again: `python -m tests.benchmarks.pools FOLDER [--only rows,speed,...]`.

FOLDER holds pools in the common layout (qwen3_aime24, routellm_gsm8k, ...; .jsonl.gz); files that are absent are
skipped, and none of them is part of this project. Parts: rows, speed, routing, gains, known, budget.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from autotts.pools.load import load
from autotts.pools.recorded import Recorded
from autotts.search.crossfit import curve, folds, together
from autotts.search.evaluate_pool import Asked, evaluate_arms
from autotts.search.gauge import Gauge, finest
from autotts.search.grid import replayable
from autotts.search.measuring import board_of
from autotts.search.pool_recipe import PoolRecipe
from autotts.search.pool_result import assemble, policy_of
from autotts.search.pooled import PoolStudy
from autotts.search.streams import evaluate_policy

AIME = "qwen3_aime24.jsonl.gz"
# Accuracy in percent and tokens a question, as others measured them over shuffles of the same traces.
ROWS = {
    "one(model=Qwen3-4B)": (72.2, 13_917),
    "vote(n=8, model=Qwen3-4B)": (80.0, 111_008),
    "adaptive(most=16, threshold=0.95, model=Qwen3-4B)": (80.2, 121_220),
    "esc(most=16, window=8, model=Qwen3-4B)": (80.2, 189_028),
    "vote(n=64, model=Qwen3-4B)": (80.0, 886_830),
    "vote(n=64, model=Qwen3-0.6B)": (21.4, 1_008_629),
    "vote(n=8, model=Qwen3-8B)": (81.2, 113_798),
}
KNOWN = (
    "staged(small=Qwen3-4B, large=Qwen3-8B, n=3, m=6, patience=4, weak=0.5, need=1, sure=2, unsure=0.5, "
    "settled=0.5, weight=2, limit=42000, chunk=500)"
)
OTHERS = (
    "math500_sal_sample.jsonl.gz",
    "humaneval_codegen16b.jsonl.gz",
    "math100_qwen_rm8.jsonl.gz",
    "gsm8k_sizes.jsonl.gz",
    "routellm_gsm8k.jsonl.gz",
    "zeroeval_gsm.jsonl.gz",
    "rgym_easy.jsonl.gz",
)
BUDGETS = (1e14, 3e14, 1e15, 3e15)


def quiet(what: str, done: int, total: int) -> None:
    """Say nothing."""


def rows(folder: Path, candidates: int) -> None:
    """Rows that others have published of the same traces."""
    pool = load([folder / AIME])
    print("arm | accuracy, % (others) | tokens (others) | within 0.3 points and 0.5 %")
    for arm, (accuracy, tokens) in ROWS.items():
        found = evaluate_arms(pool, arm, Asked("flops"))
        right, made = 100 * found["accuracy"]["value"], found["tokens"]["mean"]
        near = abs(right - accuracy) <= 0.3 and abs(made / tokens - 1) <= 0.005
        print(f"{arm} | {right:.2f} ({accuracy}) | {made:,.0f} ({tokens:,}) | {'yes' if near else 'no'}")


def speed(folder: Path, candidates: int) -> None:
    """Twenty budgets over four models and every arm on the grid (named), and peak memory."""
    began = time.perf_counter()
    gauge = Gauge(load([folder / AIME]), "flops")
    read = time.perf_counter()
    arms = replayable(gauge)
    board = board_of(gauge, arms, 16, 0, lambda done: None)
    measured = time.perf_counter()
    cuts = folds(len(gauge.problems), 0)
    ours = curve(board, [np.ones(len(arms), bool)] * len(cuts), cuts, together)
    low, high = ours.span
    for budget in np.geomspace(low, high, 20):
        ours.means(float(budget))
    chosen = time.perf_counter()
    kinds = sorted(set(board.names))
    counts = ", ".join(f"{sum(name == kind for name in board.names)} {kind}" for kind in kinds)
    print(f"{len(arms)} arms on {len(gauge.problems)} problems ({counts})")
    print(f"read {read - began:.1f} s, arms {measured - read:.1f} s, 20 budgets cross-fitted {chosen - measured:.1f} s")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def routing(folder: Path, candidates: int) -> None:
    """RouteLLM's figures on the prompts that are not marked as contaminated."""
    from autotts.search.routing import routing as figures

    pool = load([folder / "routellm_gsm8k.jsonl.gz"], without=("contaminated",))
    found = figures(Gauge(pool, "calls"), 0)
    if found is None:
        raise SystemExit("expected two models with one draw each")
    print(f"{len(pool.problems)} prompts: weak {100 * found['weak_accuracy']:.2f}, ", end="")
    print(f"strong {100 * found['strong_accuracy']:.2f}")
    for row in found["rows"]:
        print(f"{row['name']}: APGR {row['apgr']:.3f}, CPT(50 %) {row['cpt50']:.3f}")


def study(pool: Recorded, unit: str, candidates: int, budget: str | None = None) -> PoolStudy:
    """A study on a pool that is read already."""
    return PoolStudy(PoolRecipe(("pool",), budget=budget, unit=unit, candidates=candidates), Gauge(pool, unit), quiet)


def gains(folder: Path, candidates: int) -> None:
    """Cross-fitted gains of adapting over the uniform hull, and the share of the headroom that was captured."""
    for name in (AIME, *OTHERS):
        if not (folder / name).exists():
            continue
        pool = load([folder / name])
        unit = finest(pool)
        try:
            found = study(pool, unit, candidates)
        except Exception as error:
            print(f"\n{name}: {error}")
            continue
        low, high = found.ours.span
        asked = [b for b in BUDGETS if low <= b <= high] if unit == "flops" and name == AIME else []
        grid = asked or [float(b) for b in np.geomspace(low, high, 6)[1:-1]]
        bins = "bins predicted from the prompt" if found.binned else "no bins"
        print(f"\n{name}: {len(found.board.problems)} prompts, {found.measured.screened} arms, {unit}, {bins}")
        print(
            "budget | ours, % at cost | fixed hull, % | gain, points (95 %) | compute for ours | oracle, % | captured"
        )
        for budget in grid:
            print(line(found, budget))


def line(found: PoolStudy, budget: float) -> str:
    """One budget of a study."""
    step = found.step(budget)
    gap = found.resamples.difference(step.ours.value, step.uniform.value)
    span = f"{100 * gap.value:+.1f} ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
    needed = "-" if step.needed is None else f"{step.needed / step.ours.cost.mean():.2f} x"
    share = "-" if step.captured is None else f"{step.captured.value:.2f}"
    return (
        f"{budget:.3g} | {100 * step.ours.value.mean():.1f} at {step.ours.cost.mean():.3g} | "
        f"{100 * step.uniform.value.mean():.1f} | {span} | {needed} | {100 * step.oracle.value.mean():.1f} | {share}"
    )


def known(folder: Path, candidates: int) -> None:
    """A known two-stage policy beside ours, on the set that both were found on: ours is cross-fitted, it is not."""
    pool = load([folder / AIME])
    for probe_tokens in (0, 20):
        found = evaluate_arms(pool, KNOWN, Asked("flops", probe_tokens))
        print(f"a probe of {probe_tokens} tokens: the known policy {100 * found['accuracy']['value']:.1f} % ", end="")
        print(f"at {found['cost']['mean'] / 1e12:.0f} TFLOPs (in sample)")
        recipe = PoolRecipe(("pool",), candidates=candidates, probe_tokens=probe_tokens)
        ours = PoolStudy(recipe, Gauge(pool, "flops", probe_tokens), quiet)
        for budget in (4e14, 5.5e14, 7e14):
            at = ours.ours.at(budget)
            print(f"  ours {100 * at.value.mean():.1f} % at {at.cost.mean() / 1e12:.0f} TFLOPs (cross-fitted)")


def budget(folder: Path, candidates: int) -> None:
    """A policy made on the easier half of the problems under 1e15 FLOPs, serving the harder half."""
    pool = load([folder / AIME])
    ease = Gauge(pool, "flops")
    rate = np.array([np.mean([d.correct[d.start[p] : d.start[p + 1]].mean() for d in pool.drawn]) for p in ease.rows])
    order = np.argsort(-rate)
    easy, hard = (part(pool, np.sort(half)) for half in (order[:15], order[15:]))
    found = study(easy, "flops", candidates, "1e15flops")
    kwargs = {"name": "half", "command": "", "date": "", "seconds": 0.0, "routing": None}
    policy = policy_of(found, assemble(found, **kwargs))  # type: ignore[arg-type]
    print("served | mean budget | controller | accuracy, % | mean cost | over budget")
    for name, served in (("the easier half", easy), ("the harder half", hard)):
        for asked in (3e14, 1e15):
            for on in (False, True):
                got = evaluate_policy(served, policy, budget=asked, controlled=on)
                print(
                    f"{name} | {asked:.0e} | {'on' if on else 'off'} | {100 * got['accuracy']['value']:.1f} | "
                    f"{got['cost']['mean']:.3g} | {100 * got['overshoot']:+.1f} %"
                )


def part(pool: Recorded, rows: np.ndarray) -> Recorded:
    """Some problems of a pool."""
    from autotts.search.suited import narrowed

    return narrowed(pool, rows, list(range(len(pool.drawn))))


PARTS: dict[str, tuple[Callable[[Path, int], None], str]] = {
    "rows": (rows, AIME),
    "speed": (speed, AIME),
    "routing": (routing, "routellm_gsm8k.jsonl.gz"),
    "gains": (gains, ""),
    "known": (known, AIME),
    "budget": (budget, AIME),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the parts that the folder has files for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them")
    parser.add_argument("--candidates", type=int, default=2000, help="staged, probing arms that are screened")
    options = parser.parse_args(argv)
    for name in options.only.split(","):
        work, needs = PARTS[name]
        print(f"\n## {name}: {work.__doc__}")
        if needs and not (options.folder / needs).exists():
            print(f"skipped: {needs} is not in {options.folder}")
            continue
        began = time.perf_counter()
        work(options.folder, options.candidates)
        print(f"({time.perf_counter() - began:.0f} s)")


if __name__ == "__main__":
    main()
