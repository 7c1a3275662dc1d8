"""What a pool says of its samples and cannot be right, or holds for a part of them only: labels, limits, settings."""

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
    MAJORITY,
    PASS,
    VALUES,
    Finding,
    Table,
    many,
    named,
)
from autotts.pools.gather import Made
from autotts.pools.recorded import Bools

SETTINGS: Final = ("temperature", "top_p", "template", "effort")


def doubts(table: Table) -> list[Finding]:
    """All findings about what is doubtful in the lines."""
    return [
        *_refused(table),
        *_prompts(table),
        *_labels(table),
        *_tokens(table),
        *_cut(table),
        *_numbers(table),
        *_sizes(table),
        *_settings(table),
    ]


def _refused(table: Table) -> list[Finding]:
    lines = ~table.good
    return table.finding(
        "refused",
        f"lines that cannot be loaded: {int(lines.sum()):,} ({'; '.join(table.seen.refusals)})",
        lines,
        spoils=(*VALUES, COSTS),
        advice="mend or leave out these lines: the pool does not load with them",
        grave=True,
    )


def _prompts(table: Table) -> list[Finding]:
    """One prompt_id that means several prompts, or has several gold answers."""
    prompt, gold = table.has(of.OTHER_PROMPT), table.has(of.OTHER_GOLD) & ~table.has(of.OTHER_PROMPT)
    return [
        *table.finding(
            "id-of-two-prompts",
            f"another prompt than on an earlier line with the same prompt_id: {many(int(prompt.sum()), 'line')}",
            prompt,
            spoils=VALUES,
            advice="two prompts need two prompt_ids: the pool does not load with these lines",
            grave=True,
        ),
        *table.finding(
            "two-golds",
            f"another gold answer than on an earlier line with the same prompt_id: {many(int(gold.sum()), 'line')}",
            gold,
            spoils=VALUES,
            advice="keep the right gold answer and label the samples of these prompts again; where several answers "
            "are right, labels that were recorded stand",
        ),
    ]


def _labels(table: Table) -> list[Finding]:
    equal, unlike = table.has(of.WRONG_THOUGH_EQUAL), table.has(of.RIGHT_THOUGH_UNLIKE)
    both = _both_ways(table)
    said = [
        f"{many(int(mask.sum()), 'sample')} {what}"
        for mask, what in (
            (equal, "with the gold answer labelled wrong"),
            (unlike, "with another number than the gold answer labelled right"),
            (both, "labelled otherwise than most with their answer at their problem"),
        )
        if mask.any()
    ]
    return table.finding(
        "labels",
        "labels contradict answers: " + "; ".join(said),
        equal | unlike | both,
        spoils=(ACCURACY, PASS, MAJORITY, BEST, FIRST),
        advice="label these again from the answers; a grader that looked at more than the answer (its form, the way "
        "there) may have meant it, but a vote counts equal answers as one",
        grave=True,
    )


def _both_ways(table: Table) -> Bools:
    """Of answers that one problem has with both labels: the samples with the rarer one, [L]."""
    moot = np.unique(table.problem[table.has(of.OTHER_GOLD)])
    rows = np.flatnonzero(table.readable & (table.label >= 0) & ~np.isin(table.problem, moot))
    order = rows[np.lexsort((table.answer[rows], table.problem[rows]))]
    out = np.zeros(len(table.marks), bool)
    if not len(order):
        return out
    same = np.zeros(len(order), bool)
    same[1:] = (np.diff(table.problem[order]) == 0) & (np.diff(table.answer[order]) == 0)
    group = np.cumsum(~same) - 1
    right, size = np.bincount(group, table.label[order]), np.bincount(group)
    mixed = (right > 0) & (right < size)
    rarer = right * 2 <= size  # the label that fewer of them have
    out[order] = mixed[group] & (table.label[order] == rarer[group])
    return out


def _tokens(table: Table) -> list[Finding]:
    lines = table.has(of.IMPOSSIBLE)
    return table.finding(
        "tokens",
        f"{many(int(lines.sum()), 'token count')} cannot be: 0 tokens of an answer, or more probes than tokens allow",
        lines,
        spoils=(COSTS, FIRST),
        advice="count these tokens again, or set completion_tokens to null",
        grave=True,
    )


