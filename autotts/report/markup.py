"""HTML by small functions; every text that comes from a study is escaped here, and nowhere else."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NewType

from autotts.report.numbers import plain

Html = NewType("Html", str)  # text that is markup already


def text(value: str) -> Html:
    """Any text as HTML that shows it."""
    kept = plain(value).replace(" %", "\u00a0%")  # a percent sign stays with its number
    return Html(html.escape(kept, quote=True))


def join(*parts: Html) -> Html:
    """Parts below each other."""
    return Html("\n".join(part for part in parts if part))


def element(tag: str, *inside: Html, css: str = "", **attributes: str) -> Html:
    """One element; attribute names are ours, their values anybody's."""
    given = ({"class": css} if css else {}) | {name.replace("_", "-"): value for name, value in attributes.items()}
    listed = "".join(f' {name}="{text(value)}"' for name, value in given.items())
    return Html(f"<{tag}{listed}>{''.join(inside)}</{tag}>")


@dataclass(frozen=True, slots=True)
class Column:
    """A table's column; `css` is `n` for numbers, `w` for what is not wrapped."""

    name: str
    css: str = ""


def table(columns: Sequence[Column], rows: Sequence[Sequence[Html]], css: str = "", first: str = "") -> Html:
    """A table that turns into a list on a narrow screen; `first` is the class of its first row."""
    head = element("tr", *(element("th", text(c.name), css=c.css) for c in columns))
    body = []
    for number, row in enumerate(rows):
        cells = []
        for place, (column, cell) in enumerate(zip(columns, row, strict=True)):
            name = {"data_name": column.name} if place and column.name else {}
            cells.append(element("td", cell, css=column.css, **name))
        body.append(element("tr", *cells, css=first if number == 0 else ""))
    whole = element("table", element("thead", head), element("tbody", *body), css=f"stack {css}".strip())
    return element("div", whole, css="scroll")


def definitions(pairs: Mapping[str, str]) -> Html:
    """A list of names and what they stand for; empty entries are left out."""
    return element("dl", *(element("dt", text(k)) + element("dd", text(v)) for k, v in pairs.items() if v))  # type: ignore[arg-type]


def bar(share: float) -> Html:
    """A bar filled to a share."""
    width = f"width:{100 * min(max(share, 0.0), 1.0):.1f}%"
    return element("span", element("span", style=width), css="bar")


def data(value: object) -> Html:
    """JSON that may stand inside a script element."""
    raw = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for char in ("<", ">", "&", "\u2028", "\u2029"):
        raw = raw.replace(char, f"\\u{ord(char):04x}")
    return Html(raw)
