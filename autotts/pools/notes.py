"""What is not known of a pool, or was decided on the way, in words that people should see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autotts.pools.arrange import Arranged, Pool
from autotts.pools.gather import Columns
from autotts.pools.recorded import Bools, Drawn, Ints


def notes(pool: Pool, columns: Columns, arranged: Arranged) -> tuple[str, ...]:
    """Everything that limits what can be computed from a pool; of one that lacks nothing, none."""
    return (*_fields(pool.drawn), *_coverage(pool), *_reading(columns, arranged))


def some(names: Sequence[str], most: int = 4) -> str:
    """A few names, and how many more there are.

    Examples
    --------
    >>> some(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _fields(drawn: Sequence[Drawn]) -> list[str]:
    """What samples lack, by model."""
    every = [
        ("tokens", [d.tokens < 0 for d in drawn], "costs in flops and tokens are unknown there, calls are not"),
        ("a label", [np.isnan(d.correct) for d in drawn], "they count for no accuracy"),
        ("an answer that can be read", [d.answer < 0 for d in drawn], "they count for no vote"),
        ("prompt tokens", [d.prompt_tokens < 0 for d in drawn], "what prompts cost is left out"),
    ]
    out = [_lacking(drawn, what, masks, so) for what, masks, so in every if any(mask.any() for mask in masks)]
    sizeless = list(
        dict.fromkeys(
            d.family.role for d in drawn if d.family.card.parameters is None and not d.family.active_parameters
        )
    )
    if sizeless:
        out.append(
            f"parameters are unknown for {some(sizeless)}: for flops give them, such as --params {sizeless[0]}=4.02e9"
        )
    other = dict.fromkeys(d.family.strategy for d in drawn if not d.family.exchangeable)
    if other:
        count = sum(len(d.answer) for d in drawn if not d.family.exchangeable)
        out.append(
            f"{count:,} samples are no independent ones (strategy {some(list(other))}): no votes or orderings of them"
        )
    cut = sum(int(d.cut.sum()) for d in drawn)
    if cut:
        out.append(f"{cut:,} samples were cut off by a limit (finish length)")
    return out


def _lacking(drawn: Sequence[Drawn], what: str, masks: Sequence[Bools], so: str) -> str:
    count, whole = sum(int(mask.sum()) for mask in masks), sum(len(mask) for mask in masks)
    if count == whole:
        return f"no sample has {what}: {so}"
    roles = list(dict.fromkeys(d.family.role for d, mask in zip(drawn, masks, strict=True) if mask.any()))
    return f"{count:,} of {whole:,} samples are without {what} ({some(roles)}): {so}"


def _coverage(pool: Pool) -> list[str]:
    """Where models have different numbers of samples, or none."""
    out = []
    uneven = []
    counts: dict[str, Ints] = {}
    for drawn in pool.drawn:
        role = drawn.family.role
        counts[role] = counts.get(role, 0) + drawn.counts
        held = drawn.counts[drawn.counts > 0]
        if len(held) and held.min() < held.max():
            uneven.append(f"{role} {held.min()} to {held.max()}, median {np.median(held):g}")
    if uneven:
        out.append(f"samples a problem are not equally many: {'; '.join(uneven[:4])}" + _more(len(uneven) - 4, "model"))
    have = sum((count > 0).astype(int) for count in counts.values())
    partly = int(np.sum(have < len(counts)))
    if partly:
        lacking = [role for role, count in counts.items() if (count == 0).any()]
        out.append(f"{partly:,} of {len(pool.problems):,} problems have no samples of some model ({some(lacking)})")
    unknown = sum(not problem.answer for problem in pool.problems)
    if unknown:
        out.append(f"{unknown:,} of {len(pool.problems):,} problems have no gold answer: labels are as recorded")
    blank = sum(not problem.prompt for problem in pool.problems)
    if blank:
        out.append(f"{blank:,} of {len(pool.problems):,} prompts were not recorded: nothing can be predicted from them")
    return out


def _more(count: int, what: str) -> str:
    return f"; and {count} more {what}{'s' * (count > 1)}" if count > 0 else ""


def _reading(columns: Columns, arranged: Arranged) -> list[str]:
    """What was decided while reading."""
    unequal = sum(asked.unequal is not None for asked in columns.asked)
    told = [
        (arranged.graded, "samples had no label: they count as right where answer and gold answer are the same text"),
        (columns.unstated, "samples do not say by which strategy they were made: they are taken as independent ones"),
        (arranged.copies, "samples were left out: each is the copy of another line, with its sample_index"),
        (arranged.shared, "samples have the sample_index of another one of their model and problem: all are kept"),
        (unequal, "problems have several gold answers: the first is shown, labels are as recorded"),
    ]
    out = [f"{count:,} {what}" for count, what in told if count]
    out += [
        f"{key}: {count:,} values are no finite numbers: they count as missing" for key, count in columns.lost.items()
    ]
    return out
