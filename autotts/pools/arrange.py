"""Columns of samples -> the arrays of each family, sorted by problem and sample index."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np

from autotts.core.task import Problem
from autotts.errors import InputError
from autotts.pools.gather import Asked, Columns, at
from autotts.pools.recorded import Bools, Drawn, Family, Ints

# Texts that stand for "nothing could be read", whatever their case, unless a gold answer of the pool reads so.
UNREAD: Final = frozenset({"err", "error", "?", "n/a", "nan", "none", "null", "no", "n", "unknown"})


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Problems, their answers and the draws, as in `Recorded`."""

    problems: tuple[Problem, ...]
    answers: tuple[tuple[str, ...], ...]
    drawn: tuple[Drawn, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Arranged(Pool):
    """A pool, and what was done to the samples on the way.

    Attributes
    ----------
    copies
        Samples that were left out, as their whole line is that of another with the same sample index.
    shared
        Samples that were kept although another of the same family and problem has their sample index.
    graded
        Samples whose label was not recorded, and is now whether answer and gold answer are the same text.
    """

    copies: int
    shared: int
    graded: int


def arrange(columns: Columns, families: Sequence[Family]) -> Arranged:
    """Sort the samples into families.

    Raises
    ------
    InputError
        A problem has two gold answers, and a sample whose label was not recorded.
    """
    texts = _Texts(columns.asked)
    problem = np.frombuffer(columns.problem, np.int32)
    family = np.frombuffer(columns.family, np.int32)
    answer = texts.kept(np.frombuffer(columns.answer, np.int32), problem)
    recorded = np.frombuffer(columns.correct, np.float32)
    correct, graded = _labels(columns, texts, answer, recorded)
    order, copies, shared = _order(columns)
    ends = np.concatenate(([0], np.cumsum(np.bincount(family[order], minlength=len(families)))))
    probes = _Probes(columns, texts, problem)
    drawn = []
    for number, made in enumerate(families):
        chosen = order[ends[number] : ends[number + 1]]
        counts = np.bincount(problem[chosen], minlength=len(columns.asked))
        probe, probe_start = probes.of(chosen)
        every = columns.every.get(number, (0, None))[0] if len(probe) else 0
        drawn.append(
            Drawn(
                made,
                np.concatenate(([0], np.cumsum(counts))),
                answer[chosen].astype(np.int64),
                correct[chosen].astype(np.float64),
                np.frombuffer(columns.tokens, np.int64)[chosen],
                np.frombuffer(columns.prompt_tokens, np.int64)[chosen],
                np.frombuffer(columns.score, np.float64)[chosen],
                np.frombuffer(columns.cut, np.int8)[chosen].astype(bool),
                probe,
                probe_start if every else np.zeros(0, np.int64),
                every,
            )
        )
    problems = tuple(Problem(a.id, a.prompt or "", a.gold or "", a.level) for a in columns.asked)
    return Arranged(problems, texts.answers, tuple(drawn), copies, shared, int(graded[order].sum()))


class _Texts:
    """The answers of each problem without those that stand for nothing, and their new numbers."""

    def __init__(self, asked: Sequence[Asked]) -> None:
        golds = {a.gold.lower() for a in asked if a.gold is not None}
        unread = UNREAD - golds
        blank = [text.lower() in unread for a in asked for text in a.texts]
        keep = ~np.array(blank, bool)
        self._first = np.concatenate(([0], np.cumsum([len(a.texts) for a in asked])))
        before = np.concatenate(([0], np.cumsum(keep)))
        owner = np.repeat(np.arange(len(asked)), np.diff(self._first))
        new = np.where(keep, before[:-1] - before[self._first[owner]], -1)
        self._new = np.append(new, -1).astype(np.int32)
        self.answers = tuple(tuple(text for text in a.texts if text.lower() not in unread) for a in asked)
        self.gold = np.array([-2 if a.gold is None else a.codes.get(a.gold, -2) for a in asked], np.int32)
        known = self.gold >= 0
        self.gold[known] = self._new[self._first[:-1][known] + self.gold[known]]

    def kept(self, code: Any, problem: Any) -> Any:
        """The new numbers of answers; those below 0 stay -1."""
        return np.where(code < 0, np.int32(-1), self._new[self._first[problem] + np.maximum(code, 0)])


class _Probes:
    """The probes of all samples, flat in the order of reading."""

    def __init__(self, columns: Columns, texts: _Texts, problem: Any) -> None:
        counts = np.frombuffer(columns.probes, np.int32)
        self._start = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
        flat = np.frombuffer(columns.probe, np.int32) if len(columns.probe) else np.zeros(0, np.int32)
        self._flat = texts.kept(flat, np.repeat(problem, counts))

    def of(self, chosen: Ints) -> tuple[Ints, Ints]:
        """The probes of these samples, and where each one's begin."""
        begin = self._start[chosen]
        counts = self._start[chosen + 1] - begin
        start = np.concatenate(([0], np.cumsum(counts)))
        where = np.repeat(begin - start[:-1], counts) + np.arange(start[-1])
        return self._flat[where].astype(np.int64), start


def _labels(columns: Columns, texts: _Texts, answer: Any, recorded: Any) -> tuple[Any, Bools]:
    """Whether each sample is right: as recorded, else whether its answer is the gold one as text.

    In a family of which answers were recorded, a sample without one is wrong; in others nothing is known of it.
    """
    problem, family = np.frombuffer(columns.problem, np.int32), np.frombuffer(columns.family, np.int32)
    missing = np.isnan(recorded)
    unequal = missing & np.array([asked.unequal is not None for asked in columns.asked])[problem]
    if unequal.any():
        asked = columns.asked[problem[int(np.argmax(unequal))]]
        where = at(asked.unequal or asked.place)
        raise InputError(
            f"{where}: answer: expected what {at(asked.place)} says of the prompt_id {asked.id!r}, {asked.gold!r}, "
            "found another one, and samples without `correct`: keep the right one, or label them"
        )
    has_gold = np.array([asked.gold is not None for asked in columns.asked])
    read = np.zeros(len(columns.made), bool)
    read[family[np.frombuffer(columns.answer, np.int32) >= 0]] = True
    graded = missing & has_gold[problem] & read[family]
    return np.where(graded, answer == texts.gold[problem], recorded), graded


def _order(columns: Columns) -> tuple[Ints, int, int]:
    """Samples by family, problem, sample index and order of reading, without copies; copies, and shared indices."""
    family, problem = np.frombuffer(columns.family, np.int32), np.frombuffer(columns.problem, np.int32)
    index, line = np.frombuffer(columns.index, np.int64), np.frombuffer(columns.line, np.int64)
    order = np.lexsort((np.where(index < 0, np.iinfo(np.int64).max, index), problem, family))
    same = np.zeros(len(order), bool)
    same[1:] = index[order[1:]] >= 0
    for column in (family, problem, index):
        same[1:] &= column[order[1:]] == column[order[:-1]]
    copy = np.zeros(len(order), bool)
    seen: set[int] = set()
    for n in np.flatnonzero(same | np.append(same[1:], False)):
        if not same[n]:
            seen = set()
        copy[n] = int(line[order[n]]) in seen
        seen.add(int(line[order[n]]))
    return order[~copy], int(copy.sum()), int((same & ~copy).sum())


def covered(pool: Pool) -> Pool:
    """The pool without the problems of which no draw is left."""
    keep = np.zeros(len(pool.problems), bool)
    for drawn in pool.drawn:
        keep |= drawn.counts > 0
    ends = np.append(keep, True)
    return Pool(
        tuple(problem for problem, kept in zip(pool.problems, keep, strict=True) if kept),
        tuple(answers for answers, kept in zip(pool.answers, keep, strict=True) if kept),
        tuple(replace(drawn, start=drawn.start[ends]) for drawn in pool.drawn),
    )


def digest(pool: Pool) -> str:
    """A hash of all that a pool holds, whatever the files looked like and were called."""
    out = hashlib.blake2b(digest_size=16)
    out.update(repr((pool.problems, pool.answers)).encode())
    for drawn in pool.drawn:
        out.update(repr((drawn.family, drawn.probe_every)).encode())
        for column in fields(drawn):
            value = getattr(drawn, column.name)
            if isinstance(value, np.ndarray):
                out.update(np.ascontiguousarray(value).data)
    return out.hexdigest()
