"""From anytime curves to a table: tokens until a share of the final hypervolume, paired over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SHARES = (0.95, 0.99)
RESAMPLES = 1000


class Middle(NamedTuple):
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


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
    """A method's line in the table. Medians of seeds, ratios to the reference and 95 % bootstrap intervals over seeds.

    `tokens` and `ratio` are those of single studies, paired by seed; `mean` and `mean_ratio` those of the mean curve of
    all seeds, which is less at the mercy of a lucky moment. `ends` is the share of the final value at the end.
    """

    method: str
    seeds: int
    tokens: Middle
    ratio: Middle
    reached: float
    mean: Middle
    mean_ratio: Middle
    later: Middle
    later_reached: float
    ends: float
    plain: Middle
    seconds: float


def interval(values: Floats) -> Middle:
    """The median of values by seed and its interval."""
    low, high = np.quantile(np.median(values[_again(len(values))], axis=1), [0.025, 0.975])
    return Middle(float(np.median(values)), float(low), float(high))


def _again(count: int) -> NDArray[np.int64]:
    """Seeds drawn again; the same for all methods, so that differences are paired."""
    return np.random.default_rng(0).integers(0, count, (RESAMPLES, count))


def crossings(curves: Sequence[Curve], share: float) -> Floats:
    """Tokens at which the mean curve reaches a share of the mean final value: of all seeds, then of each resample.

    Infinite where it does not. A study that has ended stays where it was.
    """
    grid = np.unique(np.concatenate([c.tokens for c in curves]))
    levels = np.array([np.array([0.0, *c.gain])[np.searchsorted(c.tokens, grid, side="right")] for c in curves])
    final, again = np.array([c.final for c in curves]), _again(len(curves))
    out = [_crossing(levels.mean(0), share * float(final.mean()), grid)]
    out += [_crossing(levels[rows].mean(0), share * float(final[rows].mean()), grid) for rows in again]
    return np.array(out)


def _crossing(heights: Floats, wanted: float, grid: NDArray[np.int64]) -> float:
    above = heights >= wanted
    return float(grid[int(np.argmax(above))]) if above.any() else math.inf


def rows(curves: Sequence[Curve], ours: str) -> list[Row]:
    """One row for each method, the fewest tokens first."""
    by: dict[str, list[Curve]] = {}
    for curve in sorted(curves, key=lambda c: c.seed):
        by.setdefault(curve.method, []).append(curve)
    seeds = [c.seed for c in by[ours]]
    out = []
    for method, found in by.items():
        if [c.seed for c in found] != seeds:
            raise SystemExit(f"{method}: expected the same seeds as of {ours}; run both again")
        out.append(_row(method, found, by[ours]))
    return sorted(out, key=lambda row: (row.mean.value, row.tokens.value))


def _row(method: str, found: Sequence[Curve], reference: Sequence[Curve]) -> Row:
    first, later = ([c.reached(share) for c in found] for share in SHARES)
    tokens, theirs = (np.array([c.reached(SHARES[0])[0] for c in some], float) for some in (found, reference))
    logs = interval(np.log(tokens / theirs))
    mean = crossings(found, SHARES[0])
    with np.errstate(invalid="ignore"):  # both infinite: nothing is known
        ratio = mean / crossings(reference, SHARES[0])
    return Row(
        method=method,
        seeds=len(found),
        tokens=interval(tokens),
        ratio=Middle(*map(math.exp, logs)),
        reached=float(np.mean([there for _, there in first])),
        mean=_spread(mean),
        mean_ratio=_spread(ratio),
        later=interval(np.array([tokens for tokens, _ in later], float)),
        later_reached=float(np.mean([there for _, there in later])),
        ends=float(np.median([c.end for c in found])),
        plain=interval(np.array([c.reached(SHARES[0], plain=True)[0] for c in found], float)),
        seconds=float(np.mean([c.seconds for c in found])),
    )


def _spread(values: Floats) -> Middle:
    """The first value, and the interval of the others; "lower" and not a mean of two, since some are infinite."""
    low, high = np.quantile(values[1:], [0.025, 0.975], method="lower")
    return Middle(float(values[0]), float(low), float(high))


def table(found: Sequence[Row], ours: str) -> str:
    """The rows in Markdown. A study that did not get there counts with all its tokens: a lower bound, marked ≥."""
    lines = [
        f"| method | mean curve: tokens to 95 % | as many as {ours} | each seed: tokens to 95 % | as many as {ours} "
        "| reached | tokens to 99 % | reached | at the end | tokens to 95 % of the plain area |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for r in found:
        cells = [
            r.method,
            _shown(r.mean),
            _times(r.mean_ratio),
            _shown(r.tokens, r.reached),
            _times(r.ratio),
            f"{r.reached:.0%}",
            _shown(r.later, r.later_reached),
            f"{r.later_reached:.0%}",
            f"{r.ends:.1%}",
            _shown(r.plain),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _shown(tokens: Middle, reached: float = 1.0) -> str:
    low, high = (_thousands(t) for t in (tokens.low, tokens.high))
    return f"{'≥ ' if reached <= 0.5 else ''}{_thousands(tokens.value)} [{low}, {high}]"


def _times(ratio: Middle) -> str:
    value, low, high = ("-" if math.isnan(r) else "∞" if math.isinf(r) else f"{r:.2f}" for r in ratio)
    return f"{value} [{low}, {high}]"


def _thousands(tokens: float) -> str:
    return "never" if math.isinf(tokens) else f"{tokens / 1000:,.0f} k"


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
    drawing.update_yaxes(title="share of the final hypervolume, held-out prompts", tickformat=".0%", range=[0.0, 1.15])
    drawing.update_layout(template="plotly_white", width=1000, height=600, legend={"x": 1.01, "y": 1})
    return drawing
