"""From anytime curves to a table: tokens until a share of the final hypervolume, paired over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SHARES = (0.95, 0.99)
RESAMPLES = 2000


@dataclass(frozen=True)
class Curve:
    """One study: after so many tokens (and parts of work) its hypervolume; `final` is that of an endless search."""

    method: str
    seed: int
    tokens: tuple[int, ...]
    gain: tuple[float, ...]
    plain: tuple[float, ...]
    final: float
    final_plain: float
    seconds: float = 0.0
    trials: int = 0
    ended: str = ""

    def reached(self, share: float, *, plain: bool = False) -> tuple[int, bool]:
        """Tokens until a share of the final value; all that were spent, and False, where it was not reached."""
        wanted = share * (self.final_plain if plain else self.final)
        for tokens, value in zip(self.tokens, self.plain if plain else self.gain):
            if value >= wanted:
                return tokens, True
        return self.tokens[-1], False

    @property
    def end(self) -> float:
        """Share of the final value at the end of the study."""
        return self.gain[-1] / self.final


@dataclass(frozen=True)
class Row:
    """A method's line in the table; intervals are 95 % bootstrap intervals over seeds."""

    method: str
    tokens: tuple[float, float, float]
    ratio: tuple[float, float, float]
    reached: float
    end: float
    later: float
    later_reached: float
    plain: float
    seeds: int
    seconds: float


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """The median of some values and its 95 % bootstrap interval."""
    found = np.asarray(values, float)
    again = np.random.default_rng(seed).integers(0, len(found), (RESAMPLES, len(found)))
    low, high = np.quantile(np.median(found[again], axis=1), [0.025, 0.975])
    return float(np.median(found)), float(low), float(high)


def rows(curves: Sequence[Curve], ours: str) -> list[Row]:
    """One row for each method, the fewest tokens first; ratios are paired with `ours` by seed."""
    by: dict[str, dict[int, Curve]] = {}
    for curve in curves:
        by.setdefault(curve.method, {})[curve.seed] = curve
    reference = by.get(ours, {})
    out = []
    for method, found in by.items():
        first = {seed: c.reached(SHARES[0]) for seed, c in found.items()}
        later = [c.reached(SHARES[1]) for c in found.values()]
        both = sorted(set(found) & set(reference))
        ratios = [math.log(first[s][0] / reference[s].reached(SHARES[0])[0]) for s in both]
        middle = interval(ratios) if both else (math.nan,) * 3
        out.append(
            Row(
                method,
                interval([tokens for tokens, _ in first.values()]),
                tuple(map(math.exp, middle)),  # type: ignore[arg-type]
                float(np.mean([there for _, there in first.values()])),
                float(np.median([c.end for c in found.values()])),
                float(np.median([tokens for tokens, _ in later])),
                float(np.mean([there for _, there in later])),
                float(np.median([c.reached(SHARES[0], plain=True)[0] for c in found.values()])),
                len(found),
                float(np.mean([c.seconds for c in found.values()])),
            )
        )
    return sorted(out, key=lambda row: (-row.reached >= -0.5, row.tokens[0]))


def table(found: Sequence[Row], ours: str) -> str:
    """The rows in Markdown. A study that did not get there counts with all its tokens: a lower bound."""
    lines = [
        f"| method | tokens to 95 % | as many as {ours} | reached | at the end | tokens to 99 % | reached "
        "| to 95 % of the plain area |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for r in found:
        lines.append(
            f"| {r.method} | {_count(r.tokens[0], r.reached)} [{_thousands(r.tokens[1])}, {_thousands(r.tokens[2])}] "
            f"| {r.ratio[0]:.2f} [{r.ratio[1]:.2f}, {r.ratio[2]:.2f}] | {r.reached:.0%} | {r.end:.1%} "
            f"| {_count(r.later, r.later_reached)} | {r.later_reached:.0%} | {_thousands(r.plain)} |"
        )
    return "\n".join(lines)


def _count(tokens: float, reached: float) -> str:
    """A median; with a sign before it where half of the studies or more did not get there."""
    return ("≥ " if reached <= 0.5 else "") + _thousands(tokens)


def _thousands(tokens: float) -> str:
    return f"{tokens / 1000:,.0f} k" if tokens < 1e7 else f"{tokens / 1e6:,.1f} M"


def over(curves: Sequence[Curve], grid: Floats) -> Mapping[str, Floats]:
    """Share of the final value at some numbers of tokens, by method: [seeds, grid]; nothing before the first figure."""
    out: dict[str, list[Floats]] = {}
    for curve in curves:
        at = np.searchsorted(np.array(curve.tokens), grid, side="right") - 1
        share = np.array([0.0, *curve.gain])[at + 1] / curve.final
        out.setdefault(curve.method, []).append(np.maximum(share, 0.0))
    return {method: np.array(found) for method, found in out.items()}


COLOURS = ("#0b6e4f", "#c1440e", "#2f5d9b", "#7a3e9d", "#a67c00", "#4d4d4d", "#c2185b", "#00838f", "#6d8b2a", "#8d6e63")


def figure(curves: Sequence[Curve]) -> Any:
    """Anytime curves (a plotly figure): the median over seeds, and a band of half of them."""
    import plotly.graph_objects as go

    most, least = max(c.tokens[-1] for c in curves), min(c.tokens[0] for c in curves)
    grid = np.geomspace(least, most, 200)
    drawing = go.Figure()
    for colour, (method, found) in zip(COLOURS * 9, over(curves, grid).items()):
        low, middle, high = np.quantile(found, [0.25, 0.5, 0.75], axis=0)
        band = f"rgba({int(colour[1:3], 16)}, {int(colour[3:5], 16)}, {int(colour[5:], 16)}, 0.13)"
        both, edges = np.concatenate([grid, grid[::-1]]), np.concatenate([high, low[::-1]])
        hidden = {"showlegend": False, "hoverinfo": "skip", "legendgroup": method}
        drawing.add_scatter(x=both, y=edges, fill="toself", fillcolor=band, line_width=0, mode="lines", **hidden)
        line = {"color": colour, "width": 2, "shape": "hv"}
        drawing.add_scatter(x=grid, y=middle, name=method, legendgroup=method, mode="lines", line=line)
    drawing.add_hline(y=SHARES[0], line={"dash": "dot", "color": "#555", "width": 1})
    drawing.update_xaxes(type="log", title="newly generated tokens")
    drawing.update_yaxes(title="share of the final hypervolume, held-out prompts", tickformat=".0%", range=[0.0, 1.06])
    drawing.update_layout(template="plotly_white", width=1000, height=600, legend={"x": 1.01, "y": 1})
    return drawing
