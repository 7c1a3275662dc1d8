"""Figures of a result for others to show, such as Optuna's dashboard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from autotts.report.plane import frontier
from autotts.report.result import read

if TYPE_CHECKING:
    import plotly.graph_objects as go


def frontier_figure(result: Mapping[str, object]) -> go.Figure:
    """Accuracy over mean cost as a plotly figure with its own legend: policy, uniform mixture, baselines.

    It has no ground of its own and grey text, so that it can be read on a light and on a dark page.
    """
    import plotly.graph_objects as go

    figure = go.Figure(frontier(read(result)))
    return figure.update_layout(showlegend=True, legend={"itemsizing": "constant"})
