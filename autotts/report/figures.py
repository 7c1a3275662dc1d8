"""The figures of a report in plotly's JSON form: frontier, differences at the budgets, arms of one level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autotts.report.axes import (
    ALIKE,
    OTHER,
    OURS,
    Figure,
    bars,
    cost_axis,
    inside,
    layout,
    percent_axis,
    points_axis,
    shown,
)
from autotts.report.numbers import amount, percent, plain
from autotts.report.result import Arm, Cost, Interval, Level, Result, Step
from autotts.report.words import accuracy, difference

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
    steps = sorted((s for s in found.frontier), key=lambda s: s.cost.mean or 0.0)
    ours = [s for s in (Spot(f"policy at {amount(x.budget, unit)}", x.cost, x.accuracy) for x in steps) if s.placed]
    alike = [
        s
        for s in (
            Spot(f"uniform mixture at {amount(x.budget, unit)}", x.uniform.cost, x.uniform.accuracy) for x in steps
        )
        if s.placed
    ]
    others = [s for s in baselines(found) if s.placed]
    chosen = [s for s in [Spot("the exported policy", found.cost, found.accuracy)] if s.placed]
    everything = [*ours, *alike, *others, *chosen]
    xaxis = cost_axis([s.x for s in everything], unit)
    yaxis = percent_axis(inside([s.accuracy for s in everything]), "right answers")
    data: list[Figure] = [*_band(alike), _line(alike, "uniform mixture", ALIKE, "square-open", unit, dash="dash")]
    places = _label_places(others, [*ours, *alike, *chosen], xaxis["range"], yaxis["range"])
    data += [_lettered(spot, place, unit) for spot, place in zip(others, places, strict=True)]
    data.append({**_line(ours, "our policy", OURS, "circle", unit, dash="solid"), **_bars(ours, OURS)})
    data.append(_star(chosen, unit))
    return {"data": [trace for trace in data if trace.get("x")], "layout": layout(430, xaxis, yaxis)}


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


def _lettered(spot: Spot, place: str, unit: str) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers+text",
        "name": shown(f"{spot.letter}  {spot.name}"),
        "x": [spot.x],
        "y": [spot.y],
        "text": [spot.letter],
        "textposition": place,
        "textfont": {"size": 12},
        "marker": {"color": OTHER, "size": 9, "symbol": "diamond" if spot.attainable else "diamond-open"},
        "error_y": bars([spot.accuracy], "rgba(125, 133, 142, 0.35)", 1.0),
        "hovertext": [spot.hover(unit)],
        "hoverinfo": "text",
    }


def _star(spots: Sequence[Spot], unit: str) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "the exported policy",
        "x": [s.x for s in spots],
        "y": [s.y for s in spots],
        "marker": {"color": OURS, "size": 19, "symbol": "star", "line": {"color": "#ffffff", "width": 1.5}},
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


def _label_places(spots: Sequence[Spot], marks: Sequence[Spot], xs: object, ys: object) -> list[str]:
    """For each spot the place of its letter that keeps furthest from other marks and letters, on a small screen."""
    x0, x1 = _pair(xs)
    y0, y1 = _pair(ys)

    def pixel(spot: Spot) -> tuple[float, float]:
        return (330 * (math.log10(spot.x) - x0) / (x1 - x0), 330 * (spot.y - y0) / (y1 - y0))

    taken = [pixel(s) for s in (*spots, *marks)]
    out = []
    for spot in spots:
        x, y = pixel(spot)
        rivals = [p for p in taken if p != (x, y)]

        def room(place: str, x: float = x, y: float = y, rivals: list[tuple[float, float]] = rivals) -> float:
            right, up = _PLACES[place]
            # Past 16 pixels there is room enough, and the first place in the list is the most natural one.
            return min([16.0, *(math.dist((x + right, y + up), rival) for rival in rivals)])

        best = max(_PLACES, key=room)
        taken.append((x + _PLACES[best][0], y + _PLACES[best][1]))
        out.append(best)
    return out


def _pair(bounds: object) -> tuple[float, float]:
    low, high = bounds  # type: ignore[misc]
    return float(low), float(high)


def differences(found: Result) -> Figure:
    """Ours minus the uniform mixture at each budget, with the paired interval: a forest plot."""
    steps = [s for s in found.frontier if s.difference.value is not None]
    names = [_budget_name(s, found.unit) for s in steps]
    xaxis = points_axis(inside([s.difference for s in steps]), "policy minus uniform mixture, points")
    yaxis: Figure = {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": names[::-1],
        "automargin": True,
        "showgrid": False,
        "title": {"text": "mean budget"},
        "range": [-0.6, len(names) - 0.4],
    }
    intervals = [s.difference for s in steps]
    trace: Figure = {
        "type": "scatter",
        "mode": "markers",
        "x": [100 * (i.value or 0.0) for i in intervals],
        "y": names,
        "error_x": bars(intervals, OURS, 2.0),
        "marker": {"size": 11, "color": OURS, "symbol": ["circle" if _clear(i) else "circle-open" for i in intervals]},
        "hovertext": [
            shown(f"{difference(i)} points at {amount(s.budget, found.unit)}") for s, i in zip(steps, intervals)
        ],
        "hoverinfo": "text",
    }
    zero = {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1, "line": {"color": OTHER, "width": 1}}
    return {
        "data": [trace] if steps else [],
        "layout": {**layout(90 + 36 * len(names), xaxis, yaxis), "shapes": [zero]},
    }


def _budget_name(step: Step, unit: str) -> str:
    return shown(amount(step.budget, unit)) + ("<br>(does not bind)" if step.binds is False else "")


def _clear(found: Interval) -> bool:
    """Whether the interval leaves out zero."""
    return (found.low is not None and found.low > 0) or (found.high is not None and found.high < 0)


def arms(level: Level, found: Result) -> Figure:
    """All arms of one level on the search prompts, their frontier, what was chosen, what the held-out prompts gave."""
    unit = found.unit
    everything = [a for one in found.levels for a in one.arms]
    held = [one.confirmed for one in found.levels]
    xaxis = cost_axis([a.cost or 0.0 for a in everything] + [c.cost.mean or 0.0 for c in held], unit)
    heights = [a.value for a in everything if a.value is not None] + inside([c.accuracy for c in held])
    yaxis = percent_axis(heights, "right answers")
    placed = [a for a in level.arms if a.value is not None and a.cost is not None and a.cost > 0]
    on = sorted((a for a in placed if a.frontier), key=lambda a: a.cost or 0.0)
    data = [
        _arm_marks([a for a in placed if a.free], "free", unit, size=6, symbol="circle-open", color=OTHER),
        _arm_marks([a for a in placed if not a.free], "raced", unit, size=6, symbol="circle", color=OTHER),
        {
            **_arm_marks(on, "frontier", unit),
            "mode": "lines",
            "line": {"color": OTHER, "width": 1.5},
            "hoverinfo": "skip",
        },
        _arm_marks(
            [a for a in placed if a.chosen > 0], "chosen", unit, size=13, symbol="diamond-open", color=OURS, width=3
        ),
        _held_out(level, unit),
    ]
    return {"data": [trace for trace in data if trace.get("x")], "layout": layout(270, xaxis, yaxis)}


def _arm_marks(
    marks: Sequence[Arm],
    name: str,
    unit: str,
    *,
    size: int = 6,
    symbol: str = "circle",
    color: str = OTHER,
    width: int = 1,
) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [a.cost for a in marks],
        "y": [100 * (a.value or 0.0) for a in marks],
        "marker": {"size": size, "symbol": symbol, "color": color, "line": {"width": width, "color": color}},
        "hovertext": [_arm_hover(a, unit) for a in marks],
        "hoverinfo": "text",
    }


def _arm_hover(arm: Arm, unit: str) -> str:
    estimate = Interval(value=arm.value, low=arm.low, high=arm.high)
    lines = [f"<b>{shown(arm.arm)}</b>", shown(f"{accuracy(estimate)} % right on the search prompts")]
    lines.append(shown(f"mean cost {amount(arm.cost, unit)}"))
    kind = "computed from shared draws" if arm.free else "raced"
    lines.append(kind if arm.chosen <= 0 else f"{kind}; {percent(arm.chosen)} % of this level's prompts get it")
    return "<br>".join(lines)


def _held_out(level: Level, unit: str) -> Figure:
    spots = [
        s for s in [Spot("policy on held-out prompts", level.confirmed.cost, level.confirmed.accuracy)] if s.placed
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "held out",
        "x": [s.x for s in spots],
        "y": [s.y for s in spots],
        "marker": {"color": OURS, "size": 14, "symbol": "star"},
        "hovertext": [s.hover(unit) for s in spots],
        "hoverinfo": "text",
        **_bars(spots, OURS),
    }
