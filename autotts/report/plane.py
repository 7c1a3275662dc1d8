"""The cost-accuracy plane of a result in plotly's JSON form: policy, uniform mixture, baselines with their letters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autotts.report.axes import (
    ALIKE,
    OTHER,
    OURS,
    Bounds,
    Figure,
    bars,
    cost_axis,
    cost_bounds,
    inside,
    layout,
    percent_axis,
    percent_bounds,
    shown,
)
from autotts.report.numbers import amount, plain
from autotts.report.result import Cost, Interval, Result
from autotts.report.words import accuracy

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def letter(index: int) -> str:
    """The letter of the baseline with this index: A to Z, then AA, AB, ..."""
    return LETTERS[index] if index < 26 else letter(index // 26 - 1) + LETTERS[index % 26]


@dataclass(frozen=True, slots=True)
class Spot:
    """Something with a place in the cost-accuracy plane."""

    name: str
    cost: Cost
    accuracy: Interval
    letter: str = ""
    attainable: bool = True

    @property
    def placed(self) -> bool:
        """Whether it can stand on a logarithmic cost axis."""
        return self.cost.mean is not None and self.cost.mean > 0 and self.accuracy.value is not None

    @property
    def x(self) -> float:
        return self.cost.mean or 0.0

    @property
    def y(self) -> float:
        return 100 * (self.accuracy.value or 0.0)

    def hover(self, unit: str) -> str:
        lines = [f"<b>{shown(self.name)}</b>", shown(f"{accuracy(self.accuracy)} % right")]
        lines.append(shown(f"mean cost {amount(self.cost.mean, unit)}, p95 {amount(self.cost.p95, unit)}"))
        return "<br>".join(lines)


def baselines(found: Result) -> list[Spot]:
    """The baselines with their letters, in the order of the result."""
    return [
        Spot(plain(b.name), b.cost, b.accuracy, letter(index), b.attainable) for index, b in enumerate(found.baselines)
    ]


def frontier(found: Result) -> Figure:
    """Accuracy over mean cost: the policy at the budgets, the uniform mixture, the baselines, the chosen point."""
    unit = found.unit
    steps = sorted(found.frontier, key=lambda s: s.cost.mean or 0.0)
    ours = _placed(Spot(f"policy at {amount(s.budget, unit)}", s.cost, s.accuracy) for s in steps)
    alike = _placed(
        Spot(f"uniform mixture at {amount(s.budget, unit)}", s.uniform.cost, s.uniform.accuracy) for s in steps
    )
    best = _placed(
        Spot(f"perfect knowledge at {amount(s.budget, unit)}", s.oracle.cost, s.oracle.accuracy) for s in steps
    )
    others = _placed(baselines(found))
    chosen = _placed([Spot("the exported policy", found.cost, found.accuracy)])
    everything = [*ours, *alike, *best, *others, *chosen]
    xs, ys = cost_bounds([s.x for s in everything]), percent_bounds(inside([s.accuracy for s in everything]))
    data = [
        *_band(alike),
        _line(alike, "uniform mixture", ALIKE, "square-open", unit, dash="dash"),
        _line(best, "perfect knowledge (not attainable)", OTHER, "diamond-open", unit, dash="dot"),
        *(_baseline(spot, unit) for spot in others),
        {**_line(ours, "our policy", OURS, "circle", unit, dash="solid"), **_bars(ours, OURS)},
        star(chosen, unit),
        # Letters come last, on top of all marks.
        _letters(others, _label_places(others, [*ours, *alike, *best], chosen, (xs, ys))),
    ]
    axes = (cost_axis(xs, unit), percent_axis(ys))
    return {"data": [trace for trace in data if trace.get("x")], "layout": layout(430, *axes)}


def _placed(spots: Iterable[Spot]) -> list[Spot]:
    return [s for s in spots if s.placed]


def _bars(spots: Sequence[Spot], colour: str) -> Figure:
    return {"error_y": bars([s.accuracy for s in spots], colour)}


def _line(spots: Sequence[Spot], name: str, colour: str, symbol: str, unit: str, *, dash: str) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": [s.x for s in spots],
        "y": [s.y for s in spots],
        "line": {"color": colour, "width": 2, "dash": dash},
        "marker": {"color": colour, "size": 8, "symbol": symbol},
        "hovertext": [s.hover(unit) for s in spots],
        "hoverinfo": "text",
    }


def _band(spots: Sequence[Spot]) -> list[Figure]:
    """The interval of the uniform mixture as a band, so that its bars do not stand on ours."""
    known = [s for s in spots if s.accuracy.low is not None and s.accuracy.high is not None]
    common: Figure = {"type": "scatter", "mode": "lines", "x": [s.x for s in known], "line": {"width": 0}}
    common |= {"hoverinfo": "skip", "showlegend": False}
    low: Figure = {**common, "y": [100 * (s.accuracy.low or 0.0) for s in known]}
    high: Figure = {**common, "y": [100 * (s.accuracy.high or 0.0) for s in known]}
    return [low, {**high, "fill": "tonexty", "fillcolor": "rgba(200, 112, 26, 0.14)"}]


def _baseline(spot: Spot, unit: str) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": shown(f"{spot.letter}  {spot.name}"),
        "x": [spot.x],
        "y": [spot.y],
        "marker": {"color": OTHER, "size": 9, "symbol": "diamond" if spot.attainable else "diamond-open"},
        "error_y": bars([spot.accuracy], "rgba(125, 133, 142, 0.35)", 1.0),
        "hovertext": [spot.hover(unit)],
        "hoverinfo": "text",
    }


def _letters(spots: Sequence[Spot], places: Sequence[str]) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers+text",
        "marker": {"size": 9, "opacity": 0},  # keeps the letters at a mark's distance
        "x": [s.x for s in spots],
        "y": [s.y for s in spots],
        "text": [s.letter for s in spots],
        "textposition": list(places),
        "textfont": {"size": 12},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def star(spots: Sequence[Spot], unit: str) -> Figure:
    """What the held-out prompts gave the exported policy."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "the exported policy",
        "x": [s.x for s in spots],
        "y": [s.y for s in spots],
        "marker": {"color": OURS, "size": 17, "symbol": "star", "line": {"color": "#ffffff", "width": 1.5}},
        "hovertext": [s.hover(unit) for s in spots],
        "hoverinfo": "text",
        **_bars(spots, OURS),
    }


