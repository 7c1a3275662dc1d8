"""For the terminal: what past studies foretell, before anything is spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from autotts.core.cost import show
from autotts.report.layout import NARROW, plain_text, ruled
from autotts.report.lists import facts
from autotts.report.numbers import level_name, plain, share_text, short
from autotts.report.result import Interval
from autotts.report.words import accuracy


def advice_table(found: Mapping[str, Any]) -> RenderableType:
    """The advice as facts and a table of the levels, from a plain `autotts.advice/1`."""
    return _Advice(found)


@dataclass(frozen=True, slots=True)
class _Advice:
    found: Mapping[str, Any]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        found = self.found
        yield Text(plain(str(found["words"])))
        yield Text()
        if found["levels"] and options.max_width < NARROW:
            for row in found["levels"]:
                head = f"{level_name(row['level'])}, {share_text(row['share'])} of the prompts"
                yield Text(head, style="bold")
                yield Padding(facts(_rows(row, found["unit"])), (0, 0, 0, 2))
        elif found["levels"]:
            yield _levels(found, plain_text(console, options))
        rows = [("" if i else "begin with", plain(arm)) for i, arm in enumerate(found["start"])]
        rows += [("foretold", _whole(found))] if found["levels"] else []
        yield facts([*rows, *_memories(found)])
        for note in found["notes"]:
            yield Text(f"note: {plain(note)}", style="dim")


def _whole(found: Mapping[str, Any]) -> str:
    cost, unit = found["cost"], str(found["unit"])
    return (
        f"{accuracy(_interval(found['accuracy']))} % right at {show(cost['value'], unit)} a prompt "
        f"({show(cost['low'], unit)} to {show(cost['high'], unit)}), 95 % intervals"
    )


def _memories(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    out = []
    for i, past in enumerate(found["memories"]):
        far = "" if past["near"] else ", too far to be used"
        text = f"{plain(past['name'])}, distance {past['distance']:.2g}{far}: {'; '.join(map(plain, past['words']))}"
        out.append(("" if i else "past studies", text))
    return out or [("past studies", "none")]


def _levels(found: Mapping[str, Any], letters: bool) -> Table:
    table, unit = ruled(letters=letters), str(found["unit"])
    for i, name in enumerate(("level", "share", "arm", "right, %", f"{unit}, mean")):
        table.add_column(Text(name), justify="left" if i in (0, 2) else "right", overflow="fold", no_wrap=i != 2)
    for row in found["levels"]:
        for i, arm in enumerate(row["arms"]):
            part = "" if len(row["arms"]) == 1 else f"{share_text(arm['share'])} "
            cells = (
                "" if i else level_name(row["level"]),
                "" if i else share_text(row["share"]),
                part + plain(arm["arm"]),
                accuracy(_interval(arm["accuracy"]), "-"),
                _cost(arm["cost"], unit),
            )
            table.add_row(*(Text(cell) for cell in cells))
    return table


def _rows(row: Mapping[str, Any], unit: str) -> list[tuple[str, str]]:
    out = []
    for arm in row["arms"]:
        part = "" if len(row["arms"]) == 1 else f"{share_text(arm['share'])} "
        out.append(("arm", part + plain(arm["arm"])))
        out.append(("right", f"{accuracy(_interval(arm['accuracy']))} %"))
        out.append(("cost", f"{_cost(arm['cost'], unit)} {unit}"))
    return out


def _cost(of: Mapping[str, float], unit: str) -> str:
    return f"{short(of['value'], unit)} ({short(of['low'], unit)}-{short(of['high'], unit)})"


def _interval(found: Mapping[str, float]) -> Interval:
    return Interval(value=found["value"], low=found["low"], high=found["high"])
