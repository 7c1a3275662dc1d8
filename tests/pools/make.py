"""Small random pools, made in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from autotts.core.task import Problem
from autotts.pools.recorded import Drawn, Family, Recorded

SMALL = Family("S", "S", temperature=0.7, top_p=1.0, parameters=1000)
LARGE = Family("L", "L", temperature=0.7, top_p=1.0, parameters=4000)


def make(
    families: Sequence[Family] = (SMALL, LARGE),
    *,
    problems: int = 4,
    counts: Mapping[int, int] | int = 8,
    seed: int = 0,
    every: int = 0,
    longest: int = 40,
    wrong: int = 3,
    right: Sequence[float] | None = None,
    prompt_tokens: int = -1,
    scored: bool = False,
) -> Recorded:
    """A pool; answer 0 of each problem ("gold") is right, the others are not, and some draws cannot be read.

    Parameters
    ----------
    counts
        Draws of each problem, or of problem i where it is a mapping (others have none).
    every
        Tokens between two probes; 0 for none. The last probe of some draws is missing.
    right
        The chance of a right draw, for each problem.
    """
    rng = np.random.default_rng(seed)
    each = [counts if isinstance(counts, int) else counts.get(p, 0) for p in range(problems)]
    chance = rng.uniform(0.2, 0.8, problems) if right is None else np.asarray(right)
    asked = tuple(Problem(f"p{p}", f"what is {p}?", "gold") for p in range(problems))
    answers = tuple(("gold", *(f"w{i}" for i in range(wrong))) for _ in range(problems))
    drawn = [_drawn(f, rng, each, chance, every, longest, wrong, prompt_tokens, scored) for f in families]
    return Recorded("made", asked, answers, tuple(drawn), digest=f"made{seed}")


def _drawn(family, rng, each, chance, every, longest, wrong, prompt_tokens, scored) -> Drawn:  # type: ignore[no-untyped-def]
    start = np.concatenate([[0], np.cumsum(each)]).astype(np.int64)
    total = int(start[-1])
    p = np.repeat(chance, each)
    answer = np.where(rng.random(total) < p, 0, rng.integers(1, wrong + 1, total))
    answer = np.where(rng.random(total) < 0.1, -1, answer)
    tokens = rng.integers(1, longest + 1, total)
    probes = [_probes(rng, int(t), int(a), every, wrong) for t, a in zip(tokens, answer)] if every else []
    return Drawn(
        family,
        start,
        answer,
        (answer == 0).astype(float),
        tokens,
        np.full(total, prompt_tokens),
        rng.random(total) if scored else np.full(total, np.nan),
        np.zeros(total, bool),
        np.array([x for row in probes for x in row], np.int64),
        np.concatenate([[0], np.cumsum([len(row) for row in probes])]).astype(np.int64) if every else np.zeros(0, int),
        every,
    )


def _probes(rng, tokens, answer, every, wrong):  # type: ignore[no-untyped-def]
    count = tokens // every - int(rng.random() < 0.3)
    return [answer if rng.random() < i / max(count, 1) else int(rng.integers(-1, wrong + 1)) for i in range(count)]
