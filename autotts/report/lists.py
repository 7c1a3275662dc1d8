"""Lists for the terminal: models, strategies, tasks, the estimate before a study, answers, an evaluation."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from autotts.core.cost import show
from autotts.core.strategy import Knob, Options, Range, Role, knobs
from autotts.core.task import Problem, Task
from autotts.report.layout import NARROW, plain_text, ruled
from autotts.report.numbers import count, duration, level_name, percent, plain, share_text, short
from autotts.report.result import Interval
from autotts.report.words import accuracy


@dataclass(frozen=True, slots=True)
class Card:
    """What the list of models shows of one: `accuracy` is the share of right answers by level, where it is known."""

    name: str
    role: str
    parameters: int | None = None
    accuracy: Mapping[str, float] = field(default_factory=dict)
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a study is expected to take; `spend` in smallest parts of `unit`, `seconds` where they can be known."""

    search: int
    confirm: int
    draws: float
    tokens: float
    spend: float
    unit: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What one run gave; `cost` in smallest parts of `unit`, `ended` where the plan did not end by itself."""

    answer: str | None
    arm: str
    draws: int
    cost: float
    unit: str
    level: str | None = None
    ended: str | None = None
    problem: str | None = None


def models_table(cards: Sequence[Card]) -> RenderableType:
    """The models that can be asked: name, role, size, accuracy of one draw by level, licence."""
    return _Models(tuple(cards))


@dataclass(frozen=True, slots=True)
class _Models:
    cards: tuple[Card, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width < NARROW:
            yield from (self._listed(card) for card in self.cards)
            return
        table = ruled(letters=plain_text(console, options))
        for name in ("model", "role", "parameters", "licence"):
            table.add_column(name, justify="right" if name == "parameters" else "left", overflow="fold")
        table.add_column(Text("right, % by level"), overflow="fold")
        for card in self.cards:
            cells = (plain(card.name), plain(card.role), _size(card.parameters), plain(card.licence), _by_level(card))
            table.add_row(*(Text(cell) for cell in cells))
        yield table

    def _listed(self, card: Card) -> RenderableType:
        facts = [
            plain(card.role),
            "size unknown" if card.parameters is None else f"{_size(card.parameters)} parameters",
            plain(card.licence),
        ]
        lines = [Text(", ".join(fact for fact in facts if fact))]
        if card.accuracy:
            lines.append(Text(f"right, % by level: {_by_level(card)}"))
        return Group(Text(plain(card.name), style="bold"), Padding(Group(*lines), (0, 0, 0, 2)))


def _size(parameters: int | None) -> str:
    return "-" if parameters is None else show(parameters, "calls").removesuffix("calls").rstrip()


def _by_level(card: Card) -> str:
    return "  ".join(f"{plain(level)}:{percent(share)}" for level, share in card.accuracy.items())


def strategies_table(strategies: Mapping[str, type]) -> RenderableType:
    """Every strategy with its one line and its knobs, their ranges and defaults."""
    return Group(*(_strategy(name, kind) for name, kind in strategies.items()))


def _strategy(name: str, kind: type) -> RenderableType:
    lines = inspect.cleandoc(kind.__doc__ or "").splitlines()
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="cyan")
    grid.add_column(overflow="fold")
    for knob in knobs(kind).values():
        grid.add_row(Text(knob.name), Text(_knob(knob)))
    head = Text.assemble((plain(name), "bold"), "  ", plain(lines[0] if lines else ""))
    return Group(head, Padding(grid, (0, 0, 1, 2)))


def _knob(knob: Knob) -> str:
    domain = knob.domain
    about = f"; {domain.about}" if domain.about else ""
    default = "" if knob.default is None else f", default {_value(knob.default)}"
    if isinstance(domain, Range):
        kind = "whole number" if knob.type is int else "number"
        text = f"{kind} {domain.low:g} to {domain.high:g}{default}"
        if domain.grid:
            text += f", tried at {' '.join(f'{x:g}' for x in domain.grid)}"
        return text + about
    if isinstance(domain, Options):
        return f"one of {', '.join(domain.words)}{default}{about}"
    return f"{_role(domain)}{default}{about}"


def _role(domain: Role) -> str:
    return "name of a scorer" if domain.kind == "scorer" else "name of a model"


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def tasks_table(tasks: Sequence[Task]) -> RenderableType:
    """Every task: its name, what it asks, its levels with their shares."""
    return Group(*(_task(task) for task in tasks))


def _task(task: Task) -> RenderableType:
    mix = ", ".join(f"{level_name(str(level))} {share_text(share)}" for level, share in task.mix.items())
    head = Text.assemble((plain(task.name), "bold"), "  ", plain(task.about))
    lines = (
        Text(f"mix: {mix}" if mix else "without levels"),
        Text(f"answers: read by {task.reader}, graded by {task.grader}"),
    )
    return Group(head, Padding(Group(*lines), (0, 0, 1, 2)))


def task_examples(task: Task, problems: Sequence[Problem]) -> RenderableType:
    """One task with a few of its problems and their answers."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for problem in problems:
        where = "" if problem.level is None else level_name(str(problem.level))
        grid.add_row(Text(where), Text(plain(problem.prompt)))
        grid.add_row(Text(""), Text(f"answer: {plain(_gold(problem.answer))}"))
    return Group(_task(task), Text("Examples", style="bold"), Padding(grid, (0, 0, 0, 2)))


