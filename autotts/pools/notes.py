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


def counted(count: int, what: str) -> str:
    """So many of something.

    Examples
    --------
    >>> counted(1, "sample"), counted(1200, "sample")
    ('1 sample', '1,200 samples')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _fields(drawn: Sequence[Drawn]) -> list[str]:
    """What samples lack, by model."""
    every = [
        ("tokens", [d.tokens < 0 for d in drawn], "costs in flops and tokens are unknown there, calls are not"),
        ("labels", [np.isnan(d.correct) for d in drawn], "they count for no accuracy"),
        ("answers that can be read", [d.answer < 0 for d in drawn], "they count for no vote"),
        ("prompt tokens", [d.prompt_tokens < 0 for d in drawn], "what prompts cost is left out"),
    ]
    out = [_lacking(drawn, what, masks, so) for what, masks, so in every if any(mask.any() for mask in masks)]
    families = [drawn.family for drawn in drawn]
    sizeless = list(dict.fromkeys(f.role for f in families if f.parameters is None and f.active_parameters is None))
    if sizeless:
        out.append(
            f"parameters are unknown for {some(sizeless)}: for flops give them, such as --params {sizeless[0]}=4.02e9"
        )
    whole = sum(len(d.answer) for d in drawn)
    other = [d for d in drawn if not d.family.exchangeable]
    if other:
        strategies = some(list(dict.fromkeys(d.family.strategy for d in other)))
        count = sum(len(d.answer) for d in other)
        out.append(
            f"no independent samples: {count:,} of {whole:,} (strategy {strategies}): there are no votes or orderings "
            "of them"
        )
    if cut := sum(int(d.cut.sum()) for d in drawn):
        out.append(f"cut off by a limit (finish length): {cut:,} of {whole:,} samples")
    return out


def _lacking(drawn: Sequence[Drawn], what: str, masks: Sequence[Bools], so: str) -> str:
    count, whole = sum(int(mask.sum()) for mask in masks), sum(len(mask) for mask in masks)
    if count == whole:
        return f"{what} are not recorded: {so}"
    roles = list(dict.fromkeys(d.family.role for d, mask in zip(drawn, masks, strict=True) if mask.any()))
    return f"{what} are missing in {count:,} of {whole:,} samples ({some(roles)}): {so}"


def _coverage(pool: Pool) -> list[str]:
    """Where models have different numbers of samples, or none."""
    uneven = []
    counts: dict[str, Ints] = {}
    for drawn in pool.drawn:
        role = drawn.family.role
        counts[role] = counts.get(role, 0) + drawn.counts
        held = drawn.counts[drawn.counts > 0]
        if len(held) and held.min() < held.max():
            uneven.append(f"{role} {held.min()} to {held.max()}, median {np.median(held):g}")
    out = []
    if uneven:
        more = f"; and {counted(len(uneven) - 4, 'model')} more" if len(uneven) > 4 else ""
        out.append(f"samples a problem are not equally many: {'; '.join(uneven[:4])}{more}")
    whole = counted(len(pool.problems), "problem")
    if partly := int(np.sum(sum((count > 0).astype(int) for count in counts.values()) < len(counts))):
        lacking = [role for role, count in counts.items() if (count == 0).any()]
        out.append(f"no samples of some model ({some(lacking)}): {partly:,} of {whole}")
    if unknown := sum(not problem.answer for problem in pool.problems):
        out.append(f"no gold answer: {unknown:,} of {whole}: labels are as recorded")
    if blank := sum(not problem.prompt for problem in pool.problems):
        out.append(f"no prompt: {blank:,} of {whole}: nothing can be predicted from them")
    return out


def _reading(columns: Columns, arranged: Arranged) -> list[str]:
    """What was decided while reading."""
    unequal = sum(asked.unequal is not None for asked in columns.asked)
    told = [
        (arranged.graded, "sample", "had no label: right is where answer and gold answer are the same text"),
        (columns.unstated, "sample", "did not say by which strategy: taken as independent"),
        (arranged.copies, "sample", "left out: a copy of another line, with its sample_index"),
        (arranged.shared, "sample", "kept, with the sample_index of another one of the same model and problem"),
        (unequal, "problem", "with several gold answers: the first is shown, labels are as recorded"),
    ]
    lost = [f"{key}: {counted(count, 'value')} not finite: taken as missing" for key, count in columns.lost.items()]
    return [*(f"{counted(count, what)} {so}" for count, what, so in told if count), *lost]
