"""Tables for the terminal; each looks at the width it is given, and is plain where there is no terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from autotts.report.layout import NARROW, WIDE, plain_text, ruled
from autotts.report.numbers import amount, count, percent, plain, short
from autotts.report.result import Baseline, Cost, Interval, Result, Step, read
from autotts.report.words import accuracy, difference, equal_accuracy, route_lines, sentences


def result_table(result: Mapping[str, object]) -> RenderableType:
    """All that the terminal says at the end of a study.

    In words; the policy beside the honest baselines; budgets that would bind; which level gets which arm.
    """
    found = read(result)
    parts: list[RenderableType] = [Text(sentences(found)), Text(), _Baselines(found)]
    if found.frontier:
        parts += [Text(), _Budgets(found)]
    if found.policy.route:
        parts += [Text(), _route(found)]
    return Group(*parts)


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    accuracy: Interval
    cost: Cost
    difference: Interval | None
    ours: bool


@dataclass(frozen=True, slots=True)
class _Baselines:
    """Our policy and the baselines, with a line that says how to read them."""

    found: Result

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self._caption(), style="dim")
        yield Text()
        rows = [_Row("our policy", self.found.accuracy, self.found.cost, None, True)]
        rows += [_Row(_mark(b), b.accuracy, b.cost, b.difference, False) for b in self.found.baselines]
        if options.max_width < NARROW:
            yield from (self._listed(row) for row in rows)
        else:
            yield self._table(rows, options.max_width >= WIDE, plain_text(console, options))
        for baseline in self.found.baselines:
            if baseline.note or not baseline.attainable:
                yield Text(_note(baseline), style="dim")

    def _caption(self) -> str:
        n = self.found.prompts.confirm
        prompts = "prompts" if n is None else f"{count(n)} prompts"
        return (
            f"Right answers in percent on {prompts} that the search did not see, answered afresh; in brackets 95 % "
            f"intervals. Cost is what one prompt costs, in {plain(self.found.unit)}; 95 % of the prompts cost at most "
            "p95. The last figure is how many points more of the same prompts our policy gets right."
        )

    def _table(self, rows: list[_Row], wide: bool, letters: bool) -> Table:
        unit = self.found.unit
        table = ruled(letters=letters)
        table.add_column("", overflow="fold", ratio=1)
        table.add_column(Text("right, %"), justify="left", no_wrap=True)
        table.add_column(Text(f"mean cost, {unit}" if wide else "cost"), justify="right", no_wrap=True)
        table.add_column(Text(f"p95 cost, {unit}" if wide else "p95"), justify="right", no_wrap=True)
        table.add_column(Text("ours minus it, points" if wide else "ours minus it"), justify="left", no_wrap=True)
        for row in rows:
            table.add_row(
                Text(row.name),
                Text(accuracy(row.accuracy, " to " if wide else "-")),
                Text(short(row.cost.mean, unit)),
                Text(short(row.cost.p95, unit)),
                Text("") if row.difference is None else Text(difference(row.difference), style=_side(row.difference)),
                style="bold" if row.ours else "",
            )
        return table

    def _listed(self, row: _Row) -> RenderableType:
        unit = self.found.unit
        lines = [
            Text(f"{accuracy(row.accuracy, '-')} % right"),
            Text(f"cost {amount(row.cost.mean, unit)}, p95 {amount(row.cost.p95, unit)}"),
        ]
        if row.difference is not None:
            lines.append(Text(f"ours minus it {difference(row.difference)}", style=_side(row.difference)))
        return Group(Text(row.name, style="bold" if row.ours else ""), Padding(Group(*lines), (0, 0, 0, 2)))


def _mark(baseline: Baseline) -> str:
    return plain(baseline.name) + ("" if baseline.attainable else " *")


def _note(baseline: Baseline) -> str:
    note = plain(baseline.note)
    if baseline.attainable:
        return f"{plain(baseline.name)}: {note}"
    return f"* {plain(baseline.name)}: cannot be had in service" + (f"; {note}" if note else "")


def _side(found: Interval) -> str:
    """Green above zero, red below it, none where the interval holds zero; the signs say the same."""
    if found.low is not None and found.low > 0:
        return "green"
    return "red" if found.high is not None and found.high < 0 else ""


@dataclass(frozen=True, slots=True)
class _Budgets:
    """The policy at budgets that bind, beside the best mixture that treats all prompts alike."""

    found: Result

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text("Budgets that would bind" if self.found.budget.binds is False else "Other budgets", style="bold")
        yield Text(
            "The same study under other mean budgets per prompt; 'alike' is the best mixture of arms that treats all "
            "prompts alike, 'its need' is what it would spend to be as often right as the policy.",
            style="dim",
        )
        yield Text()
        if options.max_width < NARROW:
            yield from (self._listed(step) for step in self.found.frontier)
        else:
            yield self._table(options.max_width >= WIDE, plain_text(console, options))

    def _table(self, wide: bool, letters: bool) -> Table:
        unit = self.found.unit
        table = ruled(letters=letters)
        table.add_column(Text(f"budget, {unit}"), justify="right", no_wrap=True)
        table.add_column(Text("policy, %"), justify="left" if wide else "right", no_wrap=True)
        table.add_column(Text("alike, %"), justify="left" if wide else "right", no_wrap=True)
        table.add_column(Text("difference, points"), justify="left", no_wrap=True)
        table.add_column(Text("its need"), justify="right", no_wrap=True)
        for step in self.found.frontier:
            ours, theirs = step.accuracy, step.uniform.accuracy
            table.add_row(
                Text(short(step.budget, unit)),
                Text(accuracy(ours) if wide else percent(ours.value)),
                Text(accuracy(theirs) if wide else percent(theirs.value)),
                Text(difference(step.difference), style=_side(step.difference)),
                Text(equal_accuracy(step.equal_accuracy_cost, step.cost.mean)),
            )
        return table

    def _listed(self, step: Step) -> RenderableType:
        lines = (
            Text(f"policy {percent(step.accuracy.value)} %, alike {percent(step.uniform.accuracy.value)} %"),
            Text(f"difference {difference(step.difference)}", style=_side(step.difference)),
        )
        return Group(Text(amount(step.budget, self.found.unit)), Padding(Group(*lines), (0, 0, 0, 2)))


def _route(found: Result) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, max_width=24, overflow="ellipsis")
    grid.add_column(overflow="fold")
    for name, share, arms in route_lines(found):
        grid.add_row(Text(name if share == "-" else f"{name}, {share}"), Text(arms))
    return Group(
        Text("Who gets what (level as predicted from the prompt, its share of the prompts)", style="bold"), grid
    )
