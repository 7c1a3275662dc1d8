"""The smaller figures of a report in plotly's JSON form: differences at the budgets, arms of one level."""

from __future__ import annotations

from collections.abc import Sequence

from autotts.report.axes import (
    OTHER,
    OURS,
    Figure,
    bars,
    cost_axis,
    cost_bounds,
    inside,
    layout,
    percent_axis,
    percent_bounds,
    points_axis,
    shown,
)
from autotts.report.numbers import amount, percent
from autotts.report.plane import Spot, star
from autotts.report.result import Arm, Interval, Level, Result, Step
from autotts.report.words import accuracy, difference


def differences(found: Result) -> Figure:
    """Ours minus the uniform mixture at each budget, with the paired interval: a forest plot."""
    steps = [s for s in found.frontier if s.difference.value is not None]
    rows = list(range(len(steps)))[::-1]  # the first budget stands on top
    intervals = [s.difference for s in steps]
    xaxis = points_axis(inside(intervals), "policy minus uniform mixture, points")
    yaxis: Figure = {
        "tickvals": rows,
        "ticktext": [_budget_name(s, found.unit) for s in steps],
        "automargin": True,
        "showgrid": False,
        "zeroline": False,
        "range": [-0.6, len(steps) - 0.4],
    }
    trace: Figure = {
        "type": "scatter",
        "mode": "markers",
        "x": [100 * (i.value or 0.0) for i in intervals],
        "y": rows,
        "error_x": bars(intervals, OURS, 2.0),
        "marker": {"size": 11, "color": OURS, "symbol": ["circle" if _clear(i) else "circle-open" for i in intervals]},
        "hovertext": [shown(f"{difference(s.difference)} points at {amount(s.budget, found.unit)}") for s in steps],
        "hoverinfo": "text",
    }
    zero = {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1, "line": {"color": OTHER, "width": 1}}
    ground = layout(90 + 36 * len(steps), xaxis, yaxis)
    return {"data": [trace] if steps else [], "layout": {**ground, "shapes": [zero]}}


def _budget_name(step: Step, unit: str) -> str:
    return shown(amount(step.budget, unit)) + ("<br>(does not bind)" if step.binds is False else "")


def _clear(found: Interval) -> bool:
    """Whether the interval leaves out zero."""
    return (found.low is not None and found.low > 0) or (found.high is not None and found.high < 0)


def arms(level: Level, found: Result) -> Figure:
    """All arms of one level on the search prompts, their frontier, what was chosen, what the held-out prompts gave."""
    unit = found.unit
    placed = [a for a in level.arms if a.value is not None and a.cost is not None and a.cost > 0]
    held = level.confirmed.accuracy
    # All levels share one cost axis; each has its own accuracies, or the easy ones would be a line at the top.
    costs = [a.cost or 0.0 for one in found.levels for a in one.arms]
    xs = cost_bounds(costs + [one.confirmed.cost.mean or 0.0 for one in found.levels])
    ys = percent_bounds([a.value or 0.0 for a in placed] + inside([held]))
    on = sorted((a for a in placed if a.frontier), key=lambda a: a.cost or 0.0)
    data = [
        _arm_marks([a for a in placed if a.free], "free", found, size=6, symbol="circle-open", color=OTHER),
        _arm_marks([a for a in placed if not a.free], "raced", found, size=6, symbol="circle", color=OTHER),
        {
            **_arm_marks(on, "frontier", found),
            "mode": "lines",
            "line": {"color": OTHER, "width": 1.5},
            "hoverinfo": "skip",
        },
        _arm_marks(
            [a for a in placed if a.chosen > 0], "chosen", found, size=13, symbol="diamond-open", color=OURS, width=3
        ),
        _held_out(level, found),
    ]
    return {
        "data": [trace for trace in data if trace.get("x")],
        "layout": layout(270, cost_axis(xs, unit, most=5), percent_axis(ys)),
    }


def _arm_marks(
    marks: Sequence[Arm],
    name: str,
    found: Result,
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
        "hovertext": [_arm_hover(a, found) for a in marks],
        "hoverinfo": "text",
    }


def _arm_hover(arm: Arm, found: Result) -> str:
    where = "the search prompts" if found.crossfit is None else "all prompts"
    estimate = Interval(value=arm.value, low=arm.low, high=arm.high)
    lines = [f"<b>{shown(arm.arm)}</b>", shown(f"{accuracy(estimate)} % right on {where}")]
    lines.append(shown(f"mean cost {amount(arm.cost, found.unit)}"))
    kind = "computed from shared draws" if arm.free else "raced"
    lines.append(kind if arm.chosen <= 0 else f"{kind}; {percent(arm.chosen)} % of this level's prompts get it")
    return "<br>".join(lines)


def _held_out(level: Level, found: Result) -> Figure:
    where = "held-out prompts" if found.crossfit is None else "prompts that it was not chosen on"
    spot = Spot(f"policy on {where}", level.confirmed.cost, level.confirmed.accuracy)
    return {**star([spot] if spot.placed else [], found.unit), "name": "held out"}
