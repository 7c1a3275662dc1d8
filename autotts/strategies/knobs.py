"""Knobs that several strategies share, declared once. Temperatures lie on a coarse grid, so that trials share draws."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from autotts.core.strategy import Range, Role

Model: TypeAlias = Annotated[str, Role("policy", "the model that draws")]
Scorer: TypeAlias = Annotated[str, Role("scorer", "what scores the draws, from 0 to 1")]
Temperature: TypeAlias = Annotated[
    float, Range(0.0, 2.0, grid=(0.6, 1.0), about="sampling temperature; 0 always takes the likeliest token")
]
TopP: TypeAlias = Annotated[
    float, Range(0.05, 1.0, grid=(1.0, 0.9), about="share of the probability mass that tokens are sampled from")
]
Draws: TypeAlias = Annotated[
    int, Range(1, 64, grid=(1, 2, 4, 8, 16, 32, 64), log=True, about="whole draws, side by side")
]