# Where a label may stand beside its mark, in pixels right and up, as plotly puts it.
_PLACES = {
    "top center": (0, 15),
    "bottom center": (0, -15),
    "middle right": (14, 0),
    "middle left": (-14, 0),
    "top right": (12, 12),
    "top left": (-12, 12),
    "bottom right": (12, -12),
    "bottom left": (-12, -12),
}


def _label_places(
    spots: Sequence[Spot], marks: Sequence[Spot], stars: Sequence[Spot], bounds: tuple[Bounds, Bounds]
) -> list[str]:
    """For each spot the place of its letter that keeps furthest from other marks and letters, on a small screen."""
    (x0, x1), (y0, y1) = bounds

    def pixel(spot: Spot) -> tuple[float, float]:
        return (330 * (math.log10(spot.x) - x0) / (x1 - x0), 330 * (spot.y - y0) / (y1 - y0))

    taken = [pixel(s) for s in (*spots, *marks)]
    # A star is larger than other marks: its four tips count.
    taken += [(x + dx, y + dy) for x, y in map(pixel, stars) for dx, dy in ((7, 0), (-7, 0), (0, 7), (0, -7))]
    out = []
    for spot in spots:
        x, y = pixel(spot)
        # Past 16 pixels there is room enough, and the first place in the list is the most natural one.
        room = {
            place: min([16.0, *(math.dist((x + right, y + up), other) for other in taken if other != (x, y))])
            for place, (right, up) in _PLACES.items()
        }
        best = max(room, key=lambda place: room[place])
        taken.append((x + _PLACES[best][0], y + _PLACES[best][1]))
        out.append(best)
    return out
