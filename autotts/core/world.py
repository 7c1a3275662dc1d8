"""What answers the asks of plans: the protocol of a world, its bindings, and the orders and replies it deals in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from autotts.core.cost import Prices, Usage
from autotts.core.node import Key


@dataclass(frozen=True, slots=True)
class Binding:
    """What a role is bound to.

    `id` names everything that changes a draw: model@revision, template, step delimiter, sampler defaults, epoch.
    `ticks` are units of virtual time a generated token (the same for all models unless speeds are known for all).
    `max_tokens` bounds the generated tokens of a whole path. `stretch` bounds how many of this binding's own tokens
    a token of another model's text takes: a text is charged so many when it is shown, and what it took on arrival.
    """

    id: str
    model: str = ""
    ticks: int = 1
    prices: Prices = Prices()
    max_tokens: int = 1 << 30
    stretch: int = 1


class Meter:
    """Counts a running draw's tokens where they arrive.

    `moved`, if an engine has set it, is asked before n tokens are counted; False means that they are not wanted.
    `prompt` is the whole prompt in the model's own tokens, once the backend has said it. `lost` is what earlier
    attempts at the same draw have generated, and `calls` how many attempts the backend began.

    A world that queues or repeats requests sets `waiting` when it is asked, and calls `begin` right before each
    attempt is sent, `refused` where that one never reached the backend. `ahead` is the most that the backend may have
    generated beyond what was counted: a draw that is cancelled is charged it. `again`, if an engine has set it, makes
    room for one more attempt or raises.
    """

    __slots__ = ("again", "ahead", "calls", "generated", "lost", "moved", "prompt", "waiting")

    def __init__(self) -> None:
        self.generated = 0
        self.prompt: int | None = None
        self.lost = 0
        self.calls = 0
        self.ahead = 0
        self.waiting = False
        self.moved: Callable[[int], bool] | None = None
        self.again: Callable[[], None] | None = None

    @property
    def counted(self) -> int:
        """Tokens of all attempts so far."""
        return self.generated + self.lost

    def add(self, count: int) -> None:
        """Count tokens that have just arrived."""
        if self.moved is None or self.moved(count):
            self.generated += count

    def begin(self) -> None:
        """Count an attempt that is about to be sent; raises where a limit has no room for another."""
        if self.again is not None:
            self.again()
        self.calls += 1
        self.waiting = False

    def refused(self) -> None:
        """Take the last attempt back: it never reached the backend, which has read nothing of it."""
        self.calls -= 1
        self.waiting = self.calls == 0


class Request(Protocol):
    """What a world sees of an order: the ask, its sample key, its binding and its prefix in tokens."""

    ask: Any
    key: Key
    binding: Binding
    prefix: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: a `Node` or a score, the tokens it took, and the state (text, latent) that only stores see.

    `usage.prompt + usage.cached` are the whole prefix of one attempt in the model's own tokens, `usage.generated` what
    the value took. `usage.cancelled` is what attempts that came to nothing had generated, and `usage.calls` counts
    all attempts that the backend began: each of them has read the prompt.
    """

    value: Any
    usage: Usage
    seconds: float = 0.0
    state: Any = None


class World(Protocol):
    """Anything that can answer: a server, an in-process model, a recorded pool, a toy."""

    @property
    def bindings(self) -> Mapping[str, Binding]:
        """Each role's binding; two roles may share one."""
        ...

    async def answer(self, order: Request, states: tuple[Any, ...], meter: Meter) -> Reply:
        """Answer one order. `states` belong to the nodes of its ask; cancelling the call cancels the work.

        A bad draw is a reply whose node is `failed` (a bad score is NaN); only a broken world raises.
        """
        ...
