"""More draws than were recorded: fits that go on beyond the pool. Everything from here is marked as extrapolated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotts.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROUNDS = 200  # steps of a fit; it takes about ten
EVEN = 1e6  # a spread from which on all problems are held to be equally hard


@dataclass(frozen=True, slots=True)
class Extrapolated:
    """A curve over numbers of draws; `seen` is the range of draws that it was fitted on.

    `low` and `high` hold 95 % of the curves of resampled problems; they know nothing of how wrong the model may be.
    """

    ks: tuple[int, ...]
    values: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    seen: tuple[int, int]
    extrapolated: bool = True


@dataclass(frozen=True, slots=True)
class Difficulty:
    """How the chance of a right draw is spread over problems: Beta(mean * spread, (1 - mean) * spread).

    `spread` 0: each problem is always right or never; infinite: all problems are equally hard.
    """

    mean: float
    spread: float

    def coverage(self, k: int) -> float:
        """The expected pass@k: 1 - B(a, b + k) / B(a, b) for any k."""
        if k < 0:
            raise InputError(f"k: expected a number of draws, found {k}")
        if k == 0 or self.mean in (0.0, 1.0) or self.spread == 0.0:
            return self.mean if k else 0.0
        if math.isinf(self.spread):
            return -math.expm1(k * math.log1p(-self.mean))
        b, s = (1.0 - self.mean) * self.spread, self.spread
        return -math.expm1(math.lgamma(b + k) - math.lgamma(b) + math.lgamma(s) - math.lgamma(s + k))


def spread_of(right: Ints, draws: Ints) -> Difficulty:
    """The Beta-binomial of maximum likelihood for the right draws of each problem, of all its draws; [P] each.

    Raises
    ------
    InputError
        When there is no problem, or none with two draws or more (the spread cannot be told then).
    """
    right, draws = _counts(right, draws)
    return _fit(right, draws, np.ones(len(right)))


def coverage(right: Ints, draws: Ints, ks: Sequence[int], *, seed: int = 0, rounds: int = 200) -> Extrapolated:
    """Pass@k at any k, from the spread of difficulty over problems; up to the draws there are, `curves` has it exact.

    Parameters
    ----------
    right, draws
        Right draws of each problem, and all of them, [P] each.
    seed, rounds
        Of the resamples of problems.
    """
    right, draws = _counts(right, draws)
    fit = spread_of(right, draws)
    # Problems with the same counts are one row of more weight: resamples of them are the same, and sooner fitted.
    (some, of), number = _alike(right, draws)
    drawn = np.random.default_rng(seed).multinomial(len(right), number / len(right), size=rounds)
    refits = [_fit(some, of, row, fit) for row in drawn.astype(np.float64)]
    curves = [[one.coverage(k) for k in ks] for one in refits]
    values = tuple(fit.coverage(k) for k in ks)
    low, high = np.quantile(curves, [0.025, 0.975], axis=0) if rounds else (np.array(values), np.array(values))
    return Extrapolated(
        tuple(ks),
        values,
        tuple(np.minimum(low, values).tolist()),
        tuple(np.maximum(high, values).tolist()),
        (1, int(draws.max())),
    )


@dataclass(frozen=True, slots=True)
class Saturation:
    """F(N) = top (1 - (1 - rate)^N), of TTSPM (2505.20522): N draws side by side, or N rounds one after another.

    One rate for a whole set of problems is wrong where they differ in difficulty; then the true curve has a heavier
    tail, and `coverage` is nearer. A majority vote follows neither.
    """

    top: float
    rate: float
    seen: tuple[int, int]
    extrapolated: bool = True

    def at(self, n: int) -> float:
        """F(N)."""
        return self.top * (1.0 - (1.0 - self.rate) ** n)

    def gain(self, n: int) -> float:
        """F(N + 1) - F(N)."""
        return self.top * self.rate * (1.0 - self.rate) ** n

    def enough(self, least: float) -> int:
        """The smallest N from which one more gains at most `least`."""
        if not least > 0:
            raise InputError(f"least: expected a gain above 0 (no number of draws saturates fully), found {least!r}")
        if least >= self.top * self.rate:
            return 0
        if self.rate >= 1.0:
            return 1
        n = max(0, math.ceil(math.log(least / (self.top * self.rate)) / math.log1p(-self.rate)))
        while n and self.gain(n - 1) <= least:  # the logarithm was rounded
            n -= 1
        while self.gain(n) > least:
            n += 1
        return n


def saturation(ns: Sequence[int], accuracy: Sequence[float]) -> Saturation:
    """The least-squares fit of a saturating curve to accuracies at numbers of draws, such as an exact curve's.

    Raises
    ------
    InputError
        When there are not two different numbers of draws, or an accuracy is not in [0, 1].
    """
    n, y = np.asarray(ns, np.float64), np.asarray(accuracy, np.float64)
    if n.shape != y.shape or len(np.unique(n)) < 2 or n.min() < 1:
        raise InputError(
            f"expected an accuracy at each of two different numbers of draws or more, each 1 or more; "
            f"found {len(y)} at {list(ns)}"
        )
    if not (y.min() >= 0 and y.max() <= 1):
        raise InputError(f"accuracy: expected numbers from 0 to 1, found {y.min():g} to {y.max():g}")
    rates = np.append(np.geomspace(1e-6, 0.999999, 400), 1.0)
    for _ in range(6):  # each time between the neighbours of the best
        shape = 1.0 - (1.0 - rates[:, None]) ** n
        tops = np.clip((shape @ y) / (shape**2).sum(1), 0.0, 1.0)
        best = int(((tops[:, None] * shape - y) ** 2).sum(1).argmin())
        top, rate = float(tops[best]), float(rates[best])
        rates = np.append(np.linspace(rates[max(best - 1, 0)], rates[min(best + 1, len(rates) - 1)], 400), rate)
        rates.sort()
    return Saturation(top, rate, (int(n.min()), int(n.max())))


def _counts(right: Ints, draws: Ints) -> tuple[Ints, Ints]:
    c, m = np.asarray(right, np.int64), np.asarray(draws, np.int64)
    if c.shape != m.shape or not c.size:
        raise InputError(f"expected right draws and all draws of each problem, found {c.size} and {m.size} numbers")
    if (c < 0).any() or (c > m).any():
        raise InputError(f"right: expected 0 to as many as were drawn, found {c[(c < 0) | (c > m)][0]}")
    if m.max() < 2:
        raise InputError(
            "one draw of each problem does not tell how difficulty is spread; record two or more of some problems"
        )
    return c, m


def _alike(right: Ints, draws: Ints) -> tuple[Ints, Ints]:
    """The different pairs of right and all draws, [2, C], and how many problems have each, [C]."""
    pairs, number = np.unique(np.stack([right, draws]), axis=1, return_counts=True)
    return pairs, number


def _fit(right: Ints, draws: Ints, weight: Floats, near: Difficulty | None = None) -> Difficulty:
    """Damped Newton steps in ln a and ln b, from a fit that is near or the moments; the ends are known beforehand."""
    mean = float(weight @ right / (weight @ draws))
    if mean in (0.0, 1.0):
        return Difficulty(mean, math.inf)
    used = weight > 0
    if ((right == 0) | (right == draws))[used].all() and draws[used].max() > 1:
        return Difficulty(float(weight @ (right > 0) / weight.sum()), 0.0)
    i = np.arange(int(draws.max()))
    counts = (weight @ (right[:, None] > i), weight @ ((draws - right)[:, None] > i), weight @ (draws[:, None] > i))
    p = right / np.maximum(draws, 1)
    ratio = float(np.clip(mean * (1 - mean) / max(1e-9, float(weight @ (p - mean) ** 2) / weight.sum()) - 1, 0.05, 1e3))
    start = Difficulty(mean, ratio) if near is None or not _inside(near) else near
    at = np.log([start.mean * start.spread, (1 - start.mean) * start.spread])
    height, slope, bend = _likelihood(at, counts, i)
    damping = 1e-3
    for _ in range(ROUNDS):
        if np.abs(slope).max() < 1e-8 * len(right):
            break
        worst = max(0.0, float(np.linalg.eigvalsh(bend).max()))
        step = np.linalg.solve(bend - (worst + damping) * np.eye(2), -slope)
        step *= min(1.0, 2.0 / max(1e-12, float(np.abs(step).max())))
        fresh = _likelihood(at + step, counts, i)
        if fresh[0] > height:
            at, (height, slope, bend), damping = at + step, fresh, damping / 10
            if np.exp(at).sum() > EVEN:
                break
        elif damping > 1e6:
            break  # higher by less than rounding
        else:
            damping *= 10
    a, b = np.exp(at).tolist()
    level = float(weight @ right * math.log(mean) + weight @ (draws - right) * math.log1p(-mean))
    if a + b > EVEN or level >= height:
        return Difficulty(mean, math.inf)
    return Difficulty(a / (a + b), a + b)


def _inside(fit: Difficulty) -> bool:
    """Whether a fit is at no bound."""
    return 0.0 < fit.mean < 1.0 and 0.0 < fit.spread < math.inf


def _likelihood(at: Floats, counts: tuple[Floats, Floats, Floats], i: Ints) -> tuple[float, Floats, Floats]:
    """Log likelihood at ln a and ln b, its slope and its bend; `counts` are the problems that reach each i, [M].

    ln B(a + c, b + M - c) - ln B(a, b) = sum_{i<c} ln(a + i) + sum_{i<M-c} ln(b + i) - sum_{i<M} ln(a + b + i).
    """
    a, b = np.exp(at)
    right, wrong, drawn = counts
    height = right @ np.log(a + i) + wrong @ np.log(b + i) - drawn @ np.log(a + b + i)
    first = np.array([right @ (1 / (a + i)), wrong @ (1 / (b + i))]) - drawn @ (1 / (a + b + i))
    both = drawn @ (1 / (a + b + i) ** 2)
    second = np.full((2, 2), both) - np.diag([right @ (1 / (a + i) ** 2), wrong @ (1 / (b + i) ** 2)])
    scale = np.array([a, b])
    return float(height), first * scale, second * np.outer(scale, scale) + np.diag(first * scale)
