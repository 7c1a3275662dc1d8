"""Axes and marks that the figures share: a logarithmic cost axis, interval bars, text that is never markup."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Sequence
from typing import TypeAlias

from autotts.report.numbers import plain, short
from autotts.report.result import Interval

Bounds: TypeAlias = tuple[float, float]
Figure: TypeAlias = dict[str, object]  # plotly's own form: {"data": [...], "layout": {...}}

# Told apart by people who see colours differently, and at least 3:1 on white and on near-black.
OURS = "#2f7ec7"
ALIKE = "#c8701a"
OTHER = "#7d858e"
GRID = "rgba(125, 133, 142, 0.25)"
INK = "#7d858e"


def shown(text: str, width: int = 48) -> str:
    """Text for plotly, which reads a part of HTML: escaped, and broken where it is long."""
    return "<br>".join(html.escape(part) for part in textwrap.wrap(plain(text), width)) or "-"


def span(values: Sequence[float], pad: float) -> Bounds:
    """Lowest and highest value, with room on both sides."""
    if not values:
        return (0.0, 1.0)
    low, high = min(values), max(values)
    room = (high - low) * pad or 0.5 * pad
    return (low - room, high + room)


def cost_bounds(costs: Sequence[float]) -> Bounds:
    """Logarithms of the lowest and highest cost, with room; costs of zero cannot stand on the axis."""
    low, high = span([math.log10(cost) for cost in costs if cost > 0], 0.06)
    return (low, high) if high - low >= 0.6 else (low - 0.3, high + 0.3)  # one point: room for a tick or two


def cost_axis(bounds: Bounds, unit: str, most: int = 7) -> Figure:
    """A logarithmic axis, labelled as people read amounts, with at most so many ticks."""
    ticks = _ticks(*bounds, most)
    return {
        **_axis(f"mean cost per prompt, {plain(unit)} (logarithmic)"),
        "type": "log",
        "range": list(bounds),
        "tickangle": 0,
        "tickvals": ticks,
        "ticktext": [shown(short(tick, unit)) for tick in ticks],
    }


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Powers of ten, or more or fewer than these, as the range needs.

    The smallest parts of units are powers of ten, so round parts are round amounts.
    """
    for steps in ((1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0), (1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
        ticks = [
            step * 10.0**power
            for power in range(math.floor(low) - 1, math.ceil(high) + 1)
            for step in steps
            if low <= math.log10(step) + power <= high
        ]
        if len(ticks) <= most:
            return ticks
    stride = math.ceil(len(ticks) / most)
    return ticks[::stride]


def percent_bounds(shares: Sequence[float]) -> Bounds:
    """Lowest and highest share in percent, with room, but not past 0 or 100 by more than a mark's size."""
    low, high = span([100 * share for share in shares], 0.08)
    return (max(low, -2.0), min(high, 102.0))


def percent_axis(bounds: Bounds) -> Figure:
    """An axis of right answers in percent."""
    return {**_axis("right answers"), "range": list(bounds), "ticksuffix": " %", "nticks": 7}


def points_axis(differences: Sequence[float], title: str) -> Figure:
    """An axis of points (percent of prompts) over differences of shares; zero is always on it."""
    low, high = span([100 * x for x in (0.0, *differences)], 0.1)
    return {**_axis(title), "range": [low, high], "nticks": 6}


def _axis(title: str) -> Figure:
    return {
        "title": {"text": html.escape(title), "font": {"size": 12}, "standoff": 8},
        "gridcolor": GRID,
        "zeroline": False,
        "automargin": True,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": GRID,
        "fixedrange": False,
    }


def layout(height: int, xaxis: Figure, yaxis: Figure) -> Figure:
    """What all figures have in common: no ground of their own, so that they fit a light and a dark page."""
    return {
        "height": height,
        "margin": {"l": 56, "r": 14, "t": 14, "b": 52},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 12, "color": INK},
        "hoverlabel": {"align": "left", "font": {"size": 12}},
        "hovermode": "closest",
        "showlegend": False,
        "xaxis": xaxis,
        "yaxis": yaxis,
    }


def bars(intervals: Sequence[Interval], colour: str, thickness: float = 1.5) -> Figure:
    """Error bars, in percent, around values that have an interval."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [_reach(i.value, i.high) for i in intervals],
        "arrayminus": [_reach(i.low, i.value) for i in intervals],
        "color": colour,
        "thickness": thickness,
        "width": 3,
    }


def _reach(low: float | None, high: float | None) -> float:
    return 0.0 if low is None or high is None else max(0.0, 100 * (high - low))


def inside(intervals: Sequence[Interval]) -> list[float]:
    """All the numbers of the intervals that are there."""
    return [x for i in intervals for x in (i.value, i.low, i.high) if x is not None]
