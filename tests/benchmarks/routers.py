"""Routers between two models on recorded pools: `python -m tests.benchmarks.routers FOLDER [--only gsm,...]`.

FOLDER holds routellm_gsm8k, zeroeval_gsm and rgym_easy (.jsonl.gz) in the common layout; what is absent is skipped, and
none of it is part of this project. A router gives each prompt a score, learned on other prompts, and those with the
highest go to the strong model. APGR is the area under the share of the gap that is recovered (RouteLLM, 2406.18665):
.5 at random. "captured" is the share of the headroom between that and the oracle. Intervals (95 %) resample prompts,
differences are paired. Parts: routellm, zeroeval, rgym, across.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from autotts.estimate.routers import routed
from autotts.pools.load import load
from autotts.pools.recorded import Recorded
from autotts.predict.calibration import calibration_error
from autotts.predict.candidates import candidates
from autotts.predict.choice import Trial, best_variants, choose, trial, with_average
from autotts.predict.examples import prepare
from autotts.predict.learning import _cuts, fit
from autotts.predict.members import Linear
from autotts.predict.ngrams import BUCKETS, ngrams
from autotts.predict.performance import Performance
from autotts.predict.topics import topics
from autotts.search.routing import _ranks

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FOLDS = 5
RESAMPLES = 400
NEIGHBOURS = 50
PAIRS = {
    "zeroeval_gsm": (
        ("gemma-2-2b-it", "gpt-4o-mini-2024-07-18"),
        ("Meta-Llama-3-8B-Instruct", "claude-3-5-sonnet-20241022"),
    ),
    "rgym_easy": (("llama-4-scout", "o3-mini"),),
}
BORROWED = (  # models of zeroeval_gsm, weak to strong
    "command-r",
    "Mixtral-8x7B-Instruct-v0.1",
    "gpt-3.5-turbo-0125",
    "gemma-2-9b-it",
    "gemini-1.5-flash",
    "gpt-4o-2024-08-06",
)


@dataclass(frozen=True, eq=False)
class Pair:
    """Prompts on which two models were recorded: chances of a right answer, [N, 2], weak first; `groups` are kinds of
    prompts, [N]."""

    name: str
    prompts: list[str]
    value: Floats
    groups: Ints


def chances(pool: Recorded) -> dict[str, Floats]:
    """Share of right draws of each model on each problem, [P]; NaN where there is none."""
    out = {}
    for drawn in pool.drawn:
        known = np.isfinite(drawn.correct)
        right = np.concatenate(([0.0], np.cumsum(np.where(known, drawn.correct > 0.5, False))))
        count = np.concatenate(([0.0], np.cumsum(known)))
        with np.errstate(invalid="ignore"):
            out[drawn.family.role] = np.diff(right[drawn.start]) / np.diff(count[drawn.start])
    return out


def pair(pool: Recorded, name: str, weak: str, strong: str) -> Pair:
    """The prompts of a pool on which both models were recorded."""
    found = chances(pool)
    value = np.stack([found[weak], found[strong]], axis=1)
    rows = np.flatnonzero(np.isfinite(value).all(1))
    kinds = np.unique([problem.id.rpartition("/")[0] for problem in pool.problems], return_inverse=True)[1]
    return Pair(f"{name}: {weak} / {strong}", [pool.problems[i].prompt for i in rows], value[rows], kinds[rows])


def folds(groups: Ints, seed: int) -> list[tuple[Ints, Ints]]:
    """Rows to learn on and rows to report on; equal groups stay together."""
    place = np.random.default_rng(seed).permutation(np.arange(groups.max() + 1) % FOLDS)[groups]
    return [(np.flatnonzero(place != fold), np.flatnonzero(place == fold)) for fold in range(FOLDS)]


def learned(prompts: Sequence[str], value: Floats, seed: int) -> dict[str, Performance]:
    """Every candidate, learned on these prompts, and as "ours" the one that is chosen on them."""
    arms = [str(arm) for arm in range(value.shape[1])]
    plain = fit(prompts, arms, value, np.full(value.shape, np.nan), seed=seed, kinds=())
    examples = prepare(prompts, arms, (value, None), None, seed)
    cuts = _cuts(examples, seed)
    trials = with_average(best_variants([trial(one, examples, cuts, seed) for one in candidates(examples)]))

    def whole(one: Trial) -> Performance:
        members = [candidate.learn(examples, np.arange(len(prompts)), seed) for candidate in one.candidates]
        sparse = any(isinstance(member, Linear) and member.ngrams for member in members)
        slope, shift = one.calibration
        groups = [*plain.groups, *(["ngrams/1"] if sparse else [])]
        changed = {"kind": one.name, "members": members, "slope": slope, "shift": shift.tolist(), "groups": groups}
        return plain.model_copy(update=changed)

    out = {one.name: whole(one) for one in trials}
    return out | {"ours": out[choose(trials)[0].name]}


def neighbours(prompts: Sequence[str], value: Floats, asked: Sequence[str], seed: int) -> Floats:
    """The mean of the nearest prompts by cosine of n-gram topics, which stand in for sentence embeddings."""
    found = topics(prompts, seed)
    table = np.zeros((BUCKETS, found.count))
    table[found.known] = found.basis
    there = np.array([table[b].sum(0) / max(len(b), 1) ** 0.5 for b in map(ngrams, asked)])
    unit, other = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9) for x in (found.values, there))
    nearest = np.argpartition(-(other @ unit.T), NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    return np.asarray(value[nearest].mean(1))


def scores(data: Pair, groups: Ints, seeds: Sequence[int]) -> tuple[dict[str, Floats], dict[str, Floats], list[str]]:
    """Each router's scores, [seeds, N], ranked in its fold; the predictions of each, [seeds, N, 2]; what was chosen."""
    tables: dict[str, Floats] = {}
    ranked: dict[str, Floats] = {}
    kinds = []
    for turn, seed in enumerate(seeds):
        for train, test in folds(groups, seed):
            known, asked = [data.prompts[i] for i in train], [data.prompts[i] for i in test]
            models = learned(known, data.value[train], seed)
            kinds.append(models["ours"].kind)
            found = {name: model.table(asked).value for name, model in models.items()}
            found["nearest"] = neighbours(known, data.value[train], asked, seed)
            for name, table in found.items():
                tables.setdefault(name, np.zeros((len(seeds), *data.value.shape)))[turn, test] = table
                gain = np.array([len(text) for text in asked], float) if name == "length" else table[:, 1] - table[:, 0]
                ranked.setdefault(name, np.zeros((len(seeds), len(data.prompts))))[turn, test] = _ranks(gain)
    return ranked, tables, kinds


