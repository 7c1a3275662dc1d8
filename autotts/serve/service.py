"""A server's running state: the policy, the world that answers, and what holds budgets, queues and counts."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from autotts.core.strategy import Role, Strategy, knobs
from autotts.errors import AutottsError
from autotts.policy.control import Ruling
from autotts.policy.drift import Watch
from autotts.policy.routing import Routed
from autotts.policy.schema import Policy
from autotts.serve.bounds import Bounds
from autotts.serve.gate import Gate
from autotts.serve.guess import Guess
from autotts.serve.kept import Kept
from autotts.serve.keys import Keys
from autotts.serve.log import Changes
from autotts.serve.metrics import Metrics
from autotts.serve.purses import Purses
from autotts.serve.refused import Busy, Refused
from autotts.serve.request import Request
from autotts.serve.watched import Watched
from autotts.strategies.one import One
from autotts.worlds.catalogue import Bench
from autotts.worlds.relay import Relay, relay_of

log: Final = logging.getLogger("autotts.serve")

AUTO = ("auto", "auto-fast", "auto-best")
_UNTOLD: Final = 1 << 20  # bytes for which a body counts whose length nobody tells
PLAIN = "plain:"  # before the name of a model that is asked directly


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server treats requests.

    Parameters
    ----------
    cap
        The most that any request may cost, in parts.
    deadline
        Seconds after which any request is answered with what there is; None waits as long as it takes.
    head
        Seconds that the head of a stream may wait for an answer: an error within them has its own status.
    scarce
        Seconds that a request waits for room in a budget while others that share it run.
    alive, step
        Seconds between two signs of life of a stream, and between two looks at its progress, where that was asked for.
    patience
        Seconds that a client may take to read a piece of its answer.
    bounds
        What the body of a request may be.
    bodies
        Bytes of all bodies that are read or worked on at one time.
    """

    cap: int | None = None
    deadline: float | None = None
    head: float = 1.0
    scarce: float = 5.0
    alive: float = 5.0
    step: float = 0.25
    patience: float = 60.0
    bounds: Bounds = Bounds()
    bodies: int = 512 << 20


@dataclass(slots=True)
class Service:
    """What answers requests; `policy` and `ruling` are replaced together when a new policy is loaded.

    `fault` is why it could not begin to, if it could not.
    """

    policy: Policy
    ruling: Ruling
    world: Bench
    gate: Gate
    purses: Purses
    metrics: Metrics
    drift: Watch
    kept: Kept | None = None
    keys: Keys = field(default_factory=Keys.none)
    settings: Settings = field(default_factory=Settings)
    changes: Changes = field(default_factory=Changes)
    fault: AutottsError | None = None
    since: int = field(default_factory=lambda: int(time.time()))
    bodies: int = 0
    names: Mapping[str, str] = field(init=False)
    relays: Mapping[str, Relay | None] = field(init=False)
    guesses: Mapping[str, Guess] = field(init=False)

    def __post_init__(self) -> None:
        self.names = names(self.policy)
        self.relays = {role: relay_of(self.world, role) for role in self.policy.models}
        self.guesses = {role: Guess() for role in self.policy.models}

    @contextmanager
    def room(self, headers: Mapping[str, str]) -> Iterator[None]:
        """Room for a body while the scope is open; one that does not tell its length counts as a large one.

        Raises
        ------
        Busy
            429, where those of other requests take it all.
        """
        told = headers.get("content-length", "")
        size = int(told) if told.isdecimal() and len(told) < 20 else _UNTOLD
        size = min(size, self.settings.bounds.bytes)
        if self.bodies and self.bodies + size > self.settings.bodies:
            raise Busy(429, "this server has no room for another body now; ask again in a moment", 1)
        self.bodies += size
        try:
            yield
        finally:
            self.bodies -= size

    def obey(self, policy: Policy) -> None:
        """Obey another policy over the same models, from the next request on."""
        self.policy, self.names, self.drift = policy, names(policy), Watch(policy.seen)

    async def look(self) -> Mapping[str, str]:
        """Why each role's model cannot be asked; empty texts where it can."""
        look = getattr(self.world, "look", None)
        return {} if look is None else await look()

    @property
    def watched(self) -> Watched:
        """Where figures are read that stand still."""
        return Watched(
            policy=lambda: self.policy,
            ruling=lambda: self.ruling,
            queue=lambda: self.gate,
            upstreams=getattr(self.world, "standings", tuple),
            drift=lambda: self.drift.drift,
            kept=lambda: self.kept,
        )

    def saw(self, request: Request, routed: Routed) -> None:
        """Compare one more prompt with those of the study; where they part, or agree again, the log says so."""
        if request.prompt and not request.name.startswith(PLAIN):
            changed = self.drift.add(request.prompt, routed.probabilities)
            if changed is not None:
                log.warning("%s", changed.words)


def names(policy: Policy) -> dict[str, str]:
    """The names by which a policy's models can be asked, and the role that each stands for ("" is the policy's choice).

    The name that a backend knows a model by is the policy's choice too: a client that only changed its URL says it.
    """
    found = dict.fromkeys(AUTO, "")
    for role, bound in policy.models.items():
        found[served_name(role, bound.binding)] = ""
        found[PLAIN + role] = role
    return found


def served_name(role: str, binding: Mapping[str, object]) -> str:
    """The name that a backend knows a model by."""
    served = binding.get("served")
    return served if isinstance(served, str) and served else role


def role_of(service: Service, name: str) -> str:
    """The role that a name stands for, "" for the policy's choice.

    Raises
    ------
    Refused
        404, with all names that there are.
    """
    known = service.names
    if name not in known:
        raise Refused(
            404,
            f"model: expected one of {', '.join(known)} or auto@AMOUNT, found {name[:80]!r}",
            param="model",
            code="model_not_found",
        )
    return known[name]


def plain(strategy: Strategy) -> One:
    """One draw of the model that a strategy begins with, sampled as it samples."""
    if isinstance(strategy, One):
        return strategy
    roles = [k.name for k in knobs(type(strategy)).values() if isinstance(k.domain, Role) and k.domain.kind != "scorer"]
    top_p = getattr(strategy, "top_p", 1.0)
    return One(
        model=getattr(strategy, roles[0]),
        temperature=getattr(strategy, "temperature", 0.0),
        top_p=top_p if isinstance(top_p, float) else 1.0,
    )
