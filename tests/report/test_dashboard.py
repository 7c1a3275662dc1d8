"""The frontier as a plotly figure: every series is where the result says, on a logarithmic cost axis."""

from __future__ import annotations

import math

import pytest

from autotts.report.dashboard import frontier_figure
from tests.report import synthetic


def test_frontier_figure_holds_every_point_at_its_place() -> None:
    result = synthetic.result()
    traces = {trace.name: trace for trace in frontier_figure(result).data if trace.name}
    ours = traces["our policy"]
    assert list(ours.x) == [step["cost"]["mean"] for step in result["frontier"]]
    assert list(ours.y) == pytest.approx([100 * step["accuracy"]["value"] for step in result["frontier"]])
    assert list(ours.error_y.array) == pytest.approx([2.7] * 5)
    assert list(traces["the exported policy"].x) == [result["cost"]["mean"]]
    assert len(traces) == 3 + len(result["baselines"])
    assert next(t for name, t in traces.items() if name.endswith("one draw of L")).y[0] == pytest.approx(90.0, abs=0.1)


@pytest.mark.parametrize("case", ["result", "without_levels", "bare", "nulls", "hostile"])
def test_all_points_are_inside_the_axes(case: str) -> None:
    figure = frontier_figure(getattr(synthetic, case)())
    (left, right), (low, high) = figure.layout.xaxis.range, figure.layout.yaxis.range
    for trace in figure.data:
        assert all(left < math.log10(x) < right for x in trace.x)
        assert all(low < y < high for y in trace.y)
    assert 1 <= len(figure.layout.xaxis.tickvals) <= 7


def test_letters_do_not_stand_on_each_other() -> None:
    letters = next(trace for trace in frontier_figure(synthetic.result()).data if trace.mode == "markers+text")
    assert list(letters.text) == list("ABCDEFGHIJK")
    # G and I are a few pixels apart: their letters go to different sides.
    places = dict(zip(letters.text, letters.textposition))
    assert places["G"] != places["I"]