def _gold(answer: str) -> str:
    """A right answer for people: of one that says how it is graded, the answer itself."""
    try:
        told = json.loads(answer)
    except ValueError:
        return answer
    return str(told["answer"]) if isinstance(told, dict) and told.get("answer") is not None else answer


def estimate_table(estimate: Estimate) -> RenderableType:
    """What a study is expected to take, before anything is spent."""
    return facts(
        [
            ("prompts", f"{count(estimate.search)} to search on, {count(estimate.confirm)} held out to confirm on"),
            ("draws", f"about {_about(estimate.draws)}"),
            ("tokens", f"about {_about(estimate.tokens)}"),
            ("spend", f"about {show(_two_figures(estimate.spend), estimate.unit)}"),
            ("time", _time(estimate.seconds)),
        ]
    )


def _time(seconds: float | None) -> str:
    return "as fast as the servers are" if seconds is None else f"about {duration(_two_figures(seconds))}"


def _two_figures(value: float) -> float:
    """An estimate is not known better than that."""
    return float(f"{value:.2g}")


def _about(value: float) -> str:
    return count(_two_figures(value))


def answer_table(answer: Answer) -> RenderableType:
    """The answer of one run, which arm gave it and what it cost."""
    rows = [
        ("answer", "no answer" if answer.answer is None else plain(answer.answer)),
        ("arm", plain(answer.arm)),
        ("draws", count(answer.draws)),
        ("cost", show(answer.cost, answer.unit)),
    ]
    if answer.level is not None:
        rows.insert(1, ("level", f"{plain(answer.level)} (predicted)"))
    if answer.ended is not None:
        rows.append(("ended", plain(answer.ended)))
    if answer.problem is not None:
        rows.append(("failed", plain(answer.problem)))
    return facts(rows)


def answers_table(done: Mapping[str, Any]) -> RenderableType:
    """A file of prompts that was answered."""
    total, answered, unit = done["prompts"], done["answered"], str(done["unit"])
    return facts(
        [
            ("prompts", f"{count(total)}, {count(answered)} with an answer"),
            ("cost", f"{show(done['cost'], unit)}, {show(done['cost'] / total, unit)} a prompt"),
            ("answers", plain(str(done["output"]))),
        ]
    )


def evaluation_table(found: Mapping[str, Any]) -> RenderableType:
    """A policy or an arm on test prompts: accuracy and cost with their intervals, and the same by level."""
    return _Evaluation(found)


@dataclass(frozen=True, slots=True)
class _Evaluation:
    found: Mapping[str, Any]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        found = self.found
        unit, cost = str(found["unit"]), found["cost"]
        rows = [
            ("evaluated", plain(str(found["subject"]))),
            ("prompts", f"{count(found['prompts'])} test prompts of {plain(str(found['task']))}, answered afresh"),
            ("right", f"{accuracy(_interval(found['accuracy']))} % (95 % interval)"),
            (
                "cost",
                f"{show(cost['mean'], unit)} a prompt ({show(cost['low'], unit)} to {show(cost['high'], unit)}); "
                f"95 % of the prompts at most {show(cost['p95'], unit)}",
            ),
        ]
        if found["unanswered"]:
            rows.append(("no answer", f"{count(found['unanswered'])} prompts"))
        yield facts(rows)
        if len(found["levels"]) > 1:
            yield Text()
            yield from self._levels(console, options)
        for note in found["notes"]:
            yield Text(f"note: {plain(note)}", style="dim")

    def _levels(self, console: Console, options: ConsoleOptions) -> RenderResult:
        found, unit = self.found, str(self.found["unit"])
        if options.max_width < NARROW:
            yield from (self._listed(level, unit) for level in found["levels"])
            return
        table = ruled(letters=plain_text(console, options))
        several = any(level["arms"] != [found["subject"]] for level in found["levels"])
        for name in ("level", "prompts", "right, %", f"mean cost, {unit}", *(["arms"] if several else [])):
            right = name in ("prompts", f"mean cost, {unit}")
            table.add_column(Text(name), justify="right" if right else "left", overflow="fold", no_wrap=name != "arms")
        for level in found["levels"]:
            cells = (
                plain(str(level["bin"])),
                count(level["prompts"]),
                accuracy(_interval(level["accuracy"]), "-"),
                short(level["cost"], unit),
                ", ".join(plain(arm) for arm in level["arms"]),
            )
            table.add_row(*(Text(cell) for cell in cells[: len(table.columns)]))
        yield table

    def _listed(self, level: Mapping[str, Any], unit: str) -> RenderableType:
        lines = [
            Text(f"{accuracy(_interval(level['accuracy']), '-')} % right on {count(level['prompts'])} prompts"),
            Text(f"cost {show(level['cost'], unit)}"),
            *(Text(plain(arm)) for arm in level["arms"]),
        ]
        return Group(Text(level_name(str(level["bin"])), style="bold"), Padding(Group(*lines), (0, 0, 0, 2)))


def _interval(found: Mapping[str, Any]) -> Interval:
    return Interval(value=found["value"], low=found["low"], high=found["high"])


def facts(rows: Sequence[tuple[str, str]]) -> Table:
    """Names and what stands for them, in two columns."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(Text(name), Text(value))
    return grid
