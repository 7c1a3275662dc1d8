"""What is left to try: the arms that were neither tried nor follow from draws that are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from autotts.core.strategy import Strategy
from autotts.errors import InputError
from autotts.search.archive import Archive
from autotts.search.runs import Family, depth, family, scorer
from autotts.search.validator import Floor
from autotts.strategies.arms import parse, show


@dataclass(frozen=True)
class Left:
    """Tells what need not be proposed at a level.

    A pooled arm that took all its prompts left its draws behind, and all arms that choose among no more of them are
    measured for nothing; the archive holds only those of them that stand on the frontier.
    """

    tried: frozenset[str]
    pools: Mapping[Family, tuple[int, str | None]]
    floor: Floor
    cap: float | None

    @classmethod
    def of(cls, archive: Archive) -> Left:
        """What an archive leaves."""
        tried = frozenset(trial.arm for trial in archive.trials)
        left = cls(tried, {}, Floor.of(archive.trials), archive.cap)
        for trial in archive.trials:
            if trial.state != "complete":
                continue
            try:
                left = left.after(parse(trial.arm))
            except InputError:
                continue  # a trial of another version
        return left

    def after(self, strategy: Strategy) -> Left:
        """What is left once an arm is drawn too."""
        of, pools = family(strategy), dict(self.pools)
        if of is not None:
            count, by = pools.get(of, (0, None))
            pools[of] = (max(count, depth(strategy)), by or scorer(strategy))
        return Left(self.tried | {show(strategy)}, pools, self.floor, self.cap)

    def answered(self, strategy: Strategy) -> bool:
        """Whether draws that are there tell what an arm does."""
        of, by = family(strategy), scorer(strategy)
        count, scored = (0, None) if of is None else self.pools.get(of, (0, None))
        return depth(strategy) <= count and by in (None, scored)

    def has(self, strategy: Strategy) -> bool:
        """Whether an arm is worth a proposal: new, not answered by draws that are there, not surely over the cap."""
        if show(strategy) in self.tried or self.answered(strategy):
            return False
        return self.cap is None or self.floor.least(strategy) <= self.cap

    def among(self, arms: Iterable[Strategy]) -> list[Strategy]:
        """Those of some arms that are left."""
        return [arm for arm in arms if self.has(arm)]
