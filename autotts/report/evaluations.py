"""For the terminal: arms and policies that were measured on recorded answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from autotts.core.cost import show
from autotts.report.layout import NARROW, plain_text, ruled
from autotts.report.lists import facts
from autotts.report.numbers import NOTHING, count, plain, share_text, short, signed
from autotts.report.result import Interval
from autotts.report.words import accuracy


def pool_evaluation(found: Mapping[str, Any]) -> RenderableType:
    """One arm or policy as facts, several arms as a table; below them what should be known of the figures."""
    return _PoolEvaluation(found)


@dataclass(frozen=True, slots=True)
class _PoolEvaluation:
    found: Mapping[str, Any]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        found = self.found
        arms = found.get("arms", [])
        if not arms:
            yield facts(_rows(found))
        elif options.max_width < NARROW:
            for arm in arms:
                yield Text(plain(arm["arm"]), style="bold")
                yield Padding(facts(_rows(arm)[1:]), (0, 0, 0, 2))
        else:
            same, names = _apart([arm["arm"] for arm in arms])
            least, most = (count(pick(arm["prompts"] for arm in arms)) for pick in (min, max))
            prompts = least if least == most else f"{least} to {most}"
            yield facts([("evaluated", plain(same)), ("prompts", f"{prompts} of the pool {plain(str(found['pool']))}")])
            yield Text()
            yield _arms(arms, names, str(found["unit"]), plain_text(console, options))
        for note in dict.fromkeys((*found["notes"], *(note for arm in arms for note in arm["notes"]))):
            yield Text(f"note: {plain(note)}", style="dim")


def _apart(arms: Sequence[str]) -> tuple[str, list[str]]:
    """What arms have in common, as an arm, and what each has besides."""
    knobs = [arm.partition("(")[2].removesuffix(")").split(", ") for arm in arms]
    shared = [knob for knob in knobs[0] if all(knob in other for other in knobs)]
    name = arms[0].partition("(")[0]
    return f"{name}({', '.join(shared)})", [", ".join(k for k in of if k not in shared) or name for of in knobs]


def _rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    unit, cost = str(found["unit"]), found["cost"]
    rows = [
        ("evaluated", plain(str(found["subject"]))),
        ("prompts", f"{count(found['prompts'])} of the pool {plain(str(found['pool']))}"),
        ("right", f"{accuracy(_interval(found['accuracy']))} % (95 % interval)"),
        (
            "cost",
            f"{show(cost['mean'], unit)} a prompt ({show(cost['low'], unit)} to {show(cost['high'], unit)}); "
            f"95 % of the runs at most {show(cost['p95'], unit)}",
        ),
    ]
    if found["tokens"] is not None:
        one_after_another = count(found["sequential_tokens"]["mean"])
        rows.append(("tokens", f"{count(found['tokens']['mean'])} a prompt, {one_after_another} one after another"))
    if found["cut"]:
        rows.append(("cut", f"{share_text(found['cut'])} of the runs were ended by a cap"))
    return rows + (_served(found) if "controller" in found else [])


def _served(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is known of a policy beside an arm."""
    unit, budgets = str(found["unit"]), f"{found['worst_overshoot']:.2f} budgets"
    bound = "" if found["bound"] is None else f"; never more than {found['bound']:g}"
    rows = [
        ("requests", f"{count(found['requests'])} in random order, controller {found['controller']}"),
        ("budget", f"{show(found['budget'], unit)} a prompt; mean {signed(found['overshoot'])} % off it"),
        ("overshoot", f"total spend was at most {budgets} above the requests' budgets{bound}"),
    ]
    shares = sorted(found["routed"].items(), key=lambda item: -item[1])
    return rows + [("arm" if i == 0 else "", f"{share_text(s)} {plain(arm)}") for i, (arm, s) in enumerate(shares)]


def _arms(arms: Sequence[Mapping[str, Any]], names: Sequence[str], unit: str, letters: bool) -> Table:
    table = ruled(letters=letters)
    timed = any(arm["tokens"] is not None for arm in arms)
    first = "model" if all(name.startswith("model=") for name in names) else "arm"
    heads = [first, "right, %", f"{unit}, mean", "p95", *(["tokens", "sequential"] if timed else [])]
    for i, name in enumerate(heads):
        table.add_column(Text(name), justify="left" if i < 2 else "right", overflow="fold", no_wrap=i > 0)
    for name, arm in zip(names, arms, strict=True):
        cost = arm["cost"]
        tokens = [NOTHING if arm[key] is None else count(arm[key]["mean"]) for key in ("tokens", "sequential_tokens")]
        cells = (
            plain(name.removeprefix("model=") if first == "model" else name),
            accuracy(_interval(arm["accuracy"]), "-"),
            short(cost["mean"], unit),
            short(cost["p95"], unit),
            *tokens,
        )
        table.add_row(*(Text(cell) for cell in cells[: len(heads)]))
    return table


def _interval(found: Mapping[str, Any]) -> Interval:
    return Interval(value=found["value"], low=found["low"], high=found["high"])