def report(data: Pair, ranked: Mapping[str, Floats], tables: Mapping[str, Floats]) -> None:
    """A row for each router: APGR, its difference from the length, the headroom captured, calls for half of the gap."""
    weak, strong = data.value.T
    oracle = routed(weak, strong, strong - weak).apgr
    every = {"random": np.zeros((1, len(weak))), **ranked, "oracle": (strong - weak)[None, :]}
    rng = np.random.default_rng(0)
    samples = [np.arange(len(weak)), *(rng.integers(0, len(weak), len(weak)) for _ in range(RESAMPLES))]
    areas = {
        name: np.array([np.mean([routed(weak[s], strong[s], row[s]).apgr for row in rows]) for s in samples])
        for name, rows in every.items()
    }
    print(f"\n{data.name}: {len(weak)} prompts, {100 * weak.mean():.1f} and {100 * strong.mean():.1f} % right")
    print("router | APGR (95 %) | less the length's (95 %) | captured | CPT(50 %) | calibration error")
    for name, area in areas.items():
        low, high = np.quantile(area[1:], [0.025, 0.975])
        gap = area - areas["length"]
        below, above = np.quantile(gap[1:], [0.025, 0.975])
        calls = np.mean([routed(weak, strong, row).cpt(0.5) for row in every[name]])
        error = f"{_error(tables[name], data.value):.3f}" if name in tables else "-"
        print(
            f"{name} | {area[0]:.3f} ({low:.3f} to {high:.3f}) | {gap[0]:+.3f} ({below:+.3f} to {above:+.3f}) | "
            f"{(area[0] - 0.5) / (oracle - 0.5):.2f} | {calls:.3f} | {error}"
        )


def _error(tables: Floats, value: Floats) -> float:
    """Calibration error out of fold, mean over seeds."""
    one = np.ones(value.size)
    return float(np.mean([calibration_error(table.ravel(), value.ravel(), one) for table in tables]))


def floor(table: Floats) -> float:
    """The calibration error that chance alone gives a predictor whose every chance is right."""
    rng, one = np.random.default_rng(0), np.ones(table.size)
    drawn = [(rng.random(table.size) < table.ravel()) * 1.0 for _ in range(20)]
    return float(np.mean([calibration_error(table.ravel(), right, one) for right in drawn]))


def evaluate(data: Pair, groups: Ints, seeds: Sequence[int], more: Mapping[str, Floats] | None = None) -> None:
    """All rows of a pair; `more` are ranked scores of further routers."""
    ranked, tables, kinds = scores(data, groups, seeds)
    report(data, {**ranked, **(more or {})}, tables)
    counts = ", ".join(f"{kind} {kinds.count(kind)} times" for kind in dict.fromkeys(kinds))
    print(f"ours was {counts}; chance alone gives a calibration error of {floor(tables['ours'][0]):.3f}")


