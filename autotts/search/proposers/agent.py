"""A language model as a proposer (AgentTTS, 2508.00890): guidelines from the history, then arms, as JSON by a schema.

Nothing leaves it but texts of arms, which pass the validator like everyone's; whatever else the model says has no
effect. What it takes is counted, and no call begins that the search budget has no room for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from hashlib import blake2b
from threading import Lock
from typing import Any, Final

from autotts.core.cost import ModelCard
from autotts.errors import InputError, ProposerError
from autotts.search.archive import Archive
from autotts.search.proposers.asking import Asking, Memory, NoRoom, Notebook
from autotts.search.proposers.briefing import SYSTEM, Insights, briefing
from autotts.search.proposers.replies import ASK, REPAIR, SCHEMA, Unreadable, plain, proposals
from autotts.search.validator import clipped
from autotts.strategies.arms import parse, show
from autotts.worlds.chat import Chat, Message

PATIENCE: Final = 3  # rounds in a row at a level that bring nothing new, and the agent is not asked there again
NO_ROOM: Final = "the search budget leaves no room for the agent"
QUOTED: Final = 2000  # characters of a reply that could not be read, when it is asked for again

FIRST: Final = """\
Write guidelines for the search at this level: at most eight short rules on which models, numbers of draws and \
strategies to try first, and why. No arms yet."""
LATER: Final = """\
Update your guidelines from what was tried: at most eight short rules. Say what the results show, which regions are \
settled, what is worth trying next, and how to avoid what was refused. No arms yet."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the agent did: questions asked (those answered from the memory too) and what came of them.

    `proposed` are the arms that it gave, `repeated` those of its proposals that were known or came twice, `invalid`
    the replies and proposals that could not be read, `failed` the questions without an answer, `tokens` what all calls
    read and wrote, those of earlier runs too, `estimated` the calls of this run whose server did not say.
    """

    asked: int = 0
    proposed: int = 0
    invalid: int = 0
    repeated: int = 0
    failed: int = 0
    tokens: int = 0
    estimated: int = 0


@dataclass
class Agent:
    """The proposer; one serves all levels of a study, one call at a time.

    Parameters
    ----------
    card
        What its tokens cost, see `asking.card_of`.
    unit
        The study's unit.
    task
        The name of the task, for the briefing.
    room
        Parts of the unit that the search budget has left, or None for no limit; asked before each call.
    most_tokens
        That one reply may have.
    most_characters
        That one briefing may have: about four times the tokens of the context that it may fill.

    Attributes
    ----------
    note
        What is to be said of the last round; empty where there is nothing.

    Raises
    ------
    InputError
        When the tokens of this model have no price in the unit.
    """

    chat: Chat
    card: ModelCard
    unit: str = "flops"
    _: KW_ONLY
    task: str = ""
    insights: Insights = Insights()
    room: Callable[[], float | None] = lambda: None
    memory: Memory = field(default_factory=Notebook)
    temperature: float = 0.7
    most_tokens: int = 2000
    most_characters: int = 24_000
    note: str = field(default="", init=False)
    _counts: Counts = field(default=Counts(), init=False)
    _asking: Asking = field(init=False, repr=False)
    _guidelines: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list), init=False)
    _barren: dict[str, int] = field(default_factory=lambda: defaultdict(int), init=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        self._asking = Asking(
            self.chat,
            self.card,
            self.unit,
            room=self.room,
            memory=self.memory,
            temperature=self.temperature,
            most_tokens=self.most_tokens,
        )

    @property
    def name(self) -> str:
        """As users write it."""
        return "agent"

    @property
    def counts(self) -> Counts:
        """What it did so far."""
        made = self._asking
        return replace(self._counts, asked=made.asked, failed=made.failed, tokens=made.tokens, estimated=made.estimated)

    def spent(self, unit: str) -> int:
        """Parts that its calls took, those of earlier runs on the same memory too."""
        return self._asking.spent(unit)

    def propose(self, archive: Archive, k: int) -> Sequence[str]:
        """Up to k arms, in the order of the reply; none, and a note, where it said nothing or may not be asked.

        Raises
        ------
        ProposerError
            When the server fails, or after `PATIENCE` rounds in a row at this level that brought nothing new.
        """
        with self._lock:
            self.note = ""
            if k < 1:
                return ()
            if self._barren[archive.level] >= PATIENCE:
                raise ProposerError(f"{self._who} has retired at level {archive.level} and is not asked again there")
            self._asking.begin()
            try:
                found = self._round(archive, k)
            except NoRoom:
                self.note = NO_ROOM
                return ()
            except ProposerError:
                self._barren[archive.level] += 1
                raise
            return self._sifted(archive, found, k)

    @property
    def _who(self) -> str:
        return f"the agent ({self.chat.model})"

    def _round(self, archive: Archive, k: int) -> list[str]:
        """Guidelines, then proposals; a reply that cannot be read is asked for once more."""
        own = self._guidelines[archive.level]
        own.append(plain(self._say(self._messages(archive, LATER if own else FIRST), archive, calls=2)))
        messages = self._messages(archive, ASK.format(k=k))
        reply = self._say(messages, archive, schema=SCHEMA)
        try:
            return self._read(reply)
        except Unreadable as error:
            why = str(error)
        messages += [
            {"role": "assistant", "content": reply[:QUOTED]},
            {"role": "user", "content": REPAIR.format(why=why)},
        ]
        try:
            return self._read(self._say(messages, archive, schema=SCHEMA))
        except Unreadable as error:
            self.note = f"{self._who} gave no proposals that can be read, when asked again neither: {error}"
        except NoRoom:
            self.note = f"{self._who} gave no proposals that can be read ({why}), and {NO_ROOM} to be asked again"
        return []

    def _read(self, reply: str) -> list[str]:
        try:
            found, lost = proposals(reply)
        except Unreadable:
            self._count(invalid=1)
            raise
        self._count(invalid=lost)
        return found

    def _say(
        self, messages: list[Message], archive: Archive, *, calls: int = 1, schema: Mapping[str, Any] | None = None
    ) -> str:
        return self._asking.say(messages, seed=_seed(archive), calls=calls, schema=schema)

    def _messages(self, archive: Archive, question: str) -> list[Message]:
        """The briefing and a question; rounds share their beginning, so that a server may cache it."""
        told = briefing(
            archive,
            task=self.task,
            insights=self.insights,
            guidelines=self._guidelines[archive.level],
            most=self.most_characters - len(SYSTEM) - len(question) - 20,
        )
        return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"{told}\n\n## Now\n{question}"}]

    def _sifted(self, archive: Archive, found: Sequence[str], k: int) -> list[str]:
        """The first k of different arms; known ones stay (the validator refuses them in words), but are counted."""
        different: dict[str, str] = {}
        for arm in found:
            different.setdefault(_canonical(arm), arm)
        taken = list(different.items())[:k]
        known = {t.arm for t in archive.trials}
        fresh = sum(arm not in known and clipped(text) not in known for arm, text in taken)
        self._count(proposed=len(taken), repeated=len(found) - len(different) + len(taken) - fresh)
        if fresh:
            self._barren[archive.level] = 0
        else:
            self._barren[archive.level] += 1
            self.note = self.note or f"{self._who} proposed {'only what is known' if taken else 'nothing'}"
            if self._barren[archive.level] >= PATIENCE:
                raise ProposerError(
                    f"{self._who} retires at level {archive.level}: {PATIENCE} rounds in a row brought nothing new; "
                    f"in the last one {self.note}"
                )
        return [text for _, text in taken]

    def _count(self, *, proposed: int = 0, invalid: int = 0, repeated: int = 0) -> None:
        so_far = self._counts
        self._counts = replace(
            so_far,
            proposed=so_far.proposed + proposed,
            invalid=so_far.invalid + invalid,
            repeated=so_far.repeated + repeated,
        )


def _canonical(arm: str) -> str:
    try:
        return show(parse(arm))
    except InputError:
        return arm


def _seed(archive: Archive) -> int:
    """One for each level and round of a study."""
    text = f"{archive.seed}:{archive.level}:{archive.round}"
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big") >> 1