def _cut(table: Table) -> list[Finding]:
    """Draws that a limit ended: those that say so, and those of exactly the longest length where that is crowded."""
    told = table.has(of.CUT)
    crowded, where = _crowded(table, told)
    lines = told | crowded
    said = [f"ended by a limit (finish length): {many(int(told.sum()), 'sample')}"] if told.any() else []
    if crowded.any():
        said.append(f"exactly the longest length of their model: {many(int(crowded.sum()), 'sample')} ({named(where)})")
    mute = int((lines & ~table.readable).sum())
    return table.finding(
        "cut",
        "; ".join(said) + (f"; of these without an answer that can be read: {mute:,}" if mute else ""),
        lines,
        spoils=(ACCURACY, PASS, MAJORITY),
        advice="they count as drawn, wrong where nothing can be read: what is computed is true for this limit only; "
        "for another one draw them again with a higher limit",
    )


def _crowded(table: Table, told: Bools) -> tuple[Bools, list[str]]:
    out = np.zeros(len(table.marks), bool)
    where = []
    for family in range(len(table.seen.made)):
        own = (table.family == family) & ~told
        longest = int(table.tokens[own].max(initial=0))
        at = own & (table.tokens == longest)
        count, near = int(at.sum()), int((own & (table.tokens >= 0.98 * longest)).sum()) - int(at.sum())
        mute = int((at & ~table.readable).sum())
        if longest >= 50 and count >= 3 and count > near and (count >= 10 or mute > count / 2):
            out |= at
            where.append(f"{table.model(family)} {longest:,} tokens")
    return out, where


def _numbers(table: Table) -> list[Finding]:
    lines = table.has(of.NOT_FINITE)
    keys = ", ".join(f"{key} {count:,}" for key, count in table.seen.lost.items())
    return table.finding(
        "not-finite",
        f"NaN or infinite: {many(sum(table.seen.lost.values()), 'number')} ({keys})",
        lines,
        spoils=(BEST,) if "score" in table.seen.lost else (),
        advice="they count as missing; best-of-N and weighted votes need a score of every sample of a problem",
    )


def _sizes(table: Table) -> list[Finding]:
    """Models with several parameter counts."""
    out = []
    for model, sizes in table.seen.sizes.items():
        totals, actives = {total for total, _ in sizes} - {None}, {active for _, active in sizes} - {None}
        if len(totals) < 2 and len(actives) < 2:
            continue
        found = ", ".join(f"{x:g}" for x in sorted((totals if len(totals) > 1 else actives), key=lambda x: x or 0.0))
        out += table.finding(
            "parameters",
            f"{model} has several parameter counts: {found} billion",
            _lines_of(table, [f for f, made in enumerate(table.seen.made) if made.model == model]),
            spoils=(COSTS,),
            advice="keep the right one, or name the models apart: the pool does not load so",
            grave=True,
            first=sorted(sizes.values()),
        )
    return out


def _settings(table: Table) -> list[Finding]:
    """Models that were recorded in several ways under one name and strategy."""
    ways: dict[tuple[str, str], list[int]] = {}
    for family, made in enumerate(table.seen.made):
        ways.setdefault((made.model, made.strategy), []).append(family)
    mixed = {name: families for (name, _), families in ways.items() if len(families) > 1}
    shown = [f"{name}: {_differences([table.seen.made[f] for f in families])}" for name, families in mixed.items()]
    return table.finding(
        "settings",
        f"recorded at several settings under one name: {many(len(mixed), 'model')} ({'; '.join(shown[:3])}"
        + (f"; and {len(shown) - 3} more)" if len(shown) > 3 else ")"),
        _lines_of(table, [f for families in mixed.values() for f in families]),
        spoils=(ACCURACY, PASS, MAJORITY, COSTS),
        advice="figures of such a model mix several; name one in arms: templates and efforts have roles of their own "
        "(model@effort), temperature and top_p are knobs",
        first=[int(np.flatnonzero(table.family == f)[0]) for families in mixed.values() for f in families],
    )


def _differences(made: Sequence[Made]) -> str:
    """The settings that differ: `effort high, low`."""
    out = []
    for name in SETTINGS:
        values = {getattr(one, name) for one in made}
        if len(values) > 1:
            texts = sorted("not recorded" if value is None else _short(value) for value in values)
            out.append(f"{name} {named(texts)}")
    return ", ".join(out)


def _short(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else text[:21] + "..."


def _lines_of(table: Table, families: Sequence[int]) -> Bools:
    return np.isin(table.family, np.array(families, np.int64))
