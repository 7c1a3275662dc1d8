"""Learning how arms do: amplitudes of the kernel by marginal likelihood, and how well held-out arms are foretold."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from autotts.errors import InputError
from autotts.predict.arms import ArmModel, Array, Process, Seen, columns, describe, effort
from autotts.predict.held_out import held_out
from autotts.strategies import STRATEGIES

MOST: Final = 250  # examples that are learned from; time grows with their cube
ENOUGH: Final = 120  # of them that the amplitudes are learned from
FEWEST: Final = 3
OFTEN: Final = 1.5  # times as many examples, at which amplitudes are learned again
EVEN: Final = 0.25  # variance of the slope of an earlier model around 1
DRAW_SPREAD: Final = 0.09  # variance of the log cost of one run of an arm
THINNING: Final = {  # weights of columns in the distance between examples
    **dict.fromkeys(("strategy", "model", "level", "greedy", "temperature", "scorer"), 1.0),
    **dict.fromkeys(("draws", "k", "m", "saturation"), 0.5),
    **dict.fromkeys(("top_p", "threshold"), 4.0),
}
TILT: Final = 1.5  # the largest log odds that are expected where nothing was learned
SHARPNESS: Final = 1.5  # standard deviation of log amplitudes around their defaults

OWN: Final = 0.03, 0.003  # default variances of what no other arm tells of: log odds, log cost
BOUNDS: Final = 1e-5, 1e4  # of amplitudes

# Components of the kernel: default amplitudes for log odds and for log cost, and the inverse length-scales of the
# columns; what is not named does not matter to a component. Levels lie 1 apart, models and strategies too, work and
# draws 1 for each doubling.
COMPONENTS: Final[tuple[tuple[float, float, dict[str, float]], ...]] = (
    # What all arms share on the prompts of one level.
    (0.3, 0.1, {"level": 3.0}),
    # Strong models, easy levels.
    (3.0, 0.1, {"level": 0.3, "model": 0.5, "work": 0.3}),
    # What draws are worth, which depends on how good one is.
    (0.5, 0.1, {"draws": 0.3, "saturation": 1.0, "greedy": 1.0, "level": 0.3, "work": 0.3}),
    # Strategies and their knobs, the same for all models and levels, and then not the same.
    (0.3, 0.3, {"strategy": 1.5, "draws": 0.3, "k": 1.0, "m": 0.5, "threshold": 4.0, "scorer": 1.0}),
    (
        0.1,
        0.03,
        {
            "strategy": 1.5,
            "draws": 0.5,
            "saturation": 1.0,
            "k": 1.0,
            "m": 0.5,
            "threshold": 4.0,
            "scorer": 1.0,
            "model": 1.0,
            "work": 0.3,
            "level": 0.5,
        },
    ),
    # Temperature and top-p, for each model.
    (0.1, 0.03, {"temperature": 2.0, "top_p": 5.0, "greedy": 1.0, "model": 0.7, "work": 0.2, "level": 0.3}),
    # What arms share that choose among the same draws: their chance too.
    (0.1, 0.01, {"model": 3.0, "temperature": 8.0, "top_p": 25.0, "greedy": 3.0, "level": 3.0}),
)


def fit_arms(
    seen: Sequence[Seen],
    *,
    levels: Sequence[str],
    work: Mapping[str, float],
    seed: int,
    prior: ArmModel | None = None,
    like: ArmModel | None = None,
) -> ArmModel:
    """Learn from what was seen of arms.

    Parameters
    ----------
    seen
        One for each arm and level; at most 250 of them are used: each level's frontier, and those that differ most.
    levels
        Names of all levels, from the easiest.
    work
        What a token of each model costs: its active parameters. Models that were not seen yet may be there.
    seed
        Of the examples that the amplitudes are learned from; the same arguments give the same model.
    prior
        From an earlier study: what it says is the mean function, with an offset and a slope that are learned.
    like
        Learned earlier in this study: its amplitudes, which take most of the time, are kept until there are half as
        many examples again.

    Returns
    -------
    ArmModel
        Of kind "prior" or "constant", with the reason, for fewer than 3 examples or equal values.
    """
    _check(seen, levels, work)
    kept = thinned(seen, levels, work)
    values = {s.value for s in kept}
    why = ""
    if len(kept) < FEWEST:
        why = f"{len(kept)} arms were seen; at least {FEWEST} are needed"
    elif len(values) == 1:
        why = f"all {len(kept)} arms that were seen have a value of {min(values):g}"
    if why:
        return _unlearned(kept, levels=levels, work=work, prior=prior, why=why)
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

    # On matrices this small, threads of linear algebra do nothing but wait for each other.
    with threadpool_limits(1):
        return _learned(kept, levels=levels, work=work, seed=seed, prior=prior, like=like).ready()


def _learned(
    kept: Sequence[Seen],
    *,
    levels: Sequence[str],
    work: Mapping[str, float],
    seed: int,
    prior: ArmModel | None,
    like: ArmModel | None,
) -> ArmModel:
    strategies = list(STRATEGIES)
    x = _described(kept, levels, work)
    weights = np.array([[of.get(name, 0.0) for name in columns(strategies, work)] for _, _, of in COMPONENTS])
    old = _foretold(kept, levels, work, prior)
    odds, odds_noise = log_odds(kept)
    unit = np.log([s.cost for s in kept]) - effort([s.arm for s in kept], work)
    unit_noise = DRAW_SPREAD / np.array([s.prompts for s in kept]) + 1e-4
    if like is not None and (like.kind != "gp" or len(kept) >= OFTEN * like.tuned):
        like = None
    search = like is None
    kept_of = (_defaults(0), _defaults(1)) if like is None else (_kept(like.value), _kept(like.cost))
    value = _process(x, weights, odds, odds_noise, old[0], kept_of[0], search, seed)
    cost = _process(x, weights, unit, unit_noise, old[1], kept_of[1], search, seed)
    value, check = held_out(value, x, weights, kept)
    cost, cost_check = held_out(cost, x, weights, kept)
    return ArmModel(
        kind="gp",
        levels=list(levels),
        strategies=strategies,
        work=dict(work),
        inputs=x.tolist(),
        weights=weights.tolist(),
        value=value,
        cost=cost,
        prior=prior,
        n=len(kept),
        tuned=len(kept) if like is None else like.tuned,
        check=check | {f"cost_{name}": v for name, v in cost_check.items()},
    )


def _defaults(which: int) -> list[float]:
    """Amplitudes before anything was learned: of the value (0) or of the cost (1)."""
    return [OWN[which], *((value, cost)[which] for value, cost, _ in COMPONENTS)]


def _kept(process: Process) -> list[float]:
    return [process.own, *process.amplitudes]


def _described(kept: Sequence[Seen], levels: Sequence[str], work: Mapping[str, float]) -> Array:
    steps = {level: float(i) for i, level in enumerate(levels)}
    return describe([s.arm for s in kept], [steps[s.level] for s in kept], list(STRATEGIES), work, work)


def _check(seen: Sequence[Seen], levels: Sequence[str], work: Mapping[str, float]) -> None:
    if any(not (math.isfinite(v) and v > 0) for v in work.values()):
        raise InputError(f"work: expected a number above 0 for each model, found {dict(work)}")
    for s in seen:
        if s.level not in levels:
            raise InputError(f"{s.arm}: level: expected one of {', '.join(levels)}, found {s.level!r}")
        if not (0 <= s.value <= 1 and math.isfinite(s.cost) and s.cost > 0 and s.prompts > 0):
            raise InputError(f"{s.arm}: expected a value from 0 to 1, a cost and prompts above 0, found {s}")


def _unlearned(
    kept: Sequence[Seen], *, levels: Sequence[str], work: Mapping[str, float], prior: ArmModel | None, why: str
) -> ArmModel:
    """What the earlier study says, or that anything is possible."""
    odds, _ = log_odds(kept)
    unit = np.log([s.cost for s in kept]) - effort([s.arm for s in kept], work)
    return ArmModel(
        kind="constant" if prior is None else "prior",
        why=why,
        levels=list(levels),
        strategies=list(STRATEGIES),
        work=dict(work),
        value=Process(offset=float(np.clip(odds.mean(), -TILT, TILT)) if len(kept) else 0.0),
        cost=Process(offset=float(unit.mean()) if len(kept) else 0.0),
        prior=prior,
        n=len(kept),
    )


def log_odds(seen: Sequence[Seen]) -> tuple[Array, Array]:
    """Empirical log odds with half a success and half a failure added, and their variances."""
    n = np.array([s.prompts for s in seen], dtype=float)
    p = (np.array([s.value for s in seen], dtype=float) * n + 0.5) / (n + 1)
    return np.log(p / (1 - p)), 1 / (n * p * (1 - p))


def thinned(seen: Sequence[Seen], levels: Sequence[str], work: Mapping[str, float], most: int = MOST) -> list[Seen]:
    """At most `most` examples: each level's frontier, then always the one that is farthest from all that are taken."""
    if len(seen) <= most:
        return list(seen)
    x = _described(seen, levels, work) * [THINNING.get(n, 0.0) for n in columns(list(STRATEGIES), work)]
    taken = [i for level in levels for i in _best(seen, level)][:most]
    far = np.full(len(seen), np.inf)
    for i in taken:
        far = np.minimum(far, np.square(x - x[i]).sum(1))
    while len(taken) < most:
        i = int(np.argmax(far))
        taken.append(i)
        far = np.minimum(far, np.square(x - x[i]).sum(1))
        far[i] = -1.0
    return [seen[i] for i in sorted(set(taken))]


