"""What becomes of proposals: taken, refused, skipped; and of proposers that fail."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import optuna
import pytest

from autotts.errors import ProposerError
from autotts.search.archive import Archive
from autotts.search.asking import Asking
from autotts.search.level import Level, Slot
from autotts.search.screen import Screen, Verdict
from autotts.strategies.arms import parse
from tests.search.test_level import SPACE, level_of

VOTES = [f"vote(n={n}, model=A, temperature=0.6)" for n in (2, 4, 8, 16, 32)]


@dataclass
class Listed:
    """Proposes from a list, always the same."""

    texts: Sequence[str]
    name: str = "listed"
    asked: list[Archive] = field(default_factory=list)

    def propose(self, archive: Archive, k: int) -> Sequence[str]:
        self.asked.append(archive)
        return self.texts[:k]


@dataclass
class Broken:
    name: str = "broken"
    calls: int = 0

    def propose(self, archive: Archive, k: int) -> Sequence[str]:
        self.calls += 1
        raise ProposerError("its server is down")


@dataclass(frozen=True, slots=True)
class Strict(Screen):
    """Skips everything, until it is stopped."""

    over: bool = False

    def judge(self, archive: Archive, arms: Sequence[str], model: object) -> list[Verdict]:
        return [Verdict(arm, True, False, 0.0, "foretold to be of no use") for arm in arms]

    def stopped(self, archive: Archive) -> str | None:
        return "audits contradict it" if self.over else None


@pytest.fixture
def level() -> Level:
    return level_of(optuna.storages.InMemoryStorage())


def slots(asking: Asking, level: Level, room: int, number: int = 0) -> list[Slot]:
    like = Archive(level="", levels=("1",), space=SPACE, work={"A": 1.0, "B": 8.0}, round=number)
    return asyncio.run(asking.slots(level, level.archive({level.name: level.trials()}, like), room))


def test_valid_arms_are_taken_in_order_and_wrong_ones_are_counted(level: Level) -> None:
    listed = Listed([VOTES[0], "rm -rf /", VOTES[0], "vote(n=3, model=A)", VOTES[1]])
    asking = Asking([listed], Listed([], "none"), None)
    found = slots(asking, level, 5)
    assert [s.arm for s in found] == VOTES[:2]
    assert asking.counts["listed"]["tried"] == 2
    assert {t.trace.split(":")[0] for t in level.refused} == {"unreadable", "off the grid"}
    # Too few were of use, so more were asked for, and the proposer was told what had been refused.
    assert len(listed.asked) == 2
    assert any(t.state == "refused" for t in listed.asked[1].trials)


def test_what_waits_comes_first_and_the_room_holds(level: Level) -> None:
    level.queue = [(parse(VOTES[4]), "neighbour")]
    asking = Asking([Listed(VOTES)], Listed([], "none"), None)
    assert [(s.arm, s.kind) for s in slots(asking, level, 3)] == [
        (VOTES[4], "neighbour"),
        (VOTES[0], "listed"),
        (VOTES[1], "listed"),
    ]


def test_proposers_share_the_places(level: Level) -> None:
    asking = Asking([Listed(VOTES[:2], "a"), Listed(VOTES[2:], "b")], Listed([], "none"), None)
    assert [s.kind for s in slots(asking, level, 4)] == ["a", "a", "b", "b"]


def test_a_proposer_that_fails_is_left_out_there_and_the_others_go_on(level: Level) -> None:
    broken, paid = Broken(), []
    asking = Asking([broken], Listed(VOTES, "guided"), None, lambda proposer: paid.append(proposer.name))
    found = slots(asking, level, 2)
    assert [s.kind for s in found] == ["guided", "guided"]
    assert len(asking.notes) == 1
    assert "its server is down" in asking.notes[0] and "goes on there with guided" in asking.notes[0]
    slots(asking, level, 1, number=1)
    assert broken.calls == 1
    assert paid[0] == "broken"  # what a failed call took is charged too


def test_a_screen_skips_and_what_it_skipped_comes_back_when_it_was_wrong(level: Level) -> None:
    asking = Asking([Listed(VOTES)], Listed([], "none"), Strict())
    assert slots(asking, level, 2) == []
    assert asking.counts["listed"]["skipped"] == 5
    assert all(t.state == "skipped" for t in level.log.values())
    wrong = Asking([Listed([])], Listed([], "none"), Strict(over=True))
    assert {s.arm for s in slots(wrong, level, 5, number=1)} == set(VOTES)
    assert wrong.notes == ["level 1: audits contradict it"]


def test_the_designed_round_is_never_skipped(level: Level) -> None:
    level.queue = [(parse(VOTES[0]), "designed")]
    assert [s.kind for s in slots(Asking([Listed([])], Listed([], "none"), Strict()), level, 1)] == ["designed"]
