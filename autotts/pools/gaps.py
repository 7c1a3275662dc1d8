"""What a pool lacks: fields that were not recorded, problems and samples that are not there, draws that are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from autotts.pools import seen as of
from autotts.pools.findings import (
    ACCURACY,
    BEST,
    COSTS,
    FIRST,
    INTERVALS,
    MAJORITY,
    PASS,
    VALUES,
    Finding,
    Table,
    many,
    named,
)
from autotts.pools.recorded import SAMPLE, Ints

ALIKE: Final = 20  # labels of a model that are all the same before it is named


def gaps(table: Table) -> list[Finding]:
    """All findings about what is not there."""
    return [*_strategies(table), *_one(table), *_unequal(table), *_absent(table), *_alike(table), *_fields(table)]


def _strategies(table: Table) -> list[Finding]:
    lines = table.good & ~table.independent
    names = [made.strategy for made in table.seen.made if made.strategy != SAMPLE]
    return table.finding(
        "not-samples",
        f"no independent samples: {many(int(lines.sum()), 'line')} (strategy {named(names)})",
        lines,
        spoils=(PASS, MAJORITY, BEST, FIRST),
        advice="each is used as what it is, one run of that strategy: accuracy, routing between models and cascades "
        "remain; votes, pass@k and orderings need lines with strategy sample",
    )


def _sampled(table: Table) -> list[tuple[int, Ints]]:
    """Families of independent samples, with their counts on the problems that they have."""
    return [(f, row[row > 0]) for f, row in enumerate(table.counts) if table.seen.made[f].strategy == SAMPLE]


def _one(table: Table) -> list[Finding]:
    families = [f for f, counts in _sampled(table) if counts.max(initial=0) == 1]
    return table.finding(
        "one-sample",
        f"{named([table.model(f) for f in families])}: one sample a problem",
        _lines(table, families),
        spoils=(PASS, MAJORITY, BEST, FIRST),
        advice="accuracy, and routing and cascades between models, remain; votes need several samples a problem",
    )


def _unequal(table: Table) -> list[Finding]:
    uneven = [(f, counts) for f, counts in _sampled(table) if len(counts) and counts.min() < counts.max()]
    shown = [f"{table.model(f)} ({c.min()} to {c.max()}, median {np.median(c):g})" for f, c in uneven]
    return table.finding(
        "unequal-counts",
        f"samples a problem are not equally many: {named(shown)}",
        _lines(table, [f for f, _ in uneven]),
        spoils=(PASS, MAJORITY, BEST, FIRST),
        advice="figures at k hold for the problems with k samples or more; for all problems k can be the smallest "
        "count at most",
    )


def _absent(table: Table) -> list[Finding]:
    """Models that have no sample of some problems; the lines are those of the problems that they lack."""
    models = np.unique([made.model for made in table.seen.made], return_inverse=True)
    have = np.zeros((len(models[0]), len(table.seen.ids)), bool)
    for family, model in enumerate(models[1].tolist()):
        have[model] |= table.counts[family] > 0
    lacking = np.flatnonzero(~have.all(0))
    shown = [
        f"{name} {int((~row).sum()):,}" for name, row in zip(models[0].tolist(), have, strict=True) if not row.all()
    ]
    return table.finding(
        "absent",
        f"problems without samples of some model: {len(lacking):,} of {len(table.seen.ids):,} "
        f"(lacking: {named(shown)})",
        table.good & np.isin(table.problem, lacking),
        spoils=(ACCURACY,),
        advice="models are compared on the problems that all of them have; name the models to compare, and fewer "
        "problems are lost",
    )


def _alike(table: Table) -> list[Finding]:
    """Models that are right everywhere or nowhere, and pools in which most problems are."""
    labelled = table.label >= 0
    right = np.bincount(table.family[labelled & (table.label == 1)], minlength=len(table.seen.made))
    whole = np.bincount(table.family[labelled], minlength=len(table.seen.made))
    wrong: list[int] = np.flatnonzero((whole >= ALIKE) & (right == 0)).tolist()
    perfect: list[int] = np.flatnonzero((whole >= ALIKE) & (right == whole)).tolist()
    said = [
        f"{named([_way(table, f) for f in families])} {word} everywhere"
        for families, word in ((wrong, "wrong"), (perfect, "right"))
        if families
    ]
    return [
        *table.finding(
            "all-alike",
            "; ".join(said),
            _lines(table, [*wrong, *perfect]),
            spoils=(INTERVALS,),
            advice="look whether the labels were made at all; where they are true, nothing can be gained or lost with "
            "this model here",
        ),
        *_decided(table),
    ]


def _way(table: Table, family: int) -> str:
    made = table.seen.made[family]
    return made.model + (f" ({made.effort})" if made.effort else "")


def _decided(table: Table) -> list[Finding]:
    labelled = table.label >= 0
    right = np.bincount(table.problem[labelled & (table.label == 1)], minlength=len(table.seen.ids))
    whole = np.bincount(table.problem[labelled], minlength=len(table.seen.ids))
    decided = (whole > 1) & ((right == 0) | (right == whole))
    if not len(whole) or decided.mean() < 0.5:
        return []
    never, always = int((decided & (right == 0)).sum()), int((decided & (right > 0)).sum())
    return table.finding(
        "decided",
        f"of {many(len(whole), 'problem')}, {always:,} are right in every sample and {never:,} in none",
        np.isin(table.problem, np.flatnonzero(decided)) & table.good,
        spoils=(),
        advice="they cannot tell strategies apart: differences rest on the other problems",
    )


# ---------------------------------------------------------------- fields


def _fields(table: Table) -> list[Finding]:
    """A finding for each field that some lines lack."""
    good, whole = table.good, int(table.good.sum())
    gold = ~table.has(of.NO_GOLD)
    unlabelled = good & table.has(of.NO_LABEL)
    graded = unlabelled & gold & table.readable
    mute = good & ~table.readable
    rows: list[tuple[str, str, Any, Sequence[str], str]] = [
        (
            "label",
            "correct",
            unlabelled & ~graded,
            VALUES,
            "add correct, or answer and extracted to label them by; costs remain",
        ),
        (
            "graded",
            "correct, and are labelled by comparing answers as text",
            graded,
            (),
            "equal answers that are written in two ways count as wrong: grade them where that matters",
        ),
        (
            "answer",
            "an answer that can be read (extracted)",
            mute,
            (MAJORITY,) if int(mute.sum()) == whole else (),
            "such a sample has no vote; accuracy, pass@k and best-of-N by score remain",
        ),
        (
            "tokens",
            "completion_tokens",
            good & table.has(of.NO_TOKENS),
            (COSTS, FIRST),
            "costs in flops and tokens, and first-finish, are off there; accuracy and costs in calls remain",
        ),
        (
            "prompt-tokens",
            "prompt_tokens",
            good & table.has(of.NO_PROMPT_TOKENS),
            (COSTS,),
            "costs leave the prompts out, which is little where answers are long",
        ),
        (
            "parameters",
            "params_b",
            good & table.has(of.NO_SIZE),
            (COSTS,),
            "costs in flops need them: --params MODEL=4.02e9; costs in tokens and calls remain",
        ),
        (
            "temperature",
            "temperature",
            good & table.independent & table.has(of.NO_TEMPERATURE),
            (),
            "what is found holds for the temperature of the record, whatever it was",
        ),
        ("score", "a score", good & table.has(of.NO_SCORE), (BEST,), "majority, pass@k and first-finish remain"),
        (
            "prompt",
            "prompt",
            good & table.has(of.NO_PROMPT),
            (),
            "nothing can be predicted from the prompt there: a policy can go by its first draws only",
        ),
        (
            "gold",
            "a gold answer",
            good & ~gold,
            (),
            "labels are taken as recorded, and cannot be checked",
        ),
    ]
    return [
        finding
        for kind, what, lines, spoils, advice in rows
        for finding in table.finding(
            f"missing-{kind}", _without(int(lines.sum()), whole, what), lines, spoils=spoils, advice=advice
        )
    ]


def _without(count: int, whole: int, what: str) -> str:
    return f"no line has {what}" if count == whole else f"{count:,} of {whole:,} lines are without {what}"


def _lines(table: Table, families: Sequence[int]) -> Any:
    return np.isin(table.family, np.array(families, np.int64))
