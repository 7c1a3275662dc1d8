"""How fast estimates are, and what they say of pools: `python -m tests.benchmarks.estimators [FOLDER]`.

First the exact curves of {majority, best-of-k, first-finish} at all k on 120 problems x 128 samples that are made here,
and arms a second. With a folder of pools in the common layout: the same curves on all families of equally many samples,
and a few arms on families of 64 samples or more. Seconds are the processor's, of all its cores together.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from autotts.estimate import ballots
from autotts.estimate.cascaded import cascade
from autotts.estimate.curves import best_of_curve, first_finish_curve, majority_curve
from autotts.estimate.replayed import Pool, estimate
from autotts.pools.load import load
from autotts.search.gauge import Gauge
from autotts.strategies.arms import parse
from autotts.strategies.cascade import Cascade

ARMS = [
    "one",
    "vote(n=4)",
    "vote(n=8)",
    "vote(n=64)",
    "first_finish(n=4)",
    "first_finish(n=16, k=4)",
    "adaptive(most=16, threshold=0.95)",
    "esc(most=16, window=8)",
]


def made(problems: int = 120, draws: int = 128, seed: int = 0) -> Pool:
    """Answers with a long tail of wrong ones, problems from hopeless to easy, right draws shorter than wrong ones."""
    rng = np.random.default_rng(seed)
    chance = rng.beta(0.6, 0.5, problems)
    wrong = np.stack([rng.choice(60, draws, p=rng.dirichlet(np.full(60, 0.15))) + 1 for _ in range(problems)])
    answers = np.where(rng.random((problems, draws)) < chance[:, None], 0, wrong)
    answers = np.where(rng.random((problems, draws)) < 0.01, -1, answers)
    tokens = rng.lognormal(np.where(answers == 0, 9.2, 9.7), 0.4).astype(np.int64)
    return whole(answers, answers == 0, tokens)


def whole(answers, correct, tokens) -> Pool:  # type: ignore[no-untyped-def]
    text = np.tile(np.arange(answers.shape[1]), (len(answers), 1))
    return Pool(answers, correct, np.zeros(len(answers)), tokens.astype(float), tokens, text)


def stacked(pools: list[Pool]) -> Pool:
    """The problems of several pools one below the other."""
    return whole(*(np.concatenate([getattr(p, f) for p in pools]) for f in ("answers", "correct", "tokens")))


def seconds(run: Callable[[], object], times: int = 3) -> float:
    """Of the processor, the least of some runs."""
    best = np.inf
    for _ in range(times):
        begun = time.process_time()
        run()
        best = min(best, time.process_time() - begun)
    return float(best)


def curves(pool: Pool, label: str) -> None:
    """Time all k of three curves; a score stands for best-of-k's."""
    ks = range(1, pool.draws + 1)
    answers, tokens = ballots.dense(pool.answers), pool.tokens.astype(float)
    right, value, score = ballots.right_share(answers, pool.correct), pool.correct.astype(float), -tokens
    counts, mute = ballots.counted(answers), (answers < 0).sum(1)
    each = {
        "majority": seconds(lambda: majority_curve(counts, right, mute, ks)),
        "best-of-k": seconds(lambda: best_of_curve(score, value, ks)),
    }
    if (pool.tokens >= 0).all():
        run = lambda: first_finish_curve(tokens, answers >= 0, ks, value=value, price=tokens)  # noqa: E731
        each["first-finish"] = seconds(run)
    said = ", ".join(f"{name} {spent:.3f}" for name, spent in each.items())
    size = f"{len(answers)} x {pool.draws}"
    print(f"{label:44s} {size:>10s}, all k: {sum(each.values()):.3f} s ({said})")


def arms(pool: Pool, label: str, orders: int) -> None:
    """What some arms give: accuracy, tokens, tokens at p95 over problems and orderings, the wait, arms a second."""
    for arm in ARMS:
        strategy = parse(arm)
        got = estimate(pool, strategy, orders=orders)
        spent = seconds(lambda strategy=strategy: estimate(pool, strategy, orders=orders), 1)
        print(
            f"{label:18s} {arm:36s} {100 * got.value.mean():6.2f} % {got.cost.mean():11,.0f} tokens"
            f" {np.quantile(got.costs, 0.95):11,.0f} p95 {got.sequential.mean():9,.0f} sequential"
            f" {1 / max(spent, 1e-4):8,.0f} arms/s"
        )


def recorded(path: Path) -> None:
    """The curves of all families of a file together and, of its large families, some arms."""
    pool = load([path])
    known = all((drawn.tokens >= 0).all() for drawn in pool.drawn)
    sources = Gauge(pool, "tokens" if known else "calls").sources
    fit = [s for s in sources if s.drawn.family.exchangeable and len(s.lots) == 1 and s.votes and s.least > 1]
    by_draws: dict[int, list[Pool]] = {}
    for source in fit:
        by_draws.setdefault(source.least, []).append(source.lots[0].pool)
    for pools in by_draws.values():
        dense = [whole(ballots.dense(p.answers), p.correct, p.tokens) for p in pools]
        curves(stacked(dense), f"{path.name} ({len(pools)} families)")
    if not fit:
        print(f"{path.name}: no family with equally many samples, two or more, and answers")
    for source in fit:
        if source.least >= 64 and known:
            arms(source.lots[0].pool, source.role, 300)


def main(folder: str | None = None) -> None:
    """Print the tables."""
    pool = made()
    curves(pool, "made here")
    arms(pool, "made here", 64)
    other = made(seed=1)
    spent = seconds(lambda: cascade(pool, other, Cascade(n=4, m=4)))
    print(f"{'made here':18s} {'cascade(n=4, m=4)':36s} {1 / spent:8,.0f} arms/s")
    for path in sorted(Path(folder).glob("*.jsonl*")) if folder else []:
        recorded(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