def _best(seen: Sequence[Seen], level: str) -> list[int]:
    """The arms of a level that no cheaper one equals, by ascending cost."""
    out: list[int] = []
    for i in sorted((i for i, s in enumerate(seen) if s.level == level), key=lambda i: (seen[i].cost, -seen[i].value)):
        if not out or seen[i].value > seen[out[-1]].value:
            out.append(i)
    return out


def _foretold(
    kept: Sequence[Seen], levels: Sequence[str], work: Mapping[str, float], prior: ArmModel | None
) -> tuple[Array | None, Array | None]:
    """What the earlier study says of each example: log odds, and log cost beyond the effort."""
    if prior is None:
        return None, None
    odds, unit = np.zeros(len(kept)), np.zeros(len(kept))
    for i, level in enumerate(levels):
        rows = [j for j, s in enumerate(kept) if s.level == level]
        if rows:
            found = prior.latent([kept[j].arm for j in rows], level, i / max(1, len(levels) - 1), work)
            odds[rows], unit[rows] = found[0], found[2]
    return odds, unit


def _process(
    x: Array,
    weights: Array,
    y: Array,
    noise: Array,
    old: Array | None,
    amplitudes: Sequence[float],
    search: bool,
    seed: int,
) -> Process:
    """Learn the mean function, then, if they are to be searched for, the amplitudes of what it leaves."""
    offset, slope = _mean(y, noise, old)
    rest = y - offset - (0.0 if old is None else slope * old)
    if search:
        amplitudes = _amplitudes(x, weights, rest, noise, amplitudes, seed).tolist()
    own, *parts = amplitudes
    return Process(
        targets=rest.tolist(),
        noise=noise.tolist(),
        amplitudes=parts,
        own=own,
        offset=offset,
        slope=slope,
    )


