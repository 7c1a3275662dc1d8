"""A policy for the terminal: what it is for, who gets what at which budget, what is known of it; and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.text import Text

from autotts.policy import showing
from autotts.policy.schema import Policy
from autotts.policy.validate import Validated
from autotts.report.layout import NARROW, plain_text, ruled
from autotts.report.lists import facts
from autotts.report.numbers import NOTHING, amount, count, level_name, percent, plain, short
from autotts.report.result import Interval
from autotts.report.words import accuracy, difference, mixture

BASELINES = 4  # that are shown


def policy_table(policy: Policy) -> RenderableType:
    """A whole policy."""
    roles, points = showing.roles(policy), showing.points(policy)
    parts: list[RenderableType] = [facts(_about(policy)), Text(), _Roles(roles), Text(), _Frontier(points, policy.unit)]
    measured = _evidence(policy)
    return Group(*parts, *([Text(), *measured] if measured else []))


def _about(policy: Policy) -> list[tuple[str, str]]:
    made, task, default = policy.made, policy.task, policy.frontier[policy.default]
    when = [f"autotts {made.version}"] if made.version else []
    when += [made.date] if made.date else []
    rows = [
        ("made for", f"{plain(task.name)}; answers read by {plain(task.reader)}, graded by {plain(task.grader)}"),
        ("made by", plain(", ".join([*when, f"seed {made.seed}"]))),
        ("", plain(made.command)),
        ("prompts", plain(", ".join([*_prompts(policy), *([f"hash {task.prompts}"] if task.prompts else [])]))),
        ("told apart", plain(showing.told_apart(policy))),
        ("unit", policy.unit),
        (
            "default",
            f"{amount(default.expected.cost, policy.unit)} a prompt, expected to be right on "
            f"{percent(default.expected.value)} %",
        ),
        ("effort", _dial(policy)),
        ("cap", "none" if policy.cap is None else f"{amount(policy.cap, policy.unit)} a prompt, never exceeded"),
        ("controller", showing.held(policy)),
    ]
    return [row for row in rows if row[1]]


def _prompts(policy: Policy) -> list[str]:
    known = policy.evidence.get("prompts")
    counts = known.items() if isinstance(known, dict) else ()
    return [f"{count(n)} to {name}" for name, n in counts if isinstance(n, int) and not isinstance(n, bool)]


def _dial(policy: Policy) -> str:
    steps = ", ".join(f"{dial:g} is {amount(policy.effort(dial), policy.unit)}" for dial in (0.0, 0.5, 1.0))
    return f"{steps}; the default is {showing.dial_of(policy, policy.frontier[policy.default].expected.cost):.2f}"


@dataclass(frozen=True, slots=True)
class _Roles:
    roles: Sequence[showing.Role]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width < NARROW:
            for role in self.roles:
                yield Text(f"{plain(role.role)}, {role.kind}", style="bold")
                yield Padding(facts([("answers", plain(role.answers)), ("parameters", _size(role))]), (0, 0, 0, 2))
            return
        table = ruled(letters=plain_text(console, options))
        priced = any(price is not None for role in self.roles for price in role.prices)
        for name in ("role", "", "engine", "model", "parameters", *(["usd/M tokens"] if priced else [])):
            table.add_column(
                name, overflow="fold", justify="right" if name in ("parameters", "usd/M tokens") else "left"
            )
        for role in self.roles:
            cells = [plain(role.role), role.kind, plain(role.engine), plain(role.answers), _size(role)]
            table.add_row(*(Text(cell) for cell in (*cells, *([_prices(role)] if priced else []))))
        yield table


def _size(role: showing.Role) -> str:
    def shown(parameters: float | None) -> str:
        return amount(parameters, "calls").removesuffix("calls").rstrip()

    active = "" if role.active in (None, role.parameters) else f" ({shown(role.active)} active)"
    return NOTHING if role.parameters is None else shown(role.parameters) + active


def _prices(role: showing.Role) -> str:
    return "/".join(NOTHING if price is None else f"{price:g}" for price in role.prices)


@dataclass(frozen=True, slots=True)
class _Frontier:
    """The settings, each with its arms; bins that get the same stand together."""

    points: Sequence[showing.Point]
    unit: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text("Who gets what at which budget (* the default)", style="bold")
        if options.max_width < NARROW:
            for point in self.points:
                star = "*" if point.default else ""
                yield Text(f"{star}{amount(point.cost, self.unit)}, {percent(point.value)} % right", style="bold")
                yield Padding(facts(_routes(point.route)), (0, 0, 0, 2))
            return
        table = ruled(letters=plain_text(console, options))
        for name in ("effort", f"cost, {self.unit}", "right, %"):
            table.add_column(Text(name), justify="right", no_wrap=True)
        bins = any(len(point.route) > 1 for point in self.points)
        if bins:
            table.add_column("prompts", overflow="fold", max_width=16)
        table.add_column("arms", overflow="fold")
        for point in self.points:
            for i, (bin_names, arms) in enumerate(_routes(point.route)):
                star = "* " if point.default else ""
                first = (f"{star}{point.effort:.2f}", short(point.cost, self.unit), percent(point.value))
                cells = (*(first if i == 0 else ("", "", "")), *([bin_names] if bins else []), arms)
                table.add_row(*(Text(cell) for cell in cells), style="bold" if point.default else "")
        yield table


def _routes(route: Mapping[str, showing.Mixture]) -> list[tuple[str, str]]:
    """Names of bins, and the arms that they get; bins with equal arms together."""
    together: dict[str, list[str]] = {}
    for name, arms in route.items():
        together.setdefault(mixture(list(arms)), []).append(name)
    return [(_bins(names), arms) for arms, names in together.items()]


def _bins(names: Sequence[str]) -> str:
    if len(names) > 1 and all(name.isdigit() for name in names):
        return f"levels {', '.join(names)}"
    return ", ".join(map(level_name, names))


def _evidence(policy: Policy) -> list[RenderableType]:
    """What was measured on held-out prompts, as far as the file tells it in the form of this version."""
    found, rows = policy.evidence, []
    right, cost = _interval(found.get("accuracy")), found.get("cost")
    mean = cost.get("mean") if isinstance(cost, dict) else None
    if right is None:
        return []
    spent = f" at {amount(mean, policy.unit)} a prompt" if isinstance(mean, int | float) else ""
    rows.append(("this policy", f"{accuracy(right)} % right{spent}"))
    baselines = found.get("baselines")
    for entry in baselines[:BASELINES] if isinstance(baselines, list) else []:
        rows += _baseline(entry, policy.unit)
    if isinstance(verdict := found.get("verdict"), str):
        rows.append(("verdict", plain(verdict)))
    if "rebound" in found:
        rows.append(("note", "measured on other models than those it is bound to now"))
    return [Text("Measured on prompts that the search did not see (95 % intervals)", style="bold"), facts(rows)]


def _baseline(entry: Any, unit: str) -> list[tuple[str, str]]:
    found = entry if isinstance(entry, dict) else {}
    right, gap, cost = _interval(found.get("accuracy")), _interval(found.get("difference")), found.get("cost")
    mean = cost.get("mean") if isinstance(cost, dict) else None
    if right is None or not isinstance(found.get("name"), str):
        return []
    spent = f" at {amount(mean, unit)}" if isinstance(mean, int | float) else ""
    ours = "" if gap is None else f"; this policy minus it {difference(gap)} points"
    return [(plain(found["name"]), f"{percent(right.value)} %{spent}{ours}")]


def _interval(entry: Any) -> Interval | None:
    values = [entry.get(key) for key in ("value", "low", "high")] if isinstance(entry, dict) else []
    known = [float(v) if isinstance(v, int | float) and abs(v) < 1e9 else None for v in values]
    return Interval(value=known[0], low=known[1], high=known[2]) if known and known[0] is not None else None


# ---------------------------------------------------------------- validate


def validated_table(found: Validated, where: str) -> RenderableType:
    """What is wrong with a file, or that nothing is and what it holds; and what should be known of it."""
    lines: list[RenderableType] = []
    if found.policy is None:
        many = len(found.problems)
        lines.append(Text(f"{plain(where)}: {many} {'problem' if many == 1 else 'problems'}", style="bold"))
        lines += [Text(f"  {plain(problem)}") for problem in found.problems]
        if found.unread:
            lines.append(Text("There may be more behind these.", style="dim"))
        return Group(*lines)
    policy = found.policy
    bins, models = len(policy.difficulty.bins), len(policy.models) + len(policy.scorers)
    lines.append(
        Text(
            f"{plain(where)}: OK. {_many(len(policy.arms), 'arm')} of {_many(models, 'model')}, "
            f"{_many(bins, 'bin')}, {_many(len(policy.frontier), 'setting')} from "
            f"{amount(policy.effort(0.0), policy.unit)} to {amount(policy.effort(1.0), policy.unit)} a prompt"
        )
    )
    lines += [Text(f"warning: {plain(warning)}", style="dim") for warning in found.warnings]
    return Group(*lines)


def _many(number: int, what: str) -> str:
    return f"{count(number)} {what}{'' if number == 1 else 's'}"
