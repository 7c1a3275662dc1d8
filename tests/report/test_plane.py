"""The cost-accuracy plane: every series is where the result says, on a logarithmic cost axis."""

from __future__ import annotations

import math
from typing import Any

import pytest

from autotts.report.plane import frontier
from autotts.report.result import read
from tests.report import synthetic


def drawn(result: synthetic.Json) -> tuple[dict[str, Any], Any]:
    """The traces by name, and the layout."""
    figure: Any = frontier(read(result))
    return {trace["name"]: trace for trace in figure["data"] if "name" in trace}, figure["layout"]


def test_every_point_is_at_its_place() -> None:
    result = synthetic.result()
    traces, _ = drawn(result)
    ours = traces["our policy"]
    assert ours["x"] == [step["cost"]["mean"] for step in result["frontier"]]
    assert ours["y"] == pytest.approx([100 * step["accuracy"]["value"] for step in result["frontier"]])
    assert ours["error_y"]["array"] == pytest.approx([2.7] * 5)
    assert traces["the exported policy"]["x"] == [result["cost"]["mean"]]
    assert len(traces) == 3 + len(result["baselines"])
    assert next(t for name, t in traces.items() if name.endswith("one draw of L"))["y"][0] == pytest.approx(
        90.0, abs=0.1
    )


def test_perfect_knowledge_is_a_dotted_line() -> None:
    result = synthetic.pooled()
    line = drawn(result)[0]["perfect knowledge (not attainable)"]
    assert line["line"]["dash"] == "dot"
    assert line["y"] == pytest.approx([100 * step["oracle"]["accuracy"]["value"] for step in result["frontier"]])
    assert "perfect knowledge (not attainable)" not in drawn(synthetic.result())[0]


@pytest.mark.parametrize("case", ["result", "without_levels", "bare", "nulls", "hostile", "pooled", "partly_pooled"])
def test_all_points_are_inside_the_axes(case: str) -> None:
    figure: Any = frontier(read(getattr(synthetic, case)()))
    (left, right), (low, high) = figure["layout"]["xaxis"]["range"], figure["layout"]["yaxis"]["range"]
    for trace in figure["data"]:
        assert all(left < math.log10(x) < right for x in trace["x"])
        assert all(low < y < high for y in trace["y"])
    assert 1 <= len(figure["layout"]["xaxis"]["tickvals"]) <= 7


def test_letters_do_not_stand_on_each_other() -> None:
    figure: Any = frontier(read(synthetic.result()))
    letters = next(trace for trace in figure["data"] if trace["mode"] == "markers+text")
    assert letters["text"] == list("ABCDEFGHIJK")
    # G and I are a few pixels apart: their letters go to different sides.
    places = dict(zip(letters["text"], letters["textposition"], strict=True))
    assert places["G"] != places["I"]