def _mean(y: Array, noise: Array, old: Array | None) -> tuple[float, float]:
    """Offset and slope by weighted least squares; the slope is drawn towards 1."""
    weight = 1 / (noise + 1)
    if old is None:
        return float((weight * y).sum() / weight.sum()), 0.0
    design = np.stack([np.ones_like(old), old], axis=1)
    left = design.T @ (weight[:, None] * design) + np.diag([0.25, 1 / EVEN])
    right = design.T @ (weight * y) + np.array([0.0, 1 / EVEN])
    offset, slope = np.linalg.solve(left, right)
    return float(offset), float(slope)


def regressor(weights: Array, noise: Array, own: float, amplitudes: Sequence[float], search: Any) -> Any:
    """scikit-learn's Gaussian process of this kernel, not fitted; `search` looks for amplitudes, None keeps them."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    kernel: Any = WhiteKernel(own, BOUNDS)
    for amplitude, weight in zip(amplitudes, weights, strict=True):
        scale = 1 / np.maximum(weight, 1e-9)  # what does not matter is never far
        kernel = kernel + ConstantKernel(amplitude, BOUNDS) * RBF(scale, "fixed")
    return GaussianProcessRegressor(kernel, alpha=noise, optimizer=search)


def _amplitudes(x: Array, weights: Array, y: Array, noise: Array, defaults: Sequence[float], seed: int) -> Array:
    """The most probable amplitudes: marginal likelihood times log-normal priors around the defaults.

    A random part of many examples is enough for these few numbers.
    """
    from scipy.optimize import minimize  # comes with scikit-learn
    from sklearn.exceptions import ConvergenceWarning

    centre = np.log(defaults)
    part = np.sort(np.random.default_rng(seed).permutation(len(y))[:ENOUGH])

    def search(loss: Callable[..., Any], start: Array, bounds: Array) -> tuple[Array, float]:
        def penalised(theta: Array) -> tuple[float, Array]:
            value, slope = loss(theta)
            off = (theta - centre) / SHARPNESS
            return value + 0.5 * float(off @ off), slope + off / SHARPNESS

        found = minimize(penalised, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 25})
        return found.x, float(found.fun)

    with warnings.catch_warnings():
        # An amplitude at its bound is an answer.
        warnings.simplefilter("ignore", ConvergenceWarning)
        learned = regressor(weights, noise[part], defaults[0], defaults[1:], search).fit(x[part], y[part])
    out: Array = np.exp(learned.kernel_.theta)
    return out


# ------------------------------------------------------------ held out


def checked(
    seen: Sequence[Seen],
    *,
    levels: Sequence[str],
    work: Mapping[str, float],
    seed: int,
    prior: ArmModel | None = None,
) -> dict[str, float]:
    """How well groups of arms are foretold from the others, with the amplitudes of all; empty where nothing is learned.

    Of accuracy, and with `cost_` before the name of cost: `groups` that share draws; `inside`, the share of examples
    within 1.96 standard deviations (their noise included), and `inside_widened`, after `inflation`; the variance that
    is explained of what the level's mean leaves, `r2_over_level_mean`; rank correlations of both.
    """
    return fit_arms(seen, levels=levels, work=work, seed=seed, prior=prior).check
