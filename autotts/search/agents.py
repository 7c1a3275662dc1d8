"""The language model that proposes, as users name it, and where a study keeps its replies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotts.engine.capped import Ledger
from autotts.errors import InputError
from autotts.search.proposers.agent import Agent
from autotts.search.proposers.asking import card_of
from autotts.search.proposers.briefing import Insights
from autotts.search.recipe import Recipe
from autotts.store.meta import Meta
from autotts.worlds.chat import Chat, read_key

WORDS = ("models", "samples", "shared")


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """Where the agent is, what its tokens cost, and what it is told.

    Parameters
    ----------
    url, model
        An OpenAI-compatible server, and the model that it is asked for.
    params, price
        Active parameters (8e9) and dollars a million tokens read and written ("2,8"): what its tokens cost.
    without
        Insights that it is not told of: some of "models", "samples", "shared".
    context, tokens
        Most characters of one briefing, and most tokens of one reply.
    transport
        An httpx transport in place of the network, such as `worlds.scripted.Scripted`.
    """

    url: str
    model: str
    params: float | None = None
    price: str | None = None
    key_file: Path | None = None
    without: Sequence[str] = ()
    context: int = 24_000
    tokens: int = 2_000
    transport: Any = None

    def made(self, recipe: Recipe, ledger: Ledger, meta: Meta, study: str) -> Agent:
        """The agent of a study; an `InputError` where its tokens have no price in the study's unit."""
        for word in self.without:
            if word not in WORDS:
                raise InputError(f"--agent-without: expected some of {', '.join(WORDS)}, found {word!r}")
        key = None if self.key_file is None else read_key(self.key_file)
        return Agent(
            Chat(self.url, self.model, key=key, transport=self.transport),
            card_of(self.model, params=self.params, price=self.price),
            recipe.unit,
            task=recipe.task,
            insights=Insights(**{word: word not in self.without for word in WORDS}),
            room=lambda: ledger.left,
            memory=_Kept(meta, f"agent/{study}/"),
            most_tokens=self.tokens,
            most_characters=self.context,
        )


@dataclass(frozen=True, slots=True)
class _Kept:
    """Replies in the study's own database."""

    meta: Meta
    prefix: str

    def get(self, key: str) -> str | None:
        found = self.meta.get(self.prefix + key)
        return found if isinstance(found, str) else None

    def set(self, key: str, text: str) -> None:
        self.meta.set(self.prefix + key, text)
