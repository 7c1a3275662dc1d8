"""A model's speed from measured seconds: `Latency` fitted as in EdgeReasoning (2511.01866), extended to batches.

Seconds are linear in the coefficients, so the best non-negative ones are found exactly. Each record counts by its
relative error: a draw of 30 ms says as much as one of 30 s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autotts.core.latency import Latency
from autotts.errors import InputError

Floats = NDArray[np.float64]

NAMES: Final = ("a", "b", "c", "n", "k0", "m")
LEAST: Final = 4  # records, of which each coefficient needs about one


@dataclass(frozen=True, slots=True)
class Record:
    """Seconds until each of `batch` draws of one prompt, begun together, had `generated` tokens.

    The time to the first token is a record with `generated=1`. No part of the prompt may come from a cache.
    """

    prompt: int
    generated: int
    batch: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted speed, and what the records could not tell."""

    latency: Latency
    notes: tuple[str, ...] = ()


def fit(records: Sequence[Record], *, batch: int | None = None, pad: int = 128, reads: bool = False) -> Fit:
    """The speed that fits the records best.

    Parameters
    ----------
    batch
        Sequences that usually run at once, for prices; the largest batch of the records if None.
    reads
        Whether the model reads and writes nothing, as reward models do: prefill is all that there is.

    Raises
    ------
    InputError
        Fewer than four records, one that is no measurement, or records that cannot tell prefill from decode.

    Examples
    --------
    >>> true = Latency(b=1e-4, c=0.05, n=0.02, k0=0.001, m=1e-6)
    >>> grid = [(i, o, n) for i in (64, 500, 2000) for o in (1, 50, 200) for n in (1, 8)]
    >>> found = fit([Record(i, o, n, true.seconds(i, o, n)) for i, o, n in grid]).latency
    >>> round(found.n, 6), round(found.k0, 6), found.batch
    (0.02, 0.001, 8)
    """
    checked = [_checked(record, i) for i, record in enumerate(records)]
    if len(checked) < LEAST:
        raise InputError(f"a speed needs at least {LEAST} measurements, found {len(checked)}: measure more sizes")
    names = NAMES[:3] if reads else NAMES
    missing = {name: why for name, why in _untold(checked, pad).items() if name in names}
    columns = [i for i, name in enumerate(names) if name not in missing]
    seconds = np.array([r.seconds for r in checked])
    design = np.array([_terms(r, pad) for r in checked])
    found = np.zeros(len(NAMES))
    found[columns] = _non_negative(design[:, columns] / seconds[:, None], [NAMES[i] for i in columns])
    predicted = design @ found
    around = float(((seconds - seconds.mean()) ** 2).sum())
    a, b, c, n, k0, m = (float(x) for x in found)
    latency = Latency(
        a=a,
        b=b,
        c=c,
        n=n,
        k0=k0,
        m=m,
        batch=max(r.batch for r in checked) if batch is None else batch,
        pad=pad,
        r2=1.0 - float(((seconds - predicted) ** 2).sum()) / around if around > 0 else None,
        worst=float(np.abs(predicted / seconds - 1).max()),
    )
    return Fit(latency, tuple(missing.values()))


def _checked(record: Record, i: int) -> Record:
    sizes = (record.prompt, record.generated, record.batch)
    if min(sizes) < 1 or not (np.isfinite(record.seconds) and record.seconds > 0):
        raise InputError(
            f"measurement {i + 1}: expected a prompt, generated tokens and a batch of at least 1, and seconds above 0, "
            f"found {record}"
        )
    return record


def _untold(records: Sequence[Record], pad: int) -> dict[str, str]:
    """The coefficients that are taken as 0, with the reason."""
    prompts, batches = {-(-r.prompt // pad) for r in records}, {r.batch for r in records}
    out = {}
    if len(prompts) < 3:
        out["a"] = f"a (prefill's square) is taken as 0: it needs prompts of 3 lengths, found {len(prompts)}"
    if len(prompts) < 2:
        out["b"] = "b (prefill a token) is taken as 0 and is part of c: it needs prompts of 2 lengths, found 1"
    if len(batches) < 2:
        out["k0"] = (
            f"k0 (a sequence's own work) is taken as 0 and is part of n: it needs 2 batch sizes, found {min(batches)} "
            "only, so seconds hold at that batch size alone"
        )
    if len({(r.prompt, r.generated) for r in records}) < 3:
        out["m"] = "m (a token of context) is taken as 0: it needs 3 pairs of prompt and answer lengths"
    return out


def _terms(record: Record, pad: int) -> tuple[float, ...]:
    """What each coefficient is multiplied by: a I'^2 + b I' + c + O (n + N (k0 + m (I + (O - 1) / 2)))."""
    padded = -(-record.prompt // pad) * pad
    tokens, each = record.generated, record.generated * record.batch
    return (padded**2, padded, 1, tokens, each, each * (record.prompt + (tokens - 1) / 2))


def _non_negative(design: Floats, names: Sequence[str]) -> Floats:
    """The non-negative x with the least |design x - 1|^2.

    It is the free optimum of the columns that are above 0 in it, so each set of columns is tried: 64 of them at most.
    """
    scale = np.sqrt((design**2).sum(0))
    scaled, ones, count = design / scale, np.ones(len(design)), len(names)
    if np.linalg.matrix_rank(scaled, tol=1e-9) < count:
        raise InputError(
            f"the measurements cannot tell {', '.join(names)} apart: measure answers of two lengths (one of them 1 "
            "token), each with prompts of three lengths, and that in two batch sizes"
        )
    best, least = np.zeros(count), float(ones @ ones)
    for some in (c for size in range(1, count + 1) for c in combinations(range(count), size)):
        x = np.linalg.lstsq(scaled[:, some], ones, rcond=None)[0]
        error = float(((scaled[:, some] @ x - ones) ** 2).sum())
        if x.min() >= 0 and error < least:
            best, least = np.zeros(count), error
            best[list(some)] = x
    return np.asarray(best / scale)
