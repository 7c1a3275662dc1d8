"""Tables for the terminal; each looks at the width it is given, and is plain where there is no terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from autotts.report.layout import NARROW, WIDE, plain_text, ruled
from autotts.report.numbers import amount, count, percent, plain, short, signed
from autotts.report.predictor import predictor_table
from autotts.report.result import Baseline, Cost, Interval, Result, Routing, Step, read
from autotts.report.words import (
    HEADROOM,
    ROUTED,
    WHO,
    accuracy,
    captured,
    difference,
    equal_accuracy,
    fates,
    headroom_known,
    judged_on,
    over_known,
    path_known,
    route_lines,
    routed,
    sentences,
    two_models,
)


def result_table(result: Mapping[str, object]) -> RenderableType:
    """All that the terminal says at the end of a study.

    In words; what is not known; the policy beside the honest baselines; budgets that would bind; two models and the
    ways to choose between them; how prompts are told apart; which prompts get which arm.
    """
    found = read(result)
    parts: list[RenderableType] = [Text(sentences(found))]
    parts += [Text(f"note: {plain(note)}", style="dim") for note in found.notes]
    parts += [Text(line, style="dim") for line in _proposed(found)]
    parts += [Text(), _Baselines(found)]
    if found.frontier:
        parts += [Text(), _Budgets(found)]
    if found.routing.rows:
        parts += [Text(), _Routing(found.routing)]
    if found.difficulty.predictor is not None:
        parts += [Text(), predictor_table(found.difficulty, found.notes)]
    if found.policy.route:
        parts += [Text(), _route(found)]
    return Group(*parts)


def _proposed(found: Result) -> list[str]:
    """What was proposed and what became of it, in one line; nothing where arms were not proposed."""
    if not found.proposed.by:
        return []
    notes = [plain(note) for note in found.proposed.notes]
    return ["; ".join([f"tried: {fates(found.trials)}", *notes])]


WIDER = 110  # what the budgets need for all their intervals where the headroom is known


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    accuracy: Interval
    cost: Cost
    compared: Interval | None
    ours: bool


@dataclass(frozen=True, slots=True)
class _Baselines:
    """Our policy and the baselines, with a line that says how to read them."""

    found: Result

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        found, wide = self.found, options.max_width >= WIDE
        yield Text(self._caption(), style="dim")
        yield Text()
        over = over_known(found)
        rows = [_Row("our policy", found.accuracy, found.cost, found.over_uniform if over else None, True)]
        for b in found.baselines:
            rows.append(_Row(_mark(b), b.accuracy, b.cost, b.over_uniform if over else b.difference, False))
        if options.max_width < NARROW:
            yield from (self._listed(row) for row in rows)
        else:
            yield self._table(rows, wide, plain_text(console, options))
        for baseline in found.baselines:
            if baseline.note or not baseline.attainable:
                yield Text(_note(baseline), style="dim")

    def _caption(self) -> str:
        compared = (
            "how many points more it gets right than the best mixture of arms that is drawn by lot at the same cost"
            if over_known(self.found)
            else "how many points more of the same prompts our policy gets right"
        )
        return (
            f"Right answers in percent on {judged_on(self.found)}; in brackets 95 % intervals. Cost is what one prompt "
            f"costs, in {plain(self.found.unit)}; 95 % of the prompts cost at most p95. The last figure is {compared}."
        )

    def _table(self, rows: list[_Row], wide: bool, letters: bool) -> Table:
        unit, over, path = self.found.unit, over_known(self.found), wide and path_known(self.found)
        end = "\n" if wide and (over or path) else " "  # more columns need narrower ones
        table = ruled(letters=letters)
        table.add_column("", overflow="fold", ratio=1)
        table.add_column(Text("right, %"), justify="left", no_wrap=True)
        table.add_column(Text(f"mean cost,{end}{unit}" if wide else "cost"), justify="right", no_wrap=True)
        if path:
            table.add_column(Text("sequential\ntokens"), justify="right", no_wrap=True)
        table.add_column(Text(f"p95 cost,{end}{unit}" if wide else "p95"), justify="right", no_wrap=True)
        table.add_column(Text(_last(wide, over)), justify="left", no_wrap=True)
        for row in rows:
            cells = [Text(row.name), Text(accuracy(row.accuracy, " to " if wide else "-"))]
            cells.append(Text(short(row.cost.mean, unit)))
            cells += [Text(count(row.cost.sequential))] if path else []
            cells.append(Text(short(row.cost.p95, unit)))
            gap = row.compared
            cells.append(Text("") if gap is None else Text(difference(gap), style=_side(gap)))
            table.add_row(*cells, style="bold" if row.ours else "")
        return table

    def _listed(self, row: _Row) -> RenderableType:
        unit = self.found.unit
        lines = [
            Text(f"{accuracy(row.accuracy, '-')} % right"),
            Text(f"cost {amount(row.cost.mean, unit)}, p95 {amount(row.cost.p95, unit)}"),
        ]
        if row.compared is not None:
            name = "against the mixture" if over_known(self.found) else "ours minus it"
            lines.append(Text(f"{name} {difference(row.compared)}", style=_side(row.compared)))
        return Group(Text(row.name, style="bold" if row.ours else ""), Padding(Group(*lines), (0, 0, 0, 2)))


def _last(wide: bool, over: bool) -> str:
    if over:
        return "against the mixture\nat its cost, points" if wide else "against mixture"
    return "ours minus it, points" if wide else "ours minus it"


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
            "prompts alike, 'its need' is what it would spend to be as often right as the policy."
            + (f" {HEADROOM}" if headroom_known(self.found) else ""),
            style="dim",
        )
        yield Text()
        if options.max_width < NARROW:
            yield from (self._listed(step) for step in self.found.frontier)
        else:
            yield self._table(options.max_width, plain_text(console, options))

    def _table(self, width: int, letters: bool) -> Table:
        unit, room, wide = self.found.unit, headroom_known(self.found), width >= WIDE
        between = wide if not room else width >= WIDER
        end = "\n" if room else " "
        table = ruled(letters=letters)
        table.add_column(Text(f"budget,{end}{unit}"), justify="right", no_wrap=True)
        table.add_column(Text(f"policy,{end}%"), justify="left" if between else "right", no_wrap=True)
        table.add_column(Text(f"alike,{end}%"), justify="left" if between else "right", no_wrap=True)
        table.add_column(Text(f"difference,{end}points"), justify="left", no_wrap=True)
        table.add_column(Text(f"its{end}need"), justify="right", no_wrap=True)
        if room:
            table.add_column(Text("headroom\npoints"), justify="right", no_wrap=True)
            table.add_column(Text("captured\n%"), justify="left" if wide else "right", no_wrap=True)
        for step in self.found.frontier:
            ours, theirs = step.accuracy, step.uniform.accuracy
            cells = [
                Text(short(step.budget, unit)),
                Text(accuracy(ours) if between else percent(ours.value)),
                Text(accuracy(theirs) if between else percent(theirs.value)),
                Text(difference(step.difference), style=_side(step.difference)),
                Text(equal_accuracy(step.equal_accuracy_cost, step.cost.mean)),
            ]
            if room:
                caught = step.captured if wide else Interval(value=step.captured.value)
                cells += [Text(signed(step.headroom)), Text(captured(caught), style=_side(step.captured))]
            table.add_row(*cells)
        return table

    def _listed(self, step: Step) -> RenderableType:
        lines = [
            Text(f"policy {percent(step.accuracy.value)} %, alike {percent(step.uniform.accuracy.value)} %"),
            Text(f"difference {difference(step.difference)}", style=_side(step.difference)),
        ]
        if step.headroom is not None:
            lines.append(Text(f"headroom {signed(step.headroom)} points, captured {captured(step.captured)} %"))
        return Group(Text(amount(step.budget, self.found.unit)), Padding(Group(*lines), (0, 0, 0, 2)))


@dataclass(frozen=True, slots=True)
class _Routing:
    """Two models and the ways to choose between them, in RouteLLM's figures."""

    found: Routing

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text("Choosing between two models", style="bold")
        yield Text(two_models(self.found), style="dim")
        yield Text()
        if options.max_width < NARROW:
            for row in self.found.rows:
                lines = [Text(f"{name} {cell}") for name, cell in zip(ROUTED, routed(row), strict=True)]
                yield Group(Text(plain(row.name)), Padding(Group(*lines), (0, 0, 0, 2)))
            return
        table = ruled(letters=plain_text(console, options))
        table.add_column("", overflow="fold", ratio=1)
        for name in ROUTED:
            table.add_column(Text(name), justify="right", no_wrap=True)
        for row in self.found.rows:
            table.add_row(*(Text(cell) for cell in (plain(row.name), *routed(row))))
        yield table


def _route(found: Result) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, max_width=24, overflow="ellipsis")
    grid.add_column(overflow="fold")
    for name, share, arms in route_lines(found):
        grid.add_row(Text(name if share == "-" else f"{name}, {share}"), Text(arms))
    return Group(Text(f"Who gets what ({WHO.get(found.difficulty.kind, WHO['levels'])})", style="bold"), grid)
