"""What a scheduler deals in: asks as issued, running plans, sample keys and the outcome of a plan."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any, TypeAlias

from autotts.core.cost import Usage
from autotts.core.node import Choice, Key
from autotts.core.plan import Blend, Draw, Plan, Score, Spec
from autotts.core.world import Binding, Meter, Reply
from autotts.engine.paths import Book
from autotts.errors import PlanError

_SIZE = 16  # bytes of a key or a digest


class Order:
    """One request as issued: an ask with its sample key and its place in the run.

    `prefix` is the path that is read, in tokens, `fresh` how many of them were charged as new; `begun` and `due` are
    moments; `worth` is the price of what it generated, once the reply is known; `echoes` are later asks for the same
    score.
    """

    __slots__ = (
        "ask",
        "begun",
        "binding",
        "book",
        "due",
        "echoes",
        "frame",
        "fresh",
        "key",
        "live",
        "meter",
        "pos",
        "prefix",
        "reply",
        "seq",
        "worth",
    )

    def __init__(self, seq: int, ask: Any, key: Key, book: Book) -> None:
        self.seq = seq
        self.ask = ask
        self.key = key
        self.book = book
        self.binding: Binding = book.binding
        self.meter = Meter()
        self.live = True
        self.reply: Reply | None = None
        self.echoes: list[Echo] | None = None
        self.frame: Frame
        self.pos: int
        self.prefix: int
        self.fresh: int
        self.begun: int
        self.due: int
        self.worth: int

    @property
    def shown(self) -> int:
        """On the clock: the most tokens that the backend has generated for it so far, in all attempts."""
        meter = self.meter
        return meter.generated + meter.lost + meter.ahead

    @property
    def repeats(self) -> int:
        """On the clock: attempts after the first, each of which has read the prompt again."""
        return max(0, self.meter.calls - 1)


class Echo:
    """A later ask for a score that this plan has, or waits for: it arrives with the first and costs nothing."""

    __slots__ = ("ask", "first", "frame", "live", "pos", "seq")

    def __init__(self, seq: int, ask: Any, frame: Frame, pos: int, first: Order) -> None:
        self.seq = seq
        self.ask = ask
        self.frame = frame
        self.pos = pos
        self.first = first
        self.live = True


class Frame:
    """One running plan: the root's, or a sub-plan that is an ask of another."""

    __slots__ = ("ask", "asks", "enough", "frame", "live", "offer", "pending", "pos", "seq", "slots", "value", "values")

    def __init__(self, seq: int, plan: Plan, frame: Frame | None, pos: int) -> None:
        self.seq = seq
        self.ask = plan
        self.frame = frame
        self.pos = pos
        self.live = True
        self.pending: dict[int, Waiting] = {}  # by the identity of the ask
        self.asks: Sequence[Any] = ()
        self.slots: list[Any] = []
        self.values: list[Any] = []
        self.enough: Callable[[Sequence[Any]], bool] | None = None
        self.offer: Callable[[Sequence[Any]], Choice | None] | None = None
        self.value: Any = None


Waiting: TypeAlias = Order | Echo | Frame


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a plan ended.

    `ended` is "returned", "cap", "deadline" or "hang-up"; `choice` is what it returned, or its last offer where it
    was ended, or None. `cost` is what the plan costs alone, in parts of the bindings' unit; `usage` by binding id.
    `ticks` are the virtual time it took (milliseconds on the clock), `asks` how many requests it made.
    """

    choice: Choice | None
    ended: str
    cost: int
    usage: dict[str, Usage]
    ticks: int
    asks: int
    offers: list[Choice]


class Keys:
    """Sample keys of one run: hash(kind of ask; binding; parents' keys; spec without the role; nth).

    nth counts the equal (kind, binding, parents, spec) asked earlier in the run, cancelled or not. A score's key is
    (scorer's binding, digest of the text). These are a file format: stores keep samples by them.
    """

    def __init__(self, bindings: Mapping[str, Binding]) -> None:
        self._bindings = bindings
        self._families: dict[Any, tuple[Binding, bytes]] = {}
        self._counts: dict[bytes, int] = {}

    def of(self, ask: Any) -> tuple[Binding, Key]:
        """The binding that an ask goes to, and its key."""
        kind = type(ask)
        if kind is Draw:
            family = self._families.get(ask.spec) or self._family(ask.spec, "draw", ask.spec)
            stem = family[1] + ask.node.key
        elif kind is Score:
            family = self._families.get((kind, ask.by)) or self._family((kind, ask.by), "score", None)
            return family[0], blake2b(family[1] + ask.node.digest, digest_size=_SIZE).digest()
        elif kind is Blend:
            family = self._families.get((kind, ask.spec)) or self._family((kind, ask.spec), "blend", ask.spec)
            stem = family[1] + b"".join([node.key for node in ask.nodes])
        else:
            raise PlanError(f"a Join waits for Draw, Blend, Score or a plan, found {kind.__name__}")
        nth = self._counts.get(stem, 0)
        self._counts[stem] = nth + 1
        return family[0], blake2b(b"%b%d" % (stem, nth), digest_size=_SIZE).digest()

    def _family(self, name: Any, kind: str, spec: Any) -> tuple[Binding, bytes]:
        """The binding, and the constant part of a key."""
        role = name[1] if spec is None else spec.model
        binding = self._bindings.get(role)
        if binding is None:
            known = ", ".join(sorted(self._bindings)) or "none"
            raise PlanError(f"the plan asks the role {role!r}, which this world does not bind; it binds {known}")
        family = self._families[name] = (binding, _stem(kind, binding.id, spec))
        return family


@lru_cache(maxsize=4096)  # many short plans ask the same few families
def _stem(kind: str, binding: str, spec: Spec | None) -> bytes:
    parts: list[Any] = [kind, binding]
    if spec is not None:
        parts += [spec.move, spec.stop, float(spec.temperature), float(spec.top_p), spec.nudge]
    return blake2b(json.dumps(parts).encode(), digest_size=_SIZE).digest()
