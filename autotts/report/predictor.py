"""How prompts are told apart before the first draw: what was taken and why, and how well it predicts out of fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.text import Text

from autotts.report.layout import NARROW, plain_text, ruled
from autotts.report.markup import Column, Html, element, join, table, text
from autotts.report.numbers import NOTHING, count, percent, plain
from autotts.report.result import Difficulty, Scored

NAMES = {"performance": "routing by prompt", "levels": "bins predicted from the prompt", "none": "none of these"}
FIGURES = ("log loss", "calibration error, points", "gain, nats")
TITLE = "How prompts are told apart"
ABOUT = (
    "How well each candidate predicts the chance of a right answer, on prompts that it was not learned from. The gain "
    "is what it saves of the log loss of a constant chance for each arm; an interval that holds zero is noise. The "
    "calibration error is how far predicted chances are from the shares that came true."
)


def told_apart(found: Difficulty) -> Html:
    """The section of the page; empty where nothing was learned of prompts."""
    known = found.predictor
    if known is None and not found.why:
        return Html("")
    said = element("ul", *(element("li", text(line)) for line in (found.why, *facts(found)) if line))
    scores = [] if known is None else known.scores
    columns = [Column("candidate"), *(Column(name, "n") for name in FIGURES)]
    rows = [[text(_name(found, row)), *map(text, figures(row))] for row in scores]
    about = join(element("p", text(ABOUT), css="soft"), table(columns, rows)) if rows else Html("")
    return join(element("h2", text(TITLE)), said, about)


def predictor_table(found: Difficulty, told: Sequence[str] = ()) -> RenderableType:
    """The same for the terminal; what is `told` there already is not said again."""
    return _Predictor(found, tuple(told))


@dataclass(frozen=True, slots=True)
class _Predictor:
    found: Difficulty
    told: tuple[str, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        found = self.found
        yield Text(TITLE, style="bold")
        for line in (found.why, *facts(found)):
            if line and line not in self.told:
                yield Text(plain(line), style="dim")
        scores = [] if found.predictor is None else found.predictor.scores
        if not scores:
            return
        yield Text(ABOUT, style="dim")
        yield Text()
        if options.max_width < NARROW:
            for row in scores:
                lines = [Text(f"{name} {cell}") for name, cell in zip(FIGURES, figures(row), strict=True)]
                yield Group(Text(_name(found, row)), Padding(Group(*lines), (0, 0, 0, 2)))
            return
        shown = ruled(letters=plain_text(console, options))
        shown.add_column("candidate", overflow="fold")
        for name in FIGURES:
            shown.add_column(Text(name.replace(", ", ",\n")), justify="right", no_wrap=True)
        for row in scores:
            shown.add_row(Text(_name(found, row)), *map(Text, figures(row)))
        yield shown


def facts(found: Difficulty) -> list[str]:
    """What was decided on parts of the prompts, and what was learned."""
    out = []
    if found.folds:
        kinds = sorted(found.folds.items(), key=lambda item: -item[1])
        ways = ", ".join(f"{NAMES.get(kind, plain(kind))} in {count(times)}" for kind, times in kinds)
        out.append(f"Each fold decided for itself, on its own prompts: {ways}")
    known = found.predictor
    if known is not None and known.why:
        learned = f"learned from {count(known.prompts)} prompts and {count(known.arms)} arms"
        out.append(f"The predictor, {learned}, is of the kind {plain(known.kind)}: {plain(known.why)}")
    return out


def figures(row: Scored) -> tuple[str, str, str]:
    """Log loss, calibration error and gain of a candidate: `0.5123`, `1.9`, `+0.031 (+0.020 to +0.042)`."""
    loss = NOTHING if row.log_loss is None else f"{row.log_loss:.4f}"
    gain = NOTHING if row.gain is None else _nats(row.gain)
    if row.gain is not None and row.gain_low is not None and row.gain_high is not None:
        gain += f" ({_nats(row.gain_low)} to {_nats(row.gain_high)})"
    return loss, percent(row.calibration_error), gain


def _nats(gain: float) -> str:
    """With its sign; zero has none."""
    shown = f"{gain:+.4f}"
    return shown[1:] if float(shown) == 0 else shown


def _name(found: Difficulty, row: Scored) -> str:
    name = plain(row.name)
    return f"{name}, chosen" if found.predictor is not None and row.name == found.predictor.kind else name
