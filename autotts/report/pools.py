"""For the terminal: what a check of recorded answers found, and what a pool holds of each model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from autotts.report.layout import NARROW, WIDE, plain_text, ruled
from autotts.report.lists import facts
from autotts.report.numbers import NOTHING, count, percent, plain
from autotts.report.result import Interval
from autotts.report.words import accuracy

Json = Mapping[str, Any]


def findings_table(checked: Json) -> RenderableType:
    """Findings of a check, those that make figures false first."""
    files = ", ".join(plain(file) for file in checked["files"])
    head = (
        f"{files}: {count(checked['lines'])} lines, {count(checked['problems'])} problems, "
        f"{_number(checked['models'], 'model')}"
    )
    grave = sum(1 for finding in checked["findings"] if finding["grave"])
    limits = len(checked["findings"]) - grave
    parts: list[RenderableType] = [Text(head, style="bold"), Text(_summed(grave, limits))]
    for finding in checked["findings"]:
        parts += [Text(), _finding(finding, several=len(checked["files"]) > 1)]
    return Group(*parts)


def _summed(grave: int, limits: int) -> str:
    if not grave and not limits:
        return "Nothing is amiss, and nothing is missing."
    wrong = (
        "No finding makes figures false"
        if not grave
        else f"{grave} finding{'s make' if grave > 1 else ' makes'} figures false"
    )
    return f"{wrong}; {limits or 'none'} say{'s' if limits == 1 else ''} what figures cannot be had or mean less."


def _finding(finding: Json, *, several: bool) -> RenderableType:
    grave = finding["grave"]
    size = f"{finding['kind']}; {_number(finding['lines'], 'line')}, {_number(finding['problems'], 'problem')}"
    rows = [("do", plain(finding["advice"]))]
    if finding["spoils"]:
        rows.insert(0, ("spoils" if grave else "limits", ", ".join(map(plain, finding["spoils"]))))
    rows += [("such as", _place(place, several)) for place in finding["places"]] if grave else []
    return Group(
        Text.assemble(("! " if grave else "- ", "bold red" if grave else "dim"), plain(finding["says"])),
        Padding(Group(Text(f"({size})", style="dim"), facts(rows)), (0, 0, 0, 2)),
    )


def _number(value: int, what: str) -> str:
    return f"{count(value)} {what}{'' if value == 1 else 's'}"


def _place(place: Json, several: bool) -> str:
    parts = [f"{plain(place['file'])}, line {place['line']}" if several else f"line {place['line']}"]
    parts += [f"{plain(place['prompt_id'])}"] if place["prompt_id"] is not None else []
    parts += [plain(place["model"])] if place["model"] is not None else []
    parts += [f"sample {place['sample_index']}"] if place["sample_index"] is not None else []
    return ", ".join(parts)


# ---------------------------------------------------------------- what a pool holds


def stats_table(found: Json) -> RenderableType:
    """Each family of a pool with its figures, and what is missing."""
    return _Stats(found)


@dataclass(frozen=True, slots=True)
class _Stats:
    found: Json

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        found = self.found
        families, names = found["families"], _names(found["families"])
        yield Text(f"{plain(found['pool'])}: {count(found['problems'])} problems", style="bold")
        yield Text(_ABOUT, style="dim")
        yield Text()
        if options.max_width < NARROW:
            yield from (_listed(name, family) for name, family in zip(names, families, strict=True))
        else:
            letters = plain_text(console, options)
            ks = _picked(families, 1 if options.max_width < WIDE else 2 if options.max_width < 130 else 3)
            yield _right(families, names, ks, letters)
            yield Text()
            yield _draws(families, names, letters)
        yield Text()
        if any(at["problems"] < family["problems"] for family in families for at in family["pass_at"]):
            yield Text("* of the problems with so many draws only", style="dim")
        for name, family in zip(names, families, strict=True):
            if line := _beyond(family):
                yield Text(f"{name}: {line}", style="dim")
        for note in found["notes"]:
            yield Text(f"note: {plain(note)}", style="dim")


_ABOUT = (
    "Shares are in percent, in brackets 95 % intervals over problems. pass@k: one of k draws is right; maj@k: the most "
    "frequent answer of k is. length r: how a draw's length goes with its being right, among the draws of a problem "
    "and between problems. AUC: how often a right draw is scored above a wrong one (50 is chance)."
)


def _names(families: Sequence[Json]) -> list[str]:
    """The role, with what tells it from others of the same role."""
    roles = [family["role"] for family in families]
    out = []
    for family in families:
        name = plain(family["role"])
        if family["strategy"] != "sample":
            name += f" {plain(family['strategy'])}"
        if roles.count(family["role"]) > 1 and family["temperature"] is not None:
            name += f" T={family['temperature']:g}"
        out.append(name)
    return out


def _picked(families: Sequence[Json], most: int) -> list[int]:
    """The numbers of draws that are shown: such that most families have them, far apart."""
    every = [[at["k"] for at in family["pass_at"]] for family in families if family["pass_at"]]
    common = sorted({k for ks in every for k in ks if 2 * sum(k in other for other in every) >= len(every)})
    if not common:
        return []
    wanted = {1: (8,), 2: (8, common[-1]), 3: (4, 16, common[-1])}[most]
    return sorted({min(common, key=lambda k: abs(math.log(k / target))) for target in wanted})


def _right(families: Sequence[Json], names: Sequence[str], ks: Sequence[int], letters: bool) -> Table:
    table = ruled(letters=letters)
    table.add_column("", overflow="fold", ratio=1, min_width=12)
    for name in ("problems", "draws each"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(Text("right, %"), no_wrap=True)
    for kind in ("pass", "maj"):
        for k in ks:
            table.add_column(Text(f"{kind}@{k}"), justify="right", no_wrap=True)
    for name, family in zip(names, families, strict=True):
        cells = [name, count(family["problems"]), _each(family), accuracy(_interval(family["accuracy"]), "-")]
        cells += [_at(family, curve, k) for curve in ("pass_at", "majority_at") for k in ks]
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _draws(families: Sequence[Json], names: Sequence[str], letters: bool) -> Table:
    """Lengths, limits and scores: the columns of which something is known."""
    columns = [(head, [cell(family) for family in families]) for head, cell in _DRAWS]
    kept = [(head, cells) for head, cells in columns if set(cells) != {NOTHING}]
    table = ruled(letters=letters)
    table.add_column("", overflow="fold", ratio=1, min_width=12)
    for head, _ in kept:
        table.add_column(Text(head), justify="right", no_wrap="\n" not in head)
    for index, name in enumerate(names):
        table.add_row(Text(name), *(Text(cells[index]) for _, cells in kept))
    return table


def _lengths(family: Json) -> str:
    pair = (family["length_within"], family["length_between"])
    return NOTHING if pair == (None, None) else ", ".join(NOTHING if r is None else f"{r:+.2f}" for r in pair)


_DRAWS: tuple[tuple[str, Callable[[Json], str]], ...] = (
    ("tokens", lambda family: count(family["tokens"])),
    ("p95", lambda family: count(family["tokens_p95"])),
    ("length r", _lengths),
    ("unread, %", lambda family: percent(family["unread"])),
    ("cut, %", lambda family: percent(family["cut"])),
    ("AUC", lambda family: percent(family["auc"])),
)


def _listed(name: str, family: Json) -> RenderableType:
    rows = [
        ("problems", f"{count(family['problems'])}, {_each(family)} draws each"),
        ("right, %", accuracy(_interval(family["accuracy"]), "-")),
        ("pass@k", _curve(family, "pass_at")),
        ("maj@k", _curve(family, "majority_at")),
    ]
    rows += [(head, cell(family)) for head, cell in _DRAWS]
    return Group(
        Text(name, style="bold"), Padding(facts([row for row in rows if row[1] not in ("", NOTHING)]), (0, 0, 0, 2))
    )


def _interval(found: Json | None) -> Interval:
    return Interval() if found is None else Interval(value=found["value"], low=found["low"], high=found["high"])


def _each(family: Json) -> str:
    low, high = family["fewest"], family["most"]
    return count(low) if low == high else f"{count(low)}-{count(high)}"


def _at(family: Json, curve: str, k: int) -> str:
    return next((_share(family, at) for at in family[curve] if at["k"] == k), NOTHING)


def _share(family: Json, at: Json) -> str:
    return percent(at["value"]) + ("*" if at["problems"] < family["problems"] else "")


def _beyond(family: Json) -> str:
    """Pass@k at more draws than were recorded, or why there is none; empty where none was tried."""
    found = family["beyond"]
    if not found:
        return family["beyond_note"] or ""
    figures = ", ".join(f"pass@{at['k']} {accuracy(_interval(at), '-')}" for at in found)
    return f"extrapolated (Beta fit to the pass rates of {_number(found[0]['problems'], 'problem')}): {figures}"


def _curve(family: Json, curve: str) -> str:
    return "  ".join(f"{at['k']}:{_share(family, at)}" for at in family[curve])
