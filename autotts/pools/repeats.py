"""Samples that are there twice: copies of lines, sample indices and prompts, and texts that chance does not repeat."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from autotts.pools.findings import ACCURACY, BEST, INTERVALS, MAJORITY, PASS, Finding, Table, many, named
from autotts.pools.recorded import Bools, Ints

DRAWN: Final = (PASS, MAJORITY, BEST, INTERVALS)  # figures of several draws, which copies make look surer
SHORTEST: Final = 100  # characters; shorter texts repeat by chance
STOCK: Final = 4  # a text that stands at so many prompts is what the model says to anything
NEAR: Final = 5  # tokens: as many draws differ by so little as are equal, if they are equal by chance


def repeats(table: Table) -> list[Finding]:
    """All findings about what is there more than once."""
    copy, shared = _same_index(table)
    left = table.good & ~copy
    return [
        *table.finding(
            "copies",
            f"copies of another line, sample_index and all: {many(int(copy.sum()), 'line')}",
            copy,
            spoils=(),
            advice="nothing need be done: a pool that is loaded keeps one of them",
        ),
        *table.finding(
            "index-twice",
            f"the prompt, model and sample_index of another, different sample: {many(int(shared.sum()), 'sample')}",
            shared,
            spoils=(INTERVALS,),
            advice="all are kept as samples of their own; if they are answers that were read or graded again, leave "
            "the older ones out, and if runs were merged, number them on",
        ),
        *_texts(table, left),
        *_greedy(table, left),
        *_untexted(table, left),
        *_astray(table, left),
        *_prompts(table),
    ]


def _same_index(table: Table) -> tuple[Bools, Bools]:
    """Lines that repeat an earlier one, and lines that only have its sample index, each a mask [L]."""
    rows = np.flatnonzero(table.good & (table.index >= 0))
    key = [table.index[rows], table.problem[rows], table.family[rows]]
    copy, shared = np.zeros(len(table.marks), bool), np.zeros(len(table.marks), bool)
    copy[rows] = _again([table.whole[rows], *key])
    shared[rows] = _again(key)
    return copy, shared & ~copy


def _again(columns: list[Any]) -> Bools:
    """Whether an earlier entry is the same in all columns, [rows]."""
    order = np.lexsort(columns)
    same = np.zeros(len(order), bool)
    if len(order):
        same[1:] = np.all([column[order[1:]] == column[order[:-1]] for column in columns], axis=0)
    out = np.zeros(len(order), bool)
    out[order] = same
    return out


def _texts(table: Table, left: Bools) -> list[Finding]:
    """Texts that were copied: chance repeats short texts far more often than long ones, a copy does not choose."""
    rows = np.flatnonzero(left & table.independent & (table.length >= SHORTEST) & ~_cold(table))
    text, prompts = _spread(table, rows)
    rows = rows[~np.isin(table.text[rows], text[prompts >= STOCK])]
    again = _again([table.text[rows], table.problem[rows], table.family[rows]])
    found = []
    for family in np.unique(table.family[rows]).tolist():
        own = table.family[rows] == family
        long = own & (table.length[rows] > np.median(table.length[rows][own]))
        short = own & ~long
        copied = int(again[long].sum())
        if copied >= 3 and copied >= 0.01 * long.sum() and again[long].mean() >= 0.6 * again[short].mean():
            found.append(family)
    chosen = rows[again & np.isin(table.family[rows], found)]
    return table.finding(
        "same-text",
        f"{many(len(chosen), 'sample')} of {named([table.model(f) for f in found])} are word for word another sample "
        "of their problem, long texts as often as short ones, which chance does not do",
        chosen,
        spoils=DRAWN,
        advice="leave the copies out: votes and intervals take them for evidence of their own",
        grave=True,
    )


def _cold(table: Table) -> Bools:
    """Whether a sample was drawn at temperature 0, where all draws are alike, [L]."""
    zero = np.array([made.temperature == 0 for made in table.seen.made] + [False])
    return np.asarray(zero[table.family])


def _greedy(table: Table, left: Bools) -> list[Finding]:
    rows = np.flatnonzero(left & table.independent & _cold(table))
    again = rows[_again([table.problem[rows], table.family[rows]])]
    models = [table.model(f) for f in np.unique(table.family[again]).tolist()]
    return table.finding(
        "greedy-twice",
        f"{named(models)} have several samples of a problem at temperature 0, which are no independent ones",
        again,
        spoils=DRAWN,
        advice="use one of them; several draws need a temperature above 0",
    )


def _untexted(table: Table, left: Bools) -> list[Finding]:
    """Draws without a text that are equal in answer, tokens and probes, more often than they nearly are.

    Lengths of independent draws are spread smoothly: as many pairs have equal lengths as half of those that differ
    by one token, or by two, and so on.
    """
    rows = np.flatnonzero(left & table.independent & (table.text == 0) & (table.tokens > 0) & ~_cold(table))
    longest = np.zeros(len(table.seen.made) + 1, np.int64)
    np.maximum.at(longest, table.family[rows], table.tokens[rows])
    rows = rows[table.tokens[rows] < longest[table.family[rows]]]  # draws that were cut are equally long
    if len(rows) < 2:
        return []
    columns = [table.tokens[rows], table.probed[rows], table.answer[rows], table.problem[rows], table.family[rows]]
    again = _again(columns)
    equal = np.bincount(table.family[rows[again]], minlength=len(table.seen.made))
    chance = _near(columns) / 2
    often = np.flatnonzero(
        (equal > chance + 5 * np.sqrt(chance) + 5)
        & (equal > 0.005 * np.bincount(table.family[rows], minlength=len(equal)))
    )
    chosen = rows[again & np.isin(table.family[rows], often)]
    return table.finding(
        "same-draw",
        f"{many(len(chosen), 'sample')} of {named([table.model(f) for f in often.tolist()])} have the answer, the "
        f"tokens and the probes of another sample of their problem; chance gives {chance[often].sum():.0f} at most",
        chosen,
        spoils=DRAWN,
        advice="leave the copies out: votes and intervals take them for evidence of their own",
        grave=True,
    )


def _near(columns: list[Any]) -> Any:
    """Pairs of draws with one answer whose tokens differ by 1 to NEAR, by family and per token of distance, [F]."""
    tokens, _, answer, problem, family = columns
    order = np.lexsort([tokens, answer, problem, family])
    out = np.zeros(int(family.max()) + 1)
    for back in range(1, min(len(order), 64)):  # pairs that many places apart in the order
        a, b = order[back:], order[:-back]
        apart = tokens[a] - tokens[b]
        near = (family[a] == family[b]) & (problem[a] == problem[b]) & (answer[a] == answer[b])
        close = near & (apart <= NEAR)
        if not close.any():
            break
        out += np.bincount(family[a][close & (apart > 0)], minlength=len(out))
    return out / NEAR


def _astray(table: Table, left: Bools) -> list[Finding]:
    """Long texts that stand at two or three prompts."""
    rows = np.flatnonzero(left & (table.length >= 2 * SHORTEST))
    text, prompts = _spread(table, rows)
    twice = text[(prompts > 1) & (prompts < STOCK)]
    chosen = rows[np.isin(table.text[rows], twice)]
    if len(chosen) < 0.005 * len(rows):  # a short program may well answer two prompts
        return []
    return table.finding(
        "text-of-two-prompts",
        f"long outputs that stand at two or three prompts: {len(twice):,}",
        chosen,
        spoils=(ACCURACY, PASS, MAJORITY, BEST),
        advice="look whether outputs were attached to the wrong prompts",
        grave=True,
    )


def _spread(table: Table, rows: Ints) -> tuple[Ints, Ints]:
    """The different texts of some lines, and at how many prompts each stands."""
    pairs = np.unique(np.stack([table.text[rows], table.problem[rows]]), axis=1)
    return np.unique(pairs[0], return_counts=True)


def _prompts(table: Table) -> list[Finding]:
    """Prompts that have several ids."""
    first: dict[int, int] = {}
    twice: list[int] = []
    for problem, code in enumerate(table.seen.prompts):
        if code and first.setdefault(code, problem) != problem:
            twice.append(problem)
    lines: Ints = np.flatnonzero(table.good & np.isin(table.problem, twice))
    return table.finding(
        "prompt-of-two-ids",
        f"prompts that stand under several prompt_ids: {len(twice):,}",
        lines,
        spoils=(INTERVALS,),
        advice="give one prompt one prompt_id: problems that are there twice make intervals too narrow, and one may "
        "land in the part that a policy is chosen on and the other where it is judged",
    )
