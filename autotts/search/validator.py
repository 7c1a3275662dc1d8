"""The one validator: every proposal passes it, whoever made it, and what it refuses it refuses in words."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from autotts.core.cost import show as amount
from autotts.core.strategy import Strategy, knobs
from autotts.errors import InputError
from autotts.search.archive import Archive, Trial
from autotts.search.runs import Family, depth, family, scorer
from autotts.search.space import Space, models_of
from autotts.strategies.adaptive import surety
from autotts.strategies.arms import LONGEST, name_of, parse, show, written

Kind: TypeAlias = Literal["unreadable", "unknown", "off the grid", "over the cap", "too many draws", "known"]

SHOWN: Final = 200  # characters of a proposal, and of a reason, that are kept
FIXED: Final = frozenset({"one", "vote", "weighted_vote", "best_of_n"})  # they make all their draws, whatever comes

_NAME = re.compile(r"[ \t\r\n]*([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A proposal that is not tried: of which kind, why in words, and its text, clipped and printable."""

    kind: Kind
    why: str
    text: str


def check(text: str, archive: Archive, known: Collection[str]) -> Strategy | Refusal:
    """The arm that a proposal names, or why it is not tried.

    Parameters
    ----------
    text
        As it was proposed; nothing longer than an arm can be is read at all.
    known
        Arms, as they are written, that are measured or waiting already; those tried in the archive are known too.
    """
    try:
        strategy = _valid(text, archive.space)
        _fresh(strategy, archive, known)
        _affordable(strategy, archive)
    except _Refused as refused:
        return Refusal(refused.kind, clipped(refused.why), clipped(text))
    return strategy


def clipped(text: str) -> str:
    """The beginning of a text on one line; what would act on a terminal is written out."""
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: SHOWN + 1])
    return safe if len(safe) <= SHOWN else safe[: SHOWN - 3] + "..."


class _Refused(Exception):
    def __init__(self, kind: Kind, why: str) -> None:
        super().__init__(why)
        self.kind = kind
        self.why = why


def _valid(text: str, space: Space) -> Strategy:
    """The arm, if it stands in the space."""
    if len(text) > LONGEST:
        raise _Refused("unreadable", f"expected an arm of at most {LONGEST} characters, found {len(text)}")
    try:
        given = written(text)
    except InputError as error:
        raise _Refused("unreadable", str(error)) from None
    found = _NAME.match(text)
    name = "" if found is None else found.group(1)
    if name not in space.strategies:
        raise _Refused("unknown", f"expected one of the strategies {', '.join(space.strategies)}, found {name}")
    declared = knobs(space.strategies[name])
    for key in sorted(given - set(declared)):
        raise _Refused("unknown", f"{name} has the knobs {', '.join(declared)}, and no {key}")
    try:
        strategy = parse(text)
    except InputError as error:
        raise _Refused("off the grid", str(error)) from None
    _bound(strategy, space)
    _on_grid(strategy, space)
    return strategy


def _bound(strategy: Strategy, space: Space) -> None:
    """Refuse a role that nothing in the space is bound to; a default such as `policy` must be given a name too."""
    drawn, scored = models_of(strategy)
    for role, there, word in ((drawn, space.models, "models"), (scored, space.scorers, "scorers")):
        for name in role:
            if name not in there:
                raise _Refused("unknown", f"expected one of the {word} {', '.join(there) or '(none)'}, found {name}")


def _on_grid(strategy: Strategy, space: Space) -> None:
    declared = knobs(type(strategy))
    asked = {name: getattr(strategy, name) for name in declared}
    if space.params(strategy) is None:
        name = next(n for n, knob in declared.items() if asked[n] not in space.values(knob))
        grid = ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in space.values(declared[name]))
        raise _Refused("off the grid", f"{name}: expected one of {grid}, found {asked[name]}")
    for name, value in space.fitting(declared, asked).items():
        if value != asked[name]:
            model = asked.get("model", asked.get("small"))
            why = f"{name}: expected at most {value} draws of {model} in this study (--largest), found {asked[name]}"
            raise _Refused("too many draws", why)


def _fresh(strategy: Strategy, archive: Archive, known: Collection[str]) -> None:
    arm = show(strategy)
    for trial in archive.trials:
        if trial.arm == arm and trial.state != "refused":
            how = "measured" if trial.state == "complete" else trial.state
            raise _Refused("known", f"{arm} was {how} in round {trial.round} ({trial.kind})")
    if arm in known:
        raise _Refused("known", f"{arm} is measured, or waits, already")


def _affordable(strategy: Strategy, archive: Archive) -> None:
    if archive.cap is None:
        return
    floor = Floor.of(archive.trials).least(strategy)
    if floor > archive.cap:
        most, least = amount(archive.cap, archive.unit), amount(floor, archive.unit)
        raise _Refused("over the cap", f"expected at most {most} a prompt (--cap), found {least} or more")


# ------------------------------------------------------------ the least that an arm can cost

_Key: TypeAlias = tuple[Family | None, str | None]  # draws, and what scores them


@dataclass(frozen=True, slots=True)
class Floor:
    """The least that arms cost a prompt, by what was measured of draws of the same family.

    A prompt is read once and a text is scored once, so n draws cost no more than n times one: what n draws cost bounds
    fewer draws by their share, and more draws by itself. Arms of which nothing is surely known cost 0.
    """

    seen: Mapping[_Key, tuple[tuple[int, float], ...]]

    @classmethod
    def of(cls, trials: Sequence[Trial]) -> Floor:
        """From the trials of one level; only those that were measured on all prompts and make all their draws."""
        seen: dict[_Key, dict[int, float]] = defaultdict(dict)
        for trial in trials:
            if trial.state != "complete" or trial.cost is None or not math.isfinite(trial.cost):
                continue
            try:
                strategy = parse(trial.arm)
            except InputError:
                continue  # a trial of another version: nothing is known from it
            if name_of(strategy) in FIXED:
                seen[family(strategy), scorer(strategy)][depth(strategy)] = trial.cost
        return cls({key: tuple(sorted(costs.items())) for key, costs in seen.items()})

    def least(self, strategy: Strategy) -> float:
        """The least mean cost of an arm, in parts a prompt; 0 where nothing is known."""
        count, of = certain(strategy), family(strategy)
        # Draws that are scored cost no less than draws that are not.
        known = [pair for by in {None, scorer(strategy)} for pair in self.seen.get((of, by), ())]
        return max((cost * min(1.0, count / draws) for draws, cost in known), default=0.0)


def certain(strategy: Strategy) -> int:
    """Whole draws that an arm makes whatever they say; 0 where that is not known."""
    name = name_of(strategy)
    if name in FIXED:
        return depth(strategy)
    if name == "adaptive":
        asked: Any = strategy
        alike = next((n for n in range(1, asked.most) if surety(n, 0) >= asked.threshold), asked.most)
        return int(min(asked.most, -(-alike // asked.batch) * asked.batch))
    return 0
