"""Cross-fitting: bins, arms and budgets are chosen on some problems and reported on others, fold by fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from autotts.predict import levels as predict
from autotts.predict.levels import LevelModel
from autotts.search.board import CAUTION, Board, Curve, solve, used

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

FOLDS = 5
ROUNDS = 4  # times that the problems are cut into folds, where they are few
FEW = 200  # problems, below which the folds are cut several times
INNER = 3  # folds within a fold, to decide whether bins are worth having
BUDGETS = 8  # at which that is decided
SCANT = 40  # problems a bin, below which bins are not learned from prompts

Fold: TypeAlias = tuple[Ints, Ints]


@dataclass(frozen=True, slots=True, eq=False)
class Binned:
    """Problems in bins: how far those to choose on belong to each, [B, N], and the bin of those to be used on, [T]."""

    names: tuple[str, ...]
    member: Floats
    used: tuple[str, ...]
    rule: LevelModel | None = None


Binning: TypeAlias = Callable[[Board, Ints, Ints], Binned]


def folds(count: int, seed: int) -> list[Fold]:
    """Rows to choose on and rows to report on, so that every row is reported on equally often."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(ROUNDS if count < FEW else 1):
        order = rng.permutation(count)
        parts = np.array_split(order, min(FOLDS, count))
        out += [(np.sort(np.setdiff1d(order, part)), np.sort(part)) for part in parts]
    return out


def curve(
    board: Board, arms: Sequence[Bools], cuts: Sequence[Fold], binning: Binning, *, caution: float = 0.0
) -> Curve:
    """The frontier over some bins, cross-fitted; `arms` are those that each fold may use, [A] each."""
    lines = []
    for allowed, (train, test) in zip(arms, cuts, strict=True):
        binned = binning(board, train, test)
        chosen = solve(board, allowed, train, binned.member, binned.names, caution=caution)
        lines.append(used(chosen, board, test, binned.used))
    return Curve(board, tuple(lines))


def together(board: Board, train: Ints, test: Ints) -> Binned:
    """One bin for all."""
    return Binned(("all",), np.ones((1, len(train))), ("all",) * len(test))


def by_ease(count: int) -> Binning:
    """Bins of the pool's own pass rate: for analysis only, since a prompt does not carry it."""

    def binning(board: Board, train: Ints, test: Ints) -> Binned:
        cuts = _cuts(-board.ease[train], count)
        return _sharp(_bin(-board.ease[train], cuts), _bin(-board.ease[test], cuts), count)

    return binning


def by_length(count: int) -> Binning:
    """Bins of the prompt's length."""

    def binning(board: Board, train: Ints, test: Ints) -> Binned:
        length = np.array([len(p.prompt) for p in board.problems], np.float64)
        cuts = _cuts(length[train], count)
        return _sharp(_bin(length[train], cuts), _bin(length[test], cuts), count)

    return binning


def by_prompt(count: int, seed: int) -> Binning:
    """Bins that are predicted from the prompt: learned from the pass rates of the problems to choose on."""

    def binning(board: Board, train: Ints, test: Ints) -> Binned:
        rule = learned(board, train, count, seed)
        if rule is None or rule.kind == "constant":
            return together(board, train, test)
        member = membership(board, train, count, rule)
        prompts = [board.problems[i].prompt for i in test]
        table = rule.table(prompts)
        names = tuple(map(str, rule.levels))
        return Binned(names, member, tuple(names[i] for i in table.argmax(1)), rule)

    return binning


def membership(board: Board, rows: Ints, count: int, rule: LevelModel) -> Floats:
    """How far some problems belong to each bin, [B, N]: how often the rule takes one of their pass rate for it."""
    taken = np.array(rule.confusion, float)
    taken /= taken.sum(1, keepdims=True)  # [level, bin]
    return np.asarray(taken[[rule.levels.index(v) for v in levels_of(board, rows, count)]].T)


def levels_of(board: Board, rows: Ints, count: int) -> list[int]:
    """The bin of the pass rate of each of some problems among themselves: 1 is the easiest."""
    ease = board.ease[rows]
    return [int(b) + 1 for b in _bin(-ease, _cuts(-ease, count))]


def learned(board: Board, rows: Ints, count: int, seed: int) -> LevelModel | None:
    """The rule from prompts to bins of the pass rate, or None where there is nothing to tell apart."""
    level = levels_of(board, rows, count)
    if len(set(level)) < 2:
        return None
    return predict.fit([board.problems[i].prompt for i in rows], level, seed)


@dataclass(frozen=True, slots=True)
class Gain:
    """What a way of telling prompts apart is worth beyond treating them alike: a mean over problems, and its error."""

    value: float
    error: float

    @property
    def beyond_noise(self) -> bool:
        """Whether it is more than luck may give."""
        return self.value > CAUTION * self.error


def worth(board: Board, arms: Bools, rows: Ints, count: int, seed: int) -> Gain | None:
    """What predicted bins gain over none, on problems that neither has seen; None where there is nothing to predict."""
    if len(rows) < SCANT * count:
        return None
    part, cuts = board.part(rows), inner(len(rows), seed)
    binned = curve(part, [arms] * len(cuts), cuts, by_prompt(count, seed), caution=CAUTION)
    found = gain(binned, alike(part, arms, cuts))
    if not found.beyond_noise:
        return found
    rule = learned(board, rows, count, seed)
    return None if rule is None or rule.kind == "constant" else found


def inner(count: int, seed: int) -> list[Fold]:
    """Folds within a fold: places among its problems."""
    order = np.random.default_rng(seed).permutation(count)
    return [(np.sort(np.setdiff1d(order, test)), np.sort(test)) for test in np.array_split(order, INNER)]


def alike(board: Board, arms: Bools, cuts: Sequence[Fold]) -> Curve:
    """The frontier that treats all prompts alike, cross-fitted."""
    return curve(board, [arms] * len(cuts), cuts, together, caution=CAUTION)


def gain(ours: Curve, plain: Curve) -> Gain:
    """What one curve gains over another at the costs that it realises, over all budgets of the other."""
    low, high = plain.span
    gains = []
    for budget in np.geomspace(low * 1.05, high, BUDGETS):
        found = ours.at(float(budget))
        gains.append(found.value - plain.matched(float(found.cost.mean())).value)
    each = np.mean(gains, axis=0)
    return Gain(float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each))))


def _cuts(values: Floats, count: int) -> Floats:
    """Values that cut the others into equally many."""
    return np.unique(np.quantile(values, np.arange(1, count) / count))


def _bin(values: Floats, cuts: Floats) -> Ints:
    return np.searchsorted(cuts, values, side="left")


def _sharp(train: Ints, test: Ints, count: int) -> Binned:
    names = tuple(str(b + 1) for b in range(count))
    member = (np.arange(count)[:, None] == train[None, :]).astype(np.float64)
    return Binned(names, member, tuple(names[b] for b in test))
