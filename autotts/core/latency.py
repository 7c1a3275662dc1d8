"""Seconds that a model takes on a machine: prefill and decode, as EdgeReasoning (2511.01866) fits them, in batches."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Latency:
    """A model's speed on one machine and engine; all coefficients are seconds.

    Parameters
    ----------
    a, b, c
        Prefill of I tokens takes a I'^2 + b I' + c, where I' is I padded up to a multiple of `pad`.
    n, k0, m
        A token of each of N sequences takes n + N (k0 + m context): n reads the weights once for all of them, k0 is
        each sequence's own work, and m reads its cache.
    batch
        N that prices are made for: how many sequences usually run at once.
    pad
        Tokens that the engine pads prompts to.
    r2, worst
        How well it fits what it was measured from: R2, and the largest relative error. None where nobody measured.
    """

    a: float = 0.0
    b: float = 0.0
    c: float = 0.0
    n: float = 0.0
    k0: float = 0.0
    m: float = 0.0
    batch: int = 1
    pad: int = 128
    r2: float | None = None
    worst: float | None = None

    def prefill(self, prompt: int) -> float:
        """Seconds to read a prompt.

        Examples
        --------
        >>> Latency(b=1e-3).prefill(1), Latency(b=1e-3).prefill(129)
        (0.128, 0.256)
        """
        padded = math.ceil(prompt / self.pad) * self.pad
        return (self.a * padded + self.b) * padded + self.c

    def decode(self, prompt: int, generated: int, batch: int = 1) -> float:
        """Seconds to generate so many tokens in each of `batch` sequences after one prompt."""
        context = prompt + (generated - 1) / 2
        return generated * (self.n + batch * (self.k0 + self.m * context))

    def seconds(self, prompt: int, generated: int, batch: int = 1) -> float:
        """Seconds until each of `batch` draws of one prompt has so many tokens; the prompt is read once.

        Examples
        --------
        The 8B model of EdgeReasoning on a Jetson AGX Orin writes 100 tokens in about ten seconds.

        >>> orin = Latency(a=6.6e-7, b=2.9e-4, c=0.104, n=0.1004, m=6.9e-7)
        >>> round(orin.seconds(512, 100), 2)
        10.5
        """
        return self.prefill(prompt) + self.decode(prompt, generated, batch)