def borrowed(data: Pair, others: Mapping[str, Mapping[str, float]], seed: int) -> Floats:
    """Ranked scores with other models' records on the prompts to learn on, [1, N]."""
    more = np.array([[others[name].get(prompt, np.nan) for name in BORROWED] for prompt in data.prompts])
    value = np.hstack([data.value, more])
    ranked = np.zeros((1, len(data.prompts)))
    for train, test in folds(np.arange(len(data.prompts)), seed):
        arms = [str(arm) for arm in range(value.shape[1])]
        blank = np.full(value[train].shape, np.nan)
        model = fit([data.prompts[i] for i in train], arms, value[train], blank, seed=seed, kinds=("lowrank", "ngrams"))
        table = model.table([data.prompts[i] for i in test]).value
        ranked[0, test] = _ranks(table[:, 1] - table[:, 0])
    return ranked


def routellm(folder: Path, seeds: Sequence[int]) -> None:
    """Mixtral and GPT-4 on prompts that are not marked as contaminated; and with six other models' records."""
    data, others = _routellm(folder), folder / "zeroeval_gsm.jsonl.gz"
    more = {}
    if others.exists():
        pool = load([others])
        found = chances(pool)
        known = {
            name: {problem.prompt: rate for problem, rate in zip(pool.problems, found[name]) if np.isfinite(rate)}
            for name in BORROWED
        }
        more["six other models (borrowed)"] = borrowed(data, known, seeds[0])
    evaluate(data, np.arange(len(data.prompts)), seeds, more)


def _routellm(folder: Path) -> Pair:
    pool = load([folder / "routellm_gsm8k.jsonl.gz"], without=("contaminated",))
    weak, strong = sorted(chances(pool), key=lambda role: float(np.nanmean(chances(pool)[role])))
    return pair(pool, "routellm_gsm8k", weak, strong)


def zeroeval(folder: Path, seeds: Sequence[int]) -> None:
    """Two pairs of a cheap and a strong model on the same prompts."""
    pool = load([folder / "zeroeval_gsm.jsonl.gz"])
    for weak, strong in PAIRS["zeroeval_gsm"]:
        data = pair(pool, "zeroeval_gsm", weak, strong)
        evaluate(data, np.arange(len(data.prompts)), seeds[:1])


def rgym(folder: Path, seeds: Sequence[int]) -> None:
    """A pair on procedural tasks: by prompt, and with whole kinds of tasks held out."""
    pool = load([folder / "rgym_easy.jsonl.gz"])
    for weak, strong in PAIRS["rgym_easy"]:
        data = pair(pool, "rgym_easy", weak, strong)
        evaluate(data, np.arange(len(data.prompts)), seeds[:1])
        print("with whole kinds of tasks held out:", end="")
        evaluate(data, data.groups, seeds[:1])


def across(folder: Path, seeds: Sequence[int]) -> None:
    """Learned on one pool's pair and used for another's; prompts that both have are never learned from and used."""
    pools = [_routellm(folder)]
    for name in ("zeroeval_gsm", "rgym_easy"):
        pools.append(pair(load([folder / f"{name}.jsonl.gz"]), name, *PAIRS[name][0]))
    for source in pools:
        for target in pools:
            if source is target:
                continue
            ranked = {
                "length": np.array([[len(text) for text in target.prompts]], float),
                "ours": np.zeros((1, len(target.prompts))),
            }
            outside = []
            for _, test in folds(np.arange(len(target.prompts)), seeds[0]):
                asked = [target.prompts[i] for i in test]
                rows = [i for i, text in enumerate(source.prompts) if text not in set(asked)]
                blank = np.full((len(rows), 2), np.nan)
                known = [source.prompts[i] for i in rows]
                model = fit(known, ("weak", "strong"), source.value[rows], blank, seed=0, kinds=("logistic", "ngrams"))
                table = model.table(asked).value
                ranked["ours"][0, test] = _ranks(table[:, 1] - table[:, 0])
                outside.append(model.outside(asked))
            print(f"\nlearned on {source.name}; {100 * np.mean(outside):.0f} % of the prompts look different", end="")
            report(target, ranked, {})


PARTS: dict[str, Callable[[Path, Sequence[int]], None]] = {
    "routellm": routellm,
    "zeroeval": zeroeval,
    "rgym": rgym,
    "across": across,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the parts whose pools the folder has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them")
    parser.add_argument("--seeds", type=int, default=3, help="times that prompts are cut into folds")
    options = parser.parse_args(argv)
    for name in options.only.split(","):
        began = time.perf_counter()
        print(f"\n## {name}: {PARTS[name].__doc__}")
        try:
            with threadpool_limits(1):
                PARTS[name](options.folder, range(options.seeds))
        except FileNotFoundError as error:
            print(f"skipped: {error}")
        print(f"({time.perf_counter() - began:.0f} s)")


if __name__ == "__main__":
    main()
