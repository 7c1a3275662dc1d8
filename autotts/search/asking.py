"""What is tried in a round: what waits, then what the proposers want, through one validator and one screen."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from autotts.errors import ProposerError
from autotts.search.archive import Archive, Proposer, Trial
from autotts.search.level import Level, Slot
from autotts.search.screen import Screen
from autotts.search.validator import Refusal, check
from autotts.strategies.arms import parse, show

SURE = frozenset({"designed", "remembered", "requeued"})  # kinds of arms that are never skipped
MORE = 4  # times as many arms are asked for once more, where too few of the first were of use


@dataclass
class Asking:
    """Who proposes and what becomes of it, over all rounds of a study.

    `counts` has, by proposer, how many arms were "proposed", "refused", "skipped" and "tried"; `notes` says what a
    user should know, such as a proposer that failed.
    """

    proposers: list[Proposer]
    fallback: Proposer
    screen: Screen | None
    charge: Callable[[Proposer], None] = lambda proposer: None  # after each time that one was asked
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _failed: set[tuple[str, str]] = field(default_factory=set)  # proposers and the levels that they failed at

    async def slots(self, level: Level, archive: Archive, room: int) -> list[Slot]:
        """At most `room` arms for a level: what waits there first, then proposals."""
        archive = self._bring_back(level, archive)
        found = _Chosen(self, level, archive, room)
        for strategy, kind in level.waiting():
            found.add(show(strategy), kind)
        for more in (1, MORE):
            # Proposers share the places evenly, in turn.
            alive = self._alive(level)
            for turn in range(len(alive)):
                proposer = alive[(archive.round + turn) % len(alive)]
                wanted = -(-found.left // (len(alive) - turn))
                if wanted > 0:
                    await self._ask(proposer, found, wanted, more)
        return found.slots

    def _alive(self, level: Level) -> Sequence[Proposer]:
        """Who has not failed at a level."""
        return [p for p in self.proposers if (p.name, level.name) not in self._failed] or [self.fallback]

    async def _ask(self, proposer: Proposer, found: _Chosen, wanted: int, more: int) -> None:
        archive = replace(found.archive, trials=(*found.archive.trials, *found.refused))
        try:
            texts = await asyncio.to_thread(proposer.propose, archive, wanted * more)
        except ProposerError as error:
            self._failed.add((proposer.name, archive.level))
            others = ", ".join(p.name for p in self._alive(found.level))
            self.notes.append(
                f"round {archive.round}, level {archive.level}: proposer {proposer.name} failed: {error}; "
                f"the study goes on there with {others}"
            )
            return
        finally:
            self.charge(proposer)
        before = found.left
        for text in texts:
            if before - found.left >= wanted:
                break
            found.add(text, proposer.name)

    def _bring_back(self, level: Level, archive: Archive) -> Archive:
        """Where the screen was wrong too often, what it left out is tried after all."""
        stopped = None if self.screen is None else self.screen.stopped(archive)
        if self.screen is None or stopped is None:
            return archive
        note = f"level {level.name}: {stopped}"
        if note not in self.notes:
            self.notes.append(note)
        back = set(self.screen.waiting(archive))
        for arm in sorted(back):
            level.log.pop(arm, None)
            level.queue.append((parse(arm), "requeued"))
        return replace(archive, trials=tuple(t for t in archive.trials if t.arm not in back))


class _Chosen:
    """The arms of one level and round, as they are taken."""

    def __init__(self, asking: Asking, level: Level, archive: Archive, room: int) -> None:
        self.asking = asking
        self.level = level
        self.archive = archive
        self.left = room
        self.slots: list[Slot] = []
        self.refused: list[Trial] = []
        self._next = 0
        self._arms: set[str] = {t.arm for t in archive.trials if t.state != "refused"}

    def add(self, text: str, kind: str) -> None:
        """Take an arm, or refuse or skip it; in all cases it is counted."""
        counts = self.asking.counts.setdefault(kind, Counter())
        counts["proposed"] += 1
        if self.left <= 0:
            return
        found = check(text, self.archive, self._arms)
        if isinstance(found, Refusal):
            counts["refused"] += 1
            trial = Trial(found.text, kind, self.archive.round, "refused", trace=f"{found.kind}: {found.why}")
            self.refused.append(trial)
            if found.kind != "known":
                self.level.refused.append(trial)
            return
        arm, number = show(found), self.archive.round
        self._arms.add(arm)
        self._next += 1
        if self.asking.screen is not None and kind not in SURE:
            verdict = self.asking.screen.judge(self.archive, [arm], self.archive.model)[0]
            if verdict.skip:
                counts["skipped"] += 1
                self.level.skip(verdict, kind, number, self._next)
                return
            kind = "audit" if verdict.audited else kind
        counts["tried"] += 1
        self.left -= 1
        self.slots.append(self.level.begin(found, kind, number, self._next))
