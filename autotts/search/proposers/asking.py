"""The agent's questions: answered from the memory, or by the server where the budget has room, and all counted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from hashlib import blake2b
from typing import Any, Final, Protocol

from autotts.core.cost import ModelCard, Prices, Usage
from autotts.errors import InputError
from autotts.worlds.chat import Chat, Message, Unanswered, bound

SPENT: Final = "spent"  # where the memory keeps the tokens of all calls


class Memory(Protocol):
    """Where replies are kept, so that a study that is run again asks nothing twice; used from the agent's thread."""

    def get(self, key: str) -> str | None:
        """The text that was kept under a key."""
        ...

    def set(self, key: str, text: str) -> None:
        """Keep a text."""
        ...


@dataclass
class Notebook:
    """A memory that lasts as long as the process."""

    kept: dict[str, str] = field(default_factory=dict)

    def get(self, key: str) -> str | None:
        """The text that was kept under a key."""
        return self.kept.get(key)

    def set(self, key: str, text: str) -> None:
        """Keep a text."""
        self.kept[key] = text


class NoRoom(Exception):
    """The next call does not fit into the search budget."""


@dataclass
class Asking:
    """Who is asked, what it costs, and what was asked so far.

    Attributes
    ----------
    asked, failed, estimated
        Questions (those answered from the memory too), those without an answer, and calls of this run whose server did
        not say what they took.
    calls
        What each call took, those of earlier runs on the same memory too.

    Raises
    ------
    InputError
        When the tokens of this model have no price in the unit.
    """

    chat: Chat
    card: ModelCard
    unit: str
    _: KW_ONLY
    room: Callable[[], float | None]
    memory: Memory
    temperature: float
    most_tokens: int
    asked: int = field(default=0, init=False)
    failed: int = field(default=0, init=False)
    estimated: int = field(default=0, init=False)
    calls: list[Usage] = field(init=False)
    _before: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        priced(self.card, self.unit)
        self.calls = [Usage(*numbers) for numbers in json.loads(self.memory.get(SPENT) or "[]")]

    @property
    def tokens(self) -> int:
        """What all calls read and wrote."""
        return sum(u.prompt + u.cached + u.generated for u in list(self.calls))

    def spent(self, unit: str) -> int:
        """Parts that all calls took."""
        prices = priced(self.card, unit)
        return sum(
            prices.of_prompt(u.prompt + u.cached, u.prompt)
            + prices.of_generated(u.prompt + u.cached, u.generated)
            + prices.call * (u.calls - 1)
            for u in list(self.calls)
        )

    def begin(self) -> None:
        """Begin a round: what is spent from now on may not be settled before it ends."""
        self._before = self.spent(self.unit)

    def say(
        self, messages: Sequence[Message], *, seed: int, calls: int = 1, schema: Mapping[str, Any] | None = None
    ) -> str:
        """The reply to a question.

        Raises
        ------
        NoRoom
            When the budget has no room for so many calls like this one.
        ProposerError
            When no answer came; what that took is counted.
        """
        self.asked += 1
        key = "reply/" + _digest(self.chat.model, messages, seed)
        kept = self.memory.get(key)
        if kept is not None:
            return kept
        self._afford(bound(messages, self.most_tokens), calls)
        try:
            said = self.chat.complete(
                messages, temperature=self.temperature, max_tokens=self.most_tokens, seed=seed, schema=schema
            )
        except Unanswered as error:
            self.failed += 1
            self._charge(error.usage)
            raise
        self.estimated += said.estimated
        self._charge(said.usage)
        self.memory.set(key, said.text)
        return said.text

    def _afford(self, most: Usage, calls: int) -> None:
        left = self.room()
        if left is None:
            return
        prices = priced(self.card, self.unit)
        need = prices.of_prompt(most.prompt, most.prompt) + prices.of_generated(most.prompt, most.generated)
        if calls * need > left - (self.spent(self.unit) - self._before):
            raise NoRoom

    def _charge(self, usage: Usage) -> None:
        if usage == Usage():
            return
        self.calls.append(usage)
        rows = [[u.prompt, u.cached, u.generated, u.cancelled, u.calls] for u in self.calls]
        self.memory.set(SPENT, json.dumps(rows))


def card_of(model: str, *, params: float | None = None, price: str | None = None) -> ModelCard:
    """What an agent's tokens cost: from its active parameters, and "2,8": dollars a million tokens read and written.

    Examples
    --------
    >>> card_of("big", params=8e9, price="2,8").usd_generated
    8.0
    """
    if params is not None and not 1 <= params < 1e15:
        raise InputError(f"--agent-params: expected a number of parameters such as 8e9, found {params!r}")
    if price is None:
        return ModelCard(model, "", None if params is None else int(params))
    parts = re.fullmatch(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*,\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*", price)
    if parts is None:
        raise InputError(
            "--agent-price: expected dollars a million tokens read and written, with a comma between, such as 2,8; "
            f"found {price!r}"
        )
    read, written = (float(x) for x in parts.groups())
    return ModelCard(model, "", None if params is None else int(params), usd_prompt=read, usd_generated=written)


def priced(card: ModelCard, unit: str) -> Prices:
    """The prices of the agent's tokens, or an error that names the option to give."""
    try:
        return card.prices(unit)
    except InputError:
        options = {
            "flops": "give its active parameters with --agent-params, such as --agent-params 8e9",
            "usd": "give dollars a million tokens read and written with --agent-price, such as --agent-price 2,8",
        }
        what = options.get(unit, "give the amounts of the study in flops, tokens, usd or calls")
        raise InputError(
            f"the agent's model {card.name!r}: expected a known price of its tokens in {unit}, which counts against "
            f"--search-budget, found none: {what}"
        ) from None


def _digest(model: str, messages: Sequence[Message], seed: int) -> str:
    return blake2b(json.dumps([model, list(messages), seed]).encode(), digest_size=16).hexdigest()
