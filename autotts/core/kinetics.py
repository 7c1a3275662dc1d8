"""eFLOPs (Kinetics, 2506.05333): what a generation computes, and what its cache's traffic is worth in FLOPs.

With L prompt tokens, D generated ones, N trials, H heads, K kv-heads, d = head_dim * layers, P parameters and I FLOPs
that the machine can compute while it reads one byte. The prompt's prefill and the reading of weights are left out: it
is the cost of many long generations in large batches. `ModelCard.prices` charges draw by draw, and so differs: it
counts the prefill, reads the prompt's cache once for each draw instead of once for all N, and sums over whole
positions (D (D - 1) / 2 where the integral here is D^2 / 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from autotts.core.cost import INTENSITY, ModelCard, bytes_of
from autotts.errors import InputError


@dataclass(frozen=True, slots=True)
class Hardware:
    """A machine's peak: FLOPs a second, and bytes a second of its memory."""

    flops: float
    bandwidth: float

    @property
    def intensity(self) -> float:
        """FLOPs that it can compute while it reads one byte."""
        return self.flops / self.bandwidth


# Peaks without sparsity, from NVIDIA's data sheets (SXM). Kinetics' own number is that of a B200 at fp8.
HARDWARE: Final[Mapping[str, Hardware]] = MappingProxyType(
    {
        "A100": Hardware(312e12, 2.039e12),
        "H100": Hardware(989e12, 3.35e12),
        "H200": Hardware(989e12, 4.8e12),
        "B200": Hardware(2.25e15, 8e12),
        "B200-fp8": Hardware(4.5e15, 8e12),
    }
)


@dataclass(frozen=True, slots=True)
class Work:
    """FLOPs that are computed, and FLOPs that memory traffic is worth."""

    compute: float
    memory: float

    @property
    def eflops(self) -> float:
        """Both together."""
        return self.compute + self.memory


def dense(
    card: ModelCard, *, prompt: int, generated: int, trials: int = 1, intensity: float = INTENSITY, batch: int = 0
) -> Work:
    """N trials of one prompt with full attention; the prompt's cache is read once for all of them.

    Compute is [2 P D + 2 (2 L + D) D H d] N and memory 2 (2 L + D N) D K d I at two bytes an element.

    Parameters
    ----------
    batch
        Sequences that share one reading of the weights. 0 neglects it, as Kinetics does.

    Examples
    --------
    >>> card = ModelCard("Qwen3-8B", "", 8_190_000_000, layers=36, heads=32, kv_heads=8, head_dim=128)
    >>> work = dense(card, prompt=200, generated=8000)
    >>> round(work.compute / 1e12, 1), round(work.memory / 1e12, 1)
    (150.9, 2786.9)
    """
    active, heads, kv_heads, size = _shape(card)
    read = (2 * prompt + generated * trials) * generated
    weights = active * bytes_of(card.quantisation) * generated * trials / batch if batch else 0.0
    return Work(
        (2 * active * generated + 2 * (2 * prompt + generated) * generated * heads * size) * trials,
        (read * kv_heads * size * bytes_of(card.kv_quantisation) + weights) * intensity,
    )


def sparse(
    card: ModelCard, *, prompt: int, generated: int, keys: int, trials: int = 1, intensity: float = INTENSITY
) -> Work:
    """N trials whose tokens attend to the `keys` best positions, found at no cost; no prompt's cache is shared.

    Until the context has `keys` positions a token reads fewer: b D - (b - L)^2 / 2 in all. The released code of the
    paper *adds* that square in this function, and subtracts it in its block variant; it must be subtracted.
    """
    return _attended(card, generated, trials, intensity, _kept(prompt, generated, keys))


def blocks(
    card: ModelCard,
    *,
    prompt: int,
    generated: int,
    local: int,
    block: int,
    top: int,
    trials: int = 1,
    intensity: float = INTENSITY,
) -> Work:
    """N trials whose tokens attend to `local` positions and the `top` best blocks of `block` positions.

    Blocks are found by one mean key each: (2 L + D) / block * D * H d more to compute, and
    (2 L + D N) / block * D * K d more to read, the prompt's blocks once for all trials.
    """
    _, heads, kv_heads, size = _shape(card)
    work = _attended(card, generated, trials, intensity, _kept(prompt, generated, local + block * top))
    found = (2 * prompt + generated) // block * generated * heads * size
    read = (2 * prompt + generated * trials) // block * generated * kv_heads * size
    scale = bytes_of(card.kv_quantisation) / 2
    return Work(work.compute + found * trials, work.memory + read * scale * intensity)


def _kept(prompt: int, generated: int, keys: int) -> float:
    """Positions read over all tokens, at most `keys` a token: the integral of min(keys, L + i) over i up to D."""
    ramp = min(max(0, keys - prompt), generated)  # tokens that do not have so many positions yet
    return prompt * ramp + ramp * ramp / 2 + keys * (generated - ramp)


def _attended(card: ModelCard, generated: int, trials: int, intensity: float, kept: float) -> Work:
    active, heads, kv_heads, size = _shape(card)
    return Work(
        (2 * active * generated + 4 * kept * heads * size) * trials,
        2 * bytes_of(card.kv_quantisation) * kept * kv_heads * size * trials * intensity,
    )


def _shape(card: ModelCard) -> tuple[int, int, int, int]:
    """Active parameters, heads, kv-heads, and head size times layers."""
    active = card.active_parameters or card.parameters
    if None in (active, card.layers, card.heads, card.kv_heads, card.head_dim):
        raise InputError(
            f"model {card.name!r}: eflops need parameters, layers, heads, kv_heads and head_dim: add them to its card"
        )
    return (
        int(active or 0),
        int(card.heads or 0),
        int(card.kv_heads or 0),
        int(card.head_dim or 0) * int(card.layers or 0),
    )
