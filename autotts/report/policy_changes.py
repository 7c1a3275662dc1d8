"""For the terminal: how two policies differ, why a prompt gets its arm, and what was bound to other models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.text import Text

from autotts.policy.diff import At, Diff, Side, Tried
from autotts.policy.explain import Considered, Explained
from autotts.policy.rebind import Rebound
from autotts.report.layout import NARROW, plain_text, ruled
from autotts.report.lists import facts
from autotts.report.numbers import NOTHING, amount, count, level_name, percent, plain, share_text, short, signed
from autotts.report.words import mixture

ARMS = 8  # that are shown of those considered
SLIGHT = 0.005  # of a chance that is not shown
PROMPT = 60  # characters that are shown of a prompt


# ---------------------------------------------------------------- diff


def diff_table(found: Diff) -> RenderableType:
    """Two policies beside each other."""
    if found.equal:
        return Text("The two policies are equal.")
    parts: list[RenderableType] = []
    if not found.comparable:
        old, new = map(plain, found.units)
        parts.append(Text(f"Their costs cannot be compared: one counts in {old}, the other in {new}."))
    if found.routes:
        parts.append(Text("They decide alike about every prompt, at every budget; what differs is this:"))
    rows = [(plain(what), f"{plain(old)} -> {plain(new)}") for what, old, new in found.facts]
    rows += [("arm added" if i == 0 else "", plain(arm)) for i, arm in enumerate(found.added)]
    rows += [("arm gone" if i == 0 else "", plain(arm)) for i, arm in enumerate(found.removed)]
    parts += [facts(rows)] if rows else []
    if found.points:
        parts += [Text(), _Points(found), *_bins(found.points[0], found.units)]
    return Group(*parts, *(_tried(found.tried, found.units) if found.tried is not None else []))


@dataclass(frozen=True, slots=True)
class _Points:
    found: Diff

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        old, new = self.found.units
        yield Text("Expected over all prompts, before -> after", style="bold")
        if options.max_width < NARROW:
            yield facts([(at.name, f"{_right(at)} %, {_cost(at, old, new)}") for at in self.found.points])
            return
        table = ruled(letters=plain_text(console, options))
        for name in ("at", "right, %", "points", "cost a prompt", "change"):
            table.add_column(Text(name), justify="left" if name == "at" else "right", no_wrap=True)
        for at in self.found.points:
            gap = signed(at.after[0] - at.before[0])
            more = _change(at.before[1], at.after[1]) if self.found.comparable else NOTHING
            table.add_row(*map(Text, (at.name, _right(at), gap, _cost(at, old, new), more)))
        yield table


def _right(at: At) -> str:
    return f"{percent(at.before[0])} -> {percent(at.after[0])}"


def _cost(at: At, old: str, new: str) -> str:
    return f"{amount(at.before[1], old)} -> {amount(at.after[1], new)}"


def _change(before: float, after: float) -> str:
    return f"{100 * (after / before - 1):+.0f} %" if before > 0 else NOTHING


def _bins(at: At, units: tuple[str, str]) -> list[RenderableType]:
    """Bins whose arms change where no budget is given."""
    if at.bins is None:
        return [Text("Bins are not compared: the two tell prompts apart in other ways.", style="dim")]
    if not at.bins:
        return [Text("At their defaults no bin changes its arms.", style="dim")]
    parts: list[RenderableType] = [Text(), Text("Who gets something else, at the defaults", style="bold")]
    for changed in at.bins:
        parts.append(Text(level_name(changed.bin)))
        rows = [("before", _side(changed.before, units[0])), ("after", _side(changed.after, units[1]))]
        parts.append(Padding(facts(rows), (0, 0, 0, 2)))
    return parts


def _side(side: Side, unit: str) -> str:
    known = "" if side.value is None else f": {percent(side.value)} % at {amount(side.cost, unit)}"
    return f"{mixture(list(side.arms))}{known}"


def _tried(tried: Tried, units: tuple[str, str]) -> list[RenderableType]:
    share = share_text(tried.changed / tried.prompts) if tried.prompts else NOTHING
    rows = [
        ("prompts", f"{count(tried.prompts)}; {count(tried.changed)} of them ({share}) get another arm"),
        (
            "cost",
            f"{amount(tried.cost_before, units[0])} -> {amount(tried.cost_after, units[1])} a prompt, as expected",
        ),
    ]
    parts: list[RenderableType] = [Text(), Text("On these prompts, at the defaults", style="bold"), facts(rows)]
    for example in tried.examples:
        parts.append(Text(_quoted(example.prompt)))
        parts.append(Padding(facts([("before", plain(example.before)), ("after", plain(example.after))]), (0, 0, 0, 2)))
    return parts


def _quoted(prompt: str) -> str:
    shown = plain(prompt)
    return repr(shown if len(shown) <= PROMPT else shown[: PROMPT - 3] + "...")


# ---------------------------------------------------------------- explain


def explained_table(found: Explained, prompt: str) -> RenderableType:
    """Why a prompt gets its arm."""
    unit = found.unit
    rows = [
        ("prompt", f"{_quoted(prompt)}, {count(found.characters)} characters"),
        ("budget", f"{amount(found.budget, unit)} a prompt on average, effort {found.effort:.2f}"),
        ("arm", plain(found.arm)),
        ("why", plain(found.why)),
        ("expected", f"{percent(found.value)} % right at {amount(found.cost, unit)}"),
        ("cap", found.cap),
    ]
    if len(found.probabilities) > 1:
        chances = sorted(found.probabilities.items(), key=lambda item: -item[1])[:ARMS]
        told = [f"{level_name(name)} {100 * p:.0f} %" for name, p in chances if p >= SLIGHT or name == found.bin]
        rows.insert(2, ("difficulty", f"{', '.join(told)}{'' if len(told) == len(chances) else '; others less'}"))
    if found.unlike:
        rows.append(("careful", f"this prompt looks unlike those of the study: {plain(found.unlike)}"))
    return Group(facts(rows), Text(), _Considered(found), Text(), _Features(found))


@dataclass(frozen=True, slots=True)
class _Considered:
    found: Explained

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        found = self.found
        worth = any(one.worth is not None for one in found.considered)
        which = "this prompt" if worth or len(found.probabilities) < 2 else level_name(found.bin)
        yield Text(f"Arms for {which} (* taken)", style="bold")
        if options.max_width < NARROW:
            for one in _shown(found):
                yield Text(f"{'* ' if one.chosen else ''}{plain(one.arm)}", style="bold" if one.chosen else "")
                yield Padding(
                    facts([("expected", f"{percent(one.value)} % at {amount(one.cost, found.unit)}")]), (0, 2)
                )
            return
        table = ruled(letters=plain_text(console, options))
        table.add_column("", no_wrap=True)
        table.add_column("arm", overflow="fold")
        for name in ("right, %", f"cost, {found.unit}", "worth, %" if worth else "share"):
            table.add_column(Text(name), justify="right", no_wrap=True)
        for one in _shown(found):
            last = percent(one.worth) if worth else share_text(one.share) if one.share else NOTHING
            cells = ("*" if one.chosen else "", plain(one.arm), percent(one.value), short(one.cost, found.unit), last)
            table.add_row(*(Text(cell) for cell in cells), style="bold" if one.chosen else "")
        yield table
        if len(found.considered) > ARMS:
            yield Text(f"and {len(found.considered) - ARMS} more", style="dim")
        if worth:
            yield Text("worth: the chance of a right answer, less what its cost is worth at this budget", style="dim")


def _shown(found: Explained) -> Sequence[Considered]:
    return found.considered[:ARMS]


@dataclass(frozen=True, slots=True)
class _Features:
    found: Explained

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        found = self.found
        if not found.features:
            yield Text("Nothing of the prompt is looked at.", style="dim")
            return
        to = "that level" if len(found.probabilities) > 1 else "that arm being right"
        yield Text(f"What it looks like (what speaks most for or against {to})", style="bold")
        table = ruled(letters=plain_text(console, options))
        for name in ("feature", "value", "usual", "speaks"):
            table.add_column(name, justify="left" if name in ("feature", "speaks") else "right", no_wrap=True)
        for one in found.features:
            low, high = one.usual
            leans = f"{'for' if one.leans > 0 else 'against'} ({one.leans:+.2f})" if one.leans else "-"
            cells = (one.name, f"{one.value:.4g}", f"{low:.3g} to {high:.3g}", leans + (", odd" if one.outside else ""))
            table.add_row(*map(Text, cells))
        yield table


# ---------------------------------------------------------------- rebind


def rebound_table(found: Rebound) -> RenderableType:
    """What was bound to what, and what should be known of it."""
    rows = []
    for one in found.moved:
        name = one.role if one.role == one.to else f"{one.role} -> {one.to}"
        rows.append((plain(name), f"{plain(one.answers_before)} -> {plain(one.answers_after)}"))
    notes = [Text(f"note: {plain(note)}", style="dim") for note in found.notes]
    return Group(facts(rows), *notes)
