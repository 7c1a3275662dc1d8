"""Samples that belong to other prompts: their answers fit the golds of others, their texts speak of others.

A pool whose rows were attached to the wrong prompts still looks like a result: 2.5 % accuracy in place of 45 %. Each
family of each file is judged by itself. Two signs are independent of each other:

- gold answers that one problem alone has, and that are the usual answer of one problem alone: in a sound pool that
  is nearly always the same problem, however weak the model is;
- rare words of prompts that come back in the outputs: of the own prompt, in a sound pool.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from autotts.pools.findings import VALUES, Finding, Table, many, share
from autotts.pools.recorded import Ints
from autotts.pools.seen import Seen, Words

USUAL: Final = 0.3  # share of a problem's samples that makes an answer usual there
ALONE: Final = 0.7  # share of all that give an answer, by problem, which one problem must hold
FEWEST: Final = 4  # golds or outputs that speak against a family before it is named
RARE: Final = 10  # a rare word stands in at most so many prompts
FEW: Final = 5  # problems that may share a gold answer which shifts are judged by
HEARD: Final = 2.0  # how much of a prompt's rare words an output must hold to speak of it


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """How the answers of a unit fit the golds; `usual` maps problems to the one whose gold is their usual answer.

    own, chance: the share that fits the own gold, and that would fit one taken at random. here, elsewhere: golds
    found at their own problem alone, at another alone. shift, shifted: the best shift of the problems, and the share
    that fits then.
    """

    problems: int
    own: float
    chance: float
    golds: int
    here: int
    elsewhere: int
    shift: int
    shifted: float
    usual: Mapping[int, int]


def misplaced(table: Table) -> list[Finding]:
    """A finding for each family of each file whose samples seem to stand at other prompts."""
    out = []
    prompts = _Prompts(table.seen)
    gold = np.array([hash(text) if text else 0 for text in table.seen.golds], np.int64)
    for unit, rows in _units(table):
        fit = _fit(table, rows, gold)
        own, other, quoting = prompts.heard(unit)
        amiss, whole = _verdict(fit, own, other)
        if not amiss:
            continue
        crossed = list(fit.usual) or list(quoting)
        first = [int(rows[np.flatnonzero(table.problem[rows] == problem)[0]]) for problem in crossed[:3]]
        model = table.model(unit[0])
        out += table.finding(
            "misaligned",
            f"{'samples' if whole else 'a part of the samples'} of {model} seem to belong to other prompts: "
            + _evidence(fit, own, other),
            rows,
            spoils=VALUES,
            advice="attach the samples to their prompts again, by an id and not by position; until then leave "
            f"{model} out",
            grave=True,
            first=first,
        )
    return out


def _units(table: Table) -> Iterator[tuple[tuple[int, int], Any]]:
    """Each family in each file, with its lines in the order of reading."""
    key = table.family.astype(np.int64) * len(table.seen.files) + table.file
    key[~table.good] = -1
    order = np.argsort(key, kind="stable")
    found, start = np.unique(key[order], return_index=True)
    for code, rows in zip(found.tolist(), np.split(order, start[1:]), strict=True):
        if code >= 0:
            yield divmod(code, len(table.seen.files)), rows


def _verdict(fit: _Fit, own: int, other: int) -> tuple[bool, bool]:
    """Whether samples seem misplaced, and whether all of them."""
    by_words = other >= FEWEST and other > 10 * own
    denied = own >= FEWEST and own > other / 4
    by_golds = fit.elsewhere >= max(FEWEST, fit.golds / 10) and fit.elsewhere > 2 * fit.here
    no_better = fit.own <= 3 * fit.chance + 1 / fit.problems
    whole = no_better and (by_words or ((by_golds or _shifted(fit)) and not denied))
    # Of a strong model few golds are found at other problems alone; of a weak one up to a third.
    partly = fit.elsewhere >= 8 and fit.elsewhere > fit.here * (0.25 if fit.own >= 0.5 else 0.6)
    heard = other >= max(1.0, 0.05 * own) or own < FEWEST
    return whole or by_words or (partly and heard), whole


def _shifted(fit: _Fit) -> bool:
    return fit.shifted >= 0.15 and fit.shifted > 5 * max(fit.own, fit.chance)


def _evidence(fit: _Fit, own: int, other: int) -> str:
    said = [f"{share(fit.own)} of the answers are the gold answer of their problem"]
    if _shifted(fit):
        said.append(f"{share(fit.shifted)} that of the problem {fit.shift} further on")
    if fit.elsewhere:
        said.append(
            f"of {many(fit.here + fit.elsewhere, 'gold answer')} that one problem alone is usually answered with, "
            f"{fit.elsewhere} stand at another problem"
        )
    if other:
        said.append(f"{other} of {own + other} outputs speak of another prompt")
    return "; ".join(said)


def _fit(table: Table, rows: Any, gold: Any) -> _Fit:
    """The figures of one unit, over problems with a gold answer."""
    known = gold[table.problem[rows]] != 0
    problem, answer = table.problem[rows][known], table.answer[rows][known]
    order, first, place, counts = np.unique(problem, return_index=True, return_inverse=True, return_counts=True)
    told = table.readable[rows][known]
    (at, code), times = np.unique(np.stack([place[told], answer[told]]), axis=1, return_counts=True)
    part = times / counts[at]
    golds = gold[order]
    by_gold = np.argsort(golds, kind="stable")
    left = np.searchsorted(golds[by_gold], code, "left")
    holders = np.searchsorted(golds[by_gold], code, "right") - left  # problems whose gold answer this is, by pair
    total = max(len(order), 1)
    rank = np.empty(len(order), np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(order))
    few = (holders > 0) & (holders <= FEW)
    steps = _shifts(rank, at[few], part[few], by_gold, left[few], holders[few])
    shift = 1 + int(steps[1:].argmax()) if len(steps) > 1 else 0
    alone = holders == 1
    here, usual = _alone(at, part, alone, by_gold[left[alone]])
    sizes = np.unique(golds, return_counts=True)[1]
    able = max(int(sizes[sizes <= FEW].sum()), 1)
    return _Fit(
        total,
        float(part[golds[at] == code].sum() / total),
        float((part * holders).sum() / total**2),
        int((sizes == 1).sum()),
        here,
        len(usual),
        shift,
        float(steps[shift] / able) if shift else 0.0,
        {int(order[p]): int(order[q]) for p, q in usual.items()},
    )


def _shifts(rank: Ints, at: Any, part: Any, by_gold: Any, left: Any, holders: Any) -> Any:
    """The summed share of answers that fit the gold so many problems further on, [problems]."""
    pair = np.repeat(np.arange(len(at)), holders)
    nth = np.arange(len(pair)) - np.repeat(np.cumsum(holders) - holders, holders)
    whose = by_gold[left[pair] + nth]
    return np.bincount((rank[whose] - rank[at[pair]]) % max(len(rank), 1), part[pair], minlength=len(rank))


def _alone(at: Any, part: Any, alone: Any, whose: Any) -> tuple[int, dict[int, int]]:
    """Golds that are the usual answer of one problem alone: how many at their own, and the others' places.

    `whose` is the problem that each of the pairs marked `alone` is the gold answer of.
    """
    size = int(max(at.max(initial=0), whose.max(initial=0))) + 1
    top = np.zeros(size)
    np.maximum.at(top, at, part)
    given, p, x = np.bincount(whose, part[alone], minlength=size), at[alone], part[alone]
    usual = (x >= USUAL) & (x >= ALONE * given[whose]) & (x == top[p])
    here = int((usual & (p == whose)).sum())
    away = usual & (p != whose)
    return here, dict(zip(p[away].tolist(), whose[away].tolist(), strict=True))


class _Prompts:
    """Which prompt an output speaks of, by words that stand in few prompts."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        found: dict[int, list[int]] = defaultdict(list)
        for problem, words in seen.asked.items():
            for word in words:
                found[word].append(problem)
        count = max(len(seen.asked), 1)
        most = min(RARE, max(1, count // 5))
        self._at = {word: whose for word, whose in found.items() if len(whose) <= most}
        self._weight = {word: math.log(count / len(whose)) for word, whose in self._at.items()}
        self._size = {p: sum(self._weight.get(word, 0.0) for word in words) for p, words in seen.asked.items()}

    def heard(self, unit: tuple[int, int]) -> tuple[int, int, list[int]]:
        """Outputs that speak of their own prompt, of another one, and the problems of the latter."""
        own, others = 0, []
        for problem, words in self._seen.said.get(unit, {}).items():
            scores = self._scores(words)
            mine = scores.pop(problem, 0.0)
            best = max(scores.values(), default=0.0)
            if best > 2 * mine and best >= HEARD:
                others.append(problem)
            elif mine > 2 * best and mine >= HEARD:
                own += 1
        return own, len(others), others

    def _scores(self, words: Words) -> dict[int, float]:
        """How much an output speaks of each prompt: long prompts share words with many outputs, so they count less."""
        weight: dict[int, float] = defaultdict(float)
        shared: dict[int, int] = defaultdict(int)
        for word in words:
            for problem in self._at.get(word, ()):
                weight[problem] += self._weight[word]
                shared[problem] += 1
        return {p: x / math.sqrt(self._size[p]) for p, x in weight.items() if shared[p] >= 2}
