"""One self-contained HTML page of a study's result, to be shown to a colleague; it loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from autotts.errors import InputError
from autotts.report import compared, sections
from autotts.report.axes import Figure
from autotts.report.figures import arms, differences
from autotts.report.markup import Html, data, element, join, text
from autotts.report.plane import frontier
from autotts.report.predictor import told_apart
from autotts.report.result import Result, read
from autotts.report.style import CSS, SCRIPT
from autotts.report.tried import tried

# The browser itself then refuses any request, whatever a name in the study may contain.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


def write_page(result: Mapping[str, object], path: Path | str) -> None:
    """Write `report.html` of a `result.json`.

    Raises
    ------
    InputError
        When the result is not one, or the file cannot be written.
    """
    page = render(read(result))
    try:
        Path(path).write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"report: expected to write {path}, found: {error.strerror or error}; choose a folder that is writable"
        ) from error


def render(found: Result) -> str:
    """The page as text."""
    from plotly.offline import get_plotlyjs

    figures = _figures(found)
    body = element(
        "main",
        sections.headline(found),
        sections.plane(found) if "frontier" in figures else Html(""),
        compared.baselines(found),
        compared.budgets(found, drawn="differences" in figures),
        compared.routing(found),
        told_apart(found.difficulty),
        sections.route(found),
        sections.levels(found),
        sections.spent(found),
        tried(found),
        sections.reading(found),
        sections.provenance(found),
    )
    scripts = join(
        element("script", data(figures), type="application/json", id="figures"),
        Html(f"<script>{get_plotlyjs()}</script>"),
        Html(f"<script>{SCRIPT}</script>"),
    )
    head = join(
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", text(f"{found.study}: autotts report")),
        Html(f"<style>{CSS}</style>"),
    )
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n{scripts}\n</body>\n</html>\n'


def _figures(found: Result) -> dict[str, Figure]:
    """The figures that have something to show, by the id of their place in the page."""
    drawn = {"frontier": frontier(found), "differences": differences(found)}
    drawn |= {sections.level_id(index): arms(level, found) for index, level in enumerate(found.levels)}
    return {name: figure for name, figure in drawn.items() if figure["data"] or name.startswith("level")}
